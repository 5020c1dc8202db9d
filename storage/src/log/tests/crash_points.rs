//! A log that is stopped at any change of the disk, by a kill or a power loss, has all that was acked and nothing in part.

use super::{
    workload::{Run, check, check_goes_on, config, run},
    *,
};

/// Changes of a whole run.
fn changes(config: LogConfig) -> u64 {
    let disk = empty_disk();
    let run = run(&disk, config);
    assert_eq!(run.failed, None);
    disk.counters().changes - empty_disk().counters().changes
}

/// Runs with each budget of changes; gives what was done and the disk.
fn stop_everywhere(config: LogConfig, stride: usize, mut each: impl FnMut(u64, &Run, &CrashDisk)) {
    let all = changes(config);
    assert!(all > 200, "{all} changes are too few to mean anything");
    for n in (0..=all).step_by(stride) {
        let disk = empty_disk();
        disk.stop_after(n);
        each(n, &run(&disk, config), &disk);
    }
}

/// All that was below the high watermark is there after a power loss, whichever of the unsynced sectors and names survive.
#[test]
fn a_power_loss_at_any_change_loses_nothing_acked() {
    let config = config(FlushPolicy::Ack);
    stop_everywhere(config, 2, |n, run, disk| {
        for seed in 0..=3 {
            let what = format!("stopped after {n}, power loss {seed}");
            let left = disk.crash(if seed == 0 { 0 } else { n * 10 + seed });
            let end = check(&what, run, &left, config);
            assert!(
                end >= run.high_watermark,
                "{what}: {end} of {}",
                run.high_watermark
            );
            check_goes_on(&what, &left, config);
        }
    });
}

/// All that was appended is there after a kill.
#[test]
fn a_kill_at_any_change_loses_nothing() {
    for policy in [FlushPolicy::Ack, FlushPolicy::Os] {
        let config = config(policy);
        stop_everywhere(config, 1, |n, run, disk| {
            let what = format!("{policy:?}, killed after {n}");
            let left = disk.kill();
            let end = check(&what, run, &left, config);
            let appended = run.appended.len();
            assert_eq!(run.units_below(end).len(), appended, "{what}");
            check_goes_on(&what, &left, config);
        });
    }
}

/// Without a sync before the ack a power loss may lose the end of the log, never its middle, and what is derived fits it.
#[test]
fn a_power_loss_without_syncs_leaves_a_prefix() {
    let config = config(FlushPolicy::Os);
    stop_everywhere(config, 4, |n, run, disk| {
        for seed in 0..=3 {
            let what = format!("stopped after {n}, power loss {seed}");
            let left = disk.crash(if seed == 0 { 0 } else { n * 10 + seed });
            check(&what, run, &left, config);
            check_goes_on(&what, &left, config);
        }
    });
}

/// The disk dies again while the log is being opened: at each change of that open.
#[test]
fn a_power_loss_during_recovery_loses_nothing_acked() {
    let config = config(FlushPolicy::Ack);
    for stop in [60, 140, 150, 220, 290] {
        let disk = empty_disk();
        disk.stop_after(stop);
        let run = run(&disk, config);
        for n in 0..40 {
            let torn = disk.crash(stop + n);
            torn.stop_after(n);
            let opened = try_open(&torn, config);
            for left in [torn.crash(0), torn.crash(n + 1), torn.kill()] {
                let what = format!("stopped after {stop}, then after {n} of an open");
                let end = check(&what, &run, &left, config);
                assert!(end >= run.high_watermark, "{what}");
            }
            drop(opened);
        }
    }
}
