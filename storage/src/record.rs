//! A record of a v2 batch: read one at a time from uncompressed bytes, and written.
//!
//! ```text
//! length          varint   bytes after this field
//! attributes      i8       unused
//! timestampDelta  varlong  to the batch's base timestamp
//! offsetDelta     varint   to the batch's base offset
//! key             varint length (-1 null), bytes
//! value           varint length (-1 null), bytes
//! headers         varint count, each: varint length, key bytes, varint length (-1 null), bytes
//! ```
//! Varints are zig-zag. Keys may repeat among headers, and their order counts, so headers stay a list.
//! Source: Apache Kafka, `DefaultRecord`.

use bytes::{Buf, Bytes};
use thiserror::Error;

/// What a record may lack.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// The bytes end inside a record.
    #[error("record is cut off")]
    Cut,
    /// A varint of more than 5 bytes, or a varlong of more than 10.
    #[error("varint is too long")]
    Varint,
    /// A negative length where none is allowed, or one past the record's end.
    #[error("record has a field of length {0}")]
    Length(i64),
    /// Fewer or more bytes than the record's own length announced.
    #[error("record of announced length {announced} takes {taken} bytes")]
    Size {
        /// From the length field.
        announced: usize,
        /// By its fields.
        taken: usize,
    },
    /// Bytes are left after the last announced record.
    #[error("{0} bytes follow the last record")]
    Trailing(usize),
}

/// One record; key, value and headers are slices of the batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Unused by Kafka; kept.
    pub attributes: i8,
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Places after the batch's base offset.
    pub offset_delta: i32,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// Headers in order; keys may repeat.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

impl Record {
    /// Appends the record's wire form.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varlong(out, i64::try_from(self.body_len()).unwrap_or(i64::MAX));
        out.push(self.attributes.cast_unsigned());
        put_varlong(out, self.timestamp_delta);
        put_varlong(out, i64::from(self.offset_delta));
        put_nullable(out, self.key.as_ref());
        put_nullable(out, self.value.as_ref());
        put_len(out, self.headers.len());
        for (key, value) in &self.headers {
            put_nullable(out, Some(key));
            put_nullable(out, value.as_ref());
        }
    }

    /// Bytes that [`Record::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        let body = self.body_len();
        varlong_len(i64::try_from(body).unwrap_or(i64::MAX)) + body
    }

    /// The last header of that name, as Kafka's `lastHeader`.
    pub fn last_header(&self, name: &str) -> Option<&Option<Bytes>> {
        self.headers
            .iter()
            .rev()
            .find(|(key, _)| key == name.as_bytes())
            .map(|(_, value)| value)
    }

    fn body_len(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(key, value)| nullable_len(Some(key)) + nullable_len(value.as_ref()))
            .sum();
        1 + varlong_len(self.timestamp_delta)
            + varlong_len(i64::from(self.offset_delta))
            + nullable_len(self.key.as_ref())
            + nullable_len(self.value.as_ref())
            + varlong_len(i64::try_from(self.headers.len()).unwrap_or(i64::MAX))
            + headers
    }
}

/// Reads `count` records from uncompressed bytes, then checks that nothing follows. Fused after an error.
#[derive(Clone, Debug)]
pub struct RecordIter {
    rest: Bytes,
    left: i32,
    done: bool,
}

impl RecordIter {
    /// Over the bytes after a batch's header, which announced `count` records.
    pub fn new(records: Bytes, count: i32) -> Self {
        Self {
            rest: records,
            left: count,
            done: false,
        }
    }
}

impl Iterator for RecordIter {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.left <= 0 {
            self.done = true;
            let trailing = self.rest.len();
            return (trailing > 0).then_some(Err(RecordError::Trailing(trailing)));
        }
        self.left -= 1;
        let record = read_record(&mut self.rest);
        self.done = record.is_err();
        Some(record)
    }
}

fn read_record(rest: &mut Bytes) -> Result<Record, RecordError> {
    let announced = read_len(rest)?;
    let mut body = rest.split_to(announced);
    if !body.has_remaining() {
        return Err(RecordError::Cut);
    }
    let attributes = body.get_i8();
    let timestamp_delta = read_varlong(&mut body)?;
    let offset_delta = read_varint(&mut body)?;
    let key = read_nullable(&mut body)?;
    let value = read_nullable(&mut body)?;
    let count = read_varint(&mut body)?;
    // Each header takes at least two bytes: an announced count never allocates more than what is there.
    let count = usize::try_from(count)
        .ok()
        .filter(|n| *n <= body.len() / 2)
        .ok_or(RecordError::Length(i64::from(count)))?;
    let mut headers = Vec::with_capacity(count);
    for _ in 0..count {
        let name = read_nullable(&mut body)?.ok_or(RecordError::Length(-1))?;
        headers.push((name, read_nullable(&mut body)?));
    }
    if body.has_remaining() {
        return Err(RecordError::Size {
            announced,
            taken: announced - body.len(),
        });
    }
    Ok(Record {
        attributes,
        timestamp_delta,
        offset_delta,
        key,
        value,
        headers,
    })
}

