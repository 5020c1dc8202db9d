//! At a start: what the journal says is written to the segments.

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    error::{JournalError, io_at},
    format::{
        BLOCK_BYTES, BLOCK_LEN, Entry, FileHeader, ROUND_HEADER_LEN, ROUND_MAGIC, RoundHeader,
        SegmentName, entries,
    },
    halves::{NAMES, folder},
};
use crate::{
    disk::{Disk, DiskFile, OpenMode},
    log::{SEGMENT_HEADER_LEN, SegmentHeader, is_half_made, segment_file_name},
};

/// Threads that sync segments side by side.
const SYNC_THREADS: usize = 8;

/// Read at once where rounds are looked for: a multiple of a block.
const PIECE_BYTES: usize = 1 << 20;

/// What a start took from the journal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Rounds that were not over.
    pub rounds: u64,
    /// Bytes of segments in them.
    pub bytes: u64,
    /// Those that the segments did not have.
    pub written_bytes: u64,
    /// Segments that were synced.
    pub segments: usize,
    /// Entries of topics and segments that were removed since.
    pub passed_over: u64,
}

/// A journal file whose header was read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) header: FileHeader,
    pub(super) bytes: u64,
}

/// The files that are there.
pub(super) fn read_headers(disk: &dyn Disk, node_dir: &Path) -> Result<Vec<Found>, JournalError> {
    let mut found = Vec::with_capacity(NAMES.len());
    for name in NAMES {
        let path = folder(node_dir).join(name);
        if !disk.exists(&path) {
            continue;
        }
        let file = disk
            .open(&path, OpenMode::ReadWrite)
            .map_err(io_at(&path))?;
        let bytes = file.len().map_err(io_at(&path))?;
        let mut block = vec![0; usize::try_from(bytes.min(BLOCK_BYTES)).unwrap_or(0)];
        file.read_exact_at(&mut block, 0).map_err(io_at(&path))?;
        let header = FileHeader::parse(&block).map_err(|why| JournalError::Unreadable {
            file: path.clone(),
            why,
        })?;
        found.push(Found {
            path,
            file,
            header,
            bytes,
        });
    }
    Ok(found)
}

/// Writes to the segments what they do not have, and syncs them. Returns the last generation that anything was written in.
pub(super) fn replay(
    disk: &dyn Disk,
    node_dir: &Path,
    found: &[Found],
) -> Result<(Replayed, u64), JournalError> {
    let mut files = Vec::with_capacity(found.len());
    let mut last_generation = 0;
    for file in found {
        last_generation = last_generation.max(file.header.first_generation);
        if file.header.is_closed {
            continue;
        }
        let first = file.round_at(BLOCK_BYTES)?;
        let is_new = |header: &RoundHeader| header.generation >= file.header.first_generation;
        match first.map(|(header, _)| header).filter(is_new) {
            Some(header) => {
                last_generation = last_generation.max(header.generation);
                files.push((header.generation, file));
            }
            None if file.has_later(BLOCK_BYTES, is_new)? => {
                return Err(file.damaged_at(0, BLOCK_BYTES));
            }
            None => {}
        }
    }
    files.sort_by_key(|(generation, _)| *generation);
    let mut segments = Segments {
        disk,
        node_dir,
        open: HashMap::new(),
        replayed: Replayed::default(),
    };
    for (generation, file) in files {
        segments.take_in(file, generation)?;
    }
    let replayed = segments.sync()?;
    Ok((replayed, last_generation))
}

