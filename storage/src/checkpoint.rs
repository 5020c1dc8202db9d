//! Small files that are replaced whole: written beside, synced, renamed, folder synced. A reader sees the old one or the new.

use std::{
    io::{self, IoSlice},
    path::Path,
};

use crate::disk::{Disk, OpenMode};

/// Replaces `path` with `bytes`; durable when this returns.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let beside = dir.join(format!("{}.new", name.to_string_lossy()));
    let file = disk.open(&beside, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(&mut [IoSlice::new(bytes)], 0)?;
    file.sync_data()?;
    disk.rename(&beside, path)?;
    disk.sync_dir(dir)
}
