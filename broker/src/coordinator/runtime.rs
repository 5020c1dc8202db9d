//! Shards, who has them, and the writes that change them.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use scheduler::Clock;
use storage::{
    batch::{BatchHeader, BatchView, HEADER_LEN},
    control::{Marker, MarkerKind},
    log::{AppendError, Chunk, FirstBatch, Guard, Origin, ReadUpTo, Unit},
    units::{Offset, TimestampMs, TopicId},
};
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tracing::{error, info};

use super::{KeyValue, Producer, batch};
use crate::{
    metadata::{Image, Metadata},
    partition::{Partition, PartitionKey, Registry, Slot},
};

/// What is read of a partition at once while it is loaded.
const LOAD_BYTES: usize = 1 << 20;
/// Every sleep ends after this.
const SLEEP_MS_MAX: i64 = 60_000;
/// A partition that could not be loaded is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Two clocks: what is written down is dated by the wall's, which may step; what is waited for by one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall time.
    pub wall: TimestampMs,
    /// Milliseconds since the node started.
    pub steady: i64,
}

/// The state of one partition.
pub trait Shard: Send + 'static {
    /// What is to be done after records are committed, or could not be.
    type Then: Send + 'static;

    /// Takes over what a record says, when it was written or at the start. Never fails: what it does not know, it lets be.
    fn replay(&mut self, record: &KeyValue);
    /// The same, of a record that counts when its producer's transaction is committed.
    fn replay_in_transaction(&mut self, _producer_id: i64, _record: &KeyValue) {}
    /// A producer's transaction ended here.
    fn on_marker(&mut self, _producer_id: i64, _kind: MarkerKind) {}
    /// All records were replayed: deadlines begin now.
    fn loaded(&mut self, now: Now);
    /// How many records were replayed, and how long it took.
    fn told_of_load(&self, _records: u64, _took: Duration) {}
    /// When [`Shard::on_deadline`] wants to be called.
    fn next_deadline(&self) -> Option<i64>;
    /// Acts on one deadline that is over; `None` where there is none.
    fn on_deadline(&mut self, now: Now) -> Option<Decided<(), Self::Then>>;
    /// These topics are gone.
    fn on_topics_gone(&mut self, is_gone: &dyn Fn(&str) -> bool) -> Decided<(), Self::Then>;
    /// Goes on after a write; false where it was not committed.
    fn then(&mut self, then: Self::Then, committed: bool, now: Now) -> Decided<(), Self::Then>;
}

/// What a handler decided.
#[derive(Debug)]
pub struct Decided<R, T> {
    /// To be appended whole, or not at all.
    pub records: Vec<KeyValue>,
    /// They are replayed into the state when they were appended; else the handler changed it already.
    pub replay: bool,
    /// To be told when they are committed.
    pub reply: R,
    /// To be done then.
    pub then: Option<T>,
}

impl<R, T> Decided<R, T> {
    /// Only an answer.
    pub fn reply(reply: R) -> Self {
        Self::write(Vec::new(), reply)
    }

    /// Records that say what changes.
    pub fn write(records: Vec<KeyValue>, reply: R) -> Self {
        Self {
            records,
            replay: true,
            reply,
            then: None,
        }
    }
}

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
    options: CoordinatorOptions,
    make: Box<dyn Fn() -> S + Send + Sync>,
    started: Instant,
    shards: Mutex<HashMap<PartitionKey, Arc<Place<S>>>>,
    /// There is something to load, or a deadline came nearer.
    bell: Notify,
    /// Partitions may be there that are not loaded.
    look: AtomicBool,
    /// Rung after each look for partitions.
    followed: Notify,
    /// The deadline that is waited for.
    planned: AtomicI64,
}

impl<S: Shard> std::fmt::Debug for Coordinator<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinator")
            .field("topic", &self.options.topic)
            .finish_non_exhaustive()
    }
}

/// A shard, and the partition that it is in.
struct Place<S> {
    partition: Arc<Partition>,
    /// `None` while it is read.
    shard: Mutex<Option<S>>,
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

