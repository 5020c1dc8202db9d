//! The message ids of all partitions of a node: the store, the filter before it, and who is who in it.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use kafka_compat::message_ids::{MessageId, MessageIdHash};
use parking_lot::{Mutex, RwLock};
use scheduler::Clock;
use storage::{
    kv::{
        KvError,
        runs::{Owner, Run, Runs, Usage},
    },
    units::Offset,
};
use tokio::sync::Notify;
use tracing::{info, warn};
use uuid::Uuid;

use super::{
    filter::Filter,
    taken::Taken,
    window::{Leaving, Stored},
};
use crate::{pace, partition::PartitionKey, telemetry::Metrics};

/// From so many ids in memory on, they go to the index: 4 MB at least.
pub(super) const IDS_IN_MEMORY: u64 = 128 * 1024;
/// The index does not take them any more, since its disk is full: what has an id is refused from here on.
const IDS_IN_MEMORY_MAX: u64 = 2 * 1024 * 1024;
/// Ids of open transactions, all together.
const OPEN_IDS_MAX: u64 = 1024 * 1024;
/// The mark with the key of the hash.
const KEY: &[u8] = b"key";
/// The mark with the number of the next owner.
const NEXT: &[u8] = b"next";
/// Marks of partitions begin so.
const PARTITION: &[u8] = b"p";

/// Message ids of all partitions. Memory is bounded whatever their number.
#[derive(Debug)]
pub struct DedupIndex {
    path: PathBuf,
    hash: MessageIdHash,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    /// Made with the first run.
    store: RwLock<Option<Arc<Runs>>>,
    filter: Filter,
    /// One that is being made.
    filling: Mutex<Option<Arc<Filter>>>,
    /// The filter has all that the store has.
    filter_is_whole: AtomicBool,
    partitions: Mutex<BTreeMap<PartitionKey, Mark>>,
    windows: Windows,
    next_owner: AtomicU64,
    /// Ids in memory, and those of them that are of open transactions.
    in_memory: AtomicU64,
    open: AtomicU64,
    /// Rung where many ids are in memory.
    pub(super) crowded: Notify,
    /// One run at a time.
    pub(super) running: Mutex<()>,
}

/// By owner, how long its ids are kept: RocksDB asks when it merges files.
type Windows = Arc<RwLock<HashMap<Owner, i64>>>;

/// How far the index goes in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Who it is there.
    pub owner: Owner,
    /// It has what the log has below.
    pub covered_to: Offset,
    /// When that was.
    pub at_ms: i64,
    /// When the first id was taken.
    pub since_ms: i64,
}

/// What the index is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// The store.
    pub store: Usage,
    /// Ids in memory.
    pub in_memory: u64,
    /// Bytes of the filter.
    pub filter_bytes: u64,
    /// The filter has all ids: lookups of new ones do not reach the store.
    pub filter_is_whole: bool,
}

