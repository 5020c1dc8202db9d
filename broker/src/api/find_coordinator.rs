//! FindCoordinator (key 10): versions 0 to 6.
//!
//! Groups and transactions have no coordinator yet: each key is answered `COORDINATOR_NOT_AVAILABLE`, which clients retry.

use kafka_compat::protocol::{
    messages::{
        BrokerId, FindCoordinatorRequest, FindCoordinatorResponse,
        find_coordinator_response::Coordinator,
    },
    protocol::StrBytes,
};

use super::error_code::Kafka;

const MESSAGE: &str = "The coordinator is not available.";
/// Share groups' keys came with v6 (KIP-932).
const KEY_TYPE_MAX: i8 = 2;
const SHARE: i8 = 2;

pub(super) fn handle(version: i16, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    let known = (0..=KEY_TYPE_MAX).contains(&request.key_type);
    let code_of = |key: &str| {
        if known && (request.key_type != SHARE || is_share_key(key)) {
            Kafka::CoordinatorNotAvailable.code()
        } else {
            Kafka::InvalidRequest.code()
        }
    };
    let message = Some(StrBytes::from_static_str(MESSAGE));
    if version < 4 {
        return FindCoordinatorResponse::default()
            .with_error_code(code_of(&request.key))
            .with_error_message(message)
            .with_node_id(BrokerId(-1))
            .with_port(-1);
    }
    let coordinators = request.coordinator_keys.iter().map(|key| {
        Coordinator::default()
            .with_key(key.clone())
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(code_of(key))
            .with_error_message(message.clone())
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}

/// `group:topic id:partition`, the id in url-safe base64. Source: Apache Kafka, `SharePartitionKey`.
fn is_share_key(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let (partition, id, group) = (parts.next(), parts.next(), parts.next());
    let digit = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
    group.is_some_and(|group| !group.is_empty())
        && id.is_some_and(|id| id.len() == 22 && id.bytes().all(digit))
        && partition.is_some_and(|p| p.parse::<i32>().is_ok_and(|p| p >= 0))
}
