//! Hidden frames: what a log keeps that consumers never see. Formats are frozen; a change takes a new version byte.
//!
//! A hidden frame is a v2 batch with attribute bit 14. Its body opens with
//! ```text
//! 0  kind      u8   1 HOLD, 2 CANCEL
//! 1  version   u8   1; of CANCEL 2
//! 2  flags     u16  of HOLD: bit 0, records of it have a schedule key; else 0
//! ```
//! **HOLD** opens a unit: the frames that one produced batch became, written in one append, never split. Its batch
//! header has the produced batch's base offset, `lastOffsetDelta`, producer id, epoch, base sequence and timestamps: it
//! alone says how many offsets and sequences the batch took. `recordsCount` is the number of entries.
//! ```text
//!  4  following_bytes   u32  bytes of the frames that follow in this unit
//!  8  following_frames  u16
//! 10  reserved          u16  0
//! 12  answer_offset     i64  base offset answered to the producer, less this frame's base offset
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

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};
use thiserror::Error;

use crate::{
    batch::{ATTR_HIDDEN, BatchHeader, BatchView, MAGIC_V2, seal_header},
    record::{Record, RecordIter},
    units::{DueTime, Offset, ScheduleId, TimestampMs},
};

const KIND_HOLD: u8 = 1;
const KIND_CANCEL: u8 = 2;
const HOLD_VERSION: u8 = 1;
const CANCEL_VERSION: u8 = 2;
const CANCEL_VERSION_1: u8 = 1;
pub(crate) const HOLD_HEAD_LEN: usize = 32;
pub(crate) const ENTRY_LEN: usize = 40;
pub(crate) const BLOCK_HEAD_LEN: usize = 13;
const CANCEL_ENTRY_LEN: usize = 25;
const CANCEL_ENTRY_LEN_1: usize = 17;
/// A block is closed when it reaches this size: what one fire has to decode.
pub const BLOCK_BYTES_MAX: usize = 16 * 1024;
const ID_BASE_OWN: i64 = -1;
/// In the second byte of the flags.
const HAS_KEYS: u8 = 1;

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

/// One held record, as it stands in a HOLD frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldEntry {
    /// The offset reserved for it.
    pub id: ScheduleId,
    /// When it is due.
    pub due: DueTime,
    /// The timestamp it was produced with.
    pub created: TimestampMs,
    /// Its offset when it was produced: equal to the id, unless the HOLD was carried.
    pub original_offset: Offset,
    block: u32,
    position: u32,
}

/// A HOLD frame.
#[derive(Clone, Debug)]
pub struct HoldFrame {
    /// The frame's own base offset.
    pub base_offset: Offset,
    /// The base offset that the producer was answered.
    pub answer_offset: Offset,
    /// The records it holds, in offset order.
    pub entries: Vec<HoldEntry>,
    /// Records of it have a schedule key.
    pub has_keys: bool,
    blocks: Vec<Block>,
}

/// Records of a HOLD, one after another.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) codec: u8,
    pub(crate) crc: u32,
    pub(crate) stored: Bytes,
}

/// What stands before a block's bytes.
#[derive(Debug)]
pub(crate) struct BlockHead {
    pub(crate) codec: u8,
    pub(crate) len: usize,
    pub(crate) crc: u32,
}

impl BlockHead {
    /// There are bytes enough.
    pub(crate) fn read(b: &mut impl Buf) -> Self {
        let codec = b.get_u8();
        let len = b.get_u32() as usize;
        let _raw = b.get_u32();
        Self {
            codec,
            len,
            crc: b.get_u32(),
        }
    }
}

impl HoldFrame {
    /// Reads a HOLD frame; `None` for any other frame. Blocks are checked only when a record is asked for.
    pub fn parse(view: &BatchView) -> Result<Option<Self>, FrameError> {
        if !view.header.is_hidden() {
            return Ok(None);
        }
        let mut b = view.records();
        let has_keys = b.get(3).is_some_and(|flags| flags & HAS_KEYS != 0);
        if kind(&mut b)? != KIND_HOLD {
            return Ok(None);
        }
        if b.remaining() < HOLD_HEAD_LEN - 4 {
            return Err(FrameError::Cut);
        }
        let base = view.header.base_offset;
        let HoldHead {
            answer,
            id_base,
            block_count,
        } = HoldHead::read(&mut b, base);
        let count = usize::try_from(view.header.records_count).map_err(|_| FrameError::Cut)?;
        if count.saturating_mul(ENTRY_LEN) > b.remaining() {
            return Err(FrameError::Cut);
        }
        let entries = (0..count).map(|_| read_entry(&mut b, id_base)).collect();
        let blocks = read_blocks(&mut b, block_count)?;
        Ok(Some(Self {
            base_offset: Offset(base),
            answer_offset: Offset(base.saturating_add(answer)),
            entries,
            has_keys,
            blocks,
        }))
    }

