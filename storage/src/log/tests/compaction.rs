//! Compaction: the last record of each key stays where it was, through crashes at any moment.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    io,
};

use proptest::prelude::*;

use super::*;
use crate::{
    disk::DiskFile,
    log::{Around, Compacted, CompactionRules},
};

const DAY_MS: i64 = 86_400_000;

/// Uncompressed batches; these ids are pending; bytes until it is given up.
#[derive(Default)]
pub(super) struct Here {
    pending: BTreeSet<i64>,
    bytes_max: Option<usize>,
    bytes: RefCell<usize>,
}

impl Around for Here {
    fn plain(&self, batch: &BatchView) -> io::Result<Bytes> {
        Ok(batch.records())
    }

    fn packed(&self, _codec: u8, plain: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(plain)
    }

    fn is_pending(&self, held: &[(ScheduleId, DueTime)]) -> io::Result<bool> {
        Ok(held.iter().any(|(id, _)| self.pending.contains(&id.0)))
    }

    fn before_swap(&self) -> io::Result<()> {
        Ok(())
    }

    fn pace(&self, bytes: usize) -> bool {
        *self.bytes.borrow_mut() += bytes;
        self.bytes_max.is_none_or(|max| *self.bytes.borrow() <= max)
    }
}

pub(super) const RULES: CompactionRules = CompactionRules {
    min_dirty_ratio: 0.0,
    min_lag_ms: 0,
    max_lag_ms: i64::MAX,
    delete_retention_ms: DAY_MS,
    segment_bytes: 1024,
    index_interval_bytes: 256,
    file_delete_delay_ms: 0,
    keys_max: 1_000_000,
};

fn config() -> LogConfig {
    LogConfig {
        flush_policy: FlushPolicy::Os,
        ..small_segments()
    }
}

fn opened(disk: &CrashDisk) -> Arc<Log> {
    try_open(disk, config()).unwrap().0
}

/// A batch of keys and values; no value is a tombstone.
fn keyed(list: &[(&str, Option<&str>)]) -> Unit {
    keyed_by(-1, -1, list)
}

fn keyed_by(producer_id: i64, sequence: i32, list: &[(&str, Option<&str>)]) -> Unit {
    let mut body = Vec::new();
    for (delta, (key, value)) in (0i32..).zip(list) {
        Record {
            offset_delta: delta,
            timestamp_delta: i64::from(delta),
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value: value.map(|v| Bytes::copy_from_slice(v.as_bytes())),
            ..Record::default()
        }
        .encode(&mut body);
    }
    let mut header = header(list.len(), NOW_MS);
    header.max_timestamp = NOW_MS + i64::try_from(list.len()).unwrap() - 1;
    if producer_id >= 0 {
        header.producer_id = producer_id;
        header.producer_epoch = 0;
        header.base_sequence = sequence;
    }
    Unit {
        frames: vec![sealed(header, body.into())],
    }
}

/// A record as a consumer gets it: offset, timestamp, key, value.
type Read = (i64, i64, String, Option<String>);

fn read_all(log: &Log) -> Vec<Read> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = Vec::new();
    for batch in read_from(log, log.offsets().log_start.0, ReadUpTo::Visible) {
        assert!(
            batch.header.records_count > 0,
            "clients hang on empty batches"
        );
        for record in RecordIter::new(batch.records(), batch.header.records_count) {
            let record = record.unwrap();
            found.push((
                batch.header.base_offset + i64::from(record.offset_delta),
                batch.header.base_timestamp + record.timestamp_delta,
                record.key.as_ref().map(text).unwrap_or_default(),
                record.value.as_ref().map(text),
            ));
        }
        let last = found.last().map(|(offset, ..)| *offset);
        assert_eq!(
            last,
            Some(batch.header.last_offset()),
            "a batch reaches over a hole"
        );
    }
    found
}

fn last_of_each(records: &[Read]) -> BTreeMap<String, Read> {
    records.iter().map(|r| (r.2.clone(), r.clone())).collect()
}

fn compact(log: &Log, now_ms: i64) -> Compacted {
    log.compact(&RULES, now_ms, &Here::default())
        .unwrap()
        .unwrap_or_default()
}

