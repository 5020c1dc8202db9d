//! What a broker refuses of produced records. Source: Apache Kafka, `ProduceRequest.validateRecords`, `UnifiedLog`,
//! `LogValidator`.

use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;
use storage::{
    batch::{
        ATTR_FIRE, ATTR_HIDDEN, ATTR_LOG_APPEND_TIME, BatchError, BatchHeader, BatchView,
        HEADER_LEN, build_batch, seal_header,
    },
    record::{Record, RecordIter},
};

use crate::{
    compress::{self, Codec},
    message_ids::{MessageId, MessageIdHash},
    record_headers::{Alias, PREFIX},
    split,
    walk::{self, Stop},
};

pub use crate::split::HeldBatch;

pub(crate) const CORRUPT_MESSAGE: i16 = 2;
pub(crate) const MESSAGE_TOO_LARGE: i16 = 10;
pub(crate) const INVALID_TIMESTAMP: i16 = 32;
pub(crate) const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
pub(crate) const INVALID_RECORD: i16 = 87;

/// What a batch may decompress to.
const PLAIN_BYTES_MAX: usize = 128 << 20;
const CODEC_ZSTD: u8 = 4;
/// Bytes of a batch that its length does not count: base offset and length.
const LOG_OVERHEAD: usize = 12;
/// A record without a timestamp, in Kafka's protocol.
const NO_TIMESTAMP: i64 = -1;
/// Records at fault that a refusal names; a small compressed batch may hold millions.
const RECORD_ERRORS_MAX: usize = 100;
/// Those that its message names.
const RECORD_ERRORS_SHOWN: usize = 3;

/// What a batch is held against.
#[derive(Clone, Debug)]
pub struct RecordRules {
    /// The request's version: zstd came with 7.
    pub produce_version: i16,
    /// `max.message.bytes`.
    pub max_message_bytes: usize,
    /// Look for held records.
    pub inspect: bool,
    /// Take down message ids as this hash of them; `None` lets them be.
    pub message_ids: Option<MessageIdHash>,
    /// Other schedulers' headers, to be followed as well.
    pub aliases: Arc<[Alias]>,
    /// Wall time.
    pub now_ms: i64,
    /// `schedule.max.delay.ms`.
    pub max_delay_ms: i64,
    /// `message.timestamp.type` is LogAppendTime.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// The topic is compacted, and this is the partition's name: records without a key are refused.
    pub keys_of: Option<String>,
    /// `compression.type`; `None` keeps what was sent.
    pub codec: Option<Codec>,
}

impl RecordRules {
    /// The codec that a batch is kept in.
    pub(crate) fn codec_for(&self, header: &BatchHeader) -> Codec {
        let sent = Codec::of(header.compression()).unwrap_or(Codec::None);
        self.codec.filter(|c| c.id() != sent.id()).unwrap_or(sent)
    }
}

/// A refusal, as Produce answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Kafka's code.
    pub code: i16,
    /// A sentence.
    pub message: String,
    /// Records at fault, each with a sentence (KIP-467).
    pub record_errors: Vec<(i32, String)>,
    /// Found by looking into the batch, as Kafka's log does; then the answer tells the log start.
    pub by_log: bool,
}

impl Refusal {
    pub(crate) fn whole(code: i16, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            record_errors: Vec::new(),
            by_log: false,
        }
    }

    pub(crate) fn of_record(code: i16, index: i32, message: String) -> Self {
        Self {
            code,
            record_errors: vec![(index, message.clone())],
            message,
            by_log: true,
        }
    }
}

/// A batch that may be appended.
#[derive(Debug)]
pub struct Checked {
    /// The batch; its header may differ from its bytes (LogAppendTime), and counts.
    pub batch: BatchView,
    /// Where some of its records wait, or are left out.
    pub held: Option<HeldBatch>,
    /// Records with a message id.
    pub ids: MessageIds,
}

/// Records of a batch that are to be appended once.
#[derive(Debug, Default)]
pub struct MessageIds {
    /// Each with its place in the batch, in order.
    pub found: Vec<(i32, MessageId)>,
    /// The batch as it came and its records, where there are any: what it is without some of them is made from these.
    produced: Option<(BatchView, Bytes)>,
}

