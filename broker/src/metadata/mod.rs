//! Cluster metadata: what topics, partitions, brokers and configs there are. A Raft state machine.
//!
//! ```text
//! handlers ── propose(Command) ──> handle ──> openraft ──> log_store: entry synced, witness synced ── agreed
//!                                                │
//!                                                └──> state_machine ── Image::apply (pure) ──> Image ── watch ──> all
//! ```
//! One immutable [`Image`] at a time; only [`image::Image::apply`] makes the next one, from the commands of the log, in order.
//! Log and snapshots lie in the key-value store (`kv/`), vote and witness beside it (`raft/`). Nothing outside this folder
//! knows openraft. One voter so far: a command is agreed when it is durable.

mod command;
mod handle;
mod hard_state;
mod image;
mod log_store;
mod network;
mod raft_types;
mod replay_job;
mod state_machine;
#[cfg(test)]
mod tests;

pub use command::{Command, Outcome};
pub(crate) use handle::random_uuid;
pub use handle::{Metadata, MetadataError, MetadataOptions, Quorum};
pub use image::{Broker, Image, PartitionState, Topic};
pub use replay_job::{JobCommand, JobDeliver, JobProgress, JobSpan, JobSpec, JobState, ReplayJob};
