//! The log: one writer, many readers, and what is committed.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    path::PathBuf,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tracing::error;

use super::{
    checkpoint_file::{self, Checkpoint},
    error::{AppendError, OpenError},
    leader_epochs::LeaderEpochs,
    manifest::{Manifest, SegmentEntry},
    offsets::Offsets,
    producer_state::{Producers, Verdict},
    recovery::{self, Recovered, RecoveryReport},
    segment::{SEGMENT_HEADER_LEN, Segment, SegmentHeader, file_name},
    segment_index::SegmentIndex,
    syncer::Syncer,
    unit::{Appended, Unit},
};
use crate::{
    batch::HEADER_LEN,
    checkpoint,
    disk::{Disk, OpenMode},
    units::{LeaderEpoch, Offset, TopicId},
};

/// When an append counts as committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushPolicy {
    /// When it is synced.
    Ack,
    /// At once; synced at least this often.
    Interval(Duration),
    /// At once; the operating system syncs when it likes.
    Os,
}

/// Settings of a log; they may change while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment is closed when it would grow past this.
    pub segment_bytes: u32,
    /// A segment is closed when it is this old.
    pub segment_ms: i64,
    /// An index entry at least every so many bytes.
    pub index_interval_bytes: u32,
    /// When an append counts as committed.
    pub flush_policy: FlushPolicy,
    /// A producer that was silent for so long is forgotten.
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            index_interval_bytes: 4096,
            flush_policy: FlushPolicy::Ack,
            producer_id_expiration_ms: 24 * 3_600_000,
        }
    }
}

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
    this: Weak<Self>,
    pub(super) dir: PathBuf,
    topic_id: TopicId,
    partition: i32,
    pub(super) disk: Arc<dyn Disk>,
    syncer: Syncer,
    config: RwLock<LogConfig>,
    writer: Mutex<Writer>,
    /// One round of syncs at a time: the kernel tells a failed write-back to one of two syncs, and the other would commit.
    round: Mutex<()>,
    /// One checkpoint at a time: they replace the same files.
    checkpointing: Mutex<()>,
    segments: RwLock<Arc<Vec<Arc<Segment>>>>,
    committed: RwLock<Committed>,
    offsets: watch::Sender<Offsets>,
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
struct Writer {
    active: Arc<Segment>,
    log_start: Offset,
    next_offset: Offset,
    visible_end: Offset,
    /// Time of the first append to the active segment.
    active_since_ms: Option<i64>,
    /// Ends of units that are not committed yet, in order.
    marks: VecDeque<Committed>,
    /// Closed segments whose index is not on the disk yet.
    unindexed: Vec<Arc<Segment>>,
    producers: Producers,
    epochs: LeaderEpochs,
    /// The request for a sync that is on its way, 0 where none is. A round that was asked for otherwise does not end it.
    sync_asked: u64,
    sync_requests: u64,
    /// The log end that the last checkpoint speaks of.
    checkpointed: Option<Offset>,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
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
        let offsets = Offsets {
            log_start,
            visible_end,
            high_watermark: next_offset,
            log_end: next_offset,
            poisoned: false,
        };
        offsets.check();
        let has_batches = active.index.read().size > SEGMENT_HEADER_LEN as u64;
        let writer = Writer {
            log_start,
            next_offset,
            visible_end,
            active_since_ms: has_batches.then_some(active.created_ms),
            active,
            marks: VecDeque::new(),
            unindexed,
            producers,
            epochs,
            sync_asked: 0,
            sync_requests: 0,
            checkpointed: None,
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
            checkpointing: Mutex::new(()),
            segments: RwLock::new(Arc::new(segments)),
            committed: RwLock::new(committed),
            offsets: watch::Sender::new(offsets),
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
        let mut writer = self.writer.lock();
        let config = *self.config.read();
        match &writer.state {
            State::Open => {}
            State::Poisoned(_) => return Err(AppendError::Poisoned),
            State::Closed => return Err(AppendError::Closed),
        }
        let Some(first) = unit.frames.first().map(|f| f.header) else {
            return Err(AppendError::Io(io::ErrorKind::InvalidInput.into()));
        };
        if let Verdict::Duplicate {
            base_offset,
            next_offset,
            timestamp,
        } = writer.producers.judge(&first)?
        {
            return Ok(Appended::Duplicate {
                base_offset,
                next_offset,
                timestamp,
            });
        }
        self.roll_if_due(&mut writer, &unit, &config, now_ms)?;
        let base = writer.next_offset;
        self.write(&mut writer, unit, base, epoch, config.index_interval_bytes)?;
        writer.producers.record(&first, base, now_ms);
        writer.epochs.saw(epoch, base);
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
        match config.flush_policy {
            FlushPolicy::Ack => {
                writer.marks.push_back(mark);
                self.publish(&writer);
            }
            FlushPolicy::Interval(_) | FlushPolicy::Os => {
                writer.marks.clear();
                *self.committed.write() = mark;
                self.publish(&writer);
            }
        }
        self.ask_for_sync(&mut writer, config.flush_policy);
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

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments
            .read()
            .iter()
            .map(|s| s.index.read().size)
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

    /// Why nothing is acked any more.
    pub fn is_poisoned(&self) -> Option<String> {
        match &self.writer.lock().state {
            State::Poisoned(why) => Some(why.clone()),
            State::Open | State::Closed => None,
        }
    }

    /// Syncs, and writes what lets the next open start here.
    pub fn checkpoint(&self, now_ms: i64) -> io::Result<()> {
        let _one = self.checkpointing.lock();
        let config = *self.config.read();
        let (mark, producers, epochs, closed, active, manifest) = {
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
        };
        checkpoint_file::write(&*self.disk, &self.dir.join("meta"), &at, &producers)?;
        self.writer.lock().checkpointed = Some(mark.high_watermark);
        Ok(())
    }

    /// A clean end: synced and checkpointed; appends are refused from here on.
    pub fn close(&self, now_ms: i64) -> io::Result<()> {
        self.checkpoint(now_ms)?;
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

    pub(super) fn committed(&self) -> Committed {
        *self.committed.read()
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

    /// One group commit, for the request of that number (0: none); false where the log is poisoned.
    pub(super) fn sync_round(&self, request: u64) -> bool {
        let _round = self.round.lock();
        // Those before the active one were synced when they were closed.
        let (segment, upto) = {
            let writer = self.writer.lock();
            if matches!(writer.state, State::Poisoned(_)) {
                return false;
            }
            (Arc::clone(&writer.active), writer.next_offset)
        };
        let synced = segment.file.sync_data();
        let mut writer = self.writer.lock();
        if let Err(cause) = synced {
            self.poison(&mut writer, sync_failed(&segment, &cause));
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
                let policy = self.config.read().flush_policy;
                self.ask_for_sync(&mut writer, policy);
            }
        }
        true
    }

    fn poison(&self, writer: &mut Writer, why: String) {
        error!(log = %self.dir.display(), why, "the log is poisoned: nothing more is acked from it");
        writer.state = State::Poisoned(why);
        self.publish(writer);
    }

    /// Tells the offsets; called with the writer's mutex held, so that they never go back.
    fn publish(&self, writer: &Writer) {
        let committed = self.committed();
        let offsets = Offsets {
            log_start: writer.log_start,
            visible_end: committed.visible_end,
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

    fn ask_for_sync(&self, writer: &mut Writer, policy: FlushPolicy) {
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

    fn roll_if_due(
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
        // Recovery takes a bad place before the last segment for damage: no segment may be there behind a torn one.
        if let Err(cause) = writer.active.file.sync_data() {
            let why = sync_failed(&writer.active, &cause);
            self.poison(writer, why);
            return Err(AppendError::Poisoned);
        }
        let header = SegmentHeader {
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
        writer.active_since_ms = None;
        let mut segments = self.segments.write();
        let mut list = Vec::clone(&segments);
        list.push(next);
        *segments = Arc::new(list);
        Ok(())
    }

    /// Removes what is there of a segment that could not be made: the open one may take a smaller unit instead, and an empty
    /// segment that starts below its end would be damage.
    fn undo_roll(&self, writer: &mut Writer, cause: io::Error) -> AppendError {
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
            if let Err(cause) = writer.active.file.set_len(position) {
                // What is behind the end now is nobody's: recovery would read it.
                self.poison(writer, format!("cutting a failed append: {cause}"));
                return Err(AppendError::Poisoned);
            }
            return Err(full_or_io(cause));
        }
        let mut index = writer.active.index.write();
        for (i, frame) in unit.frames.iter().enumerate() {
            index.push(&frame.header, index_interval_bytes, i == 0);
        }
        // A unit that hides its last records ends the segment's offsets where its HOLD says.
        let visible_end = index.visible_end();
        drop(index);
        if let Some(visible_end) = visible_end {
            writer.visible_end = writer.visible_end.max(visible_end);
        }
        Ok(())
    }

    fn write_index(&self, segment: &Segment, index: &SegmentIndex) -> io::Result<()> {
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

fn sync_failed(segment: &Segment, cause: &io::Error) -> String {
    format!("syncing {}: {cause}", segment.path.display())
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
    }))
}

fn full_or_io(cause: io::Error) -> AppendError {
    match cause.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero => {
            AppendError::StorageFull
        }
        _ => AppendError::Io(cause),
    }
}
