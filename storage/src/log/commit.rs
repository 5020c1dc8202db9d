//! What is committed: rounds of the group commit, and the offsets that are told.

use std::{
    io,
    sync::{Arc, Weak},
};

use parking_lot::MutexGuard;
use tracing::error;

use super::{
    config::FlushPolicy,
    log::{Log, State, Writer},
    offsets::Offsets,
    segment::Segment,
};
use crate::units::Offset;

/// A round of the group commit under way: what was appended when it began, and the file to sync.
pub(super) struct Round<'a> {
    log: &'a Log,
    segment: Arc<Segment>,
    upto: Offset,
    _one_at_a_time: MutexGuard<'a, ()>,
}

impl Round<'_> {
    /// Syncs that log's file alone.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.segment.file.sync_data()
    }

    /// Tells what became durable, for the request of that number (0: none); false where the log is poisoned.
    pub(super) fn end(self, synced: io::Result<()>, request: u64) -> bool {
        self.log.end_round(&self, synced, request)
    }
}

impl Log {
    /// One group commit, for the request of that number (0: none); false where the log is poisoned.
    pub(super) fn sync_round(&self, request: u64) -> bool {
        let Some(round) = self.begin_round() else {
            return false;
        };
        let synced = round.sync();
        round.end(synced, request)
    }

    /// Waits for a round under way, then begins one; `None` where the log is poisoned.
    pub(super) fn begin_round(&self) -> Option<Round<'_>> {
        let one_at_a_time = self.round.lock();
        // Those before the active one were synced when they were closed.
        let writer = self.writer.lock();
        if matches!(writer.state, State::Poisoned(_)) {
            return None;
        }
        Some(Round {
            log: self,
            segment: Arc::clone(&writer.active),
            upto: writer.next_offset,
            _one_at_a_time: one_at_a_time,
        })
    }

    fn end_round(&self, round: &Round<'_>, synced: io::Result<()>, request: u64) -> bool {
        let upto = round.upto;
        let mut writer = self.writer.lock();
        if let Err(cause) = synced {
            self.poison(&mut writer, sync_failed(&round.segment, &cause));
        }
        if matches!(writer.state, State::Poisoned(_)) {
            return false;
        }
        let mut reached = None;
        while writer
            .marks
            .front()
            .is_some_and(|m| m.high_watermark <= upto)
        {
            reached = writer.marks.pop_front();
        }
        if let Some(mark) = reached {
            *self.committed.write() = mark;
            self.publish(&writer);
        }
        // Only the request itself makes way for the next: else every checkpoint would add one that renews itself for ever.
        if request != 0 && writer.sync_asked == request {
            writer.sync_asked = 0;
            if writer.next_offset > upto {
                let waited_for = !writer.marks.is_empty();
                let policy = self.config.read().flush_policy;
                let policy = if waited_for { FlushPolicy::Ack } else { policy };
                self.ask_for_sync(&mut writer, policy);
            }
        }
        true
    }

    pub(super) fn poison(&self, writer: &mut Writer, why: String) {
        error!(log = %self.dir.display(), why, "the log is poisoned: nothing more is acked from it");
        writer.state = State::Poisoned(why);
        self.publish(writer);
    }

    /// Tells the offsets; called with the writer's mutex held, so that they never go back.
    pub(super) fn publish(&self, writer: &Writer) {
        let committed = self.committed();
        let offsets = Offsets {
            log_start: writer.log_start,
            // DeleteRecords may move the start past the last visible record.
            visible_end: committed.visible_end.max(writer.log_start),
            high_watermark: committed.high_watermark,
            log_end: writer.next_offset,
            poisoned: matches!(writer.state, State::Poisoned(_)),
        };
        offsets.check();
        let commits = |old: &Offsets| {
            old.high_watermark != offsets.high_watermark
                || old.poisoned != offsets.poisoned
                || old.log_start != offsets.log_start
        };
        // Nobody waits for the log end: waking all for it would double the wake-ups of a produce.
        self.offsets.send_if_modified(|old| {
            let wake = commits(old);
            *old = offsets;
            wake
        });
    }

    pub(super) fn ask_for_sync(&self, writer: &mut Writer, policy: FlushPolicy) {
        if writer.sync_asked != 0 {
            return;
        }
        let request = writer.sync_requests + 1;
        match policy {
            FlushPolicy::Ack => self.syncer.sync_now(Weak::clone(&self.this), request),
            FlushPolicy::Interval(every) => {
                self.syncer
                    .sync_after(Weak::clone(&self.this), request, every);
            }
            FlushPolicy::Os => return,
        }
        writer.sync_requests = request;
        writer.sync_asked = request;
    }
}

pub(super) fn sync_failed(segment: &Segment, cause: &io::Error) -> String {
    format!("syncing {}: {cause}", segment.path.display())
}
