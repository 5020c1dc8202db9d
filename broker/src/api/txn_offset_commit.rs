//! TxnOffsetCommit (key 28): versions 0 to 5. Offsets that count when the producer's transaction is committed (KIP-98, KIP-447).
//!
//! v3 says who commits, as OffsetCommit does; from v5 on the broker sees to it that the group takes part in the transaction
//! (KIP-890).

use std::sync::Arc;

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        TxnOffsetCommitRequest, TxnOffsetCommitResponse,
        txn_offset_commit_request::TxnOffsetCommitRequestPartition,
        txn_offset_commit_response::{
            TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
        },
    },
};

use super::{
    Broker, group_id, lookup,
    told_by_topic::ToldByTopic,
    transactional::{self, Support},
};
use crate::{
    coordinator::Producer,
    group::{self, Commit},
};

/// The first version whose client knows that its transaction is to be aborted, and the first that leaves it to the broker what
/// takes part.
const ABORTABLE: i16 = 4;
const ADDED: i16 = 5;
/// The first whose client waits for a coordinator that loads.
const SAYS_LOADING: i16 = 2;

pub(super) async fn handle(
    broker: Arc<Broker>,
    version: i16,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let image = broker.metadata.image();
    let mut told = ToldByTopic::new();
    let mut asked = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let known = image.topics.get(topic.name.0.as_str());
        let known = known.ok_or(Kafka::UnknownTopicOrPartition);
        let mut commits = Vec::new();
        for partition in &topic.partitions {
            let index = partition.partition_index;
            match known.and_then(|known| lookup::is_there(known, index)) {
                Ok(()) => commits.push(commit(&topic.name, partition)),
                Err(code) => told.refused(&topic.name, answer(index, code.code())),
            }
        }
        asked.push((&topic.name, commits));
    }
    if asked.iter().any(|(_, commits)| !commits.is_empty()) {
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
    let topics = told.finish().into_iter().map(|(name, partitions)| {
        TxnOffsetCommitResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions)
    });
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

async fn commit_all(
    broker: &Broker,
    version: i16,
    request: &TxnOffsetCommitRequest,
    commits: &[Commit],
) -> Result<(), Kafka> {
    let committed = commit_as(broker, version, request, commits).await;
    committed.map_err(|code| match code {
        Kafka::CoordinatorLoadInProgress if version < SAYS_LOADING => {
            Kafka::CoordinatorNotAvailable
        }
        code => code,
    })
}

async fn commit_as(
    broker: &Broker,
    version: i16,
    request: &TxnOffsetCommitRequest,
    commits: &[Commit],
) -> Result<(), Kafka> {
    let group = request.group_id.as_str();
    group_id::refuse_empty(group)?;
    let producer = Producer {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let support = Support::of(version, ABORTABLE, ADDED);
    let raises = support == Support::Added;
    let (shard, guard) = broker.groups.guard(group, producer, raises)?;
    if guard.is_some() {
        let place = vec![(group::TOPIC.to_owned(), shard)];
        let id = &request.transactional_id;
        let each = transactional::take_part(broker, id, producer, place, support).await;
        let refused = each
            .into_iter()
            .find_map(|(_, takes_part)| takes_part.err());
        if let Some(code) = refused {
            return Err(code);
        }
    }
    let who = group_id::identity(&request.member_id, request.group_instance_id.as_ref());
    let commit = broker.groups.commit_in_transaction(
        group,
        &who,
        request.generation_id,
        commits,
        (producer, guard),
    );
    commit.await
}

fn commit(topic: &str, asked: &TxnOffsetCommitRequestPartition) -> Commit {
    let metadata = asked.committed_metadata.as_deref().unwrap_or_default();
    Commit {
        topic: topic.to_owned(),
        partition: asked.partition_index,
        offset: asked.committed_offset,
        leader_epoch: asked.committed_leader_epoch,
        metadata: metadata.to_owned(),
    }
}

fn answer(partition: i32, code: i16) -> TxnOffsetCommitResponsePartition {
    TxnOffsetCommitResponsePartition::default()
        .with_partition_index(partition)
        .with_error_code(code)
}
