//! Held records of several partitions in the order in which they fire, some at a time.

use std::sync::Arc;

use scheduler::{TimerEntry, TimerKey};
use storage::units::{DueTime, ScheduleId};

use super::control::{self, ControlError};
use crate::partition::Partition;

/// A place in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// When it is due.
    pub due: DueTime,
    /// Its partition.
    pub partition: i32,
    /// Its schedule id.
    pub id: ScheduleId,
}

impl Position {
    /// Where what is due then begins.
    pub const fn at(due: DueTime) -> Self {
        Self {
            due,
            partition: 0,
            id: ScheduleId(0),
        }
    }

    /// The least key of a partition that is not before this position.
    pub fn first_of(self, partition: i32) -> TimerKey {
        let (due, id) = match partition.cmp(&self.partition) {
            std::cmp::Ordering::Less => (DueTime(self.due.0.saturating_add(1)), ScheduleId(0)),
            std::cmp::Ordering::Equal => (self.due, self.id),
            std::cmp::Ordering::Greater => (self.due, ScheduleId(0)),
        };
        TimerKey { due, id }
    }
}

/// Some entries, each with the partition's place among those that were asked for; and where to go on, where there is more.
pub type Page = (Vec<(Position, usize, TimerEntry)>, Option<Position>);

/// At most `size` entries at and behind `from` that are due before `before`. Blocks on the disk.
pub fn page(
    partitions: &[Arc<Partition>],
    from: Position,
    before: DueTime,
    size: usize,
) -> Result<Page, ControlError> {
    let mut entries = Vec::new();
    for (which, partition) in partitions.iter().enumerate() {
        let index = partition.key.index;
        for entry in control::list(partition, from.first_of(index), before, size + 1)? {
            let at = Position {
                due: entry.key.due,
                partition: index,
                id: entry.key.id,
            };
            entries.push((at, which, entry));
        }
    }
    entries.sort_unstable_by_key(|(at, ..)| *at);
    let next = entries.get(size).map(|(at, ..)| *at);
    entries.truncate(size);
    Ok((entries, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_starts_behind_in_every_partition() {
        let at = Position {
            due: DueTime(50),
            partition: 1,
            id: ScheduleId(7),
        };
        let keys: Vec<_> = (0..3)
            .map(|p| at.first_of(p))
            .map(|k| (k.due.0, k.id.0))
            .collect();
        assert_eq!(keys, [(51, 0), (50, 7), (50, 0)]);
    }
}
