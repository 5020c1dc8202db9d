//! A store of small entries that come in sorted runs, are looked up often, and go by age: RocksDB, filled by ingestion.
//!
//! An entry is an owner, 16 bytes that name it, and 16 bytes of value. A run is written as one table file and taken in whole, with
//! the marks that say how far it goes: no write-ahead log, and after a crash it is there or not. Entries of the same name: the one
//! of the later run counts. Those that [`Rule`] gives up go when RocksDB merges files, and within a day in any case.
//!
//! Memory is bounded by the block cache, which index and filter blocks share; a lookup that misses it reads from the page cache.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BoundColumnFamily, Cache, CompactionDecision,
    DBCompactionStyle, DBWithThreadMode, IngestExternalFileOptions, IteratorMode, MultiThreaded,
    Options, ReadOptions, SstFileWriter, UniversalCompactOptions, WriteBatch, properties,
};

use super::KvError;

type Db = DBWithThreadMode<MultiThreaded>;

const COLUMN: &str = "default";
const CACHE_BYTES: usize = 32 << 20;
const BLOCK_BYTES: usize = 4 << 10;
const BITS_PER_KEY: f64 = 10.0;
/// Merged files are at most so large: an owner's removal takes whole ones away.
const FILE_BYTES: u64 = 256 << 20;
/// Read ahead of a file that is merged.
const READAHEAD_BYTES: usize = 128 << 10;
/// Runs of about one size that are merged into one.
const MERGE_WIDTH: i32 = 16;
/// A file that nothing was merged with is looked through after this: what is too old goes.
const LOOK_THROUGH_SECONDS: u64 = 24 * 3_600;
/// Owner 0 has no entries: marks stand there.
const MARKS: [u8; OWNER_LEN] = [0; OWNER_LEN];
const OWNER_LEN: usize = 4;
const KEY_LEN: usize = OWNER_LEN + NAME_LEN;
const NAME_LEN: usize = 16;
/// What an entry's value takes.
pub const VALUE_LEN: usize = 16;

/// Whose entries they are: never 0, never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u32);

/// What an entry is found by.
pub type Name = u128;
/// What it says.
pub type Value = [u8; VALUE_LEN];

/// Whether an entry may go.
pub type Rule = Arc<dyn Fn(Owner, &Value) -> bool + Send + Sync>;

/// The store.
pub struct Runs {
    db: Db,
    path: PathBuf,
    options: Options,
    next_file: AtomicU64,
    cache: Cache,
}

impl fmt::Debug for Runs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runs")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What a store takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// About so many entries.
    pub entries: u64,
    /// Bytes of its table files.
    pub bytes: u64,
    /// Table files.
    pub files: u64,
    /// Bytes of the block cache in use.
    pub cache_bytes: u64,
    /// Bytes that wait to be merged.
    pub pending_compaction_bytes: u64,
}