    /// What the record at `index` takes in its block: they lie one after another. 0 where there is none.
    pub fn record_len(&self, index: usize) -> u32 {
        let Some(entry) = self.entries.get(index) else {
            return 0;
        };
        let next = self.entries.get(index + 1);
        let end_of_block = || {
            let block = usize::try_from(entry.block)
                .ok()
                .and_then(|i| self.blocks.get(i));
            block.map_or(0, |block| narrow(block.stored.len()))
        };
        let next = next.filter(|next| next.block == entry.block);
        let end = next.map_or_else(end_of_block, |next| next.position);
        end.saturating_sub(entry.position)
    }

    /// The record of the entry at `index`, its timestamp in `timestamp_delta`.
    pub fn record(&self, index: usize) -> Result<Record, FrameError> {
        let entry = self.entries.get(index).ok_or(FrameError::Entry(index))?;
        let block = usize::try_from(entry.block)
            .ok()
            .and_then(|i| self.blocks.get(i))
            .ok_or(FrameError::Entry(index))?;
        if !block.is_whole() {
            return Err(FrameError::Block(entry.block));
        }
        entry.record_in(&block.stored, index)
    }
}

/// What a HOLD says behind its kind, before its entries.
pub(crate) struct HoldHead {
    answer: i64,
    pub(crate) id_base: i64,
    pub(crate) block_count: u32,
}

impl HoldHead {
    /// The kind was read, and there are bytes enough.
    pub(crate) fn read(b: &mut impl Buf, base_offset: i64) -> Self {
        b.advance(8);
        let answer = b.get_i64();
        let id_base = b.get_i64();
        Self {
            answer,
            id_base: if id_base == ID_BASE_OWN {
                base_offset
            } else {
                id_base
            },
            block_count: b.get_u32(),
        }
    }
}

impl HoldEntry {
    /// The number of the block that its record is in.
    pub(crate) fn block(&self) -> u32 {
        self.block
    }

    /// Its record, in its block; it is entry `index` of its frame.
    pub(crate) fn record_in(&self, block: &Bytes, index: usize) -> Result<Record, FrameError> {
        let bytes = block.slice_ref(self.bytes_in(block, index)?);
        match RecordIter::new(bytes, 1).next() {
            Some(Ok(record)) => Ok(record),
            _ => Err(FrameError::Entry(index)),
        }
    }

    /// What its block has from its record on.
    pub(crate) fn bytes_in<'a>(
        &self,
        block: &'a [u8],
        index: usize,
    ) -> Result<&'a [u8], FrameError> {
        let from = usize::try_from(self.position).ok();
        from.and_then(|from| block.get(from..))
            .ok_or(FrameError::Entry(index))
    }
}

impl Block {
    pub(crate) fn is_whole(&self) -> bool {
        self.codec == 0 && crc32c::crc32c(&self.stored) == self.crc
    }
}

/// A record to be held, before its batch has an offset.
#[derive(Clone, Debug)]
pub struct Hold {
    /// Its place in the produced batch, which becomes its schedule id when the base offset is known.
    pub offset_delta: i32,
    /// When it is due.
    pub due: DueTime,
    /// The timestamp it was produced with.
    pub created: TimestampMs,
    /// The record; its `timestamp_delta` is `created`, its `offset_delta` the one above.
    pub record: Record,
    /// Its schedule key, which its headers have as well.
    pub schedule_key: Option<Bytes>,
}

/// A HOLD that opens a unit, its base offset still 0.
#[derive(Debug)]
pub struct EncodedHold {
    /// Its header, sealed.
    pub header: BatchHeader,
    /// What follows the header.
    pub body: Bytes,
    /// Bytes of each record, in the order of the holds.
    pub record_bytes: Vec<u32>,
}

