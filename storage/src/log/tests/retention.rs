//! Where the log begins: retention, DeleteRecords, and what a crash in the middle leaves of them.

use super::*;
use crate::log::{ReadError, RetentionRules};

const KEEP_ALL: RetentionRules = RetentionRules {
    retention_ms: None,
    retention_bytes: None,
    file_delete_delay_ms: 0,
};

/// Twelve records, timestamps 1 to 12, a few to a segment; the fifth is held and fired at once where `fired`.
fn filled(disk: &CrashDisk) -> Arc<Log> {
    let log = try_open(disk, small_segments()).unwrap().0;
    for i in 1..=12 {
        append(&log, plain(i, &["0123456789".repeat(20).as_str()]));
    }
    assert!(log.sync_round(0));
    log
}

fn names(disk: &CrashDisk, folder: &str) -> Vec<String> {
    let names = disk.list(&dir().join(folder)).unwrap();
    names.into_iter().map(|(name, _)| name).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "as retention asks it")]
fn none() -> std::io::Result<Option<Offset>> {
    Ok(None)
}

#[test]
fn old_segments_go_and_the_log_starts_after_them() {
    let disk = empty_disk();
    let log = filled(&disk);
    let all = names(&disk, "segments").len();
    assert!(all > 3, "{all} segments");
    let rules = RetentionRules {
        retention_ms: Some(994),
        file_delete_delay_ms: 50,
        ..KEEP_ALL
    };
    // At 1000 all up to timestamp 5 are older than 994.
    let done = log.retain(&rules, 1000, &none).unwrap();
    assert!(done.segments > 0 && done.pinned_bytes() == 0, "{done:?}");
    let start = log.offsets().log_start.0;
    assert!((1..=5).contains(&start), "{start}");
    let expected: Vec<i64> = (start..12).collect();
    let offsets = |log: &Log| -> Vec<i64> {
        visible_records(log, start)
            .iter()
            .map(|(o, _)| *o)
            .collect()
    };
    assert_eq!(offsets(&log), expected);
    assert!(matches!(
        log.read(Offset(start - 1), 100, ReadUpTo::Visible, true),
        Err(ReadError::OutOfRange { .. })
    ));
    let deleted = |disk: &CrashDisk| {
        names(disk, "segments")
            .iter()
            .filter(|n| n.ends_with(".deleted"))
            .count()
    };
    assert_eq!(
        deleted(&disk),
        done.segments,
        "on the disk until the delay is over"
    );
    log.reap(1049);
    assert_eq!(deleted(&disk), done.segments);
    log.reap(1050);
    assert_eq!(names(&disk, "segments").len(), all - done.segments);
    let (told, report) = told(&disk, small_segments());
    assert_eq!((told.ends[0], report.checkpoint_discarded), (start, false));
}

#[test]
fn the_last_segment_goes_as_well_when_all_of_it_is_old() {
    let disk = empty_disk();
    let log = filled(&disk);
    let rules = RetentionRules {
        retention_ms: Some(0),
        ..KEEP_ALL
    };
    log.retain(&rules, 1000, &none).unwrap();
    assert_eq!(ends(&log), [12, 12, 12, 12]);
    assert_eq!(names(&disk, "segments").len(), 1);
    assert_eq!(append(&log, plain(2000, &["next"])), 12);
    assert!(log.sync_round(0));
    log.retain(&rules, 1000, &none).unwrap();
    assert_eq!(visible_records(&log, 12).len(), 1, "its time has not come");
    let (told, _) = told(&disk, small_segments());
    assert_eq!(told.ends, [12, 13, 13, 13]);
    let indexes = names(&disk, "index");
    let of_segments = indexes.iter().filter(|name| name.contains(".index"));
    assert_eq!(of_segments.count(), 1, "{indexes:?}");
}

#[test]
fn what_is_above_the_size_goes() {
    let disk = empty_disk();
    let log = filled(&disk);
    let size = log.size_bytes();
    let rules = RetentionRules {
        retention_bytes: Some(size / 2),
        ..KEEP_ALL
    };
    log.retain(&rules, 0, &none).unwrap();
    assert!(
        (size / 2..size).contains(&log.size_bytes()),
        "{} of {size}",
        log.size_bytes()
    );
    assert!(log.offsets().log_start.0 > 0);
}

#[test]
fn a_pending_record_keeps_its_segment_but_not_the_log_start() {
    let disk = empty_disk();
    let log = try_open(&disk, small_segments()).unwrap().0;
    append(&log, plain(1, &["first"]));
    append(&log, held(header(2, 2), &["b", "held"], &[1], None));
    for i in 3..=12 {
        append(&log, plain(i, &["0123456789".repeat(20).as_str()]));
    }
    assert!(log.sync_round(0));
    let rules = RetentionRules {
        retention_ms: Some(0),
        ..KEEP_ALL
    };
    let pinned = log.retain(&rules, 1000, &|| Ok(Some(Offset(1)))).unwrap();
    assert_eq!(pinned.segments, 0);
    assert!(pinned.pinned_bytes() > 0);
    let end = log.offsets().log_end;
    assert_eq!(log.offsets().log_start, end, "consumers see none of it");
    let hold = log.batch_at(Offset(1)).unwrap().unwrap();
    assert!(hold.header.is_hidden());
    let (told, _) = told(&disk, small_segments());
    assert_eq!((told.ends[0], told.special.as_slice()), (end.0, &[1][..]));
    // It was fired: now it may go, and the next start does not miss it.
    let done = log.retain(&rules, 1000, &none).unwrap();
    assert!(done.segments > 0);
    assert_eq!(
        try_open(&disk.settled(), small_segments())
            .unwrap()
            .0
            .offsets()
            .log_start,
        end
    );
}

