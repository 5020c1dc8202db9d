//! What a log refuses, and why.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::units::Offset;

/// Why a unit was not appended. Nothing of it is in the log.
#[derive(Debug, Error)]
pub enum AppendError {
    /// The producer's sequence does not follow its last one.
    #[error("producer {producer_id} sent sequence {sequence}, expected {expected}")]
    OutOfOrderSequence {
        /// Who.
        producer_id: i64,
        /// What it sent.
        sequence: i32,
        /// What would have followed.
        expected: i32,
    },
    /// An older incarnation of the producer.
    #[error("producer {producer_id} has epoch {current}, {epoch} is older")]
    InvalidProducerEpoch {
        /// Who.
        producer_id: i64,
        /// What it sent.
        epoch: i16,
        /// What it has.
        current: i16,
    },
    /// A batch of a transaction that nobody vouches for, or one outside the producer's open transaction.
    #[error("producer {producer_id} is in another state of its transaction")]
    InvalidTxnState {
        /// Who.
        producer_id: i64,
    },
    /// A marker of a coordinator that was deposed.
    #[error("the transaction's coordinator has epoch {current}, {epoch} is older")]
    CoordinatorFenced {
        /// What the marker has.
        epoch: i32,
        /// What an earlier one had.
        current: i32,
    },
    /// No room on the disk; appends work again when there is.
    #[error("no space left on the disk")]
    StorageFull,
    /// A sync failed: nobody can say what is on the disk, so nothing is acked any more.
    #[error("the log is poisoned by a failed sync")]
    Poisoned,
    /// The unit does not fit a segment.
    #[error("the unit is larger than a segment")]
    TooLarge,
    /// The file system refused.
    #[error("appending: {0}")]
    Io(#[from] io::Error),
    /// The log is closed or its topic deleted.
    #[error("the log is closed")]
    Closed,
}

/// Why a read gave nothing.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset is outside {log_start}..={log_end}")]
    OutOfRange {
        /// First offset.
        log_start: Offset,
        /// One past the last.
        log_end: Offset,
    },
    /// The bytes there are no batch, or their checksum does not fit.
    #[error("{segment} at {position}: {why}")]
    Corrupt {
        /// The file.
        segment: PathBuf,
        /// Where.
        position: u64,
        /// What is wrong.
        why: String,
    },
    /// The file system refused.
    #[error("reading: {0}")]
    Io(#[from] io::Error),
}

/// Why a log stays closed. Nothing on the disk was changed.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Damage before the tail: cutting there would lose what was acked.
    #[error("{segment} is corrupt at {position}: {why}; nothing was changed")]
    Corrupt {
        /// The file.
        segment: PathBuf,
        /// Where.
        position: u64,
        /// What is wrong.
        why: String,
    },
    /// Not a segment of this release.
    #[error("{segment}: {why}; nothing was changed")]
    UnknownFormat {
        /// The file.
        segment: PathBuf,
        /// What was found.
        why: String,
    },
    /// The folder is of another topic or partition.
    #[error("{segment} belongs to topic {topic_id} partition {partition}; nothing was changed")]
    WrongTopicId {
        /// The file.
        segment: PathBuf,
        /// Whose it is.
        topic_id: uuid::Uuid,
        /// Whose it is.
        partition: i32,
    },
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}
