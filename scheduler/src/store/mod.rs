//! The pending records of one partition, in memory bounded whatever their number.
//!
//! New timers gather in a memtable; a full one is written as sorted runs, in one file per span of due times. A streaming
//! merge of the runs fills a look-ahead of the next few thousand. Nothing moves between files: a record's timer is written once,
//! and a file is unlinked when all in it has fired.
//!
//! All of it is derived from the log. A [`Checkpoint`] says how far into the log the runs go; what came later is replayed.
//! It must not be written before the log is durable up to its marks, and a store that is found to be ahead of its log, or
//! damaged, is thrown away and built again.

mod bucket;
mod checkpoint;
mod manifest;
mod merge;
mod run;
mod snapshot;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque, btree_map::Entry},
    io,
    path::PathBuf,
    sync::Arc,
};

use storage::{
    disk::{Disk, DiskFile, OpenMode, read_all},
    units::{DueTime, Offset, ScheduleId, TimestampMs},
};
use thiserror::Error;

use self::{
    bucket::{Bucket, FileName, RUNS_SUFFIX},
    manifest::Manifest,
    merge::Merge,
    run::{Known, Run},
    snapshot::View,
};
pub use self::{checkpoint::Checkpoint, manifest::Marks, snapshot::Snapshot};
use crate::timer_key::TimerKey;

const MANIFEST: &str = "manifest";
/// Timers in memory before they are written as runs: about a megabyte, written in some milliseconds.
const MEMTABLE_MAX: usize = 16 * 1024;
/// Timers read ahead of time: a block. Partitions of a topic come to their ends together, and a tick waits for all of them.
const AHEAD_MAX: usize = 128;

/// Where a held record lies in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Base offset of the HOLD frame.
    pub hold: Offset,
    /// The entry in that frame.
    pub index: u32,
    /// The due time is not the HOLD's own: the record was rescheduled.
    pub moved: bool,
    /// What the record takes in the HOLD.
    pub bytes: u32,
}

/// A pending record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerEntry {
    /// Its place in firing order.
    pub key: TimerKey,
    /// Its place in the log.
    pub place: Place,
}

/// Why the store does not know.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk refused.
    #[error("timer files: {0}")]
    Io(#[from] io::Error),
    /// A block whose checksum does not fit: the store must be built again from the log.
    #[error("a timer file is damaged")]
    Damaged,
}

/// Where timer files are, and how much is kept in memory.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The folder; made when the first run is written.
    pub dir: PathBuf,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Timers in memory before they are written.
    pub memtable_max: usize,
    /// Timers read ahead of time.
    pub ahead_max: usize,
}

impl StoreOptions {
    /// The usual sizes.
    pub fn new(dir: PathBuf, disk: Arc<dyn Disk>) -> Self {
        Self {
            dir,
            disk,
            memtable_max: MEMTABLE_MAX,
            ahead_max: AHEAD_MAX,
        }
    }
}

#[derive(Debug)]
struct BucketFile {
    name: FileName,
    file: Arc<dyn DiskFile>,
    len: u64,
    unsynced: bool,
}

/// Pending records in firing order.
#[derive(Debug)]
pub struct TimerStore {
    options: StoreOptions,
    memtable: BTreeMap<TimerKey, Place>,
    /// Newer than the memtable, in the order they came: most are written as a run and never looked up, so a tree of them would be
    /// made for nothing.
    fresh: Vec<(TimerKey, Place)>,
    /// The first of those to come due.
    fresh_first: Option<TimerKey>,
    /// What a run may have, and is not pending any more; the memtable is newer.
    taken_out: BTreeSet<TimerKey>,
    /// Newest last.
    runs: Vec<Run>,
    files: BTreeMap<Bucket, BucketFile>,
    next_file: u64,
    /// Once past, to be unlinked with the next checkpoint.
    past: Vec<FileName>,
    /// All of the runs up to here was taken out, beyond each run's own floor.
    done: Option<TimerKey>,
    /// Live timers of the runs behind `done`, as far as they were read.
    ahead: VecDeque<(TimerKey, Place)>,
    merge: Option<Merge>,
    /// Due times of those that were moved.
    moved: HashMap<ScheduleId, DueTime>,
    pending: u64,
    pending_bytes: u64,
    changes: u64,
}

