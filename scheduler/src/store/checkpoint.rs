//! What a store's files and manifest are when a start can go on from them.

use std::{io, path::PathBuf, sync::Arc};

use storage::{
    checkpoint,
    disk::{Disk, DiskFile},
};

use super::{MANIFEST, bucket::FileName, manifest::Marks};

/// A state to be made durable; see [`super::TimerStore::capture`].
#[derive(Debug)]
pub struct Checkpoint {
    /// What it says of the log.
    pub marks: Marks,
    pub(super) dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) files: Vec<Arc<dyn DiskFile>>,
    pub(super) manifest: Vec<u8>,
    pub(super) past: Vec<FileName>,
}

impl Checkpoint {
    /// Writes it; returns how many files were unlinked, for [`super::TimerStore::written`]. The log must be durable up to
    /// `marks.settled_to`. Blocks on the disk.
    pub fn write(self) -> io::Result<usize> {
        self.disk.create_dir_all(&self.dir)?;
        for file in self.files {
            file.sync_data()?;
        }
        checkpoint::replace(&*self.disk, &self.dir.join(MANIFEST), &self.manifest)?;
        let unlinked = self.past.len();
        for name in self.past {
            let path = name.path(&self.dir);
            if self.disk.exists(&path) {
                self.disk.remove_file(&path)?;
            }
        }
        Ok(unlinked)
    }
}
