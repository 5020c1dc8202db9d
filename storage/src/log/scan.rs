//! Walking a segment's bytes unit by unit, believing nothing.

use std::{io, sync::Arc};

use bytes::{Bytes, BytesMut};

use crate::{
    batch::{BatchHeader, BatchView, HEADER_LEN},
    disk::DiskFile,
    frame::UnitHead,
    units::Offset,
};

/// Bytes read ahead.
const READ_BYTES: usize = 1 << 20;
/// Reading a head alone is worth a call of its own where so much lies behind it.
const FAR_BYTES: usize = 16 << 10;

/// A unit that was found whole.
#[derive(Debug)]
pub struct ScanItem {
    /// Where it starts.
    pub position: u64,
    /// Its frames, the first of which opens it.
    pub frames: Vec<BatchView>,
}

/// Why a scan ended before the end of the file.
#[derive(Debug)]
pub enum ScanStop {
    /// The bytes at the scanner's position are no whole, valid unit.
    Bad(String),
    /// The file system refused.
    Io(io::Error),
}

/// Reads units one after another.
#[derive(Debug)]
pub struct Scanner {
    file: Arc<dyn DiskFile>,
    end: u64,
    /// Start of the next unit.
    position: u64,
    expected: Offset,
    window: Bytes,
    window_at: u64,
    stopped: Stopped,
    /// What was skipped last was large: of what follows, the head alone is read first.
    skips_far: bool,
}

/// More of what stopped a scan.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stopped {
    /// The frame that is not whole, or not where it belongs.
    pub(super) frame_at: u64,
    /// Where something that does not belong to the broken unit may start: behind it, if its HOLD could be read, for the frames
    /// after a HOLD are valid batches too.
    pub(super) search_from: u64,
    /// The frame was written whole, but not for that place: no write that was cut short leaves that.
    pub(super) misplaced: bool,
}

impl Scanner {
    /// From `position`, where the unit with the offset `expected` starts, to `end`.
    pub fn new(file: Arc<dyn DiskFile>, position: u64, end: u64, expected: Offset) -> Self {
        Self {
            file,
            end,
            position,
            expected,
            window: Bytes::new(),
            window_at: 0,
            stopped: Stopped::default(),
            skips_far: false,
        }
    }

    /// Start of the next unit, or of what stopped the scan.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// One past the last offset seen.
    pub fn next_offset(&self) -> Offset {
        self.expected
    }

    /// More of what stopped the scan.
    pub(super) fn stopped(&self) -> Stopped {
        self.stopped
    }

    /// The next unit; `None` at the end.
    pub fn next_unit(&mut self) -> Option<Result<ScanItem, ScanStop>> {
        if self.position >= self.end {
            return None;
        }
        Some(self.read_unit())
    }

    /// What the next unit's first frame says of itself, which its checksum was not asked about.
    pub(super) fn peek(&mut self) -> Option<Result<BatchHeader, ScanStop>> {
        (self.position < self.end).then(|| self.read_head())
    }

    fn read_head(&mut self) -> Result<BatchHeader, ScanStop> {
        let at = self.position;
        let head = if self.skips_far && !self.is_in_window(at, HEADER_LEN) {
            let mut head = [0; HEADER_LEN];
            self.check_end(at, HEADER_LEN)?;
            let read = self.file.read_exact_at(&mut head, at);
            read.map_err(ScanStop::Io)?;
            BatchHeader::parse(&head)
        } else {
            BatchHeader::parse(&self.bytes(at, HEADER_LEN)?)
        };
        head.map_err(|e| ScanStop::Bad(e.to_string()))
    }

    /// Goes on behind a unit of one frame, of which nothing but this head was read.
    pub(super) fn skip(&mut self, head: &BatchHeader) -> Result<(), ScanStop> {
        self.check_end(self.position, head.total_len())?;
        if head.base_offset != self.expected.0 || head.last_offset_delta < 0 {
            return Err(self.misplaced(format!(
                "offset {} where {} follows",
                head.base_offset, self.expected
            )));
        }
        self.skips_far = head.total_len() >= FAR_BYTES;
        self.position += head.total_len() as u64;
        self.expected = Offset(head.last_offset() + 1);
        Ok(())
    }

    fn read_unit(&mut self) -> Result<ScanItem, ScanStop> {
        self.stopped.search_from = self.position + 1;
        let first = self.read_batch(self.position)?;
        // The checksum does not cover the base offset; that units follow one another does.
        if first.header.base_offset != self.expected.0 {
            return Err(self.misplaced(format!(
                "offset {} where {} follows",
                first.header.base_offset, self.expected
            )));
        }
        let head = match UnitHead::parse(&first.header, &first.records()) {
            Ok(head) => head,
            Err(e) => return Err(self.misplaced(e.to_string())),
        };
        let (base, last) = (first.header.base_offset, first.header.last_offset());
        let mut at = self.position + first.bytes.len() as u64;
        let mut frames = vec![first];
        if let Some(head) = head {
            let unit_end = at + u64::from(head.following_bytes);
            self.stopped.search_from = unit_end;
            for _ in 0..head.following_frames {
                let frame = self.read_batch(at)?;
                if frame.header.base_offset != base || frame.header.last_offset() > last {
                    return Err(self.misplaced("a frame lies outside its unit".into()));
                }
                at += frame.bytes.len() as u64;
                frames.push(frame);
            }
            if at != unit_end {
                return Err(self.misplaced("a unit has another length than its HOLD says".into()));
            }
        }
        let item = ScanItem {
            position: self.position,
            frames,
        };
        self.position = at;
        self.expected = Offset(last + 1);
        Ok(item)
    }

