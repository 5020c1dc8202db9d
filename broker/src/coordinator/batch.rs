//! Records of an internal topic as a batch, and back.

use storage::{
    batch::{ATTR_TRANSACTIONAL, BatchHeader, BatchView, MAGIC_V2, seal_header},
    log::Frame,
    record::{Record, RecordIter},
};

use super::{KeyValue, Producer};

/// Uncompressed; of a transaction where there is a producer.
pub(super) fn encode(records: &[KeyValue], producer: Option<Producer>, now_ms: i64) -> Frame {
    let mut body = Vec::new();
    for (delta, KeyValue { key, value }) in (0i32..).zip(records) {
        Record {
            offset_delta: delta,
            key: Some(key.clone()),
            value: value.clone(),
            ..Record::default()
        }
        .encode(&mut body);
    }
    let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        leader_epoch: 0,
        magic: MAGIC_V2,
        crc: 0,
        attributes: producer.map_or(0, |_| ATTR_TRANSACTIONAL),
        last_offset_delta: count - 1,
        base_timestamp: now_ms,
        max_timestamp: now_ms,
        producer_id: producer.map_or(-1, |p| p.id),
        producer_epoch: producer.map_or(-1, |p| p.epoch),
        base_sequence: -1,
        records_count: count,
    };
    Frame {
        header: seal_header(header, &body),
        body: body.into(),
    }
}

/// `None` where a record cannot be read. Records without a key say nothing.
pub(super) fn decode(batch: &BatchView) -> Option<Vec<KeyValue>> {
    let plain = kafka_compat::records::plain(batch).ok()?;
    let records = RecordIter::new(plain, batch.header.records_count);
    let said = |record: Record| {
        let key = record.key?;
        Some(KeyValue {
            key,
            value: record.value,
        })
    };
    let records: Vec<_> = records.collect::<Result<_, _>>().ok()?;
    Some(records.into_iter().filter_map(said).collect())
}
