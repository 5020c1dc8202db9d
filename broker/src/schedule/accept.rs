//! A checked batch becomes a unit: as received where nothing is held or cancelled, else HOLD, CANCEL, and what remains.

use bytes::Bytes;
use kafka_compat::records::{Checked, HeldBatch};
use scheduler::{Place, TimerEntry, TimerKey};
use storage::{
    batch::BatchHeader,
    frame::{CancelEntry, CancelFrame, Hold, Holds},
    log::{Frame, Unit},
    units::{DueTime, Offset, ScheduleId, TimestampMs},
};

/// What a record takes in a HOLD besides its own bytes.
pub const ENTRY_BYTES: u64 = 40;

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PendingSize {
    /// Records.
    pub records: u64,
    /// What they take in their HOLD frames.
    pub bytes: u64,
}

impl PendingSize {
    /// Bytes, with what HOLD frames have for each record besides.
    pub fn with_entries(self) -> u64 {
        self.bytes + self.records * ENTRY_BYTES
    }
}

impl std::ops::Add for PendingSize {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// What to append, and what it does to held records.
#[derive(Debug)]
pub struct Accepted {
    whole: Whole,
    /// Held records that it cancels, if they are pending.
    pub cancels: Vec<ScheduleId>,
    /// Schedule keys of which it has a newer record: what waits under them is replaced.
    pub keys: Vec<Bytes>,
    /// The offset to answer, where it has nothing but copies of records that lie there one after another.
    pub answer: Option<Offset>,
    /// Records that were left out of it.
    pub copies: usize,
}

#[derive(Debug)]
enum Whole {
    Batch(Frame),
    Split {
        original: BatchHeader,
        holds: Holds,
        rest: Option<Frame>,
    },
}

impl Accepted {
    fn holds(&self) -> impl Iterator<Item = (&Hold, u32)> {
        let holds = match &self.whole {
            Whole::Batch(_) => None,
            Whole::Split { holds, .. } => Some(holds.iter()),
        };
        holds.into_iter().flatten()
    }

    /// Records held.
    pub fn held(&self) -> u64 {
        match &self.whole {
            Whole::Batch(_) => 0,
            Whole::Split { holds, .. } => holds.len() as u64,
        }
    }

    /// What they will take.
    pub fn held_size(&self) -> PendingSize {
        PendingSize {
            records: self.held(),
            bytes: self.holds().map(|(_, bytes)| u64::from(bytes)).sum(),
        }
    }

    /// The schedule keys of what it holds: each with the record's place in the batch, and its due time.
    pub fn held_keys(&self) -> Vec<(Bytes, i32, DueTime)> {
        self.holds()
            .filter_map(|(hold, _)| {
                let key = hold.schedule_key.clone()?;
                Some((key, hold.offset_delta, hold.due))
            })
            .collect()
    }

    /// The header that the producer sent.
    pub fn original(&self) -> &BatchHeader {
        match &self.whole {
            Whole::Batch(frame) => &frame.header,
            Whole::Split { original, .. } => original,
        }
    }

    /// The frames, where these of its cancels are of pending records; and a function from the unit's base offset to the timers
    /// that it starts.
    pub fn into_unit(
        self,
        cancelled: Vec<CancelEntry>,
        now: TimestampMs,
    ) -> (Unit, impl FnOnce(Offset) -> Vec<TimerEntry>) {
        let (frames, timers) = match self.whole {
            Whole::Batch(frame) => (vec![frame], Vec::new()),
            Whole::Split {
                original,
                holds,
                rest,
            } => {
                let frames = split_frames(&original, &holds, rest, cancelled, self.answer, now);
                (frames, timers(&holds))
            }
        };
        (Unit { frames }, move |base: Offset| {
            let mut timers = timers;
            for timer in &mut timers {
                timer.key.id.0 += base.0;
                timer.place.hold = base;
            }
            timers
        })
    }
}

/// Takes what [`kafka_compat::records::check_produce`] let through.
pub fn accept(checked: Checked) -> Accepted {
    let Some(held) = checked.held else {
        return Accepted {
            whole: Whole::Batch(Frame::from_batch(&checked.batch)),
            cancels: Vec::new(),
            keys: Vec::new(),
            answer: None,
            copies: 0,
        };
    };
    let HeldBatch {
        original,
        holds,
        cancels,
        keys,
        rest,
    } = held;
    Accepted {
        whole: Whole::Split {
            original,
            holds,
            rest: rest.as_ref().map(Frame::from_batch),
        },
        cancels,
        keys,
        answer: None,
        copies: 0,
    }
}

fn split_frames(
    original: &BatchHeader,
    holds: &Holds,
    rest: Option<Frame>,
    cancelled: Vec<CancelEntry>,
    answer: Option<Offset>,
    now: TimestampMs,
) -> Vec<Frame> {
    let cancel = (!cancelled.is_empty()).then(|| {
        let frame = CancelFrame {
            request_id: Bytes::new(),
            entries: cancelled,
        };
        let (header, body) = frame.into_frame(now);
        Frame { header, body }
    });
    let following: Vec<Frame> = cancel.into_iter().chain(rest).collect();
    let lens: Vec<usize> = following.iter().map(|f| f.header.total_len()).collect();
    let (header, body) = holds.encode(original, &lens, answer);
    let mut frames = vec![Frame { header, body }];
    frames.extend(following);
    frames
}

/// Ids are deltas here; the base offset is added when it is known.
fn timers(holds: &Holds) -> Vec<TimerEntry> {
    let timer = |(index, (hold, bytes)): (u32, (&Hold, u32))| TimerEntry {
        key: TimerKey {
            due: hold.due,
            id: ScheduleId(i64::from(hold.offset_delta)),
        },
        place: Place {
            hold: Offset(0),
            index,
            moved: false,
            bytes,
        },
    };
    (0u32..).zip(holds.iter()).map(timer).collect()
}
