//! The key-value store: RocksDB behind a few calls. Small, synced on every write that does not ask otherwise, and every value
//! checksummed.
//!
//! It keeps what is not a log: cluster metadata, and indexes that are too large for memory. A value carries its CRC32C, so that damage that RocksDB's own checks miss is
//! an error, never an answer. A folder that was initialised and is empty now is refused: starting anew there would forget.
//! [`runs`] is for large indexes that come and go by age.

pub mod runs;

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use rocksdb::{DB, DBRecoveryMode, Direction, IteratorMode, Options, WriteBatch, WriteOptions};
use thiserror::Error;

/// Memory for writes not yet in a file: metadata is small.
const WRITE_BUFFER_BYTES: usize = 4 << 20;
/// Says that the store was made; it stands beside the store's folder, so that an emptied folder is noticed.
const MARKER: &str = "kv.initialised";

/// Why the store gives nothing.
#[derive(Debug, Error)]
pub enum KvError {
    /// RocksDB refused; its message names the file.
    #[error("key-value store {path}: {source}")]
    Store {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: rocksdb::Error,
    },
    /// A value's checksum does not fit.
    #[error("key-value store {path}: the value of key {key} is damaged")]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// The key, in hex.
        key: String,
    },
    /// The folder was initialised once, and its store is gone.
    #[error(
        "key-value store {0} is missing or empty, though it was initialised; restore it, nothing was changed"
    )]
    Lost(PathBuf),
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// An open store.
#[derive(Debug)]
pub struct Kv {
    db: DB,
    path: PathBuf,
}

/// A key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Writes that take effect together.
#[derive(Default)]
pub struct Writes(WriteBatch);

impl std::fmt::Debug for Writes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writes")
            .field("len", &self.0.len())
            .finish()
    }
}

impl Writes {
    /// Sets a key.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let mut sealed = crc32c::crc32c(value).to_be_bytes().to_vec();
        sealed.extend_from_slice(value);
        self.0.put(key, sealed);
    }

    /// Removes a key.
    pub fn delete(&mut self, key: &[u8]) {
        self.0.delete(key);
    }

    /// Removes the keys from `from` up to, not including, `to`.
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.0.delete_range(from, to);
    }
}

impl Kv {
    /// Whether a store was ever made in `path`, be it gone or not.
    pub fn was_made(path: &Path) -> bool {
        path.join("CURRENT").exists() || path.with_file_name(MARKER).exists()
    }

    /// Opens the store in `path`, or makes it where none ever was.
    pub fn open(path: &Path) -> Result<Self, KvError> {
        let io = |source| KvError::Io {
            path: path.to_path_buf(),
            source,
        };
        let marker = path.with_file_name(MARKER);
        let is_there = path.join("CURRENT").exists();
        if marker.exists() && !is_there {
            return Err(KvError::Lost(path.to_path_buf()));
        }
        let mut options = Options::default();
        options.create_if_missing(!is_there);
        options.set_paranoid_checks(true);
        // Every write is synced, so a torn last record was never acked, and anything else that is broken is damage.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_write_buffer_size(WRITE_BUFFER_BYTES);
        options.set_max_open_files(64);
        options.set_keep_log_file_num(2);
        options.set_max_background_jobs(1);
        let db = DB::open(&options, path).map_err(|source| KvError::Store {
            path: path.to_path_buf(),
            source,
        })?;
        if !marker.exists() {
            crate::checkpoint::replace(&crate::disk::RealDisk, &marker, b"1\n").map_err(io)?;
        }
        Ok(Self {
            db,
            path: path.to_path_buf(),
        })
    }

    /// The value of a key.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        match self.db.get(key).map_err(|e| self.store(e))? {
            None => Ok(None),
            Some(sealed) => self.unseal(key, &sealed).map(Some),
        }
    }

    /// Does all of it, durably, or nothing.
    pub fn write(&self, writes: Writes) -> Result<(), KvError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db
            .write_opt(writes.0, &options)
            .map_err(|e| self.store(e))
    }

    /// The same, durable only after the next [`Kv::sync`]; after a crash it and all later ones may be gone.
    pub fn write_lazily(&self, writes: Writes) -> Result<(), KvError> {
        self.db.write(writes.0).map_err(|e| self.store(e))
    }

    /// Makes all that was written durable.
    pub fn sync(&self) -> Result<(), KvError> {
        self.db.flush_wal(true).map_err(|e| self.store(e))
    }

    /// Keys and values from `from` up to, not including, `to`, in order.
    pub fn scan(&self, from: &[u8], to: &[u8]) -> Result<Vec<Entry>, KvError> {
        let mut found = Vec::new();
        for item in self
            .db
            .iterator(IteratorMode::From(from, Direction::Forward))
        {
            let (key, sealed) = item.map_err(|e| self.store(e))?;
            if key.as_ref() >= to {
                break;
            }
            let value = self.unseal(&key, &sealed)?;
            found.push((key.into_vec(), value));
        }
        Ok(found)
    }

    fn unseal(&self, key: &[u8], sealed: &[u8]) -> Result<Vec<u8>, KvError> {
        let damaged = || KvError::Damaged {
            path: self.path.clone(),
            key: hex(key),
        };
        let (crc, value) = sealed.split_first_chunk::<4>().ok_or_else(damaged)?;
        if u32::from_be_bytes(*crc) == crc32c::crc32c(value) {
            Ok(value.to_vec())
        } else {
            Err(damaged())
        }
    }

    fn store(&self, source: rocksdb::Error) -> KvError {
        KvError::Store {
            path: self.path.clone(),
            source,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_there_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kv");
        let kv = Kv::open(&path).unwrap();
        let mut writes = Writes::default();
        for key in [b"a1", b"a2", b"b1"] {
            writes.put(key, key);
        }
        kv.write(writes).unwrap();
        drop(kv);
        let kv = Kv::open(&path).unwrap();
        assert_eq!(kv.get(b"a1").unwrap(), Some(b"a1".to_vec()));
        assert_eq!(kv.get(b"zz").unwrap(), None);
        assert_eq!(kv.scan(b"a", b"b").unwrap().len(), 2);
    }

    #[test]
    fn an_emptied_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kv");
        drop(Kv::open(&path).unwrap());
        std::fs::remove_dir_all(&path).unwrap();
        assert!(matches!(Kv::open(&path), Err(KvError::Lost(_))));
        assert!(!path.exists(), "nothing was changed");
    }
}
