//! What a log remembers of idempotent producers: epoch and the last five batches of each, and where its open transaction began.
//!
//! Source: Apache Kafka, `ProducerAppendInfo`, `ProducerStateEntry` (`NUM_BATCHES_TO_RETAIN` = 5).

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{
    error::AppendError,
    transactions::{Began, Ended, Transactions},
    unit::Origin,
};
use crate::{
    batch::BatchHeader,
    control::{Marker, MarkerKind},
    units::Offset,
};

const BATCHES_KEPT: usize = 5;
/// No coordinator wrote a marker yet.
const NO_COORDINATOR: i32 = -1;
/// From this version of transactions on, each one has an epoch of its own (KIP-890).
const EPOCH_PER_TRANSACTION: i16 = 2;

/// The state of all producers of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Producers {
    by_id: HashMap<i64, Producer>,
    /// Those that are open, and those that ended above the high watermark.
    #[serde(default)]
    pub(super) transactions: Transactions,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Producer {
    epoch: i16,
    /// Oldest first; empty after an epoch without batches.
    batches: VecDeque<Batch>,
    /// Append time of the last batch: when it expires.
    last_ms: i64,
    /// Of its last batch or marker; absent in files from before transactions.
    #[serde(default = "none")]
    last_timestamp: Option<i64>,
    #[serde(default = "no_coordinator")]
    coordinator_epoch: i32,
}

fn none() -> Option<i64> {
    None
}

fn no_coordinator() -> i32 {
    NO_COORDINATOR
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Batch {
    first_sequence: i32,
    last_sequence: i32,
    base_offset: i64,
    last_offset: i64,
    timestamp: i64,
    /// The offset that was answered, where it is not the first record's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    answer: Option<i64>,
}

/// A producer, as a log tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerInfo {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// The last sequence of its last batch; -1 none.
    pub last_sequence: i32,
    /// The last offset of its last batch; -1 none.
    pub last_offset: i64,
    /// The largest timestamp of its last batch, or its marker's; -1 none.
    pub last_timestamp: i64,
    /// The epoch of the coordinator that wrote its last marker; -1 none.
    pub coordinator_epoch: i32,
    /// Where its open transaction began.
    pub transaction_start: Option<Offset>,
}

/// What to do with a batch.
#[derive(Debug)]
pub(super) enum Verdict {
    Append,
    Duplicate {
        base_offset: Offset,
        next_offset: Offset,
        timestamp: i64,
    },
}

impl Producers {
    /// Judges a unit by its first frame's header; changes nothing.
    pub(super) fn judge(
        &self,
        header: &BatchHeader,
        origin: Origin,
    ) -> Result<Verdict, AppendError> {
        if !header.has_producer_id() {
            return Ok(Verdict::Append);
        }
        if let Origin::Marker(marker) = origin {
            return self.judge_marker(header, marker);
        }
        let id = header.producer_id;
        let producer = self.by_id.get(&id);
        let verdict = match (producer, origin) {
            (Some(producer), Origin::Client { .. }) => producer.judge(header)?,
            (Some(producer), _) => {
                producer.judge_epoch(header)?;
                Verdict::Append
            }
            // Kafka accepts any sequence of a producer that it does not know: its state may have expired. Not where each
            // transaction has an epoch of its own: that begins with 0.
            (None, Origin::Client { guard: Some(guard) })
                if guard.epoch_per_transaction && header.base_sequence != 0 =>
            {
                return Err(AppendError::OutOfOrderSequence {
                    producer_id: id,
                    sequence: header.base_sequence,
                    expected: 0,
                });
            }
            (None, _) => Verdict::Append,
        };
        if matches!(verdict, Verdict::Append) {
            self.transactions.judge(header, origin)?;
            let lowest = self.transactions.lowest_sequence(id);
            if let (Some(expected), Origin::Client { .. }) = (lowest, origin)
                && header.base_sequence > expected
            {
                return Err(AppendError::OutOfOrderSequence {
                    producer_id: id,
                    sequence: header.base_sequence,
                    expected,
                });
            }
        }
        Ok(verdict)
    }

    fn judge_marker(&self, header: &BatchHeader, marker: Marker) -> Result<Verdict, AppendError> {
        let id = header.producer_id;
        let Some(producer) = self.by_id.get(&id) else {
            return Ok(Verdict::Append);
        };
        let epoch = header.producer_epoch;
        let has_own_epoch = marker.transaction_version >= EPOCH_PER_TRANSACTION;
        let is_late = if has_own_epoch {
            // The same marker once more, of a transaction that it ended (KAFKA-19999).
            let is_repeated = epoch == producer.epoch && self.transactions.start_of(id).is_none();
            epoch <= producer.epoch && !is_repeated
        } else {
            epoch < producer.epoch
        };
        if is_late {
            return Err(AppendError::InvalidProducerEpoch {
                producer_id: id,
                epoch,
                current: producer.epoch,
            });
        }
        if marker.coordinator_epoch < producer.coordinator_epoch {
            return Err(AppendError::CoordinatorFenced {
                epoch: marker.coordinator_epoch,
                current: producer.coordinator_epoch,
            });
        }
        Ok(Verdict::Append)
    }

