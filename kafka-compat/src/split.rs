//! A batch with held records comes apart: what waits, and what remains.

use bytes::Bytes;
use storage::{
    batch::{BatchHeader, BatchView, HEADER_LEN, build_batch},
    record::{Record, RecordIter},
    units::{DueTime, ScheduleId, TimestampMs},
};

use crate::{
    compress,
    record_headers::{HeaderRefused, cancelled, due_time, schedule_key},
    records::{INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, RecordRules, Refusal},
};

/// Headers that only the broker may write: taken off a record that is being held, so that a consumer can republish what it
/// got with a new delay.
const BROKERS_OWN: [&str; 3] = [
    "chronos-due-at",
    "chronos-schedule-id",
    "chronos-created-at",
];

/// A batch of which some records wait, or cancel one that does.
#[derive(Debug)]
pub struct HeldBatch {
    /// The batch's header as produced.
    pub original: BatchHeader,
    /// What waits, in offset order.
    pub records: Vec<HeldRecord>,
    /// Held records that others of it cancel.
    pub cancels: Vec<ScheduleId>,
    /// Schedule keys of which it has a newer record, held or not: what waits under them does not any more. Each once.
    pub keys: Vec<Bytes>,
    /// What remains, at the offsets it had.
    pub rest: Option<BatchView>,
}

/// A record that waits.
#[derive(Debug)]
pub struct HeldRecord {
    /// Its place in the batch.
    pub offset_delta: i32,
    /// When it is due.
    pub due: DueTime,
    /// Its timestamp.
    pub created: TimestampMs,
    /// The record.
    pub record: Record,
    /// Its schedule key.
    pub schedule_key: Option<Bytes>,
}

/// Splits a batch whose uncompressed records mention one of our headers; `None` where it stays whole.
pub(crate) fn split(
    batch: &BatchView,
    plain: Bytes,
    rules: &RecordRules,
) -> Result<Option<HeldBatch>, Refusal> {
    let header = batch.header;
    let refused = |index, why| match why {
        HeaderRefused::Malformed(why) => Refusal::of_record(INVALID_RECORD, index, why),
        HeaderRefused::TooFar(why) => Refusal::of_record(INVALID_TIMESTAMP, index, why),
    };
    let mut held = Vec::new();
    let mut cancels = Vec::new();
    let mut keys: Vec<Bytes> = Vec::new();
    let mut rest = Vec::new();
    for (index, record) in (0i32..).zip(RecordIter::new(plain, header.records_count)) {
        let record =
            record.map_err(|e| Refusal::of_record(INVALID_RECORD, index, e.to_string()))?;
        if let Some(id) = cancelled(&record).map_err(|why| refused(index, why))? {
            cancels.push(id);
            continue;
        }
        let due = due_time(&record, &rules.aliases, rules.now_ms, rules.max_delay_ms);
        let due = due.map_err(|why| refused(index, why))?;
        let key = schedule_key(&record).map_err(|why| refused(index, why))?;
        if let Some(key) = &key {
            // Of several in one batch, the last counts; the offsets of the others are never readable.
            held.retain(|held: &HeldRecord| held.schedule_key.as_ref() != Some(key));
            if !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        match due.filter(|due| due.0 > rules.now_ms) {
            None => rest.push(record),
            Some(due) => {
                check_size(&record, index, rules)?;
                held.push(hold(&header, record, key, due, rules));
            }
        }
    }
    if held.is_empty() && cancels.is_empty() && keys.is_empty() {
        return Ok(None);
    }
    let rest = rebuild(&header, &rest, rules)?;
    Ok(Some(HeldBatch {
        original: header,
        records: held,
        cancels,
        keys,
        rest,
    }))
}

/// A held record fires uncompressed, in a batch of its own if need be: that batch must be one that consumers take.
fn check_size(record: &Record, index: i32, rules: &RecordRules) -> Result<(), Refusal> {
    let size = HEADER_LEN + record.encoded_len();
    if size <= rules.max_message_bytes {
        return Ok(());
    }
    let why = format!(
        "the held record has {size} bytes uncompressed, max.message.bytes is {}",
        rules.max_message_bytes
    );
    Err(Refusal::of_record(MESSAGE_TOO_LARGE, index, why))
}

fn hold(
    header: &BatchHeader,
    mut record: Record,
    schedule_key: Option<Bytes>,
    due: DueTime,
    rules: &RecordRules,
) -> HeldRecord {
    record
        .headers
        .retain(|(key, _)| !BROKERS_OWN.iter().any(|own| own.as_bytes() == key));
    let created = if rules.log_append_time {
        rules.now_ms
    } else {
        header.base_timestamp.saturating_add(record.timestamp_delta)
    };
    HeldRecord {
        offset_delta: record.offset_delta,
        due,
        created: TimestampMs(created),
        record,
        schedule_key,
    }
}

/// The rest keeps base offset, deltas and base sequence; it ends at its last record, since a batch that reaches over a hole
/// makes some clients step one offset a fetch.
fn rebuild(
    original: &BatchHeader,
    rest: &[Record],
    rules: &RecordRules,
) -> Result<Option<BatchView>, Refusal> {
    let Some(last) = rest.last() else {
        return Ok(None);
    };
    let mut plain = Vec::new();
    for record in rest {
        record.encode(&mut plain);
    }
    let codec = rules.codec_for(original);
    let packed = compress::compress(codec, &plain)
        .map_err(|e| Refusal::whole(INVALID_RECORD, e.to_string()))?;
    let latest = rest.iter().map(|r| r.timestamp_delta).max().unwrap_or(0);
    let header = BatchHeader {
        last_offset_delta: last.offset_delta,
        records_count: i32::try_from(rest.len()).unwrap_or(i32::MAX),
        max_timestamp: if original.log_append_time() {
            original.max_timestamp
        } else {
            original.base_timestamp.saturating_add(latest)
        },
        ..original.with_compression(codec.id())
    };
    let batch = BatchView::parse(build_batch(header, &packed));
    batch
        .map(Some)
        .map_err(|e| Refusal::whole(INVALID_RECORD, e.to_string()))
}