    fn now(&self) -> Now {
        Now {
            wall: self.options.clock.wall(),
            steady: i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX),
        }
    }

    /// Partitions of the topic; `None` where it does not exist.
    pub fn partitions(&self) -> Option<i32> {
        self.topic().map(|(_, partitions)| partitions)
    }

    fn topic(&self) -> Option<(TopicId, i32)> {
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
    fn perform<R>(
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

    /// Loads what comes, and keeps deadlines, until told to stop.
    pub async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut images = self.options.metadata.watch();
        let mut topics = names(&images.borrow_and_update());
        let mut retry_at = None;
        loop {
            if self.look.swap(false, Relaxed) {
                let wait = self.follow().await;
                self.followed.notify_waiters();
                retry_at = wait.map(|wait| Instant::now() + wait);
                let now = names(&images.borrow_and_update());
                topics.retain(|id, _| !now.contains_key(id));
                let gone: HashSet<String> = topics.into_values().collect();
                if !gone.is_empty() {
                    self.on_topics_gone(&|name| gone.contains(name));
                }
                topics = now;
            }
            let next = self.on_deadlines();
            let retry = retry_at.unwrap_or_else(|| Instant::now() + next);
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => return,
                changed = images.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.look.store(true, Relaxed);
                }
                () = self.bell.notified() => {}
                () = tokio::time::sleep(next) => {}
                () = tokio::time::sleep_until(retry) => {
                    if retry_at.is_some() {
                        self.look.store(true, Relaxed);
                    }
                }
            }
        }
    }

    fn on_topics_gone(self: &Arc<Self>, is_gone: &dyn Fn(&str) -> bool) {
        let places: Vec<_> = self.shards.lock().values().map(Arc::clone).collect();
        for place in places {
            if let Some(shard) = place.shard.lock().as_mut() {
                self.forget_topics(&place, shard, is_gone);
            }
        }
    }

    fn forget_topics(
        self: &Arc<Self>,
        place: &Arc<Place<S>>,
        shard: &mut S,
        is_gone: &dyn Fn(&str) -> bool,
    ) {
        let decided = shard.on_topics_gone(is_gone);
        if let Err(error) = self.perform(place, shard, decided, self.now()) {
            error!(topic = self.options.topic, %error, "what is known of deleted topics could not be removed");
        }
    }

    /// Loads partitions that are open and not loaded, and forgets those that are gone. Returns when to look again, where
    /// some are not there yet.
    async fn follow(self: &Arc<Self>) -> Option<Duration> {
        let topic = self.topic();
        let wanted: HashMap<PartitionKey, Arc<Partition>> = topic
            .into_iter()
            .flat_map(|(topic, count)| (0..count).map(move |index| PartitionKey { topic, index }))
            .filter_map(|key| match self.options.registry.get(key) {
                Some(Slot::Online(partition)) => Some((key, partition)),
                _ => None,
            })
            .collect();
        let is_all_there = topic.is_none_or(|(_, count)| i32::try_from(wanted.len()) == Ok(count));
        let mut missing = Vec::new();
        {
            let mut shards = self.shards.lock();
            shards.retain(|key, place| {
                let partition = wanted.get(key);
                partition.is_some_and(|partition| Arc::ptr_eq(partition, &place.partition))
            });
            for (key, partition) in wanted {
                shards.entry(key).or_insert_with(|| {
                    let place = Arc::new(Place {
                        partition,
                        shard: Mutex::new(None),
                    });
                    missing.push((key, Arc::clone(&place)));
                    place
                });
            }
        }
        let mut failed = false;
        if !missing.is_empty() {
            let this = Arc::clone(self);
            let load = move || {
                let loaded = missing.iter().map(|(key, place)| this.load(*key, place));
                loaded.filter(|loaded| !loaded).count()
            };
            failed = tokio::task::spawn_blocking(load).await.unwrap_or(1) > 0;
        }
        (!is_all_there || failed).then_some(RETRY_AFTER)
    }

    /// Replays a partition; false where it has to be tried again. Blocks on the disk.
    fn load(self: &Arc<Self>, key: PartitionKey, place: &Arc<Place<S>>) -> bool {
        let mut shard = (self.make)();
        let started = Instant::now();
        let mut records = 0u64;
        let read = for_each_batch(&place.partition, &mut |batch| {
            let producer_id = batch.header.producer_id;
            if batch.header.is_control() {
                if let Some(marker) = Marker::read(batch) {
                    shard.on_marker(producer_id, marker.kind);
                }
                return true;
            }
            let said = batch::decode(batch);
            for record in said.iter().flatten() {
                if batch.header.is_transactional() {
                    shard.replay_in_transaction(producer_id, record);
                } else {
                    shard.replay(record);
                }
                records += 1;
            }
            said.is_some()
        });
        match read {
            Ok(()) => {
                shard.loaded(self.now());
                shard.told_of_load(records, started.elapsed());
                if records > 0 {
                    info!(
                        topic = self.options.topic,
                        partition = key.index,
                        records,
                        took_ms = started.elapsed().as_millis(),
                        "coordinator loaded"
                    );
                }
                // They may have been deleted while nobody was here.
                let image = self.options.metadata.image();
                self.forget_topics(place, &mut shard, &|name| !image.topics.contains_key(name));
                *place.shard.lock() = Some(shard);
                true
            }
            Err(why) => {
                error!(
                    topic = self.options.topic,
                    partition = key.index,
                    why,
                    "the coordinator cannot be loaded"
                );
                self.shards.lock().remove(&key);
                false
            }
        }
    }

    /// Acts on deadlines that are over; returns how long there is none.
    fn on_deadlines(self: &Arc<Self>) -> Duration {
        // Whatever is set from here on tells.
        self.planned.store(i64::MAX, Relaxed);
        let places: Vec<_> = self.shards.lock().values().map(Arc::clone).collect();
        let mut next = i64::MAX;
        let now = self.now();
        for place in places {
            let mut shard = place.shard.lock();
            let Some(shard) = shard.as_mut() else {
                continue;
            };
            while let Some(decided) = shard.on_deadline(now) {
                if let Err(error) = self.perform(&place, shard, decided, now) {
                    error!(topic = self.options.topic, %error, "what a deadline asks for could not be written");
                }
            }
            next = next.min(shard.next_deadline().unwrap_or(i64::MAX));
        }
        self.planned.store(next, Relaxed);
        let left = next.saturating_sub(now.steady).min(SLEEP_MS_MAX);
        Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }
}

