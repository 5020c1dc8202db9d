//! Looking up, cancelling and moving held records. The log decides: a change is a CANCEL frame, ordered with fires by the
//! partition's single writer, and is told when that frame is committed.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use scheduler::{StoreError, TimerEntry, TimerKey};
use storage::{
    batch::BatchHeader,
    frame::{FrameError, HoldFrame},
    log::{AppendError, Log, ReadError},
    record::Record,
    units::{DueTime, Offset, ScheduleId, TimestampMs},
};
use thiserror::Error;

use super::pending::{PendingError, fired_key, fired_records, timers};
use crate::{partition::Partition, requests::Reused};

/// The fire loop has a record in hand for the time of one append.
pub const IN_HAND: Duration = Duration::from_millis(1);

/// A held record as the log has it.
#[derive(Clone, Debug)]
pub struct HeldRecord {
    /// Its id: the offset reserved for it.
    pub id: ScheduleId,
    /// When it is due.
    pub due: DueTime,
    /// The timestamp it was produced with.
    pub created: TimestampMs,
    /// Key, value and headers as produced.
    pub record: Record,
}

/// What became of a record.
#[derive(Clone, Debug)]
pub enum Held {
    /// It waits.
    Pending(HeldRecord),
    /// It was delivered, under this offset.
    Fired(Offset),
    /// It was cancelled, never held, or is gone from the log.
    NotFound,
}

/// What a request changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It never fires.
    Cancel,
    /// It fires at another time.
    MoveTo(DueTime),
    /// It fires now, which is this time.
    Now(DueTime),
}

/// A change that is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// What to do.
    pub change: Change,
    /// Only where the record is due then.
    pub expected: Option<DueTime>,
    /// A request repeated with its id answers as it first did; empty: none.
    pub request_id: &'a [u8],
}

