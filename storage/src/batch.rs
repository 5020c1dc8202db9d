//! A Kafka v2 record batch: its 61-byte header, parsed and written, never its records.
//!
//! ```text
//!  0  baseOffset            i64   stamped by the log, outside the CRC
//!  8  batchLength           i32   bytes after this field
//! 12  partitionLeaderEpoch  i32   stamped by the log, outside the CRC
//! 16  magic                 i8    2
//! 17  crc                   u32   CRC32C of everything from byte 21
//! 21  attributes            i16   bits 0-2 codec, 3 log append time, 4 transactional, 5 control,
//!                                 6 delete horizon, 13 FIRE, 14 hidden (13 and 14 are ours)
//! 23  lastOffsetDelta       i32
//! 27  baseTimestamp         i64
//! 35  maxTimestamp          i64
//! 43  producerId            i64
//! 51  producerEpoch         i16
//! 53  baseSequence          i32
//! 57  recordsCount          i32
//! 61  records
//! ```
//! Source: Apache Kafka, `DefaultRecordBatch`.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Bytes before the records.
pub const HEADER_LEN: usize = 61;
/// Bytes of a batch that `batchLength` does not count: base offset and the length itself.
pub const LENGTH_PREFIX: usize = 12;
/// The first byte that the CRC covers.
pub const CRC_START: usize = 21;
/// The only magic this broker stores.
pub const MAGIC_V2: i8 = 2;

/// Bits 0 to 2 of the attributes: the compression codec.
pub const ATTR_CODEC_MASK: i16 = 0x07;
/// The timestamps are the broker's append time.
pub const ATTR_LOG_APPEND_TIME: i16 = 1 << 3;
/// The batch belongs to a transaction.
pub const ATTR_TRANSACTIONAL: i16 = 1 << 4;
/// The batch holds a transaction marker.
pub const ATTR_CONTROL: i16 = 1 << 5;
/// Attribute: the base timestamp is the time from which on the batch's tombstones may go.
pub const ATTR_DELETE_HORIZON: i16 = 1 << 6;
/// Written by a fire: it settles the holds whose schedule ids its records carry.
pub const ATTR_FIRE: i16 = 1 << 13;
/// Never shown to consumers: a HOLD or CANCEL frame.
pub const ATTR_HIDDEN: i16 = 1 << 14;

/// Why bytes are not a batch.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BatchError {
    /// Fewer bytes than the header, or than the length it announces.
    #[error("batch needs {need} bytes, {have} are there")]
    Short {
        /// Bytes wanted.
        need: usize,
        /// Bytes present.
        have: usize,
    },
    /// A message format this broker does not store.
    #[error("batch has magic {0}, only 2 is stored")]
    Magic(i8),
    /// A length below what the header itself needs.
    #[error("batch length {0} is below the header's own size")]
    Length(i32),
    /// Bytes follow the one batch.
    #[error("{0} bytes follow the batch")]
    Trailing(usize),
}

/// The header of a v2 batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "the fields are the wire's own, drawn at the top of this file"
)]
pub struct BatchHeader {
    pub base_offset: i64,
    pub batch_length: i32,
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the first 61 bytes; the CRC is not checked here, see [`BatchView::verify_crc`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let Some(mut b) = bytes.get(..HEADER_LEN) else {
            // A legacy message is shorter: name its magic rather than its length.
            return Err(match bytes.get(16) {
                Some(&magic) if magic < 2 => BatchError::Magic(magic.cast_signed()),
                _ => BatchError::Short {
                    need: HEADER_LEN,
                    have: bytes.len(),
                },
            });
        };
        let header = Self {
            base_offset: b.get_i64(),
            batch_length: b.get_i32(),
            leader_epoch: b.get_i32(),
            magic: b.get_i8(),
            crc: b.get_u32(),
            attributes: b.get_i16(),
            last_offset_delta: b.get_i32(),
            base_timestamp: b.get_i64(),
            max_timestamp: b.get_i64(),
            producer_id: b.get_i64(),
            producer_epoch: b.get_i16(),
            base_sequence: b.get_i32(),
            records_count: b.get_i32(),
        };
        if header.magic != MAGIC_V2 {
            return Err(BatchError::Magic(header.magic));
        }
        if usize::try_from(header.batch_length).is_ok_and(|n| n + LENGTH_PREFIX >= HEADER_LEN) {
            Ok(header)
        } else {
            Err(BatchError::Length(header.batch_length))
        }
    }

