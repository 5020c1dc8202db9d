//! A request after its length: header, version, body, of every API and version that is answered.
#![no_main]

use bytes::Bytes;
use kafka_compat::{api_table, header::RequestHeader, request::RequestBody};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut frame = Bytes::copy_from_slice(data);
    let Ok(header) = RequestHeader::take(&mut frame) else {
        return;
    };
    if let Some(row) = api_table::find(header.api_key)
        && (row.min..=row.max).contains(&header.version)
    {
        let _ = RequestBody::decode(row.key, header.version, frame);
    }
});