    fn misplaced(&mut self, why: String) -> ScanStop {
        self.stopped.misplaced = true;
        ScanStop::Bad(why)
    }

    fn read_batch(&mut self, at: u64) -> Result<BatchView, ScanStop> {
        self.stopped.frame_at = at;
        let header = self.bytes(at, HEADER_LEN)?;
        let header = BatchHeader::parse(&header).map_err(|e| ScanStop::Bad(e.to_string()))?;
        let bytes = self.bytes(at, header.total_len())?;
        let batch = BatchView::parse(bytes).map_err(|e| ScanStop::Bad(e.to_string()))?;
        if header.last_offset_delta < 0 || header.base_offset < 0 {
            return Err(ScanStop::Bad("a batch has negative offsets".into()));
        }
        if !batch.verify_crc() {
            return Err(ScanStop::Bad("a batch's checksum does not fit".into()));
        }
        Ok(batch)
    }

    fn check_end(&self, at: u64, len: usize) -> Result<(), ScanStop> {
        if at + len as u64 > self.end {
            return Err(ScanStop::Bad("a batch is cut off".into()));
        }
        Ok(())
    }

    fn is_in_window(&self, at: u64, len: usize) -> bool {
        at >= self.window_at && at + len as u64 <= self.window_at + self.window.len() as u64
    }

    fn bytes(&mut self, at: u64, len: usize) -> Result<Bytes, ScanStop> {
        self.check_end(at, len)?;
        if !self.is_in_window(at, len) {
            let ahead = usize::try_from(self.end - at).unwrap_or(usize::MAX);
            // What was read before is mostly done with: its memory is used again, and need not be cleared.
            let window = std::mem::take(&mut self.window);
            let mut buf = window.try_into_mut().unwrap_or_else(|_| BytesMut::new());
            buf.resize(len.max(READ_BYTES).min(ahead), 0);
            self.file
                .read_exact_at(&mut buf, at)
                .map_err(ScanStop::Io)?;
            self.window = buf.freeze();
            self.window_at = at;
        }
        let from = usize::try_from(at - self.window_at).unwrap_or(usize::MAX);
        Ok(self.window.slice(from..from + len))
    }
}

/// What a device writes whole or not at all.
const SECTOR_BYTES: usize = 512;
/// Base offset and length: zero in no whole batch. Less of it may be lost with the sector before, and the checksum still fits.
const NEVER_ZERO_LEN: u64 = 12;

/// Whether a sector of a write that never reached the disk explains that no unit is at `at`, though a valid batch starts at
/// `until`. Sectors reach the disk in any order; one that did not reads as zeros, since a log only ever writes behind its end.
pub(super) fn has_lost_sector(
    file: &dyn DiskFile,
    at: u64,
    until: u64,
    expected: Offset,
) -> io::Result<bool> {
    let mut from = at;
    while from < until {
        let sector = SECTOR_BYTES as u64;
        let end = (from / sector + 1) * sector;
        if end >= until + NEVER_ZERO_LEN {
            // The valid batch starts in this sector: it was written.
            break;
        }
        let mut buf = [0; SECTOR_BYTES];
        let len = usize::try_from(end - from).unwrap_or(buf.len());
        let bytes = buf.get_mut(..len).unwrap_or_default();
        file.read_exact_at(bytes, from)?;
        let zero = bytes.iter().all(|b| *b == 0);
        // The first bytes of a whole unit may be zeros, too: those of a small base offset.
        let lost = from > at
            || end - from >= NEVER_ZERO_LEN
            || expected.0.to_be_bytes().iter().take(len).any(|b| *b != 0);
        if zero && lost {
            return Ok(true);
        }
        from = end;
    }
    Ok(false)
}

/// Whether a valid batch with an offset of `expected` or more starts anywhere in `[from, end)`: then what lies before it is
/// damage, not a torn tail.
pub(super) fn valid_batch_after(
    file: &dyn DiskFile,
    from: u64,
    end: u64,
    expected: Offset,
) -> io::Result<Option<u64>> {
    let mut window_at = from;
    while window_at + HEADER_LEN as u64 <= end {
        let len = usize::try_from(end - window_at)
            .unwrap_or(usize::MAX)
            .min(READ_BYTES);
        let mut window = vec![0; len];
        file.read_exact_at(&mut window, window_at)?;
        let places = len - HEADER_LEN + 1;
        for i in 0..places {
            let Some(bytes) = window.get(i..i + HEADER_LEN) else {
                break;
            };
            let Ok(header) = BatchHeader::parse(bytes) else {
                continue;
            };
            let at = window_at + i as u64;
            let fits = at + header.total_len() as u64 <= end
                && header.base_offset >= expected.0
                && header.last_offset_delta >= 0;
            if fits {
                let mut whole = vec![0; header.total_len()];
                file.read_exact_at(&mut whole, at)?;
                if BatchView::parse(whole.into()).is_ok_and(|b| b.verify_crc()) {
                    return Ok(Some(at));
                }
            }
        }
        window_at += places as u64;
    }
    Ok(None)
}
