//! Consumer groups: who shares a topic's partitions, and how far each group has read.
//!
//! ```text
//! api/join_group.rs … ──> Groups (which shard, `__consumer_offsets` made on first use) ──> coordinator::Coordinator
//!                                                                                            └─> GroupShard
//!                                                                                                 ├─ classic/  members, generations
//!                                                                                                 ├─ consumer/ members, epochs (KIP-848)
//!                                                                                                 └─ offsets   what was committed
//! ```
//! A [`GroupShard`] decides and keeps; nothing in it waits, reads a clock or touches a log. Members that wait for others (a
//! join for the rest to join, a sync for the leader's assignment) are answered through a one-shot channel. Records are
//! Apache Kafka's (`record.rs`). Source: Apache Kafka, `GroupMetadataManager`, `ClassicGroup`, `OffsetMetadataManager`.

mod classic;
mod consumer;
mod metrics;
mod offsets;
mod record;
mod service;
mod shard;
#[cfg(test)]
mod tests;

pub use classic::{Identity, JoinAsked, Leaving, SyncAsked};
pub(crate) use consumer::read_assignment;
pub use consumer::{
    ASSIGNMENT_INTERVAL, Assignor, Assignors, ConsumerConfig, HEARTBEAT_INTERVAL, HeartbeatAnswer,
    HeartbeatAsked, Images, Migration, Refused, SESSION_TIMEOUT, validate,
};
pub use metrics::{Census, Ends};
pub use offsets::{Commit, Committed};
pub use service::{GroupConfig, Groups, TOPIC};
pub use shard::{GroupShard, Listed};
