//! Which partitions were made on this node: so that a folder that is gone is told from one that was never made.
//!
//! ```text
//! <data>/<node>/topics/<topic id>    how many of the topic's partitions have been opened here; sealed JSON, replaced whole
//! ```
//! Written when they are open and before a client hears that they exist; removed with the topic.

use std::{collections::HashMap, io, path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use storage::{
    checkpoint,
    disk::{Disk, read_all},
    sealed,
    units::TopicId,
};

const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct File {
    version: u32,
    partitions: i32,
}

/// The partitions that were made, by topic.
#[derive(Debug)]
pub(super) struct Made {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    counts: Mutex<HashMap<TopicId, i32>>,
}

impl Made {
    /// Of a node's folder.
    pub(super) fn new(dir: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self {
            dir,
            disk,
            counts: Mutex::default(),
        }
    }

    /// How many of a topic's partitions were made.
    pub(super) fn count(&self, topic: TopicId) -> i32 {
        let mut counts = self.counts.lock();
        *counts.entry(topic).or_insert_with(|| {
            let file = read_all(&*self.disk, &self.path(topic)).ok();
            let file: Option<File> = file.and_then(|bytes| sealed::unseal(&bytes));
            file.filter(|f| f.version == VERSION)
                .map_or(0, |f| f.partitions)
        })
    }

    /// Writes down that so many were made; durable when this returns.
    pub(super) fn record(&self, topic: TopicId, partitions: i32) -> io::Result<()> {
        if self.count(topic) >= partitions {
            return Ok(());
        }
        let file = File {
            version: VERSION,
            partitions,
        };
        self.disk.create_dir_all(&self.dir)?;
        checkpoint::replace(&*self.disk, &self.path(topic), &sealed::seal(&file)?)?;
        self.counts.lock().insert(topic, partitions);
        Ok(())
    }

    /// The topic was deleted.
    pub(super) fn forget(&self, topic: TopicId) -> io::Result<()> {
        self.counts.lock().remove(&topic);
        let path = self.path(topic);
        if self.disk.exists(&path) {
            self.disk.remove_file(&path)?;
        }
        Ok(())
    }

    fn path(&self, topic: TopicId) -> PathBuf {
        self.dir.join(topic.to_string())
    }
}
