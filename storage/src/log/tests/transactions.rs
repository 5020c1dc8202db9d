//! Transactions in a log: what those who read what is committed see, beside a list; through restarts and compaction.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    compaction::{Here, RULES},
    *,
};
use crate::{
    batch::ATTR_TRANSACTIONAL,
    control::{Marker, MarkerKind},
    log::{AppendError, FirstBatch, Origin},
};

const PRODUCERS: i64 = 3;

fn at(producer: i64) -> usize {
    usize::try_from(producer).unwrap()
}

/// A producer, as it knows itself.
#[derive(Clone, Copy, Default)]
struct Sender {
    epoch: i16,
    sequence: i32,
}

fn keyed_in(producer_id: i64, sender: Sender, list: &[(String, String)]) -> Unit {
    let mut body = Vec::new();
    for (delta, (key, value)) in (0i32..).zip(list) {
        Record {
            offset_delta: delta,
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            ..Record::default()
        }
        .encode(&mut body);
    }
    let mut header = header(list.len(), NOW_MS);
    if producer_id >= 0 {
        header.attributes = ATTR_TRANSACTIONAL;
        header.producer_id = producer_id;
        header.producer_epoch = sender.epoch;
        header.base_sequence = sender.sequence;
    }
    Unit {
        frames: vec![sealed(header, body.into())],
    }
}

fn marker(kind: MarkerKind, version: i16) -> Marker {
    Marker {
        kind,
        coordinator_epoch: 0,
        transaction_version: version,
    }
}

fn end(log: &Log, producer_id: i64, epoch: i16, kind: MarkerKind) -> Result<Appended, AppendError> {
    let marker = marker(kind, 0);
    let unit = Unit {
        frames: vec![marker.frame(producer_id, epoch, NOW_MS)],
    };
    log.append_as(unit, EPOCH, NOW_MS, Origin::Marker(marker))
}

fn first(producer_id: i64, epoch: i16, sequence: i32) -> FirstBatch {
    FirstBatch {
        producer_id,
        epoch,
        sequence,
        epoch_per_transaction: false,
    }
}

fn send(log: &Log, producer_id: i64, unit: Unit) -> Result<Appended, AppendError> {
    let header = unit.frames[0].header;
    let asked = first(producer_id, header.producer_epoch, header.base_sequence);
    let guard = log.guard(&asked, NOW_MS);
    log.append_as(unit, EPOCH, NOW_MS, Origin::Client { guard })
}

/// What a consumer keeps of what it is told.
fn read_committed(log: &Log) -> Vec<(i64, String)> {
    let start = log.offsets().log_start;
    let batches = read_from(log, start.0, ReadUpTo::Stable);
    let end = log.offsets().visible_stable;
    assert!(batches.iter().all(|b| b.header.last_offset() < end.0));
    let aborted = log.aborted_transactions(start, end);
    let kept: Vec<_> = batches
        .into_iter()
        .filter(|batch| {
            let header = &batch.header;
            let is_aborted = aborted.iter().any(|a| {
                a.producer_id == header.producer_id
                    && (a.first_offset.0..a.marker.0).contains(&header.base_offset)
            });
            !(header.is_control() || header.is_transactional() && is_aborted)
        })
        .collect();
    records_of(&kept)
}

#[test]
fn a_batch_of_a_transaction_needs_somebody_who_vouches_for_it() {
    let log = open(&empty_disk());
    let unit = || keyed_in(1, Sender::default(), &[("k".into(), "v".into())]);
    let refused = log.append(unit(), EPOCH, NOW_MS);
    assert!(matches!(refused, Err(AppendError::InvalidTxnState { .. })));
    // A marker that comes between the coordinator's word and the append takes the word back.
    let guard = log.guard(&first(1, 0, 0), NOW_MS);
    end(&log, 1, 0, MarkerKind::Abort).unwrap();
    let late = log.append_as(unit(), EPOCH, NOW_MS, Origin::Client { guard });
    assert!(matches!(late, Err(AppendError::InvalidTxnState { .. })));
    send(&log, 1, unit()).unwrap();
    // Open now: no more is asked, and nothing outside of it is taken.
    assert_eq!(log.guard(&first(1, 0, 0), NOW_MS), None);
    let mut outside = idempotent(1, 1, &["x"]);
    outside.frames[0].header.attributes = 0;
    let refused = log.append(outside, EPOCH, NOW_MS);
    assert!(matches!(refused, Err(AppendError::InvalidTxnState { .. })));
    assert_eq!(log.producers()[0].transaction_start, Some(Offset(1)));
}

