//! Several logs, and the journal that makes their tails durable together.

use std::sync::{
    Weak,
    atomic::{AtomicU64, Ordering},
};

use proptest::prelude::*;

use super::{
    group_commit::{Hooked, until},
    *,
};
use crate::{
    disk::OpenMode,
    journal::{Journal, JournalError, Replayed},
    log::{
        SEGMENT_HEADER_LEN,
        journaling::{self, JournalOptions, JournalWriter},
        syncer::Queue,
    },
};

const LOGS: usize = 3;
const HALF: u64 = 24 << 10;

fn node_dir() -> &'static Path {
    Path::new("/data")
}

fn dir_of(log: usize) -> PathBuf {
    PathBuf::from(format!("/data/t-{log}"))
}

fn topic(log: usize, life: u128) -> TopicId {
    TopicId::from_u128(life << 8 | log as u128)
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 4096,
        index_interval_bytes: 512,
        ..LogConfig::default()
    }
}

/// A node whose threads are the test: it says when a round or a settling happens.
struct Node {
    disk: CrashDisk,
    queue: Arc<Queue>,
    writer: JournalWriter,
    logs: Vec<Arc<Log>>,
}

impl Node {
    fn open(disk: &CrashDisk, lives: [u128; LOGS]) -> Result<(Self, Replayed), String> {
        let (journal, replayed) = Journal::open(disk, node_dir()).map_err(|e| e.to_string())?;
        let journal = match journal {
            Some(journal) => journal,
            None => Journal::make(disk, node_dir(), HALF).map_err(|e| e.to_string())?,
        };
        let queue = Arc::new(Queue::new(None, None));
        let writer = JournalWriter::new(Arc::clone(&queue), journal, HALF);
        let logs = (0..LOGS).map(|log| open_log(disk, log, lives[log]).map_err(|e| e.to_string()));
        let node = Self {
            disk: disk.clone(),
            queue,
            writer,
            logs: logs.collect::<Result<_, _>>()?,
        };
        Ok((node, replayed))
    }

    /// A round of the journal, and what it left to the logs' own files.
    fn round(&mut self) -> Result<(), String> {
        let requests = self.logs.iter().map(|log| (Arc::downgrade(log), 0));
        let written = self.writer.round(requests.collect());
        let alone: Vec<_> = self.queue.waiting.lock().now.drain(..).collect();
        for log in alone.iter().filter_map(|(log, _)| Weak::upgrade(log)) {
            log.sync_round(0);
        }
        written.map_err(|e| e.to_string())
    }

    /// What the threads that sync files do for the journal.
    fn settle(&self) {
        let settle = self.queue.waiting.lock().journal.to_settle.pop_front();
        if let Some(settle) = settle {
            journaling::settle(&self.queue, settle);
        }
    }

    fn high_watermarks(&self) -> [i64; LOGS] {
        let mut told = [0; LOGS];
        for (told, log) in told.iter_mut().zip(&self.logs) {
            *told = ends(log)[2];
        }
        told
    }
}

fn open_log(disk: &CrashDisk, log: usize, life: u128) -> Result<Arc<Log>, OpenError> {
    let options = LogOptions {
        dir: dir_of(log),
        topic_id: topic(log, life),
        ..options(disk, config())
    };
    Log::open(options).map(|(log, _)| log)
}

/// The `i`th unit of a log.
fn unit(i: usize, size: usize) -> Unit {
    let value = format!("{i}-{}", "j".repeat(size));
    let timestamp = i64::try_from(i % 20).unwrap();
    match i % 5 {
        0 => held(header(3, timestamp), &[&value, "a", "b"], &[0, 2], None),
        1 => cancel(0),
        2 => fire(timestamp, &[&value]),
        _ => plain(timestamp, &[&value, "c"]),
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize, usize),
    Round,
    Settle,
    Sync(usize),
    Checkpoint(usize),
    /// The topic is deleted and made again.
    Again(usize),
    Close,
    Kill,
    PowerLoss(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..LOGS, 0..1200usize).prop_map(|(log, size)| Step::Append(log, size)),
        6 => Just(Step::Round),
        2 => Just(Step::Settle),
        1 => (0..LOGS).prop_map(Step::Sync),
        1 => (0..LOGS).prop_map(Step::Checkpoint),
        1 => (0..LOGS).prop_map(Step::Again),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        2 => (0..1000u64).prop_map(Step::PowerLoss),
    ]
}

