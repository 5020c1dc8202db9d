//! A checked batch becomes a unit: as received where nothing is held, else HOLD and what remains.

use kafka_compat::records::{Checked, HeldBatch};
use scheduler::{Place, TimerEntry, TimerKey};
use storage::{
    frame::{Hold, encode_hold},
    log::{Frame, Unit},
    units::{Offset, ScheduleId},
};

/// What to append, and which timers it starts.
#[derive(Debug)]
pub struct Accepted {
    /// The frames.
    pub unit: Unit,
    /// Offset delta and due time of each held record.
    holds: Vec<TimerEntry>,
}

impl Accepted {
    /// The unit, and a function from its base offset to its timers.
    pub fn into_parts(self) -> (Unit, impl FnOnce(Offset) -> Vec<TimerEntry>) {
        let mut holds = self.holds;
        (self.unit, move |base: Offset| {
            for timer in &mut holds {
                timer.key.id.0 += base.0;
                timer.place.hold = base;
            }
            holds
        })
    }

    /// Records held.
    pub fn held(&self) -> usize {
        self.holds.len()
    }
}

/// Splits what [`kafka_compat::records::check_produce`] let through.
pub fn accept(checked: Checked) -> Accepted {
    match checked.held {
        None => Accepted {
            unit: Unit {
                frames: vec![Frame::from_batch(&checked.batch)],
            },
            holds: Vec::new(),
        },
        Some(held) => split(held),
    }
}

fn split(held: HeldBatch) -> Accepted {
    let holds: Vec<Hold> = held
        .records
        .into_iter()
        .map(|r| Hold {
            offset_delta: r.offset_delta,
            due: r.due,
            created: r.created,
            record: r.record,
        })
        .collect();
    let following: Vec<usize> = held.rest.iter().map(|rest| rest.bytes.len()).collect();
    let (header, body) = encode_hold(&held.original, &holds, &following);
    let mut frames = vec![Frame { header, body }];
    frames.extend(held.rest.as_ref().map(Frame::from_batch));
    // Ids are deltas here; the base offset is added when it is known.
    let timers = (0u32..)
        .zip(&holds)
        .map(|(index, hold)| TimerEntry {
            key: TimerKey {
                due: hold.due,
                id: ScheduleId(i64::from(hold.offset_delta)),
            },
            place: Place {
                hold: Offset(0),
                index,
            },
        })
        .collect();
    Accepted {
        unit: Unit { frames },
        holds: timers,
    }
}
