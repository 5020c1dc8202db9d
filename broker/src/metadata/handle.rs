//! The handle: reads the image, proposes changes.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use openraft::{Config, Raft, SnapshotPolicy, async_runtime::watch::WatchReceiver};
use storage::kv::{Kv, KvError};
use thiserror::Error;
use tokio::sync::watch;

use super::{
    command::{Command, Outcome},
    hard_state::HardStateFile,
    image::Image,
    log_store::LogStore,
    network::NoPeers,
    raft_types::{NodeId, Types},
    state_machine::StateMachine,
};

/// Entries applied before a snapshot takes their place: bounds the log and the start.
const SNAPSHOT_EVERY: u64 = 500;
/// Entries kept behind a snapshot, for a voter that lags a little.
const ENTRIES_KEPT: u64 = 100;
/// Between heartbeats of the leader; an election begins after four to eight without one.
const HEARTBEAT_MS: u64 = 250;
/// The start gives up when this node has not become the leader by then: with one voter it needs milliseconds.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Why metadata cannot be read or changed.
#[derive(Debug, Error)]
pub enum MetadataError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] KvError),
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Something is missing, damaged, or of a later release.
    #[error("metadata {what}: {why}; nothing was changed")]
    Unreadable {
        /// Which.
        what: String,
        /// Why.
        why: String,
    },
    /// There are partitions, but no metadata at all: starting anew would disown them.
    #[error(
        "{0} has partitions, but its metadata (kv/ and raft/) is gone; restore it, nothing was changed"
    )]
    Forgotten(PathBuf),
    /// The change was not agreed, or nobody can say whether it was.
    #[error("the metadata change was not agreed: {0}")]
    NotAgreed(String),
    /// The disk has no room for metadata.
    #[error("no space left on the disk for metadata")]
    StorageFull,
    /// A change did something else than it should: a defect of ours.
    #[error("a metadata change ended as {0:?}")]
    Unexpected(Outcome),
}

/// Who decides on the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// The leader; -1 nobody.
    pub leader: i32,
    /// Its term.
    pub term: i32,
    /// One past the last entry.
    pub log_end: i64,
    /// Entries that this node has applied.
    pub applied: i64,
    /// The voters.
    pub voters: Vec<i32>,
}

/// What a node says of itself.
#[derive(Clone, Debug)]
pub struct MetadataOptions {
    /// Its id.
    pub node_id: i32,
    /// Where clients reach it.
    pub host: String,
    /// Where clients reach it.
    pub port: u16,
    /// Its rack.
    pub rack: Option<String>,
}

/// The metadata; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metadata {
    raft: Raft<Types, StateMachine>,
    images: watch::Sender<Arc<Image>>,
    dir: Arc<Path>,
}

impl Metadata {
    /// Opens or makes the metadata in `dir`, agrees on what the log has, and registers this node.
    ///
    /// # Errors
    /// [`MetadataError::Unreadable`], [`MetadataError::Store`] or [`MetadataError::Forgotten`] where something that was acked
    /// is missing or damaged: nothing was changed, and the folder wants a person or a backup.
    pub async fn open(dir: &Path, options: MetadataOptions) -> Result<Self, MetadataError> {
        let kv = Arc::new(Kv::open(&dir.join("kv"))?);
        let witness = HardStateFile::open(&dir.join("raft"))?;
        let (log, is_new) = LogStore::open(Arc::clone(&kv), witness)?;
        if is_new && has_partitions(dir) {
            return Err(MetadataError::Forgotten(dir.to_path_buf()));
        }
        let machine = StateMachine::open(kv)?;
        let images = machine.images();
        let id = NodeId::from(options.node_id.unsigned_abs());
        let raft = Raft::new(id, Arc::new(raft_config()?), NoPeers, log, machine)
            .await
            .map_err(not_agreed)?;
        let metadata = Self {
            raft,
            images,
            dir: dir.into(),
        };
        metadata.lead(id).await?;
        if metadata.image().cluster_id.is_empty() {
            let cluster_id = random_uuid();
            metadata
                .propose(Command::InitCluster { cluster_id })
                .await?;
        }
        let MetadataOptions {
            node_id: id,
            host,
            port,
            rack,
        } = options;
        metadata
            .propose(Command::RegisterBroker {
                id,
                host,
                port,
                rack,
            })
            .await?;
        Ok(metadata)
    }

