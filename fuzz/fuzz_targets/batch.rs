//! A producer's batch: header, records, codecs, held records. Length and checksum are put right, so that what is behind them is
//! reached; what was accepted must be readable.
#![no_main]

use bytes::Bytes;
use kafka_compat::{
    message_ids::MessageIdHash,
    records::{self, RecordRules},
};
use libfuzzer_sys::fuzz_target;
use storage::batch::{BatchHeader, HEADER_LEN, build_batch};

const NOW_MS: i64 = 1_800_000_000_000;

fuzz_target!(|data: &[u8]| {
    let rules = RecordRules {
        produce_version: 13,
        max_message_bytes: 1 << 20,
        inspect: true,
        message_ids: Some(MessageIdHash { key: [7; 16] }),
        aliases: [].into(),
        now_ms: NOW_MS,
        max_delay_ms: 366 * 86_400_000,
        log_append_time: false,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        keys_of: None,
        codec: None,
    };
    let _ = records::check_produce(Some(Bytes::copy_from_slice(data)), &rules);
    let Ok(header) = BatchHeader::parse(data) else {
        return;
    };
    let batch = build_batch(header, data.get(HEADER_LEN..).unwrap_or_default());
    let Ok(checked) = records::check_produce(Some(batch), &rules) else {
        return;
    };
    if let Some((place, _)) = checked.ids.found.first() {
        let left = records::leave_out(&checked.ids, &[*place], &rules);
        let held = left.expect("what was accepted can be split").held;
        let rest = held.expect("something was left out").rest;
        if let Some(rest) = rest {
            let decoded = records::decode(&rest).expect("what is left can be read");
            assert!(decoded.iter().all(|record| record.offset_delta != *place));
        }
    }
    if checked.held.is_none() {
        let decoded = records::decode(&checked.batch).expect("what is accepted can be read");
        assert_eq!(
            decoded.len(),
            usize::try_from(checked.batch.header.records_count).unwrap()
        );
        let _ = records::first_record_at_or_after(&checked.batch, NOW_MS, 0);
        let _ = records::first_record_with_max_timestamp(&checked.batch);
    }
});
