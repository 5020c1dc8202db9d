//! The one table from our errors to Kafka's codes.

pub(crate) use kafka_compat::protocol::error::ResponseError as Kafka;
use storage::log::{AppendError, ReadError};

use crate::metadata::MetadataError;

/// Kafka's code for a refused append. Never `UNKNOWN_SERVER_ERROR`: producers give up on that one.
pub(super) fn of_append(error: &AppendError) -> Kafka {
    match error {
        AppendError::OutOfOrderSequence { .. } => Kafka::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch { .. } => Kafka::InvalidProducerEpoch,
        AppendError::InvalidTxnState { .. } => Kafka::InvalidTxnState,
        AppendError::CoordinatorFenced { .. } => Kafka::TransactionCoordinatorFenced,
        AppendError::TooLarge => Kafka::MessageTooLarge,
        AppendError::Closed => Kafka::NotLeaderOrFollower,
        _ => Kafka::KafkaStorageError,
    }
}

/// Kafka's code for a read that failed.
pub(super) fn of_read(error: &ReadError) -> Kafka {
    match error {
        ReadError::OutOfRange { .. } => Kafka::OffsetOutOfRange,
        ReadError::Corrupt { .. } => Kafka::CorruptMessage,
        ReadError::Io(_) => Kafka::KafkaStorageError,
    }
}

/// Kafka's code for metadata that could not be changed now.
pub(crate) fn of_metadata(error: &MetadataError) -> Kafka {
    tracing::warn!(%error, "a metadata change failed");
    match error {
        MetadataError::StorageFull => Kafka::KafkaStorageError,
        _ => Kafka::RequestTimedOut,
    }
}
