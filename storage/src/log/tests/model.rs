//! The whole log against a list of units, under random lives.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append {
        kind: u8,
        size: usize,
        timestamp: i64,
    },
    Sync,
    Checkpoint,
    Close,
    Kill,
    PowerLoss(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..7u8, 0..600usize, 0..20i64)
            .prop_map(|(kind, size, timestamp)| Step::Append { kind, size, timestamp }),
        2 => Just(Step::Sync),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => (0..1000u64).prop_map(Step::PowerLoss),
    ]
}

/// A log as a list of frames.
#[derive(Default)]
struct Model {
    /// End offset and frames of each unit.
    units: Vec<(i64, Vec<BatchView>)>,
    /// How many of them are committed.
    committed: usize,
}

impl Model {
    fn end(&self) -> i64 {
        self.units.last().map_or(0, |(end, _)| *end)
    }

    fn high_watermark(&self) -> i64 {
        self.committed.checked_sub(1).map_or(0, |i| self.units[i].0)
    }

    fn frames(&self) -> impl Iterator<Item = &BatchView> {
        self.units[..self.committed]
            .iter()
            .flat_map(|(_, frames)| frames)
    }

    fn visible(&self) -> impl Iterator<Item = &BatchView> {
        self.frames().filter(|f| !f.header.is_hidden())
    }

    fn ends(&self) -> [i64; 4] {
        let visible_end = self
            .visible()
            .last()
            .map_or(0, |f| f.header.last_offset() + 1);
        [0, visible_end, self.high_watermark(), self.end()]
    }
}

fn unit(kind: u8, size: usize, timestamp: i64) -> Unit {
    let value = "m".repeat(size);
    match kind {
        0 => held(header(1, timestamp), &[&value], &[0], None),
        1 => held(
            header(4, timestamp),
            &["a", &value, "b", "c"],
            &[0, 3],
            None,
        ),
        2 => held(
            header(3, timestamp),
            &["a", "b", &value],
            &[1],
            Some(ScheduleId(0)),
        ),
        3 => cancel(0),
        4 => fire(timestamp, &[&value, "b"]),
        _ => plain(timestamp, &["a", "b", &value]),
    }
}

/// Compares all that can be asked.
fn check(log: &Log, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(ends(log), model.ends());
    let bytes = |b: &BatchView| b.bytes.clone();
    for from in 0..=model.end() {
        let is_from = |b: &&BatchView| b.header.last_offset() >= from;
        let visible = model.visible().find(is_from).map(bytes);
        let read = batches(read_bytes(log, from, 1, ReadUpTo::Visible));
        prop_assert_eq!(read.first().map(bytes), visible, "from {}", from);
        let any = model.frames().find(is_from).map(bytes);
        let read = batches(read_bytes(log, from, 1, ReadUpTo::All));
        prop_assert_eq!(read.first().map(bytes), any.clone(), "all from {}", from);
        let at = log.batch_at(Offset(from)).unwrap();
        prop_assert_eq!(at.as_ref().map(bytes), any, "at {}", from);
    }
    let after = |t: i64| model.visible().find(|b| b.header.max_timestamp >= t);
    for t in 0..20 {
        let found = log.first_batch_at_or_after_time(t, Offset(0)).unwrap();
        prop_assert_eq!(found.as_ref().map(bytes), after(t).map(bytes), "time {}", t);
    }
    let max = model.visible().map(|b| b.header.max_timestamp).max();
    let found = log.max_timestamp().unwrap();
    prop_assert_eq!(found.as_ref().map(bytes), max.and_then(after).map(bytes));
    let visible: Vec<_> = model.visible().map(bytes).collect();
    let read = read_from(log, 0, ReadUpTo::Visible);
    prop_assert_eq!(read.iter().map(bytes).collect::<Vec<_>>(), visible);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Appends of all kinds, syncs, checkpoints, and ends of all kinds with a reopen after each.
    #[test]
    fn a_log_is_the_list_of_its_units(
        steps in proptest::collection::vec(step(), 1..40),
        ack in any::<bool>(),
    ) {
        let config = LogConfig {
            segment_bytes: 1500,
            index_interval_bytes: 200,
            flush_policy: if ack { FlushPolicy::Ack } else { FlushPolicy::Os },
            ..LogConfig::default()
        };
        let mut disk = empty_disk();
        let mut log = try_open(&disk, config).unwrap().0;
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Append { kind, size, timestamp } => {
                    let unit = unit(kind, size, timestamp);
                    let base = append(&log, unit.clone());
                    prop_assert_eq!(base, model.end());
                    let frames = stamped(&unit, base).into_iter();
                    let frames = frames.map(|f| BatchView::parse(f).unwrap()).collect();
                    let count = i64::from(unit.frames[0].header.last_offset_delta) + 1;
                    model.units.push((base + count, frames));
                    if !ack {
                        model.committed = model.units.len();
                    }
                    prop_assert_eq!(ends(&log), model.ends());
                    continue;
                }
                Step::Sync => prop_assert!(log.sync_round(0)),
                Step::Checkpoint => log.checkpoint(NOW_MS).unwrap(),
                Step::Close => {
                    log.close(NOW_MS).unwrap();
                    log = try_open(&disk, config).unwrap().0;
                }
                Step::Kill => {
                    disk = disk.kill();
                    log = try_open(&disk, config).unwrap().0;
                }
                Step::PowerLoss(seed) => {
                    disk = disk.crash(seed);
                    log = try_open(&disk, config).unwrap().0;
                    let end = ends(&log)[3];
                    prop_assert!(!ack || end >= model.high_watermark(), "acked units are lost");
                    model.units.retain(|(unit_end, _)| *unit_end <= end);
                    prop_assert_eq!(model.end(), end, "a unit is there in part");
                }
            }
            model.committed = model.units.len();
            check(&log, &model)?;
        }
        check(&log, &model)?;
        let found = log.scrub(&mut |_| std::ops::ControlFlow::Continue(()));
        prop_assert!(found.is_empty(), "a scrub finds damage in a sound log: {:?}", found);
    }
}