impl TimerStore {
    /// Without a past; whatever files there are go.
    pub fn create(options: StoreOptions) -> Result<Self, StoreError> {
        if options.disk.exists(&options.dir) {
            let manifest = options.dir.join(MANIFEST);
            if options.disk.exists(&manifest) {
                options.disk.remove_file(&manifest)?;
                options.disk.sync_dir(&options.dir)?;
            }
            remove_runs(&options, &HashSet::new())?;
        }
        Ok(Self::empty(options))
    }

    fn empty(options: StoreOptions) -> Self {
        Self {
            options,
            memtable: BTreeMap::new(),
            fresh: Vec::new(),
            fresh_first: None,
            taken_out: BTreeSet::new(),
            runs: Vec::new(),
            files: BTreeMap::new(),
            next_file: 0,
            past: Vec::new(),
            done: None,
            ahead: VecDeque::new(),
            merge: None,
            moved: HashMap::new(),
            pending: 0,
            pending_bytes: 0,
            changes: 0,
        }
    }

    /// As its last checkpoint has it, with how far into the log that goes: the caller replays the rest. `None` where there is no
    /// checkpoint, or none that fits a log that ends at `log_end`.
    pub fn open(
        options: StoreOptions,
        log_end: Offset,
    ) -> Result<Option<(Self, Marks)>, StoreError> {
        let path = options.dir.join(MANIFEST);
        if !options.disk.exists(&path) {
            return Ok(None);
        }
        let bytes = read_all(&*options.disk, &path)?;
        let Some(manifest) = Manifest::decode(&bytes).filter(|m| m.marks.settled_to <= log_end)
        else {
            return Ok(None);
        };
        let mut store = Self::empty(options);
        store.pending = manifest.pending;
        store.pending_bytes = manifest.pending_bytes;
        store.moved = manifest.moved.into_iter().collect();
        for info in manifest.runs {
            let FileName { bucket, number } = info.file;
            let path = info.file.path(&store.options.dir);
            if !store.options.disk.exists(&path) {
                return Ok(None);
            }
            store.next_file = store.next_file.max(number + 1);
            // A later file of the span takes the place of an earlier one.
            if store
                .files
                .get(&bucket)
                .is_none_or(|file| file.name != info.file)
            {
                let file = store.options.disk.open(&path, OpenMode::ReadWrite)?;
                let file = BucketFile {
                    name: info.file,
                    file,
                    len: 0,
                    unsynced: false,
                };
                store.files.insert(bucket, file);
            }
            if let Some(bucket) = store.files.get_mut(&bucket) {
                bucket.len = bucket.len.max(info.end());
                let file = Arc::clone(&bucket.file);
                store.runs.push(Run { info, file });
            }
        }
        for bucket in store.files.values() {
            if bucket.file.len()? < bucket.len {
                return Ok(None);
            }
            // What a crash left behind the checkpoint.
            bucket.file.set_len(bucket.len)?;
        }
        let kept = store.files.values().map(|file| file.name).collect();
        store.next_file = store.next_file.max(remove_runs(&store.options, &kept)?);
        Ok(Some((store, manifest.marks)))
    }

    /// Adds a committed hold. The same key again is the same record: the later place counts.
    pub fn insert(&mut self, entry: TimerEntry) {
        self.changes += 1;
        self.pending += 1;
        if entry.place.moved {
            self.moved.insert(entry.key.id, entry.key.due);
        }
        // The memtable is asked first, so an older one read ahead must not follow it.
        self.not_ahead(entry.key);
        self.pending_bytes += u64::from(entry.place.bytes);
        self.fresh.push((entry.key, entry.place));
        let first = self.fresh_first.get_or_insert(entry.key);
        *first = entry.key.min(*first);
    }

    /// Sorts what is fresh into the memtable.
    fn take_in(&mut self) {
        self.fresh_first = None;
        for (key, place) in std::mem::take(&mut self.fresh) {
            if let Some(before) = self.memtable.insert(key, place) {
                self.one_less(before);
            }
        }
    }

    fn one_less(&mut self, place: Place) {
        self.pending = self.pending.saturating_sub(1);
        self.pending_bytes = self.pending_bytes.saturating_sub(u64::from(place.bytes));
    }

    /// The same as [`TimerStore::remove`], where only the key is known; nothing where it is not pending.
    pub fn settle(&mut self, key: TimerKey) -> Result<(), StoreError> {
        // Records fire in order: of those that did, the next is nearly always the first, which is read ahead.
        if let Some(first) = self.first()?.filter(|first| first.key == key) {
            self.take_first(first);
        } else if let Some(place) = self.get(key)? {
            self.remove(TimerEntry { key, place });
        }
        Ok(())
    }

