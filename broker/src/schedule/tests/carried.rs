//! Records that were carried forward: each fires once, whatever happens to their first HOLD, to the carry, and between.

use std::{collections::BTreeSet, path::PathBuf};

use proptest::prelude::*;
use storage::disk::Disk;

use super::{
    super::control::{self, Held, Outcome},
    world::*,
    *,
};

/// Segments are small, and what is visible goes after a minute.
pub(super) const SETTINGS: [(&str, &str); 3] = [
    ("retention.ms", "60000"),
    ("segment.bytes", "16384"),
    ("file.delete.delay.ms", "0"),
];

fn world() -> World {
    let disk = CrashDisk::new();
    disk.create_dir_all(&PathBuf::from("/data")).unwrap();
    World::open(disk, T0, &SETTINGS).unwrap()
}

/// Some records that wait for years, among many that can be read at once, in several segments. Returns the ids.
fn few_among_many(world: &World) -> Vec<i64> {
    let mut ids = Vec::new();
    for n in 0..40 {
        let large = "x".repeat(1_500);
        world.produce(&[(Vec::new(), large.as_str())]).unwrap();
        if n % 4 == 0 {
            ids.push(world.hold(T0 + 3_650 * DAY + n));
        }
    }
    ids
}

fn segments(world: &World) -> usize {
    let files = world.disk.list(&PathBuf::from("/data/t-0/segments"));
    files.unwrap().len()
}

fn retain(world: &World, now: i64) -> storage::log::Retained {
    world.clock.set(TimestampMs(now));
    world.partition.retain_or_carry(TimestampMs(now)).unwrap()
}

async fn cancel(world: &World, ids: &[i64], now: i64) -> Vec<Outcome> {
    let ids: Vec<_> = ids.iter().copied().map(ScheduleId).collect();
    control::cancel(&world.partition, &ids, b"", TimestampMs(now))
        .await
        .unwrap()
}

fn open(disk: CrashDisk, now: i64) -> World {
    World::open(disk, now, &SETTINGS).unwrap()
}

#[tokio::test]
async fn a_record_due_in_ten_years_costs_about_its_own_bytes() {
    let mut world = world();
    let ids = few_among_many(&world);
    world.tick(T0);
    let bytes = world.partition.log().size_bytes();
    let now = T0 + HOUR;
    let retained = retain(&world, now);
    assert!(retained.pinned.is_empty(), "{retained:?}");
    assert_eq!(segments(&world), 1);
    let left = world.partition.log().size_bytes();
    assert!(left < bytes / 10, "{left} of {bytes}");
    assert_eq!(world.pending(), 10);
    assert!(world.consume().is_empty());
    let first = world.partition.log().first_kept();
    assert!(ids.iter().all(|id| *id < first.0));

    // Nothing of them is left but the carry: they are found, listed, moved, cancelled, fired now.
    let Held::Pending(held) = control::get(&world.partition, ScheduleId(ids[3])).unwrap() else {
        panic!("not found");
    };
    assert_eq!((held.id.0, held.due.0), (ids[3], T0 + 3_650 * DAY + 12));
    assert_eq!(held.created.0, T0);
    assert_eq!(cancel(&world, &[ids[0]], now).await, [Outcome::Done]);
    let asked = |change| Asked {
        change,
        expected: None,
        request_id: b"",
    };
    for (id, change) in [
        (ids[1], Change::MoveTo(DueTime(now + 50))),
        (ids[2], Change::Now(DueTime(now))),
    ] {
        let id = ScheduleId(id);
        let moved = control::reschedule(&world.partition, id, asked(change), TimestampMs(now));
        assert_eq!(moved.await.unwrap(), Outcome::Done);
    }
    world.tick(now + 50);
    assert_eq!(world.fired_ids(), [ids[2], ids[1]]);

    // The same after a start from the checkpoint, and from the log alone.
    for checkpoint in [true, false] {
        if checkpoint {
            let done = world.partition.checkpoint_timers(1, TimestampMs(now));
            done.unwrap();
        }
        let disk = world.disk.kill();
        if !checkpoint {
            let manifest = PathBuf::from("/data/t-0/timers/manifest");
            disk.remove_file(&manifest).unwrap();
        }
        let mut again = open(disk, now + 50);
        assert_eq!(again.pending(), 7);
        let found = control::get(&again.partition, ScheduleId(ids[4])).unwrap();
        assert!(matches!(found, Held::Pending(_)), "{found:?}");
        again.tick(T0 + 3_651 * DAY);
        let mut expected = vec![ids[2], ids[1]];
        expected.extend_from_slice(&ids[3..]);
        assert_eq!(again.fired_ids(), expected);
        assert_eq!(again.pending(), 0);
    }
}

