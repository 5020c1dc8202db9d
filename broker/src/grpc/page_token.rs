//! Page tokens: where the next page starts, and for which request. They hold no state of the node, so they outlive it.

use scheduler::TimerKey;
use storage::units::{DueTime, ScheduleId};
use tonic::Status;

use super::errors::invalid;

/// The first entry of the next page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) due: DueTime,
    pub(super) partition: i32,
    pub(super) id: ScheduleId,
}

impl Position {
    /// The least key of a partition that is not before this position.
    pub(super) fn first_of(self, partition: i32) -> TimerKey {
        let (due, id) = match partition.cmp(&self.partition) {
            std::cmp::Ordering::Less => (DueTime(self.due.0.saturating_add(1)), ScheduleId(0)),
            std::cmp::Ordering::Equal => (self.due, self.id),
            std::cmp::Ordering::Greater => (self.due, ScheduleId(0)),
        };
        TimerKey { due, id }
    }

    /// As text; `request` tells requests apart that a token must not cross.
    pub(super) fn token(self, request: &[u8]) -> String {
        let (due, partition, id) = (self.due.0, self.partition, self.id.0);
        let place = format!("{due:x}.{partition:x}.{id:x}");
        let sum = checksum(&place, request);
        format!("{place}.{sum:08x}")
    }

    /// Reads a token of the same request.
    pub(super) fn parse(token: &str, request: &[u8]) -> Result<Self, Status> {
        let parse = || {
            let (place, sum) = token.rsplit_once('.')?;
            let sum = u32::from_str_radix(sum, 16).ok()?;
            let mut parts = place.split('.');
            let due = i64::from_str_radix(parts.next()?, 16).ok()?;
            let partition = i32::from_str_radix(parts.next()?, 16).ok()?;
            let id = i64::from_str_radix(parts.next()?, 16).ok()?;
            let is_whole = parts.next().is_none() && sum == checksum(place, request);
            is_whole.then_some(Self {
                due: DueTime(due),
                partition,
                id: ScheduleId(id),
            })
        };
        parse().ok_or_else(|| invalid("page_token", "it belongs to another request, or is damaged"))
    }
}

fn checksum(place: &str, request: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(place.as_bytes()), request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_for_the_same_request_only() {
        let at = Position {
            due: DueTime(1_800_000_000_000),
            partition: 12,
            id: ScheduleId(99),
        };
        let token = at.token(b"filter");
        assert_eq!(Position::parse(&token, b"filter").unwrap(), at);
        assert!(Position::parse(&token, b"another").is_err());
        for wrong in ["", "1.2.3", "x", &token[1..], &format!("{token}.0")] {
            assert!(Position::parse(wrong, b"filter").is_err(), "{wrong}");
        }
    }

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
