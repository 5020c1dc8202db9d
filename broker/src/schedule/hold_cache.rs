//! Where the records of HOLD frames lie, kept between the ticks that fire them.

use std::collections::HashMap;

use bytes::Bytes;
use scheduler::TimerEntry;
use storage::{
    frame::HoldEntry,
    log::{HoldReadError, ReadError, StoredHold},
    units::Offset,
};

use super::fire::FireError;
use crate::partition::{Partition, PartitionKey};

/// What is kept, in bytes, at most.
const BYTES_MAX: usize = 8 << 20;

type Key = (PartitionKey, Offset);

/// HOLD frames in use, of all partitions: two generations, of which the older is forgotten when the younger is full.
#[derive(Debug, Default)]
pub struct HoldCache {
    /// The one asked for last: neighbours are, one after another.
    last: Option<(Key, StoredHold)>,
    young: HashMap<Key, StoredHold>,
    old: HashMap<Key, StoredHold>,
    /// Of `young` and `last`, about.
    bytes: usize,
}

impl HoldCache {
    /// The entry of a timer in its HOLD, and bytes that begin with its record.
    pub fn read(
        &mut self,
        partition: &Partition,
        entry: &TimerEntry,
    ) -> Result<(HoldEntry, Bytes), FireError> {
        let at = entry.place.hold;
        let index = entry.place.index as usize;
        let failed = |error| failed(at, error);
        let hold = self.hold(partition, at)?;
        let before = hold.memory();
        let held = hold.entry(index).map_err(failed)?;
        let due_agrees = held.due == entry.key.due || entry.place.moved;
        if held.id != entry.key.id || !due_agrees {
            return Err(FireError::Disagrees(at));
        }
        let record = hold.record(&held, index).map_err(failed)?;
        let grown = hold.memory().saturating_sub(before);
        self.bytes += grown;
        Ok((held, record))
    }

    fn hold(&mut self, partition: &Partition, at: Offset) -> Result<&mut StoredHold, FireError> {
        let key = (partition.key, at);
        let known = match self.last.take() {
            Some((last, hold)) if last == key => Some(hold),
            other => {
                self.young.extend(other);
                if self.bytes > BYTES_MAX / 2 {
                    self.old = std::mem::take(&mut self.young);
                    self.bytes = 0;
                }
                self.young.remove(&key).or_else(|| {
                    let known = self.old.remove(&key)?;
                    self.bytes += known.memory();
                    Some(known)
                })
            }
        };
        let hold = if let Some(hold) = known.filter(|hold| !hold.is_gone()) {
            hold
        } else {
            let hold = open(partition, at)?;
            self.bytes += hold.memory();
            hold
        };
        Ok(&mut self.last.insert((key, hold)).1)
    }
}

fn open(partition: &Partition, at: Offset) -> Result<StoredHold, FireError> {
    let frame = partition.log().frame_at(at);
    let frame = frame.map_err(|e| FireError::Read(at, e))?;
    let hold = StoredHold::open(frame.ok_or(FireError::NoHold(at))?);
    hold.map_err(|error| failed(at, error))?
        .ok_or(FireError::NoHold(at))
}

fn failed(at: Offset, error: HoldReadError) -> FireError {
    match error {
        HoldReadError::Io(error) => FireError::Read(at, ReadError::Io(error)),
        HoldReadError::Frame(error) => FireError::Damaged(at, error),
    }
}
