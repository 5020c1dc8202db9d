//! When what was appended: nothing that is in a range is missed, and little beside it is told.

use proptest::prelude::*;

use super::*;
use crate::log::append_times::MARKS_MAX;

fn append_at(log: &Log, value: &str, now_ms: i64) -> i64 {
    match log.append(plain(0, &[value]), EPOCH, now_ms).unwrap() {
        Appended::New { base_offset, .. } => base_offset.0,
        Appended::Duplicate { .. } => unreachable!("no producer"),
    }
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 2_048,
        flush_policy: FlushPolicy::Os,
        ..LogConfig::default()
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// That much later.
    Append(i64),
    Checkpoint,
    Kill,
    PowerLoss(u64),
    /// A mark is damaged.
    Flip(usize),
    DeleteRecords(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (0..2_500i64).prop_map(Step::Append),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Kill),
        1 => (0..100u64).prop_map(Step::PowerLoss),
        1 => any::<usize>().prop_map(Step::Flip),
        1 => any::<usize>().prop_map(Step::DeleteRecords),
    ]
}

fn file() -> PathBuf {
    dir().join("index/append-times")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn a_range_of_times_has_all_that_was_appended_in_it(
        steps in proptest::collection::vec(step(), 1..120),
        ranges in proptest::collection::vec((0..150_000i64, 0..60_000i64), 8),
    ) {
        let mut disk = empty_disk();
        let mut log = try_open(&disk, config()).unwrap().0;
        // Times of the log's records, by offset.
        let mut times: Vec<i64> = Vec::new();
        let (mut now, mut is_whole) = (NOW_MS, true);
        for (i, step) in steps.into_iter().enumerate() {
            match step {
                Step::Append(later) => {
                    now += later;
                    times.push(now);
                    prop_assert_eq!(append_at(&log, &format!("value {i}"), now) + 1, i64::try_from(times.len()).unwrap());
                }
                Step::Checkpoint => log.checkpoint(now).unwrap(),
                Step::Kill | Step::PowerLoss(_) => {
                    log.abandon();
                    disk = match step {
                        Step::PowerLoss(seed) => disk.crash(seed),
                        _ => disk.kill(),
                    };
                    is_whole &= matches!(step, Step::Kill);
                    let options = LogOptions {
                        now_ms: now,
                        ..options(&disk, config())
                    };
                    log = Log::open(options).unwrap().0;
                    times.truncate(usize::try_from(log.offsets().log_end.0).unwrap());
                }
                Step::Flip(bit) => {
                    if let Some(mut bytes) = disk.bytes(&file()).filter(|b| !b.is_empty()) {
                        let at = bit % (bytes.len() * 8);
                        bytes[at / 8] ^= 1 << (at % 8);
                        disk.set_bytes(&file(), &bytes).unwrap();
                        is_whole = false;
                    }
                }
                Step::DeleteRecords(some) => {
                    let before = some % (times.len() + 1);
                    let before = Offset(i64::try_from(before).unwrap());
                    if before > log.offsets().log_start {
                        log.delete_records(before).unwrap();
                    }
                }
            }
        }
        for (from, span) in ranges {
            let (from, to) = (NOW_MS + from - 1_000, NOW_MS + from + span);
            let (start, end) = log.appended_between(Some(from), Some(to)).unwrap();
            let offsets = log.offsets();
            prop_assert!(start >= offsets.log_start && start <= offsets.log_end);
            let end = end.unwrap_or(offsets.log_end);
            // The second that had the last append before the range is told with it.
            let last_before = times.iter().filter(|at| **at < from).max().unwrap_or(&from);
            for (offset, at) in (0i64..).zip(&times) {
                let is_told = (start.0..end.0).contains(&offset);
                if (from..to).contains(at) && offset >= offsets.log_start.0 {
                    prop_assert!(is_told, "{offset} at {at} is not in {start:?} to {end:?}");
                }
                if is_told && is_whole {
                    prop_assert!((last_before - 1_000..=to + 1_000).contains(at), "{offset} at {at}");
                }
            }
        }
    }
}

/// A clock that was set back: what is appended then has the time that was reached, until it has caught up.
#[test]
fn times_stand_still_while_the_clock_is_behind() {
    let log = try_open(&empty_disk(), config()).unwrap().0;
    for ms in [10_000, 12_000, 5_000, 6_000, 13_500] {
        append_at(&log, "x", NOW_MS + ms);
    }
    let between = |from: i64, to: i64| {
        let (start, end) = log
            .appended_between(Some(NOW_MS + from), Some(NOW_MS + to))
            .unwrap();
        (start.0, end.map(|end| end.0))
    };
    assert_eq!(between(12_000, 13_000), (0, Some(4)));
    assert_eq!(between(12_001, 13_000), (1, Some(4)));
    assert_eq!(between(13_501, 20_000), (4, None));
}

/// However much is appended, there are so many marks at most: those of removed records go, old ones become fewer, and what they tell
/// still holds, also after a kill.
#[test]
fn marks_are_bounded_and_still_tell() {
    let disk = empty_disk();
    let config = LogConfig {
        segment_bytes: 1 << 20,
        ..config()
    };
    let log = try_open(&disk, config).unwrap().0;
    let count = i64::try_from(MARKS_MAX).unwrap() + 1_000;
    for i in 0..count {
        append_at(&log, "x", NOW_MS + i * 1_000);
    }
    let marks = || disk.bytes(&file()).unwrap().len() as u64 / 24;
    assert!((MARKS_MAX / 2..MARKS_MAX).contains(&marks()), "{}", marks());
    let of = |log: &Log, from: i64, to: i64| {
        let at = |i: i64| Some(NOW_MS + i * 1_000);
        let (start, end) = log.appended_between(at(from), at(to)).unwrap();
        (start.0, end.map_or(count, |end| end.0))
    };
    let check = |log: &Log| {
        for (from, slack) in [(10, 2), (20_001, 2), (count - 500, 1)] {
            let (start, end) = of(log, from, from + 100);
            assert!((from - slack..=from).contains(&start), "{start} for {from}");
            let wanted = from + 100;
            assert!(
                (wanted..wanted + slack).contains(&end),
                "{end} for {wanted}"
            );
        }
    };
    check(&log);
    log.abandon();
    let log = try_open(&disk.kill(), config).unwrap().0;
    check(&log);
}

/// A disk that takes no mark keeps no append from succeeding, and no range from being whole.
#[test]
fn an_append_does_not_wait_for_its_mark() {
    let disk = empty_disk();
    let log = try_open(&disk, config()).unwrap().0;
    append_at(&log, "a", NOW_MS);
    let gone = dir().join("index");
    disk.lose(&file()).unwrap();
    // A folder where the file was: it cannot be opened.
    disk.create_dir_all(&gone.join("append-times")).unwrap();
    append_at(&log, "b", NOW_MS + 5_000);
    append_at(&log, "c", NOW_MS + 9_000);
    assert_eq!(log.offsets().log_end, Offset(3));
}
