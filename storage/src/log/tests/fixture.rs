//! A data folder as release 1 of the format wrote it opens for ever: `fixtures/v1-first-light`, read here from a copy.
//!
//! To write it anew (only before a release is out; after that a new format gets a new folder):
//! `CHRONOS_WRITE_FIXTURES=1 cargo test -p storage -- --ignored write_the_fixture`

use std::fs;

use super::*;
use crate::{batch::build_batch, disk::RealDisk, frame::HoldFrame};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v1-first-light")
}

fn real(dir: PathBuf) -> LogOptions {
    LogOptions {
        dir,
        disk: Arc::new(RealDisk),
        ..options(
            &CrashDisk::new(),
            LogConfig {
                segment_bytes: 700,
                index_interval_bytes: 300,
                ..LogConfig::default()
            },
        )
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What the fixture holds, in order, with the offset of each.
fn units() -> Vec<(i64, LeaderEpoch, Unit)> {
    // Four opaque bytes with codec 4 (zstd): the log never looks inside.
    let compressed = BatchHeader {
        attributes: 4,
        ..header(3, 1_700_000_000_300)
    };
    let compressed = build_batch(compressed, b"\x28\xb5\x2f\xfd");
    let compressed = Frame::from_batch(&BatchView::parse(compressed).unwrap());
    let values = ["visible", "held one", "held two", "visible, too"];
    vec![
        (
            0,
            LeaderEpoch(0),
            plain(1_700_000_000_100, &["first", "light"]),
        ),
        (
            2,
            LeaderEpoch(0),
            Unit {
                frames: vec![compressed],
            },
        ),
        (
            5,
            LeaderEpoch(0),
            held(header(4, 1_700_000_000_200), &values, &[1, 2], None),
        ),
        (9, LeaderEpoch(1), idempotent(77, 0, &["by a producer"])),
        (
            10,
            LeaderEpoch(1),
            held(header(1, 1_700_000_000_400), &["held three"], &[0], None),
        ),
        (11, LeaderEpoch(1), fire(1_700_000_000_500, &["held one"])),
        (12, LeaderEpoch(1), cancel(7)),
        (13, LeaderEpoch(1), idempotent(77, 1, &["the last one"])),
    ]
}

#[test]
#[ignore = "writes the fixture; see the top of this file"]
fn write_the_fixture() {
    if std::env::var_os("CHRONOS_WRITE_FIXTURES").is_none() {
        return;
    }
    let dir = fixture();
    // It is not there the first time.
    let _ = fs::remove_dir_all(&dir).is_err();
    let (log, _) = Log::open(real(dir)).unwrap();
    for (base, epoch, unit) in units() {
        match log.append(unit, epoch, NOW_MS).unwrap() {
            Appended::New { base_offset, .. } => assert_eq!(base_offset.0, base),
            duplicate @ Appended::Duplicate { .. } => panic!("{duplicate:?}"),
        }
    }
    log.close(NOW_MS).unwrap();
}

/// Every byte, offset, value, hidden run, time and producer of the fixture; by its checkpoint, and by its log alone.
#[test]
fn a_folder_of_the_first_format_opens_and_has_everything() {
    let files: Vec<_> = ["segments", "index", "meta"]
        .iter()
        .flat_map(|folder| RealDisk.list(&fixture().join(folder)).unwrap())
        .map(|(name, _)| name)
        .collect();
    let expected = [
        "00000000000000000000.log",
        "00000000000000000010.log",
        "00000000000000000000.frames",
        "00000000000000000000.index",
        "00000000000000000010.frames",
        "00000000000000000010.index",
        "manifest.json",
        "checkpoint.json",
        "producers.snapshot",
    ];
    assert_eq!(files, expected);
    for by_log_alone in [false, true] {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(&fixture(), copy.path());
        if by_log_alone {
            for folder in ["index", "meta"] {
                fs::remove_dir_all(copy.path().join(folder)).unwrap();
            }
        }
        let (log, report) = Log::open(real(copy.path().to_path_buf())).unwrap();
        let frames: Vec<Bytes> = units()
            .iter()
            .flat_map(|(base, epoch, unit)| stamped_by(unit, *base, *epoch))
            .collect();
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        let scanned = if by_log_alone { bytes as u64 } else { 0 };
        assert_eq!(
            report,
            RecoveryReport {
                scanned_bytes: scanned,
                ..RecoveryReport::default()
            }
        );
        check_content(&log, &frames);
    }
}

fn check_content(log: &Log, frames: &[Bytes]) {
    assert_eq!(all_frames(log), frames);
    assert_eq!(ends(log), [0, 14, 14, 14]);
    let (compressed, readable): (Vec<_>, Vec<_>) = read_from(log, 0, ReadUpTo::Visible)
        .into_iter()
        .partition(|b| b.header.compression() != 0);
    assert_eq!(compressed.len(), 1);
    assert_eq!(&compressed[0].records()[..], b"\x28\xb5\x2f\xfd");
    let expected = [
        (0, "first"),
        (1, "light"),
        (5, "visible"),
        (8, "visible, too"),
        (9, "by a producer"),
        (11, "held one"),
        (13, "the last one"),
    ];
    let expected: Vec<_> = expected
        .iter()
        .map(|(o, v)| (*o, (*v).to_owned()))
        .collect();
    assert_eq!(records_of(&readable), expected);

    let mut special = Vec::new();
    log.scan_special(Offset(0), &mut |batch| {
        special.push(batch);
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    let places: Vec<_> = special
        .iter()
        .map(|b| (b.header.base_offset, b.header.is_hidden()))
        .collect();
    assert_eq!(places, [(5, true), (10, true), (11, false), (12, true)]);
    let hold = HoldFrame::parse(&special[0]).unwrap().unwrap();
    let held: Vec<_> = (0..hold.entries.len())
        .map(|i| {
            (
                hold.entries[i].id.0,
                hold.entries[i].due.0,
                hold.record(i).unwrap().value,
            )
        })
        .collect();
    let value = |v: &'static str| Some(Bytes::from_static(v.as_bytes()));
    assert_eq!(
        held,
        [(6, 9_001, value("held one")), (7, 9_002, value("held two"))]
    );
    let cancel = CancelFrame::parse(&special[3]).unwrap().unwrap();
    let cancelled = CancelEntry {
        id: ScheduleId(7),
        due: None,
        action: CancelAction::Cancelled,
    };
    assert_eq!(cancel.entries, [cancelled]);

    let base = |b: Option<BatchView>| b.unwrap().header.base_offset;
    assert_eq!(
        base(
            log.first_batch_at_or_after_time(1_700_000_000_250, Offset(0))
                .unwrap()
        ),
        2
    );
    assert_eq!(base(log.max_timestamp().unwrap()), 11);
    let epoch = log.end_offset_for_epoch(LeaderEpoch(0));
    assert_eq!(epoch, (LeaderEpoch(0), Offset(9)));
    let again = log.append(
        idempotent(77, 0, &["by a producer"]),
        LeaderEpoch(1),
        NOW_MS,
    );
    let expected = Appended::Duplicate {
        base_offset: Offset(9),
        next_offset: Offset(10),
        timestamp: 7,
    };
    assert_eq!(again.unwrap(), expected);
}
