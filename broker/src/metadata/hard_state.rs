//! `raft/hard_state.json`: the vote, and how far the log was acked. Replaced whole before either is answered for.
//!
//! It stands outside the key-value store as its witness: a store that lost the end of its own log opens without complaint
//! (a torn tail looks the same), but it cannot lose this file in the same way. See [`super::log_store`].

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use storage::{
    checkpoint,
    disk::{Disk, RealDisk, read_all},
    sealed,
};

use super::{
    handle::MetadataError,
    raft_types::{LogId, Vote},
};

const FILE: &str = "hard_state.json";
const VERSION: u32 = 1;

/// What must survive for Raft to be safe, beside the log's entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HardState {
    version: u32,
    /// Whom this node voted for last.
    pub(super) vote: Option<Vote>,
    /// The last entry that was durable when this was written; the log may be longer, never shorter.
    pub(super) last_log: Option<LogId>,
}

/// The file's only writer.
#[derive(Debug)]
pub(super) struct HardStateFile {
    path: PathBuf,
    state: HardState,
}

impl HardStateFile {
    /// Reads the file in `dir`; true where there is none yet.
    pub(super) fn open(dir: &Path) -> Result<(Self, bool), MetadataError> {
        let path = dir.join(FILE);
        let io = |source| MetadataError::Io {
            path: path.clone(),
            source,
        };
        RealDisk.create_dir_all(dir).map_err(io)?;
        if !RealDisk.exists(&path) {
            let state = HardState {
                version: VERSION,
                ..HardState::default()
            };
            return Ok((Self { path, state }, true));
        }
        let bytes = read_all(&RealDisk, &path).map_err(io)?;
        let state: HardState = sealed::unseal(&bytes).ok_or_else(|| MetadataError::Unreadable {
            what: path.display().to_string(),
            why: "it is damaged".into(),
        })?;
        if state.version != VERSION {
            return Err(MetadataError::Unreadable {
                what: path.display().to_string(),
                why: format!("version {} is not {VERSION}", state.version),
            });
        }
        Ok((Self { path, state }, false))
    }

    /// Makes the file, before the first entry is written: from then on a missing one is noticed.
    pub(super) fn create(&mut self) -> Result<(), MetadataError> {
        let path = self.path.clone();
        self.replace(self.state.clone())
            .map_err(|source| MetadataError::Io { path, source })
    }

    pub(super) fn get(&self) -> &HardState {
        &self.state
    }

    /// Durable when this returns.
    pub(super) fn save_vote(&mut self, vote: Vote) -> io::Result<()> {
        self.replace(HardState {
            vote: Some(vote),
            ..self.state.clone()
        })
    }

    /// Durable when this returns.
    pub(super) fn save_last_log(&mut self, last_log: Option<LogId>) -> io::Result<()> {
        self.replace(HardState {
            last_log,
            ..self.state.clone()
        })
    }

    fn replace(&mut self, state: HardState) -> io::Result<()> {
        checkpoint::replace(&RealDisk, &self.path, &sealed::seal(&state)?)?;
        self.state = state;
        Ok(())
    }
}
