//! When what was appended, to a second: for ranges by the time of appending, which batches with their producers' times do not tell.
//!
//! ```text
//! index/append-times      marks, each 24 bytes, big-endian, in order
//!
//!  0  offset    i64   nothing before it was appended later than the time,
//!  8  time      i64   and nothing from it on earlier; milliseconds of wall time
//! 16  crc       u32   CRC32C of the topic's id and of bytes 0 to 15
//! 20  reserved  u32   0
//! ```
//! A mark is written with the first append of a second. It is not synced and no append waits for it or fails with it: where marks are
//! lost or damaged, a range begins earlier and ends later, never the other way. When there are many, every second one of the older
//! half is left out: of what is old, times are known to some seconds. Segments tell when they were made, too. Where the wall clock was
//! set back, times stand still until it has caught up.

use std::{
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::log::Log;
use crate::{
    disk::{Disk, DiskFile, OpenMode},
    units::{Offset, TopicId},
};

const MARK: usize = 24;
const MARK_LEN: u64 = MARK as u64;
/// One a second at most.
const EVERY_MS: i64 = 1_000;
/// Marks at most: 1.5 MB.
pub(super) const MARKS_MAX: u64 = 1 << 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    offset: Offset,
    ms: i64,
}

impl Mark {
    fn encode(self, topic: TopicId) -> [u8; MARK] {
        let mut bytes = [0; MARK];
        let (body, rest) = bytes.split_at_mut(16);
        let (offset, ms) = body.split_at_mut(8);
        offset.copy_from_slice(&self.offset.0.to_be_bytes());
        ms.copy_from_slice(&self.ms.to_be_bytes());
        let crc = checksum(topic, body);
        if let Some(to) = rest.first_chunk_mut() {
            *to = crc.to_be_bytes();
        }
        bytes
    }

    fn decode(bytes: &[u8; MARK], topic: TopicId) -> Option<Self> {
        let (body, rest) = bytes.split_at(16);
        let crc = u32::from_be_bytes(*rest.first_chunk()?);
        if crc != checksum(topic, body) {
            return None;
        }
        Some(Self {
            offset: Offset(i64::from_be_bytes(*body.first_chunk()?)),
            ms: i64::from_be_bytes(*body.last_chunk()?),
        })
    }
}

fn checksum(topic: TopicId, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(topic.as_bytes()), body)
}

fn path(dir: &Path) -> PathBuf {
    dir.join("index").join("append-times")
}

/// The writer's part: where the next mark goes.
#[derive(Debug, Default)]
pub(super) struct AppendTimes {
    count: u64,
    /// Of the last mark.
    last_ms: Option<i64>,
    /// It could not be written: there are no more until the log is opened anew.
    is_broken: bool,
}

impl AppendTimes {
    /// Finds the last mark that holds, and cuts what is behind it: what was appended there is gone, or is not known of.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, topic: TopicId, log_end: Offset) -> Self {
        let opened = Self::find(disk, &path(dir), topic, log_end);
        opened.unwrap_or_else(|error| {
            tracing::warn!(log = %dir.display(), %error, "times of appends are not known");
            Self {
                is_broken: true,
                ..Self::default()
            }
        })
    }

    fn find(disk: &dyn Disk, path: &Path, topic: TopicId, log_end: Offset) -> io::Result<Self> {
        if !disk.exists(path) {
            return Ok(Self::default());
        }
        let file = disk.open(path, OpenMode::ReadWrite)?;
        let len = file.len()?;
        let mut count = len / MARK_LEN;
        let mut last_ms = None;
        while count > 0 {
            let mark = read(&*file, count - 1, topic)?;
            if let Some(mark) = mark.filter(|mark| mark.offset <= log_end) {
                last_ms = Some(mark.ms);
                break;
            }
            count -= 1;
        }
        if len != count * MARK_LEN {
            file.set_len(count * MARK_LEN)?;
            // Else they might come back, when the log has other records at their offsets.
            file.sync_data()?;
        }
        Ok(Self {
            count,
            last_ms,
            is_broken: false,
        })
    }

    /// Something was appended at that offset, and that time.
    pub(super) fn saw(&mut self, log: &Log, offset: Offset, now_ms: i64, log_start: Offset) {
        let is_due = self.last_ms.is_none_or(|last| now_ms - last >= EVERY_MS);
        if !is_due || self.is_broken {
            return;
        }
        let mark = Mark { offset, ms: now_ms };
        let written = log
            .disk
            .open(&path(&log.dir), OpenMode::Create)
            .and_then(|file| {
                let bytes = mark.encode(log.topic_id);
                file.write_all_at(&mut [IoSlice::new(&bytes)], self.count * MARK_LEN)
            });
        let written = written.and_then(|()| {
            self.count += 1;
            self.last_ms = Some(now_ms);
            if self.count < MARKS_MAX {
                return Ok(());
            }
            self.thin(log, log_start)
        });
        if let Err(error) = written {
            tracing::info!(log = %log.dir.display(), %error, "the time of an append is not kept");
            self.is_broken = true;
        }
    }

    /// Leaves out what is known of removed records, and every second mark of the older half of the rest. Not synced: what a power loss
    /// makes of it is found damaged, or older.
    fn thin(&mut self, log: &Log, log_start: Offset) -> io::Result<()> {
        let path = path(&log.dir);
        let file = log.disk.open(&path, OpenMode::Read)?;
        let len = usize::try_from(self.count * MARK_LEN).map_err(io::Error::other)?;
        let bytes = file.read_vec(len, 0)?;
        let offset_of = |mark: &[u8]| mark.first_chunk().map(|bytes| i64::from_be_bytes(*bytes));
        let marks: Vec<&[u8]> = bytes.chunks_exact(MARK).collect();
        let is_removed = |mark: &&&[u8]| offset_of(mark).is_some_and(|at| at <= log_start.0);
        // The last one at or before the start stays: it tells of what is there.
        let dead = marks
            .iter()
            .take_while(is_removed)
            .count()
            .saturating_sub(1);
        let live = marks.get(dead..).unwrap_or_default();
        let (older, newer) = live.split_at(live.len() / 2);
        let kept = older.iter().step_by(2).chain(newer);
        let kept: Vec<u8> = kept.flat_map(|mark| mark.iter().copied()).collect();
        let beside = path.with_file_name("append-times.new");
        let new = log.disk.open(&beside, OpenMode::Create)?;
        new.set_len(0)?;
        new.write_all_at(&mut [IoSlice::new(&kept)], 0)?;
        log.disk.rename(&beside, &path)?;
        self.count = kept.len() as u64 / MARK_LEN;
        Ok(())
    }
}

