//! Several logs, one sync of the whole file system.

use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{
    group_commit::{Gate, Hooked, until},
    *,
};
use crate::disk::{OpenMode, together::SyncTogether};

const LOGS: i32 = 8;

/// Syncs all files of a disk, or fails as a file system does after a failed write-back.
#[derive(Debug)]
struct All {
    disk: CrashDisk,
    fails: bool,
    calls: AtomicU64,
}

impl SyncTogether for All {
    fn is_quiet(&self) -> bool {
        true
    }

    fn sync(&self) -> io::Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.fails {
            return Err(io::Error::other("EIO"));
        }
        for path in self.disk.files().keys() {
            self.disk.open(path, OpenMode::ReadWrite)?.sync_data()?;
        }
        Ok(())
    }
}

struct Node {
    disk: CrashDisk,
    hooked: Arc<Hooked>,
    syncer: Syncer,
    logs: Vec<Arc<Log>>,
    all: Arc<All>,
    /// Syncs of single files.
    alone: Arc<AtomicU64>,
    armed: Arc<AtomicBool>,
    gate: Arc<Gate>,
}

fn dir_of(log: i32) -> PathBuf {
    PathBuf::from(format!("/data/t-{log}"))
}

fn open_in(disk: &CrashDisk, hooked: &Arc<Hooked>, syncer: &Syncer, log: i32) -> Arc<Log> {
    let options = LogOptions {
        dir: dir_of(log),
        partition: log,
        disk: Arc::clone(hooked) as _,
        syncer: syncer.clone(),
        ..options(disk, LogConfig::default())
    };
    Log::open(options).unwrap().0
}

/// Logs with one sync thread; log 3's own sync fails where `fails`, as the sync of all does. The sync of log 0 hangs once armed.
fn node(fails: bool) -> Node {
    let disk = empty_disk();
    let (alone, armed, gate) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
        Arc::new(Gate::default()),
    );
    let (count, is_armed, hang) = (Arc::clone(&alone), Arc::clone(&armed), Arc::clone(&gate));
    let opened = Arc::new(AtomicBool::new(false));
    let hears = Arc::clone(&opened);
    let before_sync = move |path: &Path| {
        if !hears.load(Ordering::SeqCst) {
            return Ok(());
        }
        count.fetch_add(1, Ordering::SeqCst);
        if path.starts_with(dir_of(0)) && is_armed.swap(false, Ordering::SeqCst) {
            hang.wait();
        }
        if fails && path.starts_with(dir_of(3)) {
            return Err(io::Error::other("EIO"));
        }
        Ok(())
    };
    let hooked = Arc::new(Hooked {
        disk: disk.clone(),
        before_sync: Arc::new(before_sync),
    });
    let all = Arc::new(All {
        disk: disk.clone(),
        fails,
        calls: AtomicU64::new(0),
    });
    let together: Arc<dyn SyncTogether> = Arc::clone(&all) as _;
    let syncer = Syncer::start(SyncerOptions {
        together: Some(together),
        ..SyncerOptions::default()
    })
    .unwrap();
    let logs = (0..LOGS)
        .map(|log| open_in(&disk, &hooked, &syncer, log))
        .collect();
    opened.store(true, Ordering::SeqCst);
    Node {
        disk,
        hooked,
        syncer,
        logs,
        all,
        alone,
        armed,
        gate,
    }
}

impl Node {
    /// Appends to each log while the thread hangs in the sync of log 0: the others wait together.
    fn append_to_all(&self) {
        self.append_to_hanging();
        self.gate.open();
    }

    /// The same; the thread goes on hanging.
    fn append_to_hanging(&self) {
        self.gate.shut();
        self.armed.store(true, Ordering::SeqCst);
        for log in &self.logs {
            if log.is_poisoned().is_some() {
                continue;
            }
            append(log, plain(1, &["a"]));
            until("the first round", || {
                self.gate.reached.load(Ordering::SeqCst)
            });
        }
    }

    fn open(&self, log: i32) -> Arc<Log> {
        open_in(&self.disk, &self.hooked, &self.syncer, log)
    }

    fn committed(&self) -> Vec<i64> {
        let ends = self.logs.iter().map(|log| ends(log)[2]);
        ends.collect()
    }
}

#[test]
fn one_sync_of_all_commits_what_several_logs_appended() {
    let node = node(false);
    node.append_to_all();
    until("the commit", || {
        node.committed().iter().all(|end| *end == 1)
    });
    assert_eq!(node.all.calls.load(Ordering::SeqCst), 1);
    assert_eq!(
        node.alone.load(Ordering::SeqCst),
        1,
        "log 0, which came first"
    );
    for (log, partition) in node.logs.iter().zip(0..) {
        let after = LogOptions {
            dir: dir_of(partition),
            partition,
            ..options(&node.disk.crash(7), LogConfig::default())
        };
        let (after, _) = Log::open(after).unwrap();
        assert_eq!(ends(&after), ends(log), "what was committed is durable");
    }
}

/// Topics are deleted while their logs wait: the next round is not kept waiting by a sync of all that had nothing left to do.
#[test]
fn logs_that_are_dropped_while_they_wait_hold_nobody_up() {
    let mut node = node(false);
    node.append_to_hanging();
    let dropped: Vec<_> = node.logs.drain(1..).collect();
    let gone: Vec<_> = dropped.iter().map(Arc::downgrade).collect();
    drop(dropped);
    assert!(gone.iter().all(|log| log.upgrade().is_none()));
    node.gate.open();
    until("the commit of log 0", || node.committed() == [1]);
    let more: Vec<_> = (0..LOGS).map(|n| node.open(LOGS + n)).collect();
    node.logs.extend(more);
    node.append_to_all();
    until("the others' commit", || {
        node.committed()[1..].iter().all(|end| *end == 1)
    });
}

#[test]
fn a_sync_of_all_that_fails_poisons_only_the_log_whose_own_sync_fails() {
    let node = node(true);
    node.append_to_all();
    until("the others' commit", || {
        node.committed() == [1, 1, 1, 0, 1, 1, 1, 1]
    });
    until("the poisoning", || node.logs[3].is_poisoned().is_some());
    assert!(node.all.calls.load(Ordering::SeqCst) == 1);
    // A log that was not in that round would not hear of the failure from a second call: it is not made.
    node.append_to_all();
    until("the next commit", || {
        node.committed() == [2, 2, 2, 0, 2, 2, 2, 2]
    });
    assert_eq!(node.all.calls.load(Ordering::SeqCst), 1);
}