/// Entries and marks, to be taken in at once.
#[derive(Debug, Default)]
pub struct Run {
    /// Sorted when it is taken in; of the same name, the last one counts.
    pub entries: Vec<(Owner, Name, Value)>,
    /// Set with them.
    pub marks: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Runs {
    /// Opens the store in `path`, or makes it.
    pub fn open(path: &Path, rule: Rule) -> Result<Self, KvError> {
        let cache = Cache::new_hyper_clock_cache(CACHE_BYTES, 0);
        let options = options(&cache, rule);
        std::fs::create_dir_all(path).map_err(|source| KvError::Io {
            path: path.to_path_buf(),
            source,
        })?;
        let columns = [(COLUMN, options.clone())];
        let db =
            Db::open_cf_with_opts(&options, path, columns).map_err(|source| KvError::Store {
                path: path.to_path_buf(),
                source,
            })?;
        Ok(Self {
            db,
            path: path.to_path_buf(),
            options,
            next_file: AtomicU64::new(0),
            cache,
        })
    }

    /// The values of these names, in their order. Sorted names are found faster.
    pub fn get_many(&self, owner: Owner, names: &[Name]) -> Result<Vec<Option<Value>>, KvError> {
        let Some(column) = self.column() else {
            return Ok(vec![None; names.len()]);
        };
        let keys: Vec<_> = names.iter().map(|name| key(owner, *name)).collect();
        let found = self
            .db
            .batched_multi_get_cf(&column, &keys, keys.is_sorted());
        found
            .into_iter()
            .map(|value| {
                let value = value.map_err(|source| self.store(source))?;
                Ok(value.and_then(|value| Value::try_from(&value[..]).ok()))
            })
            .collect()
    }

    /// Takes a run in; durable when this returns.
    pub fn take_in(&self, mut run: Run) -> Result<(), KvError> {
        // Stable: of the same name, the last one stays the last.
        run.entries.sort_by_key(|(owner, name, _)| (*owner, *name));
        let file = self.path.join(format!(
            "run-{}.incoming",
            self.next_file.fetch_add(1, Ordering::Relaxed)
        ));
        let written = self.write_file(&file, &run);
        let done = written.and_then(|()| {
            let mut options = IngestExternalFileOptions::default();
            options.set_move_files(true);
            self.db.ingest_external_file_opts(&options, vec![&file])
        });
        if done.is_err() {
            // What is left of it is not looked at again; a later run of that number replaces it.
            let _ = std::fs::remove_file(&file);
        }
        done.map_err(|source| self.store(source))
    }

    fn write_file(&self, file: &Path, run: &Run) -> Result<(), rocksdb::Error> {
        let mut writer = SstFileWriter::create(&self.options);
        writer.open(file)?;
        for (name, value) in &run.marks {
            writer.put(mark_key(name), value)?;
        }
        let mut entries = run.entries.iter().peekable();
        while let Some((owner, name, value)) = entries.next() {
            let again = |next: &&(Owner, Name, Value)| (next.0, next.1) == (*owner, *name);
            if entries.peek().is_none_or(|next| !again(next)) {
                writer.put(key(*owner, *name), value)?;
            }
        }
        writer.finish()
    }

    /// Sets marks without a run; they may be lost in a crash.
    pub fn mark_lazily(&self, marks: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), KvError> {
        let mut writes = WriteBatch::default();
        for (name, value) in marks {
            writes.put(mark_key(name), value);
        }
        self.db.write(writes).map_err(|source| self.store(source))
    }

    /// A mark.
    pub fn mark(&self, name: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.db
            .get(mark_key(name))
            .map_err(|source| self.store(source))
    }

    /// All marks whose name begins so, without that beginning.
    pub fn marks(&self, beginning: &[u8]) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, KvError> {
        let prefix = mark_key(beginning);
        let mut found = BTreeMap::new();
        let from = IteratorMode::From(&prefix, rocksdb::Direction::Forward);
        for item in self.db.iterator(from) {
            let (key, value) = item.map_err(|source| self.store(source))?;
            let Some(name) = key.strip_prefix(prefix.as_slice()) else {
                break;
            };
            found.insert(name.to_vec(), value.into_vec());
        }
        Ok(found)
    }

    /// Removes an owner's entries, and these marks.
    pub fn remove_owner(&self, owner: Owner, marks: &[Vec<u8>]) -> Result<(), KvError> {
        let (from, to) = (
            owner.0.to_be_bytes(),
            owner.0.saturating_add(1).to_be_bytes(),
        );
        let mut writes = WriteBatch::default();
        for name in marks {
            writes.delete(mark_key(name));
        }
        let failed = |source| self.store(source);
        self.db.write(writes).map_err(failed)?;
        // Whole files at once; what shares a file with others goes with the next merge.
        self.db.delete_file_in_range(from, to).map_err(failed)?;
        let column = self.column();
        if let Some(column) = column {
            self.db.delete_range_cf(&column, from, to).map_err(failed)?;
        }
        Ok(())
    }

    /// Gives `each` all entries, in no order that means anything, until it returns false. They are those of one moment.
    pub fn for_each(
        &self,
        each: &mut dyn FnMut(Owner, Name, &Value) -> bool,
    ) -> Result<(), KvError> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(READAHEAD_BYTES);
        options.set_iterate_lower_bound(1u32.to_be_bytes());
        for item in self.db.iterator_opt(IteratorMode::Start, options) {
            let (key, value) = item.map_err(|source| self.store(source))?;
            let owner = key.first_chunk::<OWNER_LEN>();
            let name = key.get(OWNER_LEN..).and_then(<[u8]>::first_chunk);
            if let (Some(owner), Some(name), Ok(value)) = (owner, name, Value::try_from(&*value))
                && !each(
                    Owner(u32::from_be_bytes(*owner)),
                    Name::from_be_bytes(*name),
                    &value,
                )
            {
                break;
            }
        }
        Ok(())
    }

