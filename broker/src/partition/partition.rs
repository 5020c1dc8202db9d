//! One partition: its log, and the held records that wait in it.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use scheduler::{Place, TimerKey, TimerStore};
use storage::{
    control::Marker,
    frame::{CancelAction, CancelEntry},
    log::{AppendError, Appended, Frame, Log, Offsets, Origin, Retained, Unit},
    units::{LeaderEpoch, Offset, TimestampMs, TopicId},
};
use tokio::sync::watch;

use super::{
    deduplicated::{Dedup, DedupState, NotAppended, Once},
    held::Pending,
};
use crate::{
    coordinator::Producer,
    schedule::{
        accept::Accepted, control::Change, key_index::KeyIndex, transactional::Transactional,
    },
    telemetry::TopicMetrics,
    topic_config::TopicConfig,
};

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
    /// The offset to answer: of the first record, or of the original where this was a retry, or nothing but copies.
    pub base_offset: Offset,
    /// Where what was appended begins.
    pub unit_base: Offset,
    /// The answer may leave when the high watermark has reached this.
    pub committed_at: Offset,
    /// First offset of the log.
    pub log_start: Offset,
    /// A retry of one of the producer's last five batches: nothing was appended, and this is the original's timestamp.
    pub duplicate_of: Option<TimestampMs>,
}

/// What a marker did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// It is committed when the high watermark has reached this.
    pub committed_at: Offset,
    /// Held records wait for their due times from then on: the fire loop is to be told.
    pub arms: bool,
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
    pub(super) pending: Mutex<Pending>,
    pinned_bytes: AtomicU64,
    pub(super) carry_again_at: AtomicI64,
    pub(super) keys: Arc<KeyIndex>,
    pub(super) dedup: Dedup,
}

