//! Records held by transactions: armed by a commit, dropped by an abort, through crashes at any moment.

use proptest::prelude::*;
use storage::{
    control::MarkerKind::{Abort, Commit},
    disk::Disk,
};

use super::{carried::SETTINGS, world::*, *};

fn at(due: i64) -> Vec<(&'static str, String)> {
    vec![("chronos-deliver-at", due.to_string())]
}

fn hold_in(world: &World, producer_id: i64, sequence: i32, due: i64) -> i64 {
    let held = world.produce_in_transaction(producer_id, sequence, &[(at(due), "v")]);
    held.unwrap().base_offset.0
}

#[test]
fn a_commit_arms_and_an_abort_drops() {
    let mut world = World::new();
    let kept = hold_in(&world, 1, 0, T0 + 100);
    let late = hold_in(&world, 1, 1, T0 + 5_000);
    let dropped = hold_in(&world, 2, 0, T0 + 100);
    world.tick(T0 + 1_000);
    assert!(
        world.consume().is_empty(),
        "what is open is not seen, though it is due"
    );
    for id in [kept, late, dropped] {
        let held = control::get(&world.partition, ScheduleId(id)).unwrap();
        assert!(matches!(held, Held::NotFound), "{held:?}");
    }
    world.end(2, Abort);
    world.end(1, Commit);
    // Due while it was open: it is due when it was committed.
    world.tick(T0 + 1_000);
    let fired = world.consume();
    assert_eq!(fired.iter().filter(|f| f.id >= 0).count(), 1);
    assert!(fired.iter().any(|f| (f.id, f.due) == (kept, T0 + 1_000)));
    world = world.restarted(T0 + 1_001);
    assert_eq!(world.pending(), 1);
    world.tick(T0 + 5_000);
    let fired: Vec<_> = world
        .fired_ids()
        .into_iter()
        .filter(|id| *id >= 0)
        .collect();
    assert_eq!(fired, [kept, late]);
    world = world.restarted(T0 + 5_001);
    assert_eq!(world.pending(), 0);
}

#[test]
fn what_settles_other_records_is_refused_in_a_transaction() {
    let world = World::new();
    let id = world.hold(T0 + HOUR);
    for (name, value) in [
        ("chronos-cancel", id.to_string()),
        ("chronos-schedule-key", "k".into()),
    ] {
        let refused = world.produce_in_transaction(1, 0, &[(vec![(name, value)], "")]);
        let why = refused.unwrap_err();
        assert!(
            why.contains(&format!("{name} is not possible in a transaction")),
            "{why}"
        );
    }
    assert_eq!(world.pending(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Read(usize),
    Hold(i64),
    HoldIn(i64, i64),
    End(i64, bool),
    Cancel(usize),
    Move(usize, i64),
    Tick(i64),
    Retain,
    Checkpoint,
    Kill,
    LoseTimers,
    LoseCheckpoint,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1..6usize).prop_map(Step::Read),
        3 => (1..40i64).prop_map(|hours| Step::Hold(hours * HOUR)),
        8 => (0..3i64, 1..40i64).prop_map(|(producer, hours)| Step::HoldIn(producer, hours * HOUR)),
        5 => (0..3i64, any::<bool>()).prop_map(|(producer, commit)| Step::End(producer, commit)),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => (any::<usize>(), 1..60i64).prop_map(|(n, hours)| Step::Move(n, hours * HOUR)),
        4 => (1..20i64).prop_map(|hours| Step::Tick(hours * HOUR)),
        3 => Just(Step::Retain),
        3 => Just(Step::Checkpoint),
        2 => Just(Step::Kill),
        1 => Just(Step::LoseTimers),
        1 => Just(Step::LoseCheckpoint),
    ]
}

fn open(disk: CrashDisk, now: i64) -> World {
    World::open(disk, now, &SETTINGS).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Beside a list: what waits is what was held outside of transactions, or by committed ones, and neither fired nor cancelled.
    #[test]
    fn what_waits_is_what_commits_armed(steps in proptest::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let disk = CrashDisk::new();
            disk.create_dir_all(&PathBuf::from("/data")).unwrap();
            let mut world = open(disk, T0);
            let mut now = T0;
            let mut waits: BTreeMap<i64, i64> = BTreeMap::new();
            let mut held: BTreeMap<i64, Vec<(i64, i64)>> = BTreeMap::new();
            // A new producer for each transaction: a log that lost its checkpoint may not know the sequences of one.
            let mut senders = [(0, 0), (1, 0), (2, 0)];
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
                        waits.insert(world.hold(now + ahead), now + ahead);
                    }
                    Step::HoldIn(producer, ahead) => {
                        let (producer, sequence) = &mut senders[usize::try_from(producer).unwrap()];
                        let records = [(Vec::new(), "seen"), (at(now + ahead), "held")];
                        let unit = world.produce_in_transaction(*producer, *sequence, &records).unwrap();
                        *sequence += 2;
                        held.entry(*producer).or_default().push((unit.base_offset.0 + 1, now + ahead));
                    }
                    Step::End(producer, commit) => {
                        let sender = &mut senders[usize::try_from(producer).unwrap()];
                        let producer = sender.0;
                        *sender = (producer + 3, 0);
                        world.end(producer, if commit { Commit } else { Abort });
                        for (id, due) in held.remove(&producer).unwrap_or_default() {
                            if commit {
                                waits.insert(id, due.max(now));
                            }
                        }
                    }
                    Step::Cancel(n) => {
                        if let Some((id, _)) = nth(n) {
                            let ids = [ScheduleId(id)];
                            let done = control::cancel(&world.partition, &ids, b"", TimestampMs(now)).await;
                            prop_assert_eq!(done.unwrap(), [Outcome::Done]);
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
                    Step::Tick(ahead) => now += ahead,
                    Step::Retain => {
                        world.clock.set(TimestampMs(now));
                        world.partition.retain_or_carry(TimestampMs(now)).unwrap();
                    }
                    Step::Checkpoint => {
                        world.partition.checkpoint_timers(1, TimestampMs(now)).unwrap();
                        world.partition.log().checkpoint(now).unwrap();
                    }
                    Step::Kill => world = open(world.disk.kill(), now),
                    Step::LoseTimers | Step::LoseCheckpoint => {
                        let lost = if matches!(step, Step::LoseTimers) { "timers/" } else { "meta/checkpoint.json" };
                        let disk = world.disk.kill();
                        for path in disk.files().into_keys().filter(|p| p.to_string_lossy().contains(lost)) {
                            disk.remove_file(&path).unwrap();
                        }
                        world = open(disk, now);
                    }
                }
                let before: Vec<_> = waits.iter().filter(|(_, due)| **due <= now).map(|(id, _)| *id).collect();
                let fired_before = world.fired_ids().into_iter().filter(|id| *id >= 0).count();
                world.tick(now);
                let fired = world.fired_ids().into_iter().filter(|id| *id >= 0).count();
                if !matches!(step, Step::Retain) {
                    prop_assert_eq!(fired - fired_before, before.len());
                }
                waits.retain(|_, due| *due > now);
                let from = TimerKey { due: DueTime(0), id: ScheduleId(0) };
                let listed = control::list(&world.partition, from, DueTime(i64::MAX), usize::MAX).unwrap();
                let listed: BTreeMap<_, _> = listed.iter().map(|e| (e.key.id.0, e.key.due.0)).collect();
                prop_assert_eq!(&listed, &waits);
                let open: usize = held.values().map(Vec::len).sum();
                prop_assert_eq!(world.pending(), waits.len() + open);
            }
            Ok(())
        })?;
    }
}