    /// About what an owner's entries take: how many, and bytes.
    pub fn size_of(&self, owner: Owner) -> (u64, u64) {
        let (from, to) = (
            owner.0.to_be_bytes(),
            owner.0.saturating_add(1).to_be_bytes(),
        );
        let range = rocksdb::Range::new(&from, &to);
        let bytes = self.db.get_approximate_sizes(&[range]);
        let bytes = bytes.first().copied().unwrap_or(0);
        let all = self.usage();
        let entries = u128::from(all.entries) * u128::from(bytes) / u128::from(all.bytes.max(1));
        (u64::try_from(entries).unwrap_or(u64::MAX), bytes)
    }

    /// Merges all files: what may go is gone when this returns. For tests and for maintenance.
    pub fn compact(&self) {
        self.db.compact_range(None::<&[u8]>, None::<&[u8]>);
    }

    /// What it takes.
    pub fn usage(&self) -> Usage {
        let number = |property: &properties::PropName| {
            let value = self.db.property_int_value(property);
            value.ok().flatten().unwrap_or(0)
        };
        Usage {
            entries: number(properties::ESTIMATE_NUM_KEYS),
            bytes: number(properties::LIVE_SST_FILES_SIZE),
            files: self.db.live_files().map_or(0, |files| files.len() as u64),
            cache_bytes: self.cache.get_usage() as u64,
            pending_compaction_bytes: number(properties::ESTIMATE_PENDING_COMPACTION_BYTES),
        }
    }

    fn column(&self) -> Option<Arc<BoundColumnFamily<'_>>> {
        self.db.cf_handle(COLUMN)
    }

    fn store(&self, source: rocksdb::Error) -> KvError {
        KvError::Store {
            path: self.path.clone(),
            source,
        }
    }
}

fn options(cache: &Cache, rule: Rule) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_format_version(6);
    blocks.set_block_cache(cache);
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_metadata_block_size(BLOCK_BYTES);
    blocks.set_bloom_filter(BITS_PER_KEY, false);
    blocks.set_partition_filters(true);
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_top_level_index_and_filter(true);
    let mut merging = UniversalCompactOptions::default();
    merging.set_min_merge_width(MERGE_WIDTH);
    merging.set_size_ratio(30);
    // Entries are hardly ever replaced: merging everything would win no room.
    merging.set_max_size_amplification_percent(1_000);
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_paranoid_checks(true);
    options.set_block_based_table_factory(&blocks);
    options.set_compaction_style(DBCompactionStyle::Universal);
    options.set_universal_compaction_options(&merging);
    options.set_level_zero_file_num_compaction_trigger(MERGE_WIDTH + 2);
    // A run that waits to be merged harms lookups a little; one that is not taken in stays in memory.
    options.set_level_zero_slowdown_writes_trigger(i32::MAX);
    options.set_level_zero_stop_writes_trigger(i32::MAX);
    // Of each of the files that are merged: two dozens and more.
    options.set_compaction_readahead_size(READAHEAD_BYTES);
    options.set_target_file_size_base(FILE_BYTES);
    options.set_periodic_compaction_seconds(LOOK_THROUGH_SECONDS);
    options.set_write_buffer_size(1 << 20);
    options.set_max_open_files(256);
    options.set_keep_log_file_num(2);
    options.set_max_background_jobs(2);
    options.set_compaction_filter("too-old", move |_level: u32, key: &[u8], value: &[u8]| {
        let owner = key.first_chunk::<OWNER_LEN>();
        let goes = match (owner, Value::try_from(value)) {
            (Some(owner), Ok(value)) if *owner != MARKS => {
                rule(Owner(u32::from_be_bytes(*owner)), &value)
            }
            _ => false,
        };
        if goes {
            CompactionDecision::Remove
        } else {
            CompactionDecision::Keep
        }
    });
    options
}

