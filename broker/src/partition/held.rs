//! The held records of a partition: which wait, and who has them in hand.

use std::{collections::VecDeque, io, ops::Add};

use bytes::Bytes;
use kafka_compat::record_headers::SCHEDULE_KEY;
use scheduler::{Marks, Place, StoreError, TimerEntry, TimerKey, TimerStore};
use storage::{
    control::MarkerKind,
    frame::{CancelAction, CancelEntry, CancelFrame},
    log::{AppendError, Appended, Frame, Unit},
    units::{DueTime, Offset, ScheduleId, TimestampMs},
};

use super::{Partition, carry::Carrying};
use crate::{
    pace,
    requests::Requests,
    schedule::{
        accept::PendingSize,
        control::{Asked, Change, ControlError, IN_HAND, Loader, Outcome, hold_dues},
        pending::{self, KeysOf, PendingError},
        transactional::Transactional,
    },
};

/// *Invariant*: a record is in exactly one of: `transactional`, `uncommitted`, `timers`, `in_hand`, the log as a fire or a cancel, or
/// behind an abort.
#[derive(Debug)]
pub(super) struct Pending {
    /// Holds of open transactions.
    transactional: Transactional,
    /// Holds appended but not committed, in log order, each with the log end it waits for.
    pub(super) uncommitted: VecDeque<(Offset, Vec<TimerEntry>)>,
    pub(super) timers: TimerStore,
    /// What the fire loop has taken out and not yet appended.
    in_hand: Vec<TimerEntry>,
    requests: Requests<Answered>,
    /// Old segments are being emptied.
    pub(super) carrying: Option<Carrying>,
    pub(super) closed: bool,
}

/// What a change came to: an outcome per record that was asked about, `None` where it is not pending; and the log end at which
/// that may be told.
#[derive(Clone, Debug)]
pub struct Answered {
    /// In the order asked.
    pub outcomes: Vec<Option<Outcome>>,
    /// When it is committed.
    pub committed_at: Offset,
}

/// What is due and not fired yet.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// Records.
    pub due: u64,
    /// The first one's due time.
    pub since: Option<DueTime>,
    /// Timers of the partition in memory.
    pub timers_in_memory: usize,
}

impl Pending {
    pub(super) fn new(timers: TimerStore, transactional: Transactional) -> Self {
        Self {
            transactional,
            uncommitted: VecDeque::new(),
            timers,
            in_hand: Vec::new(),
            requests: Requests::default(),
            carrying: None,
            closed: false,
        }
    }

    /// Where those of the records asked for that are pending lie. One in hand is being fired.
    pub(super) fn locate_all(
        &mut self,
        asked: &[(ScheduleId, DueTime)],
    ) -> Result<Vec<(TimerKey, Place)>, AppendError> {
        let mut found = Vec::new();
        for (id, hold_due) in asked {
            let located = self.locate(*id, *hold_due);
            found.extend(located.map_err(refused)?);
        }
        Ok(found)
    }

    /// These wait for the end of their producer's transaction.
    pub(super) fn hold_in_transaction(&mut self, producer_id: i64, timers: Vec<TimerEntry>) {
        self.transactional.hold(producer_id, timers);
    }

    /// What a producer's transaction holds is armed by its commit, and dropped by its abort; the marker is committed when the log
    /// is up to `end`. Whether something was armed.
    pub(super) fn end_transaction(
        &mut self,
        producer_id: i64,
        kind: MarkerKind,
        at: TimestampMs,
        end: Offset,
    ) -> bool {
        let armed = self.transactional.end(producer_id, kind, at);
        let is_armed = !armed.is_empty();
        if is_armed {
            self.uncommitted.push_back((end, armed));
        }
        is_armed
    }

    /// The first HOLD of what is not in the timers yet.
    fn first_outside(&self) -> Option<Offset> {
        let uncommitted = self.uncommitted.iter().flat_map(|(_, entries)| entries);
        let uncommitted = uncommitted.map(|entry| entry.place.hold).min();
        let transactional = self.transactional.first_hold();
        uncommitted.into_iter().chain(transactional).min()
    }

