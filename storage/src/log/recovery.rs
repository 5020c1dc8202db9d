//! Opening a log after whatever happened.
//!
//! - Trusted without reading: sealed segments and the part of the active one below the checkpoint, if the files are as long as
//!   the checkpoint and the indexes say. Everything else is read, unit by unit, with checksums.
//! - A bad place in the last segment with nothing valid behind it is a torn tail: cut, its bytes kept in `meta/`, and told. So
//!   is one with something valid behind it, where a whole sector between the two is zeros: a power loss leaves that, since
//!   sectors reach the disk in any order. All segments but the last were synced before the next one was made.
//! - Any other bad place before something valid, or below the checkpoint, or a whole batch that does not belong there, is
//!   damage: the log stays closed and nothing is changed.
//! - What is derived and speaks of offsets that the log does not have (any more) is not believed.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::RwLock;
use tracing::{info, warn};

use super::{
    checkpoint_file::{self, Checkpoint},
    compaction,
    error::OpenError,
    leader_epochs::LeaderEpochs,
    log::LogOptions,
    producer_state::Producers,
    retention::{self, LogStart},
    roll::create_segment,
    scan::{ScanStop, Scanner, has_lost_sector, valid_batch_after},
    segment::{SEGMENT_HEADER_LEN, Segment, SegmentHeader, first_offset_of, is_half_made},
    segment_index::SegmentIndex,
    transactions::{AbortedTransaction, Began},
};
use crate::{
    batch::{BatchView, HEADER_LEN},
    control::Marker,
    disk::{Disk, DiskFile, OpenMode, read_all},
    frame,
    units::{LeaderEpoch, Offset},
};

/// Cut bytes are kept up to this size.
const CUT_KEPT_MAX: u64 = 16 << 20;

/// What an open did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Bytes cut from a torn tail.
    pub cut_bytes: u64,
    /// Bytes read and checked.
    pub scanned_bytes: u64,
    /// A checkpoint was there, but not believed.
    pub checkpoint_discarded: bool,
}

/// A log's state as read from the disk.
pub(super) struct Recovered {
    pub(super) segments: Vec<Arc<Segment>>,
    /// Those closed segments whose index is not on the disk.
    pub(super) unindexed: Vec<Arc<Segment>>,
    pub(super) log_start: Offset,
    pub(super) next_offset: Offset,
    pub(super) visible_end: Offset,
    pub(super) producers: Producers,
    pub(super) epochs: LeaderEpochs,
    /// Records below have no message id; `None` where they may have.
    pub(super) no_ids_below: Option<Offset>,
}

pub(super) fn recover(options: &LogOptions) -> Result<(Recovered, RecoveryReport), OpenError> {
    let disk = &*options.disk;
    for folder in ["segments", "index", "meta"] {
        let path = options.dir.join(folder);
        disk.create_dir_all(&path).map_err(io_at(&path))?;
    }
    let begins = LogStart::read(disk, &options.dir);
    compaction::finish(disk, &options.dir).map_err(io_at(&options.dir))?;
    retention::sweep(disk, &options.dir, begins).map_err(io_at(&options.dir))?;
    let (mut files, half_made) = open_files(options)?;
    check_front(disk, &options.dir, begins, &files)?;
    let mut report = RecoveryReport::default();
    if files.is_empty() {
        let header = SegmentHeader {
            first_offset: match (&half_made, begins) {
                (Some((_, first)), _) => *first,
                (None, Some(begins)) => Offset(begins.first_segment),
                (None, None) => Offset(0),
            },
            created_ms: options.now_ms,
            topic_id: options.topic_id,
            partition: options.partition,
            rewritten: 0,
        };
        let segment = create_segment(disk, &options.dir, header).map_err(io_at(&options.dir))?;
        files.push(segment_file(&segment));
    }
    let meta = options.dir.join("meta");
    let checkpoint = checkpoint_file::read(disk, &meta);
    let had_checkpoint = checkpoint.is_some();
    let start =
        checkpoint.and_then(|(at, producers)| Start::believe(options, &files, at, producers));
    report.checkpoint_discarded = had_checkpoint && start.is_none();
    if report.checkpoint_discarded {
        warn!(log = %options.dir.display(), "the checkpoint does not fit the log; the whole log is read");
    }
    let believed = start.is_some();
    let mut recovered = replay(options, &files, start, &mut report)?;
    if let Some(begins) = begins {
        begin_at(&mut recovered, Offset(begins.offset), &files)?;
    }
    if !believed {
        // The log may grow past the place that it speaks of: then it would seem to fit.
        checkpoint_file::remove(disk, &meta).map_err(io_at(&meta))?;
    }
    if let Some((path, first)) = half_made
        && files.iter().all(|f| f.header.first_offset != first)
    {
        disk.remove_file(&path).map_err(io_at(&path))?;
    }
    if report.scanned_bytes > 0 {
        info!(log = %options.dir.display(), scanned_bytes = report.scanned_bytes,
              log_end = recovered.next_offset.0, "log recovered");
    }
    Ok((recovered, report))
}

