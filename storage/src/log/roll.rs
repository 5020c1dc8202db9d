//! Closing the active segment and making the next one.

use std::{
    io::{self, IoSlice},
    sync::Arc,
};

use parking_lot::RwLock;

use super::{
    commit::sync_failed,
    config::LogConfig,
    error::AppendError,
    log::{Log, Writer, full_or_io},
    room,
    segment::{SEGMENT_HEADER_LEN, Segment, SegmentHeader, file_name},
    segment_index::SegmentIndex,
    unit::Unit,
};
use crate::disk::{Disk, OpenMode};

impl Log {
    pub(super) fn roll_if_due(
        &self,
        writer: &mut Writer,
        unit: &Unit,
        config: &LogConfig,
        now_ms: i64,
    ) -> Result<(), AppendError> {
        let size = writer.active.index.read().size;
        let len = unit.len_bytes() as u64;
        if SEGMENT_HEADER_LEN as u64 + len > u64::from(u32::MAX) {
            return Err(AppendError::TooLarge);
        }
        let empty = size <= SEGMENT_HEADER_LEN as u64;
        let full = size + len > u64::from(config.segment_bytes);
        let old = writer
            .active_since_ms
            .is_some_and(|since| now_ms - since >= config.segment_ms);
        if empty || !(full || old) {
            return Ok(());
        }
        self.roll(writer, now_ms)
    }

    /// Closes the active segment.
    pub(super) fn roll(&self, writer: &mut Writer, now_ms: i64) -> Result<(), AppendError> {
        if let Err(cause) = room::give_back(writer) {
            return Err(full_or_io(cause));
        }
        // Recovery takes a bad place before the last segment for damage: no segment may be there behind a torn one.
        if let Err(cause) = self.sync_segment(&writer.active) {
            let why = sync_failed(&writer.active, &cause);
            self.poison(writer, why);
            return Err(AppendError::Poisoned);
        }
        let header = SegmentHeader {
            rewritten: 0,
            first_offset: writer.next_offset,
            created_ms: now_ms,
            topic_id: self.topic_id,
            partition: self.partition,
        };
        let next = match create_segment(&*self.disk, &self.dir, header) {
            Ok(next) => next,
            Err(cause) => return Err(self.undo_roll(writer, cause)),
        };
        let closed = std::mem::replace(&mut writer.active, Arc::clone(&next));
        writer.unindexed.push(closed);
        writer.allocated = 0;
        writer.active_since_ms = None;
        let mut segments = self.segments.write();
        let mut list = Vec::clone(&segments);
        list.push(next);
        *segments = Arc::new(list);
        Ok(())
    }

    /// Removes what is there of a segment that could not be made: the open one may take a smaller unit instead, and an empty
    /// segment that starts below its end would be damage.
    pub(super) fn undo_roll(&self, writer: &mut Writer, cause: io::Error) -> AppendError {
        let folder = self.dir.join("segments");
        let path = folder.join(file_name(writer.next_offset));
        if self.disk.exists(&path) && self.disk.remove_file(&path).is_err() {
            self.poison(writer, format!("removing {}: {cause}", path.display()));
            return AppendError::Poisoned;
        }
        if let Err(cause) = self.disk.sync_dir(&folder) {
            tracing::warn!(folder = %folder.display(), %cause, "a removed segment may come back");
        }
        full_or_io(cause)
    }
}

/// Makes an empty segment, durable by name.
pub(super) fn create_segment(
    disk: &dyn Disk,
    dir: &std::path::Path,
    header: SegmentHeader,
) -> io::Result<Arc<Segment>> {
    let folder = dir.join("segments");
    let path = folder.join(file_name(header.first_offset));
    let file = disk.open(&path, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(&mut [IoSlice::new(&header.encode())], 0)?;
    file.sync_data()?;
    disk.sync_dir(&folder)?;
    Ok(Arc::new(Segment {
        first_offset: header.first_offset,
        created_ms: header.created_ms,
        path,
        file,
        index: RwLock::new(SegmentIndex::empty(header.first_offset)),
        damages: RwLock::default(),
    }))
}
