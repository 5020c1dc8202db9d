//! Control batches: the marker that ends a transaction in a partition.
//!
//! ```text
//! batch   attributes transactional and control, producer id and epoch, no sequence, one record
//!   key     version i16 (0) | type i16: 0 abort, 1 commit
//!   value   version i16 (0) | coordinator epoch i32
//! ```
//! Source: Apache Kafka, `EndTransactionMarker`, `ControlRecordType`.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{
    batch::{ATTR_CONTROL, ATTR_TRANSACTIONAL, BatchHeader, BatchView, MAGIC_V2, seal_header},
    log::Frame,
    record::{Record, RecordIter},
};

const VERSION: i16 = 0;
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

/// How a transaction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerKind {
    /// What it wrote is not seen by those who read what is committed.
    Abort,
    /// What it wrote counts.
    Commit,
}

/// The end of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// How.
    pub kind: MarkerKind,
    /// Of the coordinator that wrote it: an older one is fenced.
    pub coordinator_epoch: i32,
    /// Which version of transactions the producer speaks (KIP-890); not in the log, 0 where it is read from there.
    pub transaction_version: i16,
}

impl Marker {
    /// The batch, as it is appended.
    pub fn frame(self, producer_id: i64, producer_epoch: i16, now_ms: i64) -> Frame {
        let kind = match self.kind {
            MarkerKind::Abort => ABORT,
            MarkerKind::Commit => COMMIT,
        };
        let mut key = BytesMut::with_capacity(4);
        key.put_i16(VERSION);
        key.put_i16(kind);
        let mut value = BytesMut::with_capacity(6);
        value.put_i16(VERSION);
        value.put_i32(self.coordinator_epoch);
        let mut body = Vec::with_capacity(24);
        Record {
            key: Some(key.freeze()),
            value: Some(value.freeze()),
            ..Record::default()
        }
        .encode(&mut body);
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            leader_epoch: 0,
            magic: MAGIC_V2,
            crc: 0,
            attributes: ATTR_TRANSACTIONAL | ATTR_CONTROL,
            last_offset_delta: 0,
            base_timestamp: now_ms,
            max_timestamp: now_ms,
            producer_id,
            producer_epoch,
            base_sequence: -1,
            records_count: 1,
        };
        Frame {
            header: seal_header(header, &body),
            body: body.into(),
        }
    }

    /// Reads a control batch; `None` where it is no marker.
    pub fn read(batch: &BatchView) -> Option<Self> {
        Self::read_body(&batch.header, &batch.records())
    }

    /// The same, of the bytes behind the header.
    pub fn read_body(header: &BatchHeader, body: &Bytes) -> Option<Self> {
        if !header.is_control() {
            return None;
        }
        let record = RecordIter::new(body.clone(), 1).next()?.ok()?;
        let (mut key, mut value) = (record.key?, record.value?);
        if key.remaining() < 4 || value.remaining() < 6 {
            return None;
        }
        key.get_i16();
        let kind = match key.get_i16() {
            ABORT => MarkerKind::Abort,
            COMMIT => MarkerKind::Commit,
            _ => return None,
        };
        value.get_i16();
        Some(Self {
            kind,
            coordinator_epoch: value.get_i32(),
            transaction_version: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::build_batch;

    #[test]
    fn a_marker_reads_back() {
        for kind in [MarkerKind::Abort, MarkerKind::Commit] {
            let marker = Marker {
                kind,
                coordinator_epoch: 7,
                transaction_version: 0,
            };
            let frame = marker.frame(5, 3, 1_000);
            let batch = BatchView::parse(build_batch(frame.header, &frame.body)).unwrap();
            assert!(batch.verify_crc() && batch.header.is_transactional());
            assert_eq!(
                (batch.header.producer_id, batch.header.producer_epoch),
                (5, 3)
            );
            assert_eq!(Marker::read(&batch), Some(marker));
            let data = BatchHeader {
                attributes: 0,
                ..frame.header
            };
            let data = BatchView::parse(build_batch(data, &frame.body)).unwrap();
            assert_eq!(Marker::read(&data), None);
        }
    }
}
