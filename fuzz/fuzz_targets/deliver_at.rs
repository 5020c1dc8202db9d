//! The scheduling headers' values: text of a time or a duration.
#![no_main]

use bytes::Bytes;
use kafka_compat::record_headers::Asked;
use libfuzzer_sys::fuzz_target;
use storage::record::{Record, RecordRef};

const NOW_MS: i64 = 1_800_000_000_000;
const MAX_DELAY_MS: i64 = 366 * 86_400_000;

fuzz_target!(|data: &[u8]| {
    for name in [
        "chronos-deliver-at",
        "chronos-deliver-after",
        "chronos-message-id",
    ] {
        let record = Record {
            headers: vec![(name.into(), Some(Bytes::copy_from_slice(data)))],
            ..Record::default()
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let record = RecordRef::read(&bytes).expect("it was just encoded");
        let asked = Asked::read(&record, &[]).expect("it was just encoded");
        if let Ok(Some(due)) = asked.due_time(&[], NOW_MS, MAX_DELAY_MS) {
            assert!(due.0 <= NOW_MS + MAX_DELAY_MS, "{due:?} is too far");
        }
    }
});
