//! The transactions of a log: which are open, and from where on what it has is not decided.
//!
//! Source: Apache Kafka, `ProducerStateManager` (`ongoingTxns`, `unreplicatedTxns`, `firstUnstableOffset`).

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::{error::AppendError, unit::Origin};
use crate::{batch::BatchHeader, units::Offset};

/// Where a unit was appended: where a transaction begins, if it is its first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Began {
    pub(super) offset: Offset,
    /// One past the last visible batch before it.
    pub(super) visible_before: Offset,
    /// First offset of its segment, and where it is there.
    pub(super) segment: Offset,
    pub(super) position: u64,
    /// Records of it are held.
    pub(super) holds: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    producer_id: i64,
    began: Began,
}

/// A transaction that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) producer_id: i64,
    pub(super) began: Began,
    /// Where its marker is.
    pub(super) marker: Offset,
    pub(super) aborted: bool,
    /// The first offset that was not decided then.
    pub(super) last_stable: Offset,
}

/// A transaction whose data a log has, and its consumers are not to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: i64,
    /// Where it began.
    pub first_offset: Offset,
    /// Where its marker is.
    pub marker: Offset,
    /// The first offset that was not decided when the marker was written.
    pub last_stable: Offset,
}

impl From<Ended> for AbortedTransaction {
    fn from(ended: Ended) -> Self {
        Self {
            producer_id: ended.producer_id,
            first_offset: ended.began.offset,
            marker: ended.marker,
            last_stable: ended.last_stable,
        }
    }
}

/// Lets a producer's first batch of a transaction in, unless a marker came since it was made (KIP-890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    token: u64,
    /// Each transaction of the producer has an epoch of its own.
    pub epoch_per_transaction: bool,
}

/// A batch that would be a producer's first of a transaction in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstBatch {
    /// Whose.
    pub producer_id: i64,
    /// In what epoch.
    pub epoch: i16,
    /// Its sequence; -1 of a coordinator's.
    pub sequence: i32,
    /// Each transaction of the producer has an epoch of its own.
    pub epoch_per_transaction: bool,
}

/// More producers than this do not begin in one log within [`CROWDED_MS`]; those who make ids up do not take the memory.
const GUARDS_MAX: usize = 10_000;
const CROWDED_MS: i64 = 60_000;

/// A producer that somebody is asked to vouch for, until it writes or its transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Guarded {
    token: u64,
    epoch: i16,
    /// The least of those that it came with. A later one does not go before, or the earlier one would be out of order for ever:
    /// clients send several batches at a time, and repeat those for which the coordinator had no time. Source: Apache Kafka,
    /// `VerificationStateEntry`.
    lowest_sequence: i32,
    asked_ms: i64,
}

/// All of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transactions {
    /// By where they began.
    open: BTreeMap<i64, Open>,
    by_producer: HashMap<i64, i64>,
    /// Those whose marker is not committed yet. An open finds all markers committed.
    #[serde(skip)]
    ending: Vec<(Offset, Began)>,
    /// Producers whose transaction somebody vouches for.
    #[serde(skip)]
    guards: HashMap<i64, Guarded>,
    #[serde(skip)]
    tokens: u64,
}

impl Transactions {
    /// Where a producer's open transaction began.
    pub(super) fn start_of(&self, producer_id: i64) -> Option<Offset> {
        self.by_producer.get(&producer_id).copied().map(Offset)
    }

    /// What somebody who asks the coordinator takes with him.
    pub(super) fn guard(&mut self, batch: &FirstBatch, now_ms: i64) -> Guard {
        if self.guards.len() >= GUARDS_MAX && !self.guards.contains_key(&batch.producer_id) {
            self.expire(now_ms, CROWDED_MS);
            if self.guards.len() >= GUARDS_MAX {
                self.guards.clear();
            }
        }
        self.tokens += 1;
        let new = Guarded {
            token: self.tokens,
            epoch: batch.epoch,
            lowest_sequence: batch.sequence,
            asked_ms: now_ms,
        };
        let guarded = self.guards.entry(batch.producer_id).or_insert(new);
        if batch.epoch > guarded.epoch {
            (guarded.epoch, guarded.lowest_sequence) = (batch.epoch, batch.sequence);
        } else if batch.epoch == guarded.epoch {
            guarded.lowest_sequence = guarded.lowest_sequence.min(batch.sequence);
        }
        guarded.asked_ms = now_ms;
        Guard {
            token: guarded.token,
            epoch_per_transaction: batch.epoch_per_transaction,
        }
    }