    /// The 61 bytes.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let mut b = out.as_mut_slice();
        b.put_i64(self.base_offset);
        b.put_i32(self.batch_length);
        b.put_i32(self.leader_epoch);
        b.put_i8(self.magic);
        b.put_u32(self.crc);
        b.put_i16(self.attributes);
        b.put_i32(self.last_offset_delta);
        b.put_i64(self.base_timestamp);
        b.put_i64(self.max_timestamp);
        b.put_i64(self.producer_id);
        b.put_i16(self.producer_epoch);
        b.put_i32(self.base_sequence);
        b.put_i32(self.records_count);
        out
    }

    /// Bytes of the whole batch, header included.
    pub fn total_len(&self) -> usize {
        LENGTH_PREFIX + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// The offset of the last record, or of the last one the frame covers.
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// The codec's number: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd; 5 to 7 are unknown.
    pub fn compression(&self) -> u8 {
        u8::try_from(self.attributes & ATTR_CODEC_MASK).unwrap_or(0)
    }

    /// The same header for another codec; the checksum is left as it is.
    #[must_use]
    pub fn with_compression(self, codec: u8) -> Self {
        Self {
            attributes: (self.attributes & !ATTR_CODEC_MASK) | i16::from(codec),
            ..self
        }
    }

    /// Consumers never see it.
    pub fn is_hidden(&self) -> bool {
        self.attributes & ATTR_HIDDEN != 0
    }

    /// Written by a fire.
    pub fn is_fire(&self) -> bool {
        self.attributes & ATTR_FIRE != 0
    }

    /// Holds a transaction marker.
    pub fn is_control(&self) -> bool {
        self.attributes & ATTR_CONTROL != 0
    }

    /// Belongs to a transaction. One of no producer does not, whatever it says: Kafka keeps it as any other.
    pub fn is_transactional(&self) -> bool {
        self.says_transactional() && self.producer_id >= 0
    }

    /// Says that it belongs to a transaction.
    pub fn says_transactional(&self) -> bool {
        self.attributes & ATTR_TRANSACTIONAL != 0
    }

    /// From when on its tombstones may go; `None` where no compaction met them.
    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes & ATTR_DELETE_HORIZON != 0).then_some(self.base_timestamp)
    }

    /// Its timestamps are append times.
    pub fn log_append_time(&self) -> bool {
        self.attributes & ATTR_LOG_APPEND_TIME != 0
    }

    /// Sent by an idempotent producer.
    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }
}

/// One whole batch: the parsed header beside the bytes it came from.
#[derive(Clone, Debug)]
pub struct BatchView {
    /// The parsed header.
    pub header: BatchHeader,
    /// All bytes of the batch, header included.
    pub bytes: Bytes,
}

impl BatchView {
    /// Takes bytes that are exactly one batch.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        let need = header.total_len();
        if bytes.len() < need {
            return Err(BatchError::Short {
                need,
                have: bytes.len(),
            });
        }
        if bytes.len() > need {
            return Err(BatchError::Trailing(bytes.len() - need));
        }
        Ok(Self { header, bytes })
    }

    /// Whether the checksum fits the bytes.
    pub fn verify_crc(&self) -> bool {
        self.bytes
            .get(CRC_START..)
            .is_some_and(|b| crc32c::crc32c(b) == self.header.crc)
    }

    /// The bytes after the header; compressed where the header says so.
    pub fn records(&self) -> Bytes {
        self.bytes.slice(HEADER_LEN.min(self.bytes.len())..)
    }
}

/// CRC32C of a batch whose header has all its other fields set.
pub fn checksum(header: &BatchHeader, records: &[u8]) -> u32 {
    let encoded = header.encode();
    let (_, covered) = encoded.split_at(CRC_START);
    crc32c::crc32c_append(crc32c::crc32c(covered), records)
}

/// Fills in length and checksum for `records` that follow `header`.
#[must_use]
pub fn seal_header(mut header: BatchHeader, records: &[u8]) -> BatchHeader {
    header.magic = MAGIC_V2;
    header.batch_length =
        i32::try_from(HEADER_LEN - LENGTH_PREFIX + records.len()).unwrap_or(i32::MAX);
    header.crc = checksum(&header, records);
    header
}

/// A batch of `records` with the given header, whose length and checksum are filled in.
pub fn build_batch(header: BatchHeader, records: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEADER_LEN + records.len());
    out.put_slice(&seal_header(header, records).encode());
    out.put_slice(records);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(records_count: i32) -> BatchHeader {
        BatchHeader {
            base_offset: 7,
            batch_length: 0,
            leader_epoch: 3,
            magic: 2,
            crc: 0,
            attributes: ATTR_HIDDEN | 4,
            last_offset_delta: 9,
            base_timestamp: 1,
            max_timestamp: 2,
            producer_id: 5,
            producer_epoch: 6,
            base_sequence: 8,
            records_count,
        }
    }

    #[test]
    fn a_built_batch_parses_to_what_it_was_built_from() {
        let view = BatchView::parse(build_batch(header(1), b"records")).unwrap();
        assert!(view.verify_crc());
        assert_eq!(&view.records()[..], b"records");
        assert_eq!(view.header.last_offset(), 16);
        assert_eq!(view.header.compression(), 4);
        assert!(view.header.is_hidden());
        assert!(!view.header.is_fire());
        assert_eq!(
            BatchHeader::parse(&view.header.encode()).unwrap(),
            view.header
        );
    }

    #[test]
    fn stamping_offset_and_epoch_keeps_the_checksum() {
        let mut bytes = build_batch(header(1), b"records").to_vec();
        bytes[0..8].copy_from_slice(&99i64.to_be_bytes());
        bytes[12..16].copy_from_slice(&4i32.to_be_bytes());
        assert!(BatchView::parse(bytes.into()).unwrap().verify_crc());
    }

    #[test]
    fn a_legacy_message_is_named_by_its_magic() {
        let mut bytes = [0; 40];
        bytes[16] = 1;
        assert_eq!(BatchHeader::parse(&bytes), Err(BatchError::Magic(1)));
    }

    #[test]
    fn bytes_after_the_batch_are_refused() {
        let mut bytes = build_batch(header(1), b"records").to_vec();
        bytes.push(0);
        assert_eq!(
            BatchView::parse(bytes.into()).unwrap_err(),
            BatchError::Trailing(1)
        );
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_refuse_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = BatchView::parse(bytes.into()).map(|v| v.verify_crc());
        }
    }
}
