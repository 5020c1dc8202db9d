//! A write that did not finish: whatever part of it is there, the log opens with everything before it, and goes on.

use super::*;
use crate::log::SEGMENT_HEADER_LEN;

/// What may be the last unit, by name.
fn last_units() -> Vec<(&'static str, Unit)> {
    let mut producer = header(3, 9);
    producer.producer_id = 1;
    producer.producer_epoch = 0;
    producer.base_sequence = 2;
    vec![
        ("plain", plain(9, &["last", "batch"])),
        ("idempotent", idempotent(1, 2, &["last", "batch"])),
        ("hold", held(header(2, 9), &["h", "h"], &[0, 1], None)),
        (
            "hold, data",
            held(producer, &["h", "last", "h"], &[0, 2], None),
        ),
        (
            "hold, cancel, data",
            held(
                header(3, 9),
                &["h", "last", "batch"],
                &[0],
                Some(ScheduleId(1)),
            ),
        ),
    ]
}

/// A log with two units and then the last one; its size before that.
fn log_with(last: &Unit, checkpoint: bool) -> (CrashDisk, usize) {
    let disk = empty_disk();
    let log = open(&disk);
    append(&log, idempotent(1, 0, &["a", "b"]));
    append(&log, held(header(2, 2), &["c", "held"], &[1], None));
    if checkpoint {
        log.checkpoint(NOW_MS).unwrap();
    }
    let before = usize::try_from(log.size_bytes()).unwrap() + 64;
    append(&log, last.clone());
    (disk, before)
}

/// Opens a log that has nothing of its last unit, and checks that it is as if that had never been appended.
fn check_cut(what: &str, disk: &CrashDisk, last: &Unit, cut_bytes: usize) {
    let (log, report) = try_open(disk, at_once()).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(report.cut_bytes, cut_bytes as u64, "{what}");
    assert_eq!(ends(&log), [0, 3, 4, 4], "{what}");
    let expected = [(0, "a"), (1, "b"), (2, "c")].map(|(o, v)| (o, v.to_owned()));
    assert_eq!(visible_records(&log, 0), expected, "{what}");
    assert_eq!(all_frames(&log).len(), 3, "{what}");
    assert_eq!(append(&log, last.clone()), 4, "{what}: it is no duplicate");
    let expected = stamped(last, 4);
    assert_eq!(all_frames(&log)[3..], expected, "{what}");
    drop(log);
    let (log, report) = try_open(&disk.kill(), at_once()).unwrap();
    assert_eq!(report.cut_bytes, 0, "{what}");
    assert_eq!(
        all_frames(&log)[3..],
        expected,
        "{what}: after it was appended again"
    );
}

/// Each length of the file from the unit's first byte to one before its last; with and without a checkpoint before it.
#[test]
fn a_unit_cut_at_any_byte_is_cut_whole() {
    for (name, last) in last_units() {
        for checkpoint in [false, true] {
            let (disk, before) = log_with(&last, checkpoint);
            let bytes = disk.bytes(&segment_path(0)).unwrap();
            for len in before..bytes.len() {
                let disk = disk.settled();
                disk.set_bytes(&segment_path(0), &bytes[..len]).unwrap();
                let what = format!("{name}, checkpoint {checkpoint}, {len} of {}", bytes.len());
                check_cut(&what, &disk, &last, len - before);
            }
        }
    }
}

/// The size was written, the bytes were not: zeros from each byte on, up to the unit's length and far beyond.
#[test]
fn a_unit_that_became_zeros_from_any_byte_on_is_cut_whole() {
    for (name, last) in last_units() {
        let (disk, before) = log_with(&last, false);
        let bytes = disk.bytes(&segment_path(0)).unwrap();
        for written in before..bytes.len() {
            let mut torn = bytes[..written].to_vec();
            torn.resize(bytes.len() + if written % 2 == 0 { 5_000 } else { 0 }, 0);
            if torn.starts_with(&bytes) {
                // The unit ends with zeros: it is whole.
                continue;
            }
            let disk = disk.settled();
            disk.set_bytes(&segment_path(0), &torn).unwrap();
            let what = format!("{name}, written up to {written}");
            check_cut(&what, &disk, &last, torn.len() - before);
        }
    }
}

/// What was cut is kept beside the log, for a person.
#[test]
fn cut_bytes_are_kept() {
    let (disk, before) = log_with(&plain(9, &["last"]), false);
    let bytes = disk.bytes(&segment_path(0)).unwrap();
    let torn = &bytes[..bytes.len() - 1];
    disk.set_bytes(&segment_path(0), torn).unwrap();
    try_open(&disk, at_once()).unwrap();
    let kept = dir().join("meta/cut-00000000000000000004.bytes");
    assert_eq!(disk.bytes(&kept), Some(torn[before..].to_vec()));
}