#[tokio::test]
async fn many_survivors_keep_their_segments() {
    let mut world = world();
    for n in 0..200 {
        let due = (T0 + 300 * DAY + n).to_string();
        let large = "x".repeat(500);
        let held = [(vec![("chronos-deliver-at", due)], large.as_str())];
        world.produce(&held).unwrap();
    }
    world.tick(T0);
    let before = segments(&world);
    let retained = retain(&world, T0 + HOUR);
    assert!(retained.pinned_bytes() > 0);
    assert_eq!(segments(&world), before);
    // When most of them are cancelled, the rest is few.
    let ids: Vec<_> = (0..200).filter(|n| n % 20 != 0).collect();
    let now = T0 + 2 * HOUR;
    cancel(&world, &ids, now).await;
    assert!(retain(&world, now).pinned.is_empty());
    assert!(segments(&world) <= 2);
    assert_eq!(world.pending(), 10);
    world.tick(T0 + 301 * DAY);
    assert_eq!(world.fired_ids(), (0..200).step_by(20).collect::<Vec<_>>());
}

/// Carries of carries, with others coming, firing and being cancelled between, and a start after each.
#[tokio::test]
async fn carried_again_and_again() {
    let mut world = world();
    let mut expected = few_among_many(&world);
    for round in 1..12 {
        let now = T0 + round * HOUR;
        world.tick(now);
        assert!(retain(&world, now).pinned.is_empty());
        assert_eq!(segments(&world), 1, "round {round}");
        if round % 3 == 0 {
            let gone = expected.remove(usize::try_from(round).unwrap() / 2);
            assert_eq!(cancel(&world, &[gone], now).await, [Outcome::Done]);
        }
        if round % 4 == 1 {
            let done = world.partition.checkpoint_timers(1, TimestampMs(now));
            done.unwrap();
        }
        world = open(world.disk.kill(), now);
        assert_eq!(world.pending(), expected.len(), "round {round}");
        for _ in 0..12 {
            let large = "y".repeat(1_500);
            world.produce(&[(Vec::new(), large.as_str())]).unwrap();
        }
        if round % 5 == 0 {
            expected.push(world.hold(T0 + 3_650 * DAY + 1_000 + round));
        }
    }
    world.tick(T0 + 3_700 * DAY);
    let fired: Vec<_> = world
        .fired_ids()
        .into_iter()
        .filter(|id| *id >= 0)
        .collect();
    assert_eq!(fired, expected);
}

/// Segments are emptied in one thread while their records fire, move and are cancelled in another.
#[tokio::test]
async fn what_fires_while_it_is_carried_fires_once() {
    let mut world = world();
    let mut expected = BTreeSet::new();
    // What a consumer read: each id under one offset.
    let mut read = BTreeMap::new();
    let mut emptied = 0;
    for round in 0..30 {
        let now = T0 + round * HOUR;
        world.clock.set(TimestampMs(now));
        // Due in this round, in the next ones, and late.
        let dues: Vec<_> = (0..300).map(|n| now + 1 + n % 7 * HOUR / 2 + n).collect();
        let first = world.hold_many(&dues);
        expected.extend(first..first + 300);
        for _ in 0..60 {
            let large = "x".repeat(1_500);
            world.produce(&[(Vec::new(), large.as_str())]).unwrap();
        }
        let partition = Arc::clone(&world.partition);
        let emptier = std::thread::spawn(move || {
            let passes = (0..4).map(|_| partition.retain_or_carry(TimestampMs(now)).unwrap());
            passes.map(|retained| retained.segments).sum::<usize>()
        });
        for step in 0..20 {
            world.tick(now + step * 1_000_000 / 20);
            let id = first + step * 13 + 5;
            if cancel(&world, &[id], world.now().0).await == [Outcome::Done] {
                expected.remove(&id);
            }
        }
        emptied += emptier.join().unwrap();
        // What fired is read before it is too old.
        for fired in world.consume().into_iter().filter(|f| f.id >= 0) {
            assert_eq!(*read.entry(fired.id).or_insert(fired.offset), fired.offset);
        }
    }
    world.tick(T0 + 40 * HOUR);
    for fired in world.consume().into_iter().filter(|f| f.id >= 0) {
        assert_eq!(*read.entry(fired.id).or_insert(fired.offset), fired.offset);
    }
    assert!(read.keys().eq(&expected));
    assert!(emptied > 30, "{emptied}");
}

