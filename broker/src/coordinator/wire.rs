//! The fields of keys and values of internal topics, in Kafka's inflexible forms.

use bytes::{Buf, BufMut, Bytes};

/// Writes fields one after another.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A 16-bit integer: also the version that every key and value opens with.
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

    /// A string of at most 32767 bytes; a longer one is cut, which callers rule out.
    #[must_use]
    pub fn string(mut self, text: &str) -> Self {
        let len = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.0.put_i16(len);
        let taken = text.as_bytes().get(..usize::from(len.unsigned_abs()));
        self.0.put_slice(taken.unwrap_or_default());
        self
    }

    /// A string, or null.
    #[must_use]
    pub fn nullable_string(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.string(text),
            None => self.i16(-1),
        }
    }

    /// Bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0
            .put_i32(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        self.0.put_slice(bytes);
        self
    }

    /// All of it.
    pub fn finish(self) -> Bytes {
        self.0.into()
    }
}

/// Reads fields one after another; `None` where the bytes end too soon, or are no such field.
#[derive(Debug)]
pub struct Reader(Bytes);

impl Reader {
    /// Over a key or a value.
    pub fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// An unsigned byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
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

    /// A string.
    pub fn string(&mut self) -> Option<String> {
        self.nullable_string()?
    }

    /// A string, or null.
    #[expect(clippy::option_option, reason = "cut off, null, or there")]
    pub fn nullable_string(&mut self) -> Option<Option<String>> {
        let len = self.i16()?;
        if len == -1 {
            return Some(None);
        }
        let bytes = self.take(usize::try_from(len).ok()?)?;
        Some(Some(String::from_utf8(bytes.to_vec()).ok()?))
    }

    /// Bytes, copied: the batch that they came in is not kept.
    pub fn bytes(&mut self) -> Option<Bytes> {
        let len = usize::try_from(self.i32()?).ok()?;
        Some(Bytes::copy_from_slice(&self.take(len)?))
    }

    fn take(&mut self, len: usize) -> Option<Bytes> {
        (len <= self.0.len()).then(|| self.0.split_to(len))
    }
}