/// What was appended to each log: where units end, and their frames.
#[derive(Default)]
struct Model {
    units: [Vec<(i64, Vec<Bytes>)>; LOGS],
    lives: [u128; LOGS],
}

impl Model {
    fn end(&self, log: usize) -> i64 {
        self.units[log].last().map_or(0, |(end, _)| *end)
    }

    fn append(&mut self, node: &Node, log: usize, size: usize) -> Result<(), AppendFailed> {
        let unit = unit(self.units[log].len(), size);
        let appended = node.logs[log].append(unit.clone(), EPOCH, NOW_MS);
        let Ok(Appended::New { base_offset, .. }) = appended else {
            return Err(AppendFailed(format!("{appended:?}")));
        };
        let count = i64::from(unit.frames[0].header.last_offset_delta) + 1;
        let frames = stamped(&unit, base_offset.0);
        self.units[log].push((base_offset.0 + count, frames));
        Ok(())
    }

    /// After an end of any kind: all that was acked is there, nothing in part, nothing else.
    fn check_reopened(&mut self, node: &Node, acked: [i64; LOGS]) {
        for (i, log) in node.logs.iter().enumerate() {
            let end = ends(log)[3];
            assert!(end >= acked[i], "log {i} ends at {end}, acked {}", acked[i]);
            self.units[i].retain(|(unit_end, _)| *unit_end <= end);
            assert_eq!(self.end(i), end, "log {i} has a unit in part");
            let frames: Vec<_> = self.units[i]
                .iter()
                .flat_map(|(_, frames)| frames.clone())
                .collect();
            assert!(all_frames(log) == frames, "log {i} has other bytes");
        }
    }
}

#[derive(Debug)]
struct AppendFailed(String);

/// The files of a partition are removed, as when its topic is deleted.
fn remove_files(disk: &CrashDisk, log: usize) {
    for path in disk.files().into_keys() {
        if path.starts_with(dir_of(log)) {
            disk.remove_file(&path).unwrap();
            disk.sync_dir(path.parent().unwrap()).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 384, ..ProptestConfig::default() })]

    /// Appends to some logs, rounds, settlings, syncs; topics deleted; ends of all kinds with a start after each.
    #[test]
    fn logs_with_a_journal_are_the_lists_of_their_units(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let mut model = Model::default();
        let mut node = Node::open(&empty_disk(), model.lives).unwrap().0;
        for step in steps {
            let acked = node.high_watermarks();
            match step {
                Step::Append(log, size) => {
                    model.append(&node, log, size).unwrap();
                    prop_assert_eq!(node.high_watermarks(), acked, "acked before it was durable");
                }
                Step::Round => {
                    node.round().unwrap();
                    for log in 0..LOGS {
                        prop_assert_eq!(node.high_watermarks()[log], model.end(log));
                    }
                }
                Step::Settle => node.settle(),
                Step::Sync(log) => prop_assert!(node.logs[log].sync_round(0)),
                Step::Checkpoint(log) => node.logs[log].checkpoint(NOW_MS).unwrap(),
                Step::Again(log) => {
                    node.logs[log].abandon();
                    remove_files(&node.disk, log);
                    model.lives[log] += 1;
                    model.units[log].clear();
                    node.logs[log] = open_log(&node.disk, log, model.lives[log]).unwrap();
                }
                Step::Close => {
                    for log in &node.logs {
                        log.close(NOW_MS).unwrap();
                    }
                    let appended: Vec<_> = (0..LOGS).map(|log| model.end(log)).collect();
                    let appended = <[i64; LOGS]>::try_from(appended).unwrap();
                    node = Node::open(&node.disk.clone(), model.lives).unwrap().0;
                    model.check_reopened(&node, appended);
                }
                Step::Kill => {
                    let appended: Vec<_> = (0..LOGS).map(|log| model.end(log)).collect();
                    let appended = <[i64; LOGS]>::try_from(appended).unwrap();
                    node = Node::open(&node.disk.kill(), model.lives).unwrap().0;
                    model.check_reopened(&node, appended);
                }
                Step::PowerLoss(seed) => {
                    let acked = node.high_watermarks();
                    node = Node::open(&node.disk.crash(seed), model.lives).unwrap().0;
                    model.check_reopened(&node, acked);
                }
            }
        }
    }
}