impl Asked<'_> {
    /// Tells requests apart that have one id: what they ask of which records. When "now" is does not count.
    pub fn fingerprint(&self, records: &[(ScheduleId, DueTime)]) -> u64 {
        let change = match self.change {
            Change::Cancel => (0, 0),
            Change::MoveTo(due) => (1, due.0),
            Change::Now(_) => (2, 0),
        };
        let mut hasher = DefaultHasher::new();
        (change, self.expected.map(|due| due.0)).hash(&mut hasher);
        for (id, _) in records {
            id.0.hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// What a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is cancelled, or moved.
    Done,
    /// It was delivered before, under this offset.
    AlreadyFired(Offset),
    /// It was cancelled, never held, or is gone from the log.
    NotFound,
    /// The due time was not the expected one.
    DueDiffers(DueTime),
}

/// Why a request could not be decided.
#[derive(Debug, Error)]
pub enum ControlError {
    /// The topic was deleted, or the node stops.
    #[error("the partition is closed")]
    Closed,
    /// The log could not be read.
    #[error("reading: {0}")]
    Read(#[from] ReadError),
    /// A frame could not be understood.
    #[error("the frame at offset {0}: {1}")]
    Frame(Offset, FrameError),
    /// The timer files could not be read.
    #[error("the timer store: {0}")]
    Store(String),
    /// The CANCEL frame could not be appended.
    #[error("appending: {0}")]
    Append(AppendError),
    /// Another request had that id.
    #[error("the request id was used for another request")]
    RequestIdReused,
}

impl From<Reused> for ControlError {
    fn from(_: Reused) -> Self {
        Self::RequestIdReused
    }
}

impl From<StoreError> for ControlError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<PendingError> for ControlError {
    fn from(error: PendingError) -> Self {
        match error {
            PendingError::Read(error) => Self::Read(error),
            PendingError::Frame(at, error) => Self::Frame(at, error),
            error => Self::Store(error.to_string()),
        }
    }
}

/// Cancels records; an outcome for each, in the order asked. A request repeated with its id answers as it first did.
pub async fn cancel(
    partition: &Arc<Partition>,
    ids: &[ScheduleId],
    request_id: &[u8],
    now: TimestampMs,
) -> Result<Vec<Outcome>, ControlError> {
    let asked = Asked {
        change: Change::Cancel,
        expected: None,
        request_id,
    };
    change(partition, ids, asked, now).await
}

/// Moves a record to another time, which may be now.
pub async fn reschedule(
    partition: &Arc<Partition>,
    id: ScheduleId,
    asked: Asked<'_>,
    now: TimestampMs,
) -> Result<Outcome, ControlError> {
    let outcomes = change(partition, &[id], asked, now).await?;
    Ok(outcomes.first().copied().unwrap_or(Outcome::NotFound))
}

async fn change(
    partition: &Arc<Partition>,
    ids: &[ScheduleId],
    asked: Asked<'_>,
    now: TimestampMs,
) -> Result<Vec<Outcome>, ControlError> {
    let named = ids.to_vec();
    let holds = blocking(partition, move |partition| hold_dues(partition, &named)).await?;
    let answered = loop {
        if let Some(answered) = partition.change(&holds, asked, now)? {
            break answered;
        }
        tokio::time::sleep(IN_HAND).await;
    };
    if !partition.committed(answered.committed_at).await {
        return Err(ControlError::Append(AppendError::Poisoned));
    }
    blocking_outcomes(partition, ids.to_vec(), holds, answered.outcomes).await
}

/// In the order asked; of what is not pending, the log is asked whether it fired.
async fn blocking_outcomes(
    partition: &Arc<Partition>,
    ids: Vec<ScheduleId>,
    holds: Vec<(ScheduleId, DueTime)>,
    outcomes: Vec<Option<Outcome>>,
) -> Result<Vec<Outcome>, ControlError> {
    blocking(partition, move |partition| {
        ids.iter()
            .map(|id| {
                // Sorted by id.
                let Ok(at) = holds.binary_search_by_key(id, |(id, _)| *id) else {
                    return Ok(Outcome::NotFound);
                };
                if let Some(outcome) = outcomes.get(at).copied().flatten() {
                    return Ok(outcome);
                }
                let fired = find_fire(partition.log(), *id)?;
                Ok(fired.map_or(Outcome::NotFound, Outcome::AlreadyFired))
            })
            .collect()
    })
    .await
}

async fn blocking<T: Send + 'static>(
    partition: &Arc<Partition>,
    task: impl FnOnce(&Partition) -> Result<T, ControlError> + Send + 'static,
) -> Result<T, ControlError> {
    let partition = Arc::clone(partition);
    tokio::task::spawn_blocking(move || task(&partition))
        .await
        .map_err(|_stopping| ControlError::Closed)?
}

/// What became of a record. Blocks on the disk.
pub fn get(partition: &Partition, id: ScheduleId) -> Result<Held, ControlError> {
    let Some((_, hold_due)) = hold_dues(partition, &[id])?.first().copied() else {
        return Ok(Held::NotFound);
    };
    let Some(entry) = partition.find_pending(id, hold_due)? else {
        let fired = find_fire(partition.log(), id)?;
        return Ok(fired.map_or(Held::NotFound, Held::Fired));
    };
    let held = Loader::new(partition).load(&entry)?;
    Ok(held.map_or(Held::NotFound, Held::Pending))
}

/// Pending keys with `from` <= key and due before `to`, in firing order, at most `max`. Blocks on the disk.
pub fn list(
    partition: &Partition,
    from: TimerKey,
    to: DueTime,
    max: usize,
) -> Result<Vec<TimerEntry>, ControlError> {
    let mut found = Vec::new();
    if max == 0 {
        return Ok(found);
    }
    partition.for_each_pending(from, to, &mut |entry| {
        found.push(entry);
        found.len() < max
    })?;
    Ok(found)
}

/// Reads the records of timers, one after another.
#[derive(Debug)]
pub struct Loader<'a> {
    partition: &'a Partition,
    holds: HoldReader<'a>,
}

impl<'a> Loader<'a> {
    /// For the timers of a partition.
    pub fn new(partition: &'a Partition) -> Self {
        Self {
            partition,
            holds: HoldReader::new(partition.log()),
        }
    }

