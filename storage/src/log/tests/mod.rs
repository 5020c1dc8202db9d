//! Tests of the log as a whole, on a disk that knows what a power loss would leave ([`crate::disk::crash`]).
//!
//! Most logs here have a group commit without threads: a test says when a sync happens ([`Log::sync_round`]), so that every run
//! does the same things in the same order.

mod append_and_read;
mod append_times;
mod compaction;
mod crash_points;
mod damage;
mod derived;
mod failing_disk;
mod fixture;
mod group_commit;
mod journaled;
mod model;
mod retention;
mod scrub;
mod segments;
mod synced_together;
mod torn_tail;
mod transactions;
mod workload;

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{
    Appended, FlushPolicy, Frame, Log, LogConfig, LogOptions, OpenError, ReadUpTo, RecoveryReport,
    Syncer, SyncerOptions, Unit,
};
use crate::{
    batch::{ATTR_FIRE, ATTR_HIDDEN, BatchHeader, BatchView, seal_header},
    disk::{Disk, crash::CrashDisk},
    frame::{CancelAction, CancelEntry, CancelFrame, Hold, Holds},
    record::{Record, RecordIter, RecordRef},
    units::{DueTime, LeaderEpoch, Offset, ScheduleId, TimestampMs, TopicId},
};
use std::sync::Arc;

const TOPIC: TopicId = TopicId::from_u128(0x7e57);
const EPOCH: LeaderEpoch = LeaderEpoch(5);
/// Wall time of everything that does not test time.
const NOW_MS: i64 = 1_000_000;

fn dir() -> PathBuf {
    PathBuf::from("/data/t-0")
}

fn segment_path(first: i64) -> PathBuf {
    dir().join(format!("segments/{first:020}.log"))
}

