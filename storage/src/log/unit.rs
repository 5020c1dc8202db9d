//! What is appended at once.

use bytes::Bytes;

use super::transactions::Guard;
use crate::{
    batch::{BatchHeader, BatchView},
    control::Marker,
    units::Offset,
};

/// A batch whose header is still open for stamping: no record is copied for it.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Base offset and leader epoch are set by the append.
    pub header: BatchHeader,
    /// The bytes after the header.
    pub body: Bytes,
}

impl Frame {
    /// Takes a batch apart without copying it.
    pub fn from_batch(batch: &BatchView) -> Self {
        Self {
            header: batch.header,
            body: batch.records(),
        }
    }
}

/// Frames that are appended, kept and cut together: one batch, or a HOLD and what follows it.
#[derive(Clone, Debug)]
pub struct Unit {
    /// All start at the unit's base offset; the first says how many offsets and sequences the unit takes.
    pub frames: Vec<Frame>,
}

impl Unit {
    /// Bytes on the disk.
    pub fn len_bytes(&self) -> usize {
        self.frames.iter().map(|f| f.header.total_len()).sum()
    }
}

/// Who appends, and so what is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A producer: epoch, sequence, and that the coordinator knows of its transaction.
    Client {
        /// Where the batch may begin a transaction here.
        guard: Option<Guard>,
    },
    /// A coordinator in a producer's name: there are no sequences.
    Coordinator {
        /// The same.
        guard: Option<Guard>,
    },
    /// The end of a transaction.
    Marker(Marker),
}

impl Origin {
    /// A producer outside of transactions, or nobody's batch.
    pub const CLIENT: Self = Self::Client { guard: None };

    pub(super) fn guard(self) -> Option<Guard> {
        match self {
            Self::Client { guard } | Self::Coordinator { guard } => guard,
            Self::Marker(_) => None,
        }
    }
}

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is in the log.
    New {
        /// Offset of the first record.
        base_offset: Offset,
        /// The log end after it: it is committed when the high watermark gets there.
        next_offset: Offset,
        /// First offset of the log.
        log_start: Offset,
    },
    /// It repeats one of the producer's last five batches; nothing was appended.
    Duplicate {
        /// Offset of the original's first record.
        base_offset: Offset,
        /// The original is committed when the high watermark gets here.
        next_offset: Offset,
        /// The original's timestamp.
        timestamp: i64,
    },
}
