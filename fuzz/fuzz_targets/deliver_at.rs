//! The scheduling headers' values: text of a time or a duration.
#![no_main]

use bytes::Bytes;
use kafka_compat::record_headers::due_time;
use libfuzzer_sys::fuzz_target;
use storage::record::Record;

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
        if let Ok(Some(due)) = due_time(&record, &[], NOW_MS, MAX_DELAY_MS) {
            assert!(due.0 <= NOW_MS + MAX_DELAY_MS, "{due:?} is too far");
        }
    }
});
