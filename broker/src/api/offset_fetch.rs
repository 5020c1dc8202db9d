//! OffsetFetch (key 9): versions 1 to 10. What was never committed is offset -1, and no error.
//!
//! From v2 on all topics can be asked for, from v8 on several groups; v10 names topics by their ids (KIP-848). From v7 on who asks
//! for what is stable is told where an open transaction commits another offset (KIP-447).

use std::collections::HashSet;

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        OffsetFetchRequest, OffsetFetchResponse, TopicName,
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
    protocol::StrBytes,
};
use storage::units::TopicId;

use super::{Broker, lookup};
use crate::{group::Committed, metadata::Image};

/// The first version that asks for several groups.
const BATCHED: i16 = 8;
/// The first version that names topics by id.
const BY_ID: i16 = 10;

pub(super) fn handle(
    broker: &Broker,
    version: i16,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let is_stable = request.require_stable;
    if version >= BATCHED {
        let groups = request.groups.iter();
        let told = groups.map(|group| of_group(broker, version, group, is_stable));
        return OffsetFetchResponse::default().with_groups(told.collect());
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name)
                .with_partition_indexes(topic.partition_indexes)
        });
        topics.collect()
    });
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(request.group_id)
        .with_topics(topics);
    single(version, of_group(broker, version, &group, is_stable))
}

/// As the versions before groups were batched have it.
fn single(version: i16, group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    let topics = group.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|p| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_committed_offset(p.committed_offset)
                .with_committed_leader_epoch(p.committed_leader_epoch)
                .with_metadata(p.metadata)
                .with_error_code(p.error_code)
        });
        OffsetFetchResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(topic.name)
    });
    let answer = OffsetFetchResponse::default().with_topics(topics.collect());
    // v1 tells errors by partition alone.
    if version >= 2 {
        answer.with_error_code(group.error_code)
    } else {
        answer
    }
}

fn of_group(
    broker: &Broker,
    version: i16,
    asked: &OffsetFetchRequestGroup,
    is_stable: bool,
) -> OffsetFetchResponseGroup {
    let answer = OffsetFetchResponseGroup::default().with_group_id(asked.group_id.clone());
    let image = broker.metadata.image();
    let member = asked.member_id.as_deref();
    let allowed = broker
        .groups
        .may_fetch(&asked.group_id, member, asked.member_epoch);
    let wanted = (asked.group_id.as_str(), is_stable);
    let topics = allowed.and_then(|()| match &asked.topics {
        Some(topics) => named(broker, &image, version, wanted, topics),
        None => all(broker, &image, version, wanted),
    });
    match topics {
        Ok(topics) => answer.with_topics(topics),
        Err(code) if version >= 2 => answer.with_error_code(code.code()),
        Err(code) => {
            let topics = asked.topics.iter().flatten();
            let refused = topics.map(|topic| {
                let partitions = topic.partition_indexes.iter();
                OffsetFetchResponseTopics::default()
                    .with_partitions(
                        partitions
                            .map(|p| none(*p).with_error_code(code.code()))
                            .collect(),
                    )
                    .with_name(topic.name.clone())
            });
            answer.with_topics(refused.collect())
        }
    }
}

fn named(
    broker: &Broker,
    image: &Image,
    version: i16,
    (group, is_stable): (&str, bool),
    topics: &[OffsetFetchRequestTopics],
) -> Result<Vec<OffsetFetchResponseTopics>, Kafka> {
    let mut told = Vec::with_capacity(topics.len());
    for asked in topics {
        let answer = OffsetFetchResponseTopics::default()
            .with_topic_id(asked.topic_id)
            .with_name(asked.name.clone());
        let name = if version >= BY_ID {
            image.topic_by_id(asked.topic_id).map(|t| t.name.clone())
        } else {
            Some(asked.name.to_string())
        };
        let partitions = match name {
            None => {
                let unknown = Kafka::UnknownTopicId.code();
                let partitions = asked.partition_indexes.iter();
                partitions
                    .map(|p| none(*p).with_error_code(unknown))
                    .collect()
            }
            Some(name) => {
                let places: Vec<_> = asked
                    .partition_indexes
                    .iter()
                    .map(|p| (name.clone(), *p))
                    .collect();
                let committed = broker.groups.committed(group, &places, is_stable)?;
                let places = places.into_iter().zip(committed);
                places
                    .map(|((_, p), committed)| match committed {
                        Ok(committed) => committed.map_or(none(p), |c| some(p, c)),
                        Err(code) => none(p).with_error_code(code.code()),
                    })
                    .collect()
            }
        };
        told.push(answer.with_partitions(partitions));
    }
    Ok(told)
}

fn all(
    broker: &Broker,
    image: &Image,
    version: i16,
    (group, is_stable): (&str, bool),
) -> Result<Vec<OffsetFetchResponseTopics>, Kafka> {
    let mut all = broker.groups.all_committed(group)?;
    let mut unstable = HashSet::new();
    if is_stable {
        for (name, committed) in &mut all {
            for (p, _) in committed {
                if broker.groups.is_unstable(group, name, *p)? {
                    unstable.insert((name.clone(), *p));
                }
            }
        }
    }
    let told = all.into_iter().filter_map(|(name, committed)| {
        let id = image.topics.get(name.as_str()).map(|topic| topic.id);
        // What has no id any more cannot be named.
        let id = if version >= BY_ID {
            id?
        } else {
            TopicId::nil()
        };
        let partitions = committed.into_iter().map(|(p, c)| {
            if unstable.contains(&(name.clone(), p)) {
                none(p).with_error_code(Kafka::UnstableOffsetCommit.code())
            } else {
                some(p, c)
            }
        });
        let partitions = partitions.collect();
        let name = if version >= BY_ID {
            TopicName::default()
        } else {
            lookup::name(&name)
        };
        let topic = OffsetFetchResponseTopics::default()
            .with_name(name)
            .with_topic_id(id)
            .with_partitions(partitions);
        Some(topic)
    });
    Ok(told.collect())
}

fn none(partition: i32) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(partition)
        .with_committed_offset(-1)
        .with_committed_leader_epoch(-1)
        .with_metadata(Some(StrBytes::default()))
}

fn some(partition: i32, committed: Committed) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(partition)
        .with_committed_offset(committed.offset)
        .with_committed_leader_epoch(committed.leader_epoch)
        .with_metadata(Some(StrBytes::from_string(committed.metadata)))
}
