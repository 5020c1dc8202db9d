//! Runs are kept in one file per span of due times, so that a file goes whole when its time is past.

use std::path::{Path, PathBuf};

use storage::units::{DueTime, TimestampMs};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How far ahead spans are how wide: what is near goes soon and in small files; what is far lies together.
const WIDTHS: [(i64, i64); 3] = [
    (2 * DAY_MS, HOUR_MS),
    (31 * DAY_MS, DAY_MS),
    (i64::MAX, 30 * DAY_MS),
];

/// A span of due times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Bucket {
    /// Its first millisecond.
    pub(super) start: i64,
    /// How long it is.
    pub(super) width: i64,
}

impl Bucket {
    /// Where a record due then is put now. What is overdue shares the current span.
    pub(super) fn of(due: DueTime, now: TimestampMs) -> Self {
        let due = due.0.max(now.0);
        let ahead = due.saturating_sub(now.0);
        let width = WIDTHS
            .iter()
            .find(|(reach, _)| ahead < *reach)
            .map_or(DAY_MS, |(_, width)| *width);
        Self {
            start: due - due.rem_euclid(width),
            width,
        }
    }
}

/// Ends the name of a file of runs.
pub(super) const RUNS_SUFFIX: &str = ".runs";

/// A file of a bucket's runs. Numbers are never used again: a manifest that was not replaced yet may still name one that is past.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct FileName {
    pub(super) bucket: Bucket,
    pub(super) number: u64,
}

impl FileName {
    pub(super) fn path(self, dir: &Path) -> PathBuf {
        dir.join(self.name())
    }

    pub(super) fn name(self) -> String {
        let hours = self.bucket.width / HOUR_MS;
        format!(
            "{:015}-{hours}h-{}{RUNS_SUFFIX}",
            self.bucket.start, self.number
        )
    }

    /// The number in the name of a file of runs.
    pub(super) fn number_in(name: &str) -> Option<u64> {
        name.strip_suffix(RUNS_SUFFIX)?
            .rsplit_once('-')?
            .1
            .parse()
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_aligned_and_hold_their_due_times() {
        let now = TimestampMs(1_800_000_123_456);
        for ahead in [
            -5,
            0,
            1,
            HOUR_MS,
            47 * HOUR_MS,
            3 * DAY_MS,
            40 * DAY_MS,
            3_650 * DAY_MS,
        ] {
            let due = now.0 + ahead;
            let bucket = Bucket::of(DueTime(due), now);
            assert_eq!(bucket.start % bucket.width, 0, "{ahead}");
            let filed = due.max(now.0);
            assert!(
                (bucket.start..bucket.start + bucket.width).contains(&filed),
                "{ahead}"
            );
            let name = FileName { bucket, number: 77 }.name();
            assert_eq!(FileName::number_in(&name), Some(77), "{name}");
        }
    }
}
