//! The fields of values of internal topics in Kafka's flexible forms (KIP-482): lengths are one more than they are, as varints,
//! and every structure ends with its tagged fields.

use bytes::{Buf, BufMut, Bytes};
use uuid::Uuid;

/// Longer varints than this are none of 32 bits.
const VARINT_BYTES_MAX: u32 = 5;

/// Writes fields one after another.
#[derive(Debug, Default)]
pub struct FlexWriter(Vec<u8>);

impl FlexWriter {
    /// An 8-bit integer.
    #[must_use]
    pub fn i8(mut self, n: i8) -> Self {
        self.0.put_i8(n);
        self
    }

    /// A 16-bit integer: also the version that every value opens with.
    #[must_use]
    pub fn i16(mut self, n: i16) -> Self {
        self.0.put_i16(n);
        self
    }

    /// A 32-bit integer.
    #[must_use]
    pub fn i32(mut self, n: i32) -> Self {
        self.0.put_i32(n);
        self
    }

    /// A 64-bit integer.
    #[must_use]
    pub fn i64(mut self, n: i64) -> Self {
        self.0.put_i64(n);
        self
    }

    /// A UUID.
    #[must_use]
    pub fn uuid(mut self, id: Uuid) -> Self {
        self.0.put_slice(id.as_bytes());
        self
    }

    /// A string.
    #[must_use]
    pub fn string(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// A string, or null.
    #[must_use]
    pub fn nullable_string(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.string(text),
            None => self.varint(0),
        }
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Self {
        let mut out = self.len(bytes.len());
        out.0.put_slice(bytes);
        out
    }

    /// How many elements follow.
    #[must_use]
    pub fn len(self, count: usize) -> Self {
        self.varint(u32::try_from(count).unwrap_or(u32::MAX - 1) + 1)
    }

    /// An array, each element written by `each`.
    #[must_use]
    pub fn array<T>(
        self,
        elements: impl ExactSizeIterator<Item = T>,
        each: impl Fn(Self, T) -> Self,
    ) -> Self {
        let out = self.len(elements.len());
        elements.fold(out, each)
    }

    /// An unsigned number: tags and their count.
    #[must_use]
    pub fn varint(mut self, mut n: u32) -> Self {
        while n >= 0x80 {
            self.0.put_u8(n.to_le_bytes()[0] | 0x80);
            n >>= 7;
        }
        self.0.put_u8(n.to_le_bytes()[0]);
        self
    }

    /// The end of a structure, with its tagged fields in the order of their tags.
    #[must_use]
    pub fn tags(self, fields: impl IntoIterator<Item = (u32, Bytes)>) -> Self {
        let fields: Vec<_> = fields.into_iter().collect();
        let count = u32::try_from(fields.len()).unwrap_or(u32::MAX);
        fields
            .into_iter()
            .fold(self.varint(count), |out, (tag, value)| {
                let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
                let mut out = out.varint(tag).varint(len);
                out.0.put_slice(&value);
                out
            })
    }

    /// All of it.
    pub fn finish(self) -> Bytes {
        self.0.into()
    }
}

/// Reads fields one after another; `None` where the bytes end too soon, or are no such field.
#[derive(Debug)]
pub struct FlexReader(Bytes);

impl FlexReader {
    /// Over a value.
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

    /// A UUID.
    pub fn uuid(&mut self) -> Option<Uuid> {
        Uuid::from_slice(&self.take(16)?).ok()
    }

    /// A string.
    pub fn string(&mut self) -> Option<String> {
        self.nullable_string()?
    }

    /// A string, or null.
    #[expect(clippy::option_option, reason = "cut off, null, or there")]
    pub fn nullable_string(&mut self) -> Option<Option<String>> {
        match self.varint()?.checked_sub(1) {
            None => Some(None),
            Some(len) => {
                let bytes = self.take(usize::try_from(len).ok()?)?;
                Some(Some(String::from_utf8(bytes.to_vec()).ok()?))
            }
        }
    }

    /// Bytes, copied: the batch that they came in is not kept.
    pub fn bytes(&mut self) -> Option<Bytes> {
        let len = self.varint()?.checked_sub(1)?;
        let bytes = self.take(usize::try_from(len).ok()?)?;
        Some(Bytes::copy_from_slice(&bytes))
    }

    /// An array, each element read by `each`; null reads as empty.
    pub fn array<T>(&mut self, each: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.varint()?.saturating_sub(1);
        (0..count).map(|_| each(self)).collect()
    }

    /// An unsigned number.
    pub fn varint(&mut self) -> Option<u32> {
        let mut n = 0u32;
        for at in 0..VARINT_BYTES_MAX {
            let byte = self.0.try_get_u8().ok()?;
            n |= u32::from(byte & 0x7f).checked_shl(7 * at)?;
            if byte < 0x80 {
                return Some(n);
            }
        }
        None
    }

    /// The end of a structure: the value of the tagged field of that number, where it is there. Others are passed over.
    #[expect(clippy::option_option, reason = "cut off, not there, or there")]
    pub fn tags(&mut self, wanted: u32) -> Option<Option<Bytes>> {
        let fields = self.all_tags()?.into_iter();
        let mut found = fields.filter(|(tag, _)| *tag == wanted);
        Some(found.next_back().map(|(_, value)| value))
    }

    /// The end of a structure, with all its tagged fields.
    pub fn all_tags(&mut self) -> Option<Vec<(u32, Bytes)>> {
        let count = self.varint()?;
        let fields = (0..count).map(|_| {
            let tag = self.varint()?;
            let len = self.varint()?;
            Some((tag, self.take(usize::try_from(len).ok()?)?))
        });
        fields.collect()
    }

    fn take(&mut self, len: usize) -> Option<Bytes> {
        (len <= self.0.len()).then(|| self.0.split_to(len))
    }
}