#[test]
fn a_late_marker_touches_no_later_transaction() {
    let log = open(&empty_disk());
    let unit = |epoch| {
        let sender = Sender { epoch, sequence: 0 };
        keyed_in(1, sender, &[("k".into(), "v".into())])
    };
    let end2 = |epoch, coordinator_epoch| {
        let marker = Marker {
            coordinator_epoch,
            ..marker(MarkerKind::Commit, 2)
        };
        let unit = Unit {
            frames: vec![marker.frame(1, epoch, NOW_MS)],
        };
        log.append_as(unit, EPOCH, NOW_MS, Origin::Marker(marker))
    };
    send(&log, 1, unit(3)).unwrap();
    let early = end2(3, 1);
    assert!(matches!(
        early,
        Err(AppendError::InvalidProducerEpoch { .. })
    ));
    end2(4, 1).unwrap();
    // Once more, of the transaction that it ended.
    end2(4, 1).unwrap();
    send(&log, 1, unit(4)).unwrap();
    let late = end2(4, 1);
    assert!(matches!(
        late,
        Err(AppendError::InvalidProducerEpoch { .. })
    ));
    let deposed = end2(5, 0);
    assert!(matches!(
        deposed,
        Err(AppendError::CoordinatorFenced {
            epoch: 0,
            current: 1
        })
    ));
    assert_eq!(log.offsets().last_stable, Offset(3));
    // Where each transaction has its own epoch, a producer that is not known begins with sequence 0.
    let mut later = unit(0);
    later.frames[0].header.producer_id = 9;
    later.frames[0].header.base_sequence = 5;
    let begins = FirstBatch {
        epoch_per_transaction: true,
        ..first(9, 0, 5)
    };
    let guard = log.guard(&begins, NOW_MS);
    let refused = log.append_as(later, EPOCH, NOW_MS, Origin::Client { guard });
    assert!(matches!(
        refused,
        Err(AppendError::OutOfOrderSequence { expected: 0, .. })
    ));
}

/// The coordinator had no time for the first of two batches that were on their way together: the second does not take its place,
/// also of a producer that the log does not know.
#[test]
fn a_later_batch_does_not_go_before_an_earlier_one() {
    let log = open(&empty_disk());
    let unit = |sequence| {
        let sender = Sender { epoch: 0, sequence };
        keyed_in(1, sender, &[("k".into(), "v".into())])
    };
    assert!(log.guard(&first(1, 0, 0), NOW_MS).is_some());
    let refused = send(&log, 1, unit(1));
    assert!(matches!(
        refused,
        Err(AppendError::OutOfOrderSequence { expected: 0, .. })
    ));
    assert_eq!(log.offsets().log_end, Offset(0), "nothing is written");
    send(&log, 1, unit(0)).unwrap();
    send(&log, 1, unit(1)).unwrap();
    // What the end of a transaction leaves behind is no bound for the next one.
    end(&log, 1, 0, MarkerKind::Commit).unwrap();
    send(&log, 1, unit(2)).unwrap();
    // Nor is what was asked for in an epoch before.
    end(&log, 1, 0, MarkerKind::Commit).unwrap();
    assert!(log.guard(&first(1, 0, 3), NOW_MS).is_some());
    let renewed = Sender {
        epoch: 1,
        sequence: 0,
    };
    send(&log, 1, keyed_in(1, renewed, &[("k".into(), "v".into())])).unwrap();
}

