//! Segments: when a new one starts, and what the manifest says of them.

use super::*;

fn firsts(disk: &CrashDisk) -> Vec<i64> {
    let names = disk.list(&dir().join("segments")).unwrap();
    let first = |name: String| name.trim_end_matches(".log").parse().unwrap();
    names.into_iter().map(|(name, _)| first(name)).collect()
}

/// Batches of a known size up to the limit, one byte below it, and one that is larger than a segment.
#[test]
fn a_segment_is_closed_when_it_would_grow_past_its_size() {
    let batch = plain(1, &["0123456789"]).len_bytes();
    let header = super::super::SEGMENT_HEADER_LEN;
    for (room, expected) in [
        (3 * batch, vec![0, 3, 6]),
        (3 * batch - 1, vec![0, 2, 4, 6]),
        (batch, vec![0, 1, 2, 3, 4, 5, 6]),
        (1, vec![0, 1, 2, 3, 4, 5, 6]),
    ] {
        let disk = empty_disk();
        let config = LogConfig {
            segment_bytes: u32::try_from(header + room).unwrap(),
            ..at_once()
        };
        let log = try_open(&disk, config).unwrap().0;
        for i in 0..7 {
            assert_eq!(append(&log, plain(1, &["0123456789"])), i);
        }
        assert_eq!(firsts(&disk), expected, "room for {room}");
        assert_eq!(visible_records(&log, 0).len(), 7);
    }
}

/// A unit of two frames that would fit one by one goes into the next segment whole.
#[test]
fn a_unit_is_never_split_between_segments() {
    let first = plain(1, &["a"]);
    let unit = held(header(2, 1), &["b", "held"], &[1], None);
    let hold_only = unit.frames[0].header.total_len();
    let room = super::super::SEGMENT_HEADER_LEN + first.len_bytes() + hold_only;
    let config = LogConfig {
        segment_bytes: u32::try_from(room + 1).unwrap(),
        ..at_once()
    };
    let disk = empty_disk();
    let log = try_open(&disk, config).unwrap().0;
    append(&log, first);
    append(&log, unit.clone());
    assert_eq!(firsts(&disk), [0, 1]);
    let second = disk.bytes(&segment_path(1)).unwrap();
    assert_eq!(second[64..], stamped(&unit, 1).concat());
}

/// The age counts from the first append, also after a reopen; an empty segment is not closed.
#[test]
fn a_segment_is_closed_when_it_is_old() {
    let disk = empty_disk();
    let config = LogConfig {
        segment_ms: 100,
        ..at_once()
    };
    let at = |log: &Log, now_ms: i64| {
        log.append(plain(1, &["a"]), EPOCH, now_ms).unwrap();
        firsts(&disk)
    };
    let log = try_open(&disk, config).unwrap().0;
    assert_eq!(at(&log, NOW_MS + 500), [0], "it was empty until now");
    assert_eq!(at(&log, NOW_MS + 599), [0]);
    assert_eq!(at(&log, NOW_MS + 600), [0, 2]);
    drop(log);
    let log = try_open(&disk, config).unwrap().0;
    assert_eq!(at(&log, NOW_MS + 699), [0, 2]);
    assert_eq!(at(&log, NOW_MS + 700), [0, 2, 4]);
}

/// A visible batch, then only hidden frames over several segments, and an empty segment at the end.
#[test]
fn the_visible_end_stays_where_it_is_while_only_hidden_frames_follow() {
    let disk = empty_disk();
    let config = LogConfig {
        segment_bytes: 400,
        ..at_once()
    };
    let log = try_open(&disk, config).unwrap().0;
    append(&log, plain(1, &["a", "b"]));
    for i in 0..6 {
        append(&log, held(header(1, 2), &["held"], &[0], None));
        assert_eq!(ends(&log), [0, 2, 3 + i, 3 + i]);
    }
    assert!(firsts(&disk).len() > 2);
    assert_eq!(read_bytes(&log, 2, 1000, ReadUpTo::Visible).len(), 0);
    for left in [disk.kill(), without_checkpoint(&disk)] {
        assert_eq!(told(&left, config).0.ends, [0, 2, 8, 8]);
    }
    log.checkpoint(NOW_MS).unwrap();
    assert_eq!(told(&disk, config).0.ends, [0, 2, 8, 8]);
    append(&log, plain(1, &["c"]));
    assert_eq!(ends(&log), [0, 9, 9, 9]);
}

/// What a person reads in `index/manifest.json` after a checkpoint; it speaks of nothing that is not synced.
#[test]
fn the_manifest_lists_the_segments() {
    let disk = empty_disk();
    let config = LogConfig {
        segment_bytes: 500,
        ..LogConfig::default()
    };
    let log = try_open(&disk, config).unwrap().0;
    append(&log, plain(5, &["a", "b"]));
    append(&log, held(header(2, 9), &["held", "c"], &[0], None));
    append(&log, fire(3, &[&"x".repeat(200)]));
    append(&log, cancel(2));
    log.checkpoint(NOW_MS).unwrap();
    let bytes = disk.bytes(&dir().join("index/manifest.json")).unwrap();
    let sizes = [0, 4].map(|first| disk.bytes(&segment_path(first)).unwrap().len());
    let expected = serde_json::json!({
        "version": 1,
        "high_watermark": 6,
        "segments": [
            {
                "first_offset": 0, "next_offset": 4, "visible_end": 4, "size_bytes": sizes[0],
                "min_timestamp": 5, "max_timestamp": 9, "hidden_and_fire_frames": 1,
            },
            {
                "first_offset": 4, "next_offset": 6, "visible_end": 5, "size_bytes": sizes[1],
                "min_timestamp": 3, "max_timestamp": 3, "hidden_and_fire_frames": 2,
            },
        ],
    });
    let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(manifest, expected);
}
