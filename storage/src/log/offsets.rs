//! The offsets that a log tells.

use super::{log::Committed, transactions::Began};
use crate::units::Offset;

/// *Invariant*: `log_start <= visible_stable <= visible_end <= high_watermark <= log_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// The first offset.
    pub log_start: Offset,
    /// One past the last visible batch below the high watermark: the end that consumers are told.
    pub visible_end: Offset,
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// Everything below is committed, and of no transaction that is open.
    pub last_stable: Offset,
    /// One past the last visible batch below that: the end for those who read what is committed.
    pub visible_stable: Offset,
    /// One past the last offset appended.
    pub log_end: Offset,
    /// A sync failed: the high watermark moves no more.
    pub poisoned: bool,
}

impl Offsets {
    pub(super) fn told(
        committed: &Committed,
        unstable: Option<Began>,
        log_start: Offset,
        log_end: Offset,
        poisoned: bool,
    ) -> Self {
        let high_watermark = committed.high_watermark;
        // DeleteRecords may move the start past the last visible record, and into an open transaction.
        let visible_end = committed.visible_end.max(log_start);
        let last_stable = unstable.map_or(high_watermark, |began| {
            began.offset.max(log_start).min(high_watermark)
        });
        let visible_stable = unstable.map_or(visible_end, |began| {
            began.visible_before.max(log_start).min(visible_end)
        });
        let offsets = Self {
            log_start,
            visible_end,
            high_watermark,
            last_stable,
            visible_stable,
            log_end,
            poisoned,
        };
        offsets.check();
        offsets
    }

    fn check(&self) {
        assert!(
            self.log_start <= self.visible_stable
                && self.visible_stable <= self.visible_end
                && self.last_stable <= self.high_watermark
                && self.visible_end <= self.high_watermark
                && self.high_watermark <= self.log_end,
            "offsets are out of order: {self:?}"
        );
    }
}
