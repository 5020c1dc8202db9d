//! The numbers of a log, each with its own type, so that an offset is never taken for a time.
//!
//! A raw `i64` exists only at the wire and on the disk; `.0` is the crossing.

use serde::{Deserialize, Serialize};

/// A topic's identity (KIP-516): stable over its life, new when a topic of the same name is created again.
pub type TopicId = uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($raw:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $raw);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A record's place in its partition.
    Offset(i64)
}
number! {
    /// The term of a partition's leader, stamped into every batch it appends (KIP-101).
    LeaderEpoch(i32)
}
number! {
    /// Milliseconds since the Unix epoch, UTC.
    TimestampMs(i64)
}
number! {
    /// What names a held record for its life: the offset that was reserved for it.
    ScheduleId(i64)
}
number! {
    /// When a held record is due: milliseconds since the Unix epoch, UTC.
    DueTime(i64)
}

impl Offset {
    /// The offset `count` places further on.
    #[must_use]
    pub fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }
}
