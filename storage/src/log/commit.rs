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
    segment::{SEGMENT_HEADER_LEN, Segment},
};
use crate::{journal::Tail, units::Offset};

/// What a round of the group commit makes durable: what was appended when it began.
#[derive(Debug)]
struct Upto {
    segment: Arc<Segment>,
    offset: Offset,
    /// Where that is in the segment.
    position: u64,
}

/// A round that syncs the log's own file.
pub(super) struct Round<'a> {
    log: &'a Log,
    upto: Upto,
    _one_at_a_time: MutexGuard<'a, ()>,
}

impl Round<'_> {
    /// Syncs that log's file alone.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.log.sync_segment(&self.upto.segment)
    }

    /// Tells what became durable, for the request of that number (0: none); false where the log is poisoned.
    pub(super) fn end(self, synced: io::Result<()>, request: u64) -> bool {
        self.log.end_round(&self.upto, synced, request)
    }
}

/// A round that the journal makes durable. It waits for no other round of the log: the tail starts where all before is durable,
/// whatever becomes of a sync of the segment that is under way.
pub(super) struct TailRound<'a> {
    log: &'a Log,
    upto: Upto,
    from: u64,
}

impl TailRound<'_> {
    /// What is to be written.
    pub(super) fn tail(&self) -> Tail<'_> {
        Tail {
            folder: &self.log.dir,
            topic_id: self.log.topic_id,
            partition: self.log.partition,
            first_offset: self.upto.segment.first_offset,
            file: &*self.upto.segment.file,
            from: self.from,
            to: self.upto.position,
        }
    }

    /// Tells that it is durable.
    pub(super) fn end(self, request: u64) {
        self.log.end_round(&self.upto, Ok(()), request);
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
        let upto = Upto::now(&self.writer.lock())?;
        Some(Round {
            log: self,
            upto,
            _one_at_a_time: one_at_a_time,
        })
    }

    /// Begins a round of the journal; `None` where the log is poisoned.
    pub(super) fn begin_tail(&self) -> Option<TailRound<'_>> {
        let writer = self.writer.lock();
        let upto = Upto::now(&writer)?;
        Some(TailRound {
            log: self,
            from: writer.durable_position(),
            upto,
        })
    }

    /// Makes the segments have what only the journal has; false where that failed, which poisons the log.
    pub(super) fn settle(&self) -> bool {
        let Some(upto) = Upto::now(&self.writer.lock()) else {
            return false;
        };
        let synced = self.sync_segment(&upto.segment);
        self.end_round(&upto, synced, 0)
    }

    /// Syncs a segment. The kernel tells a failed write-back to one of two syncs: here the other one hears of it, too.
    pub(super) fn sync_segment(&self, segment: &Segment) -> io::Result<()> {
        let mut failed = self.failed_sync.lock();
        if let Some(why) = &*failed {
            return Err(io::Error::other(why.clone()));
        }
        let synced = segment.file.sync_data();
        if let Err(cause) = &synced {
            *failed = Some(cause.to_string());
        }
        synced
    }

    fn end_round(&self, round: &Upto, synced: io::Result<()>, request: u64) -> bool {
        let upto = round.offset;
        let mut writer = self.writer.lock();
        if let Err(cause) = synced {
            self.poison(&mut writer, sync_failed(&round.segment, &cause));
        }
        if matches!(writer.state, State::Poisoned(_)) {
            return false;
        }
        writer.is_durable_to(round.segment.first_offset, round.position);
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
            self.publish(&mut writer);
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
    pub(super) fn publish(&self, writer: &mut Writer) {
        let committed = self.committed();
        let transactions = &mut writer.producers.transactions;
        transactions.committed_to(committed.high_watermark);
        let unstable = transactions.first_unstable();
        *self.unstable.write() = unstable;
        let is_poisoned = matches!(writer.state, State::Poisoned(_));
        let (start, end) = (writer.log_start, writer.next_offset);
        let offsets = Offsets::told(&committed, unstable, start, end, is_poisoned);
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
            FlushPolicy::Ack => {
                let tail = writer.tail_bytes();
                self.syncer
                    .sync_now((Weak::clone(&self.this), request), tail);
            }
            FlushPolicy::Interval(every) => {
                self.syncer
                    .sync_after((Weak::clone(&self.this), request), every);
            }
            FlushPolicy::Os => return,
        }
        writer.sync_requests = request;
        writer.sync_asked = request;
    }
}

impl Upto {
    /// All that was appended; `None` where the log is poisoned.
    fn now(writer: &Writer) -> Option<Self> {
        if matches!(writer.state, State::Poisoned(_)) {
            return None;
        }
        Some(Self {
            segment: Arc::clone(&writer.active),
            offset: writer.next_offset,
            position: writer.active.index.read().size,
        })
    }
}

impl Writer {
    /// Up to where the active segment is durable, by its own sync or by the journal.
    fn durable_position(&self) -> u64 {
        let (segment, position) = self.durable;
        if segment == self.active.first_offset {
            position
        } else {
            // The header is synced when a segment is made.
            SEGMENT_HEADER_LEN as u64
        }
    }

    /// What of the active segment is not durable.
    fn tail_bytes(&self) -> u64 {
        self.active.index.read().size - self.durable_position()
    }

    /// Rounds of the journal and of syncs end in any order.
    fn is_durable_to(&mut self, segment: Offset, position: u64) {
        self.durable = self.durable.max((segment, position));
    }
}

pub(super) fn sync_failed(segment: &Segment, cause: &io::Error) -> String {
    format!("syncing {}: {cause}", segment.path.display())
}
