//! The order in which held records fire: by due time, then by schedule id, so that records of one partition that are due
//! in the same millisecond keep the order in which they were produced.

use storage::units::{DueTime, ScheduleId};

/// One order in memory and on disk: the derived field order here equals the order of [`TimerKey::to_bytes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerKey {
    /// When it is due.
    pub due: DueTime,
    /// Which record.
    pub id: ScheduleId,
}

impl TimerKey {
    /// Bytes that sort as the keys do; due times and ids are never negative.
    pub fn to_bytes(self) -> [u8; 16] {
        let ordered = |n: i64| u128::from(n.cast_unsigned() ^ (1 << 63));
        ((ordered(self.due.0) << 64) | ordered(self.id.0)).to_be_bytes()
    }

    /// What [`TimerKey::to_bytes`] wrote.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        let both = u128::from_be_bytes(bytes);
        let number = |n: u128| {
            let low = u64::try_from(n & u128::from(u64::MAX)).unwrap_or_default();
            (low ^ (1 << 63)).cast_signed()
        };
        Self {
            due: DueTime(number(both >> 64)),
            id: ScheduleId(number(both)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_sort_alike_in_memory_and_as_bytes(a: (i64, i64), b: (i64, i64)) {
            let key = |(due, id)| TimerKey { due: DueTime(due), id: ScheduleId(id) };
            prop_assert_eq!(key(a).cmp(&key(b)), key(a).to_bytes().cmp(&key(b).to_bytes()));
            prop_assert_eq!(TimerKey::from_bytes(key(a).to_bytes()), key(a));
        }
    }
}