#[test]
fn ids_that_are_made_up_take_no_memory_for_ever() {
    let log = open(&empty_disk());
    for id in 0..30_000 {
        assert!(log.guard(&first(id, 0, 0), NOW_MS).is_some());
    }
    let guards = log.writer.lock().producers.transactions.guards();
    assert!(guards <= 10_000, "{guards}");
    let unit = keyed_in(7, Sender::default(), &[("k".into(), "v".into())]);
    send(&log, 7, unit).unwrap();
}

#[test]
fn an_end_counts_when_its_marker_is_committed() {
    let disk = empty_disk();
    let (log, _) = try_open(&disk, LogConfig::default()).unwrap();
    send(
        &log,
        1,
        keyed_in(1, Sender::default(), &[("k".into(), "v".into())]),
    )
    .unwrap();
    log.sync_round(0);
    end(&log, 1, 0, MarkerKind::Commit).unwrap();
    let o = log.offsets();
    assert_eq!(
        (o.high_watermark.0, o.last_stable.0, o.visible_stable.0),
        (1, 0, 0)
    );
    assert_eq!(read_committed(&log), []);
    log.sync_round(0);
    let o = log.offsets();
    assert_eq!(
        (o.high_watermark.0, o.last_stable.0, o.visible_stable.0),
        (2, 2, 2)
    );
    assert_eq!(read_committed(&log), [(0, "v".into())]);
}

#[test]
fn hidden_offsets_before_a_transaction_are_not_told_as_its_stable_end() {
    let log = open(&empty_disk());
    append(&log, plain(7, &["a"]));
    append(&log, held(header(2, 7), &["h", "i"], &[0, 1], None));
    send(
        &log,
        1,
        keyed_in(1, Sender::default(), &[("k".into(), "v".into())]),
    )
    .unwrap();
    let o = log.offsets();
    assert_eq!(
        (o.last_stable.0, o.visible_stable.0, o.visible_end.0),
        (3, 1, 4)
    );
    log.delete_records(Offset(4)).unwrap();
    let o = log.offsets();
    assert_eq!(
        (o.log_start.0, o.last_stable.0, o.visible_stable.0),
        (4, 4, 4)
    );
    assert_eq!(read_committed(&log), []);
    end(&log, 1, 0, MarkerKind::Commit).unwrap();
    assert_eq!(log.offsets().visible_stable, Offset(5));
}