fn read(file: &dyn DiskFile, at: u64, topic: TopicId) -> io::Result<Option<Mark>> {
    let mut bytes = [0; MARK];
    file.read_exact_at(&mut bytes, at * MARK_LEN)?;
    Ok(Mark::decode(&bytes, topic))
}

/// Marks to search in.
struct Marks<'a> {
    file: &'a dyn DiskFile,
    count: u64,
    topic: TopicId,
}

impl Marks<'_> {
    /// The number of the first mark for which it holds, and with it for all behind; that of their end where there is none. `None`
    /// where a mark is damaged.
    fn first(&self, holds: impl Fn(Mark) -> bool) -> io::Result<Option<u64>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match read(self.file, middle, self.topic)? {
                None => return Ok(None),
                Some(mark) if holds(mark) => high = middle,
                Some(_) => low = middle + 1,
            }
        }
        Ok(Some(low))
    }

    fn get(&self, at: u64) -> io::Result<Option<Mark>> {
        if at < self.count {
            read(self.file, at, self.topic)
        } else {
            Ok(None)
        }
    }
}

impl Log {
    /// Offsets that have everything that was appended from `from_ms` on and before `to_ms`; where marks are whole, beside it at most
    /// what the second of the last append before it had, and what came in the second after it (of what is old, some seconds). An end
    /// of `None` is the log's.
    ///
    /// Blocks on the disk.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn appended_between(
        &self,
        from_ms: Option<i64>,
        to_ms: Option<i64>,
    ) -> io::Result<(Offset, Option<Offset>)> {
        let log_start = self.offsets().log_start;
        let path = path(&self.dir);
        let file = if self.disk.exists(&path) {
            Some(self.disk.open(&path, OpenMode::Read)?)
        } else {
            None
        };
        // As the file that was opened has it: the writer goes on, and may put another one in its place.
        let count = file.as_ref().map_or(Ok(0), |file| file.len())? / MARK_LEN;
        let Some(file) = file.filter(|_| count > 0) else {
            return Ok(self.segments_made_between(from_ms, to_ms, None));
        };
        let marks = Marks {
            file: &*file,
            count,
            topic: self.topic_id,
        };
        let at = |ms: Option<i64>| match ms {
            Some(ms) => marks.first(|mark| mark.ms >= ms),
            None => Ok(None),
        };
        let (first, behind) = (at(from_ms)?, at(to_ms)?);
        // What was appended before there were marks has its segments' times.
        let older = marks.get(0)?.map(|mark| mark.offset);
        let (mut start, mut end) = match older {
            Some(older) => self.segments_made_between(from_ms, to_ms, Some(older)),
            None => (log_start, None),
        };
        if let Some(mark) = first.and_then(|at| at.checked_sub(1)) {
            start = start.max(marks.get(mark)?.map_or(log_start, |mark| mark.offset));
        }
        if end.is_none()
            && let Some(at) = behind
        {
            end = marks.get(at)?.map(|mark| mark.offset);
        }
        Ok((start, end))
    }

    /// The same by when segments were made, of those that begin before an offset.
    fn segments_made_between(
        &self,
        from_ms: Option<i64>,
        to_ms: Option<i64>,
        before: Option<Offset>,
    ) -> (Offset, Option<Offset>) {
        let segments = Arc::clone(&self.segments.read());
        let known = segments
            .iter()
            .map(|s| (s.first_offset, s.created_ms))
            .filter(|(first, _)| before.is_none_or(|before| *first <= before));
        let log_start = self.offsets().log_start;
        // A segment was made when its first batch was appended, or before.
        let start = from_ms.and_then(|from| known.clone().take_while(|(_, ms)| *ms < from).last());
        let end = to_ms.and_then(|to| known.clone().find(|(_, ms)| *ms >= to));
        (
            start.map_or(log_start, |(first, _)| first.max(log_start)),
            end.map(|(first, _)| first),
        )
    }
}
