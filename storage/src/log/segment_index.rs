//! What is known of a segment without reading it. Derived; kept beside the segment, rebuilt by scanning it.
//!
//! ```text
//! index/<first offset>.index     "CRNIDX1\0" | covered u64 | crc u32 of what follows | head | entries
//!   head     next offset i64, visible end i64, min timestamp i64, max timestamp i64, position of max timestamp u32,
//!            count of frames and transactions in the other file u32: where it is not 0, that must be there
//!   entries  16 bytes each: relative offset u32, position u32, largest timestamp so far i64; one per 4 KiB of log
//! index/<first offset>.frames    "CRNFRM2\0" | covered u64 | crc u32 | run count u32 | runs (start u32, end u32)
//!                                | aborted count u32 | aborted transactions whose marker is here, 32 bytes each: producer id
//!                                  i64, first offset i64, marker's offset i64, last stable offset then i64
//!                                | positions u32 of hidden and FIRE frames, and of markers behind held records
//! ```
//! `covered` is the size of the segment that the file speaks of. Times and visible end count visible batches only. Files of
//! before transactions have "CRNFRM1\0" and nothing of them.

use bytes::{Buf, BufMut};

use super::{segment::SEGMENT_HEADER_LEN, transactions::AbortedTransaction};
use crate::{batch::BatchHeader, units::Offset};

const INDEX_MAGIC: &[u8; 8] = b"CRNIDX1\0";
const FRAMES_MAGIC: &[u8; 8] = b"CRNFRM2\0";
const FRAMES_MAGIC_1: &[u8; 8] = b"CRNFRM1\0";
const ABORTED_LEN: usize = 32;
const PREFIX_LEN: usize = 20;
const HEAD_LEN: usize = 40;

/// A sparse entry: the batch at `position` starts at `relative_offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    relative_offset: u32,
    position: u32,
    /// The largest timestamp of visible batches before `position`.
    max_timestamp_before: i64,
}

/// Index, visible end and hidden runs of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SegmentIndex {
    first_offset: Offset,
    /// Bytes of the segment, header included.
    pub(super) size: u64,
    /// One past its last offset.
    pub(super) next_offset: Offset,
    /// One past its last visible batch; the first offset where it has none.
    pub(super) visible_end: Offset,
    /// Smallest and largest timestamp of visible batches; `i64::MAX` and -1 where it has none.
    pub(super) min_timestamp: i64,
    pub(super) max_timestamp: i64,
    /// Where the first batch with the largest timestamp is.
    pub(super) max_timestamp_position: u32,
    entries: Vec<Entry>,
    /// Runs of hidden frames, [start, end), in order and never adjacent.
    runs: Vec<(u32, u32)>,
    /// Positions of hidden and FIRE frames, and of markers that end a transaction with held records.
    specials: Vec<u32>,
    /// Aborted transactions, by their markers.
    pub(super) aborted: Vec<AbortedTransaction>,
    indexed_to: u64,
}

impl SegmentIndex {
    /// Of a segment without batches.
    pub(super) fn empty(first_offset: Offset) -> Self {
        Self {
            first_offset,
            size: SEGMENT_HEADER_LEN as u64,
            next_offset: first_offset,
            visible_end: first_offset,
            min_timestamp: i64::MAX,
            max_timestamp: -1,
            max_timestamp_position: 0,
            entries: Vec::new(),
            runs: Vec::new(),
            specials: Vec::new(),
            aborted: Vec::new(),
            indexed_to: 0,
        }
    }

    /// Takes in the frame that was appended at the segment's end; a marker `arms` held records, or drops them. Positions fit
    /// 32 bits: a segment is below 4 GiB.
    pub(super) fn push(
        &mut self,
        header: &BatchHeader,
        interval_bytes: u32,
        opens_unit: bool,
        arms: bool,
    ) {
        let position = u32::try_from(self.size).unwrap_or(u32::MAX);
        // An entry never points into a unit.
        let due = self.size >= self.indexed_to + u64::from(interval_bytes);
        if opens_unit && (self.entries.is_empty() || due) {
            let relative = header.base_offset - self.first_offset.0;
            self.entries.push(Entry {
                relative_offset: u32::try_from(relative).unwrap_or(u32::MAX),
                position,
                max_timestamp_before: self.max_timestamp,
            });
            self.indexed_to = self.size;
        }
        self.size += header.total_len() as u64;
        let end = u32::try_from(self.size).unwrap_or(u32::MAX);
        self.next_offset = self.next_offset.max(Offset(header.last_offset() + 1));
        if header.is_hidden() {
            match self.runs.last_mut() {
                Some(run) if run.1 == position => run.1 = end,
                _ => self.runs.push((position, end)),
            }
        } else {
            self.visible_end = Offset(header.last_offset() + 1);
            self.min_timestamp = self
                .min_timestamp
                .min(header.base_timestamp.min(header.max_timestamp));
            if header.max_timestamp > self.max_timestamp {
                self.max_timestamp = header.max_timestamp;
                self.max_timestamp_position = position;
            }
        }
        if header.is_hidden() || header.is_fire() || arms {
            self.specials.push(position);
        }
    }

