//! The store beside a sorted list, with crashes: what a log says is pending is what the store gives.

use std::path::Path;

use proptest::prelude::*;
use storage::disk::crash::CrashDisk;

use super::*;

const NOW: i64 = 1_800_000_000_000;

fn options(disk: &CrashDisk) -> StoreOptions {
    StoreOptions {
        dir: PathBuf::from("/data/timers"),
        disk: Arc::new(disk.clone()),
        memtable_max: 8,
        ahead_max: 3,
    }
}

fn store(disk: &CrashDisk) -> TimerStore {
    TimerStore::create(options(disk)).unwrap()
}

fn key(due: i64, id: i64) -> TimerKey {
    TimerKey {
        due: DueTime(NOW + due),
        id: ScheduleId(id),
    }
}

fn entry(due: i64, id: i64) -> TimerEntry {
    let place = Place {
        hold: Offset(id - id % 3),
        index: 7,
        moved: id % 5 == 0,
        bytes: u32::try_from(id % 11).unwrap(),
    };
    TimerEntry {
        key: key(due, id),
        place,
    }
}

fn ids(entries: &[TimerEntry]) -> Vec<i64> {
    entries.iter().map(|e| e.key.id.0).collect()
}

#[test]
fn equal_due_times_fire_in_produced_order_from_memory_and_from_disk() {
    let mut store = store(&CrashDisk::new());
    for id in [3, 1, 4] {
        store.insert(entry(10, id));
    }
    store.flush(TimestampMs(NOW)).unwrap();
    for id in [2, 0] {
        store.insert(entry(10, id));
    }
    assert_eq!(
        ids(&store.pop_due(TimestampMs(NOW + 9), 9).unwrap()),
        Vec::<i64>::new()
    );
    let due = store.pop_due(TimestampMs(NOW + 10), 9).unwrap();
    assert_eq!(ids(&due), [0, 1, 2, 3, 4]);
}

#[test]
fn a_carried_hold_counts_once_at_its_later_place() {
    let disk = CrashDisk::new();
    for on_disk in [false, true] {
        let mut store = store(&disk);
        let old = entry(10, 1);
        store.insert(old);
        store.insert(entry(10, 40));
        if on_disk {
            store.flush(TimestampMs(NOW)).unwrap();
        }
        let to = Place {
            hold: Offset(99),
            index: 4,
            moved: true,
            bytes: 5,
        };
        store.relocate(old, to);
        let carried = TimerEntry { place: to, ..old };
        assert_eq!((store.len(), store.bytes()), (2, 5 + 40 % 11));
        assert_eq!(store.moved_to(ScheduleId(1)), Some(old.key.due));
        assert_eq!(store.get(old.key).unwrap(), Some(to));
        let seen = store.snapshot();
        store.none_below(&seen, Offset(20));
        assert_eq!(
            store.oldest_hold(),
            Some(Offset(if on_disk { 20 } else { 39 }))
        );
        let due = store.pop_due(TimestampMs(NOW + 10), 9).unwrap();
        assert_eq!(due, [carried, entry(10, 40)]);
        assert_eq!((store.len(), store.bytes()), (0, 0));
        assert_eq!(store.moved_to(ScheduleId(1)), None);
    }
}

/// The window that is read ahead never hides what comes to lie below it.
#[test]
fn a_record_due_before_what_was_read_ahead_fires_first() {
    let mut store = store(&CrashDisk::new());
    for id in 0..20 {
        store.insert(entry(1_000 + id, id));
    }
    store.flush(TimestampMs(NOW)).unwrap();
    assert_eq!(store.next_deadline().unwrap(), Some(DueTime(NOW + 1_000)));
    store.insert(entry(5, 100));
    store.flush(TimestampMs(NOW)).unwrap();
    store.insert(entry(4, 101));
    let due = store.pop_due(TimestampMs(NOW + 1_001), 9).unwrap();
    assert_eq!(ids(&due), [101, 100, 0, 1]);
}

/// Due times that lie decades apart take a few files, and those of the past go.
#[test]
fn files_are_few_and_go_when_their_time_is_past() {
    let disk = CrashDisk::new();
    let mut store = store(&disk);
    let days = |n: i64| n * 86_400_000;
    for id in 0..3_650 {
        store.insert(entry(days(id), id));
    }
    let marks = Marks::default();
    let written = store.capture(TimestampMs(NOW), marks).unwrap().write();
    store.written(written.unwrap());
    let count = || disk.list(Path::new("/data/timers")).unwrap().len();
    assert!((100..200).contains(&count()), "{}", count());
    let before = count();
    let due = store
        .pop_due(TimestampMs(NOW + days(1_825)), 9_999)
        .unwrap();
    assert_eq!(due.len(), 1_826);
    let written = store
        .capture(TimestampMs(NOW + days(1_825)), marks)
        .unwrap()
        .write();
    store.written(written.unwrap());
    assert!(count() < before * 2 / 3, "{} of {before}", count());
    assert_eq!(store.len(), 1_824);
    // Known by the run.
    let oldest = store.oldest_hold().unwrap();
    assert!(
        (Offset(1_700)..=Offset(1_824)).contains(&oldest),
        "{oldest}"
    );
}