#[tokio::test]
async fn a_key_is_carried_with_its_record() {
    let mut world = world();
    let keyed = || {
        vec![
            ("chronos-deliver-at", (T0 + 400 * DAY).to_string()),
            ("chronos-schedule-key", "k".to_owned()),
        ]
    };
    world.produce(&[(keyed(), "old")]).unwrap();
    few_among_many(&world);
    world.tick(T0);
    assert!(retain(&world, T0 + HOUR).pinned.is_empty());
    // With a new index of keys: what it knows, it read from the carry.
    let manifest = PathBuf::from("/data/t-0/timers/manifest");
    let disk = world.disk.kill();
    if disk.exists(&manifest) {
        disk.remove_file(&manifest).unwrap();
    }
    let mut world = open(disk, T0 + HOUR);
    world.produce(&[(keyed(), "new")]).unwrap();
    assert_eq!(world.pending(), 11);
    world.tick(T0 + 401 * DAY);
    let values: Vec<_> = world.consume().into_iter().map(|f| f.value).collect();
    assert_eq!(values, ["new"]);
}

#[tokio::test]
async fn a_full_disk_while_carrying_changes_nothing() {
    let mut world = world();
    let ids = few_among_many(&world);
    world.tick(T0);
    // Room for the checkpoint and the new segment, not for the carry.
    let used = world.disk.used_bytes();
    let mut refused = 0;
    for room in (0..6_000).step_by(100) {
        let disk = world.disk.kill();
        disk.set_capacity(Some(used + room));
        let mut full = open(disk.clone(), T0);
        full.clock.set(TimestampMs(T0 + HOUR));
        let retained = full.partition.retain_or_carry(TimestampMs(T0 + HOUR));
        refused += usize::from(retained.map_or(true, |r| !r.pinned.is_empty()));
        disk.set_capacity(None);
        let again = full.partition.retain_or_carry(TimestampMs(T0 + HOUR));
        if let Ok(retained) = again {
            assert!(retained.pinned.is_empty(), "room {room}: {retained:?}");
        }
        full.tick(T0 + 3_700 * DAY);
        assert_eq!(full.fired_ids(), ids, "room {room}");
    }
    assert!(refused > 3, "{refused}");
}

