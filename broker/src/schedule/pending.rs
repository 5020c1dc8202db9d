//! What is pending, rebuilt from the log: holds − fires − cancels, by log order.

use std::{collections::HashMap, ops::ControlFlow};

use scheduler::{Place, TimerEntry, TimerKey, TimerStore};
use storage::{
    batch::BatchView,
    frame::{CancelAction, CancelFrame, FrameError, HoldFrame},
    log::{Log, ReadError},
    record::RecordIter,
    units::{Offset, ScheduleId},
};
use thiserror::Error;

use super::HEADER_SCHEDULE_ID;

/// Why a partition's pending records cannot be told. It stays offline then: guessing would lose or double one.
#[derive(Debug, Error)]
pub enum PendingError {
    /// The log could not be read.
    #[error("reading hidden and FIRE frames: {0}")]
    Read(#[from] ReadError),
    /// A hidden frame could not be understood.
    #[error("frame at offset {0}: {1}")]
    Frame(Offset, FrameError),
    /// A FIRE frame whose records do not name what they settle.
    #[error("FIRE frame at offset {0} does not name what it settles")]
    Fire(Offset),
}

/// Reads the hidden and FIRE frames of an open log. Segments that have none are not read.
pub fn rebuild(log: &Log) -> Result<TimerStore, PendingError> {
    let mut pending = HashMap::new();
    let mut failed = None;
    // From the first byte: what is pending may lie below the log start.
    log.scan_special(Offset(0), &mut |frame| match replay(&mut pending, &frame) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            failed = Some(error);
            ControlFlow::Break(())
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    let mut timers = TimerStore::default();
    for entry in pending.into_values() {
        timers.insert(entry);
    }
    Ok(timers)
}

/// Takes in the next hidden or FIRE frame.
fn replay(
    pending: &mut HashMap<ScheduleId, TimerEntry>,
    frame: &BatchView,
) -> Result<(), PendingError> {
    let at = Offset(frame.header.base_offset);
    let damaged = |e| PendingError::Frame(at, e);
    if frame.header.is_fire() {
        return settle(pending, frame).ok_or(PendingError::Fire(at));
    }
    if let Some(hold) = HoldFrame::parse(frame).map_err(damaged)? {
        for (index, entry) in (0u32..).zip(&hold.entries) {
            let key = TimerKey {
                due: entry.due,
                id: entry.id,
            };
            let place = Place {
                hold: hold.base_offset,
                index,
            };
            pending.insert(entry.id, TimerEntry { key, place });
        }
    }
    if let Some(cancel) = CancelFrame::parse(frame).map_err(damaged)? {
        for (id, action) in cancel.entries {
            match action {
                CancelAction::Cancelled | CancelAction::Replaced => {
                    pending.remove(&id);
                }
                CancelAction::Rescheduled(due) => {
                    if let Some(entry) = pending.get_mut(&id) {
                        entry.key.due = due;
                    }
                }
            }
        }
    }
    Ok(())
}

/// Removes what a FIRE frame settles. FIRE frames are written uncompressed.
fn settle(pending: &mut HashMap<ScheduleId, TimerEntry>, frame: &BatchView) -> Option<()> {
    if frame.header.compression() != 0 {
        return None;
    }
    for record in RecordIter::new(frame.records(), frame.header.records_count) {
        let record = record.ok()?;
        let id = record.last_header(HEADER_SCHEDULE_ID)?.as_ref()?;
        let id = std::str::from_utf8(id).ok()?.parse().ok()?;
        pending.remove(&ScheduleId(id));
    }
    Some(())
}
