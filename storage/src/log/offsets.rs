//! The offsets that a log tells.

use crate::units::Offset;

/// *Invariant*: `log_start <= visible_end <= high_watermark <= log_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// The first offset.
    pub log_start: Offset,
    /// One past the last visible batch below the high watermark: the end that consumers are told.
    pub visible_end: Offset,
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// One past the last offset appended.
    pub log_end: Offset,
    /// A sync failed: the high watermark moves no more.
    pub poisoned: bool,
}

impl Offsets {
    pub(super) fn check(&self) {
        assert!(
            self.log_start <= self.visible_end
                && self.visible_end <= self.high_watermark
                && self.high_watermark <= self.log_end,
            "offsets are out of order: {self:?}"
        );
    }
}
