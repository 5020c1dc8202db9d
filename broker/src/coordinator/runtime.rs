//! Shards, who has them, and the writes that change them.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use scheduler::Clock;
use storage::{
    control::Marker,
    log::{AppendError, FirstBatch, Guard, Origin, Unit},
    units::{Offset, TopicId},
};
use thiserror::Error;
use tokio::{sync::Notify, time::Instant};
use tracing::error;

use super::{Decided, Now, Producer, Shard, batch};
use crate::{
    metadata::Metadata,
    partition::{Partition, PartitionKey, Registry, Slot},
};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum CoordinatorError {
    /// The topic is not there, or its partition is not open here.
    #[error("the coordinator's partition is not here")]
    NotHere,
    /// It is being read.
    #[error("the coordinator is loading")]
    Loading,
    /// The records could not be written.
    #[error("writing: {0}")]
    Append(#[from] AppendError),
    /// They may never be committed.
    #[error("not committed")]
    NotCommitted,
}

/// What a coordinator works with.
#[derive(Clone, Debug)]
pub struct CoordinatorOptions {
    /// The internal topic.
    pub topic: &'static str,
    /// Where it is looked up.
    pub metadata: Metadata,
    /// Where its partitions are.
    pub registry: Arc<Registry>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

/// The shards of an internal topic on this node.
pub struct Coordinator<S: Shard> {
    pub(super) options: CoordinatorOptions,
    pub(super) make: Box<dyn Fn() -> S + Send + Sync>,
    started: Instant,
    pub(super) shards: Mutex<HashMap<PartitionKey, Arc<Place<S>>>>,
    /// There is something to load, or a deadline came nearer.
    pub(super) bell: Notify,
    /// Partitions may be there that are not loaded.
    pub(super) look: AtomicBool,
    /// Rung after each look for partitions.
    pub(super) followed: Notify,
    /// The deadline that is waited for.
    pub(super) planned: AtomicI64,
}

impl<S: Shard> std::fmt::Debug for Coordinator<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinator")
            .field("topic", &self.options.topic)
            .finish_non_exhaustive()
    }
}

/// A shard, and the partition that it is in.
pub(super) struct Place<S> {
    pub(super) partition: Arc<Partition>,
    /// `None` while it is read.
    pub(super) shard: Mutex<Option<S>>,
}

