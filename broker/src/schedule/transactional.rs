//! Records held by open transactions: nobody sees them, and nothing cancels or fires them, before the transaction ends.
//!
//! A commit arms them: what was due while the transaction was open is due at its marker's time, which the log has, so that a start
//! finds the same due times. An abort drops them; their HOLDs stay until the log lets go of them, and settle nothing.

use std::collections::HashMap;

use scheduler::{Place, TimerEntry, TimerKey};
use storage::{
    control::MarkerKind,
    units::{DueTime, Offset, TimestampMs},
};

/// By producer.
#[derive(Debug, Default)]
pub struct Transactional(HashMap<i64, Vec<TimerEntry>>);

impl Transactional {
    /// These wait for the end of their producer's transaction.
    pub fn hold(&mut self, producer_id: i64, timers: impl IntoIterator<Item = TimerEntry>) {
        self.0.entry(producer_id).or_default().extend(timers);
    }

    /// The timers of what a producer's transaction held, if it was committed: its marker has the time `at`.
    pub fn end(&mut self, producer_id: i64, kind: MarkerKind, at: TimestampMs) -> Vec<TimerEntry> {
        let held = self.0.remove(&producer_id).unwrap_or_default();
        match kind {
            MarkerKind::Abort => Vec::new(),
            MarkerKind::Commit => held.into_iter().map(|entry| armed(entry, at)).collect(),
        }
    }

    /// The first HOLD of them.
    pub fn first_hold(&self) -> Option<Offset> {
        self.iter().map(|entry| entry.place.hold).min()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &TimerEntry> {
        self.0.values().flatten()
    }
}

/// Never due before its transaction was committed.
fn armed(entry: TimerEntry, at: TimestampMs) -> TimerEntry {
    let TimerEntry { key, place } = entry;
    if key.due.0 >= at.0 {
        return entry;
    }
    TimerEntry {
        key: TimerKey {
            due: DueTime(at.0),
            ..key
        },
        place: Place {
            moved: true,
            ..place
        },
    }
}