impl Found {
    /// A whole round that starts there.
    fn round_at(&self, position: u64) -> Result<Option<(RoundHeader, Vec<u8>)>, JournalError> {
        let Some(left) = self.bytes.checked_sub(position) else {
            return Ok(None);
        };
        if left < BLOCK_BYTES {
            return Ok(None);
        }
        let read = |buf: &mut [u8]| self.file.read_exact_at(buf, position);
        let mut head = [0; ROUND_HEADER_LEN];
        read(&mut head).map_err(io_at(&self.path))?;
        let Some(header) = RoundHeader::parse(&head).filter(|h| u64::from(h.len) <= left) else {
            return Ok(None);
        };
        let mut round = vec![0; header.len as usize];
        read(&mut round).map_err(io_at(&self.path))?;
        let fits = header.fits(self.header.salt, &round);
        Ok(fits.then_some((header, round)))
    }

    /// Whether such a round starts from a position on.
    fn has_later(
        &self,
        mut position: u64,
        is_such: impl Fn(&RoundHeader) -> bool,
    ) -> Result<bool, JournalError> {
        let mut piece = vec![0; PIECE_BYTES];
        while let Some(left) = self.bytes.checked_sub(position).filter(|left| *left > 0) {
            piece.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            let read = self.file.read_exact_at(&mut piece, position);
            read.map_err(io_at(&self.path))?;
            for (block, at) in piece.chunks(BLOCK_LEN).zip(0u64..) {
                if !block.starts_with(ROUND_MAGIC) {
                    continue;
                }
                let later = self.round_at(position + at * BLOCK_BYTES)?;
                if later.is_some_and(|(header, _)| is_such(&header)) {
                    return Ok(true);
                }
            }
            position += piece.len() as u64;
        }
        Ok(false)
    }

    fn damaged_at(&self, number: u64, position: u64) -> JournalError {
        JournalError::Unreadable {
            file: self.path.clone(),
            why: format!("round {number} at {position} is damaged, and a later one is not"),
        }
    }
}

/// An open segment, and where it is.
type SegmentFile = (PathBuf, Arc<dyn DiskFile>);

struct Segments<'a> {
    disk: &'a dyn Disk,
    node_dir: &'a Path,
    /// `None` where there is no such segment any more.
    open: HashMap<SegmentName, Option<SegmentFile>>,
    replayed: Replayed,
}