/// Judges one partition's records.
pub fn check_produce(records: Option<Bytes>, rules: &RecordRules) -> Result<Checked, Refusal> {
    let bytes = records.filter(|b| !b.is_empty()).ok_or_else(|| {
        Refusal::whole(
            INVALID_RECORD,
            "there must be exactly one record batch per partition",
        )
    })?;
    check_size(bytes.len(), rules)?;
    let mut batch = BatchView::parse(without_tail(bytes)).map_err(|error| match error {
        BatchError::Magic(0 | 1) | BatchError::Trailing(_) | BatchError::Short { .. } => {
            Refusal::whole(INVALID_RECORD, error.to_string())
        }
        BatchError::Magic(_) | BatchError::Length(_) => {
            Refusal::whole(CORRUPT_MESSAGE, error.to_string())
        }
    })?;
    check_zstd(&batch.header, rules)?;
    if !batch.verify_crc() {
        return Err(Refusal::whole(
            CORRUPT_MESSAGE,
            "the batch's checksum does not fit",
        ));
    }
    let looked_into = |refusal: Refusal| Refusal {
        by_log: true,
        ..refusal
    };
    check_header(&batch.header).map_err(looked_into)?;
    let plain = compress::decompress(
        batch.header.compression(),
        &batch.records(),
        PLAIN_BYTES_MAX,
    )
    .map_err(|e| Refusal::whole(INVALID_RECORD, format!("decompressing the batch: {e}")))
    .map_err(looked_into)?;
    let max_timestamp = check_records(&batch.header, &plain, rules).map_err(looked_into)?;
    if rules.log_append_time {
        batch.header = stamp_append_time(&batch, rules.now_ms);
    } else if batch.header.max_timestamp != max_timestamp || batch.header.log_append_time() {
        // A look-up by time believes it, so the client's word is not enough; and whose clock it is, the topic says.
        let header = BatchHeader {
            max_timestamp,
            attributes: batch.header.attributes & !ATTR_LOG_APPEND_TIME,
            ..batch.header
        };
        batch.header = seal_header(header, &batch.records());
    }
    let has = |name: &str| memmem::find(&plain, name.as_bytes()).is_some();
    let hit = rules.inspect && (has(PREFIX) || rules.aliases.iter().any(|a| has(&a.name)));
    if !hit {
        batch = recompress(batch, &plain, rules)?;
        let ids = MessageIds::default();
        let held = None;
        return Ok(Checked { batch, held, ids });
    }
    let split::Parts { held, found } = split::split(&batch, &plain, &[], rules)?;
    let produced = (!found.is_empty()).then(|| (batch.clone(), plain.clone()));
    if held.is_none() {
        batch = recompress(batch, &plain, rules)?;
    }
    let ids = MessageIds { found, produced };
    Ok(Checked { batch, held, ids })
}

/// A batch that was checked, without the records at these places, in order, which the log has.
pub fn leave_out(
    ids: &MessageIds,
    places: &[i32],
    rules: &RecordRules,
) -> Result<Checked, Refusal> {
    let Some((batch, plain)) = &ids.produced else {
        return Err(Refusal::whole(INVALID_RECORD, "no record has a message id"));
    };
    let split::Parts { held, .. } = split::split(batch, plain, places, rules)?;
    let batch = if held.is_none() {
        recompress(batch.clone(), plain, rules)?
    } else {
        batch.clone()
    };
    let ids = MessageIds::default();
    Ok(Checked { batch, held, ids })
}

/// In the topic's codec, where the producer used another. Source: Apache Kafka, `LogValidator`.
fn recompress(batch: BatchView, plain: &[u8], rules: &RecordRules) -> Result<BatchView, Refusal> {
    let codec = rules.codec_for(&batch.header);
    if codec.id() == batch.header.compression() {
        return Ok(batch);
    }
    let packed = compress::compress(codec, plain)
        .map_err(|e| Refusal::whole(INVALID_RECORD, format!("compressing the batch: {e}")))?;
    let header = batch.header.with_compression(codec.id());
    let bytes = build_batch(header, &packed);
    check_size(bytes.len(), rules)?;
    BatchView::parse(bytes).map_err(|e| Refusal::whole(INVALID_RECORD, e.to_string()))
}