/// Retention and DeleteRecords write down where the log begins before they take segments from its front: one that is gone without that
/// was lost.
fn check_front(
    disk: &dyn Disk,
    dir: &Path,
    begins: Option<LogStart>,
    files: &[SegmentFile],
) -> Result<(), OpenError> {
    let Some(first) = files.first() else {
        return Ok(());
    };
    let expected = match begins {
        Some(begins) => begins.first_segment,
        None if LogStart::is_there(disk, dir) => return Ok(()),
        None => 0,
    };
    if first.header.first_offset.0 <= expected {
        return Ok(());
    }
    let why = format!(
        "it is the first segment, and begins at {}: those from {expected} on are missing, and were not taken by retention",
        first.header.first_offset
    );
    Err(corrupt(&first.path, 0, why))
}

/// What lies below the log start stays unread, also where a pending record keeps its segment.
fn begin_at(
    recovered: &mut Recovered,
    log_start: Offset,
    files: &[SegmentFile],
) -> Result<(), OpenError> {
    if let Some(last) = files.last().filter(|_| log_start > recovered.next_offset) {
        let why = format!(
            "the log ends at offset {}, before its start at {log_start}",
            recovered.next_offset
        );
        return Err(corrupt(&last.path, last.len, why));
    }
    recovered.log_start = recovered.log_start.max(log_start);
    recovered.visible_end = recovered.visible_end.max(log_start);
    recovered.epochs.start_at(recovered.log_start);
    Ok(())
}

/// A segment file whose header was read.
struct SegmentFile {
    header: SegmentHeader,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    len: u64,
}

fn segment_file(segment: &Segment) -> SegmentFile {
    SegmentFile {
        header: SegmentHeader {
            first_offset: segment.first_offset,
            created_ms: segment.created_ms,
            topic_id: uuid::Uuid::nil(),
            partition: 0,
            rewritten: 0,
        },
        path: segment.path.clone(),
        file: Arc::clone(&segment.file),
        len: SEGMENT_HEADER_LEN as u64,
    }
}

/// The segments, and a last one that the node stopped at while it made it: no batch was ever in that.
type Files = (Vec<SegmentFile>, Option<(PathBuf, Offset)>);

