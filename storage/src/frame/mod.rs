//! Hidden frames: what a log keeps that consumers never see. Formats are frozen; a change takes a new version byte.
//!
//! A hidden frame is a v2 batch with attribute bit 14. Its body opens with
//! ```text
//! 0  kind      u8   1 HOLD, 2 CANCEL, 3 FORGET
//! 1  version   u8   1; of CANCEL 2
//! 2  flags     u16  of HOLD: bit 0, records of it have a schedule key; bit 1, `answer_offset` is an offset of the log; else 0
//! ```
//! **HOLD** opens a unit: the frames that one produced batch became, written in one append, never split. Its batch
//! header has the produced batch's base offset, `lastOffsetDelta`, producer id, epoch, base sequence and timestamps: it
//! alone says how many offsets and sequences the batch took. `recordsCount` is the number of entries.
//! ```text
//!  4  following_bytes   u32  bytes of the frames that follow in this unit
//!  8  following_frames  u16
//! 10  reserved          u16  0
//! 12  answer_offset     i64  base offset answered to the producer, less this frame's base offset; where the batch had nothing
//!                            but copies of earlier records, the offset of the first of those (flags bit 1)
//! 20  id_base           i64  -1: ids count from this frame's base offset; else absolute (a carried HOLD)
//! 28  block_count       u32
//! 32  entries, 40 bytes each:
//!       id_delta  i64 | due i64 | created i64 | original_delta i64 (original offset less id base)
//!       | block u32 | position u32 (in the uncompressed block)
//!     blocks: codec u8 | stored u32 | raw u32 | crc32c of the stored bytes u32 | the stored bytes
//! ```
//! Records in a block are v2 records (see [`crate::record`]) one after another; `timestampDelta` counts from 0, so it is the
//! record's own timestamp. A block holds at most 16 KiB unless a single record is larger, so that a fire decodes one block.
//!
//! **CANCEL** settles or moves holds by the single writer's word.
//! ```text
//!  4  request_id_len    u16, bytes
//!  .  count             u32
//!  .  entries, 25 bytes each: schedule_id i64 | action u8 (1 cancelled, 2 rescheduled, 3 replaced by key)
//!       | due i64 (until then; version 1 lacks it) | new_due i64 (-1)
//! ```
//!
//! **FORGET** frees message ids: a record with one of them is no copy of what the log has before this frame.
//! ```text
//!  4  request_id_len    u16, bytes
//!  .  count             u32
//!  .  entries: length u16, the message id
//! ```

mod cancel;
mod forget;
mod hold;

use bytes::{Buf, BufMut};
use thiserror::Error;

pub(crate) use self::hold::{
    BLOCK_HEAD_LEN, Block, BlockHead, ENTRY_LEN, HOLD_HEAD_LEN, HoldHead, answer, read_entry,
};
pub use self::{
    cancel::{CancelAction, CancelEntry, CancelFrame},
    forget::ForgetFrame,
    hold::{BLOCK_BYTES_MAX, Hold, HoldEntry, HoldFrame, Holds},
};
use crate::{
    batch::{ATTR_HIDDEN, BatchHeader, MAGIC_V2, seal_header},
    units::TimestampMs,
};

const KIND_HOLD: u8 = 1;
const KIND_CANCEL: u8 = 2;
const KIND_FORGET: u8 = 3;
const HOLD_VERSION: u8 = 1;
const CANCEL_VERSION: u8 = 2;
const CANCEL_VERSION_1: u8 = 1;
const FORGET_VERSION: u8 = 1;

/// Why a hidden frame cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// The body ends too soon.
    #[error("hidden frame is cut off")]
    Cut,
    /// A kind or version of a later release.
    #[error("hidden frame of kind {kind} version {version} is unknown to this release")]
    Unknown {
        /// The kind byte.
        kind: u8,
        /// The version byte.
        version: u8,
    },
    /// A block whose checksum does not fit, or that uses a codec this release does not write.
    #[error("block {0} of a HOLD frame is damaged")]
    Block(u32),
    /// An entry that points outside its block, or an action that does not exist.
    #[error("entry {0} of a hidden frame is damaged")]
    Entry(usize),
}

/// What recovery needs of a unit's first frame, without reading its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnitHead {
    /// Bytes of the frames after the HOLD.
    pub following_bytes: u32,
    /// Frames after the HOLD.
    pub following_frames: u16,
}

