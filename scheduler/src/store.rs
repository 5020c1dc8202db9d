//! The pending records of one partition.
//!
//! The set lives in memory and is rebuilt from the log at start. The interface is that of a bounded, durable store: a caller
//! holds keys and places only, asks for what is due in bounded portions, and may hand entries back.

use std::collections::BTreeMap;

use storage::units::{DueTime, Offset, TimestampMs};

use crate::timer_key::TimerKey;

/// Where a held record lies in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Base offset of the HOLD frame.
    pub hold: Offset,
    /// The entry in that frame.
    pub index: u32,
}

/// A pending record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerEntry {
    /// Its place in firing order.
    pub key: TimerKey,
    /// Its place in the log.
    pub place: Place,
}

/// Pending records in firing order.
#[derive(Debug, Default)]
pub struct TimerStore {
    pending: BTreeMap<TimerKey, Place>,
}

impl TimerStore {
    /// Adds a committed hold. The same key twice is the same record (a carried HOLD): the later place counts.
    pub fn insert(&mut self, entry: TimerEntry) {
        self.pending.insert(entry.key, entry.place);
    }

    /// Takes a record out; false where it is not pending.
    pub fn cancel(&mut self, key: TimerKey) -> bool {
        self.pending.remove(&key).is_some()
    }

    /// When the next record is due.
    pub fn next_deadline(&self) -> Option<DueTime> {
        self.pending.first_key_value().map(|(key, _)| key.due)
    }

    /// Takes out what is due at `now`, at most `max` records, in firing order.
    pub fn pop_due(&mut self, now: TimestampMs, max: usize) -> Vec<TimerEntry> {
        let mut due = Vec::new();
        while due.len() < max {
            match self.pending.first_entry() {
                Some(first) if first.key().due.0 <= now.0 => {
                    let (key, place) = first.remove_entry();
                    due.push(TimerEntry { key, place });
                }
                _ => break,
            }
        }
        due
    }

    /// The HOLD frame nearest to the log's beginning that has a pending record. Looks at all of them.
    pub fn oldest_hold(&self) -> Option<Offset> {
        self.pending.values().map(|place| place.hold).min()
    }

    /// Records pending.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use storage::units::ScheduleId;

    fn entry(due: i64, id: i64) -> TimerEntry {
        TimerEntry {
            key: TimerKey {
                due: DueTime(due),
                id: ScheduleId(id),
            },
            place: Place {
                hold: Offset(id),
                index: 0,
            },
        }
    }

    #[test]
    fn equal_due_times_fire_in_produced_order() {
        let mut store = TimerStore::default();
        for id in [3, 1, 2] {
            store.insert(entry(10, id));
        }
        let ids: Vec<_> = store
            .pop_due(TimestampMs(10), 9)
            .iter()
            .map(|e| e.key.id.0)
            .collect();
        assert_eq!(ids, [1, 2, 3]);
    }

    #[test]
    fn a_carried_hold_counts_once_at_its_later_place() {
        let mut store = TimerStore::default();
        store.insert(entry(10, 1));
        let carried = TimerEntry {
            place: Place {
                hold: Offset(99),
                index: 4,
            },
            ..entry(10, 1)
        };
        store.insert(carried);
        assert_eq!(store.pop_due(TimestampMs(10), 9), [carried]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(i64, i64),
        Cancel(i64, i64),
        Tick(i64, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..50i64, 0..50i64).prop_map(|(due, id)| Step::Insert(due, id)),
            (0..50i64, 0..50i64).prop_map(|(due, id)| Step::Cancel(due, id)),
            (0..60i64, 0..5usize).prop_map(|(now, max)| Step::Tick(now, max)),
        ]
    }

    proptest! {
        /// Against a sorted list: nothing early, nothing lost, nothing twice, in order, also when time steps back.
        #[test]
        fn behaves_as_a_sorted_list(steps in proptest::collection::vec(step(), 0..200)) {
            let mut store = TimerStore::default();
            let mut twin: Vec<(i64, i64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(due, id) => {
                        store.insert(entry(due, id));
                        if !twin.contains(&(due, id)) {
                            twin.push((due, id));
                        }
                        twin.sort_unstable();
                    }
                    Step::Cancel(due, id) => {
                        let there = twin.contains(&(due, id));
                        twin.retain(|e| *e != (due, id));
                        prop_assert_eq!(store.cancel(entry(due, id).key), there);
                    }
                    Step::Tick(now, max) => {
                        let n = twin.iter().take_while(|(due, _)| *due <= now).count().min(max);
                        let expected: Vec<_> = twin.drain(..n).collect();
                        let got: Vec<_> = store
                            .pop_due(TimestampMs(now), max)
                            .iter()
                            .map(|e| (e.key.due.0, e.key.id.0))
                            .collect();
                        prop_assert_eq!(got, expected);
                    }
                }
                prop_assert_eq!(store.oldest_hold().map(|o| o.0), twin.iter().map(|e| e.1).min());
                prop_assert_eq!(store.len(), twin.len());
                prop_assert_eq!(store.is_empty(), twin.is_empty());
                prop_assert_eq!(store.next_deadline().map(|d| d.0), twin.first().map(|e| e.0));
            }
        }
    }
}