fn open_files(options: &LogOptions) -> Result<Files, OpenError> {
    let disk = &*options.disk;
    let folder = options.dir.join("segments");
    let names = disk.list(&folder).map_err(io_at(&folder))?;
    let firsts: Vec<(String, Offset)> = names
        .into_iter()
        .filter_map(|(name, _)| first_offset_of(&name).map(|first| (name, first)))
        .collect();
    let mut files = Vec::with_capacity(firsts.len());
    for (i, (name, first)) in firsts.iter().enumerate() {
        let path = folder.join(name);
        let file = disk
            .open(&path, OpenMode::ReadWrite)
            .map_err(io_at(&path))?;
        let len = file.len().map_err(io_at(&path))?;
        let last = i + 1 == firsts.len();
        if last && is_half_made(&*file, len).map_err(io_at(&path))? {
            return Ok((files, Some((path, *first))));
        }
        if len < SEGMENT_HEADER_LEN as u64 {
            return Err(OpenError::UnknownFormat {
                segment: path,
                why: "the header is cut off".into(),
            });
        }
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        file.read_exact_at(&mut bytes, 0).map_err(io_at(&path))?;
        let header = SegmentHeader::parse(&bytes).map_err(|why| OpenError::UnknownFormat {
            segment: path.clone(),
            why,
        })?;
        if header.topic_id != options.topic_id || header.partition != options.partition {
            return Err(OpenError::WrongTopicId {
                segment: path,
                topic_id: header.topic_id,
                partition: header.partition,
            });
        }
        if header.first_offset != *first {
            let why = format!("it says that it starts at offset {}", header.first_offset);
            return Err(OpenError::UnknownFormat { segment: path, why });
        }
        files.push(SegmentFile {
            header,
            path,
            file,
            len,
        });
    }
    Ok((files, None))
}

/// A checkpoint that is believed, and the indexes of all it speaks of.
struct Start {
    at: Checkpoint,
    producers: Producers,
    /// Of the segments up to the checkpoint's, in order.
    indexes: Vec<SegmentIndex>,
}

impl Start {
    fn believe(
        options: &LogOptions,
        files: &[SegmentFile],
        at: Checkpoint,
        producers: Producers,
    ) -> Option<Self> {
        let active = files
            .iter()
            .position(|f| f.header.first_offset.0 == at.segment)?;
        let mut indexes = Vec::with_capacity(active + 1);
        for (i, file) in files.iter().enumerate().take(active + 1) {
            let sealed = i < active;
            let covered = if sealed { file.len } else { at.position };
            if file.len < covered {
                return None;
            }
            let index = read_index(options, file.header.first_offset, covered)?;
            let next_first = files.get(i + 1).map(|f| f.header.first_offset);
            let end = if sealed {
                next_first?
            } else {
                Offset(at.log_end)
            };
            if index.next_offset != end {
                return None;
            }
            indexes.push(index);
        }
        producers.is_below(Offset(at.log_end)).then_some(Self {
            at,
            producers,
            indexes,
        })
    }
}

fn read_index(options: &LogOptions, first: Offset, covered: u64) -> Option<SegmentIndex> {
    let dir = options.dir.join("index");
    let index = read_all(&*options.disk, &dir.join(format!("{:020}.index", first.0))).ok()?;
    let frames = dir.join(format!("{:020}.frames", first.0));
    let frames = if options.disk.exists(&frames) {
        Some(read_all(&*options.disk, &frames).ok()?)
    } else {
        None
    };
    SegmentIndex::decode(first, covered, &index, frames.as_deref())
}

