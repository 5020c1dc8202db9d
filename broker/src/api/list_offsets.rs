//! ListOffsets (key 2): versions 1 to 11.
//!
//! -1 latest is the visible end, so that a consumer that has read everything has no lag; -2 earliest; -3 the largest
//! timestamp (v7); -4 earliest local (v8) equals earliest; -5 latest tiered (v9) is never there. A time finds the first
//! record, not batch, at or after it; the one batch is decompressed for that. Hidden frames are never seen. -6 (v11) is the
//! earliest that waits for tiered storage: never there. Who reads what is committed is told the last stable offset for the latest, and
//! finds nothing behind it.

use std::collections::HashSet;

use kafka_compat::{
    protocol::messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
    records::{first_record_at_or_after, first_record_with_max_timestamp},
};
use storage::{batch::BatchView, units::Offset};

use super::{
    Broker,
    error_code::{self, Kafka},
    lookup,
    repeated::repeated,
};
use crate::{metadata::Topic, partition::Partition};

const READ_COMMITTED: i8 = 1;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

struct Found {
    timestamp: i64,
    offset: i64,
    leader_epoch: i32,
}

impl Found {
    const NONE: Self = Self {
        timestamp: -1,
        offset: -1,
        leader_epoch: -1,
    };
}

pub(crate) fn handle(
    broker: &Broker,
    version: i16,
    request: &ListOffsetsRequest,
) -> ListOffsetsResponse {
    let image = broker.metadata.image();
    let all = request.topics.iter().flat_map(|t| {
        let name = t.name.0.as_str();
        t.partitions.iter().map(move |p| (name, p.partition_index))
    });
    // Each of them is refused once.
    let twice = repeated(all);
    let mut refused = HashSet::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for asked in request.topics.iter().filter(|t| !t.partitions.is_empty()) {
        let name = asked.name.0.as_str();
        let topic = image.topics.get(name);
        let mut partitions = Vec::with_capacity(asked.partitions.len());
        for p in &asked.partitions {
            let index = p.partition_index;
            let found = if twice.contains(&(name, index)) {
                if !refused.insert((name, index)) {
                    continue;
                }
                Err(Kafka::InvalidRequest)
            } else {
                topic.ok_or(Kafka::UnknownTopicOrPartition).and_then(|t| {
                    find(
                        broker,
                        version,
                        t,
                        index,
                        p.current_leader_epoch,
                        p.timestamp,
                        request.isolation_level == READ_COMMITTED,
                    )
                })
            };
            let (code, found) = match found {
                Ok(found) => (0, found),
                Err(code) => (code.code(), Found::NONE),
            };
            partitions.push(
                ListOffsetsPartitionResponse::default()
                    .with_partition_index(index)
                    .with_error_code(code)
                    .with_timestamp(found.timestamp)
                    .with_offset(found.offset)
                    // The codec refuses to leave it out where a version has no room for it.
                    .with_leader_epoch(if version >= 4 { found.leader_epoch } else { -1 }),
            );
        }
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(asked.name.clone())
                .with_partitions(partitions),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

fn find(
    broker: &Broker,
    version: i16,
    topic: &Topic,
    index: i32,
    epoch: i32,
    timestamp: i64,
    is_stable: bool,
) -> Result<Found, Kafka> {
    let partition = lookup::partition(broker, topic, index, epoch)?;
    let offsets = partition.offsets();
    let at = |offset: i64| {
        Ok(Found {
            timestamp: -1,
            offset,
            leader_epoch: partition.leader_epoch().0,
        })
    };
    let end = if is_stable {
        offsets.visible_stable
    } else {
        offsets.visible_end
    };
    let below = |found: Found| {
        if found.offset < end.0 {
            found
        } else {
            Found::NONE
        }
    };
    match timestamp {
        LATEST => at(end.0),
        EARLIEST => at(offsets.log_start.0),
        MAX_TIMESTAMP if version >= 7 => by_max_timestamp(&partition).map(below),
        EARLIEST_LOCAL if version >= 8 => at(offsets.log_start.0),
        LATEST_TIERED if version >= 9 => Ok(Found::NONE),
        EARLIEST_PENDING_UPLOAD if version >= 11 => Ok(Found::NONE),
        t if t < 0 => Err(Kafka::UnsupportedVersion),
        t => by_time(&partition, t).map(below),
    }
}

fn by_time(partition: &Partition, timestamp: i64) -> Result<Found, Kafka> {
    let log = partition.log();
    let mut from = log.offsets().log_start;
    // The largest timestamp of a batch may be that of a record that was deleted from its front.
    while let Some(batch) = log
        .first_batch_at_or_after_time(timestamp, from)
        .map_err(|e| error_code::of_read(&e))?
    {
        let record = first_record_at_or_after(&batch, timestamp, from.0)
            .map_err(|_| Kafka::CorruptMessage)?;
        if let Some((offset, timestamp)) = record {
            return Ok(found(&batch, offset, timestamp));
        }
        from = Offset(batch.header.last_offset() + 1);
    }
    Ok(Found::NONE)
}

fn by_max_timestamp(partition: &Partition) -> Result<Found, Kafka> {
    match partition
        .log()
        .max_timestamp()
        .map_err(|e| error_code::of_read(&e))?
    {
        None => Ok(Found::NONE),
        Some(batch) => {
            let record =
                first_record_with_max_timestamp(&batch).map_err(|_| Kafka::CorruptMessage)?;
            Ok(record.map_or(Found::NONE, |(offset, timestamp)| {
                found(&batch, offset, timestamp)
            }))
        }
    }
}

fn found(batch: &BatchView, offset: i64, timestamp: i64) -> Found {
    Found {
        timestamp,
        offset,
        leader_epoch: batch.header.leader_epoch,
    }
}
