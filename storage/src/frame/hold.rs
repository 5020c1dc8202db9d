//! HOLD frames: read, and written.

use std::ops::Range;

use bytes::{Buf, BufMut, Bytes};

use super::{FrameError, HOLD_VERSION, KIND_HOLD, alone, kind, narrow, put_kind};
use crate::{
    batch::{ATTR_HIDDEN, ATTR_TRANSACTIONAL, BatchHeader, BatchView, seal_header},
    record::{Record, RecordIter, RecordRef},
    units::{DueTime, Offset, ScheduleId, TimestampMs},
};

pub(crate) const HOLD_HEAD_LEN: usize = 32;
pub(crate) const ENTRY_LEN: usize = 40;
pub(crate) const BLOCK_HEAD_LEN: usize = 13;
/// A block is closed when it reaches this size: what one fire has to decode.
pub const BLOCK_BYTES_MAX: usize = 16 * 1024;
const ID_BASE_OWN: i64 = -1;
/// In the second byte of the flags.
const HAS_KEYS: u8 = 1;
const ANSWERS_EARLIER: u8 = 2;

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
    /// The base offset that the producer was answered: its own, or that of what the batch only repeated.
    pub answer_offset: Offset,
    /// The records it holds, in offset order.
    pub entries: Vec<HoldEntry>,
    /// Records of it have a schedule key.
    pub has_keys: bool,
    /// It holds records again that were held before, under the ids they had.
    pub is_carry: bool,
    last_offset: Offset,
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
        let flags = b.get(3).copied().unwrap_or(0);
        let has_keys = flags & HAS_KEYS != 0;
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
            is_carry,
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
            answer_offset: answer_offset(flags, base, answer),
            entries,
            has_keys,
            is_carry,
            last_offset: Offset(view.header.last_offset()),
            blocks,
        }))
    }

    /// Whether it is the frame at an offset of the log.
    pub fn covers(&self, offset: Offset) -> bool {
        (self.base_offset..=self.last_offset).contains(&offset)
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

fn answer_offset(flags: u8, base: i64, answer: i64) -> Offset {
    if flags & ANSWERS_EARLIER == 0 {
        Offset(base.saturating_add(answer))
    } else {
        Offset(answer)
    }
}

/// The offset that the producer of a batch was answered, where it is that of an earlier record.
pub(crate) fn answer(header: &BatchHeader, body: &[u8]) -> Option<Offset> {
    let flags = *body.get(3)?;
    let is_hold = header.is_hidden() && body.first() == Some(&KIND_HOLD);
    let answer = body.get(12..)?.first_chunk()?;
    (is_hold && flags & ANSWERS_EARLIER != 0).then(|| Offset(i64::from_be_bytes(*answer)))
}

/// What a HOLD says behind its kind, before its entries.
pub(crate) struct HoldHead {
    answer: i64,
    pub(crate) id_base: i64,
    is_carry: bool,
    pub(crate) block_count: u32,
}

impl HoldHead {
    /// The kind was read, and there are bytes enough.
    pub(crate) fn read(b: &mut impl Buf, base_offset: i64) -> Self {
        b.advance(8);
        let answer = b.get_i64();
        let id_base = b.get_i64();
        let is_carry = id_base != ID_BASE_OWN;
        Self {
            answer,
            id_base: if is_carry { id_base } else { base_offset },
            is_carry,
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
    /// Its schedule key, which its headers have as well.
    pub schedule_key: Option<Bytes>,
}

/// Records to be held: what a HOLD is made of.
#[derive(Clone, Debug, Default)]
pub struct Holds {
    entries: Vec<(Hold, Range<usize>)>,
    /// The records as blocks have them, one after another.
    bytes: Vec<u8>,
}

impl Holds {
    /// None, and room for so many bytes.
    pub fn with_room_for(bytes: usize) -> Self {
        Self {
            entries: Vec::new(),
            bytes: Vec::with_capacity(bytes),
        }
    }

    /// Adds a record, which lies in its batch or in another HOLD, with all of its headers or with others. Returns its length.
    pub fn push(
        &mut self,
        hold: Hold,
        record: &RecordRef<'_>,
        headers: Option<(usize, &[u8])>,
    ) -> usize {
        let from = self.bytes.len();
        let headers = headers.unwrap_or(record.encoded_headers());
        record.encode_with(hold.created.0, hold.offset_delta, headers, &mut self.bytes);
        self.entries.push((hold, from..self.bytes.len()));
        self.bytes.len() - from
    }

    /// Leaves out those of a schedule key: a later one takes their place.
    pub fn remove_key(&mut self, key: &Bytes) {
        self.entries
            .retain(|(hold, _)| hold.schedule_key.as_ref() != Some(key));
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// In offset order, each with the bytes of its record.
    pub fn iter(&self) -> impl Iterator<Item = (&Hold, u32)> {
        self.entries
            .iter()
            .map(|(hold, record)| (hold, narrow(record.len())))
    }

    /// The HOLD that opens a unit: `original` is the produced batch's header, `following` has the sizes of the frames after it;
    /// `answer` is the offset to answer where it is that of an earlier record.
    pub fn encode(
        &self,
        original: &BatchHeader,
        following: &[usize],
        answer: Option<Offset>,
    ) -> (BatchHeader, Bytes) {
        let body = self.body(ID_BASE_OWN, following, answer);
        let header = BatchHeader {
            base_offset: 0,
            attributes: ATTR_HIDDEN | (original.attributes & ATTR_TRANSACTIONAL),
            records_count: i32::try_from(self.entries.len()).unwrap_or(i32::MAX),
            ..*original
        };
        (seal_header(header, &body), body)
    }

    /// A HOLD of records that were held before, whose places count from `id_base`: it takes one offset, their ids stay.
    pub fn encode_carry(&self, id_base: ScheduleId, now: TimestampMs) -> (BatchHeader, Bytes) {
        let body = self.body(id_base.0, &[], None);
        (alone(&body, self.entries.len(), now), body)
    }

    fn body(&self, id_base: i64, following: &[usize], answer: Option<Offset>) -> Bytes {
        let blocks = blocks_of(self.entries.iter().map(|(_, record)| record.len()));
        let mut body = Vec::with_capacity(
            HOLD_HEAD_LEN
                + self.entries.len() * ENTRY_LEN
                + blocks.len() * BLOCK_HEAD_LEN
                + self.bytes.len(),
        );
        put_kind(&mut body, KIND_HOLD, HOLD_VERSION);
        let mut entries = self.entries.iter();
        let has_keys = entries.any(|(hold, _)| hold.schedule_key.is_some());
        if let Some(flags) = body.last_mut() {
            *flags |= if has_keys { HAS_KEYS } else { 0 };
            *flags |= answer.map_or(0, |_| ANSWERS_EARLIER);
        }
        body.put_u32(narrow(following.iter().sum()));
        body.put_u16(u16::try_from(following.len()).unwrap_or(u16::MAX));
        body.put_u16(0);
        body.put_i64(answer.map_or(0, |earlier| earlier.0));
        body.put_i64(id_base);
        body.put_u32(narrow(blocks.len()));
        let mut entries = self.entries.iter();
        for (number, block) in blocks.iter().enumerate() {
            let mut position = 0;
            for (hold, record) in entries.by_ref().take(block.len()) {
                body.put_i64(i64::from(hold.offset_delta));
                body.put_i64(hold.due.0);
                body.put_i64(hold.created.0);
                body.put_i64(i64::from(hold.offset_delta));
                body.put_u32(narrow(number));
                body.put_u32(narrow(position));
                position += record.len();
            }
        }
        for block in blocks {
            let head_at = body.len();
            body.put_bytes(0, BLOCK_HEAD_LEN);
            for (_, record) in self.entries.get(block).unwrap_or_default() {
                body.put_slice(self.bytes.get(record.clone()).unwrap_or_default());
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
        body.into()
    }
}

/// Which records share a block: as many as fit, in order; a larger one has its own.
fn blocks_of(lens: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut blocks: Vec<Range<usize>> = Vec::new();
    let mut bytes = 0;
    for (index, len) in lens.enumerate() {
        if let Some(block) = blocks.last_mut()
            && bytes + len <= BLOCK_BYTES_MAX
        {
            block.end = index + 1;
            bytes += len;
        } else {
            blocks.push(index..index + 1);
            bytes = len;
        }
    }
    blocks
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
