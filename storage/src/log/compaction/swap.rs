//! Compacted segments take the place of what they were made of.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Closed,
    clean::{CLEANED, header_of},
    state::{CleanState, Swap},
};
use crate::{
    disk::{Disk, OpenMode},
    log::{
        log::{Log, State},
        segment::{Segment, file_name},
    },
    units::Offset,
};

impl Log {
    /// From here on a start finishes what was begun. False where the log was closed, or lost one of the segments, meanwhile.
    pub(super) fn swap(
        &self,
        group: &[Closed],
        cleaned: &Arc<Segment>,
        delay_ms: i64,
        now_ms: i64,
    ) -> io::Result<bool> {
        // Retention, DeleteRecords and checkpoints wait: they speak of segments that change places.
        let _one = self.checkpointing.lock();
        let is_open = self.writer.lock().state == State::Open;
        let segments = Arc::clone(&self.segments.read());
        let is_there = |(s, _): &Closed| segments.iter().any(|there| Arc::ptr_eq(there, s));
        if !is_open || !group.iter().all(is_there) {
            return Ok(false);
        }
        let others = group.iter().skip(1).map(|(s, _)| s.first_offset.0);
        let mut state = CleanState::read(&*self.disk, &self.dir);
        state.swap = Some(Swap {
            first: cleaned.first_offset.0,
            others: others.collect(),
            rewritten: header_of(&*cleaned.file)?.rewritten,
        });
        state.write(&*self.disk, &self.dir)?;
        let folder = self.dir.join("segments");
        self.disk
            .rename(&cleaned_path(&folder, cleaned.first_offset), &cleaned.path)?;
        self.disk.sync_dir(&folder)?;
        self.write_index(cleaned, &cleaned.index.read().clone())?;
        let gone: Vec<Closed> = group.iter().skip(1).cloned().collect();
        self.replace(group, cleaned);
        self.condemn(&gone, delay_ms, now_ms)?;
        state.swap = None;
        state.write(&*self.disk, &self.dir)?;
        Ok(true)
    }

    /// Readers that have the old ones open keep their bytes.
    fn replace(&self, group: &[Closed], cleaned: &Arc<Segment>) {
        let is_old = |s: &Arc<Segment>| group.iter().any(|(old, _)| Arc::ptr_eq(old, s));
        let mut writer = self.writer.lock();
        writer.unindexed.retain(|s| !is_old(s));
        let mut segments = self.segments.write();
        let mut new = Vec::with_capacity(segments.len());
        for segment in segments.iter() {
            if !is_old(segment) {
                new.push(Arc::clone(segment));
            } else if segment.first_offset == cleaned.first_offset {
                new.push(Arc::clone(cleaned));
            }
        }
        *segments = Arc::new(new);
    }
}

fn cleaned_path(folder: &Path, first: Offset) -> PathBuf {
    folder.join(format!("{}{CLEANED}", file_name(first)))
}

/// Finishes a swap that a crash interrupted, and removes what never got so far. Called before the log is opened.
pub(in crate::log) fn finish(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    let folder = dir.join("segments");
    let mut state = CleanState::read(disk, dir);
    if let Some(swap) = state.swap.take() {
        let first = Offset(swap.first);
        let cleaned = cleaned_path(&folder, first);
        let new = folder.join(file_name(first));
        if disk.exists(&cleaned) {
            disk.rename(&cleaned, &new)?;
            disk.sync_dir(&folder)?;
        }
        // Where the old one is still there, the others are needed.
        let is_new = disk.exists(&new) && {
            let file = disk.open(&new, OpenMode::ReadWrite)?;
            header_of(&*file).is_ok_and(|header| header.rewritten == swap.rewritten)
        };
        for other in swap.others.into_iter().filter(|_| is_new) {
            let path = folder.join(file_name(Offset(other)));
            if disk.exists(&path) {
                disk.remove_file(&path)?;
            }
        }
        disk.sync_dir(&folder)?;
        state.write(disk, dir)?;
    }
    for (name, _) in disk.list(&folder)? {
        if name.ends_with(CLEANED) {
            disk.remove_file(&folder.join(name))?;
        }
    }
    Ok(())
}