/// The HOLD that opens a unit: `original` is the produced batch's header, `following` has the sizes of the frames after it.
pub fn encode_hold(original: &BatchHeader, holds: &[Hold], following: &[usize]) -> EncodedHold {
    let lens: Vec<usize> = holds.iter().map(|hold| hold.record.encoded_len()).collect();
    let blocks = blocks_of(&lens);
    let mut body = Vec::with_capacity(
        HOLD_HEAD_LEN
            + holds.len() * ENTRY_LEN
            + blocks.len() * BLOCK_HEAD_LEN
            + lens.iter().sum::<usize>(),
    );
    put_kind(&mut body, KIND_HOLD, HOLD_VERSION);
    if holds.iter().any(|hold| hold.schedule_key.is_some())
        && let Some(flags) = body.last_mut()
    {
        *flags |= HAS_KEYS;
    }
    body.put_u32(narrow(following.iter().sum()));
    body.put_u16(u16::try_from(following.len()).unwrap_or(u16::MAX));
    body.put_u16(0);
    body.put_i64(0);
    body.put_i64(ID_BASE_OWN);
    body.put_u32(narrow(blocks.len()));
    let mut entries = holds.iter().zip(&lens);
    for (number, block) in blocks.iter().enumerate() {
        let mut position = 0;
        for (hold, len) in entries.by_ref().take(block.len()) {
            body.put_i64(i64::from(hold.offset_delta));
            body.put_i64(hold.due.0);
            body.put_i64(hold.created.0);
            body.put_i64(i64::from(hold.offset_delta));
            body.put_u32(narrow(number));
            body.put_u32(narrow(position));
            position += len;
        }
    }
    for block in blocks {
        let head_at = body.len();
        body.put_bytes(0, BLOCK_HEAD_LEN);
        for hold in holds.get(block).unwrap_or_default() {
            hold.record.encode(&mut body);
        }
        if let Some((mut head, stored)) = body
            .get_mut(head_at..)
            .and_then(|block| block.split_at_mut_checked(BLOCK_HEAD_LEN))
        {
            head.put_u8(0);
            head.put_u32(narrow(stored.len()));
            head.put_u32(narrow(stored.len()));
            head.put_u32(crc32c::crc32c(stored));
        }
    }
    let header = BatchHeader {
        base_offset: 0,
        attributes: ATTR_HIDDEN,
        records_count: i32::try_from(holds.len()).unwrap_or(i32::MAX),
        ..*original
    };
    EncodedHold {
        header: seal_header(header, &body),
        body: body.into(),
        record_bytes: lens.into_iter().map(narrow).collect(),
    }
}

/// Which records share a block: as many as fit, in order; a larger one has its own.
fn blocks_of(lens: &[usize]) -> Vec<Range<usize>> {
    let mut blocks: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (index, len) in lens.iter().enumerate() {
        if let Some(block) = blocks.last_mut()
            && bytes + len <= BLOCK_BYTES_MAX
        {
            block.end = index + 1;
            bytes += len;
        } else {
            blocks.push(index..index + 1);
            bytes = *len;
        }
    }
    blocks
}

/// What became of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelAction {
    /// It never fires.
    Cancelled,
    /// It fires at another time.
    Rescheduled(DueTime),
    /// A newer hold of the same schedule key took its place.
    Replaced,
}

/// A line of a CANCEL frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelEntry {
    /// Which record.
    pub id: ScheduleId,
    /// When it was due until then; version 1 did not say.
    pub due: Option<DueTime>,
    /// What became of it.
    pub action: CancelAction,
}

/// A CANCEL frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelFrame {
    /// Who asked: makes a repeated request answer as the first one did.
    pub request_id: Bytes,
    /// What it settles or moves, in order.
    pub entries: Vec<CancelEntry>,
}

impl CancelFrame {
    /// Reads a CANCEL frame; `None` for any other frame.
    pub fn parse(view: &BatchView) -> Result<Option<Self>, FrameError> {
        if !view.header.is_hidden() {
            return Ok(None);
        }
        let mut b = view.records();
        let version = b.get(1).copied();
        if kind(&mut b)? != KIND_CANCEL {
            return Ok(None);
        }
        let has_due = version != Some(CANCEL_VERSION_1);
        let entry_len = if has_due {
            CANCEL_ENTRY_LEN
        } else {
            CANCEL_ENTRY_LEN_1
        };
        if b.remaining() < 2 {
            return Err(FrameError::Cut);
        }
        let id_len = usize::from(b.get_u16());
        if b.remaining() < id_len + 4 {
            return Err(FrameError::Cut);
        }
        let request_id = b.split_to(id_len);
        let count = b.get_u32() as usize;
        if count.saturating_mul(entry_len) > b.remaining() {
            return Err(FrameError::Cut);
        }
        let mut entries = Vec::with_capacity(count);
        for i in 0..count {
            let id = ScheduleId(b.get_i64());
            let action = b.get_u8();
            let due = has_due.then(|| DueTime(b.get_i64()));
            let new_due = DueTime(b.get_i64());
            let action = match action {
                1 => CancelAction::Cancelled,
                2 => CancelAction::Rescheduled(new_due),
                3 => CancelAction::Replaced,
                _ => return Err(FrameError::Entry(i)),
            };
            entries.push(CancelEntry { id, due, action });
        }
        Ok(Some(Self {
            request_id,
            entries,
        }))
    }

