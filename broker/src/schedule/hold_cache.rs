//! Where the records of HOLD frames lie, kept between the ticks that fire them.

use std::collections::HashMap;

use scheduler::TimerEntry;
use storage::{
    frame::HoldEntry,
    log::{HoldReadError, ReadError, StoredHold},
    units::Offset,
};

use super::fire::FireError;
use crate::partition::{Partition, PartitionKey};

type Key = (PartitionKey, Offset);

/// HOLD frames in use, of all partitions: two generations, of which the older is forgotten when the younger is full.
#[derive(Debug)]
pub struct HoldCache {
    /// The one asked for last: neighbours are, one after another.
    last: Option<(Key, StoredHold)>,
    young: HashMap<Key, StoredHold>,
    old: HashMap<Key, StoredHold>,
    /// Of `young`.
    bytes: usize,
    bytes_max: usize,
}

impl HoldCache {
    /// An empty one that keeps so many bytes at most, besides the one asked for last.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            last: None,
            young: HashMap::new(),
            old: HashMap::new(),
            bytes: 0,
            bytes_max,
        }
    }

    /// The entry of a timer in its HOLD, and bytes that begin with its record.
    pub fn read(
        &mut self,
        partition: &Partition,
        entry: &TimerEntry,
    ) -> Result<(HoldEntry, &[u8]), FireError> {
        let at = entry.place.hold;
        let index = entry.place.index as usize;
        self.bring(partition, at)?;
        let Some((_, hold)) = &mut self.last else {
            return Err(FireError::NoHold(at));
        };
        let held = hold.entry(index).map_err(|error| failed(at, error))?;
        let due_agrees = held.due == entry.key.due || entry.place.moved;
        if held.id != entry.key.id || !due_agrees {
            return Err(FireError::Disagrees(at));
        }
        let record = hold.record(&held, index);
        Ok((held, record.map_err(|error| failed(at, error))?))
    }

    /// Makes it the last one.
    fn bring(&mut self, partition: &Partition, at: Offset) -> Result<(), FireError> {
        let key = (partition.key, at);
        let known = match self.last.take() {
            Some((last, hold)) if last == key => Some(hold),
            other => {
                self.keep(other);
                let known = self.young.remove(&key);
                self.bytes -= known.as_ref().map_or(0, StoredHold::memory);
                known.or_else(|| self.old.remove(&key))
            }
        };
        let hold = match known.filter(|hold| !hold.is_gone()) {
            Some(hold) => hold,
            None => open(partition, at)?,
        };
        self.last = Some((key, hold));
        Ok(())
    }

    fn keep(&mut self, last: Option<(Key, StoredHold)>) {
        self.bytes += last.as_ref().map_or(0, |(_, hold)| hold.memory());
        self.young.extend(last);
        if self.bytes > self.bytes_max / 2 {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
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