/// A store that is ahead of its log is thrown away: the log decides.
#[test]
fn a_checkpoint_beyond_the_log_is_not_believed() {
    let disk = CrashDisk::new();
    let mut store = store(&disk);
    store.insert(entry(1, 1));
    let marks = Marks {
        replay_from: Offset(5),
        settled_to: Offset(9),
    };
    store
        .capture(TimestampMs(NOW), marks)
        .unwrap()
        .write()
        .unwrap();
    assert!(
        TimerStore::open(options(&disk), Offset(8))
            .unwrap()
            .is_none()
    );
    let (mut store, found) = TimerStore::open(options(&disk), Offset(9))
        .unwrap()
        .unwrap();
    assert_eq!(found, marks);
    assert_eq!(ids(&store.pop_due(TimestampMs(NOW + 1), 9).unwrap()), [1]);
}

/// Any byte of any file changed: the store says so, or it gives what it should.
#[test]
fn damage_is_noticed() {
    let disk = CrashDisk::new();
    let mut store = store(&disk);
    for id in 0..300 {
        store.insert(entry(id * 60_000, id));
    }
    store
        .capture(TimestampMs(NOW), Marks::default())
        .unwrap()
        .write()
        .unwrap();
    let whole = ids(&store.pop_due(TimestampMs(i64::MAX), 999).unwrap());
    for (path, bytes) in disk.files() {
        for at in (0..bytes.len()).step_by(41) {
            let damaged = disk.kill();
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x10;
            damaged.set_bytes(&path, &bytes).unwrap();
            let Some((mut store, _)) = TimerStore::open(options(&damaged), Offset(0)).unwrap()
            else {
                continue;
            };
            match store.pop_due(TimestampMs(i64::MAX), 999) {
                Err(StoreError::Damaged) => {}
                Ok(got) => assert_eq!(ids(&got), whole, "{path:?} at {at}"),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Hold(i64),
    Cancel(usize),
    Move(usize, i64),
    Tick(i64, usize),
    /// What a tick took could not be appended.
    Refused(i64, usize),
    /// All that lies below the log's end so many steps ago is held again.
    Carry(usize),
    Flush,
    Capture,
    CaptureAndCrash(u64),
    Kill,
    PowerLoss(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (-5..5_000i64).prop_map(|due| Step::Hold(due * due * 40)),
        4 => any::<usize>().prop_map(Step::Cancel),
        3 => (any::<usize>(), 0..90_000_000i64).prop_map(|(n, due)| Step::Move(n, due)),
        8 => (0..200_000_000i64, 0..7usize).prop_map(|(now, max)| Step::Tick(now, max)),
        2 => (0..200_000_000i64, 0..7usize).prop_map(|(now, max)| Step::Refused(now, max)),
        3 => (0..40usize).prop_map(Step::Carry),
        3 => Just(Step::Flush),
        3 => Just(Step::Capture),
        1 => (0..12u64).prop_map(Step::CaptureAndCrash),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(Step::PowerLoss),
    ]
}

/// What stands in the log.
#[derive(Clone, Copy, Debug)]
enum Logged {
    Hold(TimerEntry),
    Settled(TimerKey),
    Moved(TimerKey, TimerEntry),
    Carried(TimerEntry, Place),
}

struct World {
    disk: CrashDisk,
    store: TimerStore,
    log: Vec<Logged>,
    twin: BTreeMap<TimerKey, Place>,
}

impl World {
    fn log(&mut self, logged: Logged) {
        self.log.push(logged);
        apply(&mut self.store, logged);
        match logged {
            Logged::Hold(entry) => {
                self.twin.insert(entry.key, entry.place);
            }
            Logged::Settled(key) => {
                self.twin.remove(&key);
            }
            Logged::Moved(key, entry) => {
                self.twin.remove(&key);
                self.twin.insert(entry.key, entry.place);
            }
            Logged::Carried(entry, place) => {
                self.twin.insert(entry.key, place);
            }
        }
    }

    fn pending(&self) -> Vec<TimerEntry> {
        let twin = self.twin.iter();
        twin.map(|(key, place)| TimerEntry {
            key: *key,
            place: *place,
        })
        .collect()
    }

    fn nth(&self, n: usize) -> Option<(TimerKey, Place)> {
        let n = n.checked_rem(self.twin.len())?;
        self.twin.iter().nth(n).map(|(key, place)| (*key, *place))
    }

    fn end(&self) -> Offset {
        Offset(i64::try_from(self.log.len()).unwrap())
    }

    fn marks(&self) -> Marks {
        Marks {
            replay_from: self.end(),
            settled_to: self.end(),
        }
    }

    fn reopen(&mut self, disk: CrashDisk) {
        self.disk = disk;
        let opened = TimerStore::open(options(&self.disk), self.end()).unwrap();
        let (store, from) = match opened {
            Some((store, marks)) => (store, usize::try_from(marks.replay_from.0).unwrap()),
            None => (store(&self.disk), 0),
        };
        self.store = store;
        for logged in &self.log[from..] {
            apply(&mut self.store, *logged);
        }
    }
}

fn apply(store: &mut TimerStore, logged: Logged) {
    match logged {
        Logged::Hold(entry) => store.insert(entry),
        Logged::Settled(key) => store.settle(key).unwrap(),
        Logged::Moved(key, entry) => {
            store.settle(key).unwrap();
            store.insert(entry);
        }
        Logged::Carried(entry, to) => {
            assert_eq!(store.get(entry.key).unwrap(), Some(entry.place));
            store.relocate(entry, to);
        }
    }
}

proptest! {
    /// Nothing early, nothing lost, nothing twice, in order: over flushes, checkpoints, crashes, and time that steps back.
    #[test]
    fn behaves_as_a_sorted_list(steps in proptest::collection::vec(step(), 0..160)) {
        let disk = CrashDisk::new();
        let mut world = World { store: store(&disk), disk, log: Vec::new(), twin: BTreeMap::new() };
        for (id, step) in (0i64..).zip(steps) {
            match step {
                Step::Hold(due) => world.log(Logged::Hold(entry(due, id))),
                Step::Cancel(n) => {
                    if let Some((key, place)) = world.nth(n) {
                        prop_assert_eq!(world.store.get(key).unwrap(), Some(place));
                        world.log(Logged::Settled(key));
                        prop_assert_eq!(world.store.get(key).unwrap(), None);
                    }
                }
                Step::Move(n, due) => {
                    if let Some((from, place)) = world.nth(n) {
                        let place = Place { moved: true, ..place };
                        let to = TimerEntry { key: key(due, from.id.0), place };
                        world.log(Logged::Moved(from, to));
                        prop_assert_eq!(world.store.moved_to(from.id), Some(to.key.due));
                    }
                }
                Step::Tick(now, max) => {
                    let expected: Vec<_> = world.pending().into_iter().take_while(|e| e.key.due.0 <= NOW + now).take(max).collect();
                    let got = world.store.pop_due(TimestampMs(NOW + now), max).unwrap();
                    prop_assert_eq!(&got, &expected);
                    for fired in got {
                        world.twin.remove(&fired.key);
                        world.log.push(Logged::Settled(fired.key));
                    }
                }
                Step::Refused(now, max) => {
                    for back in world.store.pop_due(TimestampMs(NOW + now), max).unwrap() {
                        world.store.insert(back);
                    }
                }
                Step::Carry(back) => {
                    let below = Offset(id - i64::try_from(back).unwrap());
                    let seen = world.store.snapshot();
                    let mut found = Vec::new();
                    seen.for_each(key(i64::MIN / 2, 0), DueTime(i64::MAX), &mut |entry| {
                        found.push(entry);
                        true
                    }).unwrap();
                    prop_assert_eq!(&found, &world.pending());
                    for entry in found.into_iter().filter(|e| e.place.hold < below) {
                        let to = Place { hold: Offset(id), moved: true, ..entry.place };
                        world.log(Logged::Carried(entry, to));
                    }
                    let seen = world.store.snapshot();
                    world.store.none_below(&seen, below);
                    let oldest = world.store.oldest_hold();
                    prop_assert!(oldest.is_none_or(|oldest| oldest >= below));
                }
                Step::Flush => world.store.flush(TimestampMs(NOW)).unwrap(),
                Step::Capture => {
                    let marks = world.marks();
                    let unlinked = world.store.capture(TimestampMs(NOW), marks).unwrap().write().unwrap();
                    world.store.written(unlinked);
                }
                Step::CaptureAndCrash(changes) => {
                    let marks = world.marks();
                    let checkpoint = world.store.capture(TimestampMs(NOW), marks).unwrap();
                    world.disk.stop_after(changes);
                    let _ = checkpoint.write();
                    world.reopen(world.disk.kill());
                }
                Step::Kill => world.reopen(world.disk.kill()),
                Step::PowerLoss(seed) => world.reopen(world.disk.crash(seed)),
            }
            let pending = world.pending();
            prop_assert_eq!(world.store.scan(key(i64::MIN / 2, 0), DueTime(i64::MAX), usize::MAX).unwrap(), &pending[..]);
            prop_assert_eq!(world.store.len(), pending.len());
            let bytes: u64 = pending.iter().map(|e| u64::from(e.place.bytes)).sum();
            prop_assert_eq!(world.store.bytes(), bytes);
            prop_assert_eq!(world.store.next_deadline().unwrap(), pending.first().map(|e| e.key.due));
            let oldest = pending.iter().map(|e| e.place.hold).min();
            prop_assert!(world.store.oldest_hold() <= oldest || oldest.is_none());
            prop_assert!(oldest.is_none() || world.store.oldest_hold().is_some());
            if world.store.is_full() {
                world.store.flush(TimestampMs(NOW)).unwrap();
            }
        }
    }
}
