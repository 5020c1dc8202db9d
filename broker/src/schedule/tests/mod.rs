//! A partition whose clock and disk belong to the test: nothing early, nothing lost, nothing twice.

mod carried;
mod transactional;
mod world;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bytes::Bytes;
use scheduler::TimerKey;
use storage::{
    disk::{Disk, crash::CrashDisk},
    units::{DueTime, Offset, ScheduleId, TimestampMs},
};

use super::control::{self, Asked, Change, Held, Loader, Outcome};

use self::world::*;

#[tokio::test]
async fn a_clock_that_goes_back_an_hour_fires_nothing_early() {
    let mut world = World::new();
    let ids = [world.hold(T0 + 10), world.hold(T0 + HOUR)];
    world.tick(T0 + 10);
    assert_eq!(world.fired_ids(), [ids[0]]);
    world.tick(T0 - HOUR);
    world.tick(T0 + HOUR - 1);
    assert_eq!(world.fired_ids(), [ids[0]]);
    world.tick(T0 + HOUR);
    assert_eq!(world.fired_ids(), ids);
}

#[tokio::test]
async fn a_leap_of_ten_days_fires_each_once_in_order() {
    let mut world = World::new();
    let dues: Vec<i64> = (0..5_000)
        .map(|i| T0 + 1 + (i * 7_919) % (9 * DAY))
        .collect();
    let first = world.hold_many(&dues);
    world.tick(T0 + 10 * DAY);
    let fired = world.consume();
    let mut expected: Vec<(i64, i64)> = dues
        .iter()
        .zip(first..)
        .map(|(due, id)| (*due, id))
        .collect();
    expected.sort_unstable();
    let got: Vec<_> = fired.iter().map(|f| (f.due, f.id)).collect();
    assert_eq!(got, expected);
    assert_eq!(world.pending(), 0);
    world.tick(T0);
    world.tick(T0 + 20 * DAY);
    assert_eq!(world.consume().len(), 5_000);
}

