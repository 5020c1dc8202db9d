//! The two files, and writing rounds to one of them.

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    error::{JournalError, io_at},
    format::{BLOCK_BYTES, FileHeader, ROUND_HEADER_LEN, RoundBuffer, SegmentName},
    replay::{self, Replayed},
};
use crate::{
    disk::{Disk, DiskFile, OpenMode},
    units::{Offset, TopicId},
};

pub(super) const NAMES: [&str; 2] = ["a.journal", "b.journal"];
/// Of an entry, without the bytes and the folder's name: the larger of both kinds.
const ENTRY_LEN: u64 = 35;
/// Zeros are written in pieces of it, each synced: one large write would hold up the rounds.
static ZEROS: [u8; 1 << 18] = [0; 1 << 18];

/// The folder of the journal of the node with that folder.
pub(super) fn folder(node_dir: &Path) -> PathBuf {
    node_dir.join("journal")
}

/// What a log wants to be durable: the bytes of its segment in a range. They do not change any more.
#[derive(Clone, Copy, Debug)]
pub struct Tail<'a> {
    /// The partition's folder, below the node's.
    pub folder: &'a Path,
    /// The topic.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: i32,
    /// The segment.
    pub first_offset: Offset,
    /// Its file, which the bytes are read from.
    pub file: &'a dyn DiskFile,
    /// Where they start; all before is durable.
    pub from: u64,
    /// Where they end.
    pub to: u64,
}

impl Tail<'_> {
    /// Bytes of it.
    pub const fn len(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// Whether there is nothing to do.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One of the files. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Half {
    file: Arc<dyn DiskFile>,
    salt: u64,
    bytes: u64,
}

impl Half {
    fn make(disk: &dyn Disk, folder: &Path, name: &str, bytes: u64) -> io::Result<Self> {
        let beside = folder.join(format!("{name}.new"));
        let file = disk.open(&beside, OpenMode::Create)?;
        file.set_len(0)?;
        let mut half = Self {
            file,
            salt: uuid::Uuid::new_v4().as_u64_pair().0,
            bytes: 0,
        };
        half.grow(bytes)?;
        half.begin_at(1)?;
        disk.rename(&beside, &folder.join(name))?;
        Ok(half)
    }

    /// Its size.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes zeros up to that size, so that a round needs no blocks from the file system. Blocks on the disk.
    pub fn grow(&mut self, bytes: u64) -> io::Result<()> {
        let mut at = self.bytes;
        while at < bytes {
            let piece = usize::try_from(bytes - at).map_or(ZEROS.len(), |n| n.min(ZEROS.len()));
            let zeros = ZEROS.get(..piece).unwrap_or_default();
            self.file.write_all_at(&mut [IoSlice::new(zeros)], at)?;
            self.file.sync_data()?;
            at += piece as u64;
        }
        self.bytes = self.bytes.max(bytes);
        Ok(())
    }

    /// What was written in an earlier generation is over. Blocks on the disk.
    pub fn begin_at(&self, first_generation: u64) -> io::Result<()> {
        self.write_header(first_generation, false)
    }

    fn write_header(&self, first_generation: u64, is_closed: bool) -> io::Result<()> {
        let header = FileHeader {
            salt: self.salt,
            first_generation,
            is_closed,
        };
        self.file
            .write_all_at(&mut [IoSlice::new(&header.encode())], 0)?;
        self.file.sync_data()
    }
}

/// The journal of a node; one thread writes it.
#[derive(Debug)]
pub struct Journal {
    node_dir: PathBuf,
    halves: [Half; 2],
    /// Which of them is filled.
    active: usize,
    generation: u64,
    /// Of the next round.
    number: u64,
    /// Where it goes.
    position: u64,
    /// Segments that this generation has named.
    ids: HashMap<SegmentName, u32>,
    buffer: RoundBuffer,
}

impl Journal {
    /// Takes the journal that a node's folder has, if it has one, after what it says was written to the segments and these
    /// were synced. No log may be open.
    pub fn open(
        disk: &dyn Disk,
        node_dir: &Path,
    ) -> Result<(Option<Self>, Replayed), JournalError> {
        let found = replay::read_headers(disk, node_dir)?;
        let (replayed, last_generation) = replay::replay(disk, node_dir, &found)?;
        let folder = folder(node_dir);
        let mut halves = Vec::with_capacity(found.len());
        for file in found {
            let half = Half {
                file: file.file,
                salt: file.header.salt,
                bytes: file.bytes,
            };
            half.begin_at(last_generation + 1).map_err(io_at(&folder))?;
            halves.push(half);
        }
        let halves = <[Half; 2]>::try_from(halves).ok();
        let journal = halves.map(|halves| Self::over(node_dir, halves, last_generation + 1));
        Ok((journal, replayed))
    }