impl Segments<'_> {
    /// All rounds of a file.
    fn take_in(&mut self, file: &Found, generation: u64) -> Result<(), JournalError> {
        let unreadable = |why: String| JournalError::Unreadable {
            file: file.path.clone(),
            why,
        };
        let mut names = HashMap::new();
        let (mut position, mut number) = (BLOCK_BYTES, 0);
        while let Some((header, round)) = file.round_at(position)? {
            if header.generation != generation || header.number != number {
                break;
            }
            for entry in entries(&round) {
                match entry.map_err(|why| unreadable(format!("the round at {position}: {why}")))? {
                    Entry::Segment { id, name, folder } => {
                        self.open(&name, folder)?;
                        names.insert(id, name);
                    }
                    Entry::Bytes {
                        id,
                        position: at,
                        bytes,
                    } => {
                        let name = names.get(&id).ok_or_else(|| {
                            unreadable(format!("the round at {position} speaks of segment {id}, which was not named"))
                        })?;
                        self.write(name, at, bytes)?;
                    }
                }
            }
            self.replayed.rounds += 1;
            position += u64::from(header.len).next_multiple_of(BLOCK_BYTES);
            number += 1;
        }
        let follows =
            |later: &RoundHeader| later.generation == generation && later.number >= number;
        if file.has_later(position, follows)? {
            return Err(file.damaged_at(number, position));
        }
        Ok(())
    }

    /// Finds a segment. Topics are deleted and segments retired while the journal still speaks of them.
    fn open(&mut self, name: &SegmentName, folder: &str) -> Result<(), JournalError> {
        if self.open.contains_key(name) {
            return Ok(());
        }
        let is_below = Path::new(folder)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let path = self
            .node_dir
            .join(folder)
            .join("segments")
            .join(segment_file_name(name.first_offset));
        let found = if is_below && self.disk.exists(&path) {
            self.open_found(name, path)?
        } else {
            None
        };
        self.open.insert(name.clone(), found);
        Ok(())
    }

    fn open_found(
        &self,
        name: &SegmentName,
        path: PathBuf,
    ) -> Result<Option<SegmentFile>, JournalError> {
        let file = self
            .disk
            .open(&path, OpenMode::ReadWrite)
            .map_err(io_at(&path))?;
        let damaged = |why: String| JournalError::Segment {
            segment: path.clone(),
            position: 0,
            why,
        };
        let len = file.len().map_err(io_at(&path))?;
        if is_half_made(&*file, len).map_err(io_at(&path))? {
            let is_another_s = self.is_of_a_later_topic(name, &path);
            return if is_another_s.map_err(io_at(&path))? {
                Ok(None)
            } else {
                Err(damaged("its header is cut off".into()))
            };
        }
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        file.read_exact_at(&mut bytes, 0).map_err(io_at(&path))?;
        let header = SegmentHeader::parse(&bytes).map_err(damaged)?;
        let is_same = header.topic_id == name.topic_id
            && header.partition == name.partition
            && header.first_offset == name.first_offset
            && header.rewritten == 0;
        Ok(is_same.then_some((path, file)))
    }

    /// Whether a segment without a header is of a topic that was made after the named one was deleted, in a folder of the same
    /// name: the journal has bytes of a segment only after its header was synced, so it cannot be the named one unless
    /// somebody cut it. What is beside it says: an earlier segment, or that the log was never opened, as nothing was written
    /// about it.
    fn is_of_a_later_topic(&self, name: &SegmentName, path: &Path) -> io::Result<bool> {
        let Some(segments) = path.parent() else {
            return Ok(false);
        };
        let files = self.disk.list(segments)?;
        let own = segment_file_name(name.first_offset);
        if let Some((earlier, _)) = files.first().filter(|(file, _)| *file < own) {
            let file = self.disk.open(&segments.join(earlier), OpenMode::Read)?;
            let mut bytes = [0; SEGMENT_HEADER_LEN];
            file.read_exact_at(&mut bytes, 0)?;
            return Ok(
                SegmentHeader::parse(&bytes).is_ok_and(|header| header.topic_id != name.topic_id)
            );
        }
        let meta = segments.with_file_name("meta");
        Ok(!self.disk.exists(&meta) || self.disk.list(&meta)?.is_empty())
    }

    fn write(
        &mut self,
        name: &SegmentName,
        position: u64,
        bytes: &[u8],
    ) -> Result<(), JournalError> {
        let replayed = &mut self.replayed;
        let Some(Some((path, file))) = self.open.get(name) else {
            replayed.passed_over += 1;
            return Ok(());
        };
        replayed.bytes += bytes.len() as u64;
        let len = file.len().map_err(io_at(path))?;
        if len < position {
            return Err(JournalError::Segment {
                segment: path.clone(),
                position,
                why: format!("it ends at {len}"),
            });
        }
        if len >= position + bytes.len() as u64 {
            let mut there = vec![0; bytes.len()];
            file.read_exact_at(&mut there, position)
                .map_err(io_at(path))?;
            if there == bytes {
                return Ok(());
            }
        }
        file.write_all_at(&mut [IoSlice::new(bytes)], position)
            .map_err(io_at(path))?;
        replayed.written_bytes += bytes.len() as u64;
        Ok(())
    }

    /// What a process that was killed left in the page cache is not durable either.
    fn sync(self) -> Result<Replayed, JournalError> {
        let files: Vec<_> = self.open.into_values().flatten().collect();
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(None);
        let sync = || {
            while let Some((path, file)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = file.sync_data() {
                    *failed.lock() = Some(io_at(path)(error));
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..SYNC_THREADS.min(files.len()) {
                scope.spawn(sync);
            }
            sync();
        });
        match failed.into_inner() {
            Some(error) => Err(error),
            None => Ok(Replayed {
                segments: files.len(),
                ..self.replayed
            }),
        }
    }
}