    /// How far into the log the timers go.
    fn marks(&self, log_end: Offset) -> Marks {
        let carry = self.carrying.as_ref().and_then(Carrying::uncommitted);
        Marks {
            replay_from: self
                .first_outside()
                .into_iter()
                .chain(carry)
                .min()
                .unwrap_or(log_end),
            settled_to: log_end,
        }
    }

    /// These are settled, moved, or in hand: what was found of them before is not true any more.
    fn touched(&mut self, entries: &[TimerEntry]) {
        if let Some(carrying) = &mut self.carrying
            && !carrying.touch(entries)
        {
            self.carrying = None;
        }
    }
}

impl Pending {
    fn locate(
        &mut self,
        id: ScheduleId,
        hold_due: DueTime,
    ) -> Result<Option<(TimerKey, Place)>, StoreError> {
        let mut uncommitted = self.uncommitted.iter().flat_map(|(_, entries)| entries);
        if let Some(entry) = uncommitted.find(|entry| entry.key.id == id) {
            return Ok(Some((entry.key, entry.place)));
        }
        let due = self.timers.moved_to(id).unwrap_or(hold_due);
        let key = TimerKey { due, id };
        Ok(self.timers.get(key)?.map(|place| (key, place)))
    }

    pub(super) fn apply(&mut self, key: TimerKey, place: Place, change: Change) {
        self.touched(&[TimerEntry { key, place }]);
        let moved = match change {
            Change::Cancel => None,
            Change::MoveTo(due) | Change::Now(due) => Some(TimerEntry {
                key: TimerKey { due, ..key },
                place: Place {
                    moved: true,
                    ..place
                },
            }),
        };
        for (_, entries) in &mut self.uncommitted {
            if let Some(at) = entries.iter().position(|entry| entry.key == key) {
                match moved {
                    None => drop(entries.remove(at)),
                    Some(entry) => entries.splice(at..=at, [entry]).for_each(drop),
                }
                return;
            }
        }
        self.timers.remove(TimerEntry { key, place });
        if let Some(entry) = moved {
            self.timers.insert(entry);
        }
    }
}

/// What is held could not be looked up: nothing is appended.
fn refused(error: impl std::error::Error + Send + Sync + 'static) -> AppendError {
    AppendError::Io(io::Error::other(error))
}

impl Partition {
    /// Moves holds that are committed to the timers; then says when the next one is due.
    pub fn promote_committed(&self, now: TimestampMs) -> Result<Option<DueTime>, PendingError> {
        let committed = self.log().offsets().high_watermark;
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
        let carried = pending.carrying.as_mut();
        for (entry, place) in carried.map_or_else(Vec::new, |c| c.take_committed(committed)) {
            pending.timers.relocate(entry, place);
        }
        if pending.closed {
            return Ok(None);
        }
        if pending.timers.is_full() && pending.in_hand.is_empty() {
            pending.timers.flush(now)?;
        }
        self.or_rebuilt(&mut pending, now, TimerStore::next_deadline)
    }

    /// The log end that the oldest hold not yet committed waits for.
    pub fn uncommitted_front(&self) -> Option<Offset> {
        self.pending.lock().uncommitted.front().map(|(end, _)| *end)
    }

    /// Takes out what is due, in firing order: it is in hand until [`Partition::hand_emptied`].
    pub fn pop_due(&self, now: TimestampMs, max: usize) -> Result<Vec<TimerEntry>, PendingError> {
        let mut pending = self.pending.lock();
        if pending.closed {
            return Ok(Vec::new());
        }
        let due = self.or_rebuilt(&mut pending, now, |timers| timers.pop_due(now, max))?;
        pending.in_hand.clone_from(&due);
        pending.touched(&due);
        Ok(due)
    }

    /// What was taken out is in the log as a fire, or handed back: `left` could not be fired.
    pub fn hand_emptied(&self, left: impl IntoIterator<Item = TimerEntry>) {
        let mut pending = self.pending.lock();
        pending.in_hand.clear();
        for entry in left {
            pending.timers.insert(entry);
        }
    }

