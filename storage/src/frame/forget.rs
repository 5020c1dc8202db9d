//! FORGET frames: read, and written.

use bytes::{Buf, BufMut, Bytes};

use super::{FORGET_VERSION, FrameError, KIND_FORGET, alone, kind, narrow, put_kind};
use crate::{
    batch::{BatchHeader, BatchView},
    units::TimestampMs,
};

/// A FORGET frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgetFrame {
    /// Who asked: makes a repeated request answer as the first one did.
    pub request_id: Bytes,
    /// Message ids that are free again from here on.
    pub message_ids: Vec<Bytes>,
}

impl ForgetFrame {
    /// Reads a FORGET frame; `None` for any other frame.
    pub fn parse(view: &BatchView) -> Result<Option<Self>, FrameError> {
        if !view.header.is_hidden() {
            return Ok(None);
        }
        let mut b = view.records();
        if kind(&mut b)? != KIND_FORGET {
            return Ok(None);
        }
        let request_id = sized(&mut b)?;
        if b.remaining() < 4 {
            return Err(FrameError::Cut);
        }
        let count = b.get_u32() as usize;
        // An id takes three bytes or more.
        let mut message_ids = Vec::with_capacity(count.min(b.remaining() / 3));
        for _ in 0..count {
            message_ids.push(sized(&mut b)?);
        }
        Ok(Some(Self {
            request_id,
            message_ids,
        }))
    }

    /// As a frame of its own.
    pub fn into_frame(self, now: TimestampMs) -> (BatchHeader, Bytes) {
        let body = self.encode();
        (alone(&body, self.message_ids.len(), now), body)
    }

    fn encode(&self) -> Bytes {
        let mut body = Vec::new();
        put_kind(&mut body, KIND_FORGET, FORGET_VERSION);
        put_sized(&mut body, &self.request_id);
        body.put_u32(narrow(self.message_ids.len()));
        for id in &self.message_ids {
            put_sized(&mut body, id);
        }
        body.into()
    }
}

fn sized(b: &mut Bytes) -> Result<Bytes, FrameError> {
    if b.remaining() < 2 {
        return Err(FrameError::Cut);
    }
    let len = usize::from(b.get_u16());
    if b.remaining() < len {
        return Err(FrameError::Cut);
    }
    Ok(b.split_to(len))
}

fn put_sized(body: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    body.put_u16(len);
    body.put_slice(bytes.get(..usize::from(len)).unwrap_or(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::build_batch;

    #[test]
    fn what_is_forgotten_is_read_again() {
        let frame = ForgetFrame {
            request_id: Bytes::from("r1"),
            message_ids: vec![Bytes::from("a"), Bytes::from(vec![7; 256])],
        };
        let (header, body) = frame.clone().into_frame(TimestampMs(9));
        assert_eq!((header.records_count, header.last_offset_delta), (2, 0));
        let view = BatchView::parse(build_batch(header, &body)).unwrap();
        assert_eq!(ForgetFrame::parse(&view), Ok(Some(frame)));
        let cut = BatchView::parse(build_batch(header, &body.slice(..body.len() - 1))).unwrap();
        assert_eq!(ForgetFrame::parse(&cut), Err(FrameError::Cut));
    }
}
