//! A batch comes apart: what waits, what the log has already, and what remains.

use bytes::Bytes;
use storage::{
    batch::{BatchHeader, BatchView, HEADER_LEN, build_batch},
    frame::{Hold, Holds},
    record::{RecordError, RecordRef},
    units::{DueTime, ScheduleId, TimestampMs},
};

use crate::{
    compress,
    message_ids::MessageId,
    record_headers::{Asked, CANCEL, HeaderRefused, SCHEDULE_KEY, is_brokers_own},
    records::{INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, RecordRules, Refusal},
};

/// A batch of which some records wait, cancel one that does, or are left out.
#[derive(Debug)]
pub struct HeldBatch {
    /// The batch's header as produced.
    pub original: BatchHeader,
    /// What waits, in offset order.
    pub holds: Holds,
    /// Held records that others of it cancel.
    pub cancels: Vec<ScheduleId>,
    /// Schedule keys of which it has a newer record, held or not: what waits under them does not any more. Each once.
    pub keys: Vec<Bytes>,
    /// What remains, at the offsets it had.
    pub rest: Option<BatchView>,
}

/// What a batch was found to be.
pub(crate) struct Parts {
    /// `None` where it stays whole.
    pub(crate) held: Option<HeldBatch>,
    /// Its message ids.
    pub(crate) found: Vec<(i32, MessageId)>,
}

/// Splits a batch whose uncompressed records mention one of our headers; those at `left_out`, in order, are nowhere then.
pub(crate) fn split(
    batch: &BatchView,
    plain: &[u8],
    left_out: &[i32],
    rules: &RecordRules,
) -> Result<Parts, Refusal> {
    let header = batch.header;
    let mut split = Split {
        header,
        rules,
        plain,
        left_out,
        holds: Holds::default(),
        found: Vec::new(),
        own_headers: Vec::new(),
        cancels: Vec::new(),
        keys: Vec::new(),
        rest: Rest::default(),
    };
    let mut left = plain;
    for index in 0..header.records_count {
        let why = match RecordRef::read(left) {
            Ok(record) => {
                let at = plain.len() - left.len();
                left = left.get(record.encoded.len()..).unwrap_or_default();
                match split.take(&record, at) {
                    Ok(()) => continue,
                    Err(why) => why,
                }
            }
            Err(error) => Refused::Record(error),
        };
        return Err(why.of(index));
    }
    let Split {
        holds,
        found,
        cancels,
        keys,
        rest,
        ..
    } = split;
    if rest.is_all && keys.is_empty() {
        return Ok(Parts { held: None, found });
    }
    let held = HeldBatch {
        original: header,
        holds,
        cancels,
        keys,
        rest: rest.into_batch(plain, &header, rules)?,
    };
    let held = Some(held);
    Ok(Parts { held, found })
}

/// Why a record is refused.
enum Refused {
    Record(RecordError),
    Header(HeaderRefused),
    Size(String),
}

impl From<RecordError> for Refused {
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl From<HeaderRefused> for Refused {
    fn from(why: HeaderRefused) -> Self {
        Self::Header(why)
    }
}

impl Refused {
    fn of(self, index: i32) -> Refusal {
        let (code, why) = match self {
            Self::Record(error) => (INVALID_RECORD, error.to_string()),
            Self::Header(HeaderRefused::Malformed(why)) => (INVALID_RECORD, why),
            Self::Header(HeaderRefused::TooFar(why)) => (INVALID_TIMESTAMP, why),
            Self::Size(why) => (MESSAGE_TOO_LARGE, why),
        };
        Refusal::of_record(code, index, why)
    }
}

/// What became of the records so far.
struct Split<'a> {
    header: BatchHeader,
    rules: &'a RecordRules,
    plain: &'a [u8],
    left_out: &'a [i32],
    holds: Holds,
    found: Vec<(i32, MessageId)>,
    /// Headers of the record at hand that it keeps.
    own_headers: Vec<u8>,
    cancels: Vec<ScheduleId>,
    keys: Vec<Bytes>,
    rest: Rest,
}

