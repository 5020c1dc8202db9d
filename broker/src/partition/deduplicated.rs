//! The message ids of a partition: what is a copy of what the log has, decided under the lock that orders its appends.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;
use kafka_compat::message_ids::MessageId;
use parking_lot::Mutex;
use storage::{
    control::MarkerKind,
    frame::ForgetFrame,
    kv::{KvError, runs::Owner},
    log::{AppendError, Frame, Unit},
    units::{Offset, TimestampMs},
};
use thiserror::Error;
use tokio::sync::{Notify, futures::Notified};

use super::{AppendedUnit, Partition};
use crate::{
    dedup::{Crowded, DedupIndex, Found, Leaving, Seen, Stored, Taken, Window},
    requests::Requests,
    schedule::control::ControlError,
};

/// What a partition needs for its message ids.
#[derive(Debug)]
pub struct DedupState {
    /// Those of its log that the index does not have.
    pub window: Window,
    /// Those of all partitions.
    pub index: Arc<DedupIndex>,
}

/// The message ids of a partition.
#[derive(Debug)]
pub(super) struct Dedup {
    window: Mutex<Window>,
    index: Arc<DedupIndex>,
    /// Rung when a transaction ended.
    ended: Notify,
    requests: Mutex<Requests<(Vec<Seen>, Offset)>>,
}

/// What a partition's ids take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdsSize {
    /// Ids in memory.
    pub in_memory: u64,
    /// Ids in the index, about.
    pub stored: u64,
    /// Bytes of them there, about.
    pub stored_bytes: u64,
    /// When the first was taken.
    pub since_ms: Option<i64>,
}

/// A batch's message ids, and what they were found to be before its append.
#[derive(Clone, Copy, Debug)]
pub struct Once<'a> {
    /// Each with its place.
    pub ids: &'a [(i32, MessageId)],
    /// What the index says of them.
    pub stored: &'a Stored,
    /// Those that the log has already, which were left out.
    pub copies: &'a [(i32, Offset)],
    /// The transaction that it is part of.
    pub producer_id: Option<i64>,
}

/// Why a batch is not appended.
#[derive(Debug, Error)]
pub enum NotAppended {
    /// The log refused.
    #[error(transparent)]
    Log(#[from] AppendError),
    /// Something was appended since the batch was looked at: it is to be looked at again.
    #[error("what the log has changed meanwhile")]
    Changed,
    /// It may be a copy of what an open transaction has written.
    #[error("an open transaction has one of the message ids")]
    Undecided,
    /// No more ids can be kept in memory.
    #[error("too many message ids are in memory")]
    Crowded(Crowded),
}

impl Dedup {
    pub(super) fn new(state: DedupState) -> Self {
        Self {
            window: Mutex::new(state.window),
            index: state.index,
            ended: Notify::new(),
            requests: Mutex::default(),
        }
    }

    /// Changes the window, and keeps count of what is in memory.
    fn change<T>(&self, window: &mut Window, change: impl FnOnce(&mut Window) -> T) -> T {
        let before = (window.size(), window.open_len());
        let done = change(window);
        self.index.count(before, (window.size(), window.open_len()));
        done
    }
}

/// The index is derived; that it cannot be read is the disk's fault.
fn unread(error: &KvError) -> AppendError {
    AppendError::Io(std::io::Error::other(error.to_string()))
}

impl Partition {
    /// How long message ids are kept; 0: not at all.
    pub fn dedup_window_ms(&self) -> i64 {
        self.config().dedup_window_ms
    }

    /// What the index says of these ids. May read from the disk.
    pub fn stored_ids(&self, ids: &[(i32, MessageId)]) -> Result<Stored, AppendError> {
        let (owner, generation) = {
            let window = self.dedup.window.lock();
            (window.owner, window.generation())
        };
        let stored = self.dedup.index.stored(owner, ids, generation);
        stored.map_err(|error| unread(&error))
    }

    /// What is known of a batch's ids.
    pub fn look_at(
        &self,
        ids: &[(i32, MessageId)],
        stored: &Stored,
        producer_id: Option<i64>,
        now: TimestampMs,
    ) -> Found {
        let window_ms = self.dedup_window_ms();
        let window = self.dedup.window.lock();
        window.look(ids, stored, producer_id, now.0, window_ms)
    }