fn check_size(len: usize, rules: &RecordRules) -> Result<(), Refusal> {
    if len <= rules.max_message_bytes {
        return Ok(());
    }
    let why = format!(
        "the batch has {len} bytes, max.message.bytes is {}",
        rules.max_message_bytes
    );
    Err(Refusal::whole(MESSAGE_TOO_LARGE, why))
}

/// Kafka lets be what follows the batch and is too short for another one.
fn without_tail(bytes: Bytes) -> Bytes {
    let Some(end) = batch_len(&bytes) else {
        return bytes;
    };
    let Some(tail) = bytes.get(end..).filter(|tail| !tail.is_empty()) else {
        return bytes;
    };
    let is_whole = batch_len(tail).is_some_and(|len| len <= tail.len());
    if end > HEADER_LEN && !is_whole {
        bytes.slice(..end)
    } else {
        bytes
    }
}

/// What the batch at the beginning says its length is, with its offset and the length itself.
fn batch_len(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(8..)?.first_chunk()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    Some(length + LOG_OVERHEAD)
}

fn check_zstd(header: &BatchHeader, rules: &RecordRules) -> Result<(), Refusal> {
    if header.compression() == CODEC_ZSTD && rules.produce_version < 7 {
        let why = "zstd needs Produce version 7 or later";
        return Err(Refusal::whole(UNSUPPORTED_COMPRESSION_TYPE, why));
    }
    Ok(())
}

fn check_header(header: &BatchHeader) -> Result<(), Refusal> {
    let codec = header.compression();
    if codec > CODEC_ZSTD {
        let why = format!("compression codec {codec} is unknown");
        return Err(Refusal::whole(UNSUPPORTED_COMPRESSION_TYPE, why));
    }
    let invalid = |why: &str| Err(Refusal::whole(INVALID_RECORD, why));
    if header.attributes & (ATTR_FIRE | ATTR_HIDDEN) != 0 {
        return invalid("attribute bits 13 and 14 are the broker's own");
    }
    if header.base_offset != 0 {
        return invalid("the offset of a batch's first record must be 0");
    }
    if header.is_control() {
        return invalid("clients are not allowed to write control batches");
    }
    if header.records_count < 1 || header.last_offset_delta < 0 {
        return invalid("the batch has no records");
    }
    if i64::from(header.last_offset_delta) + 1 != i64::from(header.records_count) {
        return invalid("the batch's offsets and its record count do not agree");
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return invalid("a batch with a producer id has no sequence");
    }
    Ok(())
}

/// Returns the largest timestamp of the records.
fn check_records(header: &BatchHeader, plain: &[u8], rules: &RecordRules) -> Result<i64, Refusal> {
    let mut expected = 0;
    let mut bad_times = Vec::new();
    let (mut without_key, mut without_key_count) = (Vec::new(), 0u64);
    let mut max_timestamp = NO_TIMESTAMP;
    let walked = walk::outlines(plain, header.records_count, |record| {
        if record.offset_delta != expected {
            return false;
        }
        let timestamp = header.base_timestamp.saturating_add(record.timestamp_delta);
        max_timestamp = max_timestamp.max(timestamp);
        // A record without a timestamp is not judged by it.
        if !rules.log_append_time && timestamp != NO_TIMESTAMP {
            let before = rules.now_ms.saturating_sub(timestamp) > rules.timestamp_before_max_ms;
            let after = timestamp.saturating_sub(rules.now_ms) > rules.timestamp_after_max_ms;
            if (before || after) && bad_times.len() < RECORD_ERRORS_MAX {
                bad_times.push((expected, format!("timestamp {timestamp} is out of range")));
            }
        }
        if !record.has_key
            && let Some(partition) = &rules.keys_of
        {
            without_key_count += 1;
            if without_key.len() < RECORD_ERRORS_MAX {
                let why = format!(
                    "Compacted topic cannot accept message without key in topic partition {partition}."
                );
                without_key.push((expected, why));
            }
        }
        expected += 1;
        true
    });
    if walked.is_ok() && !without_key.is_empty() {
        return Err(without_keys(without_key, without_key_count));
    }
    match walked {
        Err(Stop::Malformed) => Err(Refusal::whole(
            INVALID_RECORD,
            "the batch's records do not fill it exactly",
        )),
        Err(Stop::Seen) => {
            let why = "inner record offsets must increase by one".to_owned();
            Err(Refusal::of_record(INVALID_RECORD, expected, why))
        }
        Ok(()) if bad_times.is_empty() => Ok(max_timestamp),
        Ok(()) => Err(Refusal {
            code: INVALID_TIMESTAMP,
            message: "One or more records have been rejected due to invalid timestamp".to_owned(),
            record_errors: bad_times,
            by_log: true,
        }),
    }
}