/// What is derived from a partition's log.
#[derive(Debug)]
pub struct Derived {
    /// Those of its log that are pending.
    pub timers: TimerStore,
    /// Those of open transactions.
    pub transactional: Transactional,
    /// Schedule keys, of all partitions.
    pub keys: Arc<KeyIndex>,
    /// Message ids.
    pub ids: DedupState,
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
        derived: Derived,
    ) -> Self {
        Self {
            key,
            topic,
            log,
            leader_epoch: AtomicI32::new(leader_epoch.0),
            metrics,
            config: RwLock::new(config),
            pending: Mutex::new(Pending::new(derived.timers, derived.transactional)),
            pinned_bytes: AtomicU64::new(0),
            carry_again_at: AtomicI64::new(0),
            keys: derived.keys,
            dedup: Dedup::new(derived.ids),
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
        self.keep_ids_for(config.dedup_window_ms);
        *self.config.write() = config;
    }

    /// Offsets as they stand.
    pub fn offsets(&self) -> Offsets {
        self.log.offsets()
    }

    /// Appends what a producer sent; its cancels settle what is pending, in the same unit. What a transaction holds waits for its
    /// marker. With `once`, only if its message ids are what they were found to be.
    pub fn append(
        &self,
        accepted: Accepted,
        origin: Origin,
        once: Option<&Once<'_>>,
        now: TimestampMs,
    ) -> Result<AppendedUnit, NotAppended> {
        let asked = self.hold_dues(&accepted.cancels)?;
        // The order of `uncommitted` must be the log's: one lock around both.
        let mut pending = self.pending.lock();
        let mut settled = pending.locate_all(&asked)?;
        let cancelled = settled.len();
        for (key, place) in self.waiting_under(&mut pending, &accepted.keys)? {
            if settled.iter().all(|(known, _)| known.id != key.id) {
                settled.push((key, place));
            }
        }
        let entry = |(at, (key, _)): (usize, &(TimerKey, Place))| CancelEntry {
            id: key.id,
            due: Some(key.due),
            action: if at < cancelled {
                CancelAction::Cancelled
            } else {
                CancelAction::Replaced
            },
        };
        let entries = settled.iter().enumerate().map(entry).collect();
        let held_keys = accepted.held_keys();
        let original = *accepted.original();
        let answer = accepted.answer;
        let (unit, timers) = accepted.into_unit(entries, now);
        let append = || self.append_as(unit, now, origin);
        let mut appended = match once {
            Some(once) => self.once(once, now, append)?,
            None => append()?,
        };
        if appended.duplicate_of.is_none() {
            self.metrics.cancelled(settled.len());
            for (key, place) in settled {
                pending.apply(key, place, Change::Cancel);
            }
            let timers = timers(appended.unit_base);
            if !timers.is_empty() && original.is_transactional() {
                pending.hold_in_transaction(original.producer_id, timers);
            } else if !timers.is_empty() {
                let held = (appended.committed_at, timers);
                pending.uncommitted.push_back(held);
            }
            self.remember_keys(&held_keys, appended.unit_base);
            appended.base_offset = answer.unwrap_or(appended.base_offset);
        }
        Ok(appended)
    }

    /// Appends a FIRE frame; what it settles is in hand.
    pub fn append_fire(&self, frame: Frame, now: TimestampMs) -> Result<AppendedUnit, AppendError> {
        let unit = Unit {
            frames: vec![frame],
        };
        self.append_own(unit, now)
    }

    /// Ends a producer's transaction: what it holds waits for its due time from now on, or is dropped.
    pub fn append_marker(
        &self,
        producer: Producer,
        marker: Marker,
        now: TimestampMs,
    ) -> Result<Ended, AppendError> {
        let unit = Unit {
            frames: vec![marker.frame(producer.id, producer.epoch, now.0)],
        };
        let mut pending = self.pending.lock();
        let appended = self.append_as(unit, now, Origin::Marker(marker))?;
        let committed_at = appended.committed_at;
        let arms = pending.end_transaction(producer.id, marker.kind, now, committed_at);
        self.end_ids(producer.id, marker.kind);
        Ok(Ended { committed_at, arms })
    }

    /// Appends what no producer sent and nothing is held of.
    pub fn append_own(&self, unit: Unit, now: TimestampMs) -> Result<AppendedUnit, AppendError> {
        self.append_as(unit, now, Origin::CLIENT)
    }

    /// Appends what nothing is held of, checked as this origin asks for.
    pub fn append_as(
        &self,
        unit: Unit,
        now: TimestampMs,
        origin: Origin,
    ) -> Result<AppendedUnit, AppendError> {
        let epoch = self.leader_epoch();
        Ok(match self.log.append_as(unit, epoch, now.0, origin)? {
            Appended::New {
                base_offset,
                next_offset,
                log_start,
            } => AppendedUnit {
                base_offset,
                unit_base: base_offset,
                committed_at: next_offset,
                log_start,
                duplicate_of: None,
            },
            Appended::Duplicate {
                base_offset,
                next_offset,
                timestamp,
            } => AppendedUnit {
                base_offset,
                unit_base: base_offset,
                committed_at: next_offset,
                log_start: self.log.offsets().log_start,
                duplicate_of: Some(TimestampMs(timestamp)),
            },
        })
    }

    /// Removes what the topic's retention does not keep. Blocks on the disk.
    pub fn retain(&self, now_ms: i64) -> io::Result<Retained> {
        let rules = self.config().retention;
        // What is removed may have settled records: a start must not take them for pending because they were at the last
        // checkpoint.
        let oldest_pending = || {
            self.checkpoint_when_emptied(TimestampMs(now_ms))?;
            Ok(self.oldest_pending())
        };
        let retained = self.log.retain(&rules, now_ms, &oldest_pending)?;
        self.pinned_bytes
            .store(retained.pinned_bytes(), Ordering::Relaxed);
        Ok(retained)
    }

    /// The same; where few held records keep old segments, they are carried forward first. Blocks on the disk.
    pub fn retain_or_carry(&self, now: TimestampMs) -> io::Result<Retained> {
        let retained = self.retain(now.0)?;
        if retained.pinned.is_empty() {
            return Ok(retained);
        }
        match self.carry_forward(&retained.pinned, now) {
            Ok(true) => self.retain(now.0),
            Ok(false) => Ok(retained),
            Err(error) => {
                tracing::warn!(topic = %self.topic, partition = self.key.index, %error,
                    "held records could not be carried forward; they keep their segments");
                Ok(retained)
            }
        }
    }

    /// Bytes below the log start that pending records keep on the disk, at the last look.
    pub fn pinned_bytes(&self) -> u64 {
        self.pinned_bytes.load(Ordering::Relaxed)
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
