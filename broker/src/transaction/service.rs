//! Transactions, as Kafka's APIs ask for them: which shard an id is in, what is asked of other parts of the node, and ends.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kafka_compat::protocol::error::ResponseError as Kafka;
use parking_lot::Mutex;
use storage::control::{Marker, MarkerKind};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tracing::{error, warn};

use super::{
    Listed, Partitions, Transaction, TransactionShard,
    markers::{self, Failed},
    shard::{Ending, Wants},
    state::{EndAsked, InitAsked},
};
use crate::{
    api::error_code,
    config::LiveConfig,
    coordinator::{Coordinator, CoordinatorError, CoordinatorOptions, Producer, partition_of},
    group::Groups,
    ids::ProducerIds,
    metadata::Metadata,
    partition::Registry,
    schedule::fire_loop::FireHandle,
};

/// The internal topic.
pub const TOPIC: &str = "__transaction_state";

/// An end is answered when its markers are written, as long as that takes no longer: a client that is told before asks for its next
/// transaction too early, and then waits longer than this takes.
const END_PATIENCE: Duration = Duration::from_millis(500);
/// A marker that could not be written is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Settings of transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionConfig {
    /// `transaction.max.timeout.ms`
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`
    pub id_expiration_ms: i64,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`
    pub id_check_interval_ms: i64,
    /// `transaction.partition.verification.enable`
    pub verifies: bool,
    /// `transaction.state.log.num.partitions`
    pub topic_partitions: i32,
    /// `transaction.state.log.segment.bytes`
    pub topic_segment_bytes: i32,
}

/// What transactions need of the rest of the node.
#[derive(Clone, Debug)]
pub struct Around {
    /// Topics.
    pub metadata: Metadata,
    /// Partitions of them.
    pub registry: Arc<Registry>,
    /// Offsets take part in transactions.
    pub groups: Groups,
    /// Who fires what a commit arms.
    pub fire: FireHandle,
    /// Producer ids to give out.
    pub producer_ids: Arc<ProducerIds>,
    /// Settings.
    pub config: LiveConfig,
}

/// The transactions of this node; cheap to clone.
#[derive(Clone, Debug)]
pub struct Transactions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    coordinator: Arc<Coordinator<TransactionShard>>,
    around: Around,
    /// Who waits for the end of an id's transaction.
    waiting: Mutex<HashMap<String, Vec<oneshot::Sender<()>>>>,
    endings: Mutex<Option<mpsc::UnboundedReceiver<Ending>>>,
}

