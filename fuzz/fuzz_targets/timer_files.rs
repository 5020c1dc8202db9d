//! Timer files: any bytes in manifest and runs. Each change names a file and what it then holds: some of its bytes replaced, or all;
//! with the checksums put right, so that what is behind them is reached. What opens gives timers in order, none before its time.
#![no_main]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use chronosdb_fuzz::crc32c;
use libfuzzer_sys::fuzz_target;
use scheduler::{Marks, Place, StoreOptions, TimerEntry, TimerKey, TimerStore};
use storage::{
    disk::{Disk, crash::CrashDisk},
    units::{DueTime, Offset, ScheduleId, TimestampMs},
};

const NOW: i64 = 1_800_000_000_000;
const BLOCK: usize = 4096;

static FILES: LazyLock<BTreeMap<PathBuf, Vec<u8>>> = LazyLock::new(|| {
    let disk = empty();
    let mut store = TimerStore::create(options(&disk)).unwrap();
    for id in 0..300 {
        store.insert(entry(id, NOW + 1 + id % 7 * 3_600_000 + id));
        if id == 200 {
            store.flush(TimestampMs(NOW)).unwrap();
            (0..20).for_each(|id| {
                store
                    .settle(entry(id, NOW + 1 + id % 7 * 3_600_000 + id).key)
                    .unwrap()
            });
        }
    }
    let marks = Marks {
        replay_from: Offset(300),
        settled_to: Offset(300),
    };
    store
        .capture(TimestampMs(NOW), marks)
        .unwrap()
        .write()
        .unwrap();
    disk.files()
});

fn empty() -> CrashDisk {
    let disk = CrashDisk::new();
    disk.create_dir_all(Path::new("/data/timers")).unwrap();
    disk
}

fn options(disk: &CrashDisk) -> StoreOptions {
    let mut options = StoreOptions::new("/data/timers".into(), Arc::new(disk.clone()));
    (options.memtable_max, options.ahead_max) = (64, 16);
    options
}

fn entry(id: i64, due: i64) -> TimerEntry {
    TimerEntry {
        key: TimerKey {
            due: DueTime(due),
            id: ScheduleId(id),
        },
        place: Place {
            hold: Offset(id - id % 5),
            index: 1,
            moved: id % 9 == 0,
            bytes: 100,
        },
    }
}

fuzz_target!(|data: &[u8]| {
    let mut files = FILES.clone();
    let names: Vec<_> = files.keys().cloned().collect();
    let mut data = data;
    while let [which, how, high, low, len, rest @ ..] = data {
        let (bytes, rest) = rest.split_at(usize::from(*len).min(rest.len()));
        data = rest;
        let path = &names[usize::from(*which) % names.len()];
        let file = files.get_mut(path).unwrap();
        if how % 8 == 0 {
            *file = bytes.to_vec();
        } else {
            let at = usize::from(u16::from_be_bytes([*high, *low])) % (file.len() + 1);
            let end = (at + bytes.len()).min(file.len());
            file[at..end].copy_from_slice(&bytes[..end - at]);
        }
        if how & 0x80 == 0 {
            seal(path, file);
        }
    }
    let disk = empty();
    for (path, bytes) in &files {
        drop(disk.open(path, storage::disk::OpenMode::Create).unwrap());
        disk.set_bytes(path, bytes).unwrap();
    }
    let Ok(Some((mut store, _))) = TimerStore::open(options(&disk), Offset(1_000)) else {
        return;
    };
    let all = TimerKey {
        due: DueTime(i64::MIN),
        id: ScheduleId(i64::MIN),
    };
    let _ = store.scan(all, DueTime(i64::MAX), 1_000);
    let _ = store.get(entry(7, NOW + 8).key);
    for (step, now) in [NOW, NOW + 3_600_000, NOW + 86_400_000]
        .into_iter()
        .enumerate()
    {
        let Ok(due) = store.pop_due(TimestampMs(now), 1_000) else {
            return;
        };
        assert!(due.iter().all(|entry| entry.key.due.0 <= now), "early");
        store.insert(entry(1_000 + step as i64, now + 5));
        if store.flush(TimestampMs(now)).is_err() || store.next_deadline().is_err() {
            return;
        }
    }
});

fn seal(path: &Path, file: &mut [u8]) {
    if path.extension() == Some("runs".as_ref()) {
        for block in file.chunks_exact_mut(BLOCK) {
            let crc = crc32c(&block[4..]);
            block[..4].copy_from_slice(&crc.to_be_bytes());
        }
    } else if let Some((body, crc)) = file.split_last_chunk_mut::<4>() {
        *crc = crc32c(body).to_be_bytes();
    }
}