impl UnitHead {
    /// Bytes of the body that [`UnitHead::parse`] looks at.
    pub const LEN: usize = 10;

    /// The unit that this frame opens; `None` where it stands alone (any visible batch, a CANCEL outside a unit).
    pub fn parse(header: &BatchHeader, body: &[u8]) -> Result<Option<Self>, FrameError> {
        if !header.is_hidden() {
            return Ok(None);
        }
        let mut b = body;
        if kind(&mut b)? != KIND_HOLD {
            return Ok(None);
        }
        if b.remaining() < 6 {
            return Err(FrameError::Cut);
        }
        Ok(Some(Self {
            following_bytes: b.get_u32(),
            following_frames: b.get_u16(),
        }))
    }
}

/// Whether a hidden frame's body, from its beginning, is a HOLD's.
pub(crate) fn is_hold(b: &mut impl Buf) -> Result<bool, FrameError> {
    Ok(kind(b)? == KIND_HOLD)
}

fn kind(b: &mut impl Buf) -> Result<u8, FrameError> {
    if b.remaining() < 4 {
        return Err(FrameError::Cut);
    }
    let kind = b.get_u8();
    let version = b.get_u8();
    b.advance(2);
    match (kind, version) {
        (KIND_HOLD, HOLD_VERSION)
        | (KIND_CANCEL, CANCEL_VERSION_1 | CANCEL_VERSION)
        | (KIND_FORGET, FORGET_VERSION) => Ok(kind),
        _ => Err(FrameError::Unknown { kind, version }),
    }
}

fn put_kind(body: &mut Vec<u8>, kind: u8, version: u8) {
    body.put_u8(kind);
    body.put_u8(version);
    body.put_u16(0);
}

/// The header of a hidden frame that no producer's batch stands behind: it takes one offset.
fn alone(body: &[u8], entries: usize, now: TimestampMs) -> BatchHeader {
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        leader_epoch: 0,
        magic: MAGIC_V2,
        crc: 0,
        attributes: ATTR_HIDDEN,
        last_offset_delta: 0,
        base_timestamp: now.0,
        max_timestamp: now.0,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records_count: i32::try_from(entries).unwrap_or(i32::MAX),
    };
    seal_header(header, body)
}

