//! A disk that fails or is full: nothing that was acked is lost, and nothing is acked that may be.

use super::{
    workload::{check, config, run},
    *,
};
use crate::log::AppendError;

/// Each sync of a whole run fails in turn: of a segment, a new segment's header, or a file beside the log.
#[test]
fn a_sync_that_fails_poisons_the_log_and_loses_nothing_acked() {
    let config = config(FlushPolicy::Ack);
    let syncs = {
        let disk = empty_disk();
        assert_eq!(run(&disk, config).failed, None);
        disk.counters().syncs
    };
    let mut poisoned = 0;
    for nth in 1..=syncs {
        let disk = empty_disk();
        disk.fail_sync(nth);
        let run = run(&disk, config);
        assert!(run.failed.is_some(), "sync {nth} was not needed");
        if let Some(log) = &run.log
            && let Some(why) = log.is_poisoned()
        {
            poisoned += 1;
            assert!(why.contains("EIO"), "{why}");
            check_poisoned(log, run.high_watermark);
        }
        for seed in 0..=3 {
            let what = format!("sync {nth} failed, power loss {seed}");
            let end = check(&what, &run, &disk.crash(seed), config);
            assert!(
                end >= run.high_watermark,
                "{what}: {end} of {}",
                run.high_watermark
            );
        }
        let end = check("killed", &run, &disk.kill(), config);
        assert!(end >= run.high_watermark);
    }
    assert!(poisoned > 5, "{poisoned}");
}

fn check_poisoned(log: &Log, high_watermark: i64) {
    assert!(log.offsets().poisoned);
    let refused = log.append(plain(1, &["more"]), EPOCH, NOW_MS).unwrap_err();
    assert_eq!(refused.to_string(), "the log is poisoned by a failed sync");
    assert!(!log.sync_round(0), "there is no second try");
    let _ = log.checkpoint(NOW_MS).is_err();
    assert_eq!(ends(log)[2], high_watermark, "nothing more is acked");
    let visible = ends(log)[1];
    let read = visible_records(log, 0);
    assert!(
        read.iter().all(|(o, _)| *o < visible),
        "what is committed can be read"
    );
}

/// Whoever waits hears of the poisoning, under each policy.
#[test]
fn those_who_wait_hear_of_a_poisoned_log() {
    for policy in [FlushPolicy::Ack, FlushPolicy::Os] {
        let disk = empty_disk();
        let log = try_open(&disk, config(policy)).unwrap().0;
        append(&log, plain(1, &["a"]));
        let mut watch = log.watch();
        watch.mark_unchanged();
        disk.fail_sync(1);
        assert!(!log.sync_round(0));
        assert!(watch.has_changed().unwrap(), "{policy:?}");
        assert!(watch.borrow_and_update().poisoned, "{policy:?}");
    }
}

/// Each amount of room, from none to one byte less than needed, for a unit that fits the segment and for one that needs a new
/// one: refused, and the files are as before. With room it goes on, and the log opens.
#[test]
fn a_full_disk_refuses_the_append_and_changes_nothing() {
    for rolls in [false, true] {
        let disk = empty_disk();
        let log = try_open(&disk, config(FlushPolicy::Ack)).unwrap().0;
        append(&log, plain(1, &["a"]));
        let filler = "f".repeat(if rolls { 3000 } else { 10 });
        append(&log, plain(1, &[&filler]));
        log.sync_round(0);
        let unit = held(header(2, 1), &[&"x".repeat(900), "held"], &[1], None);
        let need = unit.len_bytes();
        let before = (disk.files(), ends(&log), all_frames(&log));
        for room in (0..need).step_by(7).chain([need - 1]) {
            disk.set_capacity(Some(disk.used_bytes() + room as u64));
            let refused = log.append(unit.clone(), EPOCH, NOW_MS);
            let full = matches!(refused, Err(AppendError::StorageFull));
            assert!(full, "room for {room} of {need}: {refused:?}");
            if disk.files() != before.0 {
                // The new segment fitted, the unit did not.
                assert!(rolls && room >= 64);
                assert_eq!(disk.files().len(), before.0.len() + 1);
            }
            assert_eq!((ends(&log), all_frames(&log)), (before.1, before.2.clone()));
            assert_eq!(log.is_poisoned(), None);
        }
        disk.set_capacity(None);
        assert_eq!(append(&log, unit.clone()), 2);
        log.sync_round(0);
        let (log, report) = try_open(&disk.crash(0), config(FlushPolicy::Ack)).unwrap();
        assert_eq!(report.cut_bytes, 0);
        assert_eq!(all_frames(&log)[2..], stamped(&unit, 2));
    }
}

