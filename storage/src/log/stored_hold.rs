//! A HOLD frame where it lies: single records are read without the others.
//!
//! A fire of ten records must not read, check and decode the half megabyte that they were produced with. What is not read
//! cannot be checked: the frame's own checksum is not. A record's bytes are checked by their block's; an entry by what it says:
//! the id and due time that its timer has (the caller's check), and the offset delta that the record has itself.

use std::io;

use bytes::Bytes;
use thiserror::Error;

use super::read::StoredFrame;
use crate::{
    frame::{
        self, BLOCK_HEAD_LEN, Block, BlockHead, ENTRY_LEN, FrameError, HOLD_HEAD_LEN, HoldEntry,
        HoldHead,
    },
    record::RecordRef,
};

/// Entries read at once: neighbours are asked for one after another.
const ENTRIES_AT_ONCE: usize = 64;
/// Read at once from the beginning: a small frame is whole then.
const FIRST_READ: usize = 16 * 1024;

/// Why a record of a HOLD cannot be read.
#[derive(Debug, Error)]
pub enum HoldReadError {
    /// The file system refused.
    #[error("reading: {0}")]
    Io(#[from] io::Error),
    /// It is damaged.
    #[error("{0}")]
    Frame(#[from] FrameError),
}

/// Where a block's bytes are in the body.
#[derive(Debug)]
struct BlockPlace {
    at: usize,
    head: BlockHead,
}

/// A HOLD frame.
#[derive(Debug)]
pub struct StoredHold {
    frame: StoredFrame,
    id_base: i64,
    count: usize,
    blocks: Vec<BlockPlace>,
    /// The entries read last, and the index of their first.
    entries: (usize, Vec<HoldEntry>),
    /// The block read last.
    block: Option<(u32, Bytes)>,
}

impl StoredHold {
    /// Reads where its blocks lie; `None` for any other frame.
    pub fn open(frame: StoredFrame) -> Result<Option<Self>, HoldReadError> {
        if !frame.header.is_hidden() {
            return Ok(None);
        }
        let mut body = Window::new(&frame)?;
        let mut head = body.get(0, HOLD_HEAD_LEN)?;
        if !frame::is_hold(&mut head)? {
            return Ok(None);
        }
        let HoldHead {
            id_base,
            block_count,
            ..
        } = HoldHead::read(&mut head, frame.header.base_offset);
        let count = usize::try_from(frame.header.records_count).map_err(|_| FrameError::Cut)?;
        let mut at = HOLD_HEAD_LEN.saturating_add(count.saturating_mul(ENTRY_LEN));
        let least = (block_count as usize).saturating_mul(BLOCK_HEAD_LEN);
        if at.saturating_add(least) > frame.body_len() {
            return Err(FrameError::Cut.into());
        }
        let mut blocks = Vec::with_capacity(block_count as usize);
        for _ in 0..block_count {
            let head = BlockHead::read(&mut body.get(at, BLOCK_HEAD_LEN)?);
            at += BLOCK_HEAD_LEN;
            let len = head.len;
            if len > frame.body_len() - at {
                return Err(FrameError::Cut.into());
            }
            blocks.push(BlockPlace { at, head });
            at += len;
        }
        Ok(Some(Self {
            frame,
            id_base,
            count,
            blocks,
            entries: (0, Vec::new()),
            block: None,
        }))
    }

    /// Whether its segment was removed.
    pub fn is_gone(&self) -> bool {
        self.frame.is_gone()
    }

    /// What it takes in memory, about.
    pub fn memory(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |(_, bytes)| bytes.len());
        size_of::<Self>()
            + self.blocks.len() * size_of::<BlockPlace>()
            + self.entries.1.len() * size_of::<HoldEntry>()
            + block
    }

    /// The entry at `index`; its record is read by [`StoredHold::record`].
    pub fn entry(&mut self, index: usize) -> Result<HoldEntry, HoldReadError> {
        if index >= self.count {
            return Err(FrameError::Entry(index).into());
        }
        let (first, read) = &self.entries;
        if let Some(entry) = index.checked_sub(*first).and_then(|i| read.get(i)) {
            return Ok(entry.clone());
        }
        let n = ENTRIES_AT_ONCE.min(self.count - index);
        let mut bytes = vec![0; n * ENTRY_LEN];
        let from = HOLD_HEAD_LEN + index * ENTRY_LEN;
        self.frame.read_exact_at(&mut bytes, from)?;
        let mut b = bytes.as_slice();
        let entries: Vec<_> = (0..n)
            .map(|_| frame::read_entry(&mut b, self.id_base))
            .collect();
        let entry = entries.first().cloned();
        self.entries = (index, entries);
        Ok(entry.ok_or(FrameError::Entry(index))?)
    }

    /// Bytes that begin with the record of an entry, its timestamp in `timestamp_delta`.
    pub fn record(&mut self, entry: &HoldEntry, index: usize) -> Result<&[u8], HoldReadError> {
        let number = entry.block();
        if self.block.as_ref().is_none_or(|(last, _)| *last != number) {
            self.block = Some((number, self.read_block(number, index)?));
        }
        let block = self.block.as_ref().map_or(&[][..], |(_, block)| block);
        let bytes = entry.bytes_in(block, index)?;
        let record = RecordRef::read(bytes).map_err(|_| FrameError::Entry(index))?;
        // Where the entry was damaged, another record may stand there.
        if entry.original_offset.0 != self.id_base.saturating_add(i64::from(record.offset_delta)) {
            return Err(FrameError::Entry(index).into());
        }
        Ok(bytes)
    }

    fn read_block(&self, number: u32, index: usize) -> Result<Bytes, HoldReadError> {
        let place = usize::try_from(number)
            .ok()
            .and_then(|i| self.blocks.get(i));
        let BlockPlace { at, head } = place.ok_or(FrameError::Entry(index))?;
        let mut stored = vec![0; head.len];
        self.frame.read_exact_at(&mut stored, *at)?;
        let block = Block {
            codec: head.codec,
            crc: head.crc,
            stored: stored.into(),
        };
        if !block.is_whole() {
            return Err(FrameError::Block(number).into());
        }
        Ok(block.stored)
    }
}

/// The first bytes of a body, and any others as they are asked for.
struct Window<'a> {
    frame: &'a StoredFrame,
    first: Vec<u8>,
    other: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(frame: &'a StoredFrame) -> io::Result<Self> {
        let mut first = vec![0; FIRST_READ.min(frame.body_len())];
        frame.read_exact_at(&mut first, 0)?;
        Ok(Self {
            frame,
            first,
            other: Vec::new(),
        })
    }

    fn get(&mut self, from: usize, len: usize) -> Result<&[u8], HoldReadError> {
        if from + len > self.frame.body_len() {
            return Err(FrameError::Cut.into());
        }
        if from + len <= self.first.len() {
            return Ok(self.first.get(from..from + len).unwrap_or_default());
        }
        self.other.resize(len, 0);
        self.frame.read_exact_at(&mut self.other, from)?;
        Ok(&self.other)
    }
}