/// Thirty keys, twenty times, in segments of a few batches.
fn filled(log: &Log) {
    for round in 0..20 {
        for key in 0..30 {
            let (key, value) = (format!("k{key}"), format!("v{round}"));
            append(
                log,
                keyed(&[(&key, Some(&value)), ("always", Some(&value))]),
            );
        }
    }
}

#[test]
fn the_last_record_of_each_key_stays_where_it_was() {
    let disk = empty_disk();
    let log = opened(&disk);
    filled(&log);
    let before = read_all(&log);
    let ends_before = ends(&log);
    let names = |disk: &CrashDisk| disk.list(&dir().join("segments")).unwrap().len();
    let files = names(&disk);
    let compacted = compact(&log, NOW_MS);
    assert!(
        compacted.bytes_after * 4 < compacted.bytes_before,
        "{compacted:?}"
    );
    let after = read_all(&log);
    assert!(after.len() < 60, "{}", after.len());
    assert_eq!(last_of_each(&after), last_of_each(&before));
    assert!(after.iter().all(|record| before.contains(record)));
    assert_eq!(ends(&log), ends_before);
    // They are put together by the size that they had; the next pass finds them small.
    assert_eq!(names(&disk), files);
    assert_eq!(log.dirt(&RULES, NOW_MS).dirty_bytes, 0);
    assert_eq!(log.compact(&RULES, NOW_MS, &Here::default()).unwrap(), None);
    // The same after a start, with and without the checkpoint, and another pass changes nothing.
    for disk in [disk.settled(), without_checkpoint(&disk)] {
        let log = opened(&disk);
        assert_eq!((read_all(&log), ends(&log)), (after.clone(), ends_before));
        filled(&log);
        let before = read_all(&log);
        compact(&log, NOW_MS);
        assert_eq!(last_of_each(&read_all(&log)), last_of_each(&before));
        assert!(names(&disk) < files * 3 / 2, "{} of {files}", names(&disk));
    }
}

#[test]
fn tombstones_are_kept_for_their_time() {
    let log = opened(&empty_disk());
    append(&log, keyed(&[("a", Some("1")), ("b", Some("1"))]));
    append(&log, keyed(&[("a", None), ("c", Some("1"))]));
    filled(&log);
    compact(&log, NOW_MS);
    let tombstones = |log: &Log| -> Vec<Read> {
        let all = read_all(log).into_iter();
        all.filter(|(.., value)| value.is_none()).collect()
    };
    assert_eq!(tombstones(&log), [(2, NOW_MS, "a".to_owned(), None)]);
    filled(&log);
    compact(&log, NOW_MS + DAY_MS - 1);
    assert_eq!(tombstones(&log).len(), 1);
    filled(&log);
    compact(&log, NOW_MS + DAY_MS);
    assert_eq!(tombstones(&log), []);
    let left = read_all(&log);
    assert!(
        left.iter()
            .any(|(offset, .., value)| (*offset, value.as_deref()) == (3, Some("1")))
    );
}

#[test]
fn a_producers_sequences_go_on() {
    let disk = empty_disk();
    let log = opened(&disk);
    append(
        &log,
        keyed_by(
            7,
            0,
            &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))],
        ),
    );
    append(&log, keyed_by(8, 0, &[("a", Some("3"))]));
    append(&log, keyed_by(7, 3, &[("b", Some("2")), ("a", Some("4"))]));
    filled(&log);
    append(&log, keyed(&[("a", Some("5")), ("b", Some("3"))]));
    filled(&log);
    compact(&log, NOW_MS);
    // Also where the producers' state has to be read from the log.
    for disk in [disk.settled(), without_checkpoint(&disk)] {
        let log = opened(&disk);
        append(&log, keyed_by(7, 5, &[("a", Some("6"))]));
        append(&log, keyed_by(8, 1, &[("a", Some("7"))]));
        let again = log.append(
            keyed_by(7, 3, &[("b", Some("2")), ("a", Some("4"))]),
            EPOCH,
            NOW_MS,
        );
        assert!(matches!(again, Ok(Appended::Duplicate { .. })), "{again:?}");
        let gap = log.append(keyed_by(7, 9, &[("a", Some("x"))]), EPOCH, NOW_MS);
        assert!(gap.is_err(), "{gap:?}");
    }
}

