//! Frames: a 4-byte length, then that many bytes.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// Bytes of the length.
pub const LENGTH_LEN: usize = 4;

/// Why a connection is closed without an answer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// A length below zero.
    #[error("frame length {0} is negative")]
    Negative(i32),
    /// A length above `socket.request.max.bytes`.
    #[error("frame length {len} is above socket.request.max.bytes {max}")]
    TooLarge {
        /// Announced.
        len: i32,
        /// Allowed.
        max: usize,
    },
}

/// Takes the next whole frame out of what was received; `None` where more bytes are needed.
pub fn take(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, FrameError> {
    let Some(mut length) = buffer.get(..LENGTH_LEN) else {
        return Ok(None);
    };
    let announced = length.get_i32();
    let len = usize::try_from(announced).map_err(|_| FrameError::Negative(announced))?;
    if len > max {
        return Err(FrameError::TooLarge {
            len: announced,
            max,
        });
    }
    if buffer.len() < LENGTH_LEN + len {
        return Ok(None);
    }
    buffer.advance(LENGTH_LEN);
    Ok(Some(buffer.split_to(len).freeze()))
}

/// Bytes that the frame in the buffer still lacks; 0 where its length is not there yet.
pub fn missing(buffer: &[u8]) -> usize {
    let Some(mut length) = buffer.get(..LENGTH_LEN) else {
        return 0;
    };
    let len = usize::try_from(length.get_i32()).unwrap_or(0);
    (LENGTH_LEN + len).saturating_sub(buffer.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_one_by_one_and_bad_lengths_refused() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, 7, 8, 0, 0, 0, 1][..]);
        assert_eq!(take(&mut buffer, 9), Ok(Some(Bytes::from_static(&[7, 8]))));
        assert_eq!(take(&mut buffer, 9), Ok(None));
        assert_eq!(missing(&[0, 0, 0, 9, 1]), 8);
        assert_eq!((missing(&[0, 0, 0]), missing(&[0, 0, 0, 1, 1])), (0, 0));
        let bad = |bytes: &[u8]| take(&mut BytesMut::from(bytes), 9);
        assert_eq!(
            bad(&[0xff, 0xff, 0xff, 0xff]),
            Err(FrameError::Negative(-1))
        );
        assert_eq!(
            bad(&[0, 0, 0, 10]),
            Err(FrameError::TooLarge { len: 10, max: 9 })
        );
    }
}
