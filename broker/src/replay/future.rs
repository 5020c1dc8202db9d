//! The future of a replay: what is held, by due time, behind what the log has.

use std::{collections::VecDeque, sync::Arc};

use storage::units::{DueTime, Offset};

use super::{ReplayError, Replayed, Wanted};
use crate::{
    partition::Partition,
    schedule::{
        control::Loader,
        firing_order::{self, Position},
    },
};

/// Timers that are looked up at once.
const PAGE: usize = 256;

/// Reads held records of some partitions on, in firing order over all of them.
#[derive(Debug)]
pub(super) struct Future {
    partitions: Vec<Arc<Partition>>,
    /// What is looked up next; `None` where there is no more.
    next: Option<Position>,
    before: DueTime,
    /// Records that fit and were read, each with its place.
    ready: VecDeque<(Position, Replayed)>,
}

impl Future {
    /// What is due from the range's start on, and before its end.
    pub(super) fn begin(partitions: Vec<Arc<Partition>>, wanted: &Wanted) -> Self {
        let start = Position::at(DueTime(wanted.start_ms.unwrap_or(0)));
        Self::at(partitions, wanted, Some(start))
    }

    /// The same from a place on; `None` is its end.
    pub(super) fn at(
        partitions: Vec<Arc<Partition>>,
        wanted: &Wanted,
        next: Option<Position>,
    ) -> Self {
        Self {
            partitions,
            next,
            before: DueTime(wanted.end_ms.unwrap_or(i64::MAX)),
            ready: VecDeque::new(),
        }
    }

    /// Where to go on behind what was taken; `None` at the end.
    pub(super) fn place(&self) -> Option<Position> {
        self.ready.front().map(|(at, _)| *at).or(self.next)
    }

    pub(super) fn first(&self) -> Option<&Replayed> {
        self.ready.front().map(|(_, record)| record)
    }

    pub(super) fn take(&mut self) -> Option<Replayed> {
        self.ready.pop_front().map(|(_, record)| record)
    }

    /// Reads on; returns how many bytes of records were looked at, `None` where there is no more. Blocks on the disk.
    pub(super) fn read(&mut self, wanted: &Wanted) -> Result<Option<usize>, ReplayError> {
        let Some(from) = self.next else {
            return Ok(None);
        };
        let page = firing_order::page(&self.partitions, from, self.before, PAGE);
        let (entries, next) = page.map_err(ReplayError::Held)?;
        let mut loaders: Vec<_> = self.partitions.iter().map(|p| Loader::new(p)).collect();
        // A look-up costs something, also where nothing fits.
        let mut bytes = 1;
        for (at, which, entry) in entries {
            bytes += entry.place.bytes as usize;
            let Some(loader) = loaders.get_mut(which) else {
                continue;
            };
            // `None`: it was delivered or cancelled since.
            let held = loader.load(&entry).map_err(ReplayError::Held)?;
            if let Some(held) = held.filter(|held| wanted.fits(held.due.0, &held.record)) {
                let record = Replayed {
                    partition: at.partition,
                    offset: Offset(held.id.0),
                    timestamp: held.due.0,
                    record: held.record,
                    is_pending: true,
                };
                self.ready.push_back((at, record));
            }
        }
        self.next = next;
        Ok(Some(bytes))
    }
}