    /// Makes a journal whose halves have that size. Blocks on the disk.
    pub fn make(disk: &dyn Disk, node_dir: &Path, half_bytes: u64) -> io::Result<Self> {
        let folder = folder(node_dir);
        disk.create_dir_all(&folder)?;
        disk.sync_dir(node_dir)?;
        let [a, b] = NAMES;
        let halves = [
            Half::make(disk, &folder, a, half_bytes)?,
            Half::make(disk, &folder, b, half_bytes)?,
        ];
        disk.sync_dir(&folder)?;
        Ok(Self::over(node_dir, halves, 1))
    }

    /// Removes a journal whose rounds are over, as they are after [`Journal::open`].
    pub fn remove(self, disk: &dyn Disk) -> io::Result<()> {
        let folder = folder(&self.node_dir);
        for name in NAMES {
            disk.remove_file(&folder.join(name))?;
        }
        disk.sync_dir(&folder)
    }

    fn over(node_dir: &Path, halves: [Half; 2], generation: u64) -> Self {
        Self {
            node_dir: node_dir.to_path_buf(),
            halves,
            active: 0,
            generation,
            number: 0,
            position: BLOCK_BYTES,
            ids: HashMap::new(),
            buffer: RoundBuffer::default(),
        }
    }

    /// Whether the log with that folder is one of this node.
    pub fn is_of_this_node(&self, folder: &Path) -> bool {
        self.name_of(folder).is_some()
    }

    /// Whether a round of these tails fits what is left of the half.
    pub fn has_room(&self, tails: &[Tail<'_>]) -> bool {
        let len: u64 = tails
            .iter()
            .map(|tail| 2 * ENTRY_LEN + tail.folder.as_os_str().len() as u64 + tail.len())
            .sum();
        let round = (ROUND_HEADER_LEN as u64 + len).next_multiple_of(BLOCK_BYTES);
        self.active_half()
            .is_some_and(|half| self.position + round <= half.bytes)
    }

    /// Writes a round, and syncs it: the tails are durable when this returns the bytes that it took.
    ///
    /// After an error nobody knows what is on the disk: nothing more may be written.
    pub fn write(&mut self, tails: &[Tail<'_>]) -> io::Result<u64> {
        self.buffer.start();
        for tail in tails {
            let name = SegmentName {
                topic_id: tail.topic_id,
                partition: tail.partition,
                first_offset: tail.first_offset,
            };
            let id = if let Some(id) = self.ids.get(&name) {
                *id
            } else {
                let id = u32::try_from(self.ids.len()).map_err(io::Error::other)?;
                let folder = self.name_of(tail.folder);
                let folder = folder.ok_or(io::ErrorKind::InvalidInput)?;
                self.buffer.segment(id, &name, folder);
                self.ids.insert(name, id);
                id
            };
            let len = u32::try_from(tail.len()).map_err(io::Error::other)?;
            let room = self.buffer.bytes(id, tail.from, len);
            tail.file.read_exact_at(room, tail.from)?;
        }
        let Some(half) = self.halves.get(self.active) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let round = self.buffer.finish(half.salt, self.generation, self.number);
        let len = round.len() as u64;
        if self.position + len > half.bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        half.file
            .write_all_at(&mut [IoSlice::new(round)], self.position)?;
        half.file.sync_data()?;
        self.position += len;
        self.number += 1;
        Ok(len)
    }

    /// From here on rounds go to the other half, as it is given back; what it had is over. Returns the one that was filled,
    /// and the generation that may be written there next: that of what it has is one less.
    pub fn switch(&mut self, to: Half) -> Option<(Half, u64)> {
        let filled = self.active_half().cloned();
        let filled = filled.map(|half| (half, self.generation + 1));
        self.active = 1 - self.active;
        if let Some(half) = self.halves.get_mut(self.active) {
            *half = to;
        }
        self.generation += 1;
        self.number = 0;
        self.position = BLOCK_BYTES;
        self.ids.clear();
        filled
    }

    /// The half that is not filled.
    pub fn other_half(&self) -> Option<Half> {
        self.halves.get(1 - self.active).cloned()
    }

    /// All that was written is in the segments, synced.
    pub fn end(self) -> io::Result<()> {
        self.halves
            .iter()
            .try_for_each(|half| half.write_header(self.generation + 1, true))
    }

    fn active_half(&self) -> Option<&Half> {
        self.halves.get(self.active)
    }

    fn name_of<'a>(&self, folder: &'a Path) -> Option<&'a str> {
        folder.strip_prefix(&self.node_dir).ok()?.to_str()
    }
}
