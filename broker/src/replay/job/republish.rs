//! What becomes of a record on its way to the target: headers, partition, batch. Pure.

use bytes::Bytes;
use kafka_compat::record_headers::{DELIVER_AT, PREFIX};
use storage::{
    batch::{BatchHeader, MAGIC_V2, build_batch},
    record::Record,
    units::TimestampMs,
};

use super::super::Replayed;
use crate::metadata::{JobDeliver, JobSpec};

/// What a batch has of records, about, unless the first is larger.
pub(super) const BATCH_BYTES: usize = 256 << 10;
const THOUSAND: i64 = 1_000;

/// The partition of the target, of so many, that a record goes to.
pub(super) fn partition_of(spec: &JobSpec, replayed: &Replayed, count: usize) -> usize {
    let key = replayed.record.key.as_deref().filter(|_| spec.by_key);
    let number = match key {
        // As Kafka's `BuiltInPartitioner.partitionForKey`.
        Some(key) => murmur2(key) & 0x7fff_ffff,
        None => replayed.partition.unsigned_abs(),
    };
    usize::try_from(number).unwrap_or(0) % count.max(1)
}

/// The record with the headers that the target gets.
pub(super) fn rewritten(spec: &JobSpec, replayed: Replayed) -> Record {
    let Replayed {
        mut record,
        timestamp,
        ..
    } = replayed;
    let goes = |name: &[u8]| {
        let is_ours = name.starts_with(PREFIX.as_bytes());
        let is_named = |named: &String| named.as_bytes() == name;
        (is_ours && !spec.keeps_chronos_headers)
            || spec.removed_headers.iter().any(is_named)
            || spec.set_headers.iter().any(|(named, _)| is_named(named))
    };
    record.headers.retain(|(name, _)| !goes(name));
    for (name, value) in &spec.set_headers {
        let value = value.as_ref().map(|value| Bytes::copy_from_slice(value));
        record.headers.push((name.clone().into(), value));
    }
    if let Some(deliver) = &spec.deliver {
        let due = due_ms(deliver, timestamp).to_string();
        record.headers.retain(|(name, _)| name != DELIVER_AT);
        record.headers.push((DELIVER_AT.into(), Some(due.into())));
    }
    record
}

/// When a record is due that happened then.
fn due_ms(deliver: &JobDeliver, timestamp: i64) -> i64 {
    let after = i128::from(timestamp) - i128::from(deliver.first_ms);
    let scaled = after * i128::from(THOUSAND) / i128::from(deliver.speed_milli.max(1));
    let due = i128::from(deliver.at_ms) + scaled;
    i64::try_from(due.max(0)).unwrap_or(i64::MAX)
}

/// Records of one source partition in a batch of its producer. Its last sequence is the low half of the last record's source offset:
/// the target's log says by it how far the job came.
pub(super) fn batch(
    records: &mut [(i64, i64, Record)],
    producer_id: i64,
    new_timestamps: Option<TimestampMs>,
) -> Bytes {
    let time = |timestamp: i64| new_timestamps.map_or(timestamp, |now| now.0);
    let base_timestamp = records.first().map_or(0, |(_, at, _)| time(*at));
    let last_offset = records.last().map_or(0, |(offset, ..)| *offset);
    let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
    let mut max_timestamp = base_timestamp;
    let mut body = Vec::new();
    for (delta, (_, timestamp, record)) in (0i32..).zip(records.iter_mut()) {
        let timestamp = time(*timestamp);
        max_timestamp = max_timestamp.max(timestamp);
        record.offset_delta = delta;
        record.timestamp_delta = timestamp.saturating_sub(base_timestamp);
        record.encode(&mut body);
    }
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        leader_epoch: -1,
        magic: MAGIC_V2,
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp,
        max_timestamp,
        producer_id,
        producer_epoch: 0,
        base_sequence: low(last_offset - i64::from(count - 1)),
        records_count: count,
    };
    build_batch(header, &body)
}

const SEQUENCES: i64 = 1 << 31;