/// A fixed life, up to the first failure: rounds over several generations of the journal, with settlings between.
fn live(disk: &CrashDisk, model: &mut Model, acked: &mut [i64; LOGS]) -> Result<(), String> {
    let mut node = Node::open(disk, model.lives)?.0;
    for i in 0..44 {
        for log in 0..LOGS {
            if i % (log + 1) == 0 {
                let appended = model.append(&node, log, i * 37 % 700);
                appended.map_err(|AppendFailed(why)| why)?;
            }
        }
        if i % 3 != 1 {
            let rounded = node.round();
            *acked = node.high_watermarks();
            rounded?;
        }
        if i % 8 == 7 {
            node.settle();
        }
        if i == 22 {
            let checkpointed = node.logs[1].checkpoint(NOW_MS);
            *acked = node.high_watermarks();
            checkpointed.map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

#[test]
fn a_power_loss_at_any_change_loses_nothing_that_the_journal_made_durable() {
    let mut all = 0;
    let mut n = 0;
    while n <= all {
        let disk = empty_disk();
        let before = disk.counters().changes;
        if n > 0 {
            disk.stop_after(n);
        }
        let (mut model, mut acked) = (Model::default(), [0; LOGS]);
        let lived = live(&disk, &mut model, &mut acked);
        if n == 0 {
            lived.unwrap();
            all = disk.counters().changes - before;
            assert!(all > 150, "{all} changes are too few to mean anything");
        } else {
            lived.unwrap_err();
        }
        for seed in [0, n * 10 + 1, n * 10 + 2] {
            let left = disk.crash(seed);
            let (node, _) = Node::open(&left, model.lives).unwrap();
            let mut model = Model {
                units: model.units.clone(),
                lives: model.lives,
            };
            model.check_reopened(&node, acked);
            // What a start took from the journal is durable before the journal is over.
            let again = Node::open(&left.crash(0), model.lives).unwrap().0;
            model.check_reopened(&again, node.high_watermarks());
        }
        n += 1;
        if n == all {
            break;
        }
    }
}

/// A start may be cut short itself, anywhere.
#[test]
fn a_replay_that_is_cut_short_is_done_again() {
    let disk = empty_disk();
    let (mut model, mut acked) = (Model::default(), [0; LOGS]);
    live(&disk, &mut model, &mut acked).unwrap();
    let left = disk.crash(7);
    for n in 0.. {
        let stopped = left.settled();
        stopped.stop_after(n);
        let opened = Node::open(&stopped, model.lives);
        let node = Node::open(&stopped.crash(n), model.lives).unwrap().0;
        let mut model = Model {
            units: model.units.clone(),
            lives: model.lives,
        };
        model.check_reopened(&node, acked);
        if opened.is_ok() {
            assert!(n > 5, "{n} changes: nothing was replayed");
            break;
        }
    }
}

#[test]
fn a_journal_that_cannot_be_synced_is_left_to_the_next_start() {
    let mut model = Model::default();
    let mut node = Node::open(&empty_disk(), model.lives).unwrap().0;
    model.append(&node, 0, 10).unwrap();
    node.round().unwrap();
    let acked = node.high_watermarks();
    model.append(&node, 0, 10).unwrap();
    model.append(&node, 1, 10).unwrap();
    node.disk.fail_sync(1);
    node.round().unwrap_err();
    assert!(
        node.high_watermarks()[0] > acked[0],
        "synced by its own file"
    );
    let acked = node.high_watermarks();
    assert_eq!([acked[0], acked[1]], [model.end(0), model.end(1)]);
    let node = Node::open(&node.disk.crash(0), model.lives).unwrap().0;
    model.check_reopened(&node, acked);
}

/// The segment's own write-back fails after the journal had its bytes: they are not lost.
#[test]
fn a_log_that_cannot_be_settled_is_poisoned_and_whole_after_the_next_start() {
    let mut model = Model::default();
    let mut node = Node::open(&empty_disk(), model.lives).unwrap().0;
    while node.queue.waiting.lock().journal.to_settle.is_empty() {
        model.append(&node, 0, 900).unwrap();
        node.round().unwrap();
    }
    let acked = node.high_watermarks();
    node.disk.fail_sync(1);
    node.settle();
    assert!(node.logs[0].is_poisoned().is_some());
    assert!(node.logs[1].is_poisoned().is_none());
    let (node, replayed) = Node::open(&node.disk.crash(0), model.lives).unwrap();
    assert!(replayed.written_bytes > 0);
    model.check_reopened(&node, acked);
}

fn journal_path() -> PathBuf {
    node_dir().join("journal/a.journal")
}

/// Six rounds in the first half, none settled, after a power loss that took what only the segments had.
fn unsettled() -> (CrashDisk, Model, [i64; LOGS]) {
    let mut model = Model::default();
    let mut node = Node::open(&empty_disk(), model.lives).unwrap().0;
    for _ in 0..5 {
        for log in 0..LOGS {
            model.append(&node, log, 50).unwrap();
        }
        node.round().unwrap();
    }
    let acked = node.high_watermarks();
    (node.disk.crash(0), model, acked)
}

#[test]
fn a_damaged_round_is_refused_unless_it_is_the_last() {
    let (disk, model, acked) = unsettled();
    let bytes = disk.bytes(&journal_path()).unwrap();
    for round in 0..5 {
        let mut flipped = bytes.clone();
        flipped[4096 * (1 + round) + 60] ^= 1;
        let damaged = disk.settled();
        damaged.set_bytes(&journal_path(), &flipped).unwrap();
        let before = damaged.files();
        let opened = Node::open(&damaged, model.lives);
        if round < 4 {
            let why = opened.err().unwrap();
            let expected = format!("round {round} at {} is damaged", 4096 * (1 + round));
            assert!(why.contains(&expected), "{why}");
            let journal = |files: &std::collections::BTreeMap<PathBuf, Vec<u8>>| {
                files.get(&journal_path()).cloned()
            };
            assert_eq!(
                journal(&damaged.files()),
                journal(&before),
                "it was changed"
            );
        } else {
            // As if it had never been acked.
            let node = opened.unwrap().0;
            assert!(node.high_watermarks()[0] < acked[0]);
            assert!(node.high_watermarks()[0] > 0);
        }
    }
}

/// The journal heals what it has; what was synced otherwise it cannot bring back.
#[test]
fn a_segment_that_ends_before_the_journal_goes_on_is_refused() {
    let mut model = Model::default();
    let mut node = Node::open(&empty_disk(), model.lives).unwrap().0;
    model.append(&node, 1, 10).unwrap();
    assert!(node.logs[1].sync_round(0));
    model.append(&node, 1, 10).unwrap();
    node.round().unwrap();
    let acked = node.high_watermarks();
    let disk = node.disk.crash(0);
    let path = dir_of(1).join("segments/00000000000000000000.log");
    let whole = disk.bytes(&path).unwrap();
    model.check_reopened(&Node::open(&disk.settled(), model.lives).unwrap().0, acked);
    let cut = disk.settled();
    cut.set_bytes(&path, &whole[..64]).unwrap();
    let why = Node::open(&cut, model.lives).err().unwrap();
    let expected = format!("it ends at 64, and the journal goes on at {}", whole.len());
    assert!(why.contains(&expected), "{why}");
    assert_eq!(cut.bytes(&path).unwrap(), &whole[..64]);
}

/// A topic is deleted and made again while the journal speaks of the first one, and the node stops while it makes the folder.
#[test]
fn a_log_that_was_being_made_where_a_deleted_one_was_is_not_taken_for_that() {
    let (left, model, acked) = unsettled();
    for n in 0.. {
        let disk = left.settled();
        remove_files(&disk, 1);
        disk.stop_after(n);
        let lives = [model.lives[0], model.lives[1] + 1, model.lives[2]];
        let made = open_log(&disk, 1, lives[1]);
        for disk in [disk.kill(), disk.crash(n)] {
            let node = Node::open(&disk, lives).unwrap().0;
            assert_eq!(ends(&node.logs[1]), [0; 4], "change {n}");
            assert_eq!(node.high_watermarks(), [acked[0], 0, acked[2]]);
        }
        if made.is_ok() {
            assert!(n > 3, "{n} changes: nothing was made");
            break;
        }
    }
}

/// Where a log was, a file without its header is damage, unless another topic's is before it.
#[test]
fn a_segment_without_a_header_is_refused_where_its_log_was() {
    let (disk, model, _) = unsettled();
    let path = dir_of(1).join("segments/00000000000000000000.log");
    let owner = dir_of(1).join("meta/partition.json");
    disk.open(&owner, OpenMode::Create).unwrap();
    let whole = disk.bytes(&path).unwrap();
    for header in [&[][..], &whole[..20], &[0; SEGMENT_HEADER_LEN]] {
        let cut = disk.settled();
        cut.set_bytes(&path, header).unwrap();
        cut.open(&owner, OpenMode::Create).unwrap();
        let why = Node::open(&cut, model.lives).err().unwrap();
        assert!(why.contains("its header is cut off"), "{why}");
        assert_eq!(cut.bytes(&path).unwrap(), header);
    }
}

#[test]
fn a_journal_that_is_not_wanted_any_more_goes_when_it_is_over() {
    let (disk, mut model, acked) = unsettled();
    let (journal, replayed) = Journal::open(&disk, node_dir()).unwrap();
    assert!(replayed.written_bytes > 0);
    journal.unwrap().remove(&disk).unwrap();
    assert!(!disk.exists(&journal_path()));
    model.check_reopened(&Node::open(&disk.crash(0), model.lives).unwrap().0, acked);
}

#[test]
fn another_release_s_journal_is_refused() {
    let (disk, ..) = unsettled();
    let mut bytes = disk.bytes(&journal_path()).unwrap();
    bytes[11] = 9;
    disk.set_bytes(&journal_path(), &bytes).unwrap();
    let refused = Journal::open(&disk, node_dir()).unwrap_err();
    assert!(matches!(refused, JournalError::Unreadable { .. }));
    assert!(refused.to_string().contains("version 9"), "{refused}");
}

/// With threads: a journal is made once it is worth it, takes the small tails of all logs, and is empty after a clean end.
#[test]
fn small_tails_need_no_sync_of_their_segments() {
    let disk = empty_disk();
    let segment_syncs = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&segment_syncs);
    let hooked = Arc::new(Hooked {
        disk: disk.clone(),
        before_sync: Arc::new(move |path: &Path| {
            if path.extension().is_some_and(|e| e == "log") {
                count.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        }),
    });
    let written = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&written);
    let syncer = Syncer::start(SyncerOptions {
        threads: 2,
        on_sync: Some(Arc::new(move |synced| {
            told.fetch_add(synced.journal_bytes, Ordering::SeqCst);
        })),
        together: None,
        journal: Some(JournalOptions {
            disk: Arc::new(disk.clone()),
            node_dir: node_dir().to_path_buf(),
            journal: None,
            bytes_max: 8 << 20,
        }),
    })
    .unwrap();
    let open = |log: usize| {
        let options = LogOptions {
            dir: dir_of(log),
            topic_id: topic(log, 0),
            disk: Arc::clone(&hooked) as _,
            syncer: syncer.clone(),
            ..options(&disk, LogConfig::default())
        };
        Log::open(options).unwrap().0
    };
    let logs: Vec<_> = (0..8).map(open).collect();
    let committed = || logs.iter().all(|log| ends(log)[2] == ends(log)[3]);
    until("a journal", || {
        append(&logs[0], plain(1, &["a"]));
        until("a sync", committed);
        written.load(Ordering::SeqCst) > 0
    });
    let before = segment_syncs.load(Ordering::SeqCst);
    for i in 0..200 {
        append(&logs[i % 8], plain(1, &["b"]));
        if i % 20 == 0 {
            until("a round", committed);
        }
    }
    until("the last round", committed);
    assert_eq!(segment_syncs.load(Ordering::SeqCst), before);
    let after = disk.crash(0);
    let (_, replayed) = Journal::open(&after, node_dir()).unwrap();
    assert!(replayed.written_bytes > 0, "only the journal had it");
    // Too large for the journal: a byte is written once.
    append(&logs[3], plain(1, &[&"c".repeat(40 << 10)]));
    until("a sync of the segment", committed);
    assert_eq!(segment_syncs.load(Ordering::SeqCst), before + 1);
    let ended: Vec<_> = logs.iter().map(|log| ends(log)[3]).collect();
    for log in &logs {
        log.close(NOW_MS).unwrap();
    }
    syncer.close_journal();
    let after = disk.crash(0);
    let (_, replayed) = Journal::open(&after, node_dir()).unwrap();
    assert_eq!(replayed, Replayed::default());
    for (log, end) in ended.into_iter().enumerate() {
        let options = LogOptions {
            dir: dir_of(log),
            topic_id: topic(log, 0),
            ..options(&after, LogConfig::default())
        };
        assert_eq!(ends(&Log::open(options).unwrap().0)[3], end);
    }
}
