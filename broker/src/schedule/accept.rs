//! A checked batch becomes a unit: as received where nothing is held or cancelled, else HOLD, CANCEL, and what remains.

use bytes::Bytes;
use kafka_compat::records::{Checked, HeldBatch};
use scheduler::{Place, TimerEntry, TimerKey};
use storage::{
    batch::BatchHeader,
    frame::{CancelEntry, CancelFrame, EncodedHold, Hold, encode_hold},
    log::{Frame, Unit},
    record::Record,
    units::{DueTime, Offset, ScheduleId, TimestampMs},
};

/// How much waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PendingSize {
    /// Records.
    pub records: u64,
    /// What they take in their HOLD frames.
    pub bytes: u64,
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
}

#[derive(Debug)]
enum Whole {
    Batch(Frame),
    Split {
        original: BatchHeader,
        holds: Vec<Hold>,
        rest: Option<Frame>,
    },
}

impl Accepted {
    fn holds(&self) -> &[Hold] {
        match &self.whole {
            Whole::Batch(_) => &[],
            Whole::Split { holds, .. } => holds,
        }
    }

    /// Records held.
    pub fn held(&self) -> u64 {
        self.holds().len() as u64
    }

    /// What they will take.
    pub fn held_size(&self) -> PendingSize {
        PendingSize {
            records: self.held(),
            bytes: self
                .holds()
                .iter()
                .map(|hold| hold.record.encoded_len() as u64)
                .sum(),
        }
    }

    /// The schedule keys of what it holds: each with the record's place in the batch, and its due time.
    pub fn held_keys(&self) -> Vec<(Bytes, i32, DueTime)> {
        let keyed = |hold: &Hold| Some((hold.schedule_key.clone()?, hold.offset_delta, hold.due));
        self.holds().iter().filter_map(keyed).collect()
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
                let (frames, record_bytes) = split_frames(&original, &holds, rest, cancelled, now);
                (frames, timers(&holds, &record_bytes))
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
        };
    };
    let HeldBatch {
        original,
        records,
        cancels,
        keys,
        rest,
    } = held;
    let holds = records.into_iter().map(|r| Hold {
        offset_delta: r.offset_delta,
        due: r.due,
        created: r.created,
        record: Record {
            timestamp_delta: r.created.0,
            ..r.record
        },
        schedule_key: r.schedule_key,
    });
    Accepted {
        whole: Whole::Split {
            original,
            holds: holds.collect(),
            rest: rest.as_ref().map(Frame::from_batch),
        },
        cancels,
        keys,
    }
}

fn split_frames(
    original: &BatchHeader,
    holds: &[Hold],
    rest: Option<Frame>,
    cancelled: Vec<CancelEntry>,
    now: TimestampMs,
) -> (Vec<Frame>, Vec<u32>) {
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
    let EncodedHold {
        header,
        body,
        record_bytes,
    } = encode_hold(original, holds, &lens);
    let mut frames = vec![Frame { header, body }];
    frames.extend(following);
    (frames, record_bytes)
}

/// Ids are deltas here; the base offset is added when it is known.
fn timers(holds: &[Hold], record_bytes: &[u32]) -> Vec<TimerEntry> {
    let timer = |(index, (hold, bytes)): (u32, (&Hold, &u32))| TimerEntry {
        key: TimerKey {
            due: hold.due,
            id: ScheduleId(i64::from(hold.offset_delta)),
        },
        place: Place {
            hold: Offset(0),
            index,
            moved: false,
            bytes: *bytes,
        },
    };
    (0u32..)
        .zip(holds.iter().zip(record_bytes))
        .map(timer)
        .collect()
}