    /// Takes out a record that is pending: it was fired or cancelled.
    pub fn remove(&mut self, TimerEntry { key, place }: TimerEntry) {
        self.changes += 1;
        self.take_in();
        self.one_less(place);
        self.moved.remove(&key.id);
        self.not_ahead(key);
        self.memtable.remove(&key);
        if self
            .runs
            .iter()
            .any(|run| run.info.may_have(key, self.done))
        {
            self.taken_out.insert(key);
        }
    }

    /// Where a pending record of that key lies.
    pub fn get(&mut self, key: TimerKey) -> Result<Option<Place>, StoreError> {
        self.take_in();
        if let Some(place) = self.memtable.get(&key) {
            return Ok(Some(*place));
        }
        if self.taken_out.contains(&key) {
            return Ok(None);
        }
        for run in self.runs.iter().rev() {
            if run.info.may_have(key, self.done)
                && let Some(known) = run.get(key)?
            {
                return Ok(known);
            }
        }
        Ok(None)
    }

    /// The due time of a record that was moved from its HOLD's.
    pub fn moved_to(&self, id: ScheduleId) -> Option<DueTime> {
        self.moved.get(&id).copied()
    }

    /// When the next record is due.
    pub fn next_deadline(&mut self) -> Result<Option<DueTime>, StoreError> {
        Ok(self.first()?.map(|entry| entry.key.due))
    }

    /// Takes out what is due at `now`, at most `max` records, in firing order.
    pub fn pop_due(&mut self, now: TimestampMs, max: usize) -> Result<Vec<TimerEntry>, StoreError> {
        let mut due = Vec::new();
        while due.len() < max {
            let Some(entry) = self.first()?.filter(|entry| entry.key.due.0 <= now.0) else {
                break;
            };
            self.take_first(entry);
            due.push(entry);
        }
        Ok(due)
    }

    /// Takes out the one that [`TimerStore::first`] gave.
    fn take_first(&mut self, entry: TimerEntry) {
        // Never in both: what is in the memtable is not read ahead, and one that is inserted is taken from there.
        if self
            .ahead
            .pop_front_if(|(key, _)| *key == entry.key)
            .is_none()
        {
            self.memtable.remove(&entry.key);
        }
        if entry.place.moved {
            self.moved.remove(&entry.key.id);
        }
        self.done = self.done.max(Some(entry.key));
        self.one_less(entry.place);
        self.changes += 1;
    }

    fn first(&mut self) -> Result<Option<TimerEntry>, StoreError> {
        self.read_ahead()?;
        if let Some(fresh) = self.fresh_first {
            let memory = self.memtable.first_key_value().map(|(key, _)| *key);
            let disk = self.ahead.front().map(|(key, _)| *key);
            if [memory, disk].into_iter().flatten().all(|key| fresh <= key) {
                self.take_in();
            }
        }
        let on_disk = self.ahead.front().copied();
        let in_memory = self
            .memtable
            .first_key_value()
            .map(|(key, place)| (*key, *place));
        let first = [on_disk, in_memory]
            .into_iter()
            .flatten()
            .min_by_key(|(key, _)| *key);
        Ok(first.map(|(key, place)| TimerEntry { key, place }))
    }

    /// A key that is not, or not any more, what the runs say of it.
    fn not_ahead(&mut self, key: TimerKey) {
        if let Ok(at) = self.ahead.binary_search_by_key(&key, |(key, _)| *key) {
            self.ahead.remove(at);
        }
    }

    /// Fills the look-ahead where it is empty and the runs have more.
    fn read_ahead(&mut self) -> Result<(), StoreError> {
        if !self.ahead.is_empty() || self.runs.is_empty() {
            return Ok(());
        }
        self.take_in();
        let (runs, done) = (&self.runs, self.done);
        let merge = self.merge.get_or_insert_with(|| Merge::new(runs, done));
        while self.ahead.len() < self.options.ahead_max {
            let Some((key, known)) = merge.next()? else {
                break;
            };
            if let Some(place) = known
                && !self.memtable.contains_key(&key)
                && !self.taken_out.contains(&key)
            {
                self.ahead.push_back((key, place));
            }
        }
        Ok(())
    }

    /// Pending records from `from` on that are due before `to`, in firing order, at most `max`. Takes nothing out.
    pub fn scan(
        &mut self,
        from: TimerKey,
        to: DueTime,
        max: usize,
    ) -> Result<Vec<TimerEntry>, StoreError> {
        let mut found = Vec::new();
        self.for_each(from, to, &mut |entry| {
            found.push(entry);
            found.len() < max
        })?;
        Ok(found)
    }

