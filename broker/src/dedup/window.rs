//! The message ids of one partition that are not in the index yet. Pure.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

use kafka_compat::message_ids::MessageId;
use storage::{
    control::MarkerKind,
    kv::runs::Owner,
    units::{Offset, TimestampMs},
};

use super::{
    index::Mark,
    taken::{Seen, Taken},
};

/// Ids are hashes with a secret key: their own bits serve.
#[derive(Debug, Default)]
pub struct IdBits(u64);

impl Hasher for IdBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let bits = chunk
                .iter()
                .fold(0, |bits, byte| bits << 8 | u64::from(*byte));
            self.0 ^= bits;
        }
    }

    fn write_u128(&mut self, id: u128) {
        self.0 = u64::try_from(id >> 64).unwrap_or(0);
    }
}

/// Which records have which ids.
pub type Ids = HashMap<MessageId, Taken, BuildHasherDefault<IdBits>>;

/// A batch has no offsets while it is looked at.
pub(super) const OF_THIS_BATCH: Offset = Offset(-1);

/// What the index said of a batch's ids, at a moment.
#[derive(Debug, Default)]
pub struct Stored {
    /// For each id that was asked about; empty where it has none of them.
    pub taken: Vec<Option<Taken>>,
    /// What was not in the index then may be there now, and here no more, where this is another.
    pub generation: u64,
}

/// What is known of a batch's ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Places of records that the log has already, in order, each with the offset of the first one that had the id;
    /// -1 of a copy of another of the batch.
    pub copies: Vec<(i32, Offset)>,
    /// Ids that a record had whom the window has left behind.
    pub expired: u64,
    /// An open transaction of another producer has one of the ids: it is not decided what this one is.
    pub undecided: bool,
    /// A copy of something that may not be committed yet.
    pub of_recent: bool,
}

/// Ids that were taken since the last run.
#[derive(Debug, Default)]
pub struct Window {
    recent: Ids,
    /// Those that are on their way to the index.
    leaving: Option<Arc<Ids>>,
    /// Those of open transactions, which are in `recent`, too; each with its producer.
    open: HashMap<MessageId, i64, BuildHasherDefault<IdBits>>,
    by_producer: HashMap<i64, OpenTransaction>,
    generation: u64,
    /// Who the partition is in the index; nobody before its first run.
    pub owner: Option<Owner>,
    /// The index has what the log has below.
    pub covered_to: Offset,
    /// When the first id was taken.
    pub since_ms: Option<i64>,
}

#[derive(Debug)]
struct OpenTransaction {
    first: Offset,
    ids: Vec<MessageId>,
}

/// What a run takes from a window.
#[derive(Debug)]
pub struct Leaving {
    /// The ids.
    pub ids: Arc<Ids>,
    /// The index has all below, when it has them: no further than the log end then.
    pub covers_to: Offset,
}

impl Window {
    /// Of a partition that the index knows so far.
    pub fn after(mark: Option<&Mark>) -> Self {
        Self {
            owner: mark.map(|mark| mark.owner),
            covered_to: mark.map_or(Offset(0), |mark| mark.covered_to),
            since_ms: mark.map(|mark| mark.since_ms),
            ..Self::default()
        }
    }

    /// Changes whenever ids went to the index.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Ids in memory.
    pub fn len(&self) -> usize {
        self.recent.len() + self.leaving.as_ref().map_or(0, |ids| ids.len())
    }

    /// Ids of open transactions.
    pub fn open_len(&self) -> usize {
        self.open.len()
    }

    /// Whether there is something that a run could take.
    pub fn has_recent(&self) -> bool {
        self.recent.len() > self.open.len()
    }

    /// What an id is, where the index says `stored`.
    pub fn seen(
        &self,
        id: MessageId,
        stored: Option<Taken>,
        now_ms: i64,
        window_ms: i64,
    ) -> (Seen, bool) {
        let here = self.recent.get(&id).copied();
        let here = here.or_else(|| self.leaving.as_ref()?.get(&id).copied());
        let Some(taken) = here.or(stored) else {
            return (Seen::Never, false);
        };
        if !self.open.is_empty()
            && let Some(producer_id) = self.open.get(&id)
        {
            let (producer_id, offset) = (*producer_id, taken.offset);
            return (
                Seen::Open {
                    producer_id,
                    offset,
                },
                false,
            );
        }
        if taken.counts(now_ms, window_ms) {
            (Seen::Taken(taken), false)
        } else {
            (Seen::Never, taken.is_past(now_ms, window_ms))
        }
    }

