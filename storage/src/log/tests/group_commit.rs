//! Group commit with threads: what is committed is synced, and a sync serves many.

use std::{
    io,
    path::Path,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tokio::runtime;

use super::*;
use crate::disk::{DiskFile, OpenMode};

pub(super) type Hook = dyn Fn(&Path) -> io::Result<()> + Send + Sync;

/// A disk of which a test hears each sync of a file before it is done.
#[derive(Clone)]
pub(super) struct Hooked {
    pub(super) disk: CrashDisk,
    pub(super) before_sync: Arc<Hook>,
}

struct HookedFile {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    before_sync: Arc<Hook>,
}

impl std::fmt::Debug for Hooked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooked")
    }
}

impl std::fmt::Debug for HookedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HookedFile")
    }
}

impl Disk for Hooked {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(HookedFile {
            file: self.disk.open(path, mode)?,
            path: path.to_path_buf(),
            before_sync: Arc::clone(&self.before_sync),
        }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>> {
        self.disk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }
    fn exists(&self, path: &Path) -> bool {
        self.disk.exists(path)
    }
}

impl DiskFile for HookedFile {
    fn read_exact_at(&self, buf: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, position)
    }
    fn write_all_at(&self, slices: &mut [io::IoSlice<'_>], position: u64) -> io::Result<()> {
        self.file.write_all_at(slices, position)
    }
    fn sync_data(&self) -> io::Result<()> {
        (self.before_sync)(&self.path)?;
        self.file.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
    fn as_std(&self) -> Option<&std::fs::File> {
        None
    }
}

/// What takes longer never happens.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Something that threads wait for.
#[derive(Default)]
pub(super) struct Gate {
    open: Mutex<bool>,
    bell: Condvar,
    pub(super) reached: AtomicBool,
}

impl Gate {
    pub(super) fn wait(&self) {
        self.reached.store(true, Ordering::SeqCst);
        let mut open = self.open.lock();
        // A test that failed opens no gate.
        while !*open && !self.bell.wait_for(&mut open, WAIT_MAX).timed_out() {}
    }

    pub(super) fn shut(&self) {
        self.reached.store(false, Ordering::SeqCst);
        *self.open.lock() = false;
    }

    pub(super) fn open(&self) {
        *self.open.lock() = true;
        self.bell.notify_all();
    }
}

fn open_hooked(
    disk: &CrashDisk,
    config: LogConfig,
    threads: usize,
    before_sync: impl Fn(&Path) -> io::Result<()> + Send + Sync + 'static,
) -> Arc<Log> {
    // The open syncs, too: it is none of the tests' business.
    let opened = Arc::new(AtomicBool::new(false));
    let hears = Arc::clone(&opened);
    let before_sync = move |path: &Path| {
        if hears.load(Ordering::SeqCst) {
            before_sync(path)
        } else {
            Ok(())
        }
    };
    let options = LogOptions {
        disk: Arc::new(Hooked {
            disk: disk.clone(),
            before_sync: Arc::new(before_sync),
        }),
        syncer: Syncer::start(SyncerOptions {
            threads,
            ..SyncerOptions::default()
        })
        .unwrap(),
        ..options(disk, config)
    };
    let (log, _) = Log::open(options).unwrap();
    opened.store(true, Ordering::SeqCst);
    log
}

/// A while; long for a thread that could go on, short for a test.
fn pause(ms: u64) {
    let (_keep, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(Duration::from_millis(ms)).is_err();
}

pub(super) fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..WAIT_MAX.as_millis() {
        if holds() {
            return;
        }
        pause(1);
    }
    panic!("{what} did not happen");
}

/// Waits for the high watermark as a produce request does.
fn wait_committed(log: &Log, end: Offset) {
    let mut watch = log.watch();
    runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(watch.wait_for(|o| o.high_watermark >= end))
        .unwrap();
}

/// Eight threads, each of which waits for its ack before it appends again; a sync takes a millisecond, two threads sync.
#[test]
fn one_sync_serves_many_appends_and_all_of_them_are_acked() {
    let disk = empty_disk();
    let syncs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&syncs);
    let log = open_hooked(&disk, config(), 2, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        pause(1);
        Ok(())
    });
    let (each, threads) = (40, 8);
    let before = syncs.load(Ordering::SeqCst);
    thread::scope(|scope| {
        for t in 0..threads {
            let log = &log;
            scope.spawn(move || {
                for i in 0..each {
                    let unit = idempotent(t, i * 2, &["a", "b"]);
                    match log.append(unit, EPOCH, NOW_MS).unwrap() {
                        Appended::New { next_offset, .. } => wait_committed(log, next_offset),
                        other @ Appended::Duplicate { .. } => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    let appends = i64::from(each) * threads;
    assert_eq!(ends(&log), [0, 2 * appends, 2 * appends, 2 * appends]);
    let syncs = syncs.load(Ordering::SeqCst) - before;
    assert!(
        syncs < appends.cast_unsigned() / 2,
        "{syncs} syncs for {appends} appends"
    );
    let visible = told(&disk.crash(0), config()).0.visible.len();
    assert_eq!(i64::try_from(visible).unwrap(), 2 * appends);
}

fn config() -> LogConfig {
    LogConfig {
        segment_bytes: 8192,
        ..LogConfig::default()
    }
}

/// A round hangs in the sync of a segment, which succeeds then, or fails. The kernel may tell a failure to that sync alone: the roll
/// waits for it and hears of it, and nothing is committed past it.
#[test]
fn a_roll_hears_of_a_sync_that_another_round_is_at() {
    for fails in [false, true] {
        let gate = Arc::new(Gate::default());
        let hang = Arc::clone(&gate);
        let first = AtomicBool::new(false);
        let disk = empty_disk();
        let one_each = LogConfig {
            segment_bytes: 100,
            ..LogConfig::default()
        };
        let log = open_hooked(&disk, one_each, 2, move |path| {
            // A second sync of that segment gets through.
            if path == segment_path(0) && !first.swap(true, Ordering::SeqCst) {
                hang.wait();
                if fails {
                    return Err(io::Error::other("EIO"));
                }
            }
            Ok(())
        });
        append(&log, plain(1, &["a"]));
        until("the first round", || gate.reached.load(Ordering::SeqCst));
        thread::scope(|scope| {
            let roll = scope.spawn(|| log.append(plain(1, &["b"]), EPOCH, NOW_MS));
            // As a checkpoint asks for one.
            let other = scope.spawn(|| log.sync_round(0));
            pause(50);
            let seen = ends(&log);
            gate.open();
            assert_eq!(seen, [0, 0, 0, 1]);
            assert_eq!(other.join().unwrap(), !fails);
            assert_eq!(roll.join().unwrap().is_ok(), !fails);
        });
        if fails {
            assert!(log.is_poisoned().is_some());
            assert_eq!(ends(&log), [0, 0, 0, 1]);
        } else {
            wait_committed(&log, Offset(2));
            assert_eq!(ends(&log), [0, 2, 2, 2]);
        }
    }
}

/// All syncs of the first segment hang: neither the roll nor anything behind it is committed or made before they are through.
#[test]
fn nothing_is_committed_past_a_segment_that_is_not_synced() {
    let gate = Arc::new(Gate::default());
    let hang = Arc::clone(&gate);
    let disk = empty_disk();
    let one_each = LogConfig {
        segment_bytes: 100,
        ..LogConfig::default()
    };
    let log = open_hooked(&disk, one_each, 2, move |path| {
        if path == segment_path(0) {
            hang.wait();
        }
        Ok(())
    });
    append(&log, plain(1, &["a"]));
    thread::scope(|scope| {
        scope.spawn(|| append(&log, plain(1, &["b"])));
        until("a sync", || gate.reached.load(Ordering::SeqCst));
        pause(50);
        assert_eq!(log.offsets().high_watermark, Offset(0));
        assert_eq!(
            disk.bytes(&segment_path(1)),
            None,
            "a torn segment would be before it"
        );
        gate.open();
        wait_committed(&log, Offset(2));
    });
    assert_eq!(ends(&log), [0, 2, 2, 2]);
}

/// Appends whose acks nobody waits for are synced, too; and under `interval` after that time.
#[test]
fn appends_are_synced_without_anybody_asking() {
    for policy in [
        FlushPolicy::Ack,
        FlushPolicy::Interval(Duration::from_millis(20)),
    ] {
        let disk = empty_disk();
        let config = LogConfig {
            flush_policy: policy,
            ..config()
        };
        let log = open_hooked(&disk, config, 1, |_| Ok(()));
        append(&log, plain(1, &["a"]));
        until("the sync", || told(&disk.crash(0), config).0.ends[3] == 1);
    }
}

/// A log that was to be synced in an hour is synced at once when its topic's policy becomes `ack`.
#[test]
fn a_change_to_ack_does_not_wait_for_the_interval() {
    let disk = empty_disk();
    let hourly = LogConfig {
        flush_policy: FlushPolicy::Interval(Duration::from_hours(1)),
        ..config()
    };
    let log = open_hooked(&disk, hourly, 1, |_| Ok(()));
    append(&log, plain(1, &["a"]));
    assert_eq!(ends(&log), [0, 1, 1, 1]);
    log.set_config(config());
    until("the sync", || told(&disk.crash(0), hourly).0.ends[3] == 1);
    append(&log, plain(1, &["b"]));
    until("the ack", || log.offsets().high_watermark == Offset(2));
}

/// Checkpoints from two threads while others append and the log rolls: none fails, and the last one is believed.
#[test]
fn checkpoints_and_appends_do_not_get_in_each_others_way() {
    let disk = empty_disk();
    let log = open_hooked(
        &disk,
        LogConfig {
            segment_bytes: 700,
            ..config()
        },
        2,
        |_| Ok(()),
    );
    thread::scope(|scope| {
        for t in 0..2 {
            let log = &log;
            scope.spawn(move || {
                for i in 0..60 {
                    append(log, idempotent(t, i, &["some bytes"]));
                }
            });
            scope.spawn(move || {
                for _ in 0..30 {
                    log.checkpoint(NOW_MS).unwrap();
                }
            });
        }
    });
    log.close(NOW_MS).unwrap();
    let (told, report) = told(&disk.crash(0), config());
    assert_eq!(report, RecoveryReport::default());
    assert_eq!(told.ends, [0, 120, 120, 120]);
}