/// A step while a herd fires, back and forth.
#[tokio::test]
async fn a_step_during_a_herd_loses_and_doubles_nothing() {
    let mut world = World::new();
    world.hold_many(&vec![T0 + 5; 9_000]);
    for now in [T0 + 5, T0 - HOUR, T0 + 5, T0 + DAY] {
        world.clock.set(TimestampMs(now));
        world.fire_loop.turn();
    }
    world.tick(T0 + DAY);
    assert_eq!(world.fired_ids(), (0..9_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn equal_due_times_fire_in_produced_order() {
    let mut world = World::new();
    for _ in 0..20 {
        world.hold_many(&[T0 + 5; 100]);
    }
    world.tick(T0 + 5);
    assert_eq!(world.fired_ids(), (0..2_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_came_due_during_an_outage_fires_once_at_the_start_in_order() {
    let world = World::new();
    world.hold_many(&[T0 + 3_000, T0 + 1_000, T0 + 2_000, T0 + DAY]);
    let mut world = world.restarted(T0 + HOUR);
    world.tick(T0 + HOUR);
    assert_eq!(world.fired_ids(), [1, 2, 0]);
    let mut world = world.restarted(T0 + 2 * HOUR);
    world.tick(T0 + 2 * HOUR);
    assert_eq!(world.fired_ids(), [1, 2, 0]);
    world.tick(T0 + DAY);
    assert_eq!(world.fired_ids(), [1, 2, 0, 3]);
}

#[tokio::test]
async fn far_due_times_are_kept_over_restarts() {
    let mut world = World::new();
    world.hold_many(&[T0 + 366 * DAY, T0 + 3_652 * DAY]);
    world.tick(T0);
    world
        .partition
        .checkpoint_timers(1, TimestampMs(T0))
        .unwrap();
    let mut world = world.restarted(T0 + 365 * DAY);
    world.tick(T0 + 366 * DAY - 1);
    assert!(world.consume().is_empty());
    world.tick(T0 + 366 * DAY);
    assert_eq!(world.fired_ids(), [0]);
    world
        .partition
        .checkpoint_timers(1, TimestampMs(T0 + 366 * DAY))
        .unwrap();
    let mut world = world.restarted(T0 + 3_652 * DAY);
    world.tick(T0 + 3_652 * DAY);
    assert_eq!(world.fired_ids(), [0, 1]);
}

/// A topic with a codec of its own has its fired records in it; what they settle is found again at the start.
#[tokio::test]
async fn fired_records_are_compressed_as_their_topic_says() {
    for codec in ["gzip", "snappy", "lz4", "zstd", "uncompressed", "producer"] {
        let disk = CrashDisk::new();
        disk.create_dir_all(&PathBuf::from("/data")).unwrap();
        let settings = [("compression.type", codec)];
        let mut world = World::open(disk, T0, &settings).unwrap();
        world.hold_many(&[T0 + 5; 2_000]);
        world.hold_many(&[T0 + HOUR; 10]);
        world.tick(T0 + 5);
        let batch = world
            .partition
            .log()
            .batch_at(Offset(2_010))
            .unwrap()
            .unwrap();
        let id = batch.header.compression();
        let expected = ["uncompressed", "gzip", "snappy", "lz4", "zstd"];
        let expected = expected.iter().position(|name| *name == codec).unwrap_or(0);
        assert_eq!(usize::from(id), expected, "{codec}");
        let fired: Vec<_> = (0..2_000).collect();
        let mut world = World::open(world.disk.kill(), T0 + 6, &settings).unwrap();
        assert_eq!(world.pending(), 10);
        world.tick(T0 + 6);
        assert_eq!(world.fired_ids(), fired, "{codec}");
        let at = control::get(&world.partition, ScheduleId(7)).unwrap();
        assert!(matches!(at, Held::Fired(Offset(2_017))), "{codec}: {at:?}");
    }
}

/// A consumer that republishes what it got, with its headers and a new delay, settles nothing but its own.
#[tokio::test]
async fn headers_of_a_fired_record_settle_nothing_when_they_come_back() {
    let mut world = World::new();
    let ids = [world.hold(T0 + 5), world.hold(T0 + 50)];
    world.tick(T0 + 5);
    let own = |id: i64| {
        vec![
            ("chronos-schedule-id", id.to_string()),
            ("chronos-due-at", (T0 + 50).to_string()),
            ("chronos-created-at", T0.to_string()),
        ]
    };
    world.produce(&[(own(ids[1]), "plain")]).unwrap();
    let again = [
        own(ids[1]),
        vec![("chronos-deliver-at", (T0 + 90).to_string())],
    ]
    .concat();
    let again = world.produce(&[(again, "again")]).unwrap().base_offset.0;
    let mut world = world.restarted(T0 + 100);
    world.tick(T0 + 100);
    let fired = world.consume();
    let settled: Vec<_> = fired
        .iter()
        .filter(|f| f.value != "plain")
        .map(|f| f.id)
        .collect();
    assert_eq!(settled, [ids[0], ids[1], again]);
}

#[tokio::test]
async fn cancelled_moved_and_fired_now() {
    let mut world = World::new();
    let ids: Vec<_> = (0..5).map(|i| world.hold(T0 + 1_000 + i)).collect();
    let id = |n: usize| ScheduleId(ids[n]);
    let p = Arc::clone(&world.partition);
    let now = world.now();
    let cancelled = control::cancel(&p, &[id(0), ScheduleId(999), id(0)], b"", now)
        .await
        .unwrap();
    assert_eq!(cancelled, [Outcome::Done, Outcome::NotFound, Outcome::Done]);
    let again = control::cancel(&p, &[id(0)], b"", now).await.unwrap();
    assert_eq!(again, [Outcome::NotFound]);
    let to = DueTime(T0 + 5_000);
    let wrong = Some(DueTime(1));
    let asked = |change, expected, request_id| Asked {
        change,
        expected,
        request_id,
    };
    let to = Change::MoveTo(to);
    let moved = control::reschedule(&p, id(1), asked(to, wrong, b""), now)
        .await
        .unwrap();
    assert_eq!(moved, Outcome::DueDiffers(DueTime(T0 + 1_001)));
    for _ in 0..2 {
        // Repeated with its id, a request answers as it first did.
        let expected = Some(DueTime(T0 + 1_001));
        let moved = control::reschedule(&p, id(1), asked(to, expected, b"r1"), now)
            .await
            .unwrap();
        assert_eq!(moved, Outcome::Done);
    }
    for (other, of) in [(to, id(2)), (Change::Cancel, id(1))] {
        let reused = control::reschedule(&p, of, asked(other, None, b"r1"), now).await;
        let reused = reused.unwrap_err().to_string();
        assert!(reused.contains("another request"), "{reused}");
    }
    for later in [0, 5] {
        // Now is another time when it is asked again.
        let change = Change::Now(DueTime(T0 + later));
        let fired = control::reschedule(&p, id(4), asked(change, None, b"r2"), now)
            .await
            .unwrap();
        assert_eq!(fired, Outcome::Done);
    }
    world.tick(T0);
    assert_eq!(world.fired_ids(), [ids[4]]);

    let mut world = world.restarted(T0);
    let p = Arc::clone(&world.partition);
    assert!(matches!(control::get(&p, id(0)).unwrap(), Held::NotFound));
    let Held::Pending(moved) = control::get(&p, id(1)).unwrap() else {
        panic!("moved, so it waits");
    };
    assert_eq!(moved.due, DueTime(T0 + 5_000));
    world.tick(T0 + 2_000);
    assert_eq!(world.fired_ids(), [ids[4], ids[2], ids[3]]);
    let late = control::cancel(&p, &[id(2)], b"", now).await.unwrap();
    let fired = world.consume();
    assert_eq!(late, [Outcome::AlreadyFired(Offset(fired[1].offset))]);
    world.tick(T0 + 5_000);
    let moved = world.consume().pop().unwrap();
    assert_eq!((moved.id, moved.due), (ids[1], T0 + 5_000));
    assert_eq!(world.pending(), 0);
}

/// A Kafka client's way: the record takes an offset, is never readable, and is acked whatever the outcome.
#[tokio::test]
async fn a_record_cancels_another_by_header() {
    let world = World::new();
    let ids = [world.hold(T0 + 10), world.hold(T0 + 10)];
    let cancel = |id: String| vec![("chronos-cancel", id)];
    let refused = |headers| world.produce(&[(headers, "")]).unwrap_err();
    assert!(refused(cancel("x".into())).contains("chronos-cancel"));
    let both = [
        cancel("0".into()),
        vec![("chronos-deliver-after", "1h".to_owned())],
    ]
    .concat();
    assert!(refused(both).contains("exclude"));
    let batch = [
        (Vec::new(), "before"),
        (cancel(ids[0].to_string()), ""),
        (cancel("77".into()), ""),
        (vec![("chronos-deliver-at", (T0 + 20).to_string())], "held"),
    ];
    let base = world.produce(&batch).unwrap().base_offset.0;
    assert_eq!(world.pending(), 2);
    let mut world = world.restarted(T0 + 20);
    assert_eq!(world.pending(), 2);
    world.tick(T0 + 20);
    let values: Vec<_> = world
        .consume()
        .into_iter()
        .map(|f| (f.id, f.value))
        .collect();
    assert_eq!(
        values,
        [
            (-1, "before".into()),
            (ids[1], "v".into()),
            (base + 3, "held".into())
        ]
    );
}

/// Of the records with one schedule key, the last one waits.
#[tokio::test]
async fn a_newer_record_of_a_schedule_key_replaces_the_one_that_waits() {
    let mut world = World::new();
    let keyed = |key: &str, due: i64| {
        vec![
            ("chronos-deliver-at", due.to_string()),
            ("chronos-schedule-key", key.to_owned()),
        ]
    };
    let send = |world: &World, headers, value: &str| {
        let sent = world.produce(&[(headers, value)]).unwrap();
        sent.base_offset.0
    };
    let first = send(&world, keyed("a", T0 + 10), "a1");
    let other = send(&world, keyed("b", T0 + 10), "b1");
    send(&world, vec![], "plain");
    assert_eq!(world.pending(), 2);
    // Not committed yet, committed, after a restart, and after a checkpoint.
    send(&world, keyed("a", T0 + 40), "a2");
    assert_eq!(world.pending(), 2);
    world.tick(T0 + 10);
    let mut world = world.restarted(T0 + 11);
    send(&world, keyed("a", T0 + 30), "a3");
    assert_eq!(world.pending(), 1);
    world.tick(T0 + 12);
    world
        .partition
        .checkpoint_timers(1, TimestampMs(T0 + 12))
        .unwrap();
    let mut world = world.restarted(T0 + 13);
    // Twice in one batch, and one that is due at once.
    let batch = [
        (keyed("a", T0 + 50), "a4"),
        (keyed("c", T0 + 50), "c1"),
        (keyed("a", T0 + 60), "a5"),
        (keyed("c", T0), "c now"),
    ];
    world.produce(&batch).unwrap();
    assert_eq!(world.pending(), 1);
    world.tick(T0 + 59);
    let late = control::cancel(&world.partition, &[ScheduleId(first)], b"", world.now()).await;
    assert_eq!(late.unwrap(), [Outcome::NotFound]);
    world.tick(T0 + DAY);
    // One that fired waits no more: a newer one replaces nothing.
    send(&world, keyed("a", T0 + 2 * DAY), "a6");
    send(
        &world,
        vec![("chronos-schedule-key", "a".to_owned())],
        "a now",
    );
    world.tick(T0 + 3 * DAY);
    let got: Vec<_> = world.consume().into_iter().map(|f| f.value).collect();
    assert_eq!(got, ["plain", "b1", "c now", "a5", "a now"]);
    assert_eq!(world.fired_ids()[1], other);
    assert_eq!(world.pending(), 0);
}

/// The index says more than the log has, after a power loss that the log did not survive; and less, where a crash took its end.
#[tokio::test]
async fn what_the_key_index_says_is_checked_against_the_log() {
    let world = World::new();
    let keyed = |key: &str| {
        vec![
            ("chronos-deliver-at", (T0 + 50).to_string()),
            ("chronos-schedule-key", key.to_owned()),
        ]
    };
    world.produce(&[(vec![], "plain")]).unwrap();
    let lost = world.disk.kill();
    world.produce(&[(keyed("k"), "lost")]).unwrap();
    let keys = Arc::clone(&world.keys);
    drop(world);
    // Another record has that id now.
    let world = World::open_with(lost, T0, &[], keys).unwrap();
    let id = world.produce(&[(keyed("other"), "kept")]).unwrap();
    assert_eq!(id.base_offset, Offset(1));
    world.produce(&[(keyed("k"), "new")]).unwrap();
    assert_eq!(world.pending(), 2);
    let disk = world.disk.kill();
    drop(world);
    // Without its index, it is read from the log again.
    let world = World::open(disk, T0, &[]).unwrap();
    world.produce(&[(keyed("k"), "newest")]).unwrap();
    assert_eq!(world.pending(), 2);
    let mut world = world.restarted(T0 + 50);
    world.tick(T0 + 50);
    let got: Vec<_> = world.consume().into_iter().map(|f| f.value).collect();
    assert_eq!(got, ["plain", "kept", "newest"]);
}

/// A batch of which a part is held, sent again: before and after a restart, and when its held record has fired.
#[tokio::test]
async fn a_retry_of_a_half_held_batch_is_answered_as_the_first() {
    let world = World::new();
    world.produce(&[(Vec::new(), "something before")]).unwrap();
    let batch = [
        (Vec::new(), "plain"),
        (vec![("chronos-deliver-at", (T0 + 50).to_string())], "held"),
        (Vec::new(), "plain too"),
    ];
    let send = |world: &World| {
        let sent = world.produce_as(7, 0, &batch).unwrap();
        let cancel = [(vec![("chronos-cancel", "0".to_owned())], "")];
        let next = world.produce_as(7, 3, &cancel).unwrap();
        (
            sent.base_offset.0,
            sent.duplicate_of.is_some(),
            next.base_offset.0,
        )
    };
    assert_eq!(send(&world), (1, false, 4));
    assert_eq!(send(&world), (1, true, 4));
    let mut world = world.restarted(T0 + 40);
    assert_eq!(send(&world), (1, true, 4));
    assert_eq!(world.pending(), 1);
    world.tick(T0 + 50);
    assert_eq!(send(&world), (1, true, 4));
    world.tick(T0 + DAY);
    let values: Vec<_> = world.consume().into_iter().map(|f| f.value).collect();
    assert_eq!(values, ["something before", "plain", "plain too", "held"]);
}

/// Due times are moments: where a clock on the wall shows half past two twice, each is its own.
#[tokio::test]
async fn the_hour_that_comes_twice_when_summer_time_ends() {
    let mut world = World::new();
    let at = |text: &str| world.produce(&[(vec![("chronos-deliver-at", text.to_owned())], "v")]);
    let second = at("2027-10-31T02:30:00+01:00").unwrap().base_offset.0;
    let first = at("2027-10-31T02:30:00+02:00").unwrap().base_offset.0;
    // 2027-10-31T00:30:00Z
    let half_past = 1_824_942_600_000;
    world.tick(half_past - 1);
    assert!(world.consume().is_empty());
    world.tick(half_past);
    assert_eq!(world.fired_ids(), [first]);
    world.tick(half_past + HOUR - 1);
    assert_eq!(world.fired_ids(), [first]);
    world.tick(half_past + HOUR);
    assert_eq!(world.fired_ids(), [first, second]);
}

/// The process ends at each change of the disk, through holds, fires, cancels, checkpoints: acked is kept, nothing twice.
#[tokio::test]
async fn killed_at_any_change_of_the_disk() {
    let run = |world: &mut World| -> Vec<i64> {
        let mut acked = Vec::new();
        for round in 0..12 {
            let dues: Vec<i64> = (0..10).map(|i| T0 + round * 10 + i % 4 * 8 + 1).collect();
            let records: Vec<_> = dues
                .iter()
                .map(|due| (vec![("chronos-deliver-at", due.to_string())], "v"))
                .collect();
            if let Ok(appended) = world.produce(&records) {
                let held = dues.iter().zip(appended.base_offset.0..);
                acked.extend(
                    held.filter(|(due, _)| **due > world.now().0)
                        .map(|(_, id)| id),
                );
            }
            world.clock.set(TimestampMs(T0 + round * 10));
            world.fire.watch(&world.partition);
            world.fire_loop.turn();
            if round % 3 == 2 {
                let _ = world.partition.checkpoint_timers(1, world.now());
            }
        }
        acked
    };
    let mut whole = World::new();
    run(&mut whole);
    let changes = whole.disk.counters().changes;
    assert!(changes > 40, "{changes}");
    for stop in 1..changes {
        let disk = CrashDisk::new();
        disk.create_dir_all(&PathBuf::from("/data")).unwrap();
        disk.stop_after(stop);
        let mut acked = Vec::new();
        if let Some(mut world) = World::open(disk.clone(), T0, &[]) {
            acked = run(&mut world);
        }
        let mut world = World::open(disk.kill(), T0 + HOUR, &[]).unwrap();
        world.tick(T0 + HOUR);
        let fired = world.consume();
        let mut ids: Vec<_> = fired.iter().map(|f| f.id).collect();
        ids.sort_unstable();
        let mut once = ids.clone();
        once.dedup();
        assert_eq!(ids, once, "doubled, stopped after {stop}");
        let lost: Vec<_> = acked.iter().filter(|id| !ids.contains(id)).collect();
        assert!(lost.is_empty(), "lost {lost:?}, stopped after {stop}");
        assert_eq!(world.pending(), 0, "stopped after {stop}");
    }
}

/// Timer files are derived: each one gone, emptied, cut or damaged, at the start and while they are read.
#[tokio::test]
async fn torn_timer_files_of_every_kind() {
    let mut world = World::new();
    let dues: Vec<i64> = (0..400).map(|i| T0 + 1_000 + i * 60_000).collect();
    world.hold_many(&dues);
    world.tick(T0);
    world
        .partition
        .checkpoint_timers(1, TimestampMs(T0))
        .unwrap();
    let whole = world.disk.kill();
    let timers = whole
        .files()
        .into_keys()
        .filter(|p| p.to_string_lossy().contains("timers/"));
    let timers: Vec<_> = timers.collect();
    assert!(timers.len() > 5, "{timers:?}");
    for path in timers {
        let bytes = whole.bytes(&path).unwrap();
        let half = bytes[..bytes.len() / 2].to_vec();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 3] ^= 4;
        let zeros = vec![0; bytes.len()];
        for damaged in [
            None,
            Some(Vec::new()),
            Some(half),
            Some(flipped),
            Some(zeros),
        ] {
            for while_open in [false, true] {
                let disk = whole.kill();
                let before = while_open.then(|| World::open(disk.clone(), T0, &[]).unwrap());
                match &damaged {
                    None if while_open => continue,
                    None => disk.remove_file(&path).unwrap(),
                    Some(bytes) => disk.set_bytes(&path, bytes).unwrap(),
                }
                let mut world = before.unwrap_or_else(|| World::open(disk, T0, &[]).unwrap());
                assert_eq!(world.pending(), 400);
                world.tick(T0 + 2 * DAY);
                assert_eq!(world.fired_ids(), (0..400).collect::<Vec<_>>(), "{path:?}");
            }
        }
    }
}

/// Nothing is lost or doubled where the disk is full while records come due; firing resumes by itself.
#[tokio::test(start_paused = true)]
async fn a_full_disk_while_firing() {
    let mut world = World::new();
    world.hold_many(&(0..100).map(|i| T0 + 10 + i).collect::<Vec<_>>());
    world.disk.set_capacity(Some(world.disk.used_bytes()));
    world.tick(T0 + 500);
    assert!(world.consume().is_empty());
    assert_eq!(world.pending(), 100);
    world.disk.set_capacity(None);
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    world.tick(T0 + 500);
    assert_eq!(world.fired_ids(), (0..100).collect::<Vec<_>>());
}

/// A listing shows what waits, in firing order, from a key on.
#[tokio::test]
async fn lists_and_counts_what_waits() {
    let mut world = World::new();
    world.hold_many(&(0..300).map(|i| T0 + 1_000 + i * HOUR).collect::<Vec<_>>());
    world.tick(T0 + 1_000);
    let from = TimerKey {
        due: DueTime(T0 + 2 * HOUR),
        id: ScheduleId(0),
    };
    let listed = control::list(&world.partition, from, DueTime(T0 + 5 * HOUR), 99).unwrap();
    let ids: Vec<_> = listed.iter().map(|e| e.key.id.0).collect();
    assert_eq!(ids, [2, 3, 4]);
    let mut loader = Loader::new(&world.partition);
    for entry in &listed {
        let held = loader.load(entry).unwrap().unwrap();
        assert_eq!(held.record.value, Some(Bytes::from("v")));
    }
    let edges = [DueTime(T0 + 2 * HOUR), DueTime(T0 + 100 * HOUR)];
    assert_eq!(
        control::histogram(&world.partition, &edges).unwrap(),
        [1, 98, 200]
    );
}

/// What fired late takes the append time: retention counts from then, and every record is still fetched.
#[tokio::test]
async fn an_outage_longer_than_retention_loses_nothing() {
    let settings = [("retention.ms", "60000"), ("segment.bytes", "1048576")];
    let world = World::new();
    world.hold_many(&(0..200).map(|i| T0 + 1_000 + i).collect::<Vec<_>>());
    let now = T0 + 30 * DAY;
    let mut world = World::open(world.disk.kill(), now, &settings).unwrap();
    world.partition.retain(now).unwrap();
    world.tick(now);
    world.partition.retain(now + 30_000).unwrap();
    assert_eq!(world.fired_ids(), (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_topic_deleted_with_records_pending_fires_nothing_more() {
    let mut world = World::new();
    world.hold_many(&[T0 + 10; 50]);
    world.tick(T0);
    world.partition.close();
    world.tick(T0 + HOUR);
    assert!(world.consume().is_empty());
    world
        .partition
        .checkpoint_timers(1, TimestampMs(T0))
        .unwrap();
    let now = world.now();
    let cancelled = control::cancel(&world.partition, &[ScheduleId(1)], b"", now).await;
    assert!(matches!(cancelled, Err(control::ControlError::Closed)));
}

/// Records larger than what a FIRE frame is closed at come alone, and also where the topic takes no such record any more.
#[tokio::test]
async fn a_record_larger_than_a_fire_frame_fires_alone() {
    let world = World::new();
    let large = "x".repeat(700_000);
    for _ in 0..3 {
        let at = vec![("chronos-deliver-at", (T0 + 10).to_string())];
        world.produce(&[(at, large.as_str())]).unwrap();
    }
    let settings = [("max.message.bytes", "1000")];
    let mut world = World::open(world.disk.kill(), T0, &settings).unwrap();
    world.tick(T0 + 10);
    let fired = world.consume();
    assert_eq!(fired.len(), 3);
    assert!(fired.iter().all(|f| f.value == large));
}

/// Half of what waits is cancelled, in memory and in runs, over a restart.
#[tokio::test]
async fn ten_thousand_cancels_then_the_rest_fires() {
    let mut world = World::new();
    for _ in 0..100 {
        world.hold_many(&[T0 + 10; 200]);
    }
    world.tick(T0);
    let even: Vec<_> = (0..20_000).step_by(2).map(ScheduleId).collect();
    let now = world.now();
    let outcomes = control::cancel(&world.partition, &even, b"", now)
        .await
        .unwrap();
    assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Done));
    assert_eq!(world.pending(), 10_000);
    let mut world = world.restarted(T0);
    assert_eq!(world.pending(), 10_000);
    world.tick(T0 + 10);
    let odd: Vec<i64> = (1..20_000).step_by(2).collect();
    assert_eq!(world.fired_ids(), odd);
}