    /// Looks at the ids of a batch, in order; `producer_id` is that of its transaction.
    pub fn look(
        &self,
        ids: &[(i32, MessageId)],
        stored: &Stored,
        producer_id: Option<i64>,
        now_ms: i64,
        window_ms: i64,
    ) -> Found {
        let mut found = Found::default();
        // An id may be twice in one batch.
        let mut here =
            HashSet::with_capacity_and_hasher(ids.len(), BuildHasherDefault::<IdBits>::default());
        for (at, (delta, id)) in ids.iter().enumerate() {
            let stored = stored.taken.get(at).copied().flatten();
            let (seen, is_past) = self.seen(*id, stored, now_ms, window_ms);
            found.expired += u64::from(is_past);
            match seen {
                Seen::Taken(taken) => {
                    found.copies.push((*delta, taken.offset));
                    found.of_recent |= stored.is_none();
                }
                Seen::Open {
                    producer_id: whose,
                    offset,
                } if producer_id == Some(whose) => {
                    found.copies.push((*delta, offset));
                    found.of_recent = true;
                }
                Seen::Open { .. } => found.undecided = true,
                Seen::Never if !here.insert(*id) => found.copies.push((*delta, OF_THIS_BATCH)),
                Seen::Never => {}
            }
        }
        found
    }

    /// A record has an id from now on.
    pub fn take(&mut self, id: MessageId, taken: Taken, producer_id: Option<i64>) {
        self.since_ms.get_or_insert(taken.at_ms);
        self.recent.insert(id, taken);
        let Some(producer_id) = producer_id else {
            // It may have been an aborted one's.
            if !self.open.is_empty() {
                self.open.remove(&id);
            }
            return;
        };
        self.open.insert(id, producer_id);
        let open = self
            .by_producer
            .entry(producer_id)
            .or_insert_with(|| OpenTransaction {
                first: taken.offset,
                ids: Vec::new(),
            });
        open.ids.push(id);
    }

    /// Nobody has an id any more.
    pub fn forget(&mut self, id: MessageId, now: TimestampMs) {
        self.recent.insert(id, Taken::forgotten(now.0));
    }

    /// A producer's transaction ended: what it took stays taken, or is free.
    pub fn end_transaction(&mut self, producer_id: i64, kind: MarkerKind) {
        let Some(ended) = self.by_producer.remove(&producer_id) else {
            return;
        };
        for id in ended.ids {
            if self.open.get(&id) != Some(&producer_id) {
                continue;
            }
            self.open.remove(&id);
            if kind == MarkerKind::Abort {
                self.recent.remove(&id);
            }
        }
    }

    /// Ids leave for the index: those of open transactions stay. `log_end` is the log's; nothing is appended meanwhile.
    pub fn leave(&mut self, log_end: Offset) -> Leaving {
        let mut ids = std::mem::take(&mut self.recent);
        for id in self.open.keys() {
            if let Some(taken) = ids.remove(id) {
                self.recent.insert(*id, taken);
            }
        }
        let ids = Arc::new(ids);
        self.leaving = Some(Arc::clone(&ids));
        let open = self.by_producer.values().map(|open| open.first).min();
        let covers_to = open.map_or(log_end, |first| first.min(log_end));
        Leaving { ids, covers_to }
    }

    /// The index has them.
    pub fn left(&mut self, owner: Owner, covers_to: Offset) {
        self.leaving = None;
        self.generation += 1;
        self.owner = Some(owner);
        self.covered_to = covers_to;
    }

    /// The index did not take them.
    pub fn stayed(&mut self) {
        let Some(back) = self.leaving.take() else {
            return;
        };
        for (id, taken) in back.iter() {
            self.recent.entry(*id).or_insert(*taken);
        }
    }
}