    /// The record of a timer; `None` where it was settled meanwhile and is gone from the log. Its bytes are a slice of its whole
    /// HOLD frame. Blocks on the disk.
    pub fn load(&mut self, entry: &TimerEntry) -> Result<Option<HeldRecord>, ControlError> {
        if let Some(held) = self.read(entry)? {
            return Ok(Some(held));
        }
        // It may have been carried, and its segment gone, since the timer was looked up.
        let TimerKey { due, id } = entry.key;
        match self.partition.find_pending(id, due)? {
            Some(now) if now != *entry => self.read(&now),
            _ => Ok(None),
        }
    }

    fn read(&mut self, entry: &TimerEntry) -> Result<Option<HeldRecord>, ControlError> {
        let at = entry.place.hold;
        let Some(hold) = self.holds.hold(at)? else {
            return Ok(None);
        };
        let index = entry.place.index as usize;
        let Some(held) = hold.entries.get(index).filter(|h| h.id == entry.key.id) else {
            return Ok(None);
        };
        let record = hold.record(index).map_err(|e| ControlError::Frame(at, e))?;
        Ok(Some(HeldRecord {
            id: held.id,
            due: entry.key.due,
            created: held.created,
            record,
        }))
    }
}

/// Pending records per span: due before `edges[0]`, then between each edge and the next, then from the last edge on. Blocks on
/// the disk.
pub fn histogram(partition: &Partition, edges: &[DueTime]) -> Result<Vec<u64>, ControlError> {
    let mut counts = vec![0; edges.len() + 1];
    let first = TimerKey {
        due: DueTime(0),
        id: ScheduleId(0),
    };
    partition.for_each_pending(first, DueTime(i64::MAX), &mut |entry| {
        let span = edges.partition_point(|edge| *edge <= entry.key.due);
        if let Some(count) = counts.get_mut(span) {
            *count += 1;
        }
        true
    })?;
    Ok(counts)
}

/// Those of the records that were held and are in the log still, in the order of their ids, each once, with the due time that
/// its HOLD has, or where it was carried the one that it has now. Blocks on the disk.
pub fn hold_dues(
    partition: &Partition,
    ids: &[ScheduleId],
) -> Result<Vec<(ScheduleId, DueTime)>, ControlError> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let mut reader = HoldReader::new(partition.log());
    let mut holds = Vec::with_capacity(ids.len());
    for id in ids {
        let due = match reader.timer(id)? {
            Some(entry) => Some(entry.key.due),
            // Its first HOLD is gone; of one that was carried, the due time is known without.
            None => partition.moved_to(id),
        };
        holds.extend(due.map(|due| (id, due)));
    }
    Ok(holds)
}

/// Where a record was delivered.
fn find_fire(log: &Log, id: ScheduleId) -> Result<Option<Offset>, ControlError> {
    let is_fire = |header: &BatchHeader| header.is_fire();
    let mut found = None;
    log.scan_special_where(Offset(id.0), &is_fire, &mut |frame| {
        let base = frame.header.base_offset;
        let records = fired_records(&frame).into_iter().flatten().flatten();
        let at = (0i64..)
            .zip(records)
            .find(|(_, record)| fired_key(record).is_some_and(|key| key.id == id));
        found = at.map(|(delta, _)| Offset(base + delta));
        if found.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(found)
}

/// Reads HOLD frames; keeps the last one, since neighbours are asked for one after another.
#[derive(Debug)]
struct HoldReader<'a> {
    log: &'a Log,
    last: Option<HoldFrame>,
}

impl<'a> HoldReader<'a> {
    fn new(log: &'a Log) -> Self {
        Self { log, last: None }
    }

    /// The HOLD that covers an offset.
    fn hold(&mut self, at: Offset) -> Result<Option<&HoldFrame>, ControlError> {
        let known = self.last.as_ref().is_some_and(|hold| hold.covers(at));
        if !known {
            let batch = self.log.batch_at(at)?;
            self.last = match batch {
                Some(batch) => HoldFrame::parse(&batch).map_err(|e| ControlError::Frame(at, e))?,
                None => None,
            };
        }
        Ok(self.last.as_ref())
    }

    /// The timer of a record as its HOLD has it.
    fn timer(&mut self, id: ScheduleId) -> Result<Option<TimerEntry>, ControlError> {
        let hold = self.hold(Offset(id.0))?;
        Ok(hold.and_then(|hold| timers(hold).find(|entry| entry.key.id == id)))
    }
}
