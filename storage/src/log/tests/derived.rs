//! What is derived from the log is rebuilt from it when it is lost, damaged or stale, and never speaks of what the log lacks.

use super::{
    workload::{config, run},
    *,
};

/// A whole run that was closed, and what it tells.
fn closed(config: LogConfig) -> (CrashDisk, Told) {
    let disk = empty_disk();
    let run = run(&disk, config);
    assert_eq!(run.failed, None);
    run.log.unwrap().close(NOW_MS).unwrap();
    let (told, report) = told(&disk, config);
    assert_eq!(
        report,
        RecoveryReport::default(),
        "a clean open reads nothing"
    );
    (disk, told)
}

/// Each file beside the log: removed, empty, cut in half, without its last byte, with a flipped bit, or from an earlier
/// checkpoint. The log tells the same; and the next checkpoint has mended it, so that the open after it reads nothing.
#[test]
fn a_derived_file_that_is_lost_or_damaged_or_stale_is_rebuilt() {
    let config = config(FlushPolicy::Ack);
    let (disk, expected) = closed(config);
    let stale = {
        let disk = empty_disk();
        disk.stop_after(230);
        let _ = run(&disk, config);
        disk
    };
    let mut checked = 0;
    for (path, bytes) in disk.files() {
        if path.starts_with(dir().join("segments")) {
            continue;
        }
        checked += 1;
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 4;
        let changed = [
            None,
            Some(vec![]),
            Some(bytes[..bytes.len() / 2].to_vec()),
            Some(bytes[..bytes.len() - 1].to_vec()),
            Some(flipped),
            stale.bytes(&path),
        ];
        for (i, change) in changed.into_iter().enumerate() {
            let what = format!("{}, change {i}", path.display());
            let disk = disk.settled();
            match change {
                None => disk.lose(&path).unwrap(),
                Some(bytes) => disk.set_bytes(&path, &bytes).unwrap(),
            }
            assert_eq!(told(&disk, config).0, expected, "{what}");
            let log = try_open(&disk, config).unwrap().0;
            log.close(NOW_MS).unwrap();
            let (again, report) = told(&disk, config);
            assert_eq!(again, expected, "{what}, then closed");
            assert_eq!(
                report,
                RecoveryReport::default(),
                "{what}: it was not mended"
            );
        }
    }
    assert!(checked > 10, "{checked}");
}

/// All of it at once.
#[test]
fn a_log_without_any_derived_file_tells_the_same() {
    let config = config(FlushPolicy::Ack);
    let (disk, expected) = closed(config);
    for (path, _) in disk.files() {
        if !path.starts_with(dir().join("segments")) {
            disk.lose(&path).unwrap();
        }
    }
    let (told, report) = told(&disk, config);
    assert_eq!(told, expected);
    let frames: usize = told.frames.iter().map(Bytes::len).sum();
    assert_eq!(report.scanned_bytes, frames as u64);
}

/// A stopped log after a checkpoint and some more appends, over a roll: the open reads just those.
#[test]
fn recovery_reads_only_what_is_behind_the_checkpoint() {
    let config = config(FlushPolicy::Ack);
    for more in [0, 1, 3, 12] {
        let disk = empty_disk();
        let log = try_open(&disk, config).unwrap().0;
        for i in 0..10 {
            append(&log, plain(i, &[&"x".repeat(900)]));
        }
        log.checkpoint(NOW_MS).unwrap();
        let mut behind = 0;
        for i in 0..more {
            let unit = plain(i, &[&"y".repeat(700)]);
            behind += unit.len_bytes() as u64;
            append(&log, unit);
        }
        let before = disk.kill();
        let (log, report) = try_open(&before, config).unwrap();
        let expected = RecoveryReport {
            scanned_bytes: behind,
            ..RecoveryReport::default()
        };
        assert_eq!(report, expected, "{more} more");
        let end = 10 + more;
        assert_eq!(ends(&log), [0, end, end, end]);
    }
}

/// The disk loses the end of a synced log: it is cut between and inside units, behind and before each checkpoint, under each
/// policy. Nothing tells of offsets at or above the new end, also after the log has grown past its old one again.
#[test]
fn nothing_derived_is_ahead_of_a_log_that_was_cut() {
    let policies = [
        FlushPolicy::Ack,
        FlushPolicy::Interval(std::time::Duration::from_hours(1)),
        FlushPolicy::Os,
    ];
    for policy in policies {
        let config = config(policy);
        let (disk, full) = closed(config);
        let mut segments: Vec<_> = disk
            .files()
            .into_iter()
            .filter(|(path, _)| path.starts_with(dir().join("segments")))
            .collect();
        while let Some((path, bytes)) = segments.pop() {
            for len in (64..bytes.len()).step_by(97) {
                let what = format!("{policy:?}, {} cut at {len}", path.display());
                let disk = disk.settled();
                disk.set_bytes(&path, &bytes[..len]).unwrap();
                check_nothing_ahead(&what, &disk, &full, config);
            }
            disk.lose(&path).unwrap();
        }
    }
}

fn check_nothing_ahead(what: &str, disk: &CrashDisk, full: &Told, config: LogConfig) {
    let (cut, report) = told(disk, config);
    assert!(report.checkpoint_discarded, "{what}");
    let end = cut.ends[3];
    assert!(
        full.frames.starts_with(&cut.frames) && end < full.ends[3],
        "{what}"
    );
    for (_, epoch_end) in &cut.epochs {
        assert!(
            *epoch_end <= end,
            "{what}: an epoch ends at {epoch_end} of {end}"
        );
    }
    for (id, producer) in cut.producers.as_object().unwrap() {
        for batch in producer["batches"].as_array().unwrap() {
            let last = batch["last_offset"].as_i64().unwrap();
            assert!(last < end, "{what}: producer {id} has {last} of {end}");
        }
    }
    assert_eq!(cut, told(&without_checkpoint(disk), config).0, "{what}");

    // Other units, past the old end, and no checkpoint since: the old one would fit the new length.
    let log = try_open(disk, config).unwrap().0;
    for i in 0..12 {
        let unit = idempotent(1, 1_000 + i, &[&"other".repeat(200)]);
        // A producer that the cut log still knows may not jump.
        if log.append(unit, LeaderEpoch(9), NOW_MS).is_err() {
            append(&log, plain(1, &[&"other".repeat(200)]));
        }
    }
    log.sync_round(0);
    drop(log);
    let left = disk.kill();
    let scanned = told(&without_checkpoint(&left), config).0;
    assert_eq!(told(&left, config).0, scanned, "{what}, then grown again");
}

/// A producer that was silent for too long is forgotten by a checkpoint: after it any sequence is taken.
#[test]
fn an_expired_producer_starts_anew() {
    let config = LogConfig {
        producer_id_expiration_ms: 100,
        ..at_once()
    };
    let log = try_open(&empty_disk(), config).unwrap().0;
    append(&log, idempotent(1, 0, &["a"]));
    log.checkpoint(NOW_MS + 99).unwrap();
    assert!(log.append(idempotent(1, 7, &["b"]), EPOCH, NOW_MS).is_err());
    log.checkpoint(NOW_MS + 100).unwrap();
    append(&log, idempotent(1, 7, &["b"]));
}