/// Reads what the start does not cover.
fn replay(
    options: &LogOptions,
    files: &[SegmentFile],
    start: Option<Start>,
    report: &mut RecoveryReport,
) -> Result<Recovered, OpenError> {
    let log_start = files.first().map_or(Offset(0), |f| f.header.first_offset);
    let mut recovered = Recovered {
        segments: Vec::with_capacity(files.len()),
        unindexed: Vec::new(),
        log_start,
        next_offset: log_start,
        visible_end: log_start,
        producers: Producers::default(),
        epochs: LeaderEpochs::default(),
        // A log that no checkpoint speaks of is looked at from its beginning.
        no_ids_below: Some(Offset(0)),
    };
    let mut known = Vec::new();
    let mut trusted = 0;
    if let Some(start) = start {
        recovered.producers = start.producers;
        recovered.epochs = start.at.leader_epochs;
        recovered.next_offset = Offset(start.at.log_end);
        recovered.visible_end = Offset(start.at.visible_end);
        recovered.no_ids_below = (!start.at.message_ids).then_some(Offset(start.at.log_end));
        trusted = start.at.position;
        known = start.indexes;
    }
    let known_count = known.len();
    let mut known = known.into_iter();
    for (i, file) in files.iter().enumerate() {
        let first = file.header.first_offset;
        let mut index = known.next().unwrap_or_else(|| SegmentIndex::empty(first));
        if i >= known_count && first != recovered.next_offset {
            let why = format!(
                "it starts at offset {first} where {} follows",
                recovered.next_offset
            );
            return Err(corrupt(&file.path, 0, why));
        }
        let last = i + 1 == files.len();
        if i + 1 >= known_count {
            let below = if i + 1 == known_count { trusted } else { 0 };
            scan(
                options,
                file,
                &mut index,
                last,
                below,
                &mut recovered,
                report,
            )?;
        }
        let segment = Arc::new(Segment {
            first_offset: first,
            created_ms: file.header.created_ms,
            path: file.path.clone(),
            file: Arc::clone(&file.file),
            index: RwLock::new(index),
            damages: RwLock::default(),
        });
        if !last && i + 1 >= known_count {
            recovered.unindexed.push(Arc::clone(&segment));
        }
        recovered.segments.push(segment);
    }
    // What a crash left in the page cache may have been acked to nobody, but is about to be read: it must be durable first.
    let unknown = files.len() > known_count;
    if unknown || report.scanned_bytes > 0 || report.cut_bytes > 0 {
        for file in files.iter().skip(known_count.saturating_sub(1)) {
            file.file.sync_data().map_err(io_at(&file.path))?;
        }
    }
    if unknown {
        sync_names(options)?;
    }
    Ok(recovered)
}

/// Makes durable that the newest segments are there, and the log's folder itself.
fn sync_names(options: &LogOptions) -> Result<(), OpenError> {
    let segments = options.dir.join("segments");
    let above = options.dir.parent();
    let above = above.filter(|path| !path.as_os_str().is_empty());
    for folder in [segments.as_path(), options.dir.as_path()]
        .into_iter()
        .chain(above)
    {
        options.disk.sync_dir(folder).map_err(io_at(folder))?;
    }
    Ok(())
}

fn scan(
    options: &LogOptions,
    file: &SegmentFile,
    index: &mut SegmentIndex,
    last: bool,
    trusted: u64,
    recovered: &mut Recovered,
    report: &mut RecoveryReport,
) -> Result<(), OpenError> {
    let from = index.size;
    let expected = recovered.next_offset.max(file.header.first_offset);
    let mut scanner = Scanner::new(Arc::clone(&file.file), from, file.len, expected);
    while let Some(unit) = scanner.next_unit() {
        match unit {
            Ok(unit) => {
                let began = Began {
                    offset: unit
                        .frames
                        .first()
                        .map_or(Offset(0), |f| Offset(f.header.base_offset)),
                    visible_before: index
                        .visible_end()
                        .map_or(recovered.visible_end, |end| end.max(recovered.visible_end)),
                    segment: file.header.first_offset,
                    position: index.size,
                    holds: false,
                };
                for (i, frame) in unit.frames.iter().enumerate() {
                    let arms = recovered.producers.arms(&frame.header);
                    index.push(
                        &frame.header,
                        options.config.index_interval_bytes,
                        i == 0,
                        arms,
                    );
                }
                if let Some(first) = unit.frames.first() {
                    take_in(recovered, index, first, began, options.now_ms);
                }
            }
            Err(ScanStop::Io(source)) => return Err(io_at(&file.path)(source)),
            Err(ScanStop::Bad(why)) => {
                let at = scanner.position();
                let next = scanner.next_offset();
                if !last || at < trusted {
                    return Err(corrupt(&file.path, at, why));
                }
                if let Some(why) = damage(file, &scanner, &why).map_err(io_at(&file.path))? {
                    return Err(corrupt(&file.path, at, why));
                }
                cut(options, file, at, next, &why, report).map_err(io_at(&file.path))?;
                break;
            }
        }
    }
    report.scanned_bytes += scanner.position() - from;
    recovered.next_offset = scanner.next_offset();
    if let Some(visible_end) = index.visible_end() {
        recovered.visible_end = recovered.visible_end.max(visible_end);
    }
    Ok(())
}

