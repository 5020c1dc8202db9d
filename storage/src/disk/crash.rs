//! A disk in memory that tells what was written from what would survive a power loss.
//!
//! - Bytes of a file, and its size, become durable by [`DiskFile::sync_data`]; names by [`Disk::sync_dir`] of their folder.
//! - [`CrashDisk::crash`] is what a power loss leaves: what is durable, and any of the rest, by sectors of 512 bytes and by
//!   names. Sectors that were lost read as before, or as zeros where there was nothing.
//! - [`CrashDisk::kill`] is what the end of the process leaves: everything.
//! - Faults are counted, not timed, so that a test can try all: the process is gone after n changes, the nth sync fails, the
//!   disk holds n bytes.
//!
//! One mutex guards all of it: a test's disk is small.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fmt,
    fs::File,
    io::{self, IoSlice},
    ops::Range,
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{Disk, DiskFile, OpenMode};

/// What a device writes whole or not at all.
const SECTOR_BYTES: usize = 512;
const ROOT: usize = 0;

/// The disk; clones are the same disk.
#[derive(Clone)]
pub struct CrashDisk(Arc<Mutex<State>>);

/// What was asked of a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Changes: writes, syncs, names, sizes.
    pub changes: u64,
    /// Syncs of files' bytes.
    pub syncs: u64,
    /// Reads of files.
    pub reads: u64,
    /// Bytes read.
    pub bytes_read: u64,
}

#[derive(Debug, Default)]
struct State {
    folders: Vec<Folder>,
    files: Vec<Content>,
    counters: Counters,
    /// Changes that still succeed.
    budget: Option<u64>,
    /// The process is gone: nothing changes any more.
    gone: bool,
    /// Syncs from now on until one fails.
    sync_to_fail: Option<u64>,
    capacity_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Folder(usize),
    File(usize),
}

#[derive(Clone, Debug, Default)]
struct Folder {
    live: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Where both may differ.
    dirty: Option<Range<usize>>,
}

impl Default for CrashDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for CrashDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrashDisk").finish_non_exhaustive()
    }
}

impl CrashDisk {
    /// An empty disk without limits.
    pub fn new() -> Self {
        let mut state = State::default();
        state.folders.push(Folder::default());
        Self(Arc::new(Mutex::new(state)))
    }

    /// The disk after a power loss: with seed 0 only what is durable, else that and a part of the rest, another one for each
    /// seed. It has no limits and no faults.
    #[must_use]
    pub fn crash(&self, seed: u64) -> Self {
        let state = self.0.lock();
        let mut after = State::default();
        let mut choice = Choice::new(seed);
        state.copy_folder(ROOT, &mut after, &mut Survivors::Some(&mut choice));
        Self(Arc::new(Mutex::new(after)))
    }

    /// The disk after the process was killed: all of it is there, and still not synced. No limits, no faults.
    #[must_use]
    pub fn kill(&self) -> Self {
        let state = self.0.lock();
        Self(Arc::new(Mutex::new(State {
            folders: state.folders.clone(),
            files: state.files.clone(),
            ..State::default()
        })))
    }

    /// An independent copy of which all is durable.
    #[must_use]
    pub fn settled(&self) -> Self {
        let state = self.0.lock();
        let mut after = State::default();
        state.copy_folder(ROOT, &mut after, &mut Survivors::All);
        Self(Arc::new(Mutex::new(after)))
    }

    /// After `changes` more changes all others fail, as if the process were gone; the first to fail writes half of its bytes,
    /// if it is a write.
    pub fn stop_after(&self, changes: u64) {
        self.0.lock().budget = Some(changes);
    }

    /// The `nth` sync of a file from now on fails (1 is the next one); those after it succeed again.
    pub fn fail_sync(&self, nth: u64) {
        self.0.lock().sync_to_fail = Some(nth);
    }