/// In Kafka's words. Source: Apache Kafka, `LogValidator.processRecordErrors`.
fn without_keys(errors: Vec<(i32, String)>, count: u64) -> Refusal {
    let shown = errors.iter().take(RECORD_ERRORS_SHOWN);
    let shown: Vec<_> = shown
        .map(|(index, why)| format!("RecordError(batchIndex={index}, message='{why}')"))
        .collect();
    let shown = shown.join(", ");
    Refusal {
        code: INVALID_RECORD,
        message: format!(
            "One or more records have been rejected due to {count} record errors in total, and only showing the first three errors at most: [{shown}]"
        ),
        record_errors: errors,
        by_log: true,
    }
}

/// As Kafka stamps it: attribute, largest timestamp, checksum; the records stay as they are.
fn stamp_append_time(batch: &BatchView, now_ms: i64) -> BatchHeader {
    let header = BatchHeader {
        attributes: batch.header.attributes | ATTR_LOG_APPEND_TIME,
        max_timestamp: now_ms,
        ..batch.header
    };
    seal_header(header, &batch.records())
}

/// A stored batch that cannot be read record by record.
#[derive(Debug, thiserror::Error)]
#[error("the batch at offset {0} cannot be read")]
pub struct Unreadable(pub(crate) i64);

/// The first record of a stored batch at offset `from` or later with a timestamp of `timestamp` or more: its offset and
/// timestamp.
pub fn first_record_at_or_after(
    batch: &BatchView,
    timestamp: i64,
    from: i64,
) -> Result<Option<(i64, i64)>, Unreadable> {
    first_record(batch, |offset, at| offset >= from && at >= timestamp)
}

/// The first record of a stored batch that has its largest timestamp: its offset and timestamp.
pub fn first_record_with_max_timestamp(
    batch: &BatchView,
) -> Result<Option<(i64, i64)>, Unreadable> {
    let max = batch.header.max_timestamp;
    first_record(batch, |_, at| at == max)
}

fn first_record(
    batch: &BatchView,
    fits: impl Fn(i64, i64) -> bool,
) -> Result<Option<(i64, i64)>, Unreadable> {
    let header = &batch.header;
    let plain = plain(batch)?;
    let mut found = None;
    let walked = walk::outlines(&plain, header.records_count, |record| {
        let at = if header.log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.saturating_add(record.timestamp_delta)
        };
        let offset = header.base_offset + i64::from(record.offset_delta);
        if fits(offset, at) {
            found = Some((offset, at));
        }
        found.is_none()
    });
    match walked {
        Err(Stop::Malformed) => Err(Unreadable(header.base_offset)),
        Ok(()) | Err(Stop::Seen) => Ok(found),
    }
}

/// A batch's records, decompressed.
pub fn plain(batch: &BatchView) -> Result<Bytes, Unreadable> {
    let header = &batch.header;
    compress::decompress(header.compression(), &batch.records(), PLAIN_BYTES_MAX)
        .map_err(|_| Unreadable(header.base_offset))
}

/// All records of a stored batch, decompressed.
pub fn decode(batch: &BatchView) -> Result<Vec<Record>, Unreadable> {
    let header = &batch.header;
    RecordIter::new(plain(batch)?, header.records_count)
        .collect::<Result<_, _>>()
        .map_err(|_| Unreadable(header.base_offset))
}
