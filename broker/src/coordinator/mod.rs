//! State that lives in the partitions of an internal topic: one shard of it for each.
//!
//! A handler decides under the shard's lock: it returns records, and an answer that is told when the records are committed
//! ([`Coordinator::write`]). What was appended is replayed into the state at once; a start reads the partition and replays it
//! whole. Deadlines are the shard's own; one task wakes it when the first is over. Source: Apache Kafka,
//! `CoordinatorRuntime`, whose records these are, byte for byte, so that Kafka's tools read them.

mod batch;
mod deadlines;
mod flexible;
mod follow;
mod runtime;
mod shard;
mod wire;

pub use deadlines::Deadlines;
pub use flexible::{FlexReader, FlexWriter};
pub use runtime::{Coordinator, CoordinatorError, CoordinatorOptions};
pub use shard::{Decided, Now, Shard};
pub use wire::{Reader, Writer};

use bytes::Bytes;

/// A record of the internal topic; without a value it removes what was said under its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// What it speaks of.
    pub key: Bytes,
    /// What it says.
    pub value: Option<Bytes>,
}

/// Who writes in a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Producer {
    /// Its id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

/// The partition of an internal topic that a key is in: Java's hash of the name, as Kafka takes it.
pub fn partition_of(key: &str, partitions: i32) -> i32 {
    let units = key.encode_utf16();
    let hash = units.fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    // Kafka's `Utils.abs`: the smallest number becomes 0.
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"…".hashCode()` of Java.
    #[test]
    fn a_key_is_where_kafka_puts_it() {
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("a", 50), 97 % 50);
        let many = i32::MAX;
        assert_eq!(partition_of("test-group", many), 627_841_412);
        assert_eq!(partition_of("größe", many), 98_762_257);
        // Its hash is the smallest 32-bit number.
        assert_eq!(partition_of("polygenelubricants", 50), 0);
    }
}
