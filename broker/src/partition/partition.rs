//! One partition: its log, and the held records that wait in it.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use scheduler::{TimerEntry, TimerStore};
use storage::{
    log::{AppendError, Appended, Log, Offsets, Retained, Unit},
    units::{DueTime, LeaderEpoch, Offset, TimestampMs, TopicId},
};
use tokio::sync::watch;

use crate::{telemetry::TopicMetrics, topic_config::TopicConfig};

/// Names a partition on this node; a topic's id, so that a topic created again is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionKey {
    /// The topic.
    pub topic: TopicId,
    /// The partition's number.
    pub index: i32,
}

/// What an append did, and the log end at which its answer is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedUnit {
    /// The offset to answer: of the first record, or of the original where this was a retry.
    pub base_offset: Offset,
    /// The answer may leave when the high watermark has reached this.
    pub committed_at: Offset,
    /// First offset of the log.
    pub log_start: Offset,
    /// A retry of one of the producer's last five batches: nothing was appended, and this is the original's timestamp.
    pub duplicate_of: Option<TimestampMs>,
}

/// A partition that is open on this node.
#[derive(Debug)]
pub struct Partition {
    /// Its name among partitions.
    pub key: PartitionKey,
    /// The topic's name.
    pub topic: Arc<str>,
    log: Arc<Log>,
    leader_epoch: AtomicI32,
    /// The topic's counters.
    pub metrics: TopicMetrics,
    config: RwLock<Arc<TopicConfig>>,
    pending: Mutex<Pending>,
    pinned_bytes: AtomicU64,
}

/// *Invariant*: a record is in exactly one of: `uncommitted`, `timers`, the hands of the fire loop, the log as a fire.
#[derive(Debug, Default)]
struct Pending {
    /// Holds appended but not committed, in log order.
    uncommitted: VecDeque<(Offset, Vec<TimerEntry>)>,
    timers: TimerStore,
    /// The oldest HOLD of what the fire loop has taken out and not yet appended.
    in_hand: Option<Offset>,
}

impl Partition {
    /// A partition over an open log whose pending records are known.
    pub fn new(
        key: PartitionKey,
        topic: Arc<str>,
        log: Arc<Log>,
        leader_epoch: LeaderEpoch,
        config: Arc<TopicConfig>,
        metrics: TopicMetrics,
        timers: TimerStore,
    ) -> Self {
        Self {
            key,
            topic,
            log,
            leader_epoch: AtomicI32::new(leader_epoch.0),
            metrics,
            config: RwLock::new(config),
            pending: Mutex::new(Pending {
                uncommitted: VecDeque::new(),
                timers,
                in_hand: None,
            }),
            pinned_bytes: AtomicU64::new(0),
        }
    }

