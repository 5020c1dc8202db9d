//! A fixed life of a log, with all that it knows: what the tests of crashes and faults cut short everywhere.

use super::*;

const APPENDS: i32 = 36;

/// What a run did before it was stopped.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Units that were appended: where, by whom, what.
    pub(super) appended: Vec<(i64, LeaderEpoch, Unit)>,
    /// The largest high watermark that was told.
    pub(super) high_watermark: i64,
    /// Why it ended before its end.
    pub(super) failed: Option<String>,
    /// It goes on from here; a test may ask it more.
    pub(super) log: Option<Arc<Log>>,
}

/// Segments of a few sectors, so that units share them and several are unsynced in one.
pub(super) fn config(flush_policy: FlushPolicy) -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        index_interval_bytes: 512,
        flush_policy,
        ..LogConfig::default()
    }
}

/// The `i`th unit: of each kind, some within a sector, some over several.
fn unit(i: i32) -> Unit {
    let timestamp = i64::from(i * 7 % 20);
    let long = format!("{i}-{}", "w".repeat(700));
    let short = format!("{i}");
    match i % 7 {
        0 => plain(timestamp, &[&short, &long]),
        1 => held(
            header(3, timestamp),
            &[&short, &short, &long],
            &[0, 2],
            None,
        ),
        2 => idempotent(1, i / 7 * 2, &[&short, &short]),
        3 => held(
            header(2, timestamp),
            &[&long, &short],
            &[0],
            Some(ScheduleId(1)),
        ),
        4 => cancel(i64::from(i)),
        5 => idempotent(2, i / 7, &[&long]),
        _ => fire(timestamp, &[&short]),
    }
}

/// Lives it, up to the first failure.
pub(super) fn run(disk: &CrashDisk, config: LogConfig) -> Run {
    let mut run = Run::default();
    run.failed = live(disk, config, &mut run).err();
    run
}

fn live(disk: &CrashDisk, config: LogConfig, run: &mut Run) -> Result<(), String> {
    let open = |run: &mut Run| {
        run.log = None;
        let (log, _) = try_open(disk, config).map_err(|e| e.to_string())?;
        run.saw(&log);
        run.log = Some(Arc::clone(&log));
        Ok::<_, String>(log)
    };
    let mut log = open(run)?;
    for i in 0..APPENDS {
        let (unit, epoch) = (unit(i), LeaderEpoch(i / 8));
        let appended = log.append(unit.clone(), epoch, NOW_MS);
        run.saw(&log);
        match appended.map_err(|e| e.to_string())? {
            Appended::New { base_offset, .. } => run.appended.push((base_offset.0, epoch, unit)),
            duplicate @ Appended::Duplicate { .. } => return Err(format!("{duplicate:?}")),
        }
        if i % 5 == 3 {
            let synced = log.sync_round(0);
            run.saw(&log);
            if !synced {
                return Err("the log is poisoned".into());
            }
        }
        if i % 11 == 9 {
            log.checkpoint(NOW_MS).map_err(|e| e.to_string())?;
            run.saw(&log);
        }
        if i == 17 {
            log.close(NOW_MS).map_err(|e| e.to_string())?;
            run.saw(&log);
            log = open(run)?;
        }
        if i == 28 {
            // As after kill -9: nothing was synced or written for it.
            log = open(run)?;
        }
    }
    Ok(())
}

impl Run {
    fn saw(&mut self, log: &Log) {
        let told = log.offsets().high_watermark.0;
        assert!(told >= self.high_watermark, "the high watermark went back");
        self.high_watermark = told;
    }

    /// Where the log may end: between units.
    pub(super) fn units_below(&self, end: i64) -> &[(i64, LeaderEpoch, Unit)] {
        let count = self.appended.partition_point(|(base, ..)| *base < end);
        &self.appended[..count]
    }
}

fn unit_end((base, _, unit): &(i64, LeaderEpoch, Unit)) -> i64 {
    base + i64::from(unit.frames[0].header.last_offset_delta) + 1
}

/// What is left of a run after whatever stopped it: opens, and checks all that must hold; returns the log end.
pub(super) fn check(what: &str, run: &Run, left: &CrashDisk, config: LogConfig) -> i64 {
    let (told, _) = told(left, config);
    let end = told.ends[3];
    let units = run.units_below(end);
    assert_eq!(
        units.last().map_or(0, unit_end),
        end,
        "{what}: a unit is there in part"
    );
    let frames: Vec<Bytes> = units
        .iter()
        .flat_map(|(base, epoch, unit)| stamped_by(unit, *base, *epoch))
        .collect();
    assert!(
        told.frames == frames,
        "{what}: other bytes than those appended"
    );
    let visible_end = frames
        .iter()
        .map(|f| BatchHeader::parse(f).unwrap())
        .filter(|h| !h.is_hidden())
        .map(|h| h.last_offset() + 1)
        .max();
    assert_eq!(told.ends, [0, visible_end.unwrap_or(0), end, end], "{what}");
    let (scanned, _) = self::told(&without_checkpoint(left), config);
    assert_eq!(
        told, scanned,
        "{what}: a checkpoint tells something else than the log"
    );

    // A disk that goes on: retries of what is there are duplicates, and what is acked now survives, too.
    let disk = left.settled();
    let log = try_open(&disk, config).unwrap().0;
    for (base, epoch, unit) in units.iter().rev().take(14) {
        if unit.frames[0].header.has_producer_id() {
            let again = log.append(unit.clone(), *epoch, NOW_MS).unwrap();
            match again {
                Appended::Duplicate { base_offset, .. } => {
                    assert_eq!(base_offset.0, *base, "{what}");
                }
                new @ Appended::New { .. } => panic!("{what}: {new:?} of what is at {base}"),
            }
        }
    }
    end
}

/// An open on the disk as it was left, and a power loss; an acked append, and another one: what could be read is there.
pub(super) fn check_goes_on(what: &str, left: &CrashDisk, config: LogConfig) {
    let log = try_open(left, config).unwrap().0;
    let opened_at = ends(&log)[3];
    let again = told(&left.crash(0), config).0.ends[3];
    assert_eq!(
        again, opened_at,
        "{what}: what was told after an open is lost"
    );
    assert_eq!(append(&log, plain(1, &["after"])), opened_at, "{what}");
    assert!(log.sync_round(0));
    let log = try_open(&left.crash(0), config).unwrap().0;
    assert_eq!(
        ends(&log)[3],
        opened_at + 1,
        "{what}: what was acked after it was opened is lost"
    );
}