    /// Where to start reading for `offset`: a batch at or before it.
    pub(super) fn position_for_offset(&self, offset: Offset) -> u64 {
        // A search that begins in a segment before this one asks for an offset below the first.
        let relative = offset.0.saturating_sub(self.first_offset.0).max(0);
        let relative = u32::try_from(relative).unwrap_or(u32::MAX);
        self.before(|e| e.relative_offset <= relative)
    }

    /// Places of batches behind `position`, in order, as far as they are known.
    pub(super) fn places_after(&self, position: u64) -> Vec<u64> {
        let indexed = self.entries.iter().map(|entry| u64::from(entry.position));
        let special = self.specials.iter().map(|place| u64::from(*place));
        let mut places: Vec<u64> = indexed
            .chain(special)
            .filter(|place| *place > position)
            .collect();
        places.sort_unstable();
        places.dedup();
        places
    }

    /// One past the offsets of what lies before a position, or more.
    pub(super) fn offset_behind(&self, position: u64) -> Offset {
        let before = |e: &Entry| u64::from(e.position) < position;
        let after = self.entries.partition_point(before);
        let entry = self.entries.get(after);
        entry.map_or(self.next_offset, |e| {
            self.first_offset.plus(e.relative_offset.into())
        })
    }

    /// Where to start reading for the first batch with a timestamp of `timestamp` or more.
    pub(super) fn position_for_time(&self, timestamp: i64) -> u64 {
        self.before(|e| e.max_timestamp_before < timestamp)
    }

    /// The largest timestamp of visible batches before a batch, and that batch's position: the last one indexed up to `limit`.
    pub(super) fn max_timestamp_before(&self, limit: u64) -> (i64, u64) {
        let after = self
            .entries
            .partition_point(|e| u64::from(e.position) <= limit);
        let entry = after.checked_sub(1).and_then(|i| self.entries.get(i));
        entry.map_or((-1, SEGMENT_HEADER_LEN as u64), |e| {
            (e.max_timestamp_before, u64::from(e.position))
        })
    }

    /// One past the last visible batch; `None` where there is none.
    pub(super) fn visible_end(&self) -> Option<Offset> {
        (self.visible_end > self.first_offset).then_some(self.visible_end)
    }

    fn before(&self, holds: impl Fn(&Entry) -> bool) -> u64 {
        let after = self.entries.partition_point(holds);
        let entry = after.checked_sub(1).and_then(|i| self.entries.get(i));
        entry.map_or(SEGMENT_HEADER_LEN as u64, |e| u64::from(e.position))
    }

    /// The end of the hidden run that `position` lies in; `position` itself where it lies in none.
    pub(super) fn skip_hidden(&self, position: u64) -> u64 {
        let after = self
            .runs
            .partition_point(|(start, _)| u64::from(*start) <= position);
        match after.checked_sub(1).and_then(|i| self.runs.get(i)) {
            Some((_, end)) if u64::from(*end) > position => u64::from(*end),
            _ => position,
        }
    }

    /// Where the next hidden run after `position` starts; `limit` where none does before.
    pub(super) fn visible_until(&self, position: u64, limit: u64) -> u64 {
        let after = self
            .runs
            .partition_point(|(start, _)| u64::from(*start) < position);
        self.runs
            .get(after)
            .map_or(limit, |(start, _)| u64::from(*start).min(limit))
    }

    /// Bytes of its visible batches.
    pub(super) fn visible_bytes(&self) -> u64 {
        let hidden: u64 = self
            .runs
            .iter()
            .map(|(start, end)| u64::from(end - start))
            .sum();
        self.size.saturating_sub(SEGMENT_HEADER_LEN as u64 + hidden)
    }

    /// Positions of hidden and FIRE frames.
    pub(super) fn specials(&self) -> &[u32] {
        &self.specials
    }