    /// Hears when the next transaction ends.
    pub fn transaction_ended(&self) -> Notified<'_> {
        self.dedup.ended.notified()
    }

    /// What to answer to a batch of nothing but copies that takes no offsets: where the first original is.
    pub fn copied(&self, found: &Found) -> AppendedUnit {
        let offsets = self.offsets();
        let first = found.copies.first();
        AppendedUnit {
            base_offset: first.map_or(Offset(0), |(_, original)| *original),
            unit_base: offsets.log_end,
            committed_at: if found.of_recent {
                offsets.log_end
            } else {
                Offset(0)
            },
            log_start: offsets.log_start,
            duplicate_of: None,
        }
    }

    /// Appends if the ids are still what they were found to be; they are taken then. `append` runs under the lock that says so.
    pub(super) fn once(
        &self,
        once: &Once<'_>,
        now: TimestampMs,
        append: impl FnOnce() -> Result<AppendedUnit, AppendError>,
    ) -> Result<AppendedUnit, NotAppended> {
        let window_ms = self.dedup_window_ms();
        let mut window = self.dedup.window.lock();
        if window.generation() != once.stored.generation {
            return Err(NotAppended::Changed);
        }
        let found = window.look(once.ids, once.stored, once.producer_id, now.0, window_ms);
        if found.undecided {
            return Err(NotAppended::Undecided);
        }
        if found.copies != once.copies {
            return Err(NotAppended::Changed);
        }
        let room = self
            .dedup
            .index
            .has_room(once.ids.len(), once.producer_id.is_some());
        room.map_err(NotAppended::Crowded)?;
        // Before the append: a checkpoint that has it must say so.
        self.log().has_message_ids();
        let appended = append()?;
        if appended.duplicate_of.is_none() {
            let base = appended.unit_base.0;
            self.dedup.change(&mut window, |window| {
                let mut copies = found.copies.iter().map(|(place, _)| *place).peekable();
                for (place, id) in once.ids {
                    if copies.next_if_eq(place).is_some() {
                        continue;
                    }
                    let taken = Taken {
                        offset: Offset(base + i64::from(*place)),
                        at_ms: now.0,
                    };
                    window.take(*id, taken, once.producer_id);
                }
            });
        }
        self.metrics
            .deduplicated(once.ids.len(), found.copies.len(), found.expired);
        Ok(appended)
    }

    /// A transaction's ids stay taken, or are free. Called under the lock that orders its marker.
    pub(super) fn end_ids(&self, producer_id: i64, kind: MarkerKind) {
        let mut window = self.dedup.window.lock();
        self.dedup.change(&mut window, |window| {
            window.end_transaction(producer_id, kind);
        });
        drop(window);
        self.dedup.ended.notify_waiters();
    }

    /// Which records have these ids. May read from the disk.
    pub fn seen_ids(&self, ids: &[MessageId], now: TimestampMs) -> Result<Vec<Seen>, AppendError> {
        let asked: Vec<_> = ids.iter().map(|id| (0, *id)).collect();
        loop {
            let stored = self.stored_ids(&asked)?;
            let window = self.dedup.window.lock();
            if window.generation() == stored.generation {
                return Ok(self.all_seen(&window, ids, &stored, now));
            }
        }
    }

    fn all_seen(
        &self,
        window: &Window,
        ids: &[MessageId],
        stored: &Stored,
        now: TimestampMs,
    ) -> Vec<Seen> {
        let window_ms = self.dedup_window_ms();
        let ids = ids.iter().enumerate();
        ids.map(|(at, id)| {
            let stored = stored.taken.get(at).copied().flatten();
            window.seen(*id, stored, now.0, window_ms).0
        })
        .collect()
    }