    /// The metadata now.
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(&self.images.borrow())
    }

    /// Hears each new image.
    pub fn watch(&self) -> watch::Receiver<Arc<Image>> {
        self.images.subscribe()
    }

    /// Changes the metadata. It is agreed, durable and in the image when this returns.
    ///
    /// # Errors
    /// [`MetadataError::StorageFull`]: nothing changed. [`MetadataError::NotAgreed`]: it may or may not take effect.
    pub async fn propose(&self, command: Command) -> Result<Outcome, MetadataError> {
        // Asked before, since a store that met a full disk in the middle of a write has to be opened anew.
        if free_bytes(&self.dir).is_some_and(|free| free < FREE_BYTES_MIN) {
            return Err(MetadataError::StorageFull);
        }
        match self.raft.client_write(command).await {
            Ok(written) => Ok(written.data),
            Err(error) => Err(not_agreed(error)),
        }
    }

    /// The metadata log's voters and end.
    pub fn quorum(&self) -> Quorum {
        let metrics = self.raft.metrics().borrow_watched().clone();
        let id = |id: NodeId| i32::try_from(id).unwrap_or(-1);
        // Who has stopped still names the leader that it knew last.
        let leader = metrics
            .current_leader
            .filter(|_| metrics.running_state.is_ok());
        Quorum {
            leader: leader.map_or(-1, id),
            term: i32::try_from(metrics.current_term).unwrap_or(i32::MAX),
            log_end: metrics
                .last_log_index
                .map_or(0, |index| i64::try_from(index + 1).unwrap_or(i64::MAX)),
            applied: metrics.last_applied.map_or(0, |applied| {
                i64::try_from(applied.index + 1).unwrap_or(i64::MAX)
            }),
            voters: metrics.membership_config.voter_ids().map(id).collect(),
        }
    }

    /// Stops taking part; what was agreed is durable.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "stopping the metadata log failed");
        }
    }

    /// Becomes the leader of the one-voter cluster, and applies all that its log has.
    async fn lead(&self, id: NodeId) -> Result<(), MetadataError> {
        if !self.raft.is_initialized().await.map_err(not_agreed)? {
            let voters = BTreeSet::from([id]);
            self.raft.initialize(voters).await.map_err(not_agreed)?;
        } else if !self.raft.is_leader() {
            // No other voter can be in office: there is no reason to wait for an election timeout.
            self.raft.trigger().elect(false).await.map_err(not_agreed)?;
        }
        self.raft
            .wait_for_recovery(Some(START_PATIENCE))
            .await
            .map_err(not_agreed)?;
        Ok(())
    }
}

impl MetadataError {
    /// An outcome that the proposer cannot use.
    pub fn unexpected(outcome: &Outcome) -> Self {
        Self::Unexpected(outcome.clone())
    }
}

/// A metadata change is not begun with less room than this: a change takes a few kilobytes, a snapshot some more.
const FREE_BYTES_MIN: u64 = 1 << 20;

fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

fn has_partitions(dir: &Path) -> bool {
    std::fs::read_dir(dir.join("partitions"))
        .is_ok_and(|mut entries| entries.any(|e| e.is_ok_and(|e| e.path().is_dir())))
}

fn raft_config() -> Result<Config, MetadataError> {
    let config = Config {
        cluster_name: "chronosdb".into(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: 4 * HEARTBEAT_MS,
        election_timeout_max: 8 * HEARTBEAT_MS,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
        max_in_snapshot_log_to_keep: ENTRIES_KEPT,
        ..Config::default()
    };
    config.validate().map_err(not_agreed)
}

fn not_agreed(error: impl std::fmt::Display) -> MetadataError {
    MetadataError::NotAgreed(error.to_string())
}

/// As Kafka's: a random UUID in url-safe base64 without padding, 22 characters.
pub(crate) fn random_uuid() -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let number = uuid::Uuid::new_v4().as_u128();
    // 128 bits are 21 digits of 6 bits and one of 2, which base64 pads with zeros on the right.
    let digit = |i: u32| {
        let six = if i < 21 {
            (number >> (122 - 6 * i)) & 63
        } else {
            (number << 4) & 63
        };
        usize::try_from(six)
            .ok()
            .and_then(|at| DIGITS.get(at))
            .map_or('A', |d| char::from(*d))
    };
    (0..22).map(digit).collect()
}
