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

/// A record as it lies in its batch, for those who copy it: nothing is allocated.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    /// Unused by Kafka; kept.
    pub attributes: i8,
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Places after the batch's base offset.
    pub offset_delta: i32,
    /// Key and value, each with its length before it.
    pub key_and_value: &'a [u8],
    /// All of it.
    pub encoded: &'a [u8],
    header_count: usize,
    headers: &'a [u8],
}

/// A header of a record as it lies in its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderRef<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Both, each with its length before it.
    pub encoded: &'a [u8],
}

impl<'a> RecordRef<'a> {
    /// The record that the bytes begin with. Its headers are not looked at yet.
    pub fn read(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut rest = bytes;
        let announced = read_varint(&mut rest)?;
        let announced = len_of_record(announced, rest.len())?;
        let mut body = rest.get(..announced).ok_or(RecordError::Cut)?;
        let encoded = bytes.len() - rest.len() + announced;
        if body.is_empty() {
            return Err(RecordError::Cut);
        }
        let attributes = body.get_i8();
        let timestamp_delta = read_varlong(&mut body)?;
        let offset_delta = read_varint(&mut body)?;
        let from_key = body;
        read_nullable_slice(&mut body)?;
        read_nullable_slice(&mut body)?;
        let taken = from_key.len() - body.len();
        let count = read_varint(&mut body)?;
        Ok(Self {
            attributes,
            timestamp_delta,
            offset_delta,
            key_and_value: from_key.get(..taken).unwrap_or_default(),
            encoded: bytes.get(..encoded).unwrap_or_default(),
            header_count: usize::try_from(count)
                .map_err(|_| RecordError::Length(i64::from(count)))?,
            headers: body,
        })
    }

    /// Its key.
    pub fn key(&self) -> Option<&'a [u8]> {
        let mut from = self.key_and_value;
        read_nullable_slice(&mut from).ok().flatten()
    }

    /// Whether it has no value: compaction takes it for the end of its key.
    pub fn is_tombstone(&self) -> bool {
        let mut from = self.key_and_value;
        let value = read_nullable_slice(&mut from).and_then(|_| read_nullable_slice(&mut from));
        matches!(value, Ok(None))
    }

    /// How many headers it has, and all of them as they lie there.
    pub fn encoded_headers(&self) -> (usize, &'a [u8]) {
        (self.header_count, self.headers)
    }

    /// Its headers, in order. Fused after an error; the last one checks that nothing follows.
    pub fn headers(&self) -> impl Iterator<Item = Result<HeaderRef<'a>, RecordError>> + use<'a> {
        let (mut left, mut rest) = (self.header_count, self.headers);
        std::iter::from_fn(move || {
            if left == 0 {
                let follows = std::mem::take(&mut rest).len();
                return (follows > 0).then_some(Err(RecordError::Trailing(follows)));
            }
            left -= 1;
            let header = read_header(&mut rest);
            if header.is_err() {
                (left, rest) = (0, &[]);
            }
            Some(header)
        })
    }
}

impl RecordRef<'_> {
    /// Appends the record with other deltas and other headers: `header_count` of them, as [`put_header`] writes them.
    pub fn encode_with(
        &self,
        timestamp_delta: i64,
        offset_delta: i32,
        (header_count, headers): (usize, &[u8]),
        out: &mut Vec<u8>,
    ) {
        let count = i64::try_from(header_count).unwrap_or(i64::MAX);
        let len = 1
            + varlong_len(timestamp_delta)
            + varlong_len(i64::from(offset_delta))
            + self.key_and_value.len()
            + varlong_len(count)
            + headers.len();
        put_len(out, len);
        out.push(self.attributes.cast_unsigned());
        put_varlong(out, timestamp_delta);
        put_varlong(out, i64::from(offset_delta));
        out.extend_from_slice(self.key_and_value);
        put_varlong(out, count);
        out.extend_from_slice(headers);
    }
}

/// Appends a header.
pub fn put_header(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, value] {
        put_len(out, part.len());
        out.extend_from_slice(part);
    }
}

fn read_header<'a>(rest: &mut &'a [u8]) -> Result<HeaderRef<'a>, RecordError> {
    let from = *rest;
    let name = read_nullable_slice(rest)?.ok_or(RecordError::Length(-1))?;
    let value = read_nullable_slice(rest)?;
    let encoded = from.get(..from.len() - rest.len()).unwrap_or_default();
    Ok(HeaderRef {
        name,
        value,
        encoded,
    })
}

fn read_nullable_slice<'a>(from: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    let len = read_varint(from)?;
    if len == -1 {
        return Ok(None);
    }
    let (taken, rest) = from
        .split_at_checked(checked_len(len, from.len())?)
        .unwrap_or_default();
    *from = rest;
    Ok(Some(taken))
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
    len_of_record(len, from.len())
}

fn len_of_record(len: i32, available: usize) -> Result<usize, RecordError> {
    if usize::try_from(len).is_ok_and(|n| n > available) {
        return Err(RecordError::Cut);
    }
    checked_len(len, available)
}

fn checked_len(len: i32, available: usize) -> Result<usize, RecordError> {
    usize::try_from(len)
        .ok()
        .filter(|n| *n <= available)
        .ok_or(RecordError::Length(i64::from(len)))
}

/// Reads a zig-zag varint of at most 5 bytes.
pub fn read_varint(from: &mut impl Buf) -> Result<i32, RecordError> {
    let raw = read_raw(from, 5)?;
    let raw = u32::try_from(raw).map_err(|_| RecordError::Varint)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

/// Reads a zig-zag varlong of at most 10 bytes.
pub fn read_varlong(from: &mut impl Buf) -> Result<i64, RecordError> {
    let raw = read_raw(from, 10)?;
    Ok((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed())
}

fn read_raw(from: &mut impl Buf, bytes_max: u32) -> Result<u64, RecordError> {
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

        /// A record that is copied with other deltas and headers is what encoding it anew gives.
        #[test]
        fn what_is_copied_is_as_if_encoded(record in record(), deltas in any::<(i64, i32)>(), cut in 0..9usize) {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            bytes.extend_from_slice(b"more");
            let read = RecordRef::read(&bytes).unwrap();
            prop_assert_eq!(read.timestamp_delta, record.timestamp_delta);
            prop_assert_eq!(read.offset_delta, record.offset_delta);
            let mut headers = Vec::new();
            let mut count = 0;
            for (header, (name, value)) in read.headers().zip(&record.headers) {
                let header = header.unwrap();
                prop_assert_eq!(header.name, &name[..]);
                prop_assert_eq!(header.value, value.as_deref());
                headers.extend_from_slice(header.encoded);
                count += 1;
            }
            prop_assert_eq!(read.headers().count(), record.headers.len());
            put_header(&mut headers, b"n", b"v");
            let mut copied = Vec::new();
            read.encode_with(deltas.0, deltas.1, (count + 1, &headers), &mut copied);
            let mut expected = Record { timestamp_delta: deltas.0, offset_delta: deltas.1, ..record };
            expected.headers.push((Bytes::from_static(b"n"), Some(Bytes::from_static(b"v"))));
            let mut encoded = Vec::new();
            expected.encode(&mut encoded);
            prop_assert_eq!(copied, encoded);
            // Bytes that are cut off are refused, here or by the headers.
            let cut = &bytes[..bytes.len() - 4 - cut.min(bytes.len() - 4)];
            let whole = RecordRef::read(cut).is_ok_and(|read| read.headers().all(|h| h.is_ok()));
            prop_assert_eq!(whole, cut.len() == bytes.len() - 4);
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