    /// Gives ids free that records have; returns what each was until then, and when that may be told.
    pub fn forget_ids(
        &self,
        ids: &[Bytes],
        request_id: &Bytes,
        now: TimestampMs,
    ) -> Result<(Vec<Seen>, Offset), ControlError> {
        let mut fingerprint = DefaultHasher::new();
        ids.hash(&mut fingerprint);
        let fingerprint = fingerprint.finish();
        let hash = self.dedup.index.hash();
        let hashes: Vec<MessageId> = ids.iter().map(|id| hash.of(id)).collect();
        let asked: Vec<_> = hashes.iter().map(|id| (0, *id)).collect();
        loop {
            let stored = self.stored_ids(&asked).map_err(ControlError::Append)?;
            let _order = self.pending.lock();
            let mut requests = self.dedup.requests.lock();
            if let Some(known) = requests.find(request_id, fingerprint)? {
                return Ok(known);
            }
            let mut window = self.dedup.window.lock();
            if window.generation() != stored.generation {
                continue;
            }
            let seen = self.all_seen(&window, &hashes, &stored, now);
            let taken = |seen: &Seen| matches!(seen, Seen::Taken(_));
            let free: Vec<Bytes> = ids
                .iter()
                .zip(&seen)
                .filter(|(_, seen)| taken(seen))
                .map(|(id, _)| id.clone())
                .collect();
            if free.is_empty() {
                let answered = (seen, self.offsets().log_end);
                requests.remember(request_id, fingerprint, ids.len(), &answered);
                return Ok(answered);
            }
            let frame = ForgetFrame {
                request_id: request_id.clone(),
                message_ids: free,
            };
            let (header, body) = frame.into_frame(now);
            let frames = vec![Frame { header, body }];
            self.log().has_message_ids();
            let appended = self.append_own(Unit { frames }, now);
            let appended = appended.map_err(ControlError::Append)?;
            self.dedup.change(&mut window, |window| {
                for (id, _) in hashes.iter().zip(&seen).filter(|(_, seen)| taken(seen)) {
                    window.forget(*id, now);
                }
            });
            let answered = (seen, appended.committed_at);
            requests.remember(request_id, fingerprint, ids.len(), &answered);
            return Ok(answered);
        }
    }

    /// What is to go to the index, and when the first id was taken; `None` where nothing is.
    pub fn ids_leave(&self) -> Option<(Leaving, i64)> {
        if self.pending.lock().closed {
            return None;
        }
        let mut window = self.dedup.window.lock();
        let log_end = self.offsets().log_end;
        let is_behind = window.owner.is_some() && !window.has_gap && window.covered_to < log_end;
        if !window.has_recent() && !is_behind {
            return None;
        }
        let since_ms = window.since_ms.unwrap_or(0);
        Some((window.leave(log_end), since_ms))
    }

    /// The index has them.
    pub fn ids_left(&self, owner: Owner, covers_to: Offset) {
        let mut window = self.dedup.window.lock();
        self.dedup
            .change(&mut window, |window| window.left(owner, covers_to));
        drop(window);
        self.dedup
            .index
            .keep_for(Some(owner), self.dedup_window_ms());
    }

    /// The index does not have them.
    pub fn ids_stayed(&self) {
        let mut window = self.dedup.window.lock();
        self.dedup.change(&mut window, Window::stayed);
    }

    /// How long ids are kept was changed.
    pub(super) fn keep_ids_for(&self, window_ms: i64) {
        if window_ms == 0 {
            // From now on nobody looks.
            self.log().has_message_ids();
        }
        let owner = {
            let mut window = self.dedup.window.lock();
            window.has_gap |= window_ms == 0;
            window.owner
        };
        self.dedup.index.keep_for(owner, window_ms);
    }

    /// The topic was deleted.
    pub(super) fn drop_ids(&self) {
        let mut window = self.dedup.window.lock();
        self.dedup
            .change(&mut window, |window| *window = Window::default());
        drop(window);
        self.dedup.ended.notify_waiters();
    }

    /// What its ids take.
    pub fn ids_size(&self) -> IdsSize {
        let (in_memory, owner, since_ms) = {
            let window = self.dedup.window.lock();
            (window.size() as u64, window.owner, window.since_ms)
        };
        let (stored, stored_bytes) = self.dedup.index.stored_size(owner);
        IdsSize {
            in_memory,
            stored,
            stored_bytes,
            since_ms,
        }
    }
}