    /// The disk holds so many bytes of files; a write that does not fit is cut short. `None` for no limit.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity_bytes = bytes;
    }

    /// Bytes of all files.
    pub fn used_bytes(&self) -> u64 {
        self.0.lock().used_bytes()
    }

    /// What was asked of it so far.
    pub fn counters(&self) -> Counters {
        self.0.lock().counters
    }

    /// A file's bytes as they read now.
    pub fn bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.0.lock();
        match state.find(path) {
            Some(Node::File(file)) => state.files.get(file).map(|f| f.live.clone()),
            _ => None,
        }
    }

    /// Gives a file other bytes, durably: damage that no write of ours did. The file is made if it does not exist.
    pub fn set_bytes(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.0.lock();
        let (folder, name) = state.place(path)?;
        let content = Content {
            live: bytes.to_vec(),
            durable: bytes.to_vec(),
            dirty: None,
        };
        let file = match state.find(path) {
            Some(Node::File(file)) => file,
            _ => state.files.len(),
        };
        if file == state.files.len() {
            state.files.push(content);
        } else {
            *state.file_mut(file)? = content;
        }
        let folder = state.folder_mut(folder)?;
        folder.live.insert(name.clone(), Node::File(file));
        folder.durable.insert(name, Node::File(file));
        Ok(())
    }

    /// Removes a file, durably.
    pub fn lose(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        let (folder, name) = state.place(path)?;
        let folder = state.folder_mut(folder)?;
        folder.durable.remove(&name);
        folder.live.remove(&name).map_or_else(not_found, |_| Ok(()))
    }

    /// All files and their bytes, as they read now.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let state = self.0.lock();
        let mut files = BTreeMap::new();
        state.collect(ROOT, Path::new("/"), &mut files);
        files
    }
}

