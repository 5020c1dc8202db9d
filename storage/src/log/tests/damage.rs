//! Damage that no crash of ours leaves: the log stays closed and nothing is changed, or a read says so. Never a wrong record.

use std::ops::ControlFlow;

use super::*;
use crate::{
    batch::CRC_START,
    log::{ReadError, SEGMENT_HEADER_LEN},
};

type Damage = Box<dyn Fn(&CrashDisk)>;
type Change = Box<dyn Fn(&mut Vec<u8>)>;

/// What an open of a damaged disk must say; and every byte of it must be as before.
fn refusal(disk: &CrashDisk, config: LogConfig) -> String {
    let before = disk.files();
    let refused = match try_open(disk, config) {
        Err(refused) => refused.to_string(),
        Ok((log, report)) => panic!("opened with {report:?}, {:?}", ends(&log)),
    };
    assert!(
        disk.files() == before,
        "a refused open changed the disk: {refused}"
    );
    refused
}

/// Where each frame starts, and the end.
fn frame_starts(frames: &[Bytes]) -> Vec<usize> {
    let mut at = SEGMENT_HEADER_LEN;
    let mut starts = vec![at];
    for frame in frames {
        at += frame.len();
        starts.push(at);
    }
    starts
}

/// Three units in one segment; a checkpoint before the one of that number, if any.
fn three_units(checkpoint_before: Option<usize>) -> (CrashDisk, Vec<Bytes>) {
    let disk = empty_disk();
    let log = open(&disk);
    let units = [
        plain(1, &["a", "b"]),
        held(header(3, 2), &["c", "held", "d"], &[1], None),
        idempotent(1, 0, &["e"]),
    ];
    for (i, unit) in units.into_iter().enumerate() {
        if checkpoint_before == Some(i) {
            log.checkpoint(NOW_MS).unwrap();
        }
        append(&log, unit);
    }
    (disk, all_frames(&log))
}

/// A frame without what its checksum does not cover and no neighbour tells: base offset, if asked for, and leader epoch.
fn covered(frame: &[u8], base_offset_too: bool) -> Vec<u8> {
    let mut frame = frame.to_vec();
    if base_offset_too {
        frame[..8].fill(0);
    }
    frame[12..16].fill(0);
    frame
}