/// Several units were written and none synced; each sector in turn is lost and all others are there. What is before the first
/// unit that lost a byte is kept, the rest is cut, though valid batches are in it.
#[test]
fn a_lost_sector_before_written_ones_is_a_torn_tail() {
    let disk = empty_disk();
    let log = open(&disk);
    append(&log, plain(1, &["synced"]));
    log.checkpoint(NOW_MS).unwrap();
    let synced = usize::try_from(log.size_bytes()).unwrap() + 64;
    let long = "z".repeat(450);
    let mut ends_at = vec![synced];
    for i in 0..12 {
        let unit = match i % 3 {
            0 => plain(2, &[&long, "p"]),
            1 => held(
                header(3, 2),
                &[&long, "d", &long],
                &[0],
                Some(ScheduleId(0)),
            ),
            _ => idempotent(3, i / 3, &["i"]),
        };
        append(&log, unit);
        ends_at.push(usize::try_from(log.size_bytes()).unwrap() + 64);
    }
    let bytes = disk.bytes(&segment_path(0)).unwrap();
    let frames = all_frames(&log);
    for sector in synced / 512..bytes.len().div_ceil(512) {
        let lost = (sector * 512).max(synced)..bytes.len().min(sector * 512 + 512);
        let Some(damaged) = lost.clone().find(|i| bytes[*i] != 0) else {
            continue;
        };
        let mut torn = bytes.clone();
        torn[lost].fill(0);
        let disk = disk.settled();
        disk.set_bytes(&segment_path(0), &torn).unwrap();
        let (log, report) = try_open(&disk, at_once()).unwrap();
        let kept = ends_at.iter().rev().find(|end| **end <= damaged).unwrap();
        assert_eq!(
            report.cut_bytes,
            (bytes.len() - kept) as u64,
            "sector {sector}"
        );
        let left = all_frames(&log);
        assert!(frames.starts_with(&left), "sector {sector}");
        assert_eq!(log.size_bytes() + 64, *kept as u64);
    }
}

/// The first sector of a new log is lost, the second is not; the frames behind it start at each place around its end, so that
/// less than what the checksum covers of one may be lost with it.
#[test]
fn a_lost_sector_that_ends_inside_a_frames_head_is_a_torn_tail() {
    for padding in 200..460 {
        let disk = empty_disk();
        let log = open(&disk);
        append(
            &log,
            held(header(1, 1), &[&"p".repeat(padding)], &[0], None),
        );
        let unit = held(header(3, 2), &["a", "held", "b"], &[1], Some(ScheduleId(0)));
        append(&log, unit);
        append(&log, plain(2, &["c"]));
        let mut bytes = disk.bytes(&segment_path(0)).unwrap();
        bytes[SEGMENT_HEADER_LEN..512].fill(0);
        disk.set_bytes(&segment_path(0), &bytes).unwrap();
        let (log, report) = try_open(&disk, at_once()).unwrap();
        assert_eq!(ends(&log), [0; 4], "padding {padding}");
        let cut_bytes = bytes.len() - SEGMENT_HEADER_LEN;
        assert_eq!(report.cut_bytes, cut_bytes as u64, "padding {padding}");
    }
}

/// The process stopped while it made a segment: the file is empty, cut off in its header, or zeros; also as the first one.
#[test]
fn a_half_made_segment_is_removed_and_made_again() {
    let header = SEGMENT_HEADER_LEN;
    for left in [
        vec![],
        vec![0; 1],
        vec![b'C'; 8],
        vec![0; header - 1],
        vec![0; header],
    ] {
        let disk = empty_disk();
        let log = try_open(&disk, small_segments()).unwrap().0;
        append(&log, plain(1, &["a"]));
        log.close(NOW_MS).unwrap();
        disk.set_bytes(&segment_path(1), &left).unwrap();
        let (log, _) = try_open(&disk, small_segments()).unwrap();
        assert_eq!(ends(&log), [0, 1, 1, 1]);
        assert_eq!(disk.bytes(&segment_path(1)), None);
        let large = "x".repeat(2000);
        append(&log, plain(1, &[&large]));
        assert!(disk.bytes(&segment_path(1)).unwrap().len() > 2000);

        let disk = empty_disk();
        drop(open(&disk));
        disk.lose(&segment_path(0)).unwrap();
        disk.set_bytes(&segment_path(70), &left).unwrap();
        let log = open(&disk);
        assert_eq!(
            ends(&log),
            [70, 70, 70, 70],
            "offsets are not given out twice"
        );
        append(&log, plain(1, &["a"]));
        assert_eq!(visible_records(&log, 70), [(70, "a".to_owned())]);
    }
}
