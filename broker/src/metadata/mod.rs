//! Cluster metadata: what topics, partitions, brokers and configs there are.
//!
//! ```text
//! handlers ── propose(Command) ──> Metadata ── log entry, synced ──> apply (pure) ──> Image ── watch ──> handlers, registry
//! ```
//! One immutable [`Image`] at a time; only [`image::Image::apply`] makes the next one, from the commands of a log, in order.
//! The log and its snapshots lie in the key-value store. One voter: a command is agreed when it is durable.

mod command;
mod handle;
mod image;

pub use command::{Command, Outcome};
pub use handle::{Metadata, MetadataError, MetadataOptions};
pub use image::{Broker, Image, PartitionState, Topic};