    /// The log.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The leader's term.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(self.leader_epoch.load(Ordering::Acquire))
    }

    /// The topic's settings.
    pub fn config(&self) -> Arc<TopicConfig> {
        Arc::clone(&self.config.read())
    }

    /// Takes over new settings.
    pub fn set_config(&self, config: Arc<TopicConfig>) {
        self.log.set_config(config.log_config());
        *self.config.write() = config;
    }

    /// Offsets as they stand.
    pub fn offsets(&self) -> Offsets {
        self.log.offsets()
    }

    /// Appends a unit. `held` gives the timers of the holds in it, once their base offset is known.
    pub fn append(
        &self,
        unit: Unit,
        held: impl FnOnce(Offset) -> Vec<TimerEntry>,
        now: TimestampMs,
    ) -> Result<AppendedUnit, AppendError> {
        // The order of `uncommitted` must be the log's: one lock around both.
        let mut pending = self.pending.lock();
        match self.log.append(unit, self.leader_epoch(), now.0)? {
            Appended::New {
                base_offset,
                next_offset,
                log_start,
            } => {
                let entries = held(base_offset);
                if !entries.is_empty() {
                    pending.uncommitted.push_back((next_offset, entries));
                }
                Ok(AppendedUnit {
                    base_offset,
                    committed_at: next_offset,
                    log_start,
                    duplicate_of: None,
                })
            }
            Appended::Duplicate {
                base_offset,
                next_offset,
                timestamp,
            } => Ok(AppendedUnit {
                base_offset,
                committed_at: next_offset,
                log_start: self.log.offsets().log_start,
                duplicate_of: Some(TimestampMs(timestamp)),
            }),
        }
    }

    /// The end of a partition whose topic was deleted: nothing is appended or fired any more.
    pub fn close(&self) {
        self.log.abandon();
        *self.pending.lock() = Pending::default();
    }

    /// Moves holds that are committed to the timers; then says when the next one is due.
    pub fn promote_committed(&self) -> Option<DueTime> {
        let committed = self.log.offsets().high_watermark;
        let mut pending = self.pending.lock();
        while pending
            .uncommitted
            .front()
            .is_some_and(|(end, _)| *end <= committed)
        {
            let entries = pending.uncommitted.pop_front().map(|(_, entries)| entries);
            for entry in entries.into_iter().flatten() {
                pending.timers.insert(entry);
            }
        }
        pending.timers.next_deadline()
    }

    /// The log end that the oldest hold not yet committed waits for.
    pub fn uncommitted_front(&self) -> Option<Offset> {
        self.pending.lock().uncommitted.front().map(|(end, _)| *end)
    }

    /// Takes out what is due, in firing order. Retention keeps its HOLDs until [`Partition::hand_emptied`].
    pub fn pop_due(&self, now: TimestampMs, max: usize) -> Vec<TimerEntry> {
        let mut pending = self.pending.lock();
        let due = pending.timers.pop_due(now, max);
        pending.in_hand = due.iter().map(|entry| entry.place.hold).min();
        due
    }

    /// What was taken out is in the log as a fire, or handed back.
    pub fn hand_emptied(&self) {
        self.pending.lock().in_hand = None;
    }

    /// Removes what the topic's retention does not keep. Blocks on the disk.
    pub fn retain(&self, now_ms: i64) -> io::Result<Retained> {
        let rules = self.config().retention;
        let retained = self.log.retain(&rules, now_ms, &|| self.oldest_pending())?;
        self.pinned_bytes
            .store(retained.pinned_bytes, Ordering::Relaxed);
        Ok(retained)
    }

    /// Bytes below the log start that pending records keep on the disk, at the last look.
    pub fn pinned_bytes(&self) -> u64 {
        self.pinned_bytes.load(Ordering::Relaxed)
    }

    /// The oldest HOLD that no appended FIRE has settled whole.
    fn oldest_pending(&self) -> Option<Offset> {
        let pending = self.pending.lock();
        let uncommitted = pending.uncommitted.front();
        let uncommitted = uncommitted.and_then(|(_, entries)| entries.first());
        [
            pending.timers.oldest_hold(),
            pending.in_hand,
            uncommitted.map(|entry| entry.place.hold),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Hands back what could not be fired.
    pub fn put_back(&self, entries: impl IntoIterator<Item = TimerEntry>) {
        let mut pending = self.pending.lock();
        for entry in entries {
            pending.timers.insert(entry);
        }
    }

    /// Held records not yet fired, committed or not.
    pub fn pending_records(&self) -> usize {
        let pending = self.pending.lock();
        let uncommitted: usize = pending.uncommitted.iter().map(|(_, e)| e.len()).sum();
        pending.timers.len() + uncommitted
    }

    /// Waits until the high watermark is `at` or more; false when the log can commit nothing any more.
    pub async fn committed(&self, at: Offset) -> bool {
        let mut offsets = self.log.watch();
        wait_committed(&mut offsets, at).await
    }
}

async fn wait_committed(offsets: &mut watch::Receiver<Offsets>, at: Offset) -> bool {
    match offsets
        .wait_for(|o| o.high_watermark >= at || o.poisoned)
        .await
    {
        Ok(o) => o.high_watermark >= at,
        Err(_) => false,
    }
}
