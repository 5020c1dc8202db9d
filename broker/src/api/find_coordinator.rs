//! FindCoordinator (key 10): versions 0 to 6. v4 asks for several keys.
//!
//! This node coordinates all groups and transactions. Share groups have no coordinator yet: `COORDINATOR_NOT_AVAILABLE`, which
//! clients retry.

use kafka_compat::protocol::{
    messages::{
        BrokerId, FindCoordinatorRequest, FindCoordinatorResponse,
        find_coordinator_response::Coordinator,
    },
    protocol::StrBytes,
};

use super::{Broker, error_code::Kafka, internal_topics};

const MESSAGE: &str = "The coordinator is not available.";
/// Share groups' keys came with v6 (KIP-932).
const KEY_TYPE_MAX: i8 = 2;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

pub(super) async fn handle(
    broker: &Broker,
    version: i16,
    request: &FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let key_type = request.key_type;
    let made = match key_type {
        GROUP => internal_topics::ensure_offsets(broker).await,
        TRANSACTION => internal_topics::ensure_transactions(broker).await,
        _ => Err(Kafka::CoordinatorNotAvailable),
    };
    let found = |key: &StrBytes| {
        let known = (0..=KEY_TYPE_MAX).contains(&key_type);
        if !known || (key_type == SHARE && !is_share_key(key)) {
            return refused(Kafka::InvalidRequest);
        }
        match made {
            Ok(()) => here(broker),
            Err(code) => refused(code),
        }
    };
    if version >= 4 {
        let keys = request.coordinator_keys.iter();
        let coordinators = keys.map(|key| {
            let found = found(key).with_key(key.clone());
            match found.error_code {
                // Only the older versions have a word for it.
                0 => found.with_error_message(Some(StrBytes::default())),
                _ => found,
            }
        });
        return FindCoordinatorResponse::default().with_coordinators(coordinators.collect());
    }
    let found = found(&request.key);
    FindCoordinatorResponse::default()
        .with_error_code(found.error_code)
        .with_error_message(found.error_message)
        .with_node_id(found.node_id)
        .with_host(found.host)
        .with_port(found.port)
}

fn here(broker: &Broker) -> Coordinator {
    let image = broker.metadata.image();
    let Some(this) = image.brokers.get(&broker.node_id) else {
        return refused(Kafka::CoordinatorNotAvailable);
    };
    Coordinator::default()
        .with_node_id(BrokerId(broker.node_id))
        .with_host(StrBytes::from_string(this.host.clone()))
        .with_port(i32::from(this.port))
        .with_error_message(Some(StrBytes::from_static_str("NONE")))
}

fn refused(code: Kafka) -> Coordinator {
    Coordinator::default()
        .with_node_id(BrokerId(-1))
        .with_port(-1)
        .with_error_code(code.code())
        .with_error_message(Some(StrBytes::from_static_str(MESSAGE)))
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
