//! The fields of values of internal topics, in Kafka's flexible forms (KIP-482): compact strings and arrays, tagged fields.

use bytes::{Buf, BufMut, Bytes};
use storage::units::TopicId;

/// Writes fields one after another.
#[derive(Debug, Default)]
pub struct FlexibleWriter(Vec<u8>);

impl FlexibleWriter {
    /// An 8-bit integer.
    pub fn i8(&mut self, n: i8) {
        self.0.put_i8(n);
    }

    /// A 16-bit integer: also the version that every value opens with.
    pub fn i16(&mut self, n: i16) {
        self.0.put_i16(n);
    }

    /// A 32-bit integer.
    pub fn i32(&mut self, n: i32) {
        self.0.put_i32(n);
    }

    /// A 64-bit integer.
    pub fn i64(&mut self, n: i64) {
        self.0.put_i64(n);
    }

    /// A topic's id.
    pub fn id(&mut self, id: TopicId) {
        self.0.put_u128(id.as_u128());
    }

    /// An unsigned varint.
    pub fn varint(&mut self, mut n: usize) {
        while n >= 0x80 {
            self.0.put_u8(u8::try_from(n & 0x7f).unwrap_or(0) | 0x80);
            n >>= 7;
        }
        self.0.put_u8(u8::try_from(n).unwrap_or(0));
    }

    /// How many items an array has, which follow.
    pub fn count(&mut self, items: usize) {
        self.varint(items + 1);
    }

    /// A null array or string.
    pub fn null(&mut self) {
        self.varint(0);
    }

    /// A string.
    pub fn string(&mut self, text: &str) {
        self.count(text.len());
        self.0.put_slice(text.as_bytes());
    }

    /// A string, or null.
    pub fn nullable_string(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None => self.null(),
        }
    }

    /// Bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.put_slice(bytes);
    }

    /// Tagged fields, in the order of their tags.
    pub fn tags(&mut self, tags: Vec<(usize, Bytes)>) {
        self.varint(tags.len());
        for (tag, field) in tags {
            self.varint(tag);
            self.varint(field.len());
            self.0.put_slice(&field);
        }
    }

    /// All of it.
    pub fn finish(self) -> Bytes {
        self.0.into()
    }
}

/// Reads fields one after another; `None` where the bytes end too soon, or are no such field.
#[derive(Debug)]
pub struct FlexibleReader(Bytes);

impl FlexibleReader {
    /// Over a value, or a tagged field.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// An 8-bit integer.
    pub fn i8(&mut self) -> Option<i8> {
        self.0.try_get_i8().ok()
    }

    /// A 16-bit integer.
    pub fn i16(&mut self) -> Option<i16> {
        self.0.try_get_i16().ok()
    }

    /// A 32-bit integer.
    pub fn i32(&mut self) -> Option<i32> {
        self.0.try_get_i32().ok()
    }

    /// A 64-bit integer.
    pub fn i64(&mut self) -> Option<i64> {
        self.0.try_get_i64().ok()
    }

    /// A topic's id.
    pub fn id(&mut self) -> Option<TopicId> {
        self.0.try_get_u128().ok().map(TopicId::from_u128)
    }

    /// An unsigned varint of 32 bits.
    pub fn varint(&mut self) -> Option<usize> {
        let mut n = 0usize;
        for shift in (0..35).step_by(7) {
            let byte = self.0.try_get_u8().ok()?;
            n |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    /// How many items an array has; none where it is null.
    pub fn count(&mut self) -> Option<usize> {
        Some(self.varint()?.saturating_sub(1))
    }

    /// A string.
    pub fn string(&mut self) -> Option<String> {
        self.nullable_string()?
    }

    /// A string, or null.
    #[expect(clippy::option_option, reason = "cut off, null, or there")]
    pub fn nullable_string(&mut self) -> Option<Option<String>> {
        let Some(len) = self.varint()?.checked_sub(1) else {
            return Some(None);
        };
        Some(Some(String::from_utf8(self.take(len)?.to_vec()).ok()?))
    }

    /// Bytes, copied: the batch that they came in is not kept.
    pub fn bytes(&mut self) -> Option<Bytes> {
        let len = self.count()?;
        Some(Bytes::copy_from_slice(&self.take(len)?))
    }

    /// Tagged fields.
    pub fn tags(&mut self) -> Option<Vec<(usize, Bytes)>> {
        let mut tags = Vec::new();
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let len = self.varint()?;
            tags.push((tag, self.take(len)?));
        }
        Some(tags)
    }

    fn take(&mut self, len: usize) -> Option<Bytes> {
        (len <= self.0.len()).then(|| self.0.split_to(len))
    }
}
