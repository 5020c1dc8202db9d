//! A small log on a disk in memory, for the targets that damage one.
#![expect(clippy::unwrap_used, reason = "what is made here is right")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use storage::{
    batch::{BatchHeader, BatchView, build_batch},
    disk::{Disk, crash::CrashDisk},
    log::{
        FlushPolicy, Frame, Log, LogConfig, LogOptions, OpenError, ReadUpTo, Syncer, SyncerOptions,
        Unit,
    },
    record::Record,
    units::{LeaderEpoch, Offset, TopicId},
};

const NOW_MS: i64 = 1_800_000_000_000;
static SYNCER: LazyLock<Syncer> =
    LazyLock::new(|| Syncer::start(SyncerOptions::default()).unwrap());

/// The files of a log of several segments, checkpointed before its last batches, in the order of their names.
pub static FILES: LazyLock<BTreeMap<PathBuf, Vec<u8>>> = LazyLock::new(|| {
    let disk = CrashDisk::new();
    disk.create_dir_all(Path::new("/data")).unwrap();
    let log = open(&disk).unwrap();
    for i in 0..12 {
        if i == 9 {
            log.checkpoint(NOW_MS).unwrap();
        }
        append(&log, i);
    }
    disk.files()
});

/// Opens the log; small segments, so that there are several.
pub fn open(disk: &CrashDisk) -> Result<Arc<Log>, OpenError> {
    let options = LogOptions {
        dir: PathBuf::from("/data/t-0"),
        topic_id: TopicId::from_u128(0x7e57),
        partition: 0,
        config: LogConfig {
            flush_policy: FlushPolicy::Os,
            segment_bytes: 1024,
            index_interval_bytes: 128,
            ..LogConfig::default()
        },
        disk: Arc::new(disk.clone()),
        syncer: SYNCER.clone(),
        now_ms: NOW_MS,
    };
    Log::open(options).map(|(log, _report)| log)
}

fn append(log: &Log, number: i64) {
    let mut records = Vec::new();
    let count: i32 = 3;
    for delta in 0..count {
        let record = Record {
            offset_delta: delta,
            value: Some(Bytes::from(vec![b'x'; 60])),
            ..Record::default()
        };
        record.encode(&mut records);
    }
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: NOW_MS + number,
        max_timestamp: NOW_MS + number,
        producer_id: 7,
        producer_epoch: 0,
        base_sequence: i32::try_from(number).unwrap() * count,
        records_count: count,
    };
    let batch = BatchView::parse(build_batch(header, &records)).unwrap();
    let unit = Unit {
        frames: vec![Frame::from_batch(&batch)],
    };
    log.append(unit, LeaderEpoch(1), NOW_MS).unwrap();
}

/// A disk with these files.
pub fn disk_of(files: &BTreeMap<PathBuf, Vec<u8>>) -> CrashDisk {
    let disk = CrashDisk::new();
    for (path, bytes) in files {
        disk.create_dir_all(path.parent().unwrap()).unwrap();
        disk.open(path, storage::disk::OpenMode::Create).unwrap();
        disk.set_bytes(path, bytes).unwrap();
    }
    disk
}

/// Opens the log and uses it: whatever was damaged, this ends, with an error or with a log that can be read and written.
pub fn use_log(files: &BTreeMap<PathBuf, Vec<u8>>) {
    let disk = disk_of(files);
    let Ok(log) = open(&disk) else { return };
    let offsets = log.offsets();
    for upto in [ReadUpTo::Visible, ReadUpTo::All] {
        let mut at = offsets.log_start;
        while at < offsets.log_end {
            match log.read(at, 4096, upto, true) {
                Ok(found) if found.first_offset.is_some() => {
                    at = Offset(found.first_offset.unwrap().0.max(at.0) + 1);
                }
                _ => break,
            }
        }
    }
    let _ = (log.size_bytes(), log.producers());
    let end = log.offsets().log_end;
    if end.0 < i64::MAX - 100 {
        append_any(&log);
        let again = open(&disk.kill()).expect("what was opened and appended to opens again");
        assert!(again.offsets().log_end >= end);
    }
}

/// The producer may be known with another sequence: that is an answer, too.
fn append_any(log: &Log) {
    let mut records = Vec::new();
    Record::default().encode(&mut records);
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        leader_epoch: 0,
        magic: 2,
        crc: 0,
        attributes: 0,
        last_offset_delta: 0,
        base_timestamp: NOW_MS,
        max_timestamp: NOW_MS,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records_count: 1,
    };
    let batch = BatchView::parse(build_batch(header, &records)).unwrap();
    let unit = Unit {
        frames: vec![Frame::from_batch(&batch)],
    };
    let _ = log.append(unit, LeaderEpoch(1), NOW_MS);
}

/// CRC32C, bit by bit: the files are small.
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0x82f6_3b78
            } else {
                crc >> 1
            };
        }
    }
    !crc
}
