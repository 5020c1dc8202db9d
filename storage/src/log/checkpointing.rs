//! Writing what lets the next open start where this log is now.

use std::{
    io,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use super::{
    checkpoint_file::{self, Checkpoint},
    log::{Committed, Log, State},
    manifest::{Manifest, SegmentEntry},
    segment::Segment,
    segment_index::SegmentIndex,
};
use crate::{checkpoint, units::Offset};

impl Log {
    /// Syncs, and writes what lets the next open start here.
    pub fn checkpoint(&self, now_ms: i64) -> io::Result<()> {
        let _one = self.checkpointing.lock();
        self.write_checkpoint(now_ms)
    }

    /// As [`Self::checkpoint`], where an open after a crash would scan this many bytes or more.
    pub fn checkpoint_if_long(&self, bytes: u64, now_ms: i64) -> io::Result<()> {
        if self.uncheckpointed.load(Relaxed) < bytes {
            return Ok(());
        }
        self.checkpoint(now_ms)
    }

    /// Called with `checkpointing` held.
    pub(super) fn write_checkpoint(&self, now_ms: i64) -> io::Result<()> {
        // What is appended meanwhile counts for the next one; a failed one is not tried again before there is as much again.
        self.uncheckpointed.store(0, Relaxed);
        let config = *self.config.read();
        let (mark, producers, epochs, closed, active, manifest, message_ids) = {
            let mut writer = self.writer.lock();
            writer
                .producers
                .expire(now_ms, config.producer_id_expiration_ms);
            let is_fresh =
                writer.checkpointed == Some(writer.next_offset) && writer.unindexed.is_empty();
            if writer.state != State::Open || is_fresh {
                return Ok(());
            }
            let active = Arc::clone(&writer.active);
            let index = active.index.read().clone();
            let mark = Committed {
                high_watermark: writer.next_offset,
                visible_end: writer.visible_end,
                segment: active.first_offset,
                position: index.size,
            };
            (
                mark,
                writer.producers.clone(),
                writer.epochs.clone(),
                writer.unindexed.clone(),
                (active, index),
                self.manifest(mark.high_watermark),
                // Told before what has one is appended.
                self.message_ids.load(Relaxed),
            )
        };
        self.sync_round(0);
        if self.is_poisoned().is_some() {
            return Err(io::Error::other("the log is poisoned"));
        }
        for segment in &closed {
            let index = segment.index.read().clone();
            self.write_index(segment, &index)?;
        }
        let (segment, index) = active;
        self.write_index(&segment, &index)?;
        self.writer
            .lock()
            .unindexed
            .retain(|s| !closed.iter().any(|done| Arc::ptr_eq(s, done)));
        self.write_manifest(&manifest)?;
        let at = Checkpoint {
            version: Checkpoint::VERSION,
            segment: mark.segment.0,
            position: mark.position,
            log_end: mark.high_watermark.0,
            visible_end: mark.visible_end.0,
            leader_epochs: epochs,
            written_ms: now_ms,
            message_ids,
        };
        checkpoint_file::write(&*self.disk, &self.dir.join("meta"), &at, &producers)?;
        self.writer.lock().checkpointed = Some(mark.high_watermark);
        Ok(())
    }

    pub(super) fn write_index(&self, segment: &Segment, index: &SegmentIndex) -> io::Result<()> {
        let dir = self.dir.join("index");
        let name = format!("{:020}", segment.first_offset.0);
        if let Some(frames) = index.encode_frames() {
            checkpoint::replace(&*self.disk, &dir.join(format!("{name}.frames")), &frames)?;
        }
        checkpoint::replace(
            &*self.disk,
            &dir.join(format!("{name}.index")),
            &index.encode_index(),
        )
    }

    /// Called with the writer's mutex held, so that it speaks of one moment.
    fn manifest(&self, high_watermark: Offset) -> Manifest {
        let segments = Arc::clone(&self.segments.read());
        Manifest {
            version: 1,
            high_watermark: high_watermark.0,
            segments: segments.iter().map(|s| entry(s)).collect(),
        }
    }

    fn write_manifest(&self, manifest: &Manifest) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(manifest).map_err(io::Error::other)?;
        checkpoint::replace(&*self.disk, &self.dir.join("index/manifest.json"), &json)
    }
}

fn entry(segment: &Segment) -> SegmentEntry {
    let index = segment.index.read();
    SegmentEntry {
        first_offset: segment.first_offset.0,
        next_offset: index.next_offset.0,
        visible_end: index.visible_end.0,
        size_bytes: index.size,
        min_timestamp: index.min_timestamp,
        max_timestamp: index.max_timestamp,
        hidden_and_fire_frames: index.specials().len(),
    }
}
