//! The ids of a log that the index does not have: read again when the log is opened.

use std::{ops::ControlFlow, sync::Arc};

use kafka_compat::{message_ids::MessageId, record_headers::MESSAGE_ID};
use storage::{
    batch::BatchView,
    control::Marker,
    frame::{ForgetFrame, FrameError, HoldFrame},
    kv::KvError,
    log::{AppendTime, Log, ReadError, ScanItem},
    units::{Offset, TimestampMs},
};
use thiserror::Error;

use super::{
    index::{DedupIndex, IDS_IN_MEMORY, Mark},
    taken::{Seen, Taken},
    window::{Stored, Window},
};
use crate::partition::PartitionKey;

/// Why it cannot be told which ids are taken. The partition stays offline: guessing would let copies in.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The log could not be read.
    #[error("reading message ids: {0}")]
    Read(#[from] ReadError),
    /// A frame could not be understood.
    #[error("frame at offset {0}: {1}")]
    Frame(Offset, FrameError),
    /// A batch whose records cannot be read.
    #[error("the batch at offset {0} cannot be read")]
    Batch(Offset),
    /// The index could not be read or written.
    #[error("the index of message ids: {0}")]
    Index(#[from] KvError),
    /// The log could not be made durable.
    #[error("the log at its opening could not be synced")]
    Unsynced,
}

impl ReplayError {
    /// The disk refused just now.
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Read(ReadError::Io(_)) | Self::Index(_) | Self::Unsynced
        )
    }
}

/// Whose ids are kept, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Which partition.
    pub partition: PartitionKey,
    /// `chronos.dedup.window.ms`; 0 where none are.
    pub window_ms: i64,
    /// Wall time.
    pub now: TimestampMs,
}

/// The window of an open log, brought up to its end.
pub fn open(log: &Log, index: &Arc<DedupIndex>, rules: Rules) -> Result<Window, ReplayError> {
    let end = log.offsets().log_end;
    let mut mark = index.mark(rules.partition);
    if mark.is_some_and(|mark| mark.covered_to > end) {
        tracing::warn!(topic_id = %rules.partition.topic, partition = rules.partition.index, log_end = end.0,
            "the index of message ids goes beyond the log's end: it is made anew");
        index.disown(rules.partition)?;
        mark = None;
    }
    let mut window = Window::after(mark.as_ref());
    index.keep_for(window.owner, rules.window_ms);
    if rules.window_ms == 0 {
        // Nobody looks whether there are any.
        log.has_message_ids();
        window.has_gap = true;
        return Ok(window);
    }
    let looked_to = log.no_ids_below().unwrap_or(Offset(0));
    let from = window.covered_to.max(looked_to).max(log.first_kept());
    let mut replay = Replay {
        log,
        index,
        rules,
        mark,
        window,
        // What lies below the mark is not looked at, and the mark is there because it has some: without the index, all of it counts.
        found_any: mark.is_some(),
        failed: None,
    };
    let since_ms = rules.now.0.saturating_sub(rules.window_ms);
    log.walk(
        from,
        since_ms,
        &mut |unit, appended| match replay.unit(unit, appended) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                replay.failed = Some(error);
                ControlFlow::Break(())
            }
        },
    )?;
    if let Some(error) = replay.failed {
        return Err(error);
    }
    if replay.found_any {
        log.has_message_ids();
    }
    let window = replay.window;
    index.count((0, 0), (window.size(), window.open_len()));
    Ok(window)
}

struct Replay<'a> {
    log: &'a Log,
    index: &'a Arc<DedupIndex>,
    rules: Rules,
    mark: Option<Mark>,
    window: Window,
    found_any: bool,
    failed: Option<ReplayError>,
}