/// The process ends at each change of the disk while segments are emptied: each record fires once.
#[tokio::test]
async fn killed_at_any_change_while_carrying() {
    let mut whole = world();
    let ids = few_among_many(&whole);
    whole.tick(T0);
    let done = whole.partition.checkpoint_timers(1, TimestampMs(T0));
    done.unwrap();
    let base = whole.disk.settled();
    let run = |world: &mut World| {
        for round in 1..4 {
            let now = TimestampMs(T0 + round * HOUR);
            world.clock.set(now);
            let _ = world.partition.retain_or_carry(now);
            let large = "z".repeat(1_500);
            for _ in 0..12 {
                let _ = world.produce(&[(Vec::new(), large.as_str())]);
            }
            if round == 2 {
                let _ = world.partition.checkpoint_timers(1, now);
            }
        }
    };
    let mut world = open(base.kill(), T0);
    let before = world.disk.counters().changes;
    run(&mut world);
    let changes = world.disk.counters().changes - before;
    assert!(changes > 60, "{changes}");
    for stop in 0..changes {
        let disk = base.kill();
        let mut world = open(disk.clone(), T0);
        disk.stop_after(stop);
        run(&mut world);
        for power_loss in [false, true] {
            let left = if power_loss {
                disk.crash(stop)
            } else {
                disk.kill()
            };
            let mut world = open(left, T0 + 5 * HOUR);
            assert_eq!(
                world.pending(),
                ids.len(),
                "stopped after {stop}, power loss {power_loss}"
            );
            retain(&world, T0 + 5 * HOUR);
            world.tick(T0 + 3_700 * DAY);
            let fired: Vec<_> = world
                .fired_ids()
                .into_iter()
                .filter(|id| *id >= 0)
                .collect();
            assert_eq!(fired, ids, "stopped after {stop}, power loss {power_loss}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    Hold(i64),
    Cancel(usize),
    Move(usize, i64),
    Tick(i64),
    Retain,
    Checkpoint,
    Kill,
    LoseTimers,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..12usize).prop_map(Step::Read),
        6 => (1..60i64).prop_map(|hours| Step::Hold(hours * hours * HOUR)),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => (any::<usize>(), 1..2_000i64).prop_map(|(n, hours)| Step::Move(n, hours * HOUR)),
        4 => (1..40i64).prop_map(|hours| Step::Tick(hours * HOUR)),
        5 => Just(Step::Retain),
        2 => Just(Step::Checkpoint),
        2 => Just(Step::Kill),
        1 => Just(Step::LoseTimers),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Beside a list: what waits is what was held and neither fired nor cancelled, through carries, starts, and lost timers.
    #[test]
    fn what_waits_is_what_a_list_says(steps in proptest::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut world = world();
            let mut now = T0;
            let mut waits: BTreeMap<i64, i64> = BTreeMap::new();
            for step in steps {
                let nth = |n: usize| {
                    let n = n.checked_rem(waits.len())?;
                    waits.iter().nth(n).map(|(id, due)| (*id, *due))
                };
                match step {
                    Step::Read(n) => {
                        let large = "x".repeat(1_200);
                        for _ in 0..n {
                            world.produce(&[(Vec::new(), large.as_str())]).unwrap();
                        }
                    }
                    Step::Hold(ahead) => {
                        let id = world.hold(now + ahead);
                        waits.insert(id, now + ahead);
                    }
                    Step::Cancel(n) => {
                        if let Some((id, _)) = nth(n) {
                            prop_assert_eq!(cancel(&world, &[id], now).await, [Outcome::Done]);
                            waits.remove(&id);
                        }
                    }
                    Step::Move(n, ahead) => {
                        if let Some((id, _)) = nth(n) {
                            let asked = Asked {
                                change: Change::MoveTo(DueTime(now + ahead)),
                                expected: None,
                                request_id: b"",
                            };
                            let done = control::reschedule(&world.partition, ScheduleId(id), asked, TimestampMs(now));
                            prop_assert_eq!(done.await.unwrap(), Outcome::Done);
                            waits.insert(id, now + ahead);
                        }
                    }
                    Step::Tick(ahead) => {
                        now += ahead;
                        world.tick(now);
                        waits.retain(|_, due| *due > now);
                    }
                    Step::Retain => drop(retain(&world, now)),
                    Step::Checkpoint => {
                        let done = world.partition.checkpoint_timers(1, TimestampMs(now));
                        done.unwrap();
                    }
                    Step::Kill => world = open(world.disk.kill(), now),
                    Step::LoseTimers => {
                        let disk = world.disk.kill();
                        for path in disk.files().into_keys().filter(|p| p.to_string_lossy().contains("timers/")) {
                            disk.remove_file(&path).unwrap();
                        }
                        world = open(disk, now);
                    }
                }
                // What was held is taken in by a turn.
                world.tick(now);
                let from = TimerKey { due: DueTime(0), id: ScheduleId(0) };
                let listed = control::list(&world.partition, from, DueTime(i64::MAX), usize::MAX).unwrap();
                let listed: BTreeMap<_, _> = listed.iter().map(|e| (e.key.id.0, e.key.due.0)).collect();
                prop_assert_eq!(&listed, &waits);
                prop_assert_eq!(world.pending(), waits.len());
                for (id, due) in &waits {
                    match control::get(&world.partition, ScheduleId(*id)).unwrap() {
                        Held::Pending(held) => prop_assert_eq!((held.id.0, held.due.0), (*id, *due)),
                        other => prop_assert!(false, "{} is {:?}", id, other),
                    }
                }
            }
            Ok(())
        })?;
    }
}