fn names(image: &Image) -> HashMap<TopicId, String> {
    let topics = image.topics.values();
    topics.map(|topic| (topic.id, topic.name.clone())).collect()
}

/// All visible batches of a partition, until `each` returns false. Blocks on the disk.
fn for_each_batch(
    partition: &Partition,
    each: &mut dyn FnMut(&BatchView) -> bool,
) -> Result<(), String> {
    let log = partition.log();
    let mut from = log.offsets().log_start;
    loop {
        let read = log
            .read(from, LOAD_BYTES, ReadUpTo::Visible, true)
            .map_err(|e| e.to_string())?;
        let mut bytes = Vec::with_capacity(read.bytes);
        for chunk in read.chunks {
            match chunk {
                Chunk::Bytes(b) => bytes.extend_from_slice(&b),
                Chunk::File(slice) => {
                    bytes.extend_from_slice(&slice.read().map_err(|e| e.to_string())?);
                }
            }
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let mut left = Bytes::from(bytes);
        while left.len() >= HEADER_LEN {
            let header = BatchHeader::parse(&left).map_err(|e| e.to_string())?;
            // The last one may be cut: it is read again from its beginning.
            if header.total_len() > left.len() {
                break;
            }
            let batch = BatchView::parse(left.split_to(header.total_len()));
            let batch = batch.map_err(|e| e.to_string())?;
            if !batch.verify_crc() {
                return Err(format!("the batch at {} is damaged", header.base_offset));
            }
            if !each(&batch) {
                return Err(format!(
                    "the batch at {} cannot be read",
                    header.base_offset
                ));
            }
            from = Offset(header.last_offset() + 1);
        }
    }
}
