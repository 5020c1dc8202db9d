//! Emptying old segments: the few records that wait in them are held again at the log's end. See
//! `docs/adr/0009-copy-forward.md`.
//!
//! What is pending is looked through without a lock, and read. Under the lock, what was touched meanwhile is left out, and
//! the carry is appended: so each record of it is pending at that place of the log. When it is committed, timers get the new
//! places; until then, and where anything fails, the old ones hold, and keep their segments.

use std::{
    collections::{HashMap, HashSet},
    sync::atomic::Ordering,
};

use scheduler::{Place, Snapshot, StoreError, TimerEntry, TimerKey};
use storage::{
    log::{AppendError, Appended, Pinned, Unit},
    units::{DueTime, Offset, ScheduleId, TimestampMs},
};
use thiserror::Error;

use super::Partition;
use crate::schedule::{
    carry::{self, Batch, Carry},
    fire::FireError,
    hold_cache::HoldCache,
    pending::PendingError,
};

/// Records touched while segments are emptied; of more, it is given up until the next time.
const TOUCHED_MAX: usize = 64 * 1024;
/// What is kept of HOLD frames while they are read.
const HOLDS_BYTES_MAX: usize = 1 << 20;
/// Where it was not worth it after a look at all that is pending, the next look is so much later.
const LOOK_AGAIN_MS: i64 = 3_600_000;
const FIRST: TimerKey = TimerKey {
    due: DueTime(0),
    id: ScheduleId(0),
};
const END: DueTime = DueTime(i64::MAX);

