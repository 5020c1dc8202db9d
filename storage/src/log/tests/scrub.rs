//! Damage that nobody reads over at an open: a scrub finds it, and what lies around it is served.

use std::ops::ControlFlow;

use super::*;
use crate::log::{Damage, ReadError, SEGMENT_HEADER_LEN};

/// Ten batches of ten records in closed segments of a few each; what they say, and the places of their files.
fn log_of_batches() -> (CrashDisk, Arc<Log>) {
    let disk = empty_disk();
    let config = LogConfig {
        segment_bytes: 1_200,
        index_interval_bytes: 1,
        ..LogConfig::default()
    };
    let (log, _) = try_open(&disk, config).unwrap();
    for i in 0..10 {
        let values: Vec<String> = (0..10).map(|n| format!("value {i} {n}")).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        append(&log, plain(i, &values));
    }
    assert!(log.sync());
    (disk, log)
}

fn scrub(log: &Log) -> Vec<Damage> {
    let found = log.scrub(&mut |_| ControlFlow::Continue(()));
    found.into_iter().map(|found| found.damage).collect()
}

/// Base offsets of the batches that a consumer gets from `from` on, and whether an error ended it.
fn served(log: &Log, from: i64) -> (Vec<i64>, bool) {
    let mut next = from;
    let mut got = Vec::new();
    loop {
        match log.read(Offset(next), 1, ReadUpTo::Visible, true) {
            Err(error) => {
                assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
                return (got, true);
            }
            Ok(read) => match read.first_offset {
                None => return (got, false),
                Some(first) => {
                    assert!(read.bytes > 0);
                    got.push(first.0);
                    next = first.0 + 10;
                }
            },
        }
    }
}

#[test]
fn a_sound_log_has_no_damage() {
    let (_, log) = log_of_batches();
    assert_eq!(scrub(&log), []);
    assert_eq!(served(&log, 0).0.len(), 10);
}

/// Each byte of a batch in the middle of a segment, flipped: the scrub names its offsets, the others are served.
#[test]
fn any_flipped_byte_is_found_and_only_its_batch_is_lost() {
    let (disk, log) = log_of_batches();
    let path = segment_path(0);
    let sound = disk.bytes(&path).unwrap();
    let len = BatchHeader::parse(&sound[SEGMENT_HEADER_LEN..])
        .unwrap()
        .total_len();
    // The second batch of the first segment: offsets 10 to 19.
    let start = SEGMENT_HEADER_LEN + len;
    for at in start..start + len {
        let mut rotten = sound.clone();
        rotten[at] ^= 0x10;
        disk.set_bytes(&path, &rotten).unwrap();
        // The leader epoch may be stamped anew at any time, and is under no checksum. Source: Kafka, `DefaultRecordBatch`.
        let is_epoch = (start + 12..start + 16).contains(&at);
        let found = scrub(&log);
        if is_epoch {
            assert_eq!(found, [], "byte {at}");
            continue;
        }
        assert_eq!(found.len(), 1, "byte {at}: {found:?}");
        let damage = &found[0];
        assert_eq!((damage.first, damage.last), (Offset(10), Offset(19)));
        assert_eq!((damage.start, log.damaged()), (start as u64, 1));
        assert_eq!(served(&log, 0), (vec![0], true), "byte {at}");
        for inside in [10, 15, 19] {
            assert_eq!(served(&log, inside), (vec![], true));
        }
        assert_eq!(served(&log, 20).0, [20, 30, 40, 50, 60, 70, 80, 90]);
        assert_eq!(scrub(&log), [], "known already");
        // Mended by somebody, it is served again.
        disk.set_bytes(&path, &sound).unwrap();
        assert_eq!((scrub(&log), log.damaged()), (vec![], 0));
        assert_eq!(served(&log, 0).0.len(), 10);
    }
}

/// Not one batch, but all from there to the segment's end.
#[test]
fn a_segment_without_a_sound_end_ends_where_the_next_begins() {
    let (disk, log) = log_of_batches();
    let path = segment_path(0);
    let mut rotten = disk.bytes(&path).unwrap();
    let from = rotten.len() - 40;
    rotten[from..].fill(0xaa);
    disk.set_bytes(&path, &rotten).unwrap();
    let found = scrub(&log);
    assert_eq!(found.len(), 1, "{found:?}");
    let next = found[0].last.0 + 1;
    let (got, failed) = served(&log, next);
    assert!(!failed && got.first() == Some(&next), "{got:?}");
    assert!(served(&log, 0).1);
}

#[test]
fn a_pass_that_is_stopped_remembers_what_it_knew() {
    let (_, log) = log_of_batches();
    let mut left = 3;
    let found = log.scrub(&mut |_| {
        left -= 1;
        if left == 0 {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    assert!(found.is_empty() && left == 0);
}
