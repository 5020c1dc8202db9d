//! Due records become one FIRE frame.

use bytes::Bytes;
use kafka_compat::{
    compress::{self, Codec},
    record_headers::{PREFIX, SCHEDULE_KEY},
};
use scheduler::TimerEntry;
use storage::{
    batch::{ATTR_FIRE, ATTR_LOG_APPEND_TIME, BatchHeader, MAGIC_V2, seal_header},
    frame::{FrameError, HoldEntry},
    log::{Frame, ReadError},
    record::{RecordError, RecordRef, put_header},
    units::{Offset, ScheduleId, TimestampMs},
};
use thiserror::Error;

use super::{HEADER_CREATED_AT, HEADER_DUE_AT, HEADER_SCHEDULE_ID, hold_cache::HoldCache};
use crate::partition::Partition;

/// A record that fires later than this after its due time takes the append time as its timestamp: an old one would make it
/// retention-eligible before anyone read it.
const LATE_MS: i64 = 1_000;
/// A FIRE frame is closed at this size: what one append writes and one fetch must return whole.
pub const FIRE_BYTES_MAX: usize = 512 * 1024;

/// Headers that a fired record gains, and their bytes, about.
const HEADERS_ADDED: usize = 3;
const GROWN_BY: usize = 120;

/// Headers that a fired record does not carry over: what asked for the delay, and what only the broker may say.
const DROPPED: [&str; 6] = [
    "chronos-deliver-at",
    "chronos-deliver-after",
    SCHEDULE_KEY,
    HEADER_DUE_AT,
    HEADER_SCHEDULE_ID,
    HEADER_CREATED_AT,
];

/// Why a held record cannot be fired.
#[derive(Debug, Error)]
pub enum FireError {
    /// The log does not give its HOLD.
    #[error("reading the HOLD at offset {0}: {1}")]
    Read(Offset, ReadError),
    /// There is another frame, or none, at its place.
    #[error("no HOLD frame at offset {0}")]
    NoHold(Offset),
    /// The HOLD is damaged.
    #[error("the HOLD at offset {0}: {1}")]
    Damaged(Offset, FrameError),
    /// The HOLD has another id or due time at that place: the timer is wrong, and must not fire.
    #[error("the HOLD at offset {0} does not agree with the timer")]
    Disagrees(Offset),
}

impl FireError {
    /// The record at that place cannot be read.
    pub fn damaged(hold: Offset, index: usize) -> Self {
        Self::Damaged(hold, FrameError::Entry(index))
    }

    /// The file system refused just now; the record itself may be whole.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Read(_, ReadError::Io(_)))
    }
}

/// A FIRE frame and what it settles.
#[derive(Debug)]
pub struct Fire {
    /// The frame to append; `None` where no entry could be read.
    pub frame: Option<Frame>,
    /// Bytes of its records, uncompressed.
    pub plain_bytes: usize,
    /// What it settles, in order.
    pub fired: Vec<TimerEntry>,
    /// Entries that did not fit; due still.
    pub left: Vec<TimerEntry>,
    /// Schedule keys of what it settles.
    pub keys: Vec<(Bytes, ScheduleId)>,
    /// Entries that cannot be fired.
    pub failed: Vec<(TimerEntry, FireError)>,
}

/// How fired records are stamped.
#[derive(Clone, Copy, Debug)]
pub struct FireRules {
    /// Wall time of this tick.
    pub now: TimestampMs,
    /// The topic stamps append times.
    pub log_append_time: bool,
    /// `compression.type`, unless it is what the producer chose: that is not known any more.
    pub codec: Option<Codec>,
}

