//! OffsetCommit (key 8): versions 2 to 10. Answered when the offsets are committed to the log themselves.
//!
//! v2 to v4 say how long the offsets are kept; v10 names topics by their ids (KIP-848).

use std::sync::Arc;

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_request::OffsetCommitRequestTopic,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};

use super::{Broker, group_id, lookup};
use crate::{group::Commit, metadata::Image};

/// The first version that names topics by id.
const BY_ID: i16 = 10;
/// The last one that says how long.
const RETENTION_MAX: i16 = 4;

pub(super) async fn handle(
    broker: Arc<Broker>,
    version: i16,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = broker.metadata.image();
    let metadata_max = broker.config.get().groups.metadata_max_bytes;
    let mut commits = Vec::new();
    // Judged one by one; those that pass are committed together.
    let judged: Vec<Vec<Result<(), Kafka>>> = request
        .topics
        .iter()
        .map(|topic| judge(&image, version, topic, metadata_max, &mut commits))
        .collect();
    let who = group_id::identity(&request.member_id, request.group_instance_id.as_ref());
    let retention = (version <= RETENTION_MAX && request.retention_time_ms >= 0)
        .then_some(request.retention_time_ms);
    let committed = broker.groups.commit(
        &request.group_id,
        &who,
        request.generation_id_or_member_epoch,
        (&commits, retention),
    );
    let committed = committed.await;
    let topics = request
        .topics
        .into_iter()
        .zip(judged)
        .map(|(topic, judged)| {
            let partitions = topic.partitions.iter().zip(judged).map(|(p, judged)| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(p.partition_index)
                    .with_error_code(group_id::code(&judged.and(committed)))
            });
            OffsetCommitResponseTopic::default()
                .with_partitions(partitions.collect())
                .with_name(topic.name)
                .with_topic_id(topic.topic_id)
        });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn judge(
    image: &Image,
    version: i16,
    topic: &OffsetCommitRequestTopic,
    metadata_max: usize,
    commits: &mut Vec<Commit>,
) -> Vec<Result<(), Kafka>> {
    let known = lookup::topic(image, &topic.name, topic.topic_id, version >= BY_ID);
    let partitions = topic.partitions.iter();
    partitions
        .map(|p| {
            let known = known.as_ref().map_err(|code| *code)?;
            lookup::is_there(known, p.partition_index)?;
            let metadata = p.committed_metadata.as_deref().unwrap_or_default();
            if metadata.len() > metadata_max {
                return Err(Kafka::OffsetMetadataTooLarge);
            }
            commits.push(Commit {
                topic: known.name.clone(),
                partition: p.partition_index,
                offset: p.committed_offset,
                leader_epoch: p.committed_leader_epoch,
                metadata: metadata.to_owned(),
            });
            Ok(())
        })
        .collect()
}