impl Replay<'_> {
    fn unit(&mut self, unit: &ScanItem, appended: AppendTime) -> Result<(), ReplayError> {
        let next = unit
            .frames
            .first()
            .map_or(0, |first| first.header.last_offset() + 1);
        for frame in &unit.frames {
            let header = &frame.header;
            let at = Offset(header.base_offset);
            let damaged = |error| ReplayError::Frame(at, error);
            if let Some(marker) = Marker::read(frame) {
                self.window.end_transaction(header.producer_id, marker.kind);
            } else if header.is_fire() || header.is_control() {
                // What fired was taken when it was held.
            } else if !header.is_hidden() {
                self.batch(frame, appended)?;
            } else if let Some(hold) = HoldFrame::parse(frame).map_err(damaged)? {
                self.hold(frame, &hold, appended)?;
            } else if let Some(forget) = ForgetFrame::parse(frame).map_err(damaged)? {
                self.found_any = true;
                for id in &forget.message_ids {
                    let id = self.index.hash().of(id);
                    self.window.forget(id, TimestampMs(header.max_timestamp));
                }
            }
        }
        if self.window.size() as u64 >= IDS_IN_MEMORY && self.window.has_recent() {
            self.flush(Offset(next))?;
        }
        Ok(())
    }

    fn batch(&mut self, batch: &BatchView, appended: AppendTime) -> Result<(), ReplayError> {
        let header = &batch.header;
        let found = self.index.hash().of_batch(batch);
        let found = found.map_err(|_| ReplayError::Batch(Offset(header.base_offset)))?;
        let at = |(delta, id)| (id, Offset(header.base_offset + i64::from(delta)));
        let found: Vec<_> = found.into_iter().map(at).collect();
        self.take(batch, &found, appended)
    }

    fn hold(
        &mut self,
        frame: &BatchView,
        hold: &HoldFrame,
        appended: AppendTime,
    ) -> Result<(), ReplayError> {
        let mut found = Vec::new();
        for (i, entry) in hold.entries.iter().enumerate() {
            let record = hold.record(i);
            let record = record.map_err(|e| ReplayError::Frame(hold.base_offset, e))?;
            if let Some(Some(id)) = record.last_header(MESSAGE_ID) {
                found.push((self.index.hash().of(id), Offset(entry.id.0)));
            }
        }
        self.take(frame, &found, appended)
    }

    /// Those that nobody has yet are taken, at the latest that the log can tell.
    fn take(
        &mut self,
        frame: &BatchView,
        found: &[(MessageId, Offset)],
        appended: AppendTime,
    ) -> Result<(), ReplayError> {
        if found.is_empty() {
            return Ok(());
        }
        self.found_any = true;
        let header = &frame.header;
        let now_ms = self.rules.now.0;
        let from_ms = self
            .mark
            .map_or(appended.from_ms, |mark| mark.at_ms.max(appended.from_ms));
        let to_ms = appended.to_ms.min(now_ms).max(from_ms.min(now_ms));
        let at_ms = header.max_timestamp.clamp(from_ms.min(to_ms), to_ms);
        let producer_id = header.is_transactional().then_some(header.producer_id);
        let asked: Vec<(i32, MessageId)> = found.iter().map(|(id, _)| (0, *id)).collect();
        let stored: Stored = self.index.stored(self.window.owner, &asked, 0)?;
        for (i, (id, offset)) in found.iter().enumerate() {
            let stored = stored.taken.get(i).copied().flatten();
            let (seen, _) = self.window.seen(*id, stored, at_ms, self.rules.window_ms);
            let taken = Taken {
                offset: *offset,
                at_ms,
            };
            // Where nobody had looked, a later one may be in the index: the first in the log counts, as in an index made anew.
            let is_first = match seen {
                Seen::Never => true,
                Seen::Taken(known) => known.offset > *offset,
                Seen::Open { .. } => false,
            };
            if is_first && !taken.is_past(now_ms, self.rules.window_ms) {
                self.window.take(*id, taken, producer_id);
            }
        }
        Ok(())
    }

    /// Memory is bounded, also here.
    fn flush(&mut self, next: Offset) -> Result<(), ReplayError> {
        if !self.log.sync() {
            return Err(ReplayError::Unsynced);
        }
        let leaving = self.window.leave(next);
        let covers_to = leaving.covers_to;
        let since_ms = self.window.since_ms.unwrap_or(self.rules.now.0);
        let owner = {
            let _one = self.index.running.lock();
            self.index
                .take_in(&[(self.rules.partition, leaving, since_ms)])?
        };
        if let Some(owner) = owner.first() {
            self.window.left(*owner, covers_to);
            self.index.keep_for(Some(*owner), self.rules.window_ms);
        }
        Ok(())
    }
}
