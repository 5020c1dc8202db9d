//! What openraft is told about our metadata log. Nothing outside this folder knows openraft.

use std::io;

use openraft::EmptyNode;

use super::command::{Command, Outcome};

openraft::declare_raft_types!(
    /// The types of the metadata log: commands go in, outcomes come out; a node is its broker id.
    pub(super) Types: D = Command, R = Outcome, Node = EmptyNode,
);

pub(super) type NodeId = u64;
pub(super) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(super) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(super) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(super) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(super) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub(super) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, Vec<u8>>;

/// Runs what blocks on the disk outside the async workers.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