#[test]
fn records_are_deleted_up_to_an_offset() {
    let disk = empty_disk();
    let log = filled(&disk);
    assert!(matches!(
        log.delete_records(Offset(13)),
        Err(ReadError::OutOfRange { .. })
    ));
    assert_eq!(log.delete_records(Offset(7)).unwrap(), Offset(7));
    assert_eq!(
        log.delete_records(Offset(3)).unwrap(),
        Offset(7),
        "it never goes back"
    );
    assert_eq!(visible_records(&log, 7).first().unwrap().0, 7);
    log.retain(&KEEP_ALL, 0, &none).unwrap();
    assert!(!names(&disk, "segments").contains(&"00000000000000000000.log".to_owned()));
    assert_eq!(told(&disk, small_segments()).0.ends[0], 7);
    assert_eq!(log.delete_records(Offset(12)).unwrap(), Offset(12));
    assert_eq!(ends(&log), [12, 12, 12, 12]);
}

/// At any change of the disk, by kill and by power loss: the start that was answered holds, nothing below it comes back,
/// nothing above it is missing, and no file is left over after the next pass.
#[test]
fn a_crash_in_the_middle_of_retention_brings_nothing_back_and_loses_nothing() {
    let rules = RetentionRules {
        retention_ms: Some(994),
        file_delete_delay_ms: 5,
        ..KEEP_ALL
    };
    let mut stopped_inside = 0;
    for n in 0..120 {
        let disk = empty_disk();
        let log = filled(&disk);
        let before = log.offsets().log_start;
        disk.stop_after(n);
        let kept = log
            .retain(&rules, 1000, &none)
            .map(|_| log.offsets().log_start);
        let deleted = kept
            .is_ok()
            .then(|| log.delete_records(Offset(9)))
            .and_then(Result::ok);
        if deleted.is_some() {
            break;
        }
        stopped_inside += 1;
        let acked = deleted.or(kept.ok()).unwrap_or(before);
        for (how, left) in [
            ("kill", disk.kill()),
            ("power loss", disk.crash(0)),
            ("torn", disk.crash(n + 1)),
        ] {
            let what = format!("{how} after {n} changes");
            let again = try_open(&left, small_segments()).unwrap().0;
            let start = again.offsets().log_start;
            assert!(
                start >= acked,
                "{what}: starts at {start}, {acked} was told"
            );
            assert_eq!(again.offsets().log_end, Offset(12), "{what}");
            let visible = visible_records(&again, start.0);
            assert_eq!(i64::try_from(visible.len()), Ok(12 - start.0), "{what}");
            again.retain(&rules, 1000, &none).unwrap();
            again.reap(2000);
            again.checkpoint(NOW_MS).unwrap();
            let first = format!(
                "{:020}",
                again
                    .segments_from(Offset(0))
                    .first()
                    .unwrap()
                    .first_offset
                    .0
            );
            for name in [names(&left, "segments"), names(&left, "index")].concat() {
                assert!(
                    name == "manifest.json" || (name >= first && !name.ends_with(".deleted")),
                    "{what}: {name} is left over"
                );
            }
        }
    }
    assert!(stopped_inside > 20, "{stopped_inside}");
}

/// The append that reaches the count is committed by a sync, those before it at once.
#[test]
fn a_sync_after_so_many_messages() {
    let config = LogConfig {
        flush_messages: 3,
        ..at_once()
    };
    let log = try_open(&empty_disk(), config).unwrap().0;
    append(&log, plain(1, &["a", "b"]));
    assert_eq!(log.offsets().high_watermark, Offset(2));
    append(&log, plain(1, &["c"]));
    append(&log, plain(1, &["d"]));
    assert_eq!(
        log.offsets().high_watermark,
        Offset(2),
        "none overtakes the one that waits"
    );
    assert!(log.sync_round(0));
    assert_eq!(log.offsets().high_watermark, Offset(4));
    append(&log, plain(1, &["e"]));
    assert_eq!(log.offsets().high_watermark, Offset(5));
}

/// Segments that go from the front otherwise are a loss, not a beginning.
#[test]
fn a_front_that_nobody_took_is_damage() {
    let disk = empty_disk();
    let config = LogConfig {
        segment_bytes: 200,
        ..LogConfig::default()
    };
    let (log, _) = try_open(&disk, config).unwrap();
    for _ in 0..6 {
        append(&log, plain(1, &["a", "b", "c"]));
    }
    log.close(NOW_MS).unwrap();
    let segments = disk.list(&dir().join("segments")).unwrap();
    assert!(segments.len() > 2);
    disk.lose(&segment_path(0)).unwrap();
    let failed = try_open(&disk, config).unwrap_err().to_string();
    assert!(failed.contains("are missing"), "{failed}");
    assert!(failed.contains("from 0 on"), "{failed}");
}