    /// The body; the caller puts it behind a header with [`ATTR_HIDDEN`].
    pub fn encode(&self) -> Bytes {
        let mut body = Vec::new();
        let has_due = self.entries.iter().all(|entry| entry.due.is_some());
        let version = if has_due {
            CANCEL_VERSION
        } else {
            CANCEL_VERSION_1
        };
        put_kind(&mut body, KIND_CANCEL, version);
        body.put_u16(u16::try_from(self.request_id.len()).unwrap_or(u16::MAX));
        body.put_slice(&self.request_id);
        body.put_u32(narrow(self.entries.len()));
        for CancelEntry { id, due, action } in &self.entries {
            body.put_i64(id.0);
            let (code, new_due) = match action {
                CancelAction::Cancelled => (1, -1),
                CancelAction::Rescheduled(new_due) => (2, new_due.0),
                CancelAction::Replaced => (3, -1),
            };
            body.put_u8(code);
            if let Some(due) = due.filter(|_| has_due) {
                body.put_i64(due.0);
            }
            body.put_i64(new_due);
        }
        body.into()
    }

    /// The frame, open for stamping; it takes one offset.
    pub fn into_frame(self, now: TimestampMs) -> (BatchHeader, Bytes) {
        let body = self.encode();
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
            records_count: i32::try_from(self.entries.len()).unwrap_or(i32::MAX),
        };
        (seal_header(header, &body), body)
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
        (KIND_HOLD, HOLD_VERSION) | (KIND_CANCEL, CANCEL_VERSION_1 | CANCEL_VERSION) => Ok(kind),
        _ => Err(FrameError::Unknown { kind, version }),
    }
}

fn put_kind(body: &mut Vec<u8>, kind: u8, version: u8) {
    body.put_u8(kind);
    body.put_u8(version);
    body.put_u16(0);
}

pub(crate) fn read_entry(b: &mut impl Buf, id_base: i64) -> HoldEntry {
    HoldEntry {
        id: ScheduleId(id_base.saturating_add(b.get_i64())),
        due: DueTime(b.get_i64()),
        created: TimestampMs(b.get_i64()),
        original_offset: Offset(id_base.saturating_add(b.get_i64())),
        block: b.get_u32(),
        position: b.get_u32(),
    }
}

fn read_blocks(b: &mut Bytes, count: u32) -> Result<Vec<Block>, FrameError> {
    if (count as usize).saturating_mul(BLOCK_HEAD_LEN) > b.remaining() {
        return Err(FrameError::Cut);
    }
    let mut blocks = Vec::with_capacity(count as usize);
    for _ in 0..count {
        if b.remaining() < BLOCK_HEAD_LEN {
            return Err(FrameError::Cut);
        }
        let BlockHead { codec, len, crc } = BlockHead::read(b);
        if len > b.remaining() {
            return Err(FrameError::Cut);
        }
        blocks.push(Block {
            codec,
            crc,
            stored: b.split_to(len),
        });
    }
    Ok(blocks)
}

/// Sizes inside a frame fit 32 bits: a batch's own length field does.
fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::build_batch;
    use proptest::prelude::*;

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

    fn hold(delta: i32, value_len: usize) -> Hold {
        Hold {
            offset_delta: delta,
            due: DueTime(1_000 + i64::from(delta)),
            created: TimestampMs(15),
            record: Record {
                timestamp_delta: 15,
                offset_delta: delta,
                value: Some(vec![7; value_len].into()),
                ..Record::default()
            },
            schedule_key: (delta == 3).then(|| Bytes::from_static(b"k")),
        }
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
        let holds = [hold(1, 10), hold(3, 40_000), hold(4, 0)];
        let EncodedHold { header, body, .. } = encode_hold(&original(6), &holds, &[100, 200]);
        let view = stored_at(500, header, &body);
        let frame = HoldFrame::parse(&view).unwrap().unwrap();
        let ids: Vec<_> = frame.entries.iter().map(|e| (e.id.0, e.due.0)).collect();
        assert_eq!(ids, [(501, 1_001), (503, 1_003), (504, 1_004)]);
        assert!(frame.has_keys);
        for (i, hold) in holds.iter().enumerate() {
            let len = usize::try_from(frame.record_len(i)).unwrap();
            assert_eq!(len, hold.record.encoded_len());
            let record = frame.record(i).unwrap();
            assert_eq!(record.value, hold.record.value);
            assert_eq!(
                (record.offset_delta, record.timestamp_delta),
                (hold.offset_delta, 15)
            );
        }
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
    fn a_damaged_block_is_named() {
        let EncodedHold { header, body, .. } = encode_hold(&original(1), &[hold(0, 10)], &[]);
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
            kind in 0u8..4,
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
            let _ = UnitHead::parse(&view.header, &view.records());
        }
    }
}
