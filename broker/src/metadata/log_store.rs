//! The metadata log in the key-value store, with its witness beside it.
//!
//! ```text
//! kv: "l" + index u64, big-endian    an entry, JSON
//!     "p"                            id of the last purged entry, JSON
//!     "s"                            the snapshot (see `state_machine`)
//! raft/hard_state.json               vote, and the last entry that was acked
//! ```
//! An entry is synced, then the witness, then it is acked. At start every entry is read: a gap, a damaged value, or a log that
//! ends before its witness says is refused with nothing changed, since going on would forget what was acked.

use std::{fmt::Debug, io, ops::RangeBounds, sync::Arc};

use openraft::{
    LogState, OptionalSend, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
};
use parking_lot::Mutex;
use storage::kv::{Kv, Writes};

use super::{
    handle::MetadataError,
    hard_state::HardStateFile,
    raft_types::{Entry, LogId, Types, Vote, blocking},
    state_machine::StoredSnapshot,
};

const ENTRY: u8 = b'l';
const PURGED: &[u8] = b"p";

/// The log; clones read the same one.
#[derive(Clone, Debug)]
pub(super) struct LogStore {
    kv: Arc<Kv>,
    hard_state: Arc<Mutex<HardStateFile>>,
    /// Only the writer's copy is kept up to date; readers do not look at it.
    state: LogState<Types>,
}

impl LogStore {
    /// Reads and checks the whole log; true where nothing was ever written.
    pub(super) fn open(
        kv: Arc<Kv>,
        (mut hard_state, no_witness): (HardStateFile, bool),
    ) -> Result<(Self, bool), MetadataError> {
        let purged: Option<LogId> = match kv.get(PURGED)? {
            Some(json) => Some(parse("last purged entry", &json)?),
            None => None,
        };
        let snapshot = StoredSnapshot::read(&kv)?;
        let covered = snapshot.as_ref().and_then(|s| s.meta.last_log_id);
        if purged > covered {
            return Err(lost(
                "the snapshot that stands for the log's start is missing",
            ));
        }
        let mut last = purged;
        let mut next = purged.map_or(0, |id| id.index + 1);
        for (key, json) in kv.scan(&[ENTRY], &[ENTRY + 1])? {
            if key != entry_key(next) {
                return Err(lost(&format!("entry {next} is missing")));
            }
            let entry: Entry = parse(&format!("entry {next}"), &json)?;
            last = Some(entry.log_id);
            next += 1;
        }
        let is_empty = last.is_none() && covered.is_none();
        if no_witness && is_empty {
            hard_state.create()?;
        } else if no_witness {
            return Err(lost("raft/hard_state.json is missing"));
        }
        if hard_state.get().last_log > last.max(covered) {
            return Err(lost(&format!(
                "it ends before entry {next}, and a later one was acked"
            )));
        }
        let is_new = is_empty && hard_state.get().last_log.is_none();
        let state = LogState {
            last_purged_log_id: purged,
            last_log_id: last,
        };
        let store = Self {
            kv,
            hard_state: Arc::new(Mutex::new(hard_state)),
            state,
        };
        Ok((store, is_new))
    }

    /// Syncs `writes`, then the witness that the log ends at `last`.
    async fn write(&self, writes: Writes, last: Option<LogId>) -> io::Result<()> {
        let (kv, hard_state) = (Arc::clone(&self.kv), Arc::clone(&self.hard_state));
        blocking(move || {
            let mut hard_state = hard_state.lock();
            // Before a cut the witness goes first: it must never claim more than there is.
            if hard_state.get().last_log > last {
                hard_state.save_last_log(last)?;
                return kv.write(writes).map_err(io::Error::other);
            }
            kv.write(writes).map_err(io::Error::other)?;
            if hard_state.get().last_log == last {
                return Ok(());
            }
            hard_state.save_last_log(last)
        })
        .await
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let from = match range.start_bound() {
            std::ops::Bound::Included(n) => entry_key(*n),
            std::ops::Bound::Excluded(n) => entry_key(n.saturating_add(1)),
            std::ops::Bound::Unbounded => vec![ENTRY],
        };
        let to = match range.end_bound() {
            std::ops::Bound::Included(n) => entry_key(n.saturating_add(1)),
            std::ops::Bound::Excluded(n) => entry_key(*n),
            std::ops::Bound::Unbounded => vec![ENTRY + 1],
        };
        let found = self.kv.scan(&from, &to).map_err(io::Error::other)?;
        found
            .iter()
            .map(|(_, json)| serde_json::from_slice(json).map_err(io::Error::other))
            .collect()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.hard_state.lock().get().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        Ok(self.state.clone())
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (hard_state, vote) = (Arc::clone(&self.hard_state), *vote);
        blocking(move || hard_state.lock().save_vote(vote)).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut writes = Writes::default();
        let mut last = self.state.last_log_id;
        for entry in entries {
            let json = serde_json::to_vec(&entry).map_err(io::Error::other)?;
            writes.put(&entry_key(entry.index()), &json);
            last = Some(entry.log_id);
        }
        self.write(writes, last).await?;
        self.state.last_log_id = last;
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let mut writes = Writes::default();
        let first_gone = last_log_id.map_or(0, |id| id.index + 1);
        writes.delete_range(&entry_key(first_gone), &[ENTRY + 1]);
        let last = self.state.last_log_id.min(last_log_id);
        self.write(writes, last).await?;
        self.state.last_log_id = last;
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let mut writes = Writes::default();
        writes.put(
            PURGED,
            &serde_json::to_vec(&log_id).map_err(io::Error::other)?,
        );
        writes.delete_range(&[ENTRY], &entry_key(log_id.index + 1));
        let last = self.state.last_log_id.max(Some(log_id));
        self.write(writes, last).await?;
        self.state = LogState {
            last_purged_log_id: Some(log_id),
            last_log_id: last,
        };
        Ok(())
    }
}

fn entry_key(index: u64) -> Vec<u8> {
    let mut key = vec![ENTRY];
    key.extend_from_slice(&index.to_be_bytes());
    key
}

fn lost(why: &str) -> MetadataError {
    MetadataError::Unreadable {
        what: "log".into(),
        why: why.into(),
    }
}

pub(super) fn parse<T: for<'de> serde::Deserialize<'de>>(
    what: &str,
    json: &[u8],
) -> Result<T, MetadataError> {
    serde_json::from_slice(json).map_err(|e| MetadataError::Unreadable {
        what: what.into(),
        why: e.to_string(),
    })
}