    /// Gives `each` the pending records from `from` on that are due before `to`, in firing order, until it returns false.
    pub fn for_each(
        &mut self,
        from: TimerKey,
        to: DueTime,
        each: &mut dyn FnMut(TimerEntry) -> bool,
    ) -> Result<(), StoreError> {
        self.take_in();
        let view = View {
            memtable: &self.memtable,
            taken_out: &self.taken_out,
            runs: &self.runs,
            done: self.done,
        };
        view.for_each(from, to, each)
    }

    /// What is pending now, to be read while the store goes on. Copies what is in memory.
    pub fn snapshot(&mut self) -> Snapshot {
        self.take_in();
        Snapshot {
            memtable: self.memtable.clone(),
            taken_out: self.taken_out.clone(),
            runs: self.runs.clone(),
            done: self.done,
        }
    }

    /// A pending record lies elsewhere now.
    pub fn relocate(&mut self, entry: TimerEntry, to: Place) {
        self.remove(entry);
        self.insert(TimerEntry { place: to, ..entry });
    }

    /// Somebody read all that was pending: no HOLD of it is below.
    pub fn none_below(&mut self, seen: &Snapshot, below: Offset) {
        let seen: HashSet<_> = seen.runs.iter().map(|run| run.info.name()).collect();
        for run in &mut self.runs {
            if seen.contains(&run.info.name()) {
                let oldest = &mut run.info.oldest_hold;
                *oldest = oldest.map(|hold| hold.max(below));
            }
        }
        self.changes += 1;
    }

    /// A HOLD frame at or before the one nearest to the log's beginning that has a pending record.
    pub fn oldest_hold(&self) -> Option<Offset> {
        let fresh = self.fresh.iter().map(|(_, place)| place.hold);
        let in_memory = self.memtable.values().map(|place| place.hold).chain(fresh);
        let on_disk = self.runs.iter().filter(|run| !run.info.is_past(self.done));
        in_memory
            .chain(on_disk.filter_map(|run| run.info.oldest_hold))
            .min()
    }

    /// Where its files are.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Records pending.
    pub fn len(&self) -> usize {
        usize::try_from(self.pending).unwrap_or(usize::MAX)
    }

    /// What they take in their HOLDs.
    pub fn bytes(&self) -> u64 {
        self.pending_bytes
    }

    /// Timers in memory: the memtable and what was read ahead.
    pub fn in_memory(&self) -> usize {
        self.fresh.len() + self.memtable.len() + self.taken_out.len() + self.ahead.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.pending == 0
    }

    /// What came or went since the last checkpoint.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether the memtable should be written.
    pub fn is_full(&self) -> bool {
        self.fresh.len() + self.memtable.len() + self.taken_out.len() >= self.options.memtable_max
    }

    /// Writes the memtable as runs. Nothing must be popped and not yet in the log: it would be taken for fired.
    pub fn flush(&mut self, now: TimestampMs) -> Result<(), StoreError> {
        let done = self.done;
        // What takes out something that no run has any more takes out nothing.
        let runs = &self.runs;
        self.taken_out
            .retain(|key| runs.iter().any(|run| run.info.may_have(*key, done)));
        let entries = self.fresh_alone().unwrap_or_else(|| {
            self.take_in();
            self.news()
        });
        let mut written = Vec::new();
        // Spans follow each other as due times do.
        let bucket = |(key, _): &(TimerKey, Known)| Bucket::of(key.due, now);
        for of_bucket in entries.chunk_by(|a, b| bucket(a) == bucket(b)) {
            let Some(first) = of_bucket.first() else {
                continue;
            };
            let file = self.file(bucket(first))?;
            if let Some(run) = run::write(&file.file, file.len, file.name, of_bucket)? {
                file.len = run.info.end();
                file.unsynced = true;
                written.push(run);
            }
        }
        // Only now that all are written: a flush that fails half-way is done again whole.
        for run in &mut self.runs {
            run.info.floor = run.info.floor.max(done);
        }
        self.runs.retain(|run| !run.info.is_past(None));
        self.runs.extend(written);
        self.done = None;
        // Its room, too: a partition that holds nothing more takes none.
        self.fresh = Vec::new();
        self.fresh_first = None;
        self.memtable.clear();
        self.taken_out.clear();
        self.ahead.clear();
        self.merge = None;
        Ok(())
    }

