//! The log: one writer, many readers, and what is committed.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::{
    append_times::AppendTimes,
    config::{FlushPolicy, LogConfig},
    error::{AppendError, OpenError},
    leader_epochs::LeaderEpochs,
    offsets::Offsets,
    producer_state::{ProducerInfo, Producers, Verdict},
    recovery::{self, Recovered, RecoveryReport},
    retention::Condemned,
    room,
    segment::{SEGMENT_HEADER_LEN, Segment},
    syncer::Syncer,
    transactions::{Began, FirstBatch, Guard},
    unit::{Appended, Origin, Unit},
};
use crate::{
    batch::{BatchHeader, HEADER_LEN},
    control::Marker,
    disk::Disk,
    frame,
    units::{LeaderEpoch, Offset, TopicId},
};

/// What opening a log takes.
#[derive(Debug)]
pub struct LogOptions {
    /// The partition's folder.
    pub dir: PathBuf,
    /// The topic.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: i32,
    /// Settings.
    pub config: LogConfig,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The group commit.
    pub syncer: Syncer,
    /// Wall time.
    pub now_ms: i64,
}

/// The log of one partition.
#[derive(Debug)]
pub struct Log {
    pub(super) this: Weak<Self>,
    pub(super) dir: PathBuf,
    pub(super) topic_id: TopicId,
    pub(super) partition: i32,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) syncer: Syncer,
    pub(super) config: RwLock<LogConfig>,
    pub(super) writer: Mutex<Writer>,
    /// One round of syncs at a time: the kernel tells a failed write-back to one of two syncs, and the other would commit.
    pub(super) round: Mutex<()>,
    /// Why a sync of a segment failed; held while one is under way.
    pub(super) failed_sync: Mutex<Option<String>>,
    /// One checkpoint or retention pass at a time: they replace the same files.
    pub(super) checkpointing: Mutex<()>,
    /// What an open after a crash would scan: bytes since the last checkpoint.
    pub(super) uncheckpointed: AtomicU64,
    pub(super) segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    pub(super) committed: RwLock<Committed>,
    /// Where the first transaction that is not decided begins. Set before what it wrote is committed, taken back after its
    /// marker is: read after `committed`.
    pub(super) unstable: RwLock<Option<Began>>,
    pub(super) offsets: watch::Sender<Offsets>,
    /// Records may have a message id.
    pub(super) message_ids: AtomicBool,
    /// What was known of that when it was opened.
    pub(super) no_ids_below: Option<Offset>,
}

/// Where readers stop. *Invariant*: all below is committed, and whole units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Committed {
    pub(super) high_watermark: Offset,
    pub(super) visible_end: Offset,
    /// First offset of the segment that the high watermark is in.
    pub(super) segment: Offset,
    /// Where it is in that segment.
    pub(super) position: u64,
}

/// What only the holder of the writer's mutex touches.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) active: Arc<Segment>,
    pub(super) log_start: Offset,
    pub(super) next_offset: Offset,
    pub(super) visible_end: Offset,
    /// Up to where the active segment's file has room on the disk.
    pub(super) allocated: u64,
    /// Time of the first append to the active segment.
    pub(super) active_since_ms: Option<i64>,
    /// A segment, and up to where it is durable; all before it is.
    pub(super) durable: (Offset, u64),
    /// Ends of units that are not committed yet, in order.
    pub(super) marks: VecDeque<Committed>,
    /// Records appended since the last sync was asked for, where `flush.messages` counts them.
    pub(super) unflushed: i64,
    /// The disk had no room at the last append: told once, and once when it has again.
    pub(super) disk_full: bool,
    /// Closed segments whose index is not on the disk yet.
    pub(super) unindexed: Vec<Arc<Segment>>,
    pub(super) producers: Producers,
    pub(super) epochs: LeaderEpochs,
    pub(super) append_times: AppendTimes,
    /// The request for a sync that is on its way, 0 where none is. A round that was asked for otherwise does not end it.
    pub(super) sync_asked: u64,
    pub(super) sync_requests: u64,
    /// The log end that the last checkpoint speaks of.
    pub(super) checkpointed: Option<Offset>,
    /// Removed segments whose files wait for `file.delete.delay.ms`.
    pub(super) condemned: Vec<Condemned>,
    pub(super) state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Open,
    Poisoned(String),
    Closed,
}