/// Why the place that stopped the scan is not the torn tail of writes that did not finish; `None` where it is.
fn damage(file: &SegmentFile, scanner: &Scanner, why: &str) -> io::Result<Option<String>> {
    let stopped = scanner.stopped();
    let next = scanner.next_offset();
    let (until, why) = if stopped.misplaced {
        (stopped.frame_at + HEADER_LEN as u64, why.to_owned())
    } else {
        let valid = valid_batch_after(&*file.file, stopped.search_from, file.len, next)?;
        let Some(valid) = valid else {
            return Ok(None);
        };
        (
            valid,
            format!("{why}, and a valid batch follows at {valid}"),
        )
    };
    let torn = has_lost_sector(&*file.file, stopped.frame_at, until, next)?;
    Ok((!torn).then_some(why))
}

/// A unit counts by its first frame: what follows a HOLD took no offsets or sequences of its own.
fn take_in(
    recovered: &mut Recovered,
    index: &mut SegmentIndex,
    first: &BatchView,
    began: Began,
    now_ms: i64,
) {
    let header = &first.header;
    let base = Offset(header.base_offset);
    let producers = &mut recovered.producers;
    if let Some(marker) = Marker::read(first) {
        let ended = producers.record_marker(header, marker, base, now_ms);
        index
            .aborted
            .extend(ended.filter(|e| e.aborted).map(AbortedTransaction::from));
    } else {
        let holds = header.is_hidden() && header.records_count > 0;
        let answer = frame::answer(header, &first.records());
        producers.record(header, Began { holds, ..began }, answer, now_ms);
    }
    // What is found is durable.
    producers.transactions.committed_to(Offset(i64::MAX));
    recovered
        .epochs
        .saw(LeaderEpoch(first.header.leader_epoch), base);
}

fn cut(
    options: &LogOptions,
    file: &SegmentFile,
    at: u64,
    next: Offset,
    why: &str,
    report: &mut RecoveryReport,
) -> io::Result<()> {
    let bytes = file.len - at;
    if bytes <= CUT_KEPT_MAX {
        let mut tail = vec![0; usize::try_from(bytes).unwrap_or(0)];
        file.file.read_exact_at(&mut tail, at)?;
        let kept = options.dir.join(format!("meta/cut-{:020}.bytes", next.0));
        // Kept for a person to look at; a full disk must not keep the log closed for it.
        if let Err(cause) = keep(&*options.disk, &kept, &tail) {
            warn!(file = %kept.display(), %cause, "the torn tail could not be kept");
        }
    }
    file.file.set_len(at)?;
    file.file.sync_data()?;
    report.cut_bytes += bytes;
    warn!(segment = %file.path.display(), position = at, cut_bytes = bytes, log_end = next.0, why,
          "torn tail cut");
    Ok(())
}

fn keep(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk.open(path, OpenMode::Create)?;
    file.set_len(0)?;
    file.write_all_at(&mut [IoSlice::new(bytes)], 0)
}

fn corrupt(segment: &Path, position: u64, why: String) -> OpenError {
    OpenError::Corrupt {
        segment: segment.to_path_buf(),
        position,
        why,
    }
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_path_buf();
    move |source| OpenError::Io { path, source }
}
