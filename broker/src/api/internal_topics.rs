//! Topics that the node keeps its own state in: made when they are first needed, and closed to clients' writes.

use std::collections::BTreeMap;

use super::{
    Broker,
    auto_create::{self, Wish},
    error_code::Kafka,
};
use crate::group;

/// Makes the topic of groups, if it is not there.
pub(super) async fn ensure_offsets(broker: &Broker) -> Result<(), Kafka> {
    if broker.metadata.image().topics.contains_key(group::TOPIC) {
        return Ok(());
    }
    let config = broker.config.get().groups;
    let configs = [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", config.topic_segment_bytes.to_string()),
    ];
    let wish = Wish {
        name: group::TOPIC.to_owned(),
        partitions: config.topic_partitions,
        replication_factor: 1,
        configs: configs
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<BTreeMap<_, _>>(),
    };
    match auto_create::create(broker, wish).await {
        Ok(_) | Err((Kafka::TopicAlreadyExists, _)) => Ok(()),
        Err((code, why)) => {
            tracing::warn!(topic = group::TOPIC, ?code, why, "cannot be made");
            Err(Kafka::CoordinatorNotAvailable)
        }
    }
}
