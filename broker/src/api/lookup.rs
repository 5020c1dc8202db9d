//! From the names in a request to an open partition.

use std::sync::Arc;

use kafka_compat::protocol::{messages::TopicName, protocol::StrBytes};
use storage::units::TopicId;

use super::{Broker, error_code::Kafka};
use crate::{
    metadata::{Image, Topic},
    partition::{Partition, PartitionKey, Slot},
};

/// A client that does not know the leader epoch.
pub(super) const NO_EPOCH: i32 = -1;

/// The topic that a request names: by id where it gives one (KIP-516), else by name.
pub(super) fn topic<'a>(
    image: &'a Image,
    name: &TopicName,
    id: TopicId,
    by_id: bool,
) -> Result<&'a Arc<Topic>, Kafka> {
    if by_id {
        image.topic_by_id(id).ok_or(Kafka::UnknownTopicId)
    } else {
        image
            .topics
            .get(name.0.as_str())
            .ok_or(Kafka::UnknownTopicOrPartition)
    }
}

/// Whether the topic has that partition.
pub(super) fn is_there(topic: &Topic, index: i32) -> Result<(), Kafka> {
    let is_there = usize::try_from(index).is_ok_and(|i| i < topic.partitions.len());
    is_there.then_some(()).ok_or(Kafka::UnknownTopicOrPartition)
}

/// The open partition; `epoch` is the leader epoch the client believes in, or -1.
pub(super) fn partition(
    broker: &Broker,
    topic: &Topic,
    index: i32,
    epoch: i32,
) -> Result<Arc<Partition>, Kafka> {
    let known = usize::try_from(index)
        .ok()
        .and_then(|i| topic.partitions.get(i));
    let known = known.ok_or(Kafka::UnknownTopicOrPartition)?;
    if epoch != NO_EPOCH && epoch < known.leader_epoch {
        return Err(Kafka::FencedLeaderEpoch);
    }
    if epoch > known.leader_epoch {
        return Err(Kafka::UnknownLeaderEpoch);
    }
    match broker.registry.get(PartitionKey {
        topic: topic.id,
        index,
    }) {
        Some(Slot::Online(partition)) => Ok(partition),
        Some(Slot::Offline { .. }) => Err(Kafka::KafkaStorageError),
        None => Err(Kafka::NotLeaderOrFollower),
    }
}

/// A topic's name, as messages have it.
pub(super) fn name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
