//! Reading a log: slices of segment files, found by the indexes, never decoded.

use std::{
    io,
    ops::ControlFlow,
    sync::{Arc, Weak},
};

use bytes::Bytes;

use super::{
    error::ReadError,
    log::{Committed, Log},
    segment::Segment,
    transactions::AbortedTransaction,
};
use crate::{
    batch::{BatchHeader, BatchView, HEADER_LEN},
    disk::DiskFile,
    units::Offset,
};

/// Which frames a reader gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadUpTo {
    /// A consumer: what is committed, without hidden frames.
    Visible,
    /// The same, up to the first transaction that is not decided.
    Stable,
    /// The broker itself, or a replica: everything that is committed.
    All,
}

/// A part of a segment file.
#[derive(Clone, Debug)]
pub struct FileSlice {
    /// The file.
    pub file: Arc<dyn DiskFile>,
    /// Where it starts.
    pub position: u64,
    /// Its length.
    pub len: usize,
}

impl FileSlice {
    /// Reads it.
    pub fn read(&self) -> io::Result<Bytes> {
        self.file.read_vec(self.len, self.position).map(Bytes::from)
    }
}

/// A frame where it lies. It does not keep its segment from being removed.
#[derive(Clone, Debug)]
pub struct StoredFrame {
    /// Its header.
    pub header: BatchHeader,
    position: u64,
    segment: Weak<Segment>,
}

impl StoredFrame {
    /// Bytes behind its header.
    pub fn body_len(&self) -> usize {
        self.header.total_len() - HEADER_LEN
    }

    /// Whether its segment was removed.
    pub fn is_gone(&self) -> bool {
        self.segment.strong_count() == 0
    }

    /// Fills `buf` from the body; an error where the body ends before, or the segment is gone. Nothing is checked.
    pub fn read_exact_at(&self, buf: &mut [u8], from: usize) -> io::Result<()> {
        if from.saturating_add(buf.len()) > self.body_len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let segment = self.segment.upgrade().ok_or(io::ErrorKind::NotFound)?;
        let at = self.position + (HEADER_LEN + from) as u64;
        segment.file.read_exact_at(buf, at)
    }
}

/// A part of an answer.
#[derive(Clone, Debug)]
pub enum Chunk {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes in a file.
    File(FileSlice),
}

impl Chunk {
    /// Its length.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(slice) => slice.len,
        }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a read found: batches one after another; only the last one may be cut off.
#[derive(Clone, Debug, Default)]
pub struct ReadResult {
    /// The parts, in order.
    pub chunks: Vec<Chunk>,
    /// Base offset of the first batch.
    pub first_offset: Option<Offset>,
    /// Bytes in all chunks.
    pub bytes: usize,
    /// The offsets of what is in them lie below this.
    pub end: Offset,
}

impl ReadResult {
    /// All of it in memory.
    pub fn to_bytes(&self) -> io::Result<Bytes> {
        // Mostly it lies in one place.
        match self.chunks.as_slice() {
            [Chunk::File(slice)] => return slice.read(),
            [Chunk::Bytes(bytes)] => return Ok(bytes.clone()),
            _ => {}
        }
        let mut bytes = Vec::with_capacity(self.bytes);
        for chunk in &self.chunks {
            match chunk {
                Chunk::Bytes(some) => bytes.extend_from_slice(some),
                Chunk::File(slice) => bytes.extend_from_slice(&slice.read()?),
            }
        }
        Ok(bytes.into())
    }
}