/// Sizes inside a frame fit 32 bits: a batch's own length field does.
fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{
        batch::{BatchView, build_batch},
        record::{Record, RecordRef},
        units::{DueTime, Offset, ScheduleId},
    };

    fn original(count: i32) -> BatchHeader {
        BatchHeader {
            base_offset: 0,
            batch_length: 0,
            leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: 10,
            max_timestamp: 20,
            producer_id: 5,
            producer_epoch: 1,
            base_sequence: 3,
            records_count: count,
        }
    }

    /// Records held at these places, of these lengths; the one at 3 has a schedule key.
    fn holds(list: &[(i32, usize)]) -> (Holds, Vec<Record>) {
        let mut holds = Holds::default();
        let records = list.iter().map(|(delta, value_len)| Record {
            timestamp_delta: 15,
            offset_delta: *delta,
            value: Some(vec![7; *value_len].into()),
            ..Record::default()
        });
        let records: Vec<_> = records.collect();
        for record in &records {
            let delta = record.offset_delta;
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            let hold = Hold {
                offset_delta: delta,
                due: DueTime(1_000 + i64::from(delta)),
                created: TimestampMs(15),
                schedule_key: (delta == 3).then(|| Bytes::from_static(b"k")),
            };
            let len = holds.push(hold, &RecordRef::read(&bytes).unwrap(), None);
            assert_eq!(len, record.encoded_len());
        }
        (holds, records)
    }

    fn stored_at(base: i64, header: BatchHeader, body: &Bytes) -> BatchView {
        let header = BatchHeader {
            base_offset: base,
            ..header
        };
        BatchView::parse(build_batch(header, body)).unwrap()
    }

    #[test]
    fn a_hold_gives_back_ids_dues_and_records_wherever_it_was_stored() {
        let (holds, records) = holds(&[(1, 10), (3, 40_000), (4, 0)]);
        let (header, body) = holds.encode(&original(6), &[100, 200], None);
        let view = stored_at(500, header, &body);
        let frame = HoldFrame::parse(&view).unwrap().unwrap();
        let ids: Vec<_> = frame.entries.iter().map(|e| (e.id.0, e.due.0)).collect();
        assert_eq!(ids, [(501, 1_001), (503, 1_003), (504, 1_004)]);
        assert!(frame.has_keys);
        for (i, record) in records.iter().enumerate() {
            let len = usize::try_from(frame.record_len(i)).unwrap();
            assert_eq!(len, record.encoded_len());
            assert_eq!(frame.record(i), Ok(record.clone()));
        }
        assert!(!frame.is_carry && frame.covers(Offset(505)) && !frame.covers(Offset(506)));
        let head = UnitHead::parse(&view.header, &view.records())
            .unwrap()
            .unwrap();
        assert_eq!((head.following_bytes, head.following_frames), (300, 2));
        assert_eq!(
            (view.header.last_offset_delta, view.header.base_sequence),
            (5, 3)
        );
        assert_eq!(CancelFrame::parse(&view), Ok(None));
    }

    #[test]
    fn a_carry_keeps_ids_whatever_offset_it_has() {
        let (holds, records) = holds(&[(0, 10), (3, 5), (100_000, 7)]);
        let (header, body) = holds.encode_carry(ScheduleId(20), TimestampMs(99));
        let view = stored_at(5_000_000, header, &body);
        let frame = HoldFrame::parse(&view).unwrap().unwrap();
        let ids: Vec<_> = frame.entries.iter().map(|e| (e.id.0, e.due.0)).collect();
        assert_eq!(ids, [(20, 1_000), (23, 1_003), (100_020, 101_000)]);
        assert!(frame.is_carry && frame.has_keys);
        assert!(frame.covers(Offset(5_000_000)) && !frame.covers(Offset(23)));
        assert_eq!(view.header.last_offset(), 5_000_000);
        for (i, record) in records.iter().enumerate() {
            assert_eq!(frame.record(i), Ok(record.clone()));
        }
    }

    #[test]
    fn a_damaged_block_is_named() {
        let (header, body) = holds(&[(0, 10)]).0.encode(&original(1), &[], None);
        let mut body = body.to_vec();
        *body.last_mut().unwrap() ^= 1;
        let view = stored_at(0, header, &body.into());
        let frame = HoldFrame::parse(&view).unwrap().unwrap();
        assert!(!frame.has_keys);
        assert_eq!(frame.record(0), Err(FrameError::Block(0)));
    }

    #[test]
    fn a_cancel_gives_back_what_it_settles() {
        let cancel = CancelFrame {
            request_id: Bytes::from("r1"),
            entries: [
                CancelAction::Cancelled,
                CancelAction::Rescheduled(DueTime(9)),
                CancelAction::Replaced,
            ]
            .into_iter()
            .zip(1..)
            .map(|(action, id)| CancelEntry {
                id: ScheduleId(id),
                due: Some(DueTime(7)),
                action,
            })
            .collect(),
        };
        let header = BatchHeader {
            attributes: ATTR_HIDDEN,
            ..original(3)
        };
        let view = stored_at(9, header, &cancel.encode());
        assert_eq!(CancelFrame::parse(&view), Ok(Some(cancel)));
        assert_eq!(UnitHead::parse(&view.header, &view.records()), Ok(None));
    }

    #[test]
    fn a_later_version_is_refused_by_name() {
        let header = BatchHeader {
            attributes: ATTR_HIDDEN,
            ..original(0)
        };
        let view = stored_at(0, header, &Bytes::from_static(&[1, 2, 0, 0, 0, 0]));
        assert_eq!(
            HoldFrame::parse(&view).unwrap_err(),
            FrameError::Unknown {
                kind: 1,
                version: 2
            }
        );
    }

    proptest! {
        #[test]
        fn any_body_reads_or_refuses_without_panic(
            kind in 0u8..5,
            body in proptest::collection::vec(any::<u8>(), 0..200),
            count in any::<i32>(),
        ) {
            let body: Bytes = [&[kind, kind, 0, 0][..], &body].concat().into();
            let header = BatchHeader { attributes: ATTR_HIDDEN, records_count: count, ..original(1) };
            let view = stored_at(0, header, &body);
            if let Ok(Some(frame)) = HoldFrame::parse(&view) {
                for i in 0..frame.entries.len() {
                    let _ = frame.record(i);
                }
            }
            let _ = CancelFrame::parse(&view);
            let _ = ForgetFrame::parse(&view);
            let _ = answer(&view.header, &view.records());
            let _ = UnitHead::parse(&view.header, &view.records());
        }
    }
}
