//! DeleteRecords (key 21): versions 0 to 2 (KIP-107). Moves a partition's log start; durable when answered.
//!
//! Offset -1 is the high watermark, the true end: records that are held there become due as before. Segments below the new
//! start go at once, except those that a pending held record keeps.

use std::sync::Arc;

use kafka_compat::protocol::messages::{
    DeleteRecordsRequest, DeleteRecordsResponse,
    delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
};
use storage::units::Offset;

use super::{
    Broker,
    error_code::{self, Kafka},
    lookup,
};
use crate::partition::Partition;

const HIGH_WATERMARK: i64 = -1;
const NONE: i64 = -1;

pub(crate) async fn handle(
    broker: &Broker,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        if topic.partitions.is_empty() {
            continue;
        }
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let name = topic.name.0.as_str();
            let done = delete(broker, name, asked.partition_index, asked.offset).await;
            let (code, low_watermark) = match done {
                Ok(start) => (0, start.0),
                Err(code) => (code.code(), NONE),
            };
            partitions.push(
                DeleteRecordsPartitionResult::default()
                    .with_partition_index(asked.partition_index)
                    .with_low_watermark(low_watermark)
                    .with_error_code(code),
            );
        }
        topics.push(
            DeleteRecordsTopicResult::default()
                .with_name(topic.name)
                .with_partitions(partitions),
        );
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

/// The partition, if records may be deleted of it.
pub(crate) fn deletable(broker: &Broker, topic: &str, index: i32) -> Result<Arc<Partition>, Kafka> {
    let image = broker.metadata.image();
    let topic = image.topics.get(topic);
    let topic = topic.ok_or(Kafka::UnknownTopicOrPartition)?;
    if topic.internal {
        return Err(Kafka::InvalidTopicException);
    }
    let partition = lookup::partition(broker, topic, index, -1)?;
    if !partition.config().deletes {
        return Err(Kafka::PolicyViolation);
    }
    Ok(partition)
}

async fn delete(broker: &Broker, topic: &str, index: i32, offset: i64) -> Result<Offset, Kafka> {
    let partition = deletable(broker, topic, index)?;
    if offset < HIGH_WATERMARK {
        return Err(Kafka::OffsetOutOfRange);
    }
    let now = broker.clock.wall();
    let task = tokio::task::spawn_blocking(move || delete_blocking(&partition, offset, now.0));
    task.await.unwrap_or(Err(Kafka::KafkaStorageError))
}

fn delete_blocking(partition: &Arc<Partition>, offset: i64, now_ms: i64) -> Result<Offset, Kafka> {
    let log = partition.log();
    let before = if offset == HIGH_WATERMARK {
        log.offsets().high_watermark
    } else {
        Offset(offset)
    };
    let start = log
        .delete_records(before)
        .map_err(|e| error_code::of_read(&e))?;
    if let Err(error) = partition.retain(now_ms) {
        tracing::warn!(topic = %partition.topic, partition = partition.key.index, %error,
                       "deleted records are still on the disk");
    }
    Ok(start)
}