    /// Takes in a unit that was appended there, by its first frame's header; `answer` was told for it, where it is the offset of
    /// an earlier record.
    pub(super) fn record(
        &mut self,
        header: &BatchHeader,
        began: Began,
        answer: Option<Offset>,
        now_ms: i64,
    ) {
        if !header.has_producer_id() || header.is_control() {
            return;
        }
        let id = header.producer_id;
        let producer = self.by_id.entry(id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            batches: VecDeque::with_capacity(BATCHES_KEPT),
            last_ms: now_ms,
            last_timestamp: None,
            coordinator_epoch: NO_COORDINATOR,
        });
        producer.has_epoch(header.producer_epoch);
        // What a coordinator wrote in a transaction has no sequence.
        if header.base_sequence >= 0 {
            let (first_sequence, last_sequence) = sequences(header);
            if producer.batches.len() == BATCHES_KEPT {
                producer.batches.pop_front();
            }
            producer.batches.push_back(Batch {
                first_sequence,
                last_sequence,
                base_offset: began.offset.0,
                last_offset: began.offset.0 + i64::from(header.last_offset_delta),
                timestamp: header.max_timestamp,
                answer: answer.map(|earlier| earlier.0),
            });
        }
        producer.last_timestamp = Some(header.max_timestamp);
        producer.last_ms = now_ms;
        if header.is_transactional() {
            self.transactions.begin(id, began);
        }
    }

    /// Takes in a marker that was appended there. Returns the transaction that it ended.
    pub(super) fn record_marker(
        &mut self,
        header: &BatchHeader,
        marker: Marker,
        at: Offset,
        now_ms: i64,
    ) -> Option<Ended> {
        let id = header.producer_id;
        let producer = self.by_id.entry(id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            batches: VecDeque::new(),
            last_ms: now_ms,
            last_timestamp: None,
            coordinator_epoch: NO_COORDINATOR,
        });
        producer.has_epoch(header.producer_epoch.max(producer.epoch));
        producer.coordinator_epoch = producer.coordinator_epoch.max(marker.coordinator_epoch);
        producer.last_timestamp = Some(header.max_timestamp);
        producer.last_ms = now_ms;
        self.transactions
            .end(id, at, marker.kind == MarkerKind::Abort)
    }

    /// Whether a producer has a transaction open in that epoch.
    pub(super) fn is_open(&self, producer_id: i64, epoch: i16) -> bool {
        let producer = self.by_id.get(&producer_id);
        producer.is_some_and(|p| p.epoch == epoch)
            && self.transactions.start_of(producer_id).is_some()
    }

    /// Whether a batch is a marker that ends a transaction with held records.
    pub(super) fn arms(&self, header: &BatchHeader) -> bool {
        header.is_control() && self.transactions.has_holds(header.producer_id)
    }

    /// Whether a producer's last word is a marker: with it, its epoch would be forgotten.
    pub(super) fn is_last_word(&self, header: &BatchHeader) -> bool {
        let producer = self.by_id.get(&header.producer_id);
        producer.is_some_and(|p| p.epoch == header.producer_epoch && p.batches.is_empty())
    }

    /// Where the last batch of a producer ends.
    pub(super) fn last_offset(&self, producer_id: i64) -> Option<i64> {
        let last = self.by_id.get(&producer_id)?.batches.back()?;
        Some(last.last_offset)
    }

    /// All of them, by id.
    pub(super) fn list(&self) -> Vec<ProducerInfo> {
        let mut list: Vec<ProducerInfo> = self
            .by_id
            .iter()
            .map(|(id, p)| ProducerInfo {
                id: *id,
                epoch: p.epoch,
                last_sequence: p.batches.back().map_or(-1, |b| b.last_sequence),
                last_offset: p.batches.back().map_or(-1, |b| b.last_offset),
                last_timestamp: p
                    .last_timestamp
                    .or(p.batches.back().map(|b| b.timestamp))
                    .unwrap_or(-1),
                coordinator_epoch: p.coordinator_epoch,
                transaction_start: self.transactions.start_of(*id),
            })
            .collect();
        list.sort_by_key(|p| p.id);
        list
    }

    /// Forgets producers that were silent for `after_ms`, but those with an open transaction.
    pub(super) fn expire(&mut self, now_ms: i64, after_ms: i64) {
        let transactions = &self.transactions;
        self.by_id.retain(|id, p| {
            now_ms.saturating_sub(p.last_ms) < after_ms || transactions.start_of(*id).is_some()
        });
        self.transactions.expire(now_ms, after_ms);
    }

    /// Whether every batch it remembers lies below `end`.
    pub(super) fn is_below(&self, end: Offset) -> bool {
        self.by_id
            .values()
            .flat_map(|p| &p.batches)
            .all(|b| b.last_offset < end.0)
            && self.transactions.is_below(end)
    }
}