/// Builds the FIRE frame of `due`, in the given order, up to [`FIRE_BYTES_MAX`].
pub fn build(
    partition: &Partition,
    holds: &mut HoldCache,
    due: Vec<TimerEntry>,
    rules: FireRules,
) -> Fire {
    let mut fire = Fire {
        frame: None,
        plain_bytes: 0,
        fired: Vec::with_capacity(due.len()),
        left: Vec::new(),
        keys: Vec::new(),
        failed: Vec::new(),
    };
    let mut body = FireBody::with_room_for(&due);
    for entry in due {
        if body.bytes.len() >= FIRE_BYTES_MAX {
            fire.left.push(entry);
            continue;
        }
        let pushed = holds.read(partition, &entry).and_then(|(hold, record)| {
            let key = body.push(&hold, &entry, record, rules)?;
            fire.keys.extend(key.map(|key| (key, hold.id)));
            Ok(())
        });
        match pushed {
            Ok(()) => fire.fired.push(entry),
            Err(error) => fire.failed.push((entry, error)),
        }
    }
    fire.plain_bytes = body.bytes.len();
    fire.frame = body.into_frame(rules);
    fire
}

#[derive(Default)]
struct FireBody {
    bytes: Vec<u8>,
    /// The headers of the record at hand.
    headers: Vec<u8>,
    count: i32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl FireBody {
    fn with_room_for(due: &[TimerEntry]) -> Self {
        let records = due.iter().map(|entry| entry.place.bytes as usize);
        let bytes: usize = records.map(|len| len + GROWN_BY).sum();
        Self {
            bytes: Vec::with_capacity(bytes.min(FIRE_BYTES_MAX + GROWN_BY)),
            ..Self::default()
        }
    }

    /// Adds a record, which `stored` begins with; returns its schedule key.
    fn push(
        &mut self,
        hold: &HoldEntry,
        entry: &TimerEntry,
        stored: &[u8],
        rules: FireRules,
    ) -> Result<Option<Bytes>, FireError> {
        let damaged =
            |_: RecordError| FireError::damaged(entry.place.hold, entry.place.index as usize);
        let record = RecordRef::read(stored).map_err(damaged)?;
        let due = entry.key.due.0;
        let mut key = None;
        let mut header_count = HEADERS_ADDED;
        self.headers.clear();
        for header in record.headers() {
            let header = header.map_err(damaged)?;
            if header.name == SCHEDULE_KEY.as_bytes() {
                key = header.value;
            }
            if !is_dropped(header.name) {
                self.headers.extend_from_slice(header.encoded);
                header_count += 1;
            }
        }
        let mut decimal = itoa::Buffer::new();
        let added: [_; HEADERS_ADDED] = [
            (HEADER_DUE_AT, due),
            (HEADER_SCHEDULE_ID, hold.id.0),
            (HEADER_CREATED_AT, hold.created.0),
        ];
        for (name, number) in added {
            let number = decimal.format(number).as_bytes();
            put_header(&mut self.headers, name.as_bytes(), number);
        }
        let late = rules.now.0.saturating_sub(due) > LATE_MS;
        let timestamp = if late || rules.log_append_time {
            rules.now.0
        } else {
            due
        };
        if self.count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        record.encode_with(
            timestamp.saturating_sub(self.base_timestamp),
            self.count,
            (header_count, &self.headers),
            &mut self.bytes,
        );
        self.count += 1;
        Ok(key.map(Bytes::copy_from_slice))
    }

    fn into_frame(self, rules: FireRules) -> Option<Frame> {
        if self.count == 0 {
            return None;
        }
        let append_time = if rules.log_append_time {
            ATTR_LOG_APPEND_TIME
        } else {
            0
        };
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            leader_epoch: 0,
            magic: MAGIC_V2,
            crc: 0,
            attributes: ATTR_FIRE | append_time,
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: if rules.log_append_time {
                rules.now.0
            } else {
                self.max_timestamp
            },
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            records_count: self.count,
        };
        // What cannot be compressed goes as it is.
        let compressed = rules.codec.filter(|codec| codec.id() != 0);
        let compressed = compressed.and_then(|codec| {
            let body = compress::compress(codec, &self.bytes).ok()?;
            Some((codec.id(), body))
        });
        let (codec, body) = compressed.unwrap_or((0, self.bytes));
        let header = BatchHeader {
            attributes: header.attributes | i16::from(codec),
            ..header
        };
        let body = Bytes::from(body);
        Some(Frame {
            header: seal_header(header, &body),
            body,
        })
    }
}

fn is_dropped(name: &[u8]) -> bool {
    name.starts_with(PREFIX.as_bytes()) && DROPPED.iter().any(|dropped| dropped.as_bytes() == name)
}
