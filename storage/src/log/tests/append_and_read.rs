//! What is appended is what is read.

use super::*;
use crate::{frame::HoldFrame, log::ReadError};

/// Three units, one with a hold in the middle and at the end: the answered offsets, the ends, and the records.
#[test]
fn offsets_follow_one_another_and_a_hold_leaves_a_hole() {
    let log = open(&empty_disk());
    assert_eq!(append(&log, plain(1, &["a", "b"])), 0);
    let unit = held(header(4, 2), &["c", "held", "d", "held"], &[1, 3], None);
    assert_eq!(append(&log, unit), 2);
    assert_eq!(ends(&log), [0, 5, 6, 6], "the last visible record is at 4");
    assert_eq!(append(&log, plain(3, &["e"])), 6);
    assert_eq!(ends(&log), [0, 7, 7, 7]);
    let expected: Vec<_> = [(0, "a"), (1, "b"), (2, "c"), (4, "d"), (6, "e")]
        .map(|(o, v)| (o, v.to_owned()))
        .into();
    assert_eq!(visible_records(&log, 0), expected);
}

/// The same bytes as appended, but for base offset and leader epoch; hidden frames for the broker, none for a consumer.
#[test]
fn a_consumer_gets_the_bytes_without_hidden_frames_and_the_broker_gets_all() {
    let log = open(&empty_disk());
    let units = [
        plain(1, &["a"]),
        held(header(2, 2), &["b", "held"], &[1], Some(ScheduleId(0))),
        cancel(2),
        fire(3, &["c"]),
    ];
    let mut all = Vec::new();
    for unit in units {
        let at = ends(&log)[3];
        all.extend(stamped(&unit, at));
        assert_eq!(append(&log, unit), at);
    }
    assert_eq!(all_frames(&log), all);
    let visible = all
        .iter()
        .filter(|b| !BatchHeader::parse(b).unwrap().is_hidden());
    let read: Vec<_> = read_from(&log, 0, ReadUpTo::Visible)
        .into_iter()
        .map(|b| b.bytes)
        .collect();
    assert!(read.iter().eq(visible));
    let hold = log.batch_at(Offset(2)).unwrap().unwrap();
    let hold = HoldFrame::parse(&hold).unwrap().unwrap();
    assert_eq!(
        hold.entries[0].id,
        ScheduleId(2),
        "the HOLD answers for the unit's offsets"
    );
}

/// Positions at batches, inside one, in a hole, past the visible end, at the end, and outside.
#[test]
fn a_read_may_start_anywhere_from_log_start_to_log_end() {
    let log = open(&empty_disk());
    append(&log, plain(1, &["a", "b", "c"]));
    append(
        &log,
        held(header(3, 2), &["held", "held", "d"], &[0, 1], None),
    );
    append(&log, held(header(2, 2), &["held", "held"], &[0, 1], None));
    assert_eq!(ends(&log), [0, 6, 8, 8]);
    let table = [
        (0, Some(0)),
        (2, Some(0)),
        (3, Some(3)),
        (4, Some(3)),
        (5, Some(3)),
        (6, None),
        (7, None),
        (8, None),
    ];
    for (from, first) in table {
        let result = log
            .read(Offset(from), 1000, ReadUpTo::Visible, true)
            .unwrap();
        assert_eq!(result.first_offset.map(|o| o.0), first, "from {from}");
        assert_eq!(result.chunks.is_empty(), first.is_none(), "from {from}");
    }
    for from in [-1, 9, i64::MAX] {
        let refused = log
            .read(Offset(from), 1000, ReadUpTo::Visible, true)
            .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "offset is outside 0..=8",
            "from {from}"
        );
    }
    assert!(log.batch_at(Offset(8)).unwrap().is_none());
}

/// Limits below one batch, at one, and in the second; with and without the promise of one whole batch.
#[test]
fn a_read_keeps_to_its_size_except_for_a_first_batch_that_must_be_whole() {
    let log = open(&empty_disk());
    for value in ["a", "b", "c"] {
        append(&log, plain(1, &[value]));
    }
    let one = plain(1, &["a"]).len_bytes();
    let table = [
        (0, false, 0),
        (0, true, one),
        (10, false, 0),
        (10, true, one),
        (one, true, one),
        (one + 5, true, one + 5),
        (10_000, false, 3 * one),
    ];
    for (max_bytes, min_one, expected) in table {
        let result = log
            .read(Offset(0), max_bytes, ReadUpTo::Visible, min_one)
            .unwrap();
        assert_eq!(result.bytes, expected, "{max_bytes} {min_one}");
    }
}