#[derive(Clone, Debug)]
enum Step {
    Send { producer: i64, keys: Vec<u8> },
    Plain { keys: Vec<u8> },
    Hold,
    End { producer: i64, commit: bool },
    Checkpoint,
    Sync,
    Restart { scan: bool },
    Compact { later: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let keys = || proptest::collection::vec(0u8..6, 1..4);
    prop_oneof![
        6 => (0..PRODUCERS, keys()).prop_map(|(producer, keys)| Step::Send { producer, keys }),
        2 => keys().prop_map(|keys| Step::Plain { keys }),
        1 => Just(Step::Hold),
        4 => (0..PRODUCERS, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Sync),
        1 => any::<bool>().prop_map(|scan| Step::Restart { scan }),
        1 => any::<bool>().prop_map(|later| Step::Compact { later }),
    ]
}

/// A record that was written: offset, key, value, and how its transaction ended.
struct Wrote {
    offset: i64,
    key: String,
    value: String,
    producer: i64,
    committed: Option<bool>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 1 } else { 300 }))]

    #[test]
    fn what_is_committed_is_seen_and_nothing_else(steps in proptest::collection::vec(step(), 1..80)) {
        let mut disk = empty_disk();
        let config = LogConfig { flush_policy: FlushPolicy::Os, ..small_segments() };
        let mut log = try_open(&disk, config).unwrap().0;
        let mut wrote: Vec<Wrote> = Vec::new();
        let mut senders = [Sender::default(); 3];
        let mut open = [false; 3];
        let mut value = 0;
        let mut now = NOW_MS;
        // Compaction may have taken all but the last of a key below this.
        let mut compacted_to = 0;
        for step in steps {
            match step {
                Step::Send { producer, keys } => {
                    let list: Vec<_> = keys.iter().map(|k| { value += 1; (k.to_string(), value.to_string()) }).collect();
                    let sender = &mut senders[at(producer)];
                    let Appended::New { base_offset, .. } = send(&log, producer, keyed_in(producer, *sender, &list)).unwrap() else { panic!() };
                    sender.sequence += i32::try_from(list.len()).unwrap();
                    open[at(producer)] = true;
                    for (i, (key, value)) in (0..).zip(list) {
                        wrote.push(Wrote { offset: base_offset.0 + i, key, value, producer, committed: None });
                    }
                }
                Step::Plain { keys } => {
                    let list: Vec<_> = keys.iter().map(|k| { value += 1; (k.to_string(), value.to_string()) }).collect();
                    let base = append(&log, keyed_in(-1, Sender::default(), &list));
                    for (i, (key, value)) in (0..).zip(list) {
                        wrote.push(Wrote { offset: base + i, key, value, producer: -1, committed: Some(true) });
                    }
                }
                Step::Hold => { append(&log, held(header(1, 7), &["h"], &[0], None)); }
                Step::End { producer, commit } => {
                    let kind = if commit { MarkerKind::Commit } else { MarkerKind::Abort };
                    end(&log, producer, senders[at(producer)].epoch, kind).unwrap();
                    open[at(producer)] = false;
                    for w in wrote.iter_mut().filter(|w| w.producer == producer) {
                        w.committed.get_or_insert(commit);
                    }
                }
                Step::Checkpoint => log.checkpoint(NOW_MS).unwrap(),
                Step::Sync => { log.sync_round(0); }
                Step::Restart { scan } => {
                    log.sync_round(0);
                    drop(log);
                    let again = if scan { without_checkpoint(&disk) } else { disk.settled() };
                    disk = again;
                    log = try_open(&disk, config).unwrap().0;
                }
                Step::Compact { later } => {
                    if later { now += RULES.delete_retention_ms + 1; }
                    log.compact(&RULES, now, &Here::default()).unwrap();
                    compacted_to = log.offsets().log_end.0;
                }
            }
            let undecided = wrote.iter().find(|w| w.committed.is_none()).map(|w| w.offset);
            let o = log.offsets();
            prop_assert_eq!(o.last_stable.0, undecided.unwrap_or(o.high_watermark.0));
            prop_assert!(o.visible_stable <= o.last_stable);
            let seen = read_committed(&log);
            let is_visible = |w: &&Wrote| w.committed == Some(true) && w.offset < o.last_stable.0;
            let mut last: BTreeMap<&str, i64> = BTreeMap::new();
            for w in wrote.iter().filter(is_visible) { last.insert(&w.key, w.offset); }
            let all: Vec<_> = wrote.iter().filter(is_visible).map(|w| (w.offset, w.value.clone())).collect();
            if compacted_to == 0 {
                prop_assert_eq!(&seen, &all);
            } else {
                prop_assert!(seen.iter().all(|s| all.contains(s)), "{seen:?} {all:?}");
                // The last of a key, and what no pass went over, is there.
                for w in wrote.iter().filter(is_visible) {
                    if last[w.key.as_str()] == w.offset || w.offset >= compacted_to {
                        prop_assert!(seen.iter().any(|(offset, _)| *offset == w.offset), "{} is gone", w.offset);
                    }
                }
            }
            for (id, is_open) in (0..).zip(open) {
                let start = log.producers().iter().find(|p| p.id == id).and_then(|p| p.transaction_start);
                prop_assert_eq!(start.is_some(), is_open);
            }
        }
        // Of what was compacted, sequences cannot be read again.
        if compacted_to == 0 {
            let before = told(&disk, config).0;
            prop_assert_eq!(told(&without_checkpoint(&disk), config).0, before);
        }
    }
}