impl Log {
    /// Batches from the one that covers `from` on, at most `max_bytes`; with `min_one` the first batch is whole whatever its
    /// size. A position in a hole or between the visible end and the log end is legal and finds nothing yet.
    pub fn read(
        &self,
        from: Offset,
        max_bytes: usize,
        upto: ReadUpTo,
        min_one: bool,
    ) -> Result<ReadResult, ReadError> {
        let offsets = self.offsets();
        if from < offsets.log_start || from > offsets.log_end {
            return Err(ReadError::OutOfRange {
                log_start: offsets.log_start,
                log_end: offsets.log_end,
            });
        }
        let committed = match upto {
            ReadUpTo::Stable => self.stable(),
            ReadUpTo::Visible | ReadUpTo::All => self.committed(),
        };
        let nothing_new = match upto {
            ReadUpTo::Stable | ReadUpTo::Visible => from >= committed.visible_end,
            ReadUpTo::All => from >= committed.high_watermark,
        };
        if nothing_new {
            return Ok(ReadResult::default());
        }
        for segment in &self.segments_from(from) {
            let Some(limit) = limit(segment, &committed) else {
                break;
            };
            if let Some((position, header)) = find(segment, from, limit, upto)? {
                return Ok(slices(
                    segment, position, &header, limit, max_bytes, upto, min_one,
                ));
            }
        }
        Ok(ReadResult::default())
    }

