//! A run: timers in firing order, written once, in blocks that notice damage.
//!
//! ```text
//! block, 4096 bytes:
//!   crc u32   CRC32C of the rest
//!   count u16 | zero u16
//!   entries, 32 bytes each, the rest zero:
//!     key 16 (see TimerKey::to_bytes) | hold i64 | index u32 (bit 31: moved from its HOLD's due time; all ones: taken out)
//!       | bytes u32
//! ```

use std::{collections::VecDeque, io, io::IoSlice, sync::Arc};

use storage::{
    disk::DiskFile,
    units::{Offset, ScheduleId},
};

use super::{Place, StoreError, bucket::FileName};
use crate::timer_key::TimerKey;

pub(super) const BLOCK_LEN: usize = 4096;
const BLOCK_HEAD_LEN: usize = 8;
const ENTRY_LEN: usize = 32;
const BLOCK_ENTRIES: usize = (BLOCK_LEN - BLOCK_HEAD_LEN) / ENTRY_LEN;
const TAKEN_OUT: u32 = u32::MAX;
const MOVED: u32 = 1 << 31;

/// What is known of a key: where its record lies, or that it was taken out.
pub(super) type Known = Option<Place>;

/// What the manifest says of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunInfo {
    pub(super) file: FileName,
    /// Where it starts in the file.
    pub(super) position: u64,
    pub(super) blocks: u32,
    pub(super) min: TimerKey,
    pub(super) max: TimerKey,
    /// Smallest and largest schedule id: runs are written in the log's order, so few of them can have a given one.
    pub(super) ids: (ScheduleId, ScheduleId),
    /// The HOLD nearest to the log's beginning; none where it only takes out.
    pub(super) oldest_hold: Option<Offset>,
    /// Everything up to here was fired.
    pub(super) floor: Option<TimerKey>,
}

impl RunInfo {
    /// Whether a key that is not fired may be in it, when all up to `done` is fired.
    pub(super) fn may_have(&self, key: TimerKey, done: Option<TimerKey>) -> bool {
        let (first, last) = self.ids;
        (self.min..=self.max).contains(&key)
            && (first..=last).contains(&key.id)
            && Some(key) > self.floor.max(done)
    }

    /// Tells it from all others.
    pub(super) fn name(&self) -> (FileName, u64) {
        (self.file, self.position)
    }

    /// Whether all of it was fired.
    pub(super) fn is_past(&self, done: Option<TimerKey>) -> bool {
        self.floor.max(done) >= Some(self.max)
    }

    pub(super) fn end(&self) -> u64 {
        self.position + u64::from(self.blocks) * BLOCK_LEN as u64
    }
}

/// A run and its file.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) info: RunInfo,
    pub(super) file: Arc<dyn DiskFile>,
}

/// Writes entries, which are in order, behind what the file has. `None` where there are none.
pub(super) fn write(
    file: &Arc<dyn DiskFile>,
    position: u64,
    name: FileName,
    entries: &[(TimerKey, Known)],
) -> io::Result<Option<Run>> {
    let (Some((min, _)), Some((max, _))) = (entries.first(), entries.last()) else {
        return Ok(None);
    };
    let mut bytes = Vec::with_capacity(entries.len().div_ceil(BLOCK_ENTRIES) * BLOCK_LEN);
    for block in entries.chunks(BLOCK_ENTRIES) {
        let start = bytes.len();
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&u16::try_from(block.len()).unwrap_or(0).to_be_bytes());
        bytes.extend_from_slice(&[0; 2]);
        for (key, known) in block {
            bytes.extend_from_slice(&key.to_bytes());
            let (hold, index, len) = match known {
                None => (0, TAKEN_OUT, 0),
                Some(place) => (
                    place.hold.0,
                    place.index | if place.moved { MOVED } else { 0 },
                    place.bytes,
                ),
            };
            bytes.extend_from_slice(&hold.to_be_bytes());
            bytes.extend_from_slice(&index.to_be_bytes());
            bytes.extend_from_slice(&len.to_be_bytes());
        }
        bytes.resize(start + BLOCK_LEN, 0);
        if let Some((crc, rest)) = bytes
            .get_mut(start..)
            .and_then(|b| b.split_at_mut_checked(4))
        {
            crc.copy_from_slice(&crc32c::crc32c(rest).to_be_bytes());
        }
    }
    file.write_all_at(&mut [IoSlice::new(&bytes)], position)?;
    let ids = || entries.iter().map(|(key, _)| key.id);
    let holds = entries.iter().filter_map(|(_, known)| *known);
    let info = RunInfo {
        file: name,
        position,
        blocks: u32::try_from(bytes.len() / BLOCK_LEN).map_err(io::Error::other)?,
        min: *min,
        max: *max,
        ids: (
            ids().min().unwrap_or_default(),
            ids().max().unwrap_or_default(),
        ),
        oldest_hold: holds.map(|place| place.hold).min(),
        floor: None,
    };
    Ok(Some(Run {
        info,
        file: Arc::clone(file),
    }))
}