impl Producer {
    fn has_epoch(&mut self, epoch: i16) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.batches.clear();
        }
    }

    fn judge_epoch(&self, header: &BatchHeader) -> Result<(), AppendError> {
        if header.producer_epoch < self.epoch {
            return Err(AppendError::InvalidProducerEpoch {
                producer_id: header.producer_id,
                epoch: header.producer_epoch,
                current: self.epoch,
            });
        }
        Ok(())
    }

    fn judge(&self, header: &BatchHeader) -> Result<Verdict, AppendError> {
        self.judge_epoch(header)?;
        let (first, last) = sequences(header);
        let out_of_order = |expected| AppendError::OutOfOrderSequence {
            producer_id: header.producer_id,
            sequence: first,
            expected,
        };
        if header.producer_epoch > self.epoch {
            return if first == 0 {
                Ok(Verdict::Append)
            } else {
                Err(out_of_order(0))
            };
        }
        let same = |b: &&Batch| b.first_sequence == first && b.last_sequence == last;
        if let Some(original) = self.batches.iter().find(same) {
            return Ok(Verdict::Duplicate {
                base_offset: Offset(original.answer.unwrap_or(original.base_offset)),
                next_offset: Offset(original.last_offset + 1),
                timestamp: original.timestamp,
            });
        }
        // A marker may have brought the epoch: then nothing was sent in it.
        let newest = self.batches.back();
        let expected = newest.map_or(0, |newest| next_sequence(newest.last_sequence));
        if first == expected {
            return Ok(Verdict::Append);
        }
        // Also of one that is older than the batches kept. Source: Apache Kafka, `ProducerAppendInfo.checkSequence`.
        Err(out_of_order(expected))
    }
}

fn sequences(header: &BatchHeader) -> (i32, i32) {
    let first = header.base_sequence;
    (first, add_sequence(first, header.last_offset_delta))
}

fn next_sequence(last: i32) -> i32 {
    add_sequence(last, 1)
}

/// Sequences wrap from 2^31 - 1 to 0.
fn add_sequence(sequence: i32, by: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(by);
    i32::try_from(sum % (i64::from(i32::MAX) + 1)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, first: i32, count: i32) -> BatchHeader {
        BatchHeader {
            base_offset: 0,
            batch_length: 49,
            leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 0,
            max_timestamp: 77,
            producer_id: 9,
            producer_epoch: epoch,
            base_sequence: first,
            records_count: count,
        }
    }

    fn at(offset: i64) -> Began {
        Began {
            offset: Offset(offset),
            ..Began::default()
        }
    }

    fn verdict(p: &Producers, h: &BatchHeader) -> String {
        match p.judge(h, Origin::CLIENT) {
            Ok(Verdict::Append) => "append".into(),
            Ok(Verdict::Duplicate { base_offset, .. }) => format!("duplicate of {base_offset}"),
            Err(AppendError::OutOfOrderSequence { expected, .. }) => format!("expected {expected}"),
            Err(AppendError::InvalidProducerEpoch { .. }) => "fenced".into(),
            Err(e) => e.to_string(),
        }
    }

    /// Seven batches of two records each, then each kind of next batch.
    #[test]
    fn sequences_are_judged_as_kafka_does() {
        let mut p = Producers::default();
        assert_eq!(
            verdict(&p, &batch(0, 40, 1)),
            "append",
            "an unknown producer may start anywhere"
        );
        for i in 0..7 {
            let h = batch(1, i * 2, 2);
            assert_eq!(verdict(&p, &h), "append");
            p.record(&h, at(i64::from(i) * 10), None, 0);
        }
        let table = [
            (batch(1, 14, 3), "append"),
            (batch(1, 12, 2), "duplicate of 60"),
            (batch(1, 4, 2), "duplicate of 20"),
            (batch(1, 2, 2), "expected 14"),
            (batch(1, 12, 1), "expected 14"),
            (batch(1, 15, 1), "expected 14"),
            (batch(0, 14, 1), "fenced"),
            (batch(2, 0, 1), "append"),
            (batch(2, 14, 1), "expected 0"),
        ];
        for (header, expected) in table {
            assert_eq!(verdict(&p, &header), expected, "{header:?}");
        }
        assert!(p.is_below(Offset(62)) && !p.is_below(Offset(61)));
    }

    #[test]
    fn sequences_wrap() {
        let mut p = Producers::default();
        p.record(&batch(0, i32::MAX - 1, 4), at(0), None, 0);
        assert_eq!(verdict(&p, &batch(0, 2, 1)), "append");
        assert_eq!(verdict(&p, &batch(0, 3, 1)), "expected 2");
        assert_eq!(verdict(&p, &batch(0, i32::MAX - 1, 4)), "duplicate of 0");
    }

    #[test]
    fn a_silent_producer_is_forgotten() {
        let mut p = Producers::default();
        p.record(&batch(0, 0, 1), at(0), None, 1_000);
        p.expire(1_999, 1_000);
        assert_eq!(verdict(&p, &batch(0, 5, 1)), "expected 1");
        p.expire(2_000, 1_000);
        assert_eq!(verdict(&p, &batch(0, 5, 1)), "append");
    }
}
