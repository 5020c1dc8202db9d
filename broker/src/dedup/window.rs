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
    /// Nobody looked at some of what the log has behind `covered_to`, since ids were not kept then: the next start does.
    pub has_gap: bool,
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
    pub fn size(&self) -> usize {
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
            // An older one that was forgotten, or is too old, may still be in the index: it must not come back.
            if kind == MarkerKind::Abort
                && let Some(taken) = self.recent.get_mut(&id)
            {
                *taken = Taken::forgotten(taken.at_ms);
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
        let read_to = if self.has_gap {
            self.covered_to
        } else {
            log_end
        };
        let covers_to = open.map_or(read_to, |first| first.min(read_to));
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const WINDOW_MS: i64 = 100;

    #[derive(Clone, Debug)]
    enum Step {
        /// A batch of these ids, by a producer in a transaction or by nobody.
        Batch(Vec<u8>, Option<i64>),
        End(i64, bool),
        Forget(u8),
        Leave,
        /// Whether the index took them.
        Left(bool),
        Later(i64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let producer = proptest::option::of(1i64..3);
        prop_oneof![
            4 => (proptest::collection::vec(0u8..12, 1..4), producer).prop_map(|(ids, p)| Step::Batch(ids, p)),
            1 => (1i64..3, any::<bool>()).prop_map(|(p, commits)| Step::End(p, commits)),
            1 => (0u8..12).prop_map(Step::Forget),
            1 => Just(Step::Leave),
            1 => any::<bool>().prop_map(Step::Left),
            1 => (1i64..60).prop_map(Step::Later),
        ]
    }

    /// An id by the book: its offset, when it was taken, and in whose open transaction.
    type Book = BTreeMap<u8, (i64, i64, Option<i64>)>;

    fn in_book(book: &Book, id: u8, now: i64) -> Option<(i64, Option<i64>)> {
        let (offset, at, open) = *book.get(&id)?;
        (open.is_some() || now - at < WINDOW_MS).then_some((offset, open))
    }

    proptest! {
        /// Whatever is in memory, on its way, or in the index: each id is known by exactly what the log says of it.
        #[test]
        fn the_window_and_the_index_together_know_what_the_log_says(steps in proptest::collection::vec(step(), 1..80)) {
            let (mut window, mut index) = (Window::default(), Ids::default());
            let (mut book, mut now, mut log_end) = (Book::new(), 1_000i64, 0i64);
            let mut leaving: Option<Leaving> = None;
            for step in steps {
                match step {
                    Step::Batch(ids, producer) => {
                        let asked: Vec<_> = (0i32..).zip(&ids).map(|(at, id)| (at, u128::from(*id) << 64)).collect();
                        let stored = Stored {
                            taken: asked.iter().map(|(_, id)| index.get(id).copied()).collect(),
                            generation: window.generation(),
                        };
                        let found = window.look(&asked, &stored, producer, now, WINDOW_MS);
                        let known: Vec<_> = ids.iter().map(|id| in_book(&book, *id, now)).collect();
                        let undecided = known.iter().any(|k| matches!(k, Some((_, Some(whose))) if Some(*whose) != producer));
                        prop_assert_eq!(found.undecided, undecided);
                        if undecided {
                            continue;
                        }
                        let mut copies = Vec::new();
                        for (at, (id, known)) in (0i32..).zip(ids.iter().zip(&known)) {
                            let place = usize::try_from(at).unwrap();
                            match known {
                                Some((offset, _)) => copies.push((at, Offset(*offset))),
                                None if ids[..place].contains(id) => copies.push((at, OF_THIS_BATCH)),
                                None => {}
                            }
                        }
                        prop_assert_eq!(&found.copies, &copies);
                        for (at, id) in &asked {
                            if copies.iter().any(|(copy, _)| copy == at) {
                                continue;
                            }
                            let offset = log_end + i64::from(*at);
                            let small = u8::try_from(*id >> 64).unwrap();
                            window.take(*id, Taken { offset: Offset(offset), at_ms: now }, producer);
                            book.insert(small, (offset, now, producer));
                        }
                        log_end += i64::try_from(ids.len()).unwrap();
                    }
                    Step::End(producer, commits) => {
                        let kind = if commits { MarkerKind::Commit } else { MarkerKind::Abort };
                        window.end_transaction(producer, kind);
                        log_end += 1;
                        if commits {
                            book.values_mut().filter(|v| v.2 == Some(producer)).for_each(|v| v.2 = None);
                        } else {
                            book.retain(|_, v| v.2 != Some(producer));
                        }
                    }
                    Step::Forget(id) => {
                        if let Some((_, None)) = in_book(&book, id, now) {
                            window.forget(u128::from(id) << 64, TimestampMs(now));
                            book.remove(&id);
                            log_end += 1;
                        }
                    }
                    Step::Leave if leaving.is_none() => {
                        let left = window.leave(Offset(log_end));
                        let open = book.values().filter(|v| v.2.is_some()).map(|v| v.0).min();
                        // Not beyond an open transaction's first id.
                        prop_assert!(open.is_none_or(|open| left.covers_to.0 <= open));
                        leaving = Some(left);
                    }
                    Step::Leave => {}
                    Step::Left(took) => {
                        if let Some(left) = leaving.take() {
                            if took {
                                index.extend(left.ids.iter().map(|(id, taken)| (*id, *taken)));
                                window.left(Owner(1), left.covers_to);
                            } else {
                                window.stayed();
                            }
                        }
                    }
                    Step::Later(by) => now += by,
                }
            }
        }
    }
}