/// An empty disk with the durable folder that partitions lie in.
fn empty_disk() -> CrashDisk {
    let disk = CrashDisk::new();
    disk.create_dir_all(Path::new("/data")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

fn options(disk: &CrashDisk, config: LogConfig) -> LogOptions {
    LogOptions {
        dir: dir(),
        topic_id: TOPIC,
        partition: 0,
        config,
        disk: Arc::new(disk.clone()),
        syncer: Syncer::idle(),
        now_ms: NOW_MS,
    }
}

fn try_open(disk: &CrashDisk, config: LogConfig) -> Result<(Arc<Log>, RecoveryReport), OpenError> {
    Log::open(options(disk, config))
}

/// A log of a test that does not test opening: what is appended is committed at once.
fn open(disk: &CrashDisk) -> Arc<Log> {
    try_open(disk, at_once()).unwrap().0
}

fn at_once() -> LogConfig {
    LogConfig {
        flush_policy: FlushPolicy::Os,
        ..LogConfig::default()
    }
}

/// Small segments, committed when synced.
fn small_segments() -> LogConfig {
    LogConfig {
        segment_bytes: 1024,
        index_interval_bytes: 256,
        ..LogConfig::default()
    }
}

fn header(count: usize, timestamp: i64) -> BatchHeader {
    let count = i32::try_from(count).unwrap();
    BatchHeader {
        base_offset: 0,
        batch_length: 0,
        leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: timestamp,
        max_timestamp: timestamp,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records_count: count,
    }
}

fn sealed(header: BatchHeader, body: Bytes) -> Frame {
    Frame {
        header: seal_header(header, &body),
        body,
    }
}

fn record(offset_delta: i32, value: &str) -> Record {
    Record {
        offset_delta,
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
        ..Record::default()
    }
}

/// A DATA frame of those of the produced batch's records that are left.
fn data(original: BatchHeader, left: &[(i32, String)]) -> Frame {
    let mut body = Vec::new();
    for (delta, value) in left {
        record(*delta, value).encode(&mut body);
    }
    let header = BatchHeader {
        last_offset_delta: left.last().unwrap().0,
        records_count: i32::try_from(left.len()).unwrap(),
        ..original
    };
    sealed(header, body.into())
}

fn numbered(values: &[&str]) -> Vec<(i32, String)> {
    (0..).zip(values.iter().map(ToString::to_string)).collect()
}

/// One batch, all of it visible.
fn plain(timestamp: i64, values: &[&str]) -> Unit {
    Unit {
        frames: vec![data(header(values.len(), timestamp), &numbered(values))],
    }
}

/// A batch of an idempotent producer.
fn idempotent(producer_id: i64, sequence: i32, values: &[&str]) -> Unit {
    let mut unit = plain(7, values);
    for frame in &mut unit.frames {
        frame.header.producer_id = producer_id;
        frame.header.producer_epoch = 0;
        frame.header.base_sequence = sequence;
        frame.header = seal_header(frame.header, &frame.body);
    }
    unit
}

fn holds_of(list: &[(i32, String)]) -> Holds {
    let mut holds = Holds::default();
    for (delta, value) in list {
        let mut bytes = Vec::new();
        record(*delta, value).encode(&mut bytes);
        let hold = Hold {
            offset_delta: *delta,
            due: DueTime(9_000 + i64::from(*delta)),
            created: TimestampMs(7),
            schedule_key: None,
        };
        holds.push(hold, &RecordRef::read(&bytes).unwrap(), None);
    }
    holds
}

/// A produced batch, the records at `held` of which are held: a HOLD, then a CANCEL if asked for, then what is left.
fn held(original: BatchHeader, values: &[&str], held: &[i32], cancel: Option<ScheduleId>) -> Unit {
    let (list, left): (Vec<_>, Vec<_>) = numbered(values)
        .into_iter()
        .partition(|(delta, _)| held.contains(delta));
    let mut following = Vec::new();
    following.extend(cancel.map(|id| cancel_frame(id, original)));
    if !left.is_empty() {
        following.push(data(original, &left));
    }
    let sizes: Vec<usize> = following.iter().map(|f| f.header.total_len()).collect();
    let (header, body) = holds_of(&list).encode(&original, &sizes, None);
    let mut frames = vec![Frame { header, body }];
    frames.extend(following);
    Unit { frames }
}

fn cancel_frame(id: ScheduleId, original: BatchHeader) -> Frame {
    let body = CancelFrame {
        request_id: Bytes::from_static(b"r"),
        entries: vec![CancelEntry {
            id,
            due: None,
            action: CancelAction::Cancelled,
        }],
    }
    .encode();
    let header = BatchHeader {
        attributes: ATTR_HIDDEN,
        last_offset_delta: 0,
        records_count: 1,
        ..original
    };
    sealed(header, body)
}

/// A CANCEL that stands alone: it takes one offset.
fn cancel(id: i64) -> Unit {
    Unit {
        frames: vec![cancel_frame(ScheduleId(id), header(1, 7))],
    }
}

fn fire(timestamp: i64, values: &[&str]) -> Unit {
    let header = BatchHeader {
        attributes: ATTR_FIRE,
        ..header(values.len(), timestamp)
    };
    Unit {
        frames: vec![data(header, &numbered(values))],
    }
}

/// Appends; the base offset.
fn append(log: &Log, unit: Unit) -> i64 {
    match log.append(unit, EPOCH, NOW_MS).unwrap() {
        Appended::New { base_offset, .. } => base_offset.0,
        duplicate @ Appended::Duplicate { .. } => panic!("{duplicate:?}"),
    }
}

/// The bytes that a unit has in the log at `base`.
fn stamped(unit: &Unit, base: i64) -> Vec<Bytes> {
    stamped_by(unit, base, EPOCH)
}

fn stamped_by(unit: &Unit, base: i64, epoch: LeaderEpoch) -> Vec<Bytes> {
    unit.frames
        .iter()
        .map(|frame| {
            let header = BatchHeader {
                base_offset: base,
                leader_epoch: epoch.0,
                ..frame.header
            };
            [&header.encode()[..], &frame.body].concat().into()
        })
        .collect()
}

/// One read's bytes.
fn read_bytes(log: &Log, from: i64, max_bytes: usize, upto: ReadUpTo) -> Bytes {
    let result = log.read(Offset(from), max_bytes, upto, true).unwrap();
    let mut bytes = Vec::new();
    for chunk in &result.chunks {
        match chunk {
            super::Chunk::Bytes(b) => bytes.extend_from_slice(b),
            super::Chunk::File(slice) => bytes.extend_from_slice(&slice.read().unwrap()),
        }
    }
    assert_eq!(bytes.len(), result.bytes);
    bytes.into()
}

/// Batches in those bytes; a last one that is cut off is left out.
fn batches(mut bytes: Bytes) -> Vec<BatchView> {
    let mut found = Vec::new();
    while let Ok(header) = BatchHeader::parse(&bytes) {
        if header.total_len() > bytes.len() {
            break;
        }
        let batch = BatchView::parse(bytes.split_to(header.total_len())).unwrap();
        assert!(batch.verify_crc(), "a damaged batch was served: {header:?}");
        found.push(batch);
    }
    found
}

/// Everything from `from` on, by as many reads as it takes.
fn read_from(log: &Log, from: i64, upto: ReadUpTo) -> Vec<BatchView> {
    let mut found: Vec<BatchView> = Vec::new();
    let mut from = from;
    loop {
        let some = batches(read_bytes(log, from, 1 << 20, upto));
        let Some(last) = some.iter().map(|b| b.header.last_offset()).max() else {
            return found;
        };
        from = last + 1;
        found.extend(some);
    }
}

/// Bytes of all frames of the log, committed ones.
fn all_frames(log: &Log) -> Vec<Bytes> {
    let start = log.offsets().log_start.0;
    let frames = read_from(log, start, ReadUpTo::All);
    frames.into_iter().map(|b| b.bytes).collect()
}

/// Visible records with their offsets.
fn records_of(batches: &[BatchView]) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    for batch in batches {
        for record in RecordIter::new(batch.records(), batch.header.records_count) {
            let record = record.unwrap();
            let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
            found.push((
                batch.header.base_offset + i64::from(record.offset_delta),
                value,
            ));
        }
    }
    found
}

fn visible_records(log: &Log, from: i64) -> Vec<(i64, String)> {
    records_of(&read_from(log, from, ReadUpTo::Visible))
}

/// What a log tells of itself: log start, visible end, high watermark, log end.
fn ends(log: &Log) -> [i64; 4] {
    let o = log.offsets();
    [o.log_start, o.visible_end, o.high_watermark, o.log_end].map(|o| o.0)
}

/// Everything that a log derives from its bytes, and the bytes.
#[derive(Debug, PartialEq)]
struct Told {
    ends: [i64; 4],
    frames: Vec<Bytes>,
    visible: Vec<(i64, String)>,
    /// Base offsets of hidden and FIRE frames.
    special: Vec<i64>,
    /// What ends where, for each leader epoch up to 12.
    epochs: Vec<(i32, i64)>,
    /// For each time up to 20: the first batch from then on.
    times: Vec<Option<i64>>,
    max_timestamp: Option<i64>,
    /// Without the time of each producer's last batch: a scan does not know it.
    producers: serde_json::Value,
}

/// Opens a copy of the disk and asks for everything.
fn told(disk: &CrashDisk, config: LogConfig) -> (Told, RecoveryReport) {
    let disk = disk.settled();
    let (log, report) = try_open(&disk, config).unwrap();
    let base = |batch: Option<BatchView>| batch.map(|b| b.header.base_offset);
    let mut special = Vec::new();
    log.scan_special(Offset(0), &mut |batch| {
        special.push(batch.header.base_offset);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let told = Told {
        ends: ends(&log),
        frames: all_frames(&log),
        visible: visible_records(&log, log.offsets().log_start.0),
        special,
        epochs: (0..12)
            .map(|e| log.end_offset_for_epoch(LeaderEpoch(e)))
            .map(|(e, end)| (e.0, end.0))
            .collect(),
        times: (0..20)
            .map(|t| base(log.first_batch_at_or_after_time(t, Offset(0)).unwrap()))
            .collect(),
        max_timestamp: base(log.max_timestamp().unwrap()),
        producers: producers(&disk, &log),
    };
    (told, report)
}

/// The producers' state, as a checkpoint writes it.
fn producers(disk: &CrashDisk, log: &Log) -> serde_json::Value {
    log.checkpoint(NOW_MS).unwrap();
    let bytes = disk.bytes(&dir().join("meta/producers.snapshot")).unwrap();
    let snapshot: serde_json::Value = crate::sealed::unseal(&bytes).unwrap();
    let mut producers = snapshot["producers"]["by_id"].clone();
    for (_, producer) in producers.as_object_mut().unwrap() {
        producer.as_object_mut().unwrap().remove("last_ms").unwrap();
    }
    producers
}

/// The same disk, but the log has to be read from its first byte.
fn without_checkpoint(disk: &CrashDisk) -> CrashDisk {
    let disk = disk.settled();
    // It may be missing already.
    let _ = disk.lose(&dir().join("meta/checkpoint.json")).is_err();
    disk
}
