//! Looking up, cancelling and moving held records. The log decides: a change is a CANCEL frame, ordered with fires by the
//! partition's single writer, and is told when that frame is committed.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

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
use crate::partition::Partition;

/// The fire loop has a record in hand for the time of one append.
const IN_HAND: Duration = Duration::from_millis(1);

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
    /// Later than allowed.
    #[error("the due time lies beyond schedule.max.delay.ms")]
    TooFar,
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
    change(partition, ids, Change::Cancel, None, request_id, now).await
}

/// Moves a record to another time, which may be now; where `expected` is given, only if it is due then.
pub async fn reschedule(
    partition: &Arc<Partition>,
    id: ScheduleId,
    due: DueTime,
    expected: Option<DueTime>,
    request_id: &[u8],
    now: TimestampMs,
) -> Result<Outcome, ControlError> {
    let to = Change::MoveTo(due);
    let outcomes = change(partition, &[id], to, expected, request_id, now).await?;
    Ok(outcomes.first().copied().unwrap_or(Outcome::NotFound))
}

async fn change(
    partition: &Arc<Partition>,
    ids: &[ScheduleId],
    change: Change,
    expected: Option<DueTime>,
    request_id: &[u8],
    now: TimestampMs,
) -> Result<Vec<Outcome>, ControlError> {
    let asked = ids.to_vec();
    let holds = blocking(partition, move |partition| {
        hold_dues(partition.log(), &asked)
    })
    .await?;
    let answered = loop {
        if let Some(answered) = partition.change(&holds, change, expected, request_id, now)? {
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
    let Some(hold) = HoldReader::new(partition.log()).timer(id)? else {
        return Ok(Held::NotFound);
    };
    let Some(entry) = partition.find_pending(id, hold.key.due)? else {
        let fired = find_fire(partition.log(), id)?;
        return Ok(fired.map_or(Held::NotFound, Held::Fired));
    };
    let mut records = load(partition, &[entry])?;
    Ok(records.pop().map_or(Held::NotFound, Held::Pending))
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

/// The records of timers; those that were settled meanwhile and are gone from the log are left out. Blocks on the disk.
pub fn load(
    partition: &Partition,
    entries: &[TimerEntry],
) -> Result<Vec<HeldRecord>, ControlError> {
    let mut reader = HoldReader::new(partition.log());
    let mut records = Vec::with_capacity(entries.len());
    for entry in entries {
        let at = entry.place.hold;
        let Some(hold) = reader.hold(at)? else {
            continue;
        };
        let index = entry.place.index as usize;
        let Some(held) = hold.entries.get(index).filter(|h| h.id == entry.key.id) else {
            continue;
        };
        let record = hold.record(index).map_err(|e| ControlError::Frame(at, e))?;
        records.push(HeldRecord {
            id: held.id,
            due: entry.key.due,
            created: held.created,
            record,
        });
    }
    Ok(records)
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
/// its HOLD has. Blocks on the disk.
pub fn hold_dues(
    log: &Log,
    ids: &[ScheduleId],
) -> Result<Vec<(ScheduleId, DueTime)>, ControlError> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    let mut reader = HoldReader::new(log);
    let mut holds = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some(entry) = reader.timer(id)? {
            holds.push((id, entry.key.due));
        }
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
        let known = self.last.as_ref().is_some_and(|hold| {
            hold.base_offset <= at && hold.entries.last().is_some_and(|e| e.id.0 >= at.0)
        });
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
