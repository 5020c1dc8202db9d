//! Which record has a message id, and how that is stored.

use storage::{kv::runs, units::Offset};

/// A forgotten id stands in the index with this offset, since an older run may still have it.
const FORGOTTEN: i64 = -1;

/// The record that has an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its offset, which is what its producer was answered: of a held record, the one reserved for it.
    pub offset: Offset,
    /// When it was accepted: the window is counted from there.
    pub at_ms: i64,
}

/// What is known of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing, or only what the window has left behind.
    Never,
    /// A record has it.
    Taken(Taken),
    /// A record of a transaction has it that is not decided.
    Open {
        /// Whose transaction it is.
        producer_id: i64,
        /// The record's offset.
        offset: Offset,
    },
}

impl Taken {
    /// An id that was given free.
    pub fn forgotten(at_ms: i64) -> Self {
        let offset = Offset(FORGOTTEN);
        Self { offset, at_ms }
    }

    /// Whether a record still has the id.
    pub fn counts(&self, now_ms: i64, window_ms: i64) -> bool {
        self.offset.0 != FORGOTTEN && !self.is_past(now_ms, window_ms)
    }

    /// Whether the window has left it behind. A clock that was set back makes it younger, never older.
    pub fn is_past(&self, now_ms: i64, window_ms: i64) -> bool {
        now_ms.saturating_sub(self.at_ms) >= window_ms
    }

    pub(super) fn to_value(self) -> runs::Value {
        let both = u128::from(self.offset.0.cast_unsigned()) << 64
            | u128::from(self.at_ms.cast_unsigned());
        both.to_be_bytes()
    }

    pub(super) fn from_value(value: &runs::Value) -> Self {
        let both = u128::from_be_bytes(*value);
        let half = |shift: u32| {
            let bits = (both >> shift) & u128::from(u64::MAX);
            u64::try_from(bits).unwrap_or(0).cast_signed()
        };
        Self {
            offset: Offset(half(64)),
            at_ms: half(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read_again() {
        for (offset, at_ms) in [
            (0, 0),
            (7, -5),
            (i64::MAX, i64::MIN),
            (-1, 1_800_000_000_000),
        ] {
            let offset = Offset(offset);
            let taken = Taken { offset, at_ms };
            assert_eq!(Taken::from_value(&taken.to_value()), taken);
        }
    }

    #[test]
    fn an_id_counts_for_as_long_as_the_window_is() {
        let taken = Taken {
            offset: Offset(3),
            at_ms: 1_000,
        };
        let counts = |now_ms, window_ms| taken.counts(now_ms, window_ms);
        assert!(counts(1_000, 1) && counts(1_009, 10) && !counts(1_010, 10));
        assert!(counts(0, 10), "the clock was set back");
        assert!(!counts(i64::MAX, 10) && !counts(1_000, 0));
        assert!(!Taken::forgotten(1_000).counts(1_000, 10));
    }
}
