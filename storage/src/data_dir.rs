//! The data folder: its names, and the lock that keeps a second node out.
//!
//! ```text
//! <data>/<node>/
//!   node.json                      whose folder this is, and its format
//!   lock                           held while a node runs; has its process id
//!   kv/  raft/                     metadata
//!   journal/                       what was acked last and is not synced in the segments yet, once there was much of it
//!   topics/<topic id>              how many of its partitions were made here
//!   partitions/<topic>-<partition>/{segments,index,meta,timers}/
//! ```

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{checkpoint, disk::RealDisk};

/// The layout this release reads and writes.
/// The format of data folders.
pub const FORMAT: u32 = 1;

/// Why a data folder cannot be used.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// Another process has it.
    #[error("data folder {path} is in use by process {pid}")]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who holds the lock.
        pid: String,
    },
    /// Written by a later release, or by another node.
    #[error("{path}: {why}")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct NodeFile {
    format: u32,
    node_id: i32,
}

/// A locked data folder; unlocked when dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Makes the folder if need be, and locks it.
    pub fn open(data: &Path, node_id: i32) -> Result<Self, DataDirError> {
        let path = data.join(node_id.to_string());
        let io = |at: &Path| {
            let path = at.to_path_buf();
            move |source| DataDirError::Io { path, source }
        };
        let partitions = path.join("partitions");
        std::fs::create_dir_all(&partitions).map_err(io(&partitions))?;
        let lock = lock(&path)?;
        let node_file = path.join("node.json");
        if node_file.exists() {
            let bytes = std::fs::read(&node_file).map_err(io(&node_file))?;
            check_node_file(&node_file, &bytes, node_id)?;
        } else {
            let node = NodeFile {
                format: FORMAT,
                node_id,
            };
            let json = serde_json::to_vec_pretty(&node).map_err(|e| DataDirError::Foreign {
                path: node_file.clone(),
                why: e.to_string(),
            })?;
            checkpoint::replace(&RealDisk, &node_file, &json).map_err(io(&node_file))?;
        }
        Ok(Self { path, _lock: lock })
    }

    /// `<data>/<node>`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the partitions' folders are.
    pub fn partitions_dir(&self) -> PathBuf {
        self.path.join("partitions")
    }

    /// A partition's folder.
    pub fn partition_dir(&self, topic: &str, partition: i32) -> PathBuf {
        self.partitions_dir().join(format!("{topic}-{partition}"))
    }
}

fn lock(dir: &Path) -> Result<File, DataDirError> {
    let path = dir.join("lock");
    let io = |source| DataDirError::Io {
        path: path.clone(),
        source,
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Only to name the holder; an unreadable file still means that it is held.
            let _ = file.read_to_string(&mut pid);
            return Err(DataDirError::InUse {
                path: dir.to_path_buf(),
                pid: pid.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    file.set_len(0).map_err(io)?;
    file.rewind().map_err(io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(file)
}

fn check_node_file(path: &Path, bytes: &[u8], node_id: i32) -> Result<(), DataDirError> {
    let foreign = |why: String| DataDirError::Foreign {
        path: path.to_path_buf(),
        why,
    };
    let node: NodeFile = serde_json::from_slice(bytes).map_err(|e| foreign(e.to_string()))?;
    if node.format != FORMAT {
        return Err(foreign(format!(
            "format {} is not {FORMAT}, the one this release reads",
            node.format
        )));
    }
    if node.node_id != node_id {
        return Err(foreign(format!(
            "it belongs to node {}, not {node_id}",
            node.node_id
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_in_use_is_refused_and_free_again_after() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::open(dir.path(), 1).unwrap();
        let refused = DataDir::open(dir.path(), 1).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains(&format!("process {}", std::process::id()))
        );
        drop(held);
        DataDir::open(dir.path(), 1).unwrap();
    }

    #[test]
    fn a_later_format_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        drop(DataDir::open(dir.path(), 1).unwrap());
        let file = dir.path().join("1/node.json");
        std::fs::write(&file, r#"{"format":2,"node_id":1}"#).unwrap();
        assert!(
            DataDir::open(dir.path(), 1)
                .unwrap_err()
                .to_string()
                .contains("format 2")
        );
        assert_eq!(
            std::fs::read_to_string(&file).unwrap(),
            r#"{"format":2,"node_id":1}"#
        );
    }
}
