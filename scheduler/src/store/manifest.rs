//! `timers/manifest`: what the run files held when all of it was true of the log, replaced whole.
//!
//! ```text
//! magic "CTMR" | version u32 (2; 1 had no sizes, and is built again)
//! replay_from i64 | settled_to i64 | pending u64 | pending bytes u64
//! moved: count u32, each id i64 | due i64
//! runs: count u32, each bucket start i64 | width i64 | file number u64 | position u64 | blocks u32 | min 16 | max 16 | ids i64, i64 | oldest hold i64 (-1)
//!       | floor 16 (zero: none)
//! CRC32C of all before, u32
//! ```
//! Anything that does not fit means: read the log instead.

use bytes::{Buf, BufMut};
use storage::units::{DueTime, Offset, ScheduleId};

use super::{
    bucket::{Bucket, FileName},
    run::RunInfo,
};
use crate::timer_key::TimerKey;

const MAGIC: &[u8; 4] = b"CTMR";
const VERSION: u32 = 2;
const RUN_LEN: usize = 8 + 8 + 8 + 8 + 4 + 16 + 16 + 16 + 8 + 16;

/// How far into the log a state goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Holds below this offset are in it.
    pub replay_from: Offset,
    /// Fires and cancels below this offset are in it; it must not become durable before the log up to here is.
    pub settled_to: Offset,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    pub(super) marks: Marks,
    pub(super) pending: u64,
    pub(super) pending_bytes: u64,
    pub(super) moved: Vec<(ScheduleId, DueTime)>,
    pub(super) runs: Vec<RunInfo>,
}

impl Manifest {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.runs.len() * RUN_LEN + self.moved.len() * 16);
        out.put_slice(MAGIC);
        out.put_u32(VERSION);
        out.put_i64(self.marks.replay_from.0);
        out.put_i64(self.marks.settled_to.0);
        out.put_u64(self.pending);
        out.put_u64(self.pending_bytes);
        out.put_u32(u32::try_from(self.moved.len()).unwrap_or(u32::MAX));
        for (id, due) in &self.moved {
            out.put_i64(id.0);
            out.put_i64(due.0);
        }
        out.put_u32(u32::try_from(self.runs.len()).unwrap_or(u32::MAX));
        for run in &self.runs {
            out.put_i64(run.file.bucket.start);
            out.put_i64(run.file.bucket.width);
            out.put_u64(run.file.number);
            out.put_u64(run.position);
            out.put_u32(run.blocks);
            out.put_slice(&run.min.to_bytes());
            out.put_slice(&run.max.to_bytes());
            out.put_i64(run.ids.0.0);
            out.put_i64(run.ids.1.0);
            out.put_i64(run.oldest_hold.map_or(-1, |hold| hold.0));
            out.put_slice(&run.floor.map_or([0; 16], TimerKey::to_bytes));
        }
        out.put_u32(crc32c::crc32c(&out));
        out
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk()?;
        if crc32c::crc32c(body) != u32::from_be_bytes(*crc) {
            return None;
        }
        let mut b = body;
        if b.remaining() < 44 || b.copy_to_bytes(4) != MAGIC.as_slice() || b.get_u32() != VERSION {
            return None;
        }
        let marks = Marks {
            replay_from: Offset(b.get_i64()),
            settled_to: Offset(b.get_i64()),
        };
        let pending = b.get_u64();
        let pending_bytes = b.get_u64();
        let moved = b.get_u32() as usize;
        if b.remaining() < moved.checked_mul(16)?.checked_add(4)? {
            return None;
        }
        let moved = (0..moved)
            .map(|_| (ScheduleId(b.get_i64()), DueTime(b.get_i64())))
            .collect();
        let count = b.get_u32() as usize;
        if b.remaining() != count.checked_mul(RUN_LEN)? {
            return None;
        }
        let runs = (0..count).map(|_| run(&mut b)).collect();
        Some(Self {
            marks,
            pending,
            pending_bytes,
            moved,
            runs,
        })
    }
}

fn run(b: &mut &[u8]) -> RunInfo {
    let key = |b: &mut &[u8]| {
        let mut bytes = [0; 16];
        b.copy_to_slice(&mut bytes);
        bytes
    };
    RunInfo {
        file: FileName {
            bucket: Bucket {
                start: b.get_i64(),
                width: b.get_i64(),
            },
            number: b.get_u64(),
        },
        position: b.get_u64(),
        blocks: b.get_u32(),
        min: TimerKey::from_bytes(key(b)),
        max: TimerKey::from_bytes(key(b)),
        ids: (ScheduleId(b.get_i64()), ScheduleId(b.get_i64())),
        oldest_hold: Some(Offset(b.get_i64())).filter(|hold| hold.0 >= 0),
        floor: Some(key(b))
            .filter(|bytes| *bytes != [0; 16])
            .map(TimerKey::from_bytes),
    }
}
