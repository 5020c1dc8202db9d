//! Produce (key 0): versions 3 to 13; 0 to 2 are listed and refused (KAFKA-18659).
//!
//! - One v2 batch per partition, checked as Kafka checks it, appended before this returns; the answer waits for the commit
//!   where acks is -1. acks 0 gets no answer; an error closes the connection then, as Kafka does.
//! - A record with a deliver-at header is held: the answer has the batch's base offset, and the record's own offset is its
//!   schedule id (see [`crate::schedule`]).
//! - v13 names topics by id (KIP-516); v8 has record errors (KIP-467); v10 has leader hints (KIP-951), not needed by one node.
//! - A record whose message id the log has is left out, and answered as if it were there (see [`crate::dedup`]).
//! - What a transaction writes is appended once its coordinator knows that the partition takes part: the client said so before, or
//!   from v12 on the broker sees to it here (KIP-890). Later requests of the connection wait for that.

mod append;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::FutureExt;
use kafka_compat::{
    protocol::{
        messages::{
            ProduceRequest, ProduceResponse,
            produce_request::PartitionProduceData,
            produce_response::{
                BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
            },
        },
        protocol::StrBytes,
    },
    records::Refusal,
    response::Response,
    service::Reply,
};
use storage::{
    batch::BatchHeader,
    log::{FirstBatch, Guard},
    units::TopicId,
};
use tokio::time::{Instant, timeout_at};

use super::{
    Broker,
    error_code::Kafka,
    lookup,
    transactional::{self, Support},
};
use crate::{
    coordinator::Producer,
    metadata::Image,
    partition::{AppendedUnit, Partition},
};

const ACKS_ALL: i16 = -1;
/// The first version whose client knows that its transaction is to be aborted, and the first that leaves it to the broker what
/// takes part.
const ABORTABLE: i16 = 11;
const ADDED: i16 = 12;
/// A sync on this node is part of the append, which `timeout_ms` does not bound; a disk that takes longer is broken.
const SYNC_PATIENCE: Duration = Duration::from_secs(30);

/// One partition's answer, and the commit it waits for.
struct Outcome {
    answer: PartitionProduceResponse,
    wait: Option<(Arc<Partition>, AppendedUnit)>,
}

pub(super) async fn handle(broker: &Arc<Broker>, version: i16, request: ProduceRequest) -> Reply {
    let acks = request.acks;
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let image = broker.metadata.image();
    let (refused, mut parts) = match transaction_of(&request) {
        Err(code) => (Some(code), Parts::default()),
        Ok(None) => (refusal_of_all(&request), Parts::default()),
        Ok(Some(transaction)) => {
            let refused = refusal_of_all(&request);
            let parts = match refused {
                Some(_) => Parts::default(),
                None => take_part(broker, &image, version, &request, &transaction).await,
            };
            (refused, parts)
        }
    };
    let shared = append::Request {
        broker,
        version,
        acks,
        deadline: Instant::now() + timeout,
    };
    let mut topics = Vec::with_capacity(request.topic_data.len());
    for data in request.topic_data {
        let topic = lookup::topic(&image, &data.name, data.topic_id, version >= 13);
        if data.partition_data.is_empty() {
            continue;
        }
        let mut outcomes = Vec::with_capacity(data.partition_data.len());
        for partition in last_of_each(data.partition_data) {
            outcomes.push(match (refused, topic) {
                (Some(code), _) => Outcome::told(partition.index, &whole(code)),
                (None, Err(code)) => Outcome::error(partition.index, code),
                (None, Ok(topic)) => match parts.remove(&(topic.id, partition.index)).transpose() {
                    Ok(guard) => append::append(shared, topic, partition, guard).await,
                    Err(refused) => Outcome::told(partition.index, &refused),
                },
            });
        }
        topics.push((data.name, data.topic_id, outcomes));
    }

    if acks == 0 {
        let failed = topics
            .iter()
            .flat_map(|(_, _, o)| o)
            .any(|o| o.answer.error_code != 0);
        return if failed { Reply::Close } else { Reply::None };
    }
    let deadline = Instant::now() + timeout.max(SYNC_PATIENCE);
    Reply::Later(
        async move {
            let mut responses = Vec::with_capacity(topics.len());
            for (name, id, outcomes) in topics {
                let mut answers = Vec::with_capacity(outcomes.len());
                for outcome in outcomes {
                    answers.push(outcome.answered(deadline).await);
                }
                responses.push(
                    TopicProduceResponse::default()
                        .with_name(name)
                        .with_topic_id(id)
                        .with_partition_responses(answers),
                );
            }
            Response::from(ProduceResponse::default().with_responses(responses))
        }
        .boxed(),
    )
}

/// What refuses the request as a whole.
fn refusal_of_all(request: &ProduceRequest) -> Option<Kafka> {
    (!(-1..=1).contains(&request.acks)).then_some(Kafka::InvalidRequiredAcks)
}

/// The same, with Kafka's words.
fn whole(code: Kafka) -> Refused {
    let message = (code == Kafka::InvalidProducerIdMapping)
        .then(|| "Transactional records contained more than one producer ID".to_owned());
    Refused { code, message }
}

/// Whose transaction a request writes in.
struct Transaction {
    id: String,
    producer: Producer,
}

/// What lets batches of a transaction in, or why one is not; nothing of others.
type Parts = HashMap<(TopicId, i32), Result<Guard, Refused>>;

/// Why a batch is not appended.
struct Refused {
    code: Kafka,
    message: Option<String>,
}

