//! OffsetCommit (key 8): versions 2 to 10. Answered when the offsets are committed to the log themselves.
//!
//! v2 to v4 say how long the offsets are kept; v10 names topics by their ids (KIP-848).

use std::sync::Arc;

use super::{Broker, group_id, lookup, told_by_topic::ToldByTopic};
use crate::group::Commit;
use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_request::OffsetCommitRequestPartition,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};

/// The first version that names topics by id.
const BY_ID: i16 = 10;
/// The last one that says how long.
const RETENTION_MAX: i16 = 4;
/// The first that members of the consumer protocol may use (KIP-848).
const WITH_MEMBER_EPOCH: i16 = 9;
/// The first that tells of a group that is not there.
const SAYS_NO_GROUP: i16 = 9;

pub(crate) async fn handle(
    broker: Arc<Broker>,
    version: i16,
    request: OffsetCommitRequest,
) -> OffsetCommitResponse {
    let image = broker.metadata.image();
    let mut told = ToldByTopic::new();
    // By topic, as they were asked.
    let mut asked = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let name = (topic.name.clone(), topic.topic_id);
        let known = lookup::topic(&image, &topic.name, topic.topic_id, version >= BY_ID);
        let mut commits = Vec::new();
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let checked = known.and_then(|known| lookup::is_there(known, index).map(|()| known));
            match checked {
                Ok(known) => commits.push(commit(&known.name, partition)),
                Err(code) => told.refused(&name, answer(index, code.code())),
            }
        }
        asked.push((name, commits));
    }
    if asked.iter().any(|(_, commits)| !commits.is_empty()) {
        // What is too long is refused alone, and only where the rest would be committed.
        let longest = broker.config.get().groups.metadata_max_length;
        let is_too_long = |c: &Commit| c.metadata.encode_utf16().count() > longest;
        let commits = asked.iter().flat_map(|(_, commits)| commits);
        let fitting: Vec<Commit> = commits.filter(|c| !is_too_long(c)).cloned().collect();
        let committed = commit_all(&broker, version, &request, &fitting).await;
        for (topic, commits) in &asked {
            let answers = commits.iter().map(|commit| {
                let too_long = is_too_long(commit).then_some(Kafka::OffsetMetadataTooLarge);
                let committed = committed.and_then(|()| too_long.map_or(Ok(()), Err));
                answer(commit.partition, group_id::code(&committed))
            });
            told.answered(topic, answers.collect());
        }
    }
    let topics = told.finish().into_iter().map(|((name, id), partitions)| {
        OffsetCommitResponseTopic::default()
            .with_name(name)
            .with_topic_id(id)
            .with_partitions(partitions)
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

async fn commit_all(
    broker: &Broker,
    version: i16,
    request: &OffsetCommitRequest,
    commits: &[Commit],
) -> Result<(), Kafka> {
    let who = group_id::identity(&request.member_id, request.group_instance_id.as_ref());
    // Source: Apache Kafka, `ConsumerGroup.validateOffsetCommit`.
    if version < WITH_MEMBER_EPOCH && broker.groups.is_new_member(&request.group_id, &who.member) {
        return Err(Kafka::UnsupportedVersion);
    }
    let retention = (version <= RETENTION_MAX && request.retention_time_ms >= 0)
        .then_some(request.retention_time_ms);
    let generation = request.generation_id_or_member_epoch;
    let committed = broker
        .groups
        .commit(&request.group_id, &who, generation, (commits, retention));
    match committed.await {
        // Source: Apache Kafka, `OffsetMetadataManager.validateOffsetCommit`.
        Err(Kafka::GroupIdNotFound) if version < SAYS_NO_GROUP => Err(Kafka::IllegalGeneration),
        committed => {
            if committed.is_ok() {
                broker.metrics.groups().committed(commits.len());
            }
            committed
        }
    }
}

fn commit(topic: &str, asked: &OffsetCommitRequestPartition) -> Commit {
    let metadata = asked.committed_metadata.as_deref().unwrap_or_default();
    Commit {
        topic: topic.to_owned(),
        partition: asked.partition_index,
        offset: asked.committed_offset,
        leader_epoch: asked.committed_leader_epoch,
        metadata: metadata.to_owned(),
    }
}

fn answer(partition: i32, code: i16) -> OffsetCommitResponsePartition {
    OffsetCommitResponsePartition::default()
        .with_partition_index(partition)
        .with_error_code(code)
}
