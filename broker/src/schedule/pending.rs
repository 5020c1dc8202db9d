//! What is pending: holds − fires − cancels, by log order; from the timer store's checkpoint on, or from the log's beginning.

use std::ops::ControlFlow;

use bytes::Bytes;
use kafka_compat::{record_headers::SCHEDULE_KEY, records};
use scheduler::{Marks, Place, StoreError, StoreOptions, TimerEntry, TimerKey, TimerStore};
use storage::{
    batch::BatchView,
    control::Marker,
    frame::{CancelAction, CancelEntry, CancelFrame, FrameError, HoldFrame},
    kv::KvError,
    log::{Log, ReadError},
    record::{Record, RecordIter},
    units::{DueTime, Offset, ScheduleId, TimestampMs},
};
use thiserror::Error;

use super::{HEADER_DUE_AT, HEADER_SCHEDULE_ID, key_index::KeyIndex, transactional::Transactional};
use crate::partition::PartitionKey;

/// Why a partition's pending records cannot be told. It stays offline then: guessing would lose or double one.
#[derive(Debug, Error)]
pub enum PendingError {
    /// The log could not be read.
    #[error("reading hidden and FIRE frames: {0}")]
    Read(#[from] ReadError),
    /// A hidden frame could not be understood.
    #[error("frame at offset {0}: {1}")]
    Frame(Offset, FrameError),
    /// A FIRE frame whose records do not name what they settle.
    #[error("FIRE frame at offset {0} does not name what it settles")]
    Fire(Offset),
    /// The index of schedule keys could not be written.
    #[error("schedule keys: {0}")]
    Keys(KvError),
    /// The timer files could not be written or read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl PendingError {
    /// The file system refused just now.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Read(ReadError::Io(_)) | Self::Store(StoreError::Io(_))
        )
    }
}

/// The schedule keys of a partition.
#[derive(Clone, Copy, Debug)]
pub struct KeysOf<'a> {
    /// Of all partitions.
    pub index: &'a KeyIndex,
    /// Which.
    pub partition: PartitionKey,
}

impl KeysOf<'_> {
    /// What a HOLD has is the newest of its keys so far.
    fn put_all(&self, hold: &HoldFrame) -> Result<(), PendingError> {
        let mut keyed = Vec::new();
        for (index, entry) in hold.entries.iter().enumerate() {
            let record = hold.record(index);
            let record = record.map_err(|e| PendingError::Frame(hold.base_offset, e))?;
            if let Some(Some(key)) = record.last_header(SCHEDULE_KEY) {
                keyed.push((key.clone(), entry.id, entry.due));
            }
        }
        let keyed = keyed.iter().map(|(key, id, due)| (&key[..], *id, *due));
        self.index
            .put(self.partition, keyed)
            .map_err(PendingError::Keys)
    }
}

/// What is pending in a log.
#[derive(Debug)]
pub struct Found {
    /// What waits for its time.
    pub timers: TimerStore,
    /// What waits for the end of its transaction.
    pub transactional: Transactional,
}

/// The pending records of an open log: its timer store, brought up to the log's end.
pub fn open(
    log: &Log,
    options: StoreOptions,
    keys: &KeysOf<'_>,
    now: TimestampMs,
) -> Result<Found, PendingError> {
    if let Some((store, marks)) = TimerStore::open(options.clone(), log.offsets().log_end)? {
        match replay(log, store, marks, keys, None, now) {
            Err(PendingError::Store(StoreError::Damaged)) => {}
            done => return done,
        }
    }
    rebuild(log, options, keys, None, now)
}

/// The same, from the log alone: what was armed by units that end before `queued`, where it is given, and whatever settles it.
pub fn rebuild(
    log: &Log,
    options: StoreOptions,
    keys: &KeysOf<'_>,
    queued: Option<Offset>,
    now: TimestampMs,
) -> Result<Found, PendingError> {
    let store = TimerStore::create(options)?;
    replay(log, store, Marks::default(), keys, queued, now)
}

/// Reads the hidden and FIRE frames from the marks on; what is pending may lie below the log start.
fn replay(
    log: &Log,
    store: TimerStore,
    marks: Marks,
    keys: &KeysOf<'_>,
    queued: Option<Offset>,
    now: TimestampMs,
) -> Result<Found, PendingError> {
    let mut replay = Replay {
        store,
        keys,
        marks,
        first_kept: log.first_kept(),
        queued: queued.unwrap_or(Offset(i64::MAX)),
        transactional: Transactional::default(),
        log,
    };
    let mut failed = None;
    log.scan_special(
        marks.replay_from,
        &mut |frame| match replay.frame(&frame, now) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    failed.map_or(
        Ok(Found {
            timers: replay.store,
            transactional: replay.transactional,
        }),
        Err,
    )
}

struct Replay<'a> {
    store: TimerStore,
    keys: &'a KeysOf<'a>,
    marks: Marks,
    /// Of what lies below, the HOLD is gone: it was settled, and is not in the store, or it was carried.
    first_kept: Offset,
    /// Units that end here or later have armed nothing yet.
    queued: Offset,
    transactional: Transactional,
    log: &'a Log,
}