impl<S: Shard> Coordinator<S> {
    /// Over a topic that may not exist yet.
    pub fn new(
        options: CoordinatorOptions,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            options,
            make: Box::new(make),
            started: Instant::now(),
            shards: Mutex::new(HashMap::new()),
            bell: Notify::new(),
            look: AtomicBool::new(true),
            followed: Notify::new(),
            planned: AtomicI64::new(i64::MAX),
        })
    }

    pub(super) fn now(&self) -> Now {
        Now {
            wall: self.options.clock.wall(),
            steady: i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Partitions of the topic; `None` where it does not exist.
    pub fn partitions(&self) -> Option<i32> {
        self.topic().map(|(_, partitions)| partitions)
    }

    pub(super) fn topic(&self) -> Option<(TopicId, i32)> {
        let image = self.options.metadata.image();
        let topic = image.topics.get(self.options.topic)?;
        let partitions = i32::try_from(topic.partitions.len()).ok()?;
        Some((topic.id, partitions))
    }

    fn place(&self, index: i32) -> Result<Arc<Place<S>>, CoordinatorError> {
        let (topic, _) = self.topic().ok_or(CoordinatorError::NotHere)?;
        let key = PartitionKey { topic, index };
        if let Some(place) = self.shards.lock().get(&key) {
            return Ok(Arc::clone(place));
        }
        // It is loaded as soon as it is seen.
        match self.options.registry.get(key) {
            Some(Slot::Online(_)) => {
                self.look.store(true, Relaxed);
                self.bell.notify_one();
                Err(CoordinatorError::Loading)
            }
            _ => Err(CoordinatorError::NotHere),
        }
    }

    /// Waits until all partitions are loaded: those of a topic that was just made soon are.
    pub async fn loaded(&self) {
        // The partitions are open by now; they may not have been when they were looked for.
        self.look.store(true, Relaxed);
        self.bell.notify_one();
        loop {
            let heard = self.followed.notified();
            if self.is_loaded() {
                return;
            }
            heard.await;
        }
    }

    fn is_loaded(&self) -> bool {
        let Some((topic, count)) = self.topic() else {
            return false;
        };
        let shards = self.shards.lock();
        (0..count).all(|index| {
            let place = shards.get(&PartitionKey { topic, index });
            place.is_some_and(|place| place.shard.lock().is_some())
        })
    }

    /// Looks something up in a shard.
    pub fn read<R>(&self, index: i32, look: impl FnOnce(&S) -> R) -> Result<R, CoordinatorError> {
        let place = self.place(index)?;
        let shard = place.shard.lock();
        shard.as_ref().map(look).ok_or(CoordinatorError::Loading)
    }

    /// Lets a handler decide, writes its records, and returns its answer when they, and all before them, are committed.
    pub async fn write<R>(
        self: &Arc<Self>,
        index: i32,
        decide: impl FnOnce(&mut S, Now) -> Decided<R, S::Then>,
    ) -> Result<R, CoordinatorError> {
        let place = self.place(index)?;
        let (reply, end) = {
            let mut shard = place.shard.lock();
            let shard = shard.as_mut().ok_or(CoordinatorError::Loading)?;
            let now = self.now();
            let decided = decide(shard, now);
            let performed = self.perform(&place, shard, decided, now);
            self.tell_of_deadline(shard);
            performed?
        };
        if place.partition.committed(end).await {
            Ok(reply)
        } else {
            Err(CoordinatorError::NotCommitted)
        }
    }

    /// The same, in a producer's transaction: the records count when it is committed. `guard` is what [`Self::guard`] gave.
    pub async fn write_in_transaction<R>(
        self: &Arc<Self>,
        index: i32,
        (producer, guard): (Producer, Option<Guard>),
        decide: impl FnOnce(&mut S, Now) -> Decided<R, S::Then>,
    ) -> Result<R, CoordinatorError> {
        let place = self.place(index)?;
        let (reply, end) = {
            let mut shard = place.shard.lock();
            let shard = shard.as_mut().ok_or(CoordinatorError::Loading)?;
            let now = self.now();
            let Decided { records, reply, .. } = decide(shard, now);
            let end = if records.is_empty() {
                place.partition.offsets().log_end
            } else {
                let frame = batch::encode(&records, Some(producer), now.wall.0);
                let unit = Unit {
                    frames: vec![frame],
                };
                let origin = Origin::Coordinator { guard };
                let appended = place.partition.append_as(unit, now.wall, origin)?;
                for record in &records {
                    shard.replay_in_transaction(producer.id, record);
                }
                appended.committed_at
            };
            (reply, end)
        };
        if place.partition.committed(end).await {
            Ok(reply)
        } else {
            Err(CoordinatorError::NotCommitted)
        }
    }

    /// Whether a producer has to show that its transaction is known before it writes here; see [`storage::log::Log::guard`].
    pub fn guard(
        &self,
        index: i32,
        producer: Producer,
        epoch_per_transaction: bool,
    ) -> Result<Option<Guard>, CoordinatorError> {
        let place = self.place(index)?;
        let first = FirstBatch {
            producer_id: producer.id,
            epoch: producer.epoch,
            // A coordinator's batches have none.
            sequence: -1,
            epoch_per_transaction,
        };
        let now = self.options.clock.wall();
        Ok(place.partition.log().guard(&first, now.0))
    }

    /// Ends a producer's transaction in a partition. Returns that, and the log end that is to be committed.
    pub fn append_marker(
        &self,
        index: i32,
        producer: Producer,
        marker: Marker,
    ) -> Result<(Arc<Partition>, Offset), CoordinatorError> {
        let place = self.place(index)?;
        let mut shard = place.shard.lock();
        let shard = shard.as_mut().ok_or(CoordinatorError::Loading)?;
        let now = self.now().wall;
        let appended = place.partition.append_marker(producer, marker, now)?;
        shard.on_marker(producer.id, marker.kind);
        Ok((Arc::clone(&place.partition), appended.committed_at))
    }

    /// The term of a partition's leader: of what is written to it.
    pub fn leader_epoch(&self, index: i32) -> Result<i32, CoordinatorError> {
        Ok(self.place(index)?.partition.leader_epoch().0)
    }

    /// A sleep that ends too late is cut short; most writes put a deadline off.
    fn tell_of_deadline(&self, shard: &S) {
        let planned = self.planned.load(Relaxed);
        if shard.next_deadline().is_some_and(|next| next < planned) {
            self.bell.notify_one();
        }
    }

    /// Appends what was decided, under the shard's lock; returns the answer, and where the log must be committed up to.
    pub(super) fn perform<R>(
        self: &Arc<Self>,
        place: &Arc<Place<S>>,
        shard: &mut S,
        decided: Decided<R, S::Then>,
        now: Now,
    ) -> Result<(R, Offset), CoordinatorError> {
        let Decided {
            records,
            replay,
            reply,
            then,
        } = decided;
        if records.is_empty() {
            let end = place.partition.offsets().log_end;
            if let Some(then) = then {
                let more = shard.then(then, true, now);
                self.perform(place, shard, more, now)?;
            }
            return Ok((reply, end));
        }
        let frame = batch::encode(&records, None, now.wall.0);
        let appended = place.partition.append_own(
            Unit {
                frames: vec![frame],
            },
            now.wall,
        );
        let end = match appended {
            Ok(appended) => appended.committed_at,
            Err(error) => {
                if let Some(then) = then {
                    let more = shard.then(then, false, now);
                    self.perform(place, shard, more, now)?;
                }
                return Err(error.into());
            }
        };
        if replay {
            for record in &records {
                shard.replay(record);
            }
        }
        if let Some(then) = then {
            self.go_on(Arc::clone(place), then, end);
        }
        Ok((reply, end))
    }

    /// Whoever asked may be gone when the records are committed: others may wait for what follows.
    fn go_on(self: &Arc<Self>, place: Arc<Place<S>>, then: S::Then, end: Offset) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let committed = place.partition.committed(end).await;
            let mut shard = place.shard.lock();
            if let Some(shard) = shard.as_mut() {
                let now = this.now();
                let more = shard.then(then, committed, now);
                if let Err(error) = this.perform(&place, shard, more, now) {
                    error!(topic = this.options.topic, %error, "what follows a commit failed");
                }
                this.tell_of_deadline(shard);
            }
        });
    }
}
