//! Times and numbers as messages have them.

use prost_types::{Duration, Timestamp};
use tonic::Status;

use super::errors::invalid;

pub(super) fn timestamp(ms: i64) -> Timestamp {
    Timestamp {
        seconds: ms.div_euclid(1_000),
        nanos: i32::try_from(ms.rem_euclid(1_000) * 1_000_000).unwrap_or(0),
    }
}

/// A span of milliseconds.
pub(super) fn duration(ms: i64) -> Duration {
    let Timestamp { seconds, nanos } = timestamp(ms);
    Duration { seconds, nanos }
}

/// Messages have no number that is larger.
pub(super) fn counted(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// In milliseconds, rounded up: never early.
pub(super) fn ms_of(field: &str, at: &Timestamp) -> Result<i64, Status> {
    let nanos = u32::try_from(at.nanos).ok().filter(|n| *n < 1_000_000_000);
    let nanos = nanos.ok_or_else(|| invalid(field, "its nanos are not in 0 to 999,999,999"))?;
    let ms = at
        .seconds
        .checked_mul(1_000)
        .and_then(|ms| ms.checked_add(i64::from(nanos.div_ceil(1_000_000))));
    let ms = ms.filter(|ms| *ms >= 0);
    ms.ok_or_else(|| invalid(field, "it is out of range"))
}

/// The same of a time that may be absent.
pub(super) fn optional_ms(field: &str, at: Option<&Timestamp>) -> Result<Option<i64>, Status> {
    at.map(|at| ms_of(field, at)).transpose()
}