impl Split<'_> {
    /// What settles other held records cannot be taken back by an abort.
    fn outside_transactions(&self, header: &str) -> Result<(), Refused> {
        if self.header.is_transactional() {
            let why = format!("{header} is not possible in a transaction");
            return Err(HeaderRefused::Malformed(why).into());
        }
        Ok(())
    }

    /// `at` is where the record begins.
    fn take(&mut self, record: &RecordRef<'_>, at: usize) -> Result<(), Refused> {
        let rules = self.rules;
        let asked = Asked::read(record, &rules.aliases)?;
        if let Some(id) = asked.cancelled()? {
            self.outside_transactions(CANCEL)?;
            self.rest.lacks(self.plain, at);
            self.cancels.push(id);
            return Ok(());
        }
        let message_id = asked.message_id()?;
        let due = asked.due_time(&rules.aliases, rules.now_ms, rules.max_delay_ms)?;
        let key = asked.schedule_key()?.map(Bytes::copy_from_slice);
        if let (Some(hash), Some(id)) = (&rules.message_ids, message_id) {
            self.found.push((record.offset_delta, hash.of(id)));
            if let [next, others @ ..] = self.left_out
                && *next == record.offset_delta
            {
                self.left_out = others;
                self.rest.lacks(self.plain, at);
                return Ok(());
            }
        }
        if let Some(key) = &key {
            self.outside_transactions(SCHEDULE_KEY)?;
            // Of several in one batch, the last counts; the offsets of the others are never readable.
            self.holds.remove_key(key);
            if !self.keys.contains(key) {
                self.keys.push(key.clone());
            }
        }
        match due.filter(|due| due.0 > rules.now_ms) {
            None => self.rest.push(record),
            Some(due) => {
                self.rest.lacks(self.plain, at);
                self.hold(record, &asked, due, key)?;
            }
        }
        Ok(())
    }

    fn hold(
        &mut self,
        record: &RecordRef<'_>,
        asked: &Asked<'_>,
        due: DueTime,
        schedule_key: Option<Bytes>,
    ) -> Result<(), Refused> {
        // A held record fires uncompressed, in a batch of its own if need be: that batch must be one that consumers take.
        let size = HEADER_LEN + record.encoded.len();
        if size > self.rules.max_message_bytes {
            let max = self.rules.max_message_bytes;
            return Err(Refused::Size(format!(
                "the held record has {size} bytes uncompressed, max.message.bytes is {max}"
            )));
        }
        let created = if self.rules.log_append_time {
            self.rules.now_ms
        } else {
            let base = self.header.base_timestamp;
            base.saturating_add(record.timestamp_delta)
        };
        if self.holds.is_empty() {
            self.holds = Holds::with_room_for(self.plain.len());
        }
        let hold = Hold {
            offset_delta: record.offset_delta,
            due,
            created: TimestampMs(created),
            schedule_key,
        };
        if asked.has_brokers_own {
            let count = self.keep_headers(record)?;
            let headers = Some((count, self.own_headers.as_slice()));
            self.holds.push(hold, record, headers);
        } else {
            self.holds.push(hold, record, None);
        }
        Ok(())
    }

    /// Takes down the headers that are not the broker's; returns their number.
    fn keep_headers(&mut self, record: &RecordRef<'_>) -> Result<usize, RecordError> {
        self.own_headers.clear();
        let mut count = 0;
        for header in record.headers() {
            let header = header?;
            if !is_brokers_own(header.name) {
                self.own_headers.extend_from_slice(header.encoded);
                count += 1;
            }
        }
        Ok(count)
    }
}

/// Records that stay, as they were produced.
struct Rest {
    /// All so far: nothing is copied until one is not among them.
    is_all: bool,
    plain: Vec<u8>,
    count: i32,
    last_offset_delta: i32,
    latest: Option<i64>,
}

impl Default for Rest {
    fn default() -> Self {
        Self {
            is_all: true,
            plain: Vec::new(),
            count: 0,
            last_offset_delta: 0,
            latest: None,
        }
    }
}

impl Rest {
    /// What begins at `at` is not among them.
    fn lacks(&mut self, plain: &[u8], at: usize) {
        if self.is_all {
            self.is_all = false;
            self.plain.reserve(plain.len());
            self.plain
                .extend_from_slice(plain.get(..at).unwrap_or_default());
        }
    }

    fn push(&mut self, record: &RecordRef<'_>) {
        if !self.is_all {
            self.plain.extend_from_slice(record.encoded);
        }
        self.count += 1;
        self.last_offset_delta = record.offset_delta;
        self.latest = self.latest.max(Some(record.timestamp_delta));
    }

    /// It keeps base offset, deltas and base sequence; it ends at its last record, since a batch that reaches over a hole makes
    /// some clients step one offset a fetch.
    fn into_batch(
        self,
        all: &[u8],
        original: &BatchHeader,
        rules: &RecordRules,
    ) -> Result<Option<BatchView>, Refusal> {
        let Some(latest) = self.latest else {
            return Ok(None);
        };
        let refused = |why: String| Refusal::whole(INVALID_RECORD, why);
        let codec = rules.codec_for(original);
        let plain = if self.is_all { all } else { &self.plain };
        let packed = compress::compress(codec, plain).map_err(|e| refused(e.to_string()))?;
        let header = BatchHeader {
            last_offset_delta: self.last_offset_delta,
            records_count: self.count,
            max_timestamp: if original.log_append_time() {
                original.max_timestamp
            } else {
                original.base_timestamp.saturating_add(latest)
            },
            ..original.with_compression(codec.id())
        };
        let batch = BatchView::parse(build_batch(header, &packed));
        batch.map(Some).map_err(|e| refused(e.to_string()))
    }
}
