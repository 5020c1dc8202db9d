//! Partitions of this node.
//!
//! ```text
//! metadata image ──> registry (opens, closes, removes) ──> Partition ──┬─> Log      append, read, offsets
//!                                                                      └─> Pending  held records not yet fired
//! ```
//! A [`Partition`] is shared by handlers, the fire loop and the registry. Its log has a mutex for its writer and views for
//! its readers; its pending records have a mutex held around an append, or for the
//! read of a few timer blocks. No lock is held across an await.

mod carry;
mod deduplicated;
mod held;
mod made;
#[expect(
    clippy::module_inception,
    reason = "a partition is what this module is about"
)]
mod partition;
mod registry;

pub use deduplicated::{DedupState, NotAppended, Once};
pub use held::Answered;
pub use partition::{AppendedUnit, Derived, Ended, Partition, PartitionKey};
pub use registry::{Offline, Registry, RegistryOptions, Slot};
