//! AddPartitionsToTxn (key 24): versions 0 to 5. A client says what its transaction writes to; from v4 on a broker asks, for several
//! transactions, or whether partitions take part (KIP-890).
//!
//! Where one partition of a transaction cannot take part, none does.

use std::sync::Arc;

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, TransactionalId,
        add_partitions_to_txn_request::{AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction},
        add_partitions_to_txn_response::{
            AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult,
            AddPartitionsToTxnTopicResult,
        },
    },
};

use super::{Broker, lookup, transactional};
use crate::{
    coordinator::Producer,
    group,
    transaction::{self, Partitions},
};

/// The first version that asks for several transactions.
const BATCHED: i16 = 4;
/// The first that tells a fenced producer so.
const SAYS_FENCED: i16 = 2;
/// Versions of transactions: of a client that adds partitions itself, and of a broker that does.
const OF_CLIENT: i16 = 0;
const OF_BROKER: i16 = 2;

pub(super) async fn handle(
    broker: Arc<Broker>,
    version: i16,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if version < BATCHED {
        let asked = AddPartitionsToTxnTransaction::default()
            .with_transactional_id(request.v3_and_below_transactional_id)
            .with_producer_id(request.v3_and_below_producer_id)
            .with_producer_epoch(request.v3_and_below_producer_epoch)
            .with_topics(request.v3_and_below_topics);
        let results = one(&broker, version, &asked).await;
        return AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(results);
    }
    let mut results = Vec::with_capacity(request.transactions.len());
    for asked in &request.transactions {
        let id = TransactionalId(asked.transactional_id.0.clone());
        results.push(
            AddPartitionsToTxnResult::default()
                .with_transactional_id(id)
                .with_topic_results(one(&broker, version, asked).await),
        );
    }
    AddPartitionsToTxnResponse::default().with_results_by_transaction(results)
}

async fn one(
    broker: &Broker,
    version: i16,
    asked: &AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let image = broker.metadata.image();
    let is_there = |topic: &str, index: i32| {
        let topic = image.topics.get(topic);
        topic.is_some_and(|topic| lookup::is_there(topic, index).is_ok())
    };
    let all = places(&asked.topics);
    // A client adds offsets by AddOffsetsToTxn.
    let is_internal =
        |topic: &str| version < BATCHED && [group::TOPIC, transaction::TOPIC].contains(&topic);
    if all.iter().any(|(topic, _)| is_internal(topic)) {
        return told(&asked.topics, |topic, _| {
            if is_internal(topic) {
                Kafka::TopicAuthorizationFailed.code()
            } else {
                Kafka::OperationNotAttempted.code()
            }
        });
    }
    if !all.iter().all(|(topic, index)| is_there(topic, *index)) {
        return told(&asked.topics, |topic, index| {
            if is_there(topic, index) {
                Kafka::OperationNotAttempted.code()
            } else {
                Kafka::UnknownTopicOrPartition.code()
            }
        });
    }
    let id = asked.transactional_id.0.as_str();
    let producer = Producer {
        id: asked.producer_id.0,
        epoch: asked.producer_epoch,
    };
    let older = |code: Kafka| transactional::or_older(code, version >= SAYS_FENCED).code();
    if asked.verify_only {
        let verified = broker.transactions.verify(id, producer, &all);
        let mut each = match verified {
            Ok(each) => each.into_iter(),
            Err(code) => return told(&asked.topics, |_, _| older(code)),
        };
        return told(&asked.topics, |_, _| {
            each.next().unwrap_or(Ok(())).err().map_or(0, older)
        });
    }
    let mut partitions = Partitions::new();
    for (topic, index) in all {
        partitions.entry(topic).or_default().insert(index);
    }
    let client = if version < BATCHED {
        OF_CLIENT
    } else {
        OF_BROKER
    };
    let adding = broker.transactions.add(id, producer, &partitions, client);
    let code = adding.await.err().map_or(0, older);
    told(&asked.topics, |_, _| code)
}

fn places(topics: &[AddPartitionsToTxnTopic]) -> Vec<(String, i32)> {
    let topics = topics.iter().flat_map(|topic| {
        let indexes = topic.partitions.iter();
        indexes.map(|index| (topic.name.to_string(), *index))
    });
    topics.collect()
}

fn told(
    topics: &[AddPartitionsToTxnTopic],
    mut code: impl FnMut(&str, i32) -> i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut results = Vec::with_capacity(topics.len());
    for topic in topics {
        let indexes = topic.partitions.iter();
        let partitions = indexes.map(|index| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code(&topic.name, *index))
        });
        results.push(
            AddPartitionsToTxnTopicResult::default()
                .with_results_by_partition(partitions.collect())
                .with_name(topic.name.clone()),
        );
    }
    results
}
