//! Which held record waits under a schedule key (`chronos-schedule-key`).
//!
//! One RocksDB store a node, made with the first key: `<data>/<node>/index/keys`, topic id, partition, key -> schedule id, due
//! time of its HOLD, and which run of the process wrote it. It is derived: whoever asks checks what it says against the timers
//! and the HOLD, so that what a crash left in it beyond the log's end does no harm; and what a crash took from it is read from the
//! log again, since a checkpoint of timers is written only when the index is durable up to it.

use std::{path::PathBuf, sync::Arc};

use bytes::{Buf, BufMut};
use parking_lot::Mutex;
use storage::{
    kv::{Kv, KvError, Writes},
    units::{DueTime, ScheduleId, TopicId},
};
use uuid::Uuid;

use crate::partition::PartitionKey;

/// The keys of all partitions.
#[derive(Debug)]
pub struct KeyIndex {
    path: PathBuf,
    store: Mutex<Option<Arc<Kv>>>,
    run: u64,
}

/// What the index says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keyed {
    /// The newest record of that key.
    pub id: ScheduleId,
    /// The due time that its HOLD has.
    pub due: DueTime,
    /// This process wrote it.
    pub is_of_this_run: bool,
}

impl KeyIndex {
    /// In a folder; nothing is made there yet, and what is there is opened.
    pub fn open(path: PathBuf) -> Result<Self, KvError> {
        let store = Kv::was_made(&path).then(|| Kv::open(&path)).transpose()?;
        Ok(Self {
            store: Mutex::new(store.map(Arc::new)),
            path,
            run: Uuid::new_v4().as_u64_pair().1,
        })
    }

    fn existing(&self) -> Option<Arc<Kv>> {
        self.store.lock().clone()
    }

    fn made(&self) -> Result<Arc<Kv>, KvError> {
        let mut store = self.store.lock();
        if let Some(store) = &*store {
            return Ok(Arc::clone(store));
        }
        std::fs::create_dir_all(&self.path).map_err(|source| KvError::Io {
            path: self.path.clone(),
            source,
        })?;
        let made = Arc::new(Kv::open(&self.path)?);
        *store = Some(Arc::clone(&made));
        Ok(made)
    }

    /// The newest record of a key.
    pub fn get(&self, partition: PartitionKey, key: &[u8]) -> Result<Option<Keyed>, KvError> {
        let Some(store) = self.existing() else {
            return Ok(None);
        };
        let value = store.get(&entry(partition, key))?;
        Ok(value.and_then(|value| {
            let mut b = value.as_slice();
            (b.len() == 24).then(|| Keyed {
                id: ScheduleId(b.get_i64()),
                due: DueTime(b.get_i64()),
                is_of_this_run: b.get_u64() == self.run,
            })
        }))
    }

    /// These records are the newest of their keys.
    pub fn put<'a>(
        &self,
        partition: PartitionKey,
        keyed: impl IntoIterator<Item = (&'a [u8], ScheduleId, DueTime)>,
    ) -> Result<(), KvError> {
        let mut writes = Writes::default();
        let mut is_empty = true;
        for (key, id, due) in keyed {
            let mut value = Vec::with_capacity(24);
            value.put_i64(id.0);
            value.put_i64(due.0);
            value.put_u64(self.run);
            writes.put(&entry(partition, key), &value);
            is_empty = false;
        }
        if is_empty {
            return Ok(());
        }
        self.made()?.write_lazily(writes)
    }

    /// The record fired, or was replaced: nothing waits under the key, unless a newer one does.
    pub fn remove(
        &self,
        partition: PartitionKey,
        key: &[u8],
        id: ScheduleId,
    ) -> Result<(), KvError> {
        let known = self.get(partition, key)?;
        let (Some(store), true) = (self.existing(), known.is_some_and(|k| k.id == id)) else {
            return Ok(());
        };
        let mut writes = Writes::default();
        writes.delete(&entry(partition, key));
        store.write_lazily(writes)
    }

    /// A topic was deleted.
    pub fn remove_topic(&self, topic: TopicId) -> Result<(), KvError> {
        let Some(store) = self.existing() else {
            return Ok(());
        };
        let from = topic.as_bytes().to_vec();
        let mut to = from.clone();
        // One past the last partition of it.
        to.extend_from_slice(&[0xff; 5]);
        let mut writes = Writes::default();
        writes.delete_range(&from, &to);
        store.write_lazily(writes)
    }

    /// Makes all of it durable.
    pub fn sync(&self) -> Result<(), KvError> {
        match self.existing() {
            Some(store) => store.sync(),
            None => Ok(()),
        }
    }
}

fn entry(partition: PartitionKey, key: &[u8]) -> Vec<u8> {
    let mut entry = Vec::with_capacity(20 + key.len());
    entry.extend_from_slice(partition.topic.as_bytes());
    entry.put_i32(partition.index);
    entry.extend_from_slice(key);
    entry
}