/// `None` outside of transactions.
fn transaction_of(request: &ProduceRequest) -> Result<Option<Transaction>, Kafka> {
    let batches = || {
        let partitions = request.topic_data.iter().flat_map(|t| &t.partition_data);
        partitions.filter_map(|p| BatchHeader::parse(p.records.as_ref()?).ok())
    };
    if !batches().any(|header| header.says_transactional()) {
        return Ok(None);
    }
    let id = request.transactional_id.as_ref();
    let id = id.ok_or(Kafka::TransactionalIdAuthorizationFailed)?;
    let mut producers = batches().filter_map(|header| producer_of(&header));
    let Some(producer) = producers.next() else {
        return Ok(None);
    };
    if producers.any(|other| other != producer) {
        return Err(Kafka::InvalidProducerIdMapping);
    }
    Ok(Some(Transaction {
        id: id.0.to_string(),
        producer,
    }))
}

/// Of a batch of a transaction.
fn producer_of(header: &BatchHeader) -> Option<Producer> {
    header.is_transactional().then_some(Producer {
        id: header.producer_id,
        epoch: header.producer_epoch,
    })
}

/// Asks the coordinator for all partitions where the transaction is not open yet.
async fn take_part(
    broker: &Broker,
    image: &Image,
    version: i16,
    request: &ProduceRequest,
    transaction: &Transaction,
) -> Parts {
    let Transaction { id, producer } = transaction;
    let support = Support::of(version, ABORTABLE, ADDED);
    let now_ms = broker.clock.wall().0;
    let mut guards = HashMap::new();
    let mut places = Vec::new();
    for data in &request.topic_data {
        let Ok(topic) = lookup::topic(image, &data.name, data.topic_id, version >= 13) else {
            continue;
        };
        for p in &data.partition_data {
            let header = p.records.as_ref().and_then(|r| BatchHeader::parse(r).ok());
            let Some(header) = header.filter(|header| producer_of(header).is_some()) else {
                continue;
            };
            let Ok(partition) = lookup::partition(broker, topic, p.index, -1) else {
                continue;
            };
            let first = FirstBatch {
                producer_id: producer.id,
                epoch: producer.epoch,
                sequence: header.base_sequence,
                epoch_per_transaction: support == Support::Added,
            };
            if let Some(guard) = partition.log().guard(&first, now_ms) {
                guards.insert((topic.name.clone(), p.index), (partition, guard));
                places.push((topic.name.clone(), p.index));
            }
        }
    }
    if places.is_empty() {
        return Parts::new();
    }
    let each = transactional::take_part(broker, id, *producer, places, support).await;
    let mut parts = Parts::new();
    for (place, takes_part) in each {
        let Some((partition, guard)) = guards.remove(&place) else {
            continue;
        };
        let part = takes_part
            .map(|()| guard)
            .map_err(|code| refused(code, support));
        parts.insert((partition.key.topic, place.1), part);
    }
    parts
}

/// An error that the client tries again after, where it does not know the coordinator's. Source: Apache Kafka,
/// `ReplicaManager.handleProduceAppend`.
fn refused(code: Kafka, support: Support) -> Refused {
    let is_passing = match code {
        Kafka::ConcurrentTransactions => support != Support::Added,
        Kafka::CoordinatorLoadInProgress
        | Kafka::CoordinatorNotAvailable
        | Kafka::NotCoordinator => true,
        _ => false,
    };
    match code {
        _ if is_passing => Refused {
            code: Kafka::NotEnoughReplicas,
            message: Some(format!(
                "Unable to verify the partition has been added to the transaction. Underlying error: {code}"
            )),
        },
        Kafka::InvalidTxnState => Refused {
            code,
            message: Some("Partition was not added to the transaction".to_owned()),
        },
        code => Refused {
            code,
            message: None,
        },
    }
}

/// Of a partition named twice, Kafka takes the last.
fn last_of_each(partitions: Vec<PartitionProduceData>) -> Vec<PartitionProduceData> {
    if partitions.len() < 2 {
        return partitions;
    }
    let mut seen = HashSet::with_capacity(partitions.len());
    let mut kept: Vec<_> = partitions
        .into_iter()
        .rev()
        .filter(|p| seen.insert(p.index))
        .collect();
    kept.reverse();
    kept
}

impl Outcome {
    fn error(index: i32, code: Kafka) -> Self {
        let answer = PartitionProduceResponse::default()
            .with_index(index)
            .with_error_code(code.code())
            .with_base_offset(-1)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(-1);
        Self { answer, wait: None }
    }

    fn told(index: i32, refused: &Refused) -> Self {
        let mut outcome = Self::error(index, refused.code);
        outcome.answer.error_message = refused.message.clone().map(StrBytes::from_string);
        outcome
    }

    fn refused(index: i32, refusal: Refusal) -> Self {
        let errors = refusal.record_errors.into_iter().map(|(at, message)| {
            BatchIndexAndErrorMessage::default()
                .with_batch_index(at)
                .with_batch_index_error_message(Some(StrBytes::from_string(message)))
        });
        let mut outcome = Self::error(index, Kafka::Unknown(refusal.code));
        outcome.answer.record_errors = errors.collect();
        outcome.answer.error_message = Some(StrBytes::from_string(refusal.message));
        outcome
    }

    /// The answer, once what it promises holds.
    async fn answered(self, deadline: Instant) -> PartitionProduceResponse {
        let Some((partition, appended)) = self.wait else {
            return self.answer;
        };
        let index = self.answer.index;
        match timeout_at(deadline, partition.committed(appended.committed_at)).await {
            Ok(true) => self.answer,
            Ok(false) => Self::error(index, Kafka::KafkaStorageError).answer,
            Err(_elapsed) => Self::error(index, Kafka::RequestTimedOut).answer,
        }
    }
}