    /// The `.index` file.
    pub(super) fn encode_index(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(HEAD_LEN + self.entries.len() * 16);
        body.put_i64(self.next_offset.0);
        body.put_i64(self.visible_end.0);
        body.put_i64(self.min_timestamp);
        body.put_i64(self.max_timestamp);
        body.put_u32(self.max_timestamp_position);
        body.put_u32(self.count_in_frames());
        for e in &self.entries {
            body.put_u32(e.relative_offset);
            body.put_u32(e.position);
            body.put_i64(e.max_timestamp_before);
        }
        seal(*INDEX_MAGIC, self.size, &body)
    }

    /// The `.frames` file; `None` where there is nothing for it.
    pub(super) fn encode_frames(&self) -> Option<Vec<u8>> {
        if self.count_in_frames() == 0 {
            return None;
        }
        let len = self.runs.len() * 8 + self.aborted.len() * ABORTED_LEN + self.specials.len() * 4;
        let mut body = Vec::with_capacity(8 + len);
        body.put_u32(u32::try_from(self.runs.len()).unwrap_or(u32::MAX));
        for (start, end) in &self.runs {
            body.put_u32(*start);
            body.put_u32(*end);
        }
        body.put_u32(u32::try_from(self.aborted.len()).unwrap_or(u32::MAX));
        for aborted in &self.aborted {
            body.put_i64(aborted.producer_id);
            body.put_i64(aborted.first_offset.0);
            body.put_i64(aborted.marker.0);
            body.put_i64(aborted.last_stable.0);
        }
        for position in &self.specials {
            body.put_u32(*position);
        }
        Some(seal(*FRAMES_MAGIC, self.size, &body))
    }

    /// Reads both files; `None` where they are damaged or speak of another size than `covered`.
    pub(super) fn decode(
        first_offset: Offset,
        covered: u64,
        index: &[u8],
        frames: Option<&[u8]>,
    ) -> Option<Self> {
        let mut b = unseal(*INDEX_MAGIC, covered, index)?;
        if b.remaining() < HEAD_LEN {
            return None;
        }
        let mut decoded = Self::empty(first_offset);
        decoded.size = covered;
        decoded.next_offset = Offset(b.get_i64());
        decoded.visible_end = Offset(b.get_i64());
        decoded.min_timestamp = b.get_i64();
        decoded.max_timestamp = b.get_i64();
        decoded.max_timestamp_position = b.get_u32();
        let count = b.get_u32();
        while b.remaining() >= 16 {
            let entry = Entry {
                relative_offset: b.get_u32(),
                position: b.get_u32(),
                max_timestamp_before: b.get_i64(),
            };
            decoded.indexed_to = u64::from(entry.position);
            decoded.entries.push(entry);
        }
        // Without the runs, hidden frames would be shown; a file from before a cut may be left of a segment that has none.
        if count > 0 {
            decoded.decode_frames(covered, frames?)?;
        }
        (decoded.count_in_frames() == count).then_some(decoded)
    }

    fn decode_frames(&mut self, covered: u64, frames: &[u8]) -> Option<()> {
        let old = unseal(*FRAMES_MAGIC_1, covered, frames);
        let has_aborted = old.is_none();
        let mut b = old.or_else(|| unseal(*FRAMES_MAGIC, covered, frames))?;
        let counted = |b: &mut &[u8], len: usize| {
            let count = b.try_get_u32().ok()? as usize;
            (count <= b.remaining() / len).then_some(count)
        };
        let runs = counted(&mut b, 8)?;
        self.runs = (0..runs).map(|_| (b.get_u32(), b.get_u32())).collect();
        if has_aborted {
            let count = counted(&mut b, ABORTED_LEN)?;
            let aborted = (0..count).map(|_| AbortedTransaction {
                producer_id: b.get_i64(),
                first_offset: Offset(b.get_i64()),
                marker: Offset(b.get_i64()),
                last_stable: Offset(b.get_i64()),
            });
            self.aborted = aborted.collect();
        }
        self.specials = (0..b.remaining() / 4).map(|_| b.get_u32()).collect();
        Some(())
    }

    fn count_in_frames(&self) -> u32 {
        u32::try_from(self.specials.len() + self.aborted.len()).unwrap_or(u32::MAX)
    }
}

fn seal(magic: [u8; 8], covered: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX_LEN + body.len());
    out.put_slice(&magic);
    out.put_u64(covered);
    out.put_u32(crc32c::crc32c(body));
    out.put_slice(body);
    out
}

fn unseal(magic: [u8; 8], covered: u64, mut file: &[u8]) -> Option<&[u8]> {
    if file.len() < PREFIX_LEN {
        return None;
    }
    let mut found = [0; 8];
    file.copy_to_slice(&mut found);
    let fits = found == magic && file.get_u64() == covered;
    (fits && file.get_u32() == crc32c::crc32c(file)).then_some(file)
}