impl Replay<'_> {
    fn frame(&mut self, frame: &BatchView, now: TimestampMs) -> Result<(), PendingError> {
        let at = Offset(frame.header.base_offset);
        let damaged = |e| PendingError::Frame(at, e);
        if frame.header.is_fire() {
            for record in fired_records(frame).ok_or(PendingError::Fire(at))? {
                let fired = record.as_ref().and_then(fired_key);
                let key = fired.ok_or(PendingError::Fire(at))?;
                if self.counts(at, key.id) {
                    self.store.settle(key)?;
                }
            }
        } else if let Some(hold) = HoldFrame::parse(frame).map_err(damaged)? {
            if frame.header.is_transactional() {
                // Where this is a rebuild, those of open transactions are known; nobody asks for these then.
                let producer_id = frame.header.producer_id;
                self.transactional.hold(producer_id, timers(&hold));
                return Ok(());
            }
            if self.is_queued(frame) {
                return Ok(());
            }
            for entry in timers(&hold) {
                if hold.is_carry {
                    self.carried(at, entry)?;
                } else {
                    self.armed(at, entry)?;
                }
            }
            if hold.has_keys {
                self.keys.put_all(&hold)?;
            }
        } else if let Some(cancel) = CancelFrame::parse(frame).map_err(damaged)? {
            for entry in cancel.entries {
                if self.counts(at, entry.id) {
                    self.cancel(entry)?;
                }
            }
        } else if let Some(marker) = Marker::read(frame) {
            let ended = TimestampMs(frame.header.max_timestamp);
            let producer_id = frame.header.producer_id;
            let armed = self.transactional.end(producer_id, marker.kind, ended);
            if !self.is_queued(frame) {
                for entry in armed {
                    self.armed(at, entry)?;
                }
            }
        }
        if self.store.is_full() {
            self.store.flush(now)?;
        }
        Ok(())
    }

    /// Whether a frame at `at` still has to be applied to that record.
    fn counts(&self, at: Offset, id: ScheduleId) -> bool {
        // Of one that was carried, only the first HOLD is gone.
        let is_there = id.0 >= self.first_kept.0 || self.store.moved_to(id).is_some();
        !self.was_applied(at, id) && is_there
    }

    fn is_queued(&self, frame: &BatchView) -> bool {
        frame.header.last_offset() + 1 >= self.queued.0
    }

    /// A record waits for its time since the frame at `at`. The store may know it, where a transaction that is older holds the marks
    /// back.
    fn armed(&mut self, at: Offset, entry: TimerEntry) -> Result<(), PendingError> {
        let is_known = at < self.marks.settled_to && {
            let due = self.store.moved_to(entry.key.id).unwrap_or(entry.key.due);
            let key = TimerKey { due, ..entry.key };
            self.store.get(key)?.is_some()
        };
        if !is_known {
            self.store.insert(entry);
        }
        Ok(())
    }

    /// The store knew what a frame at `at` says of that record when its checkpoint was written.
    fn was_applied(&self, at: Offset, id: ScheduleId) -> bool {
        at < self.marks.settled_to && id.0 < self.marks.replay_from.0
    }

    /// A record was pending when the frame at `at` was written, and lies there since.
    fn carried(&mut self, at: Offset, entry: TimerEntry) -> Result<(), PendingError> {
        let id = entry.key.id;
        let due = self.store.moved_to(id).unwrap_or(entry.key.due);
        let key = TimerKey { due, id };
        if let Some(place) = self.store.get(key)? {
            self.store.relocate(TimerEntry { key, place }, entry.place);
        } else if !self.was_applied(at, id) {
            // Its first HOLD is gone.
            self.store.insert(entry);
        }
        Ok(())
    }

    fn cancel(&mut self, entry: CancelEntry) -> Result<(), PendingError> {
        let due = match entry.due.or_else(|| self.store.moved_to(entry.id)) {
            Some(due) => due,
            None => match find_hold(self.log, entry.id)? {
                Some(hold) => hold.key.due,
                None => return Ok(()),
            },
        };
        let key = TimerKey { due, id: entry.id };
        let Some(place) = self.store.get(key)? else {
            return Ok(());
        };
        self.store.remove(TimerEntry { key, place });
        if let CancelAction::Rescheduled(due) = entry.action {
            self.store.insert(TimerEntry {
                key: TimerKey { due, ..key },
                place: Place {
                    moved: true,
                    ..place
                },
            });
        }
        Ok(())
    }
}

/// The timers that a HOLD starts.
pub fn timers(hold: &HoldFrame) -> impl Iterator<Item = TimerEntry> {
    let base = hold.base_offset;
    (0u32..).zip(&hold.entries).map(move |(index, entry)| {
        let key = TimerKey {
            due: entry.due,
            id: entry.id,
        };
        let place = Place {
            hold: base,
            index,
            moved: hold.is_carry,
            bytes: hold.record_len(index as usize),
        };
        TimerEntry { key, place }
    })
}

/// The timer of a record as its HOLD has it; `None` where there is no HOLD with it.
pub fn find_hold(log: &Log, id: ScheduleId) -> Result<Option<TimerEntry>, PendingError> {
    let at = Offset(id.0);
    let Some(batch) = log.batch_at(at)? else {
        return Ok(None);
    };
    let hold = HoldFrame::parse(&batch).map_err(|e| PendingError::Frame(at, e))?;
    Ok(hold.and_then(|hold| timers(&hold).find(|entry| entry.key.id == id)))
}

/// The records of a FIRE frame; `None` where it cannot be decompressed.
pub fn fired_records(frame: &BatchView) -> Option<impl Iterator<Item = Option<Record>>> {
    let plain = records::plain(frame).ok()?;
    Some(RecordIter::new(plain, frame.header.records_count).map(Result::ok))
}

/// What a record of a FIRE frame settles.
pub fn fired_key(record: &Record) -> Option<TimerKey> {
    let number = |name| {
        let value: &Bytes = record.last_header(name)?.as_ref()?;
        std::str::from_utf8(value).ok()?.parse().ok()
    };
    Some(TimerKey {
        due: DueTime(number(HEADER_DUE_AT)?),
        id: ScheduleId(number(HEADER_SCHEDULE_ID)?),
    })
}
