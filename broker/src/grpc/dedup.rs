//! `DedupService`: message ids. Everything is decided in [`crate::partition`].

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use kafka_compat::{message_ids::MessageId, record_headers::ID_LEN_MAX};
use proto::admin::v1::{self as pb, dedup_service_server::DedupService};
use storage::log::AppendError;
use tonic::{Request, Response, Status};

use super::{
    errors::{invalid, of_control},
    moments::{counted, duration, timestamp},
    names::checked_request_id,
    places,
};
use crate::{
    api::Broker, dedup::Seen, partition::Partition, schedule::control::ControlError,
    telemetry::Checks,
};

const IDS_MAX: usize = 10_000;

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    broker: Arc<Broker>,
}

impl Service {
    pub(super) fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }

    fn hashes(&self, ids: &[Bytes]) -> Vec<MessageId> {
        let hash = self.broker.dedup.hash();
        ids.iter().map(|id| hash.of(id)).collect()
    }
}

fn checked(field: &str, ids: &[Bytes]) -> Result<(), Status> {
    if ids.len() > IDS_MAX {
        return Err(invalid(field, format!("there are more than {IDS_MAX}")));
    }
    let wrong = ids
        .iter()
        .position(|id| !(1..=ID_LEN_MAX).contains(&id.len()));
    match wrong {
        Some(at) => Err(invalid(
            field,
            format!("number {at} does not have 1 to {ID_LEN_MAX} bytes"),
        )),
        None => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, AppendError> + Send + 'static,
) -> Result<T, Status> {
    let done = places::blocking(task).await?;
    done.map_err(|error| of_control(&ControlError::Append(error)))
}

/// An id as it was found.
fn usage(partition: &Partition, id: &Bytes, seen: Seen) -> pb::MessageIdUse {
    let window_ms = partition.dedup_window_ms();
    let free = pb::MessageIdUse {
        message_id: id.clone(),
        state: pb::MessageIdState::Free.into(),
        partition: partition.key.index,
        ..pb::MessageIdUse::default()
    };
    match seen {
        Seen::Never => free,
        Seen::Taken(taken) => pb::MessageIdUse {
            state: pb::MessageIdState::Taken.into(),
            offset: Some(taken.offset.0),
            accept_time: Some(timestamp(taken.at_ms)),
            expire_time: taken.at_ms.checked_add(window_ms).map(timestamp),
            ..free
        },
        Seen::Open { offset, .. } => pb::MessageIdUse {
            state: pb::MessageIdState::InTransaction.into(),
            offset: Some(offset.0),
            ..free
        },
    }
}

#[tonic::async_trait]
impl DedupService for Service {
    async fn check_message_ids(
        &self,
        request: Request<pb::CheckMessageIdsRequest>,
    ) -> Result<Response<pb::CheckMessageIdsResponse>, Status> {
        let request = request.into_inner();
        checked("message_ids", &request.message_ids)?;
        let partition = places::partition(&self.broker, &request.topic, request.partition)?;
        let now = self.broker.clock.wall();
        let hashes = self.hashes(&request.message_ids);
        let uses = blocking(move || {
            let seen = partition.seen_ids(&hashes, now)?;
            let uses = request.message_ids.iter().zip(seen);
            Ok(uses.map(|(id, seen)| usage(&partition, id, seen)).collect())
        });
        let uses = uses.await?;
        Ok(Response::new(pb::CheckMessageIdsResponse { uses }))
    }

    async fn lookup_message_id(
        &self,
        request: Request<pb::LookupMessageIdRequest>,
    ) -> Result<Response<pb::LookupMessageIdResponse>, Status> {
        let request = request.into_inner();
        let id = request.message_id;
        checked("message_id", std::slice::from_ref(&id))?;
        let partitions = places::partitions(&self.broker, &request.topic, &request.partitions)?;
        let now = self.broker.clock.wall();
        let hashes = self.hashes(std::slice::from_ref(&id));
        let uses = blocking(move || {
            let mut uses = Vec::new();
            for partition in &partitions {
                let seen = partition.seen_ids(&hashes, now)?;
                let taken = seen.into_iter().filter(|seen| *seen != Seen::Never);
                uses.extend(taken.map(|seen| usage(partition, &id, seen)));
            }
            Ok(uses)
        });
        let uses = uses.await?;
        Ok(Response::new(pb::LookupMessageIdResponse { uses }))
    }

    async fn forget_message_ids(
        &self,
        request: Request<pb::ForgetMessageIdsRequest>,
    ) -> Result<Response<pb::ForgetMessageIdsResponse>, Status> {
        let request = request.into_inner();
        checked("message_ids", &request.message_ids)?;
        checked_request_id(&request.request_id)?;
        let partition = places::partition(&self.broker, &request.topic, request.partition)?;
        let now = self.broker.clock.wall();
        let ids = request.message_ids;
        let (of, asked) = (Arc::clone(&partition), ids.clone());
        let request_id = Bytes::from(request.request_id);
        let forget = move || of.forget_ids(&asked, &request_id, now);
        // In a task of its own: what was appended is told of whether the client waits or not.
        let forgotten = tokio::task::spawn_blocking(forget).await;
        let forgotten = forgotten.map_err(|_stopping| of_control(&ControlError::Closed))?;
        let (seen, committed_at) = forgotten.map_err(|error| of_control(&error))?;
        if !partition.committed(committed_at).await {
            return Err(of_control(&ControlError::Closed));
        }
        let uses = ids.iter().zip(seen);
        let uses = uses.map(|(id, seen)| usage(&partition, id, seen)).collect();
        Ok(Response::new(pb::ForgetMessageIdsResponse { uses }))
    }

    async fn get_dedup_stats(
        &self,
        request: Request<pb::GetDedupStatsRequest>,
    ) -> Result<Response<pb::GetDedupStatsResponse>, Status> {
        let topic = request.into_inner().topic;
        let (partitions, offline) = places::partitions_or_all(&self.broker, &topic)?;
        let broker = Arc::clone(&self.broker);
        let stats = blocking(move || {
            let now_ms = broker.clock.wall().0;
            let mut topics: BTreeMap<Arc<str>, Sum> = BTreeMap::new();
            for partition in &partitions {
                let sum = topics.entry(Arc::clone(&partition.topic)).or_default();
                sum.add(partition);
            }
            let topics = topics
                .iter()
                .filter(|(_, sum)| !topic.is_empty() || sum.since_ms.is_some());
            let topics = topics.map(|(name, sum)| sum.told(name, now_ms)).collect();
            let index = broker.dedup.stats();
            Ok(pb::GetDedupStatsResponse {
                topics,
                index: Some(pb::DedupIndexStats {
                    entries: counted(index.store.entries),
                    bytes: counted(index.store.bytes),
                    files: counted(index.store.files),
                    in_memory: counted(index.in_memory),
                    filter_bytes: counted(index.filter_bytes),
                    filter_ready: index.filter_is_whole,
                    cache_bytes: counted(index.store.cache_bytes),
                }),
                unavailable_partitions: offline,
            })
        });
        Ok(Response::new(stats.await?))
    }
}

/// A topic's partitions together.
#[derive(Default)]
struct Sum {
    entries: u64,
    bytes: u64,
    since_ms: Option<i64>,
    window_ms: i64,
    checks: Checks,
}

impl Sum {
    fn add(&mut self, partition: &Partition) {
        let size = partition.ids_size();
        self.entries += size.in_memory + size.stored;
        self.bytes += size.stored_bytes;
        self.since_ms = [self.since_ms, size.since_ms].into_iter().flatten().min();
        self.window_ms = partition.dedup_window_ms();
        // All partitions of a topic count in one place.
        self.checks = partition.metrics.checks();
    }

    #[expect(clippy::cast_precision_loss, reason = "a share")]
    fn told(&self, topic: &str, now_ms: i64) -> pb::TopicDedupStats {
        let age = self
            .since_ms
            .map_or(0, |since| now_ms.saturating_sub(since));
        let fill = match self.window_ms {
            0 => 0.0,
            window => (age.max(0) as f64 / window as f64).min(1.0),
        };
        pb::TopicDedupStats {
            topic: topic.to_owned(),
            window: Some(duration(self.window_ms)),
            entries: counted(self.entries),
            bytes: counted(self.bytes),
            hits: counted(self.checks.hits),
            misses: counted(self.checks.misses),
            expired: counted(self.checks.expired),
            window_fill: fill,
        }
    }
}