    /// Aborted transactions that have something in `[from, end)`, in the order of their ends.
    pub fn aborted_transactions(&self, from: Offset, end: Offset) -> Vec<AbortedTransaction> {
        let mut found = Vec::new();
        'all: for segment in &self.segments_from(from) {
            let index = segment.index.read();
            for aborted in &index.aborted {
                if aborted.marker >= from && aborted.first_offset < end {
                    found.push(*aborted);
                }
                // Whatever ends behind it began behind it, too.
                if aborted.last_stable >= end {
                    break 'all;
                }
            }
        }
        found
    }

    /// The frame whose offsets cover `offset`, of any kind; the HOLD where a unit's frames share it.
    pub fn batch_at(&self, offset: Offset) -> Result<Option<BatchView>, ReadError> {
        let committed = self.committed();
        for segment in &self.segments_from(offset) {
            let Some(limit) = limit(segment, &committed) else {
                break;
            };
            if let Some((position, header)) = find(segment, offset, limit, ReadUpTo::All)? {
                return if header.base_offset <= offset.0 {
                    load(segment, position, &header).map(Some)
                } else {
                    Ok(None)
                };
            }
        }
        Ok(None)
    }

    /// The same, not read but for its header.
    pub fn frame_at(&self, offset: Offset) -> Result<Option<StoredFrame>, ReadError> {
        let committed = self.committed();
        for segment in &self.segments_from(offset) {
            let Some(limit) = limit(segment, &committed) else {
                break;
            };
            if let Some((position, header)) = find(segment, offset, limit, ReadUpTo::All)? {
                let covers = header.base_offset <= offset.0;
                return Ok(covers.then(|| StoredFrame {
                    header,
                    position,
                    segment: Arc::downgrade(segment),
                }));
            }
        }
        Ok(None)
    }

    /// The first visible batch, by offset, that ends at `from` or later and has a timestamp of `timestamp` or more.
    pub fn first_batch_at_or_after_time(
        &self,
        timestamp: i64,
        from: Offset,
    ) -> Result<Option<BatchView>, ReadError> {
        let committed = self.committed();
        for segment in &self.segments_from(from) {
            let Some(limit) = limit(segment, &committed) else {
                break;
            };
            let start = {
                let index = segment.index.read();
                if index.max_timestamp < timestamp {
                    continue;
                }
                let by_time = index.position_for_time(timestamp);
                by_time.max(index.position_for_offset(from))
            };
            let mut found = None;
            for_each_visible(segment, start, limit, |position, header| {
                if header.max_timestamp < timestamp || header.last_offset() < from.0 {
                    return ControlFlow::Continue(());
                }
                found = Some((position, *header));
                ControlFlow::Break(())
            })?;
            if let Some((position, header)) = found {
                return load(segment, position, &header).map(Some);
            }
        }
        Ok(None)
    }

    /// One past the last segment that has a timestamp before this one: no visible record with such a timestamp lies behind it.
    pub fn end_before_time(&self, timestamp: i64) -> Offset {
        let segments = self.segments_from(Offset(0));
        let mut newest_first = segments.iter().rev();
        newest_first
            .find_map(|segment| {
                let index = segment.index.read();
                (index.min_timestamp < timestamp).then_some(index.next_offset)
            })
            .unwrap_or(Offset(0))
    }

    /// The first visible batch that has the largest timestamp of all.
    pub fn max_timestamp(&self) -> Result<Option<BatchView>, ReadError> {
        let committed = self.committed();
        let mut best: Option<(i64, Arc<Segment>, u64)> = None;
        for segment in &self.segments_from(Offset(0)) {
            let Some(limit) = limit(segment, &committed) else {
                break;
            };
            let (max, position) = {
                let index = segment.index.read();
                (index.max_timestamp, u64::from(index.max_timestamp_position))
            };
            let better = |max: i64| max >= 0 && best.as_ref().is_none_or(|(b, _, _)| max > *b);
            if !better(max) {
                continue;
            }
            let found = if position < limit {
                Some((max, position))
            } else {
                // The largest one is not committed yet.
                max_timestamp_below(segment, limit)?
            };
            if let Some((max, position)) = found.filter(|(max, _)| better(*max)) {
                best = Some((max, Arc::clone(segment), position));
            }
        }
        let Some((_, segment, position)) = best else {
            return Ok(None);
        };
        let header = header_at(&segment, position)?;
        load(&segment, position, &header).map(Some)
    }

    /// Gives `each` the hidden and FIRE frames from `from` to the log end, in log order. Segments without any are not read.
    pub fn scan_special(
        &self,
        from: Offset,
        each: &mut dyn FnMut(BatchView) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        self.scan_special_where(from, &|_| true, each)
    }

    /// The same, of those whose header is `wanted`; of others no more is read.
    pub fn scan_special_where(
        &self,
        from: Offset,
        wanted: &dyn Fn(&BatchHeader) -> bool,
        each: &mut dyn FnMut(BatchView) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        for segment in &self.segments_from(from) {
            let positions = segment.index.read().specials().to_vec();
            for position in positions {
                let header = header_at(segment, u64::from(position))?;
                if header.last_offset() < from.0 || !wanted(&header) {
                    continue;
                }
                if each(load(segment, u64::from(position), &header)?).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// The largest timestamp of visible batches before `limit`, and where the first one that has it is.
fn max_timestamp_below(segment: &Segment, limit: u64) -> Result<Option<(i64, u64)>, ReadError> {
    let (max, position) = segment.index.read().max_timestamp_before(limit);
    let mut max = max;
    for_each_visible(segment, position, limit, |_, header| {
        max = max.max(header.max_timestamp);
        ControlFlow::Continue(())
    })?;
    let mut found = None;
    let start = segment.index.read().position_for_time(max);
    for_each_visible(segment, start, limit, |position, header| {
        if header.max_timestamp < max {
            return ControlFlow::Continue(());
        }
        found = Some((max, position));
        ControlFlow::Break(())
    })?;
    Ok(found)
}

fn for_each_visible(
    segment: &Segment,
    from: u64,
    limit: u64,
    mut each: impl FnMut(u64, &BatchHeader) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let mut position = segment.index.read().skip_hidden(from);
    while position < limit {
        let header = header_at(segment, position)?;
        if each(position, &header).is_break() {
            break;
        }
        position = segment
            .index
            .read()
            .skip_hidden(position + header.total_len() as u64);
    }
    Ok(())
}

/// Where the committed part of a segment ends; `None` where nothing of it is committed.
pub(super) fn limit(segment: &Segment, committed: &Committed) -> Option<u64> {
    match segment.first_offset.cmp(&committed.segment) {
        std::cmp::Ordering::Less => Some(segment.index.read().size),
        std::cmp::Ordering::Equal => Some(committed.position),
        std::cmp::Ordering::Greater => None,
    }
}

/// The first frame that `upto` allows whose last offset is `from` or more.
fn find(
    segment: &Segment,
    from: Offset,
    limit: u64,
    upto: ReadUpTo,
) -> Result<Option<(u64, BatchHeader)>, ReadError> {
    let mut position = segment.index.read().position_for_offset(from);
    loop {
        if upto != ReadUpTo::All {
            position = segment.index.read().skip_hidden(position);
        }
        if position >= limit {
            return Ok(None);
        }
        if let Some(damage) = segment.damage_at(position) {
            if from <= damage.last {
                return Err(corrupt(segment, damage.start, damage.why));
            }
            position = damage.end;
            continue;
        }
        let header = header_at(segment, position)?;
        if header.last_offset() >= from.0 {
            return Ok(Some((position, header)));
        }
        position += header.total_len() as u64;
    }
}

/// Slices from a batch on: as much as fits, around hidden runs.
fn slices(
    segment: &Segment,
    from: u64,
    first: &BatchHeader,
    limit: u64,
    max_bytes: usize,
    upto: ReadUpTo,
    min_one: bool,
) -> ReadResult {
    // A part of the first batch alone is no answer: clients take it for a broken one. Source: Kafka, `ReplicaManager`.
    if !min_one && first.total_len() > max_bytes {
        return ReadResult::default();
    }
    let mut result = ReadResult {
        first_offset: Some(Offset(first.base_offset)),
        ..ReadResult::default()
    };
    let mut left = if min_one {
        max_bytes.max(first.total_len())
    } else {
        max_bytes
    };
    let index = segment.index.read();
    // What is damaged is an error for who asks for it, not for who asks for what is before.
    let limit = segment.damage_after(from).map_or(limit, |at| limit.min(at));
    let mut position = from;
    while left > 0 && position < limit {
        let end = match upto {
            ReadUpTo::Stable | ReadUpTo::Visible => index.visible_until(position, limit),
            ReadUpTo::All => limit,
        };
        let len = usize::try_from(end - position)
            .unwrap_or(usize::MAX)
            .min(left);
        if len > 0 {
            let file = Arc::clone(&segment.file);
            result.chunks.push(Chunk::File(FileSlice {
                file,
                position,
                len,
            }));
            result.bytes += len;
            left -= len;
        }
        position = match upto {
            ReadUpTo::Stable | ReadUpTo::Visible => index.skip_hidden(end),
            ReadUpTo::All => end,
        };
    }
    result.end = index.offset_behind(position);
    result
}

/// A batch's header, believed only as far as it fits its segment: walking on by a damaged one would skip records.
pub(super) fn header_at(segment: &Segment, position: u64) -> Result<BatchHeader, ReadError> {
    let (size, next_offset) = {
        let index = segment.index.read();
        (index.size, index.next_offset)
    };
    let misfit = || {
        let why = "the batch's length or offsets do not fit the segment";
        corrupt(segment, position, why.into())
    };
    if position + HEADER_LEN as u64 > size {
        return Err(misfit());
    }
    let mut bytes = [0; HEADER_LEN];
    segment.file.read_exact_at(&mut bytes, position)?;
    let header =
        BatchHeader::parse(&bytes).map_err(|e| corrupt(segment, position, e.to_string()))?;
    let fits = position + header.total_len() as u64 <= size
        && header.base_offset >= segment.first_offset.0
        && header.last_offset_delta >= 0
        && header.last_offset() < next_offset.0;
    if fits { Ok(header) } else { Err(misfit()) }
}

pub(super) fn load(
    segment: &Segment,
    position: u64,
    header: &BatchHeader,
) -> Result<BatchView, ReadError> {
    let mut bytes = vec![0; header.total_len()];
    segment.file.read_exact_at(&mut bytes, position)?;
    let batch =
        BatchView::parse(bytes.into()).map_err(|e| corrupt(segment, position, e.to_string()))?;
    if batch.verify_crc() {
        Ok(batch)
    } else {
        Err(corrupt(
            segment,
            position,
            "the batch's checksum does not fit".into(),
        ))
    }
}

pub(super) fn corrupt(segment: &Segment, position: u64, why: String) -> ReadError {
    ReadError::Corrupt {
        segment: segment.path.clone(),
        position,
        why,
    }
}