impl DedupIndex {
    /// In a folder; nothing is made there yet, and what is there is opened. One that cannot be read is thrown away: the logs have
    /// it all.
    pub fn open(
        path: &Path,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, KvError> {
        let windows = Windows::default();
        let mut opened = None;
        if path.join("CURRENT").exists() {
            match open_store(path, &windows, &clock).and_then(Opened::read) {
                Ok(found) => opened = Some(found),
                Err(error) => {
                    warn!(%error, "the index of message ids cannot be read: it is made anew from the logs");
                    std::fs::remove_dir_all(path).map_err(|source| KvError::Io {
                        path: path.to_path_buf(),
                        source,
                    })?;
                }
            }
        }
        let opened = opened.unwrap_or_else(Opened::nothing);
        let is_empty = opened.store.is_none();
        Ok(Self {
            path: path.to_path_buf(),
            hash: MessageIdHash { key: opened.key },
            clock,
            metrics,
            store: RwLock::new(opened.store),
            filter: Filter::default(),
            filling: Mutex::default(),
            filter_is_whole: AtomicBool::new(is_empty),
            partitions: Mutex::new(opened.partitions),
            windows,
            next_owner: AtomicU64::new(opened.next_owner),
            in_memory: AtomicU64::new(0),
            open: AtomicU64::new(0),
            crowded: Notify::new(),
            running: Mutex::new(()),
        })
    }

    /// How ids are told apart.
    pub fn hash(&self) -> MessageIdHash {
        self.hash
    }

    /// How far the index goes in a partition; `None` where it never had anything of it.
    pub fn mark(&self, partition: PartitionKey) -> Option<Mark> {
        self.partitions.lock().get(&partition).copied()
    }

    /// The index speaks of what the log does not have (any more): nothing of it is believed.
    pub fn disown(&self, partition: PartitionKey) -> Result<(), KvError> {
        let Some(mark) = self.partitions.lock().remove(&partition) else {
            return Ok(());
        };
        self.windows.write().remove(&mark.owner);
        match &*self.store.read() {
            Some(store) => store.remove_owner(mark.owner, &[mark_name(partition)]),
            None => Ok(()),
        }
    }

    /// A topic was deleted.
    pub fn remove_topic(&self, topic: storage::units::TopicId) -> Result<(), KvError> {
        // A run on its way would bring it back.
        let _one = self.running.lock();
        let of_topic: Vec<PartitionKey> = {
            let partitions = self.partitions.lock();
            let keys = partitions.keys();
            keys.filter(|key| key.topic == topic).copied().collect()
        };
        of_topic.into_iter().try_for_each(|key| self.disown(key))
    }

    /// How long ids of an owner are kept from now on.
    pub fn keep_for(&self, owner: Option<Owner>, window_ms: i64) {
        if let Some(owner) = owner {
            self.windows.write().insert(owner, window_ms);
        }
    }

    /// What the index has of these ids. May read from the disk.
    pub fn stored(
        &self,
        owner: Option<Owner>,
        ids: &[(i32, MessageId)],
        generation: u64,
    ) -> Result<Stored, KvError> {
        let nothing = Stored {
            taken: Vec::new(),
            generation,
        };
        let (Some(owner), Some(store)) = (owner, self.store.read().clone()) else {
            return Ok(nothing);
        };
        let places = if self.filter_is_whole.load(Relaxed) {
            let mixed = ids.iter().map(|(_, id)| mixed(owner, *id));
            self.filter.may_have_of(mixed)
        } else {
            (0..ids.len()).collect()
        };
        if places.is_empty() {
            return Ok(nothing);
        }
        let started = pace::now();
        let mut asked: Vec<(MessageId, usize)> = places
            .iter()
            .filter_map(|at| Some((ids.get(*at)?.1, *at)))
            .collect();
        asked.sort_unstable();
        let names: Vec<MessageId> = asked.iter().map(|(id, _)| *id).collect();
        let values = store.get_many(owner, &names)?;
        let mut taken = vec![None; ids.len()];
        for ((_, at), value) in asked.iter().zip(values) {
            if let (Some(slot), Some(value)) = (taken.get_mut(*at), value) {
                *slot = Some(Taken::from_value(&value));
            }
        }
        self.metrics.dedup().looked_up(started.elapsed());
        Ok(Stored { taken, generation })
    }

    /// Whether so many more ids can be kept in memory.
    pub fn has_room(&self, ids: usize, of_transaction: bool) -> Result<(), Crowded> {
        let more = ids as u64;
        if self.in_memory.load(Relaxed) + more > IDS_IN_MEMORY_MAX {
            return Err(Crowded::Memory);
        }
        if of_transaction && self.open.load(Relaxed) + more > OPEN_IDS_MAX {
            return Err(Crowded::Open);
        }
        Ok(())
    }

    /// A window grew or shrank.
    pub fn count(&self, before: (usize, usize), after: (usize, usize)) {
        let moved = |counter: &AtomicU64, before: usize, after: usize| {
            let (before, after) = (before as u64, after as u64);
            counter.fetch_add(after.wrapping_sub(before), Relaxed);
        };
        moved(&self.open, before.1, after.1);
        moved(&self.in_memory, before.0, after.0);
        if self.is_crowded() {
            self.crowded.notify_one();
        }
    }

    /// Whether ids are to go to the store now.
    pub fn is_crowded(&self) -> bool {
        self.in_memory.load(Relaxed) >= IDS_IN_MEMORY + self.open.load(Relaxed)
    }

    /// Takes in what left windows, and how far they are covered by it: whole, or nothing. Called with `running` held; what is
    /// covered is durable in its log. Returns who each partition is.
    pub(super) fn take_in(
        &self,
        leaving: &[(PartitionKey, Leaving, i64)],
    ) -> Result<Vec<Owner>, KvError> {
        let store = self.made()?;
        let now = self.clock.wall().0;
        let mut run = Run::default();
        run.entries
            .reserve(leaving.iter().map(|(_, l, _)| l.ids.len()).sum());
        let mut owners = Vec::with_capacity(leaving.len());
        let mut marks = BTreeMap::new();
        for (partition, leaving, since_ms) in leaving {
            let known = self.mark(*partition);
            let owner = known.map_or_else(|| self.new_owner(), |mark| mark.owner);
            let mark = Mark {
                owner,
                covered_to: leaving.covers_to,
                at_ms: now,
                since_ms: known.map_or(*since_ms, |mark| mark.since_ms.min(*since_ms)),
            };
            let ids = leaving.ids.iter();
            run.entries
                .extend(ids.map(|(id, taken)| (owner, *id, taken.to_value())));
            run.marks.insert(mark_name(*partition), mark.encode());
            marks.insert(*partition, mark);
            owners.push(owner);
        }
        run.marks.insert(KEY.to_vec(), self.hash.key.to_vec());
        let next = self.next_owner.load(Relaxed);
        run.marks.insert(NEXT.to_vec(), next.to_be_bytes().to_vec());
        // Before the store has them: one that was looked up in between would not be asked for.
        let filling = self.filling.lock().clone();
        for filter in [Some(&self.filter), filling.as_deref()]
            .into_iter()
            .flatten()
        {
            filter.add(run.entries.iter().map(|(owner, id, _)| mixed(*owner, *id)));
        }
        if run.entries.is_empty() {
            store.mark_lazily(&run.marks)?;
        } else {
            store.take_in(run)?;
        }
        self.partitions.lock().extend(marks);
        Ok(owners)
    }

    /// Makes the filter anew from the store. Blocks for as long as that takes.
    pub(super) fn fill_filter(&self) -> Result<(), KvError> {
        let Some(store) = self.store.read().clone() else {
            return Ok(());
        };
        let filter = Arc::new(Filter::for_ids(store.usage().entries));
        // What comes meanwhile is added to both; a run that is on its way is either in what is read here, or is told of this one.
        {
            let _between_runs = self.running.lock();
            *self.filling.lock() = Some(Arc::clone(&filter));
        }
        let mut some = Vec::with_capacity(1024);
        let read = store.for_each(&mut |owner, id, _| {
            some.push(mixed(owner, id));
            if some.len() == some.capacity() {
                filter.add(some.drain(..));
            }
            true
        });
        filter.add(some.drain(..));
        let _between_runs = self.running.lock();
        *self.filling.lock() = None;
        read?;
        self.filter.replace(&filter);
        self.filter_is_whole.store(true, Relaxed);
        Ok(())
    }

    /// Whether the filter is to be made anew.
    pub(super) fn wants_filter(&self) -> bool {
        !self.filter_is_whole.load(Relaxed) || self.filter.is_overfull()
    }

    /// What it takes.
    pub fn stats(&self) -> IndexStats {
        let store = self.store.read().clone();
        IndexStats {
            store: store.map(|store| store.usage()).unwrap_or_default(),
            in_memory: self.in_memory.load(Relaxed),
            filter_bytes: self.filter.memory(),
            filter_is_whole: self.filter_is_whole.load(Relaxed),
        }
    }

    /// About what a partition's ids take in the store: how many, and bytes.
    pub fn stored_size(&self, owner: Option<Owner>) -> (u64, u64) {
        let store = self.store.read().clone();
        match (owner, store) {
            (Some(owner), Some(store)) => store.size_of(owner),
            _ => (0, 0),
        }
    }

    fn made(&self) -> Result<Arc<Runs>, KvError> {
        if let Some(store) = &*self.store.read() {
            return Ok(Arc::clone(store));
        }
        let made = open_store(&self.path, &self.windows, &self.clock)?;
        info!(folder = %self.path.display(), "made the index of message ids");
        *self.store.write() = Some(Arc::clone(&made));
        Ok(made)
    }

    fn new_owner(&self) -> Owner {
        let number = self.next_owner.fetch_add(1, Relaxed);
        Owner(u32::try_from(number).unwrap_or(u32::MAX))
    }
}

/// Why a record with an id is not taken just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crowded {
    /// The index takes no more: its disk is full, or fails.
    Memory,
    /// Open transactions have too many.
    Open,
}