/// A consumer below 5,000 HOLD frames, over several index entries: counts what the disk is asked for.
#[test]
fn a_long_run_of_hidden_frames_is_skipped_without_being_read() {
    let disk = empty_disk();
    let log = open(&disk);
    append(&log, plain(1, &["first"]));
    for _ in 0..5_000 {
        append(&log, held(header(1, 2), &["held"], &[0], None));
    }
    append(&log, plain(3, &["last"]));
    for from in [1, 2_500, 5_000] {
        let before = disk.counters();
        let result = log
            .read(Offset(from), 1 << 20, ReadUpTo::Visible, true)
            .unwrap();
        let after = disk.counters();
        assert_eq!(result.first_offset, Some(Offset(5_001)), "from {from}");
        let bytes_read = after.bytes_read - before.bytes_read;
        assert!(
            bytes_read <= 200,
            "{bytes_read} bytes were read from {from}"
        );
    }
    let before = disk.counters();
    let late = log
        .first_batch_at_or_after_time(3, Offset(0))
        .unwrap()
        .unwrap();
    assert_eq!(late.header.base_offset, 5_001);
    let bytes_read = disk.counters().bytes_read - before.bytes_read;
    assert!(bytes_read <= 400, "{bytes_read} bytes were read for a time");
}

/// A position at the hidden end of one segment, with more than one index entry in the next: nothing in between is skipped.
#[test]
fn a_read_that_goes_on_in_the_next_segment_starts_at_its_first_batch() {
    let config = LogConfig {
        segment_bytes: 4096,
        index_interval_bytes: 100,
        ..at_once()
    };
    let log = try_open(&empty_disk(), config).unwrap().0;
    let filler = "x".repeat(3600);
    append(&log, plain(1, &["a"]));
    append(&log, held(header(1, 1), &[&filler], &[0], None));
    let mut expected = vec![(0, "a".to_owned())];
    for i in 2..40 {
        let value = format!("{i}-{}", "y".repeat(300));
        assert_eq!(append(&log, plain(1, &[&value])), i);
        expected.push((i, value));
    }
    assert_eq!(
        log.segments_from(Offset(2))[0].first_offset,
        Offset(2),
        "the hold ends a segment"
    );
    assert_eq!(visible_records(&log, 0), expected);
    assert_eq!(visible_records(&log, 1), expected[1..]);
    let at = log.batch_at(Offset(2)).unwrap().unwrap();
    assert_eq!(at.header.base_offset, 2);
}

/// Appended but not synced, then synced: readers and time lookups see the one, then the other.
#[test]
fn nothing_is_read_before_it_is_committed() {
    let log = try_open(&empty_disk(), LogConfig::default()).unwrap().0;
    append(&log, plain(10, &["a"]));
    log.sync_round(0);
    append(&log, plain(20, &["b"]));
    append(&log, held(header(1, 30), &["held"], &[0], None));
    assert_eq!(ends(&log), [0, 1, 1, 3]);
    let seen = |log: &Log| {
        let max = log.max_timestamp().unwrap().unwrap().header;
        let after = log.first_batch_at_or_after_time(15, Offset(0)).unwrap();
        (
            visible_records(log, 0).len(),
            all_frames(log).len(),
            (max.base_offset, max.max_timestamp),
            after.map(|b| b.header.base_offset),
        )
    };
    assert_eq!(seen(&log), (1, 1, (0, 10), None));
    assert_eq!(
        read_bytes(&log, 2, 100, ReadUpTo::All).len(),
        0,
        "below the log end is legal"
    );
    log.sync_round(0);
    assert_eq!(seen(&log), (2, 3, (1, 20), Some(1)));
    assert_eq!(ends(&log), [0, 2, 3, 3]);
}

/// The largest of many uncommitted timestamps is far behind the committed part, with index entries in both.
#[test]
fn the_largest_committed_timestamp_is_found_below_uncommitted_ones() {
    let config = LogConfig {
        index_interval_bytes: 128,
        ..LogConfig::default()
    };
    let log = try_open(&empty_disk(), config).unwrap().0;
    for timestamp in [5, 3, 9, 9, 4, 2, 1, 7, 6, 8] {
        append(&log, plain(timestamp, &["committed"]));
    }
    log.sync_round(0);
    for timestamp in 10..30 {
        append(&log, plain(timestamp, &["not yet"]));
    }
    let max = log.max_timestamp().unwrap().unwrap().header;
    assert_eq!((max.base_offset, max.max_timestamp), (2, 9));
    log.sync_round(0);
    let max = log.max_timestamp().unwrap().unwrap().header;
    assert_eq!((max.base_offset, max.max_timestamp), (29, 29));
}