impl Run {
    fn read(&self, number: u32) -> Result<[u8; BLOCK_LEN], StoreError> {
        let mut bytes = [0; BLOCK_LEN];
        let position = self.info.position + u64::from(number) * BLOCK_LEN as u64;
        match self.file.read_exact_at(&mut bytes, position) {
            Ok(()) => Ok(bytes),
            // Somebody cut the file.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(StoreError::Damaged),
            Err(error) => Err(error.into()),
        }
    }

    fn block(&self, number: u32) -> Result<VecDeque<(TimerKey, Known)>, StoreError> {
        let bytes = self.read(number)?;
        let entries = entries(&bytes).ok_or(StoreError::Damaged)?;
        entries
            .map(entry)
            .collect::<Option<_>>()
            .ok_or(StoreError::Damaged)
    }

    fn first_key(&self, number: u32) -> Result<TimerKey, StoreError> {
        let bytes = self.read(number)?;
        let first = entries(&bytes).and_then(|mut all| entry(all.next()?));
        first.map(|(key, _)| key).ok_or(StoreError::Damaged)
    }

    /// What the run knows of a key.
    pub(super) fn get(&self, key: TimerKey) -> Result<Option<Known>, StoreError> {
        let block = self.block(self.block_of(key)?)?;
        Ok(block
            .into_iter()
            .find(|(at, _)| *at == key)
            .map(|(_, known)| known))
    }

    /// The last block whose first key is not above `key`.
    fn block_of(&self, key: TimerKey) -> Result<u32, StoreError> {
        let (mut low, mut high) = (0, self.info.blocks.saturating_sub(1));
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if self.first_key(middle)? <= key {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(low)
    }

    /// Reads on behind `after`.
    pub(super) fn cursor(self, after: Option<TimerKey>) -> Result<Cursor, StoreError> {
        let next = match after {
            Some(after) if after >= self.info.min => self.block_of(after)?,
            _ => 0,
        };
        let mut cursor = Cursor {
            run: self,
            next,
            buffer: VecDeque::new(),
        };
        while let Some((key, _)) = cursor.peek()? {
            if Some(key) > after {
                break;
            }
            cursor.buffer.pop_front();
        }
        Ok(cursor)
    }
}

/// The entries of a block whose checksum fits.
fn entries(bytes: &[u8; BLOCK_LEN]) -> Option<impl Iterator<Item = &[u8]>> {
    let (crc, rest) = bytes.split_first_chunk()?;
    if crc32c::crc32c(rest) != u32::from_be_bytes(*crc) {
        return None;
    }
    let (count, rest) = rest.split_first_chunk()?;
    let count = usize::from(u16::from_be_bytes(*count));
    let entries = rest.get(2..)?.get(..count.checked_mul(ENTRY_LEN)?)?;
    Some(entries.chunks_exact(ENTRY_LEN))
}

fn entry(bytes: &[u8]) -> Option<(TimerKey, Known)> {
    let (key, rest) = bytes.split_first_chunk()?;
    let (hold, index) = rest.split_first_chunk()?;
    let (index, bytes) = index.split_first_chunk()?;
    let index = u32::from_be_bytes(*index);
    let bytes = u32::from_be_bytes(*bytes.first_chunk()?);
    let known = (index != TAKEN_OUT).then(|| Place {
        hold: Offset(i64::from_be_bytes(*hold)),
        index: index & !MOVED,
        moved: index & MOVED != 0,
        bytes,
    });
    Some((TimerKey::from_bytes(*key), known))
}

/// Reads a run on, a block at a time.
#[derive(Debug)]
pub(super) struct Cursor {
    run: Run,
    next: u32,
    buffer: VecDeque<(TimerKey, Known)>,
}

impl Cursor {
    pub(super) fn peek(&mut self) -> Result<Option<(TimerKey, Known)>, StoreError> {
        while self.buffer.is_empty() {
            if self.next >= self.run.info.blocks {
                return Ok(None);
            }
            self.buffer = self.run.block(self.next)?;
            self.next += 1;
        }
        Ok(self.buffer.front().copied())
    }

    pub(super) fn advance(&mut self) {
        self.buffer.pop_front();
    }
}
