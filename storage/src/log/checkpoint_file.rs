//! `meta/checkpoint.json` and `meta/producers.snapshot`: where recovery may start, and what it then knows.
//!
//! Both speak of one log end, and are believed only together and only if the log still has everything below it. The
//! checkpoint is written after the log was synced up to it.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use super::{leader_epochs::LeaderEpochs, producer_state::Producers};
use crate::{
    checkpoint,
    disk::{Disk, read_all},
    sealed,
};

/// The recovery point.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    pub(super) version: u32,
    /// First offset of the segment that was active.
    pub(super) segment: i64,
    /// Its size then.
    pub(super) position: u64,
    /// The log end then.
    pub(super) log_end: i64,
    /// One past the last visible batch then.
    pub(super) visible_end: i64,
    pub(super) leader_epochs: LeaderEpochs,
    pub(super) written_ms: i64,
    /// Whether records below may have a message id; nobody looked in files from before there were any.
    #[serde(default = "may_have")]
    pub(super) message_ids: bool,
}

fn may_have() -> bool {
    true
}

/// What the producers' snapshot holds.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    version: u32,
    log_end: i64,
    producers: Producers,
}

const VERSION: u32 = 1;

impl Checkpoint {
    pub(super) const VERSION: u32 = VERSION;
}

/// Writes both; durable when this returns.
pub(super) fn write(
    disk: &dyn Disk,
    meta: &Path,
    at: &Checkpoint,
    producers: &Producers,
) -> io::Result<()> {
    let snapshot = Snapshot {
        version: VERSION,
        log_end: at.log_end,
        producers: producers.clone(),
    };
    checkpoint::replace(
        disk,
        &meta.join("producers.snapshot"),
        &sealed::seal(&snapshot)?,
    )?;
    checkpoint::replace(disk, &meta.join("checkpoint.json"), &sealed::seal(at)?)
}

/// Removes the checkpoint, if there is one; durable when this returns.
pub(super) fn remove(disk: &dyn Disk, meta: &Path) -> io::Result<()> {
    let path = meta.join("checkpoint.json");
    if disk.exists(&path) {
        disk.remove_file(&path)?;
        disk.sync_dir(meta)?;
    }
    Ok(())
}

/// Reads both; `None` where they are missing, damaged or do not belong together.
pub(super) fn read(disk: &dyn Disk, meta: &Path) -> Option<(Checkpoint, Producers)> {
    let at: Checkpoint = sealed::unseal(&read_all(disk, &meta.join("checkpoint.json")).ok()?)?;
    let snapshot: Snapshot =
        sealed::unseal(&read_all(disk, &meta.join("producers.snapshot")).ok()?)?;
    let fits =
        at.version == VERSION && snapshot.version == VERSION && at.log_end == snapshot.log_end;
    fits.then_some((at, snapshot.producers))
}
