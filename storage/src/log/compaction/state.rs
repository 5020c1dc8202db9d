//! `meta/compaction.json`: how far the log is clean, and a swap that is under way. Replaced whole.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    checkpoint,
    disk::{Disk, read_all},
    sealed,
    units::Offset,
};

const FILE: &str = "meta/compaction.json";
const VERSION: u32 = 1;

/// What is known of a log's compaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CleanState {
    /// All below was looked at by a pass.
    pub(super) clean_to: Offset,
    /// Segments that change places.
    pub(super) swap: Option<Swap>,
}

/// Several segments become one, which has the name of the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Swap {
    /// The first offset of the first.
    pub(super) first: i64,
    /// The first offsets of the others: they go.
    pub(super) others: Vec<i64>,
    /// What the header of the new one says: by that it is told from the old one.
    pub(super) rewritten: u32,
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    clean_to: i64,
    swap: Option<Swap>,
}

impl CleanState {
    /// What was written last; where it is missing or damaged, nothing is clean.
    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Self {
        let path = dir.join(FILE);
        if !disk.exists(&path) {
            return Self::default();
        }
        let file: Option<File> = read_all(disk, &path).ok().and_then(|b| sealed::unseal(&b));
        let Some(file) = file.filter(|file| file.version == VERSION) else {
            tracing::warn!(file = %path.display(), "it cannot be read; the log is taken for dirty");
            return Self::default();
        };
        Self {
            clean_to: Offset(file.clean_to),
            swap: file.swap,
        }
    }

    /// Durable when this returns.
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let file = File {
            version: VERSION,
            clean_to: self.clean_to.0,
            swap: self.swap.clone(),
        };
        checkpoint::replace(disk, &dir.join(FILE), &sealed::seal(&file)?)
    }
}