    /// The least sequence of those that a producer came with and did not write.
    pub(super) fn lowest_sequence(&self, producer_id: i64) -> Option<i32> {
        let guarded = self.guards.get(&producer_id);
        guarded.map(|guarded| guarded.lowest_sequence)
    }

    #[cfg(test)]
    pub(super) fn guards(&self) -> usize {
        self.guards.len()
    }

    /// Forgets those of whom nothing was heard for `after_ms`.
    pub(super) fn expire(&mut self, now_ms: i64, after_ms: i64) {
        self.guards
            .retain(|_, guarded| now_ms.saturating_sub(guarded.asked_ms) < after_ms);
    }

    /// Whether a batch may be appended as far as its transaction goes.
    pub(super) fn judge(&self, header: &BatchHeader, origin: Origin) -> Result<(), AppendError> {
        let id = header.producer_id;
        let is_open = self.by_producer.contains_key(&id);
        let is_vouched = || {
            let guard = origin.guard();
            let guarded = self.guards.get(&id);
            guard.is_some_and(|guard| guarded.is_some_and(|known| known.token == guard.token))
        };
        let fits = match (is_open, header.is_transactional()) {
            (true, transactional) => transactional,
            (false, true) => is_vouched(),
            (false, false) => true,
        };
        if fits {
            Ok(())
        } else {
            Err(AppendError::InvalidTxnState { producer_id: id })
        }
    }

    pub(super) fn begin(&mut self, producer_id: i64, began: Began) {
        self.guards.remove(&producer_id);
        if let Some(start) = self.by_producer.get(&producer_id) {
            if let Some(open) = self.open.get_mut(start) {
                open.began.holds |= began.holds;
            }
            return;
        }
        self.by_producer.insert(producer_id, began.offset.0);
        self.open
            .insert(began.offset.0, Open { producer_id, began });
    }

    pub(super) fn end(&mut self, producer_id: i64, marker: Offset, aborted: bool) -> Option<Ended> {
        self.guards.remove(&producer_id);
        let start = self.by_producer.remove(&producer_id)?;
        let open = self.open.remove(&start)?;
        self.ending.push((marker, open.began));
        let next = self.open.first_key_value().map(|(start, _)| Offset(*start));
        Some(Ended {
            producer_id,
            began: open.began,
            marker,
            aborted,
            last_stable: next.unwrap_or(marker.plus(1)),
        })
    }

    /// Markers below the high watermark are committed.
    pub(super) fn committed_to(&mut self, high_watermark: Offset) {
        if !self.ending.is_empty() {
            self.ending.retain(|(marker, _)| *marker >= high_watermark);
        }
    }

    /// The first that is not decided, or whose end may be lost.
    pub(super) fn first_unstable(&self) -> Option<Began> {
        let open = self.open.first_key_value().map(|(_, open)| open.began);
        let ending = self.ending.iter().map(|(_, began)| *began);
        open.into_iter()
            .chain(ending)
            .min_by_key(|began| began.offset)
    }

    /// Whether an open transaction of this producer has held records.
    pub(super) fn has_holds(&self, producer_id: i64) -> bool {
        let start = self.by_producer.get(&producer_id);
        let open = start.and_then(|start| self.open.get(start));
        open.is_some_and(|open| open.began.holds)
    }

    pub(super) fn is_below(&self, end: Offset) -> bool {
        self.open.keys().all(|start| *start < end.0)
    }
}