    /// What is fresh, in order, where there is nothing else in memory and each key once.
    fn fresh_alone(&mut self) -> Option<Vec<(TimerKey, Known)>> {
        if !self.memtable.is_empty() || !self.taken_out.is_empty() {
            return None;
        }
        // Stable, since of equal keys the later one counts; and quick where batches came in order.
        self.fresh.sort_by_key(|(key, _)| *key);
        let is_repeated = |pair: &[(TimerKey, Place)]| matches!(pair, [(a, _), (b, _)] if a == b);
        if self.fresh.windows(2).any(is_repeated) {
            return None;
        }
        let fresh = self.fresh.iter();
        Some(fresh.map(|(key, place)| (*key, Some(*place))).collect())
    }

    /// What the runs do not know, in order: the memtable, and what was taken out and is not in it again.
    fn news(&self) -> Vec<(TimerKey, Known)> {
        let mut taken_out = self.taken_out.iter().copied().peekable();
        let mut news = Vec::with_capacity(self.memtable.len() + self.taken_out.len());
        for (key, place) in &self.memtable {
            while let Some(before) = taken_out.next_if(|taken| taken < key) {
                news.push((before, None));
            }
            taken_out.next_if_eq(key);
            news.push((*key, Some(*place)));
        }
        news.extend(taken_out.map(|key| (key, None)));
        news
    }

    /// The file that takes the bucket's next run.
    fn file(&mut self, bucket: Bucket) -> io::Result<&mut BucketFile> {
        match self.files.entry(bucket) {
            Entry::Occupied(file) => Ok(file.into_mut()),
            Entry::Vacant(place) => {
                let number = self.next_file;
                let name = FileName { bucket, number };
                let StoreOptions { dir, disk, .. } = &self.options;
                disk.create_dir_all(dir)?;
                let file = disk.open(&name.path(dir), OpenMode::Create)?;
                self.next_file += 1;
                Ok(place.insert(BucketFile {
                    name,
                    file,
                    len: 0,
                    unsynced: true,
                }))
            }
        }
    }

    /// Writes the memtable, and returns the state to be made durable. `marks` is how far into the log it goes.
    pub fn capture(&mut self, now: TimestampMs, marks: Marks) -> Result<Checkpoint, StoreError> {
        self.flush(now)?;
        let live: HashSet<FileName> = self.runs.iter().map(|run| run.info.file).collect();
        let past = &mut self.past;
        self.files.retain(|_, file| {
            let lives = live.contains(&file.name);
            if !lives {
                past.push(file.name);
            }
            lives
        });
        let mut files = Vec::new();
        for file in self.files.values_mut().filter(|file| file.unsynced) {
            file.unsynced = false;
            files.push(Arc::clone(&file.file));
        }
        let manifest = Manifest {
            marks,
            pending: self.pending,
            pending_bytes: self.pending_bytes,
            moved: self.moved.iter().map(|(id, due)| (*id, *due)).collect(),
            runs: self.runs.iter().map(|run| run.info.clone()).collect(),
        };
        self.changes = 0;
        Ok(Checkpoint {
            marks,
            dir: self.options.dir.clone(),
            disk: Arc::clone(&self.options.disk),
            files,
            manifest: manifest.encode(),
            past: self.past.clone(),
        })
    }

    /// The last checkpoint was written.
    pub fn written(&mut self, unlinked: usize) {
        self.past.drain(..unlinked.min(self.past.len()));
    }

    /// The last checkpoint was not written; the next one syncs again what it would have synced.
    pub fn not_written(&mut self) {
        self.changes = self.changes.max(1);
        for file in self.files.values_mut() {
            file.unsynced = true;
        }
    }
}

/// Removes the run files other than `kept`; returns a number that none has had.
fn remove_runs(options: &StoreOptions, kept: &HashSet<FileName>) -> io::Result<u64> {
    let kept: HashSet<_> = kept.iter().map(|file| file.name()).collect();
    let mut next = 0;
    for (name, is_dir) in options.disk.list(&options.dir)? {
        if !is_dir && name.ends_with(RUNS_SUFFIX) {
            next = next.max(FileName::number_in(&name).map_or(0, |number| number + 1));
            if !kept.contains(&name) {
                options.disk.remove_file(&options.dir.join(name))?;
            }
        }
    }
    Ok(next)
}

#[cfg(test)]
mod tests;
