//! DescribeTopicPartitions (key 75): version 0 (KIP-966), with a cursor and at most
//! `max.request.partition.size.limit` partitions an answer.

use std::collections::BTreeSet;

use kafka_compat::protocol::{
    messages::{
        BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
    protocol::StrBytes,
};

use super::{Broker, authorized, error_code::Kafka, topic_name};
use crate::metadata::Topic;

pub(super) fn handle(
    broker: &Broker,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = broker.metadata.image();
    // Sorted by name, as Kafka answers; no name means all.
    let names: BTreeSet<String> = if request.topics.is_empty() {
        image.topics.keys().cloned().collect()
    } else {
        request
            .topics
            .iter()
            .map(|t| t.name.0.to_string())
            .collect()
    };
    let from = request
        .cursor
        .as_ref()
        .map(|c| (c.topic_name.0.to_string(), c.partition_index));
    if let Some(cursor) = &request.cursor
        && !(names.contains(cursor.topic_name.0.as_str()) && cursor.partition_index >= 0)
    {
        return refused(names);
    }
    let limit = usize::try_from(request.response_partition_limit)
        .unwrap_or(0)
        .max(1);
    let mut left = limit.min(broker.config.get().max_request_partition_size_limit);
    let mut topics = Vec::new();
    let mut next_cursor = None;
    for name in names {
        let first = match &from {
            Some((at, _)) if name < *at => continue,
            Some((at, index)) if name == *at => *index,
            _ => 0,
        };
        if left == 0 {
            next_cursor = Some(cursor(&name, first));
            break;
        }
        let Some(topic) = image.topics.get(&name) else {
            topics.push(unknown(name));
            continue;
        };
        let described = describe(topic, first, left);
        let count = described.partitions.len();
        left -= count;
        let next = usize::try_from(first).unwrap_or(0) + count;
        topics.push(described);
        if next < topic.partitions.len() {
            next_cursor = Some(cursor(&name, i32::try_from(next).unwrap_or(i32::MAX)));
            break;
        }
    }
    DescribeTopicPartitionsResponse::default()
        .with_topics(topics)
        .with_next_cursor(next_cursor)
}

/// A cursor that points at nothing asked for.
fn refused(names: BTreeSet<String>) -> DescribeTopicPartitionsResponse {
    let topics = names.into_iter().map(|name| {
        DescribeTopicPartitionsResponseTopic::default()
            .with_error_code(Kafka::InvalidRequest.code())
            .with_name(Some(topic_name(&name)))
            .with_topic_authorized_operations(authorized::NOT_ASKED)
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics.collect())
}

fn cursor(name: &str, partition: i32) -> Cursor {
    Cursor::default()
        .with_topic_name(topic_name(name))
        .with_partition_index(partition)
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn unknown(name: String) -> DescribeTopicPartitionsResponseTopic {
    let code = match topic_name::refuse(&name) {
        Some(_) => Kafka::InvalidTopicException,
        None => Kafka::UnknownTopicOrPartition,
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code.code())
        .with_name(Some(TopicName(StrBytes::from_string(name))))
        .with_topic_authorized_operations(authorized::of_topic(true))
}

fn describe(topic: &Topic, first: i32, max: usize) -> DescribeTopicPartitionsResponseTopic {
    let skip = usize::try_from(first).unwrap_or(0);
    let partitions = (0i32..)
        .zip(&topic.partitions)
        .skip(skip)
        .take(max)
        .map(|(index, p)| {
            DescribeTopicPartitionsResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(BrokerId(p.leader))
                .with_leader_epoch(p.leader_epoch)
                .with_replica_nodes(p.replicas.iter().copied().map(BrokerId).collect())
                .with_isr_nodes(p.isr.iter().copied().map(BrokerId).collect())
                .with_eligible_leader_replicas(Some(Vec::new()))
                .with_last_known_elr(Some(Vec::new()))
        });
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id)
        .with_is_internal(topic.internal)
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(authorized::of_topic(true))
}
