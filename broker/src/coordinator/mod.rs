//! State that lives in the partitions of an internal topic: one shard of it for each.
//!
//! A handler decides under the shard's lock: it returns records, and an answer that is told when the records are committed
//! ([`Coordinator::write`]). What was appended is replayed into the state at once; a start reads the partition and replays it
//! whole. Deadlines are the shard's own; one task wakes it when the first is over. Source: Apache Kafka,
//! `CoordinatorRuntime`, whose records these are, byte for byte, so that Kafka's tools read them.

mod batch;
mod deadlines;
mod runtime;
mod wire;

pub use deadlines::Deadlines;
pub use runtime::{Coordinator, CoordinatorError, CoordinatorOptions, Decided, Now, Shard};
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