impl Log {
    /// Opens or makes the log. What it has is durable when this returns, and the high watermark is the log end.
    pub fn open(options: LogOptions) -> Result<(Arc<Self>, RecoveryReport), OpenError> {
        let (recovered, report) = recovery::recover(&options)?;
        let Recovered {
            segments,
            unindexed,
            log_start,
            next_offset,
            visible_end,
            producers,
            epochs,
            no_ids_below,
        } = recovered;
        let active = match segments.last() {
            Some(last) => Arc::clone(last),
            None => unreachable!("recovery leaves at least one segment"),
        };
        let committed = Committed {
            high_watermark: next_offset,
            visible_end,
            segment: active.first_offset,
            position: active.index.read().size,
        };
        let unstable = producers.transactions.first_unstable();
        let offsets = Offsets::told(&committed, unstable, log_start, next_offset, false);
        let has_batches = active.index.read().size > SEGMENT_HEADER_LEN as u64;
        let writer = Writer {
            log_start,
            next_offset,
            visible_end,
            allocated: 0,
            active_since_ms: has_batches.then_some(active.created_ms),
            // Recovery synced what it read, and a checkpoint speaks of nothing else.
            durable: (active.first_offset, committed.position),
            active,
            marks: VecDeque::new(),
            unflushed: 0,
            disk_full: false,
            unindexed,
            producers,
            epochs,
            append_times: AppendTimes::open(
                &*options.disk,
                &options.dir,
                options.topic_id,
                next_offset,
            ),
            sync_asked: 0,
            sync_requests: 0,
            checkpointed: None,
            condemned: Vec::new(),
            state: State::Open,
        };
        let log = Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            dir: options.dir,
            topic_id: options.topic_id,
            partition: options.partition,
            disk: options.disk,
            syncer: options.syncer,
            config: RwLock::new(options.config),
            writer: Mutex::new(writer),
            round: Mutex::new(()),
            failed_sync: Mutex::default(),
            checkpointing: Mutex::new(()),
            uncheckpointed: AtomicU64::new(report.scanned_bytes),
            segments: RwLock::new(Arc::new(segments)),
            committed: RwLock::new(committed),
            unstable: RwLock::new(unstable),
            offsets: watch::Sender::new(offsets),
            message_ids: AtomicBool::new(no_ids_below.is_none()),
            no_ids_below,
        });
        Ok((log, report))
    }

    /// Appends a unit whole, or nothing of it.
    pub fn append(
        &self,
        unit: Unit,
        epoch: LeaderEpoch,
        now_ms: i64,
    ) -> Result<Appended, AppendError> {
        self.append_as(unit, epoch, now_ms, Origin::CLIENT)
    }

    /// The same, checked as this origin asks for.
    pub fn append_as(
        &self,
        unit: Unit,
        epoch: LeaderEpoch,
        now_ms: i64,
        origin: Origin,
    ) -> Result<Appended, AppendError> {
        let mut writer = self.writer.lock();
        let config = *self.config.read();
        match &writer.state {
            State::Open => {}
            State::Poisoned(_) => return Err(AppendError::Poisoned),
            State::Closed => return Err(AppendError::Closed),
        }
        let Some(first) = unit.frames.first() else {
            return Err(AppendError::Io(io::ErrorKind::InvalidInput.into()));
        };
        let answer = frame::answer(&first.header, &first.body);
        let first = first.header;
        if let Verdict::Duplicate {
            base_offset,
            next_offset,
            timestamp,
        } = writer.producers.judge(&first, origin)?
        {
            return Ok(Appended::Duplicate {
                base_offset,
                next_offset,
                timestamp,
            });
        }
        let base = writer.next_offset;
        let len = unit.len_bytes() as u64;
        let mut began = None;
        let written = self
            .roll_if_due(&mut writer, &unit, &config, now_ms)
            .and_then(|()| {
                room::make(&mut writer, len, u64::from(config.segment_bytes));
                began = Some(Began {
                    offset: base,
                    visible_before: writer.visible_end,
                    segment: writer.active.first_offset,
                    position: writer.active.index.read().size,
                    holds: first.is_hidden() && first.records_count > 0,
                });
                self.write(&mut writer, unit, base, epoch, config.index_interval_bytes)
            });
        self.tell_of_room(&mut writer, &written);
        written?;
        self.uncheckpointed.fetch_add(len, Relaxed);
        match (origin, began) {
            (Origin::Marker(marker), _) => writer.ended(&first, marker, base, now_ms),
            (_, Some(began)) => writer.producers.record(&first, began, answer, now_ms),
            (_, None) => {}
        }
        writer.epochs.saw(epoch, base);
        let log_start = writer.log_start;
        writer.append_times.saw(self, base, now_ms, log_start);
        writer.next_offset = base.plus(i64::from(first.last_offset_delta) + 1);
        writer.active_since_ms.get_or_insert(now_ms);
        let mark = Committed {
            high_watermark: writer.next_offset,
            visible_end: writer.visible_end,
            segment: writer.active.first_offset,
            position: writer.active.index.read().size,
        };
        let appended = Appended::New {
            base_offset: base,
            next_offset: writer.next_offset,
            log_start: writer.log_start,
        };
        // As Kafka: the append that reaches `flush.messages` is answered when it is synced.
        writer.unflushed = writer
            .unflushed
            .saturating_add(i64::from(first.last_offset_delta) + 1);
        let counted = writer.unflushed >= config.flush_messages;
        let policy = if counted {
            FlushPolicy::Ack
        } else {
            config.flush_policy
        };
        if policy == FlushPolicy::Ack {
            writer.unflushed = 0;
        }
        if policy == FlushPolicy::Ack || !writer.marks.is_empty() {
            writer.marks.push_back(mark);
        } else {
            *self.unstable.write() = writer.producers.transactions.first_unstable();
            *self.committed.write() = mark;
        }
        self.publish(&mut writer);
        self.ask_for_sync(&mut writer, policy);
        Ok(appended)
    }

    /// Offsets as they stand.
    pub fn offsets(&self) -> Offsets {
        *self.offsets.borrow()
    }

    /// Hears each change of the offsets.
    pub fn watch(&self) -> watch::Receiver<Offsets> {
        self.offsets.subscribe()
    }

    /// The largest leader epoch up to `epoch` that the log has, and where it ends (KIP-320).
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let writer = self.writer.lock();
        writer.epochs.end_offset(epoch, writer.next_offset)
    }

    /// The producers that it remembers.
    pub fn producers(&self) -> Vec<ProducerInfo> {
        self.writer.lock().producers.list()
    }

    /// Bytes of all batches.
    pub fn size_bytes(&self) -> u64 {
        self.segments
            .read()
            .iter()
            .map(|s| s.index.read().size - SEGMENT_HEADER_LEN as u64)
            .sum()
    }

    /// Takes over new settings for what is appended from now on.
    pub fn set_config(&self, config: LogConfig) {
        let mut writer = self.writer.lock();
        let before = std::mem::replace(&mut *self.config.write(), config);
        if before.flush_policy != config.flush_policy && writer.state == State::Open {
            // The sync that was asked for may be far off.
            writer.sync_asked = 0;
            self.ask_for_sync(&mut writer, config.flush_policy);
        }
    }

    /// Whether a batch with this header was appended before: an append of it would be answered as a duplicate.
    pub fn has(&self, header: &BatchHeader) -> bool {
        let verdict = self.writer.lock().producers.judge(header, Origin::CLIENT);
        matches!(verdict, Ok(Verdict::Duplicate { .. }))
    }

    /// What a producer's first batch of a transaction takes along, once its coordinator knows of the transaction; asked for
    /// before the coordinator is. `None` where one of that epoch is open here.
    pub fn guard(&self, batch: &FirstBatch, now_ms: i64) -> Option<Guard> {
        let producers = &mut self.writer.lock().producers;
        if producers.is_open(batch.producer_id, batch.epoch) {
            return None;
        }
        Some(producers.transactions.guard(batch, now_ms))
    }

    /// Why nothing is acked any more.
    pub fn is_poisoned(&self) -> Option<String> {
        match &self.writer.lock().state {
            State::Poisoned(why) => Some(why.clone()),
            State::Open | State::Closed => None,
        }
    }

    /// A clean end: synced and checkpointed; appends are refused from here on.
    pub fn close(&self, now_ms: i64) -> io::Result<()> {
        self.checkpoint(now_ms)?;
        room::give_back(&mut self.writer.lock())?;
        self.abandon();
        Ok(())
    }

    /// An end without ceremony, for a log whose topic was deleted.
    pub fn abandon(&self) {
        {
            let mut writer = self.writer.lock();
            if writer.state == State::Open {
                writer.state = State::Closed;
            }
        }
        // A checkpoint under way writes by path: it must not meet another topic's folder there.
        drop(self.checkpointing.lock());
    }

    /// Makes all that was appended durable, whatever the policy; false where the log is poisoned. Blocks on the disk.
    pub fn sync(&self) -> bool {
        self.sync_round(0)
    }

    /// The first offset that the disk still has, of any frame: at or below the log start.
    pub fn first_kept(&self) -> Offset {
        let segments = self.segments.read();
        segments.first().map_or(Offset(0), |s| s.first_offset)
    }

    pub(super) fn committed(&self) -> Committed {
        *self.committed.read()
    }

    /// The same, up to the first transaction that is not decided.
    pub(super) fn stable(&self) -> Committed {
        let committed = self.committed();
        let unstable = *self.unstable.read();
        match unstable {
            Some(began) if began.offset < committed.high_watermark => Committed {
                high_watermark: began.offset,
                visible_end: began.visible_before.max(self.offsets().log_start),
                segment: began.segment,
                position: began.position,
            },
            _ => committed,
        }
    }

    /// The segments that may have offsets of `from` or more.
    pub(super) fn segments_from(&self, from: Offset) -> Vec<Arc<Segment>> {
        let segments = Arc::clone(&self.segments.read());
        let after = segments.partition_point(|s| s.first_offset <= from);
        segments
            .iter()
            .skip(after.saturating_sub(1))
            .cloned()
            .collect()
    }

    /// An operator must see that a disk is full, and not a line for each refused batch.
    fn tell_of_room(&self, writer: &mut Writer, written: &Result<(), AppendError>) {
        let full = matches!(written, Err(AppendError::StorageFull));
        if full && !writer.disk_full {
            tracing::error!(log = %self.dir.display(), "no space left on the disk: appends are refused until there is");
        }
        if written.is_ok() && writer.disk_full {
            tracing::info!(log = %self.dir.display(), "the disk has room again");
        }
        writer.disk_full = full;
    }

    /// Stamps and writes all frames in one call; on failure the file ends where it did.
    fn write(
        &self,
        writer: &mut Writer,
        mut unit: Unit,
        base: Offset,
        epoch: LeaderEpoch,
        index_interval_bytes: u32,
    ) -> Result<(), AppendError> {
        let position = writer.active.index.read().size;
        let mut headers: Vec<[u8; HEADER_LEN]> = Vec::with_capacity(unit.frames.len());
        for frame in &mut unit.frames {
            frame.header.base_offset = base.0;
            frame.header.leader_epoch = epoch.0;
            headers.push(frame.header.encode());
        }
        let mut slices: Vec<IoSlice<'_>> = headers
            .iter()
            .zip(&unit.frames)
            .flat_map(|(header, frame)| [IoSlice::new(header), IoSlice::new(&frame.body)])
            .filter(|slice| !slice.is_empty())
            .collect();
        if let Err(cause) = writer.active.file.write_all_at(&mut slices, position) {
            writer.allocated = 0;
            if let Err(cause) = writer.active.file.set_len(position) {
                // What is behind the end now is nobody's: recovery would read it.
                self.poison(writer, format!("cutting a failed append: {cause}"));
                return Err(AppendError::Poisoned);
            }
            return Err(full_or_io(cause));
        }
        let mut index = writer.active.index.write();
        for (i, frame) in unit.frames.iter().enumerate() {
            let arms = writer.producers.arms(&frame.header);
            index.push(&frame.header, index_interval_bytes, i == 0, arms);
        }
        // A unit that hides its last records ends the segment's offsets where its HOLD says.
        let visible_end = index.visible_end();
        drop(index);
        if let Some(visible_end) = visible_end {
            writer.visible_end = writer.visible_end.max(visible_end);
        }
        Ok(())
    }
}

impl Writer {
    /// Takes in a marker that was appended at `at`.
    fn ended(&mut self, header: &BatchHeader, marker: Marker, at: Offset, now_ms: i64) {
        let ended = self.producers.record_marker(header, marker, at, now_ms);
        if let Some(ended) = ended.filter(|ended| ended.aborted) {
            self.active.index.write().aborted.push(ended.into());
        }
    }
}

pub(super) fn full_or_io(cause: io::Error) -> AppendError {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero => {
            AppendError::StorageFull
        }
        _ => AppendError::Io(cause),
    }
}