/// What waits stays, with what settles others; what does not wait any more leaves its offsets.
#[test]
fn held_records_that_wait_stay() {
    let disk = empty_disk();
    let log = opened(&disk);
    let waits = append(&log, held(header(2, 7), &["waits", "seen"], &[0], None));
    let settled = append(&log, held(header(1, 7), &["settled"], &[0], None));
    append(&log, cancel(settled));
    append(&log, fire(9, &["fired"]));
    filled(&log);
    let here = Here {
        pending: [waits].into(),
        ..Here::default()
    };
    log.compact(&RULES, NOW_MS, &here).unwrap().unwrap();
    for log in [
        Arc::clone(&log),
        opened(&disk.settled()),
        opened(&without_checkpoint(&disk)),
    ] {
        let hold = |at: i64| {
            let batch = log.batch_at(Offset(at)).unwrap().unwrap();
            crate::frame::HoldFrame::parse(&batch).unwrap().unwrap()
        };
        assert_eq!(hold(waits).entries.len(), 1);
        assert_eq!(
            hold(waits).record(0).unwrap().value,
            Some(Bytes::from("waits"))
        );
        assert_eq!(hold(settled).entries.len(), 0);
        let mut special = Vec::new();
        log.scan_special(Offset(0), &mut |batch| {
            special.push((batch.header.base_offset, batch.header.is_fire()));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
        assert!(
            special.contains(&(settled + 1, false)),
            "the CANCEL: {special:?}"
        );
        assert!(
            special.contains(&(settled + 2, true)),
            "the FIRE: {special:?}"
        );
    }
}

#[test]
fn memory_is_bounded_and_passes_go_on_where_the_last_ended() {
    let log = opened(&empty_disk());
    for key in 0..300 {
        append(
            &log,
            keyed(&[(&format!("k{key}"), Some("old")), ("x", Some("y"))]),
        );
    }
    for key in 0..300 {
        append(
            &log,
            keyed(&[(&format!("k{key}"), Some("new")), ("x", Some("y"))]),
        );
    }
    let before = last_of_each(&read_all(&log));
    let rules = CompactionRules {
        keys_max: 100,
        ..RULES
    };
    let mut passes = 0;
    while let Some(compacted) = log.compact(&rules, NOW_MS, &Here::default()).unwrap() {
        assert!(compacted.keys <= 101);
        passes += 1;
        assert!(passes < 20);
    }
    assert!(passes >= 4, "{passes}");
    let after = read_all(&log);
    assert_eq!(last_of_each(&after), before);
    assert!(after.len() < 420, "{}", after.len());
}

#[test]
fn young_records_and_small_shares_are_let_be() {
    let log = opened(&empty_disk());
    filled(&log);
    let rules = CompactionRules {
        min_lag_ms: 10_000,
        ..RULES
    };
    assert_eq!(
        log.compact(&rules, NOW_MS + 5_000, &Here::default())
            .unwrap(),
        None
    );
    assert!(
        log.compact(&rules, NOW_MS + 20_000, &Here::default())
            .unwrap()
            .is_some()
    );
    append(&log, keyed(&[("a", Some("b"))]));
    let rules = CompactionRules {
        min_dirty_ratio: 0.5,
        max_lag_ms: 60_000,
        ..RULES
    };
    let log = opened(&empty_disk());
    filled(&log);
    compact(&log, NOW_MS);
    for key in 0..20 {
        append(&log, keyed(&[(&format!("new{key}"), Some("b"))]));
    }
    let dirt = log.dirt(&rules, NOW_MS);
    assert!(dirt.dirty_bytes > 0 && dirt.clean_bytes > 0, "{dirt:?}");
    assert!(
        log.dirt(&rules, NOW_MS + 61_000).is_enough(&rules),
        "it waits too long"
    );
}

#[test]
fn a_pass_that_is_given_up_changes_nothing() {
    let disk = empty_disk();
    let log = opened(&disk);
    filled(&log);
    let before = read_all(&log);
    for bytes_max in [0, 20_000] {
        let here = Here {
            bytes_max: Some(bytes_max),
            ..Here::default()
        };
        assert_eq!(log.compact(&RULES, NOW_MS, &here).unwrap(), None);
    }
    let after = read_all(&log);
    assert_eq!(last_of_each(&after), last_of_each(&before));
    compact(&log, NOW_MS);
    assert!(read_all(&log).len() < 60);
    assert_eq!(
        last_of_each(&read_all(&opened(&disk.settled()))),
        last_of_each(&before)
    );
}

/// What a read has in hand outlives the segment that it is of.
#[test]
fn a_read_under_way_keeps_its_bytes() {
    let log = opened(&empty_disk());
    filled(&log);
    let read = log
        .read(Offset(0), 1 << 20, ReadUpTo::Visible, true)
        .unwrap();
    let bytes = |chunks: &[crate::log::Chunk]| -> Vec<u8> {
        let mut all = Vec::new();
        for chunk in chunks {
            match chunk {
                crate::log::Chunk::Bytes(b) => all.extend_from_slice(b),
                crate::log::Chunk::File(slice) => all.extend_from_slice(&slice.read().unwrap()),
            }
        }
        all
    };
    let before = bytes(&read.chunks);
    compact(&log, NOW_MS);
    assert_eq!(bytes(&read.chunks), before);
}

/// The disk stops at each of its changes during a pass: a start finds all of it, before or after.
#[test]
fn stopped_at_any_change_of_the_disk() {
    let base = empty_disk();
    let log = opened(&base);
    let some = |log: &Log| {
        for n in 0..30 {
            let (key, value) = (format!("k{}", n % 3), format!("v{n}"));
            append(
                log,
                keyed(&[(&key, Some(&value)), ("always", Some(&value))]),
            );
        }
    };
    some(&log);
    // So that segments are put together.
    compact(&log, NOW_MS);
    some(&log);
    assert!(log.sync());
    log.checkpoint(NOW_MS).unwrap();
    let (before, ends_before) = (read_all(&log), ends(&log));
    drop(log);
    let base = base.settled();
    let run = |disk: &CrashDisk| {
        let log = opened(disk);
        let from = disk.counters().changes;
        let _ = log.compact(&RULES, NOW_MS, &Here::default());
        let _ = log.checkpoint(NOW_MS);
        disk.counters().changes - from
    };
    let changes = run(&base.settled());
    assert!(changes > 30, "{changes}");
    let mut compacted = 0;
    for stop in 0..changes {
        let disk = base.settled();
        let log = opened(&disk);
        disk.stop_after(stop);
        let _ = log.compact(&RULES, NOW_MS, &Here::default());
        let _ = log.checkpoint(NOW_MS);
        for left in [disk.kill(), disk.crash(0), disk.crash(stop + 1)] {
            let log = opened(&left);
            let after = read_all(&log);
            assert_eq!(
                last_of_each(&after),
                last_of_each(&before),
                "stopped after {stop}"
            );
            assert!(
                after.iter().all(|record| before.contains(record)),
                "stopped after {stop}"
            );
            assert_eq!(ends(&log), ends_before, "stopped after {stop}");
            compacted += usize::from(after.len() < before.len());
            compact(&log, NOW_MS);
            assert!(read_all(&log).len() < 30, "stopped after {stop}");
            let names = left.list(&dir().join("segments")).unwrap();
            assert!(
                names.iter().all(|(name, _)| !name.ends_with(".cleaned")),
                "{names:?}"
            );
        }
    }
    assert!(compacted > 20, "{compacted}");
}

/// Bytes of a file that a log has: the journal must not write over what compaction wrote.
#[test]
fn a_compacted_segment_says_that_it_is_one() {
    let disk = empty_disk();
    let log = opened(&disk);
    filled(&log);
    compact(&log, NOW_MS);
    let file = disk
        .open(&segment_path(0), crate::disk::OpenMode::ReadWrite)
        .unwrap();
    let mut bytes = [0; crate::log::SEGMENT_HEADER_LEN];
    DiskFile::read_exact_at(&*file, &mut bytes, 0).unwrap();
    let header = crate::log::SegmentHeader::parse(&bytes).unwrap();
    assert_eq!(header.rewritten, 1);
}

#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u8, Option<u8>)>),
    Idempotent(u8, Vec<(u8, Option<u8>)>),
    Hold(u8),
    Settle(usize),
    Compact(usize),
    Checkpoint,
    Kill,
    LoseCheckpoint,
    Retain,
}

fn step() -> impl Strategy<Value = Step> {
    let records = || {
        proptest::collection::vec(
            (0..12u8, proptest::option::weighted(0.8, any::<u8>())),
            1..6,
        )
    };
    prop_oneof![
        20 => records().prop_map(Step::Append),
        8 => (0..3u8, records()).prop_map(|(id, list)| Step::Idempotent(id, list)),
        4 => any::<u8>().prop_map(Step::Hold),
        2 => any::<usize>().prop_map(Step::Settle),
        4 => prop_oneof![Just(1_000_000usize), 1..20usize].prop_map(Step::Compact),
        2 => Just(Step::Checkpoint),
        2 => Just(Step::Kill),
        2 => Just(Step::LoseCheckpoint),
        1 => Just(Step::Retain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Beside a list of what was appended.
    #[test]
    fn a_reader_of_any_offset_learns_the_last_value_of_each_key(steps in proptest::collection::vec(step(), 1..120)) {
        let mut disk = empty_disk();
        let mut log = opened(&disk);
        let mut written: Vec<Read> = Vec::new();
        let mut sequences: BTreeMap<u8, i32> = BTreeMap::new();
        let mut waits: BTreeMap<i64, String> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Append(list) | Step::Idempotent(_, list) if list.is_empty() => {}
                Step::Append(list) => {
                    let list: Vec<_> = list.into_iter().map(|(k, v)| (format!("k{k}"), v.map(|v| v.to_string()))).collect();
                    let named: Vec<_> = list.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
                    let base = append(&log, keyed(&named));
                    written.extend((base..).zip(list).map(|(at, (k, v))| (at, NOW_MS + at - base, k, v)));
                }
                Step::Idempotent(id, list) => {
                    let list: Vec<_> = list.into_iter().map(|(k, v)| (format!("k{k}"), v.map(|v| v.to_string()))).collect();
                    let named: Vec<_> = list.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
                    let next = sequences.entry(id).or_default();
                    let base = append(&log, keyed_by(i64::from(id), *next, &named));
                    *next += i32::try_from(list.len()).unwrap();
                    written.extend((base..).zip(list).map(|(at, (k, v))| (at, NOW_MS + at - base, k, v)));
                }
                Step::Hold(value) => {
                    let value = value.to_string();
                    let at = append(&log, held(header(1, NOW_MS), &[&value], &[0], None));
                    waits.insert(at, value);
                }
                Step::Settle(n) => {
                    if let Some(at) = n.checked_rem(waits.len()).and_then(|n| waits.keys().nth(n).copied()) {
                        append(&log, cancel(at));
                        waits.remove(&at);
                    }
                }
                Step::Compact(keys_max) => {
                    let here = Here { pending: waits.keys().copied().collect(), ..Here::default() };
                    let rules = CompactionRules { keys_max, ..RULES };
                    log.compact(&rules, NOW_MS, &here).unwrap();
                }
                Step::Checkpoint => log.checkpoint(NOW_MS).unwrap(),
                Step::Kill => {
                    drop(log);
                    disk = disk.kill();
                    log = opened(&disk);
                }
                Step::LoseCheckpoint => {
                    drop(log);
                    disk = without_checkpoint(&disk);
                    log = opened(&disk);
                }
                Step::Retain => {
                    let rules = super::super::RetentionRules { retention_ms: None, retention_bytes: None, file_delete_delay_ms: 0 };
                    log.retain(&rules, NOW_MS, &|| Ok(waits.keys().next().copied().map(Offset))).unwrap();
                }
            }
            let read = read_all(&log);
            let offsets: Vec<_> = read.iter().map(|r| r.0).collect();
            prop_assert!(offsets.is_sorted());
            for record in &read {
                prop_assert!(written.contains(record), "{:?} was never written", record);
            }
            prop_assert_eq!(last_of_each(&read), last_of_each(&written));
            for (at, value) in &waits {
                let batch = log.batch_at(Offset(*at)).unwrap().unwrap();
                let hold = crate::frame::HoldFrame::parse(&batch).unwrap().unwrap();
                let record = hold.record(0).unwrap();
                prop_assert_eq!(record.value, Some(Bytes::from(value.clone())));
            }
        }
    }
}
