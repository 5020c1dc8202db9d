//! The image that follows the log: applied in memory, kept by snapshots.
//!
//! ```text
//! kv: "s"    a snapshot: how far it reaches, who votes, and the image, JSON
//! ```
//! Between snapshots the image is not stored: the log's entries behind the snapshot make it again.

use std::{io, sync::Arc};

use futures::{Stream, TryStreamExt};
use openraft::{
    EntryPayload, OptionalSend,
    storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine},
};
use serde::{Deserialize, Serialize};
use storage::kv::{Kv, Writes};
use tokio::sync::watch;

use super::{
    command::Outcome,
    handle::MetadataError,
    image::Image,
    log_store::parse,
    raft_types::{LogId, Snapshot, SnapshotMeta, StoredMembership, Types, blocking},
};

const SNAPSHOT: &[u8] = b"s";
const VERSION: u32 = 1;

/// A snapshot as it is stored.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredSnapshot {
    version: u32,
    pub(super) meta: SnapshotMeta,
    image: Image,
}

impl StoredSnapshot {
    pub(super) fn read(kv: &Kv) -> Result<Option<Self>, MetadataError> {
        let Some(json) = kv.get(SNAPSHOT)? else {
            return Ok(None);
        };
        let stored: Self = parse("snapshot", &json)?;
        if stored.version != VERSION {
            return Err(MetadataError::Unreadable {
                what: "snapshot".into(),
                why: format!("version {} is not {VERSION}", stored.version),
            });
        }
        Ok(Some(stored))
    }

    async fn write(kv: Arc<Kv>, meta: SnapshotMeta, image: Image) -> io::Result<()> {
        let stored = Self {
            version: VERSION,
            meta,
            image,
        };
        blocking(move || {
            let mut writes = Writes::default();
            let json = serde_json::to_vec(&stored).map_err(io::Error::other)?;
            writes.put(SNAPSHOT, &json);
            kv.write(writes).map_err(io::Error::other)
        })
        .await
    }
}

/// The only one that makes images.
#[derive(Debug)]
pub(super) struct StateMachine {
    kv: Arc<Kv>,
    image: watch::Sender<Arc<Image>>,
    last_applied: Option<LogId>,
    membership: StoredMembership,
}

impl StateMachine {
    /// Starts from the snapshot, if there is one.
    pub(super) fn open(kv: Arc<Kv>) -> Result<Self, MetadataError> {
        let (image, meta) = match StoredSnapshot::read(&kv)? {
            Some(stored) => (stored.image.restored(), stored.meta),
            None => (Image::default(), SnapshotMeta::default()),
        };
        Ok(Self {
            kv,
            image: watch::Sender::new(Arc::new(image)),
            last_applied: meta.last_log_id,
            membership: meta.last_membership,
        })
    }

    /// Where each new image is published.
    pub(super) fn images(&self) -> watch::Sender<Arc<Image>> {
        self.image.clone()
    }
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.last_applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut image = Image::clone(&self.image.borrow());
        let mut answers = Vec::new();
        while let Some((entry, responder)) = entries.try_next().await? {
            let outcome = match entry.payload {
                EntryPayload::Blank => Outcome::Done,
                EntryPayload::Normal(command) => image.apply(command),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Outcome::Done
                }
            };
            self.last_applied = Some(entry.log_id);
            answers.extend(responder.map(|responder| (responder, outcome)));
        }
        // Published before anybody is answered: who hears of a change finds it in the image.
        self.image.send_replace(Arc::new(image));
        for (responder, outcome) in answers {
            responder.send(outcome);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            kv: Arc::clone(&self.kv),
            image: Arc::clone(&self.image.borrow()),
            meta: SnapshotMeta {
                last_log_id: self.last_applied,
                last_membership: self.membership.clone(),
            },
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Vec<u8>,
    ) -> Result<(), io::Error> {
        let image: Image = serde_json::from_slice(&snapshot).map_err(io::Error::other)?;
        StoredSnapshot::write(Arc::clone(&self.kv), meta.clone(), image.clone()).await?;
        self.last_applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.image.send_replace(Arc::new(image.restored()));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let Some(stored) = StoredSnapshot::read(&self.kv).map_err(io::Error::other)? else {
            return Ok(None);
        };
        Ok(Some(Snapshot {
            meta: stored.meta,
            snapshot: serde_json::to_vec(&stored.image).map_err(io::Error::other)?,
        }))
    }
}

/// The image at one moment, on its way into a snapshot.
#[derive(Debug)]
pub(super) struct SnapshotBuilder {
    kv: Arc<Kv>,
    image: Arc<Image>,
    meta: SnapshotMeta,
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let snapshot = serde_json::to_vec(&*self.image).map_err(io::Error::other)?;
        let (kv, image) = (Arc::clone(&self.kv), Image::clone(&self.image));
        StoredSnapshot::write(kv, self.meta.clone(), image).await?;
        Ok(Snapshot {
            meta: self.meta.clone(),
            snapshot,
        })
    }
}