impl Disk for CrashDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        let file = match state.find(path) {
            Some(Node::File(file)) => file,
            Some(Node::Folder(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            None if mode != OpenMode::Create => return not_found(),
            None => {
                let (folder, name) = state.place(path)?;
                state.change()?;
                let file = state.files.len();
                state.files.push(Content::default());
                state
                    .folder_mut(folder)?
                    .live
                    .insert(name, Node::File(file));
                file
            }
        };
        Ok(Arc::new(CrashFile {
            disk: self.clone(),
            file,
            writable: mode != OpenMode::Read,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        let Some(node) = state.find(from) else {
            return not_found();
        };
        let (from_folder, from_name) = state.place(from)?;
        let (to_folder, to_name) = state.place(to)?;
        state.change()?;
        state.folder_mut(from_folder)?.live.remove(&from_name);
        state.folder_mut(to_folder)?.live.insert(to_name, node);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        let Some(Node::File(_)) = state.find(path) else {
            return not_found();
        };
        let (folder, name) = state.place(path)?;
        state.change()?;
        state.folder_mut(folder)?.live.remove(&name);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        let Some(Node::Folder(folder)) = state.find(dir) else {
            return not_found();
        };
        state.change()?;
        let folder = state.folder_mut(folder)?;
        folder.durable = folder.live.clone();
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, bool)>> {
        let state = self.0.lock();
        let Some(Node::Folder(folder)) = state.find(dir) else {
            return not_found();
        };
        let names = state.folders.get(folder).into_iter().flat_map(|f| &f.live);
        Ok(names
            .map(|(name, node)| (name.clone(), matches!(node, Node::Folder(_))))
            .collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        let mut at = ROOT;
        for name in names(dir) {
            let name = text(name)?;
            let found = state.folder_mut(at)?.live.get(&name).copied();
            at = match found {
                Some(Node::Folder(folder)) => folder,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => {
                    state.change()?;
                    let folder = state.folders.len();
                    state.folders.push(Folder::default());
                    state
                        .folder_mut(at)?
                        .live
                        .insert(name, Node::Folder(folder));
                    folder
                }
            };
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.lock().find(path).is_some()
    }
}

#[derive(Debug)]
struct CrashFile {
    disk: CrashDisk,
    file: usize,
    writable: bool,
}

impl DiskFile for CrashFile {
    fn read_exact_at(&self, buf: &mut [u8], position: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.counters.reads += 1;
        state.counters.bytes_read += buf.len() as u64;
        let from = index(position)?;
        let live = &state.file_mut(self.file)?.live;
        match live.get(from..from.saturating_add(buf.len())) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn write_all_at(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        self.check_writable()?;
        let bytes: Vec<u8> = slices.iter().flat_map(|s| s.iter()).copied().collect();
        let from = index(position)?;
        let mut state = self.disk.0.lock();
        let was_gone = state.gone;
        if let Err(gone) = state.change() {
            if !was_gone {
                let (half, _) = bytes.split_at(bytes.len() / 2);
                state.file_mut(self.file)?.write(half, from);
            }
            return Err(gone);
        }
        let room = state.room();
        let content = state.file_mut(self.file)?;
        let growth = (from + bytes.len()).saturating_sub(content.live.len());
        let missing = growth.saturating_sub(room);
        let (fits, _) = bytes.split_at(bytes.len().saturating_sub(missing));
        content.write(fits, from);
        if missing > 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.change()?;
        state.counters.syncs += 1;
        match state.sync_to_fail.as_mut() {
            Some(1) => {
                state.sync_to_fail = None;
                // What failed to be written is dropped from the cache's list of dirty pages: a later sync does not write it.
                state.file_mut(self.file)?.dirty = None;
                return Err(io::Error::other("EIO"));
            }
            Some(n) => *n -= 1,
            None => {}
        }
        state.file_mut(self.file)?.sync();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check_writable()?;
        let len = index(len)?;
        let mut state = self.disk.0.lock();
        state.change()?;
        let room = state.room();
        let content = state.file_mut(self.file)?;
        if len.saturating_sub(content.live.len()) > room {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.set_len(len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().file_mut(self.file)?.live.len() as u64)
    }

    fn as_std(&self) -> Option<&File> {
        None
    }
}

impl CrashFile {
    fn check_writable(&self) -> io::Result<()> {
        if self.writable {
            Ok(())
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}

impl Content {
    fn write(&mut self, bytes: &[u8], from: usize) {
        let end = from + bytes.len();
        if self.live.len() < end {
            self.touch(self.live.len()..end);
            self.live.resize(end, 0);
        }
        if let Some(place) = self.live.get_mut(from..end) {
            place.copy_from_slice(bytes);
        }
        self.touch(from..end);
    }

    fn set_len(&mut self, len: usize) {
        let before = self.live.len();
        self.live.resize(len, 0);
        self.touch(before.min(len)..before.max(len));
    }

    fn touch(&mut self, range: Range<usize>) {
        self.dirty = Some(match self.dirty.take() {
            Some(dirty) => dirty.start.min(range.start)..dirty.end.max(range.end),
            None => range,
        });
    }

    fn sync(&mut self) {
        let Some(dirty) = self.dirty.take() else {
            return;
        };
        self.durable.resize(self.live.len(), 0);
        let range = dirty.start.min(self.live.len())..dirty.end.min(self.live.len());
        if let (Some(to), Some(from)) = (self.durable.get_mut(range.clone()), self.live.get(range))
        {
            to.copy_from_slice(from);
        }
    }

    /// What a power loss leaves of it.
    fn torn(&self, choice: &mut Choice) -> Vec<u8> {
        let Some(dirty) = self.dirty.clone().filter(|_| choice.seed != 0) else {
            return self.durable.clone();
        };
        let (short, long) = (
            self.live.len().min(self.durable.len()),
            self.live.len().max(self.durable.len()),
        );
        let len = match choice.below(3) {
            0 => self.durable.len(),
            1 => self.live.len(),
            _ => short + choice.below(long - short + 1),
        };
        let mut left = self.durable.clone();
        left.resize(long, 0);
        let odds = 1 + choice.below(7);
        for sector in dirty.start / SECTOR_BYTES..dirty.end.div_ceil(SECTOR_BYTES) {
            if choice.below(8) >= odds {
                continue;
            }
            let from = sector * SECTOR_BYTES;
            let written = self.live.get(from..).unwrap_or_default();
            let place = left.get_mut(from..).unwrap_or_default();
            for (to, byte) in place.iter_mut().zip(written).take(SECTOR_BYTES) {
                *to = *byte;
            }
        }
        left.truncate(len);
        left
    }
}

impl State {
    /// Counts a change, or refuses it.
    fn change(&mut self) -> io::Result<()> {
        self.gone |= self.budget == Some(0);
        if self.gone {
            return Err(io::Error::other("the process is gone"));
        }
        self.budget = self.budget.map(|left| left.saturating_sub(1));
        self.counters.changes += 1;
        Ok(())
    }

    fn room(&self) -> usize {
        self.capacity_bytes.map_or(usize::MAX, |capacity| {
            usize::try_from(capacity.saturating_sub(self.used_bytes())).unwrap_or(usize::MAX)
        })
    }

    fn used_bytes(&self) -> u64 {
        let nodes = self.folders.iter().flat_map(|f| f.live.values());
        let files = nodes.filter_map(|node| match node {
            Node::File(file) => self.files.get(*file),
            Node::Folder(_) => None,
        });
        files.map(|f| f.live.len() as u64).sum()
    }

    fn find(&self, path: &Path) -> Option<Node> {
        names(path).try_fold(Node::Folder(ROOT), |at, name| match at {
            Node::Folder(folder) => self.folders.get(folder)?.live.get(name.to_str()?).copied(),
            Node::File(_) => None,
        })
    }

    /// The folder that a path's last name is in, and that name.
    fn place(&self, path: &Path) -> io::Result<(usize, String)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        match path.parent().and_then(|parent| self.find(parent)) {
            Some(Node::Folder(folder)) => Ok((folder, text(name)?)),
            _ => not_found(),
        }
    }

    fn folder_mut(&mut self, folder: usize) -> io::Result<&mut Folder> {
        self.folders.get_mut(folder).map_or_else(not_found, Ok)
    }

    fn file_mut(&mut self, file: usize) -> io::Result<&mut Content> {
        self.files.get_mut(file).map_or_else(not_found, Ok)
    }

    fn collect(&self, folder: usize, path: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for (name, node) in self.folders.get(folder).into_iter().flat_map(|f| &f.live) {
            let path = path.join(name);
            match node {
                Node::Folder(folder) => self.collect(*folder, &path, files),
                Node::File(file) => {
                    let bytes = self.files.get(*file).map(|f| f.live.clone());
                    files.insert(path, bytes.unwrap_or_default());
                }
            }
        }
    }

    /// Copies what survives of a folder into a new disk, where all of it is durable; the folder's place there.
    fn copy_folder(&self, folder: usize, to: &mut State, survivors: &mut Survivors<'_>) -> usize {
        let place = to.folders.len();
        to.folders.push(Folder::default());
        let empty = Folder::default();
        let from = self.folders.get(folder).unwrap_or(&empty);
        let names: BTreeSet<_> = from.live.keys().chain(from.durable.keys()).collect();
        for name in names {
            let Some(node) = survivors.name(from.live.get(name), from.durable.get(name)) else {
                continue;
            };
            let copy = match node {
                Node::Folder(folder) => Node::Folder(self.copy_folder(folder, to, survivors)),
                Node::File(file) => {
                    let content = self.files.get(file).cloned().unwrap_or_default();
                    let bytes = survivors.bytes(&content);
                    to.files.push(Content {
                        live: bytes.clone(),
                        durable: bytes,
                        dirty: None,
                    });
                    Node::File(to.files.len() - 1)
                }
            };
            if let Some(folder) = to.folders.get_mut(place) {
                folder.live.insert(name.clone(), copy);
                folder.durable.insert(name.clone(), copy);
            }
        }
        place
    }
}

/// What is left of a disk.
enum Survivors<'a> {
    All,
    Some(&'a mut Choice),
}

impl Survivors<'_> {
    fn name(&mut self, live: Option<&Node>, durable: Option<&Node>) -> Option<Node> {
        match self {
            Self::All => live.copied(),
            Self::Some(choice) => {
                let unsynced = live != durable && choice.seed != 0;
                let kept = if unsynced && choice.below(2) == 0 {
                    live
                } else {
                    durable
                };
                kept.copied()
            }
        }
    }

    fn bytes(&mut self, content: &Content) -> Vec<u8> {
        match self {
            Self::All => content.live.clone(),
            Self::Some(choice) => content.torn(choice),
        }
    }
}

/// Seeded choices (`SplitMix64`).
struct Choice {
    seed: u64,
    state: u64,
}

impl Choice {
    fn new(seed: u64) -> Self {
        Self { seed, state: seed }
    }

    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = bound.max(1) as u64;
        usize::try_from((z ^ (z >> 31)) % bound).unwrap_or(0)
    }
}

fn names(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name),
        _ => None,
    })
}

fn text(name: &OsStr) -> io::Result<String> {
    let name = name.to_str().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(name.to_owned())
}

fn index(position: u64) -> io::Result<usize> {
    usize::try_from(position).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn not_found<T>() -> io::Result<T> {
    Err(io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests;
