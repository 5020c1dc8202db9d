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

pub(super) fn handle(version: i16, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    let known = (0..=KEY_TYPE_MAX).contains(&request.key_type);
    let code = if known {
        Kafka::CoordinatorNotAvailable
    } else {
        Kafka::InvalidRequest
    }
    .code();
    let message = Some(StrBytes::from_static_str(MESSAGE));
    if version < 4 {
        return FindCoordinatorResponse::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_node_id(BrokerId(-1))
            .with_port(-1);
    }
    let coordinators = request.coordinator_keys.iter().map(|key| {
        Coordinator::default()
            .with_key(key.clone())
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(code)
            .with_error_message(message.clone())
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}