/// Each bit of a segment of three units, flipped alone: without a checkpoint, and with one before the last unit or before all.
///
/// The leader epoch is outside the checksum (Kafka's format): a flip there may open, with all else right. Below a checkpoint
/// nothing is read by an open; there the reads notice.
#[test]
fn no_flipped_bit_is_ever_served() {
    for checkpoint_before in [None, Some(2), Some(0)] {
        let (disk, frames) = three_units(checkpoint_before);
        let starts = frame_starts(&frames);
        let last_unit = starts[3];
        let trusted = match checkpoint_before {
            Some(2) => last_unit,
            _ => 0,
        };
        let bytes = disk.bytes(&segment_path(0)).unwrap();
        for bit in 0..bytes.len() * 8 {
            let at = bit / 8;
            let what = format!("bit {bit}, checkpoint before {checkpoint_before:?}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (bit % 8);
            let disk = disk.settled();
            disk.set_bytes(&segment_path(0), &flipped).unwrap();
            let before = disk.files();
            match try_open(&disk, at_once()) {
                Err(OpenError::Corrupt { .. } | OpenError::UnknownFormat { .. }) => {
                    assert!(
                        disk.files() == before,
                        "{what}: a refused open changed the disk"
                    );
                }
                Err(other) => panic!("{what}: {other}"),
                Ok((log, report)) if report.cut_bytes > 0 => {
                    assert!(at >= last_unit, "{what}: acked units were cut");
                    assert_eq!(report.cut_bytes, (bytes.len() - last_unit) as u64, "{what}");
                    assert_eq!(all_frames(&log), frames[..3], "{what}");
                }
                Ok((log, _)) => {
                    let frame = starts.iter().rposition(|s| *s <= at).unwrap();
                    let epoch = (12..16).contains(&(at - starts[frame]));
                    assert!(at < trusted || epoch, "{what}: it was not noticed");
                    check_served(&log, &frames, at < trusted, &what);
                }
            }
        }
    }
}

/// Every batch that a read gives is one that was appended.
fn check_served(log: &Log, frames: &[Bytes], base_offset_too: bool, what: &str) {
    let appended: Vec<_> = frames.iter().map(|f| covered(f, base_offset_too)).collect();
    for offset in 0..6 {
        match log.batch_at(Offset(offset)) {
            Ok(Some(batch)) => {
                let served = covered(&batch.bytes, base_offset_too);
                assert!(appended.contains(&served), "{what}, offset {offset}");
            }
            Ok(None) => assert!(base_offset_too, "{what}, offset {offset} is gone"),
            Err(ReadError::Corrupt { .. }) => {}
            Err(other) => panic!("{what}, offset {offset}: {other}"),
        }
    }
}

/// Each bit of each frame of a closed segment, flipped under an open log: lookups of that frame say so. What the checksum does
/// not cover may be noticed or not; the bytes that are given are right all the same.
#[test]
fn a_bit_that_flips_after_the_open_is_noticed_by_reads_that_check() {
    let disk = empty_disk();
    let log = try_open(
        &disk,
        LogConfig {
            segment_bytes: 600,
            ..at_once()
        },
    )
    .unwrap()
    .0;
    append(&log, held(header(3, 2), &["c", "held", "d"], &[1], None));
    append(&log, plain(1, &["a", "b"]));
    append(&log, cancel(1));
    let frames = all_frames(&log);
    append(&log, plain(1, &[&"x".repeat(600)]));
    append(&log, held(header(1, 2), &["held"], &[0], None));
    assert!(
        disk.bytes(&segment_path(6)).is_some(),
        "the first segment is closed"
    );
    let starts = frame_starts(&frames);
    let good = disk.bytes(&segment_path(0)).unwrap();
    for (i, frame) in frames.iter().enumerate() {
        let header = BatchHeader::parse(frame).unwrap();
        // A unit's DATA is behind its HOLD, which answers for its offsets.
        let found_by_offset = i != 1;
        for bit in 0..frame.len() * 8 {
            let what = format!("frame {i} bit {bit}");
            let mut flipped = good.clone();
            flipped[starts[i] + bit / 8] ^= 1 << (bit % 8);
            disk.set_bytes(&segment_path(0), &flipped).unwrap();
            let checked = bit / 8 >= CRC_START || (16..CRC_START).contains(&(bit / 8));
            let is_length = (8..12).contains(&(bit / 8));
            let at = log.batch_at(Offset(header.base_offset));
            if found_by_offset {
                match at {
                    Err(ReadError::Corrupt { .. }) => {}
                    Ok(Some(batch)) if !checked && !is_length => {
                        let served = covered(&batch.bytes, true);
                        assert_eq!(served, covered(frame, true), "{what}");
                    }
                    Ok(None) if bit / 8 < 8 => {}
                    other => panic!("{what}: {other:?}"),
                }
            }
            let scanned = log.scan_special(Offset(0), &mut |_| ControlFlow::Continue(()));
            if header.is_hidden() && (checked || is_length) {
                assert!(
                    matches!(scanned, Err(ReadError::Corrupt { .. })),
                    "{what}: {scanned:?}"
                );
            }
        }
        disk.set_bytes(&segment_path(0), &good).unwrap();
    }
    assert_eq!(all_frames(&log)[..frames.len()], frames);
}

/// Four closed segments and an open one, each with several units.
fn five_segments() -> (CrashDisk, Vec<i64>) {
    let disk = empty_disk();
    let log = try_open(
        &disk,
        LogConfig {
            flush_policy: FlushPolicy::Os,
            ..small_segments()
        },
    )
    .unwrap()
    .0;
    for i in 0..16 {
        append(&log, plain(i, &[&"v".repeat(230)]));
    }
    let names = disk.list(&dir().join("segments")).unwrap();
    let firsts: Vec<i64> = names
        .iter()
        .map(|(name, _)| name.trim_end_matches(".log").parse().unwrap())
        .collect();
    assert_eq!(firsts, [0, 3, 6, 9, 12, 15]);
    (disk, firsts)
}

/// Changes one segment's bytes.
fn change(disk: &CrashDisk, first: i64, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = disk.bytes(&segment_path(first)).unwrap();
    change(&mut bytes);
    disk.set_bytes(&segment_path(first), &bytes).unwrap();
}

/// Each kind of damage, without a checkpoint, and what the refusal says.
#[test]
fn damage_before_the_tail_keeps_the_log_closed() {
    let batch = plain(0, &[&"v".repeat(230)]).len_bytes();
    let start = SEGMENT_HEADER_LEN;
    let swap = move |bytes: &mut Vec<u8>, first: usize| {
        let from = start + first * batch;
        bytes[from..from + 2 * batch].rotate_left(batch);
    };
    let table: Vec<(&str, Damage, &str)> = vec![
        (
            "zeroed part of a closed segment",
            Box::new(|d| change(d, 6, |b| b[512..].fill(0))),
            "00000000000000000006.log is corrupt at",
        ),
        (
            "garbage in a closed segment",
            Box::new(|d| change(d, 6, |b| b[400..600].fill(0x5a))),
            "00000000000000000006.log is corrupt at",
        ),
        (
            "a cut closed segment",
            Box::new(|d| change(d, 6, |b| b.truncate(500))),
            "00000000000000000006.log is corrupt at",
        ),
        (
            "a closed segment cut between batches",
            Box::new(move |d| change(d, 6, |b| b.truncate(start + batch))),
            "00000000000000000009.log is corrupt at 0: it starts at offset 9 where 7 follows",
        ),
        (
            "swapped batches in a closed segment",
            Box::new(move |d| change(d, 3, |b| swap(b, 0))),
            "00000000000000000003.log is corrupt at 64: offset 4 where 3 follows",
        ),
        (
            "a batch of a closed segment twice",
            Box::new(move |d| change(d, 3, |b| b.extend_from_within(start..start + batch))),
            "00000000000000000003.log is corrupt at",
        ),
        (
            "the last batch twice",
            Box::new(move |d| change(d, 15, |b| b.extend_from_within(start..))),
            "00000000000000000015.log is corrupt at",
        ),
        (
            "a missing middle segment",
            Box::new(|d| d.lose(&segment_path(6)).unwrap()),
            "00000000000000000009.log is corrupt at 0: it starts at offset 9 where 6 follows",
        ),
        (
            "two segments with each other's name",
            Box::new(|d| {
                let other = d.bytes(&segment_path(3)).unwrap();
                change(d, 6, |b| *b = other);
            }),
            "00000000000000000006.log: it says that it starts at offset 3",
        ),
        (
            "a header cut off before other segments",
            Box::new(|d| change(d, 6, |b| b.truncate(63))),
            "00000000000000000006.log: the header is cut off",
        ),
        (
            "a later version",
            Box::new(|d| change(d, 15, |b| b[8..12].copy_from_slice(&2u32.to_be_bytes()))),
            "00000000000000000015.log: version 2 is not 1",
        ),
        (
            "no segment at all",
            Box::new(|d| change(d, 0, |b| b[..8].copy_from_slice(b"WHATEVER"))),
            "00000000000000000000.log: unknown magic",
        ),
        (
            "a half-made segment behind damage",
            Box::new(|d| {
                change(d, 6, |b| b[400..600].fill(0x5a));
                d.set_bytes(&segment_path(16), b"CRNOS1").unwrap();
            }),
            "00000000000000000006.log is corrupt at",
        ),
    ];
    for (name, damage, expected) in table {
        let (disk, _) = five_segments();
        damage(&disk);
        let said = refusal(&disk, at_once());
        assert!(said.contains(expected), "{name}: {said}");
        assert!(said.ends_with("nothing was changed"), "{name}: {said}");
    }
}

/// In the segment that is still written: damage with a valid batch behind it, or a whole batch in a wrong place, is no torn
/// tail.
#[test]
fn damage_in_the_last_segment_keeps_the_log_closed_unless_a_sector_is_missing() {
    let value = "v".repeat(900);
    let batch = plain(0, &[&value]).len_bytes();
    let start = SEGMENT_HEADER_LEN;
    let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
        let disk = empty_disk();
        let log = open(&disk);
        for i in 0..4 {
            append(&log, plain(i, &[&value]));
        }
        let mut bytes = disk.bytes(&segment_path(0)).unwrap();
        change(&mut bytes);
        disk.set_bytes(&segment_path(0), &bytes).unwrap();
        disk
    };
    let refused: Vec<(&str, Change)> = vec![
        (
            "garbage",
            Box::new(move |b| b[start + batch..start + batch + 512].fill(0xff)),
        ),
        (
            "swapped",
            Box::new(move |b| b[start + batch..start + 3 * batch].rotate_left(batch)),
        ),
        (
            "last two swapped",
            Box::new(move |b| b[start + 2 * batch..].rotate_left(batch)),
        ),
        (
            "a batch missing",
            Box::new(move |b| drop(b.drain(start + batch..start + 2 * batch))),
        ),
        (
            "twice",
            Box::new(move |b| b.extend_from_within(start..start + batch)),
        ),
        (
            "an old batch again",
            Box::new(move |b| {
                let old = b[start..start + batch].to_vec();
                b[start + 2 * batch..start + 3 * batch].copy_from_slice(&old);
            }),
        ),
        (
            "zeros that are no sector",
            Box::new(move |b| b[1536 + 3..2048 + 500].fill(0)),
        ),
    ];
    for (name, change) in refused {
        let said = refusal(&damaged(&change), at_once());
        assert!(said.contains("is corrupt at"), "{name}: {said}");
    }
    // A page of zeros above the last checkpoint cannot be told from one that a power loss kept from being written.
    let disk = damaged(&|b| b[1024..2048].fill(0));
    let (log, report) = try_open(&disk, at_once()).unwrap();
    assert_eq!(visible_records(&log, 0).len(), 0);
    assert_eq!(report.cut_bytes, 4 * batch as u64);
}

/// A folder that belongs to another topic, or another partition of the topic.
#[test]
fn a_log_of_another_topic_or_partition_is_refused() {
    let (disk, _) = five_segments();
    let foreign = [
        LogOptions {
            topic_id: TopicId::from_u128(1),
            ..options(&disk, at_once())
        },
        LogOptions {
            partition: 3,
            ..options(&disk, at_once())
        },
    ];
    let before = disk.files();
    for options in foreign {
        match Log::open(options) {
            Err(OpenError::WrongTopicId {
                topic_id,
                partition,
                ..
            }) => {
                assert_eq!((topic_id, partition), (TOPIC, 0));
            }
            other => panic!("{other:?}"),
        }
        assert!(disk.files() == before);
    }
}