/// What a store was found to have.
struct Opened {
    store: Option<Arc<Runs>>,
    key: [u8; 16],
    next_owner: u64,
    partitions: BTreeMap<PartitionKey, Mark>,
}

impl Opened {
    fn nothing() -> Self {
        Self {
            store: None,
            key: *Uuid::new_v4().as_bytes(),
            next_owner: 1,
            partitions: BTreeMap::new(),
        }
    }

    fn read(store: Arc<Runs>) -> Result<Self, KvError> {
        let key = store.mark(KEY)?;
        let Some(key) = key.and_then(|key| <[u8; 16]>::try_from(key).ok()) else {
            // The node stopped before its first run was in.
            return Ok(Self {
                store: Some(store),
                ..Self::nothing()
            });
        };
        let next = store.mark(NEXT)?;
        let next = next.and_then(|next| Some(u64::from_be_bytes(*next.first_chunk()?)));
        let marks = store.marks(PARTITION)?;
        let partitions: BTreeMap<_, _> = marks
            .iter()
            .filter_map(|(name, mark)| Some((partition_of(name)?, Mark::decode(mark)?)))
            .collect();
        let largest = partitions
            .values()
            .map(|mark| u64::from(mark.owner.0))
            .max();
        Ok(Self {
            store: Some(store),
            key,
            next_owner: next.unwrap_or(1).max(largest.map_or(1, |owner| owner + 1)),
            partitions,
        })
    }
}