/// A second try of each of the last five batches, one older, and one with a gap; also while the first is not committed.
#[test]
fn a_repeated_idempotent_batch_is_answered_with_its_first_offset() {
    let log = try_open(&empty_disk(), LogConfig::default()).unwrap().0;
    for i in 0..7 {
        append(&log, idempotent(1, i * 2, &["a", "b"]));
        append(&log, plain(1, &["other"]));
    }
    let again = |sequence: i32| log.append(idempotent(1, sequence, &["a", "b"]), EPOCH, NOW_MS);
    for i in 2..7 {
        let expected = Appended::Duplicate {
            base_offset: Offset(i64::from(i) * 3),
            next_offset: Offset(i64::from(i) * 3 + 2),
            timestamp: 7,
        };
        assert_eq!(again(i * 2).unwrap(), expected);
    }
    let older = again(2).unwrap_err().to_string();
    assert_eq!(older, "producer 1 sent sequence 2, expected 14");
    let gap = again(20).unwrap_err().to_string();
    assert_eq!(gap, "producer 1 sent sequence 20, expected 14");
    assert_eq!(ends(&log)[3], 21, "none of it was appended");
}

/// The term of each append, asked for below (as Kafka: the epoch asked for, and where the first one starts), at and above.
#[test]
fn a_leader_epoch_ends_where_the_next_one_starts() {
    let disk = empty_disk();
    let log = open(&disk);
    for (epoch, value) in [(1, "a"), (1, "b"), (4, "c")] {
        log.append(plain(1, &[value]), LeaderEpoch(epoch), NOW_MS)
            .unwrap();
    }
    let asked = |log: &Log| {
        [0, 1, 3, 4, 9].map(|e| {
            let (epoch, end) = log.end_offset_for_epoch(LeaderEpoch(e));
            (epoch.0, end.0)
        })
    };
    let expected = [(0, 0), (1, 2), (1, 2), (4, 3), (4, 3)];
    assert_eq!(asked(&log), expected);
    assert_eq!(asked(&open(&disk.kill())), expected);
}

/// Appends after a close; a close keeps what was appended before.
#[test]
fn a_closed_log_takes_nothing_more_and_opens_without_a_scan() {
    let disk = empty_disk();
    let log = try_open(&disk, LogConfig::default()).unwrap().0;
    append(&log, plain(1, &["a"]));
    log.close(NOW_MS).unwrap();
    let refused = log.append(plain(1, &["b"]), EPOCH, NOW_MS).unwrap_err();
    assert_eq!(refused.to_string(), "the log is closed");
    let (log, report) = try_open(&disk.crash(0), LogConfig::default()).unwrap();
    assert_eq!(report, RecoveryReport::default());
    assert_eq!(log.no_ids_below(), Some(Offset(1)));
    assert_eq!(visible_records(&log, 0), [(0, "a".to_owned())]);
}

/// The error of a read that checks names the segment and the place in it.
#[test]
fn a_batch_that_was_damaged_after_the_open_is_named() {
    let disk = empty_disk();
    let log = open(&disk);
    append(&log, plain(1, &["a"]));
    append(&log, plain(1, &["b"]));
    let at = plain(1, &["a"]).len_bytes() + super::super::SEGMENT_HEADER_LEN;
    let mut bytes = disk.bytes(&segment_path(0)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    disk.set_bytes(&segment_path(0), &bytes).unwrap();
    assert!(log.batch_at(Offset(0)).unwrap().is_some());
    match log.batch_at(Offset(1)) {
        Err(ReadError::Corrupt {
            segment,
            position,
            why,
        }) => {
            assert_eq!((segment, position), (segment_path(0), at as u64));
            assert_eq!(why, "the batch's checksum does not fit");
        }
        other => panic!("{other:?}"),
    }
}

/// What a kill leaves to be scanned is what was appended since; below the limit nothing is written.
#[test]
fn a_busy_log_is_checkpointed_by_its_bytes() {
    let disk = empty_disk();
    let log = open(&disk);
    append(&log, plain(2, &["a", "b"]));
    log.checkpoint_if_long(1 << 20, NOW_MS).unwrap();
    let scanned = |disk: &CrashDisk| {
        let opened = try_open(disk, LogConfig::default()).unwrap();
        opened.1.scanned_bytes
    };
    let all = scanned(&disk.kill());
    assert!(all > 0, "no checkpoint was due");
    log.checkpoint_if_long(all, NOW_MS).unwrap();
    assert_eq!(scanned(&disk.kill()), 0);
    append(&log, plain(1, &["c"]));
    let left = scanned(&disk.kill());
    assert!(0 < left && left < all);
    log.checkpoint_if_long(all, NOW_MS).unwrap();
    assert_eq!(scanned(&disk.kill()), left);
}