/// Why segments were not emptied. Nothing is lost: what waits in them keeps them.
#[derive(Debug, Error)]
pub enum CarryError {
    /// A record could not be read.
    #[error(transparent)]
    Read(#[from] FireError),
    /// The timer files could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The carry could not be appended.
    #[error("appending: {0}")]
    Append(#[from] AppendError),
    /// What was committed could not be taken in.
    #[error(transparent)]
    Pending(#[from] PendingError),
    /// The carry is in the log, and may never be committed.
    #[error("a carry is not committed")]
    NotCommitted,
    /// Too much was settled or moved meanwhile, or the timers were built again.
    #[error("too much happened meanwhile")]
    GivenUp,
}

/// Old segments that are being emptied.
#[derive(Debug)]
pub(super) struct Carrying {
    /// The end of the last of them.
    below: Offset,
    /// Records of them that were settled or moved since all was looked through.
    touched: HashSet<ScheduleId>,
    on_its_way: Option<OnItsWay>,
}

/// A carry in the log, not committed.
#[derive(Debug)]
struct OnItsWay {
    base: Offset,
    end: Offset,
    records: HashMap<ScheduleId, (TimerEntry, Place)>,
}

impl Carrying {
    fn new(below: Offset) -> Self {
        Self {
            below,
            touched: HashSet::new(),
            on_its_way: None,
        }
    }

    /// These are not pending as they were; false where it is too much to remember.
    pub(super) fn touch(&mut self, entries: &[TimerEntry]) -> bool {
        for entry in entries.iter().filter(|e| e.place.hold < self.below) {
            self.touched.insert(entry.key.id);
            if let Some(carry) = &mut self.on_its_way {
                carry.records.remove(&entry.key.id);
            }
        }
        self.touched.len() <= TOUCHED_MAX
    }

    /// Where the carry lies that is not committed.
    pub(super) fn uncommitted(&self) -> Option<Offset> {
        self.on_its_way.as_ref().map(|carry| carry.base)
    }

    /// What lies elsewhere, now that the log is committed up to there.
    pub(super) fn take_committed(&mut self, committed: Offset) -> Vec<(TimerEntry, Place)> {
        let carry = self.on_its_way.take_if(|carry| carry.end <= committed);
        carry.map_or_else(Vec::new, |carry| carry.records.into_values().collect())
    }
}

impl Partition {
    /// Holds again, at the log's end, what waits in those of the segments that have little of it; whether they can go now.
    /// Blocks on the disk.
    pub fn carry_forward(&self, pinned: &[Pinned], now: TimestampMs) -> Result<bool, CarryError> {
        let Some(below) = self.worth_emptying(pinned, now)? else {
            return Ok(false);
        };
        let snapshot = {
            let mut pending = self.pending.lock();
            if pending.closed || pending.carrying.is_some() {
                return Ok(false);
            }
            pending.carrying = Some(Carrying::new(below));
            pending.timers.snapshot()
        };
        let carried = self.carry_all(&snapshot, below, now);
        let mut pending = self.pending.lock();
        let done = pending.carrying.take();
        let Carried { records, unread } = carried?;
        if done.is_none() {
            return Err(CarryError::GivenUp);
        }
        if unread == 0 {
            pending.timers.none_below(&snapshot, below);
        }
        drop(pending);
        tracing::info!(topic = %self.topic, partition = self.key.index, records, below = below.0,
            "held records were carried forward");
        Ok(unread == 0)
    }

    /// The end of the segments that have little pending.
    fn worth_emptying(
        &self,
        pinned: &[Pinned],
        now: TimestampMs,
    ) -> Result<Option<Offset>, StoreError> {
        let all = pinned.last().map(|segment| segment.end);
        let size = self.pending_size();
        if carry::is_little(size.with_entries(), pinned) {
            return Ok(all);
        }
        if now.0 < self.carry_again_at.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let snapshot = self.pending.lock().timers.snapshot();
        let mut pending = vec![0; pinned.len()];
        snapshot.for_each(FIRST, END, &mut |entry| {
            let at = pinned.partition_point(|segment| segment.end <= entry.place.hold);
            if let Some(bytes) = pending.get_mut(at) {
                *bytes += carry::size(entry.place);
            }
            true
        })?;
        let count = carry::worth_emptying(pinned, &pending);
        if count == 0 {
            self.carry_again_at
                .store(now.0.saturating_add(LOOK_AGAIN_MS), Ordering::Relaxed);
        }
        let last = count.checked_sub(1).and_then(|last| pinned.get(last));
        Ok(last.map(|segment| segment.end))
    }

    fn carry_all(
        &self,
        snapshot: &Snapshot,
        below: Offset,
        now: TimestampMs,
    ) -> Result<Carried, CarryError> {
        let mut holds = HoldCache::new(HOLDS_BYTES_MAX);
        let mut carried = Carried::default();
        let mut batch = Batch::default();
        let mut failed = None;
        snapshot.for_each(FIRST, END, &mut |entry| {
            if entry.place.hold >= below {
                return true;
            }
            if !batch.takes(&entry) {
                let full = std::mem::take(&mut batch);
                if let Err(error) = self.carry_batch(full, &mut holds, now, &mut carried) {
                    failed = Some(error);
                    return false;
                }
            }
            batch.push(entry);
            true
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        self.carry_batch(batch, &mut holds, now, &mut carried)?;
        Ok(carried)
    }

    fn carry_batch(
        &self,
        batch: Batch,
        holds: &mut HoldCache,
        now: TimestampMs,
        carried: &mut Carried,
    ) -> Result<(), CarryError> {
        let mut entries = batch.into_entries();
        loop {
            {
                let pending = self.pending.lock();
                let carrying = pending.carrying.as_ref().ok_or(CarryError::GivenUp)?;
                entries.retain(|entry| !carrying.touched.contains(&entry.key.id));
            }
            let Some(carry) = carry::build(self, holds, &entries, now)? else {
                return Ok(());
            };
            for (entry, error) in &carry.unread {
                tracing::error!(topic = %self.topic, partition = self.key.index,
                    schedule_id = entry.key.id.0, %error, "a held record cannot be carried forward");
            }
            let (count, unread) = (carry.records.len(), carry.unread.len());
            if count == 0 || self.append_carry(carry, now)? {
                carried.records += count;
                carried.unread += unread;
                break;
            }
        }
        if !self.log().sync() {
            return Err(CarryError::NotCommitted);
        }
        self.promote_committed(now)?;
        let pending = self.pending.lock();
        let carrying = pending.carrying.as_ref().ok_or(CarryError::GivenUp)?;
        match carrying.uncommitted() {
            Some(_) => Err(CarryError::NotCommitted),
            None => Ok(()),
        }
    }

    /// Appends a carry; false where one of its records was touched while it was made.
    fn append_carry(&self, carry: Carry, now: TimestampMs) -> Result<bool, CarryError> {
        let mut pending = self.pending.lock();
        if pending.closed {
            return Err(CarryError::GivenUp);
        }
        let carrying = pending.carrying.as_mut().ok_or(CarryError::GivenUp)?;
        let is_touched =
            |(entry, _): &(TimerEntry, Place)| carrying.touched.contains(&entry.key.id);
        if carry.records.iter().any(is_touched) {
            return Ok(false);
        }
        let unit = Unit {
            frames: vec![carry.frame],
        };
        let appended = self.log().append(unit, self.leader_epoch(), now.0)?;
        let (Appended::New { next_offset, .. } | Appended::Duplicate { next_offset, .. }) =
            appended;
        // It takes one offset.
        let base = Offset(next_offset.0 - 1);
        let bytes = carry
            .records
            .iter()
            .map(|(_, place)| u64::from(place.bytes));
        self.metrics.carried(carry.records.len(), bytes.sum());
        let records = carry.records.into_iter().map(|(entry, place)| {
            let place = Place {
                hold: base,
                ..place
            };
            (entry.key.id, (entry, place))
        });
        carrying.on_its_way = Some(OnItsWay {
            base,
            end: next_offset,
            records: records.collect(),
        });
        Ok(true)
    }
}

/// What a pass did.
#[derive(Default)]
struct Carried {
    records: usize,
    /// Records that cannot be read: they keep their segments.
    unread: usize,
}
