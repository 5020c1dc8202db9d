//! What is pending at one moment, read in firing order.

use std::collections::{BTreeMap, BTreeSet};

use storage::units::{DueTime, ScheduleId};

use super::{Place, StoreError, TimerEntry, merge::Merge, run::Run};
use crate::timer_key::TimerKey;

/// What was pending when it was taken: runs do not change, and are read from their files even where those were unlinked.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) memtable: BTreeMap<TimerKey, Place>,
    pub(super) taken_out: BTreeSet<TimerKey>,
    pub(super) runs: Vec<Run>,
    pub(super) done: Option<TimerKey>,
}

impl Snapshot {
    /// Gives `each` the pending records from `from` on that are due before `to`, in firing order, until it returns false.
    /// Blocks on the disk.
    pub fn for_each(
        &self,
        from: TimerKey,
        to: DueTime,
        each: &mut dyn FnMut(TimerEntry) -> bool,
    ) -> Result<(), StoreError> {
        let view = View {
            memtable: &self.memtable,
            taken_out: &self.taken_out,
            runs: &self.runs,
            done: self.done,
        };
        view.for_each(from, to, each)
    }
}

/// What a store knows: the memtable is newer than what was taken out, and that than the runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) memtable: &'a BTreeMap<TimerKey, Place>,
    pub(super) taken_out: &'a BTreeSet<TimerKey>,
    pub(super) runs: &'a [Run],
    pub(super) done: Option<TimerKey>,
}

impl View<'_> {
    pub(super) fn for_each(
        &self,
        from: TimerKey,
        to: DueTime,
        each: &mut dyn FnMut(TimerEntry) -> bool,
    ) -> Result<(), StoreError> {
        // Behind the key before `from`.
        let before = TimerKey {
            due: from.due,
            id: ScheduleId(from.id.0.saturating_sub(1)),
        };
        let mut merge = Merge::new(self.runs, self.done.max(Some(before)));
        let mut memory = self
            .memtable
            .range(from..)
            .map(|(key, place)| (*key, *place));
        let mut in_memory = memory.next();
        let mut on_disk = self.next_live(&mut merge)?;
        loop {
            let first = [in_memory, on_disk]
                .into_iter()
                .flatten()
                .min_by_key(|(key, _)| *key);
            let Some((key, place)) = first.filter(|(key, _)| key.due < to) else {
                return Ok(());
            };
            if !each(TimerEntry { key, place }) {
                return Ok(());
            }
            if in_memory.is_some_and(|(at, _)| at == key) {
                in_memory = memory.next();
            } else {
                on_disk = self.next_live(&mut merge)?;
            }
        }
    }

    /// The next that runs have pending, and the memtable does not know.
    fn next_live(&self, merge: &mut Merge) -> Result<Option<(TimerKey, Place)>, StoreError> {
        while let Some((key, known)) = merge.next()? {
            if let Some(place) = known
                && !self.memtable.contains_key(&key)
                && !self.taken_out.contains(&key)
            {
                return Ok(Some((key, place)));
            }
        }
        Ok(None)
    }
}
