//! Page tokens: where the next page starts, and for which request. They hold no state of the node, so they outlive it.

use storage::units::{DueTime, ScheduleId};
use tonic::Status;

use super::errors::invalid;
use crate::schedule::firing_order::Position;

/// As text; `request` tells requests apart that a token must not cross.
pub(super) fn of(at: Position, request: &[u8]) -> String {
    let (due, partition, id) = (at.due.0, at.partition, at.id.0);
    let place = format!("{due:x}.{partition:x}.{id:x}");
    let sum = checksum(&place, request);
    format!("{place}.{sum:08x}")
}

/// Reads a token of the same request.
pub(super) fn parse(token: &str, request: &[u8]) -> Result<Position, Status> {
    let parse = || {
        let (place, sum) = token.rsplit_once('.')?;
        let sum = u32::from_str_radix(sum, 16).ok()?;
        let mut parts = place.split('.');
        let due = i64::from_str_radix(parts.next()?, 16).ok()?;
        let partition = i32::from_str_radix(parts.next()?, 16).ok()?;
        let id = i64::from_str_radix(parts.next()?, 16).ok()?;
        let is_whole = parts.next().is_none() && sum == checksum(place, request);
        is_whole.then_some(Position {
            due: DueTime(due),
            partition,
            id: ScheduleId(id),
        })
    };
    parse().ok_or_else(|| invalid("page_token", "it belongs to another request, or is damaged"))
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
        let token = of(at, b"filter");
        assert_eq!(parse(&token, b"filter").unwrap(), at);
        assert!(parse(&token, b"another").is_err());
        for wrong in ["", "1.2.3", "x", &token[1..], &format!("{token}.0")] {
            assert!(parse(wrong, b"filter").is_err(), "{wrong}");
        }
    }
}