fn key(owner: Owner, name: Name) -> [u8; KEY_LEN] {
    let mut key = [0; KEY_LEN];
    let (of, named) = key.split_at_mut(OWNER_LEN);
    of.copy_from_slice(&owner.0.to_be_bytes());
    named.copy_from_slice(&name.to_be_bytes());
    key
}

fn mark_key(name: &[u8]) -> Vec<u8> {
    [&MARKS[..], name].concat()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    fn run(entries: &[(u32, Name, u8)], marks: &[(&str, &str)]) -> Run {
        let marks = marks.iter();
        Run {
            entries: entries
                .iter()
                .map(|(owner, name, value)| (Owner(*owner), *name, [*value; VALUE_LEN]))
                .collect(),
            marks: marks
                .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()))
                .collect(),
        }
    }

    fn values(runs: &Runs, owner: u32, names: &[Name]) -> Vec<Option<u8>> {
        let found = runs.get_many(Owner(owner), names).unwrap();
        found.iter().map(|value| value.map(|v| v[0])).collect()
    }

    #[test]
    fn what_was_taken_in_is_found_also_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs");
        let runs = Runs::open(&path, Arc::new(|_, _| false)).unwrap();
        runs.take_in(run(&[(1, 9, 1), (1, 3, 2), (2, 9, 3)], &[("a1", "x")]))
            .unwrap();
        runs.take_in(run(&[(1, 9, 4), (1, 9, 5)], &[("a2", "y")]))
            .unwrap();
        drop(runs);
        let runs = Runs::open(&path, Arc::new(|_, _| false)).unwrap();
        assert_eq!(values(&runs, 1, &[9, 3, 4]), [Some(5), Some(2), None]);
        assert_eq!(values(&runs, 2, &[9]), [Some(3)]);
        assert_eq!(runs.mark(b"a1").unwrap(), Some(b"x".to_vec()));
        let marks = runs.marks(b"a").unwrap();
        assert_eq!(marks.keys().collect::<Vec<_>>(), [b"1", b"2"]);
        let mut all = 0;
        runs.for_each(&mut |_, _, _| {
            all += 1;
            true
        })
        .unwrap();
        assert_eq!(all, 3);
        assert!(runs.usage().bytes > 0);
    }

    #[test]
    fn an_owner_goes_whole_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let runs = Runs::open(&dir.path().join("runs"), Arc::new(|_, _| false)).unwrap();
        runs.take_in(run(&[(1, 9, 1), (2, 9, 2), (3, 9, 3)], &[("o2", "")]))
            .unwrap();
        runs.remove_owner(Owner(2), &[b"o2".to_vec()]).unwrap();
        for (owner, left) in [(1, Some(1)), (2, None), (3, Some(3))] {
            assert_eq!(values(&runs, owner, &[9]), [left]);
        }
        assert_eq!(runs.mark(b"o2").unwrap(), None);
    }

    #[test]
    fn what_the_rule_gives_up_goes_and_marks_stay() {
        let dir = tempfile::tempdir().unwrap();
        let gives_up = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&gives_up);
        let rule: Rule = Arc::new(move |owner, value| {
            asked.load(Ordering::Relaxed) && owner.0 == 1 && value[0] < 5
        });
        let runs = Runs::open(&dir.path().join("runs"), rule).unwrap();
        runs.take_in(run(&[(1, 1, 1), (1, 2, 7), (2, 1, 1)], &[("m", "1")]))
            .unwrap();
        runs.compact();
        assert_eq!(values(&runs, 1, &[1, 2]), [Some(1), Some(7)]);
        gives_up.store(true, Ordering::Relaxed);
        // A file is merged again only with another.
        runs.take_in(run(&[(3, 1, 9)], &[])).unwrap();
        runs.compact();
        assert_eq!(values(&runs, 1, &[1, 2]), [None, Some(7)]);
        assert_eq!(values(&runs, 2, &[1]), [Some(1)]);
        assert_eq!(runs.mark(b"m").unwrap(), Some(b"1".to_vec()));
    }
}