/// There is no room for a new segment, but for a small unit in the old one; then there is, and a new one is made further on.
#[test]
fn a_segment_that_could_not_be_made_is_not_in_the_way() {
    let config = config(FlushPolicy::Ack);
    for room in [0, 10, 63, 64, 100] {
        let disk = empty_disk();
        let log = try_open(&disk, config).unwrap().0;
        append(&log, plain(1, &[&"f".repeat(3700)]));
        disk.set_capacity(Some(disk.used_bytes() + room));
        let large = plain(1, &[&"x".repeat(900)]);
        assert!(matches!(
            log.append(large.clone(), EPOCH, NOW_MS),
            Err(AppendError::StorageFull)
        ));
        disk.set_capacity(None);
        append(&log, plain(1, &["small"]));
        append(&log, large);
        log.sync_round(0);
        for left in [disk.crash(0), disk.crash(1), disk.kill()] {
            let (told, report) = told(&left, config);
            assert_eq!(told.ends, [0, 3, 3, 3], "room for {room}");
            assert_eq!(report.cut_bytes, 0, "room for {room}");
        }
    }
}

/// A full disk keeps a checkpoint from being written, not the log from going on.
#[test]
fn a_checkpoint_that_finds_no_room_leaves_the_log_as_it_is() {
    let disk = empty_disk();
    let log = try_open(&disk, config(FlushPolicy::Ack)).unwrap().0;
    append(&log, plain(1, &["a"]));
    for room in (0..400).step_by(20) {
        disk.set_capacity(Some(disk.used_bytes() + room));
        let _ = log.checkpoint(NOW_MS).is_err();
        assert_eq!(log.is_poisoned(), None);
        assert_eq!(
            told(&disk, config(FlushPolicy::Ack)).0.ends,
            [0, 1, 1, 1],
            "room for {room}"
        );
    }
    disk.set_capacity(None);
    append(&log, plain(1, &["b"]));
    log.checkpoint(NOW_MS).unwrap();
    let (log, report) = try_open(&disk.crash(0), config(FlushPolicy::Ack)).unwrap();
    assert_eq!(report, RecoveryReport::default());
    assert_eq!(ends(&log), [0, 2, 2, 2]);
}

/// Half of a unit is written and cannot be cut off again: nothing is appended behind it, and the next open cuts it.
#[test]
fn a_failed_append_that_cannot_be_undone_poisons_the_log() {
    let disk = empty_disk();
    let log = try_open(&disk, config(FlushPolicy::Ack)).unwrap().0;
    append(&log, plain(1, &["a"]));
    log.sync_round(0);
    disk.stop_after(0);
    let unit = plain(1, &["b"]);
    let half = unit.len_bytes() / 2;
    let refused = log.append(unit, EPOCH, NOW_MS).unwrap_err();
    assert_eq!(refused.to_string(), "the log is poisoned by a failed sync");
    assert!(log.offsets().poisoned);
    let (told, report) = told(&disk.kill(), config(FlushPolicy::Ack));
    assert_eq!(told.ends, [0, 1, 1, 1]);
    assert_eq!(report.cut_bytes, half as u64);
}