/// The sequence that stands for an offset.
fn low(offset: i64) -> i32 {
    i32::try_from(offset.rem_euclid(SEQUENCES)).unwrap_or(0)
}

/// The offset that a sequence stands for, of those from `from` on.
pub(super) fn offset_of(sequence: i32, from: i64) -> i64 {
    from + (i64::from(sequence) - from).rem_euclid(SEQUENCES)
}

/// Source: Apache Kafka, `Utils.murmur2`; Austin Appleby's `MurmurHash2`.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MIX: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ u32::try_from(bytes.len()).unwrap_or(0);
    let (words, tail) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(MIX);
        k ^= k >> 24;
        hash = hash.wrapping_mul(MIX) ^ k.wrapping_mul(MIX);
    }
    if !tail.is_empty() {
        let last = tail
            .iter()
            .rev()
            .fold(0, |last, byte| last << 8 | u32::from(*byte));
        hash = (hash ^ last).wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use storage::{batch::BatchView, units::Offset};

    use super::*;

    fn replayed(key: Option<&'static str>, headers: &[&'static str]) -> Replayed {
        Replayed {
            partition: 5,
            offset: Offset(7),
            timestamp: 2_000,
            record: Record {
                key: key.map(Into::into),
                headers: headers
                    .iter()
                    .map(|h| ((*h).into(), Some("v".into())))
                    .collect(),
                ..Record::default()
            },
            is_pending: false,
        }
    }

    /// Source: Apache Kafka, `UtilsTest.testMurmur2`.
    #[test]
    fn keys_go_where_kafkas_own_producers_send_them() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
        let by_key = JobSpec {
            by_key: true,
            ..JobSpec::default()
        };
        assert_eq!(partition_of(&by_key, &replayed(Some("abc"), &[]), 10), 7);
        assert_eq!(partition_of(&by_key, &replayed(None, &[]), 3), 2);
        assert_eq!(
            partition_of(&JobSpec::default(), &replayed(Some("abc"), &[]), 6),
            5
        );
    }

    #[test]
    fn headers_go_and_come_as_asked() {
        let names = |spec: &JobSpec| {
            let record = rewritten(spec, replayed(None, &["a", "chronos-message-id", "b", "a"]));
            let named = record.headers.iter().map(|(name, value)| {
                let value = value.as_deref().unwrap_or_default();
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                format!("{}={}", text(name), text(value))
            });
            named.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&JobSpec::default()), "a=v b=v a=v");
        let spec = JobSpec {
            keeps_chronos_headers: true,
            removed_headers: vec!["b".into()],
            set_headers: vec![("a".into(), Some(b"new".to_vec()))],
            deliver: Some(JobDeliver {
                at_ms: 1_800_000_000_000,
                first_ms: 1_000,
                speed_milli: 2_000,
            }),
            ..JobSpec::default()
        };
        assert_eq!(
            names(&spec),
            "chronos-message-id=v a=new chronos-deliver-at=1800000000500"
        );
    }

    #[test]
    fn a_batch_tells_its_last_source_offset() {
        for last in [
            4,
            SEQUENCES - 1,
            SEQUENCES,
            SEQUENCES + 1,
            7 * SEQUENCES + 3,
        ] {
            let record = |offset| (offset, 1_000 + offset, Record::default());
            let bytes = batch(
                &mut [record(last - 4), record(last - 1), record(last)],
                9,
                None,
            );
            let view = BatchView::parse(bytes).unwrap();
            let header = &view.header;
            let last_sequence = (i64::from(header.base_sequence) + 2).rem_euclid(SEQUENCES);
            let sequence = i32::try_from(last_sequence).unwrap();
            for from in [last, last - 1, (last - 1_000_000).max(0)] {
                assert_eq!(offset_of(sequence, from), last, "{last} from {from}");
            }
            assert!(header.base_sequence >= 0 && view.verify_crc());
            assert_eq!(header.max_timestamp, 1_000 + last);
        }
    }
}