fn read_nullable(from: &mut Bytes) -> Result<Option<Bytes>, RecordError> {
    let len = read_varint(from)?;
    if len == -1 {
        return Ok(None);
    }
    let len = checked_len(len, from.len())?;
    Ok(Some(from.split_to(len)))
}

fn read_len(from: &mut Bytes) -> Result<usize, RecordError> {
    let len = read_varint(from)?;
    if len > 0 && usize::try_from(len).is_ok_and(|n| n > from.len()) {
        return Err(RecordError::Cut);
    }
    checked_len(len, from.len())
}

fn checked_len(len: i32, available: usize) -> Result<usize, RecordError> {
    usize::try_from(len)
        .ok()
        .filter(|n| *n <= available)
        .ok_or(RecordError::Length(i64::from(len)))
}

/// Reads a zig-zag varint of at most 5 bytes.
pub fn read_varint(from: &mut Bytes) -> Result<i32, RecordError> {
    let raw = read_raw(from, 5)?;
    let raw = u32::try_from(raw).map_err(|_| RecordError::Varint)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads a zig-zag varlong of at most 10 bytes.
pub fn read_varlong(from: &mut Bytes) -> Result<i64, RecordError> {
    let raw = read_raw(from, 10)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

fn read_raw(from: &mut Bytes, bytes_max: u32) -> Result<u64, RecordError> {
    let mut raw = 0u64;
    for i in 0..bytes_max {
        if !from.has_remaining() {
            return Err(RecordError::Cut);
        }
        let byte = from.get_u8();
        raw |= u64::from(byte & 0x7f) << (7 * i).min(63);
        if byte & 0x80 == 0 {
            return Ok(raw);
        }
    }
    Err(RecordError::Varint)
}

/// Appends a zig-zag varint or varlong: they are written alike.
pub fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut raw = zigzag(value);
    while raw >= 0x80 {
        out.push((raw & 0x7f) as u8 | 0x80);
        raw >>= 7;
    }
    out.push((raw & 0x7f) as u8);
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    put_varlong(out, i64::try_from(len).unwrap_or(i64::MAX));
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&Bytes>) {
    match bytes {
        None => put_varlong(out, -1),
        Some(bytes) => {
            put_len(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}

fn nullable_len(bytes: Option<&Bytes>) -> usize {
    bytes.map_or(1, |b| {
        varlong_len(i64::try_from(b.len()).unwrap_or(i64::MAX)) + b.len()
    })
}

fn varlong_len(value: i64) -> usize {
    let bits = 64 - zigzag(value).leading_zeros() as usize;
    bits.div_ceil(7).max(1)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
    }

    fn record() -> impl Strategy<Value = Record> {
        (
            any::<i8>(),
            any::<i64>(),
            any::<i32>(),
            proptest::option::of(bytes()),
            proptest::option::of(bytes()),
            proptest::collection::vec((bytes(), proptest::option::of(bytes())), 0..4),
        )
            .prop_map(
                |(attributes, timestamp_delta, offset_delta, key, value, headers)| Record {
                    attributes,
                    timestamp_delta,
                    offset_delta,
                    key,
                    value,
                    headers,
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(records in proptest::collection::vec(record(), 0..5)) {
            let mut out = Vec::new();
            for r in &records {
                r.encode(&mut out);
            }
            let count = i32::try_from(records.len()).unwrap();
            let read: Result<Vec<_>, _> = RecordIter::new(out.into(), count).collect();
            prop_assert_eq!(read.unwrap(), records);
        }

        #[test]
        fn any_bytes_read_or_refuse_without_panic(b in bytes(), count in any::<i32>()) {
            let _ = RecordIter::new(b, count).take(1000).count();
        }
    }

    #[test]
    fn a_lying_header_count_is_refused_before_it_allocates() {
        let mut body = vec![0, 0, 0, 1, 1];
        put_varlong(&mut body, i64::from(i32::MAX));
        let mut out = Vec::new();
        put_varlong(&mut out, i64::try_from(body.len()).unwrap());
        out.extend(body);
        let read: Vec<_> = RecordIter::new(out.into(), 1).collect();
        assert_eq!(read, [Err(RecordError::Length(i64::from(i32::MAX)))]);
    }

    #[test]
    fn the_last_of_repeated_headers_wins() {
        let header = |v: &'static str| (Bytes::from("a"), Some(Bytes::from(v)));
        let record = Record {
            headers: vec![header("1"), header("2")],
            ..Record::default()
        };
        assert_eq!(record.last_header("a"), Some(&Some(Bytes::from("2"))));
        assert_eq!(record.last_header("b"), None);
    }
}