    fn keys_of(&self) -> KeysOf<'_> {
        KeysOf {
            index: &self.keys,
            partition: self.key,
        }
    }

    /// Asks the timers; where their files are damaged, the log is read again. Nothing must be in hand.
    fn or_rebuilt<T>(
        &self,
        pending: &mut Pending,
        now: TimestampMs,
        ask: impl Fn(&mut TimerStore) -> Result<T, StoreError>,
    ) -> Result<T, PendingError> {
        match ask(&mut pending.timers) {
            Err(StoreError::Damaged) if pending.in_hand.is_empty() => {
                tracing::error!(topic = %self.topic, partition = self.key.index,
                    "timer files are damaged: they are built again from the log");
                // What is in the queue stays there, and what open transactions hold stays with them.
                let queued = pending.uncommitted.front().map(|(end, _)| *end);
                let carry = pending.carrying.as_ref().and_then(Carrying::uncommitted);
                let queued = queued.into_iter().chain(carry.map(|at| at.plus(1))).min();
                // It speaks of files that will be others.
                pending.carrying = None;
                let options = pending.timers.options().clone();
                let rebuilt = pending::rebuild(self.log(), options, &self.keys_of(), queued, now)?;
                pending.timers = rebuilt.timers;
                Ok(ask(&mut pending.timers)?)
            }
            answer => Ok(answer?),
        }
    }

    /// Writes a checkpoint of all that happened to the timers. Blocks on the disk, and on the fire loop's hand.
    pub fn checkpoint_when_emptied(&self, now: TimestampMs) -> io::Result<()> {
        while !self.checkpoint_timers(1, now)? {
            pace::nap(IN_HAND);
        }
        Ok(())
    }

    /// Writes a checkpoint of the timers where `changes` or more came since the last one: bounds what the next start replays.
    /// False where the fire loop has records in hand: nothing is written then. Blocks on the disk.
    pub fn checkpoint_timers(&self, changes: u64, now: TimestampMs) -> io::Result<bool> {
        let checkpoint = {
            let mut pending = self.pending.lock();
            if pending.timers.changes() < changes.max(1) || pending.closed {
                return Ok(true);
            }
            if !pending.in_hand.is_empty() {
                return Ok(false);
            }
            let marks = pending.marks(self.log().offsets().log_end);
            pending
                .timers
                .capture(now, marks)
                .map_err(io::Error::other)?
        };
        // The log decides: what is derived must not outlive what it is derived from. What is replayed after a crash starts at the
        // checkpoint: keys of before must be durable by then.
        let written = if self.log().sync() {
            let keys = self.keys.sync().map_err(io::Error::other);
            keys.and_then(|()| checkpoint.write())
        } else {
            Err(io::Error::other("the log is poisoned"))
        };
        let mut pending = self.pending.lock();
        match written {
            Ok(unlinked) => {
                pending.timers.written(unlinked);
                Ok(true)
            }
            Err(error) => {
                pending.timers.not_written();
                Err(error)
            }
        }
    }

    /// Cancels or moves records, by one CANCEL frame; each is named with the due time that its HOLD has. `None` where the fire
    /// loop has one of them in hand: ask again.
    pub fn change(
        &self,
        records: &[(ScheduleId, DueTime)],
        asked: Asked<'_>,
        now: TimestampMs,
    ) -> Result<Option<Answered>, ControlError> {
        let mut pending = self.pending.lock();
        if pending.closed {
            return Err(ControlError::Closed);
        }
        let fingerprint = asked.fingerprint(records);
        let known = pending.requests.find(asked.request_id, fingerprint)?;
        if known.is_some() {
            return Ok(known);
        }
        let mut found = Vec::new();
        let mut outcomes = Vec::with_capacity(records.len());
        for (id, hold_due) in records {
            let Some((key, place)) = pending.locate(*id, *hold_due)? else {
                if pending.in_hand.iter().any(|entry| entry.key.id == *id) {
                    return Ok(None);
                }
                outcomes.push(None);
                continue;
            };
            if asked.expected.is_some_and(|expected| expected != key.due) {
                outcomes.push(Some(Outcome::DueDiffers(key.due)));
                continue;
            }
            outcomes.push(Some(Outcome::Done));
            found.push((key, place));
        }
        let mut committed_at = Offset(0);
        if !found.is_empty() {
            committed_at = self.append_cancel(&mut pending, &found, asked, now)?;
        }
        let answered = Answered {
            outcomes,
            committed_at,
        };
        let outcomes = answered.outcomes.len();
        pending
            .requests
            .remember(asked.request_id, fingerprint, outcomes, &answered);
        Ok(Some(answered))
    }

    fn append_cancel(
        &self,
        pending: &mut Pending,
        found: &[(TimerKey, Place)],
        asked: Asked<'_>,
        now: TimestampMs,
    ) -> Result<Offset, ControlError> {
        let action = match asked.change {
            Change::Cancel => CancelAction::Cancelled,
            Change::MoveTo(due) | Change::Now(due) => CancelAction::Rescheduled(due),
        };
        let entries = found.iter().map(|(key, _)| CancelEntry {
            id: key.id,
            due: Some(key.due),
            action,
        });
        let frame = CancelFrame {
            request_id: asked.request_id.to_vec().into(),
            entries: entries.collect(),
        };
        let (header, body) = frame.into_frame(now);
        let unit = Unit {
            frames: vec![Frame { header, body }],
        };
        let appended = self.log().append(unit, self.leader_epoch(), now.0);
        let (Appended::New { next_offset, .. } | Appended::Duplicate { next_offset, .. }) =
            appended.map_err(ControlError::Append)?;
        for (key, place) in found {
            pending.apply(*key, *place, asked.change);
        }
        match asked.change {
            Change::Cancel => self.metrics.cancelled(found.len()),
            Change::MoveTo(_) | Change::Now(_) => self.metrics.rescheduled(found.len()),
        }
        Ok(next_offset)
    }

    /// Pending records from `from` on that are due before `to`, in firing order, until `each` returns false. Those that are not
    /// committed yet are not among them. They are those of one moment; what is appended does not wait. Blocks on the disk.
    pub fn for_each_pending(
        &self,
        from: TimerKey,
        to: DueTime,
        each: &mut dyn FnMut(TimerEntry) -> bool,
    ) -> Result<(), StoreError> {
        let snapshot = self.pending.lock().timers.snapshot();
        snapshot.for_each(from, to, each)
    }

    /// The timer of a pending record; its HOLD has that due time.
    pub fn find_pending(
        &self,
        id: ScheduleId,
        hold_due: DueTime,
    ) -> Result<Option<TimerEntry>, StoreError> {
        let mut pending = self.pending.lock();
        let in_hand = pending.in_hand.iter().find(|entry| entry.key.id == id);
        if let Some(entry) = in_hand {
            return Ok(Some(*entry));
        }
        let found = pending.locate(id, hold_due)?;
        Ok(found.map(|(key, place)| TimerEntry { key, place }))
    }

    /// The records asked for that were held here, each once, with the due time that its HOLD has.
    pub(super) fn hold_dues(
        &self,
        ids: &[ScheduleId],
    ) -> Result<Vec<(ScheduleId, DueTime)>, AppendError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        hold_dues(self, ids).map_err(refused)
    }

    /// When a pending record is due that is not due when its first HOLD says, or has that HOLD no more.
    pub fn moved_to(&self, id: ScheduleId) -> Option<DueTime> {
        self.pending.lock().timers.moved_to(id)
    }

    /// What waits under these schedule keys: the index's word, if the timers and the HOLD agree.
    pub(super) fn waiting_under(
        &self,
        pending: &mut Pending,
        keys: &[Bytes],
    ) -> Result<Vec<(TimerKey, Place)>, AppendError> {
        let mut waiting = Vec::new();
        let mut loader = Loader::new(self);
        for key in keys {
            let keyed = self.keys.get(self.key, key);
            let keyed = keyed.map_err(refused)?;
            let Some(keyed) = keyed else { continue };
            let located = pending.locate(keyed.id, keyed.due);
            let Some((at, place)) = located.map_err(refused)? else {
                continue;
            };
            // An id of an earlier run may have been lost with the log's end, and given to another record since.
            let agrees = keyed.is_of_this_run || {
                let entry = TimerEntry { key: at, place };
                let held = loader.load(&entry).map_err(refused)?;
                held.is_some_and(|held| {
                    held.record.last_header(SCHEDULE_KEY) == Some(&Some(key.clone()))
                })
            };
            if agrees {
                waiting.push((at, place));
            }
        }
        Ok(waiting)
    }

    /// Of these keys, what was appended at `base` is the newest.
    pub(super) fn remember_keys(&self, held: &[(Bytes, i32, DueTime)], base: Offset) {
        let keyed = held.iter().map(|(key, delta, due)| {
            let id = ScheduleId(base.0 + i64::from(*delta));
            (&key[..], id, *due)
        });
        if let Err(error) = self.keys.put(self.key, keyed) {
            // The records are held all the same; a newer one of the key would not replace them.
            tracing::error!(topic = %self.topic, partition = self.key.index, %error,
                "schedule keys could not be written down");
        }
    }

    /// These fired: nothing waits under their schedule keys.
    pub fn forget_keys(&self, fired: &[(Bytes, ScheduleId)]) {
        for (key, id) in fired {
            if let Err(error) = self.keys.remove(self.key, key, *id) {
                // It is found out when somebody asks.
                tracing::warn!(topic = %self.topic, partition = self.key.index, %error,
                    "a schedule key could not be forgotten");
            }
        }
    }

    /// The oldest HOLD that no appended FIRE or CANCEL has settled whole.
    pub(super) fn oldest_pending(&self) -> Option<Offset> {
        let pending = self.pending.lock();
        [
            pending.timers.oldest_hold(),
            pending.in_hand.iter().map(|e| e.place.hold).min(),
            pending.first_outside(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Held records not yet fired, committed or not; those of open transactions among them.
    pub fn pending_size(&self) -> PendingSize {
        let pending = self.pending.lock();
        let in_stores = PendingSize {
            records: pending.timers.len() as u64,
            bytes: pending.timers.bytes(),
        };
        let uncommitted = pending.uncommitted.iter().flat_map(|(_, entries)| entries);
        uncommitted
            .chain(&pending.in_hand)
            .chain(pending.transactional.iter())
            .map(|entry| PendingSize {
                records: 1,
                bytes: u64::from(entry.place.bytes),
            })
            .fold(in_stores, PendingSize::add)
    }

    /// How many are due at `now` and not fired, of which at most `max` are counted, and since when the first of them is; and
    /// the timers that are in memory. Blocks on the disk.
    pub fn backlog(&self, now: TimestampMs, max: u64) -> Result<Backlog, StoreError> {
        let from = TimerKey {
            due: DueTime(0),
            id: ScheduleId(0),
        };
        let mut pending = self.pending.lock();
        let next = pending.timers.next_deadline()?;
        let mut backlog = Backlog {
            due: pending.in_hand.len() as u64,
            since: pending.in_hand.first().map(|entry| entry.key.due),
            timers_in_memory: pending.timers.in_memory() + pending.in_hand.len(),
        };
        // What is read ahead tells that nothing is due; a scan opens the runs.
        if next.is_none_or(|next| next.0 > now.0) {
            return Ok(backlog);
        }
        pending
            .timers
            .for_each(from, DueTime(now.0 + 1), &mut |entry| {
                backlog.due += 1;
                backlog.since.get_or_insert(entry.key.due);
                backlog.due < max
            })?;
        Ok(backlog)
    }

    /// The end of a partition whose topic was deleted: nothing is appended or fired any more.
    pub fn close(&self) {
        self.log().abandon();
        let mut pending = self.pending.lock();
        pending.closed = true;
        pending.transactional = Transactional::default();
        pending.uncommitted.clear();
        self.drop_ids();
    }
}
