//! The future of a replay: what is held, by due time, behind what the log has.

use std::{collections::VecDeque, sync::Arc};

use scheduler::TimerEntry;
use storage::units::{DueTime, Offset};

use super::{ReplayError, Replayed, Wanted};
use crate::{
    partition::Partition,
    schedule::{
        control::{ControlError, Loader},
        firing_order::{self, Position},
    },
};

/// Timers that are looked up at once.
const PAGE: usize = 256;
/// Bytes of records that are read at once; one may be larger.
const READ_BYTES: usize = 256 << 10;

/// A timer, where it is, and which of the partitions has it.
type Timer = (Position, usize, TimerEntry);

/// Reads held records of some partitions on, in firing order over all of them.
#[derive(Debug)]
pub(super) struct Future {
    partitions: Vec<Arc<Partition>>,
    /// What is looked up next; `None` where there is no more.
    next: Option<Position>,
    before: DueTime,
    /// Looked up, and not read yet.
    timers: VecDeque<Timer>,
    /// Some of the timers may be settled since they were looked up.
    is_stale: bool,
    /// Records that fit and were read.
    ready: VecDeque<(Timer, Replayed)>,
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
            timers: VecDeque::new(),
            is_stale: false,
            ready: VecDeque::new(),
        }
    }

    /// Where to go on behind what was taken; `None` at the end.
    pub(super) fn place(&self) -> Option<Position> {
        let ready = self.ready.front().map(|(timer, _)| timer);
        let first = ready.or(self.timers.front());
        first.map(|(at, ..)| *at).or(self.next)
    }

    pub(super) fn first(&self) -> Option<&Replayed> {
        self.ready.front().map(|(_, record)| record)
    }

    pub(super) fn take(&mut self) -> Option<Replayed> {
        self.ready.pop_front().map(|(_, record)| record)
    }

    /// Time has passed: what was read may be settled, and is read again.
    pub(super) fn look_again(&mut self) {
        self.is_stale = true;
        while let Some((timer, _)) = self.ready.pop_back() {
            self.timers.push_front(timer);
        }
    }

    /// Reads on; returns how many bytes of records were looked at, `None` where there is no more. Blocks on the disk.
    pub(super) fn read(&mut self, wanted: &Wanted) -> Result<Option<usize>, ReplayError> {
        if self.timers.is_empty() {
            let Some(from) = self.next else {
                return Ok(None);
            };
            let page = firing_order::page(&self.partitions, from, self.before, PAGE);
            let (timers, next) = page.map_err(ReplayError::Held)?;
            self.timers = timers.into();
            self.next = next;
            self.is_stale = false;
        }
        self.read_some(wanted).map(Some).map_err(ReplayError::Held)
    }

    fn read_some(&mut self, wanted: &Wanted) -> Result<usize, ControlError> {
        let mut loaders: Vec<_> = self.partitions.iter().map(|p| Loader::new(p)).collect();
        // A look-up costs something, also where nothing fits.
        let mut bytes = 1;
        while bytes < READ_BYTES
            && let Some(timer) = self.timers.pop_front()
        {
            let (at, which, entry) = timer;
            let (Some(partition), Some(loader)) =
                (self.partitions.get(which), loaders.get_mut(which))
            else {
                continue;
            };
            if self.is_stale && !is_pending(partition, &entry)? {
                continue;
            }
            bytes += entry.place.bytes as usize;
            // `None`: it was settled since, and is gone from the log.
            let Some(held) = loader.load(&entry)? else {
                continue;
            };
            if wanted.fits(held.due.0, &held.record) {
                let record = Replayed {
                    partition: at.partition,
                    offset: Offset(held.id.0),
                    timestamp: held.due.0,
                    record: held.record,
                    is_pending: true,
                };
                self.ready.push_back((timer, record));
            }
        }
        Ok(bytes)
    }
}

/// Whether it waits, and for that time.
fn is_pending(partition: &Partition, entry: &TimerEntry) -> Result<bool, ControlError> {
    let found = partition.find_pending(entry.key.id, entry.key.due)?;
    Ok(found.is_some_and(|found| found.key == entry.key))
}