impl Mark {
    fn encode(&self) -> Vec<u8> {
        let numbers = [self.covered_to.0, self.at_ms, self.since_ms];
        let numbers = numbers.into_iter().flat_map(i64::to_be_bytes);
        self.owner
            .0
            .to_be_bytes()
            .into_iter()
            .chain(numbers)
            .collect()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (owner, rest) = bytes.split_first_chunk::<4>()?;
        let mut numbers = rest.chunks_exact(8).map(|number| {
            let number = number.first_chunk().copied().unwrap_or_default();
            i64::from_be_bytes(number)
        });
        Some(Self {
            owner: Owner(u32::from_be_bytes(*owner)),
            covered_to: Offset(numbers.next()?),
            at_ms: numbers.next()?,
            since_ms: numbers.next()?,
        })
    }
}

fn open_store(
    path: &Path,
    windows: &Windows,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<Runs>, KvError> {
    let (windows, clock) = (Arc::clone(windows), Arc::clone(clock));
    // Asked for each entry of a merge: whose entries they are changes seldom.
    let last = Mutex::new((Owner(0), None, 0u32, 0i64));
    let rule = move |owner: Owner, value: &[u8; 16]| {
        let mut last = last.lock();
        let (whose, window, asked, now) = &mut *last;
        if *whose != owner || *asked == 0 {
            (*whose, *window) = (owner, windows.read().get(&owner).copied());
            (*asked, *now) = (1024, clock.wall().0);
        }
        *asked -= 1;
        // Of who is not open yet, the window is not known.
        window.is_some_and(|window| Taken::from_value(value).is_past(*now, window))
    };
    Runs::open(path, Arc::new(rule)).map(Arc::new)
}

fn mark_name(partition: PartitionKey) -> Vec<u8> {
    let mut name = PARTITION.to_vec();
    name.extend_from_slice(partition.topic.as_bytes());
    name.extend_from_slice(&partition.index.to_be_bytes());
    name
}

fn partition_of(name: &[u8]) -> Option<PartitionKey> {
    let (topic, index) = name.split_first_chunk::<16>()?;
    Some(PartitionKey {
        topic: Uuid::from_bytes(*topic),
        index: i32::from_be_bytes(*index.first_chunk()?),
    })
}

/// An id as the filter knows it: of one partition.
fn mixed(owner: Owner, id: MessageId) -> u128 {
    const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    id ^ u128::from(owner.0).wrapping_mul(SPREAD)
}