impl Transactions {
    /// Transactions whose topic may not exist yet.
    pub fn new(options: CoordinatorOptions, around: Around) -> Self {
        #[expect(
            clippy::disallowed_methods,
            reason = "told under a lock, and once per transactional id at a time"
        )]
        let (tell, endings) = mpsc::unbounded_channel();
        let config = around.config.clone();
        let make = move || TransactionShard::new(config.clone(), tell.clone());
        Self(Arc::new(Inner {
            coordinator: Coordinator::new(options, make),
            around,
            waiting: Mutex::default(),
            endings: Mutex::new(Some(endings)),
        }))
    }

    /// Loads transactions, ends those whose end is decided, and keeps deadlines, until told to stop.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let Some(mut endings) = self.0.endings.lock().take() else {
            return;
        };
        let coordinator = Arc::clone(&self.0.coordinator).run(stopped.clone());
        let end_all = async {
            loop {
                let ending = tokio::select! {
                    biased;
                    _ = stopped.wait_for(|stop| *stop) => return,
                    Some(ending) = endings.recv() => ending,
                };
                // Once the node stops they are left to the next start.
                tokio::spawn(self.clone().finish(ending, stopped.clone()));
            }
        };
        tokio::join!(coordinator, end_all);
    }

    /// Waits until all of them are loaded.
    pub async fn loaded(&self) {
        self.0.coordinator.loaded().await;
    }

    fn shard(&self, id: &str) -> Result<i32, Kafka> {
        let partitions = self.0.coordinator.partitions();
        let partitions = partitions.ok_or(Kafka::NotCoordinator)?;
        Ok(partition_of(id, partitions))
    }

    fn config(&self) -> TransactionConfig {
        self.0.around.config.get().transactions
    }

    async fn fresh_id(&self) -> Result<i64, Kafka> {
        let around = &self.0.around;
        let id = around.producer_ids.next(&around.metadata).await;
        id.map_err(|e| error_code::of_metadata(&e))
    }

    /// A producer takes a transactional id; `expected` is who it was, where it goes on after an error.
    pub async fn init(
        &self,
        id: &str,
        timeout_ms: i32,
        expected: Option<Producer>,
    ) -> Result<Producer, Kafka> {
        if id.is_empty() {
            return Err(Kafka::InvalidRequest);
        }
        if !(1..=self.config().max_timeout_ms).contains(&timeout_ms) {
            return Err(Kafka::InvalidTransactionTimeout);
        }
        let shard = self.shard(id)?;
        let mut fresh_id = None;
        loop {
            let asked = InitAsked {
                timeout_ms,
                expected,
                fresh_id,
            };
            let writing = self
                .0
                .coordinator
                .write(shard, |s, now| s.init(id, asked, now));
            match writing.await.map_err(|e| told(&e))?? {
                Wants::Done(producer) => return Ok(producer),
                Wants::ProducerId => fresh_id = Some(self.fresh_id().await?),
            }
        }
    }

    /// Partitions take part in the producer's transaction, which begins with the first of them.
    pub async fn add(
        &self,
        id: &str,
        producer: Producer,
        partitions: &Partitions,
        version: i16,
    ) -> Result<(), Kafka> {
        if id.is_empty() {
            return Err(Kafka::InvalidRequest);
        }
        let shard = self.shard(id)?;
        let adding = self.0.coordinator.write(shard, |s, now| {
            s.add(id, producer, partitions, version, now)
        });
        adding.await.map_err(|e| told(&e))?
    }

    /// Whether partitions take part; an answer for each.
    pub fn verify(
        &self,
        id: &str,
        producer: Producer,
        partitions: &[(String, i32)],
    ) -> Result<Vec<Result<(), Kafka>>, Kafka> {
        if id.is_empty() {
            return Err(Kafka::InvalidRequest);
        }
        let shard = self.shard(id)?;
        let look = |s: &TransactionShard| {
            let known = s.get(id).ok_or(Kafka::InvalidProducerIdMapping)?;
            let partitions = partitions.iter();
            Ok(partitions
                .map(|(topic, index)| known.verify(producer, topic, *index))
                .collect())
        };
        self.0.coordinator.read(shard, look).map_err(|e| told(&e))?
    }

    /// Whether `transaction.partition.verification.enable` says so.
    pub fn verifies(&self) -> bool {
        self.config().verifies
    }

    /// The producer ends its transaction. Returns who it is from then on.
    pub async fn end(
        &self,
        id: &str,
        producer: Producer,
        kind: MarkerKind,
        version: i16,
    ) -> Result<Producer, Kafka> {
        if id.is_empty() {
            return Err(Kafka::InvalidRequest);
        }
        let shard = self.shard(id)?;
        let mut fresh_id = None;
        loop {
            let asked = EndAsked {
                producer,
                kind,
                version,
                fresh_id,
            };
            let ended = self.wait_for_end(id);
            let writing = self
                .0
                .coordinator
                .write(shard, |s, now| s.end(id, asked, now));
            match writing.await.map_err(|e| told(&e))?? {
                Wants::Done(next) => {
                    let is_prepared = |s: &TransactionShard| {
                        let known = s.get(id);
                        known.is_some_and(|t| t.ending().is_some())
                    };
                    if self.0.coordinator.read(shard, is_prepared).unwrap_or(false) {
                        // The end is decided: whether it is seen yet makes no difference to the answer.
                        let _ = timeout(END_PATIENCE, ended).await.is_ok();
                    }
                    return Ok(next);
                }
                Wants::ProducerId => fresh_id = Some(self.fresh_id().await?),
            }
        }
    }

    fn wait_for_end(&self, id: &str) -> oneshot::Receiver<()> {
        let (tell, hear) = oneshot::channel();
        let mut waiting = self.0.waiting.lock();
        let of_id = waiting.entry(id.to_owned()).or_default();
        of_id.retain(|waiting| !waiting.is_closed());
        of_id.push(tell);
        hear
    }

    /// Writes the markers of an ending, and then that it is complete; again and again, if need be.
    async fn finish(self, ending: Ending, mut stopped: watch::Receiver<bool>) {
        let Ok(shard) = self.shard(&ending.id) else {
            return;
        };
        let mut left = ending.partitions.clone();
        loop {
            let marker = Marker {
                kind: ending.kind,
                coordinator_epoch: self.coordinator_epoch(shard),
                transaction_version: ending.version,
            };
            left = self.write_markers(&ending, left, marker).await;
            if left.is_empty() {
                let complete = |s: &mut TransactionShard, now| s.complete(&ending, now);
                match self.0.coordinator.write(shard, complete).await {
                    Ok(()) => break,
                    Err(CoordinatorError::NotHere) => return,
                    Err(error) => {
                        error!(transactional_id = ending.id, %error, "a transaction's end could not be written");
                    }
                }
            }
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                () = tokio::time::sleep(RETRY_AFTER) => {}
            }
        }
        let waiting = self.0.waiting.lock().remove(&ending.id);
        for waiting in waiting.into_iter().flatten() {
            // Whoever waited may be gone.
            let _ = waiting.send(()).is_ok();
        }
    }

    /// Returns where they are still to be written.
    async fn write_markers(
        &self,
        ending: &Ending,
        partitions: Partitions,
        marker: Marker,
    ) -> Partitions {
        let flat = partitions
            .into_iter()
            .flat_map(|(topic, indexes)| indexes.into_iter().map(move |i| (topic.clone(), i)));
        let around = &self.0.around;
        let node = markers::Node {
            metadata: &around.metadata,
            registry: &around.registry,
            groups: &around.groups,
            fire: &around.fire,
        };
        let written = markers::write_all(&node, ending.producer, marker, flat.collect());
        let mut left = Partitions::new();
        for ((topic, index), result) in written.await {
            let why = match result {
                // There is nothing to end in a topic that is gone.
                Ok(()) | Err(Failed::NoSuchPartition) => continue,
                Err(Failed::Epoch(why) | Failed::Fenced(why)) => {
                    warn!(
                        transactional_id = ending.id,
                        topic,
                        partition = index,
                        why,
                        "a partition takes no marker any more"
                    );
                    continue;
                }
                Err(Failed::NotNow(why)) => why,
            };
            warn!(
                transactional_id = ending.id,
                topic,
                partition = index,
                why,
                "a marker could not be written; it is tried again"
            );
            left.entry(topic).or_default().insert(index);
        }
        left
    }

    fn coordinator_epoch(&self, shard: i32) -> i32 {
        self.0.coordinator.leader_epoch(shard).unwrap_or(0)
    }

    /// An id.
    pub fn describe(&self, id: &str) -> Result<Option<Transaction>, Kafka> {
        let shard = self.shard(id)?;
        let look = |s: &TransactionShard| s.get(id).cloned();
        self.0.coordinator.read(shard, look).map_err(|e| told(&e))
    }

    /// All ids; an error where some of them are not known yet.
    pub fn list(&self) -> Result<Vec<Listed>, Kafka> {
        let mut all = Vec::new();
        for shard in 0..self.0.coordinator.partitions().unwrap_or(0) {
            let look = |s: &TransactionShard| s.list().collect::<Vec<_>>();
            all.extend(self.0.coordinator.read(shard, look).map_err(|e| told(&e))?);
        }
        Ok(all)
    }
}

fn told(error: &CoordinatorError) -> Kafka {
    match error {
        CoordinatorError::Loading => Kafka::CoordinatorLoadInProgress,
        CoordinatorError::NotHere | CoordinatorError::NotCommitted => Kafka::NotCoordinator,
        CoordinatorError::Append(_) => Kafka::CoordinatorNotAvailable,
    }
}
