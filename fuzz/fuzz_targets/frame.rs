//! A connection's bytes: frames are cut, headers read. Fed in two parts, as reads would.
#![no_main]

use bytes::BytesMut;
use kafka_compat::{frame, header::RequestHeader};
use libfuzzer_sys::fuzz_target;

const FRAME_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let (cut, data) = data.split_first().unwrap_or((&0, &[]));
    let (first, second) = data.split_at(usize::from(*cut).min(data.len()));
    let mut buffer = BytesMut::new();
    for part in [first, second] {
        buffer.extend_from_slice(part);
        while let Ok(Some(mut frame)) = frame::take(&mut buffer, FRAME_MAX) {
            let _ = RequestHeader::take(&mut frame);
        }
        let _ = frame::missing(&buffer);
    }
});
