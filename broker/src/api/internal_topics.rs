//! Topics that the node keeps its own state in: made when they are first needed, and closed to clients' writes.

use std::collections::BTreeMap;

use super::{
    Broker,
    auto_create::{self, Wish},
    error_code::Kafka,
};
use crate::{group, transaction};

/// Makes the topic of groups, if it is not there.
pub(super) async fn ensure_offsets(broker: &Broker) -> Result<(), Kafka> {
    let config = broker.config.get().groups;
    let configs = vec![
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", config.topic_segment_bytes.to_string()),
    ];
    ensure(broker, group::TOPIC, config.topic_partitions, configs).await
}

/// Makes the topic of transactions, if it is not there.
pub(super) async fn ensure_transactions(broker: &Broker) -> Result<(), Kafka> {
    let config = broker.config.get().transactions;
    let configs = vec![
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "uncompressed".to_owned()),
        ("segment.bytes", config.topic_segment_bytes.to_string()),
    ];
    ensure(broker, transaction::TOPIC, config.topic_partitions, configs).await
}

async fn ensure(
    broker: &Broker,
    topic: &str,
    partitions: i32,
    configs: Vec<(&str, String)>,
) -> Result<(), Kafka> {
    if broker.metadata.image().topics.contains_key(topic) {
        return Ok(());
    }
    let wish = Wish {
        name: topic.to_owned(),
        partitions,
        replication_factor: 1,
        configs: configs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<BTreeMap<_, _>>(),
    };
    match auto_create::create(broker, wish).await {
        Ok(_) | Err((Kafka::TopicAlreadyExists, _)) => Ok(()),
        Err((code, why)) => {
            tracing::warn!(topic, ?code, why, "cannot be made");
            Err(Kafka::CoordinatorNotAvailable)
        }
    }
}
