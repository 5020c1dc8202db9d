//! The flexible form of requests that the codec does not have. The guard has walked them.

use bytes::{Buf, Bytes};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

/// Fields, one after another; `None` where the bytes end too soon.
pub(crate) struct Fields(Bytes);

impl Fields {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.0.try_get_i16().ok()
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.0.try_get_i32().ok()
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.0.try_get_i64().ok()
    }

    pub(crate) fn uuid(&mut self) -> Option<Uuid> {
        self.0.try_get_u128().ok().map(Uuid::from_u128)
    }

    fn varint(&mut self) -> Option<usize> {
        let mut n = 0usize;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            n |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    #[expect(clippy::option_option, reason = "cut off, null, or there")]
    pub(crate) fn nullable_string(&mut self) -> Option<Option<StrBytes>> {
        let Some(len) = self.varint()?.checked_sub(1) else {
            return Some(None);
        };
        if len > self.0.len() {
            return None;
        }
        StrBytes::try_from(self.0.split_to(len)).ok().map(Some)
    }

    pub(crate) fn string(&mut self) -> Option<StrBytes> {
        self.nullable_string()?
    }

    /// The inner `None` is a null array.
    #[expect(clippy::option_option, reason = "cut off, null, or there")]
    pub(crate) fn array<T>(
        &mut self,
        each: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Option<Vec<T>>> {
        let Some(len) = self.varint()?.checked_sub(1) else {
            return Some(None);
        };
        // Nothing is allocated for what is announced and not there.
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(each(self)?);
        }
        Some(Some(items))
    }

    pub(crate) fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let len = self.varint()?;
            if len > self.0.len() {
                return None;
            }
            self.0.advance(len);
        }
        Some(())
    }
}
