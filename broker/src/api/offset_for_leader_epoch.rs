//! OffsetForLeaderEpoch (key 23): versions 2 to 4 (KIP-320). Where a leader's term ends in the log: the true end, hidden frames
//! included. Of the current term it is the high watermark for consumers, as in Kafka.

use kafka_compat::protocol::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    offset_for_leader_epoch_request::OffsetForLeaderPartition,
    offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
};
use storage::units::LeaderEpoch;

use super::{
    Broker,
    error_code::Kafka,
    lookup::{self, NO_EPOCH},
};
use crate::metadata::Topic;

pub(super) fn handle(
    broker: &Broker,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let image = broker.metadata.image();
    let topics = request.topics.into_iter().map(|asked| {
        let topic = image.topics.get(asked.topic.0.as_str());
        let partitions = asked.partitions.iter().map(|p| {
            let answer = EpochEndOffset::default().with_partition(p.partition);
            match topic
                .ok_or(Kafka::UnknownTopicOrPartition)
                .and_then(|topic| end(broker, topic, p))
            {
                Ok((epoch, end)) => answer.with_leader_epoch(epoch).with_end_offset(end),
                Err(code) => answer.with_error_code(code.code()),
            }
        });
        OffsetForLeaderTopicResult::default()
            .with_partitions(partitions.collect())
            .with_topic(asked.topic)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn end(
    broker: &Broker,
    topic: &Topic,
    asked: &OffsetForLeaderPartition,
) -> Result<(i32, i64), Kafka> {
    let partition = lookup::partition(broker, topic, asked.partition, asked.current_leader_epoch)?;
    let current = partition.leader_epoch();
    let wanted = LeaderEpoch(asked.leader_epoch);
    if wanted == current {
        return Ok((current.0, partition.offsets().high_watermark.0));
    }
    let (epoch, end) = partition.log().end_offset_for_epoch(wanted);
    if end.0 < 0 && wanted.0 != NO_EPOCH && wanted < current {
        // A log without batches: the current term began at its start.
        return Ok((wanted.0, partition.offsets().log_start.0));
    }
    // A term that has not begun ends nowhere; the codec's -1 says so.
    Ok(if wanted > current {
        (-1, -1)
    } else {
        (epoch.0, end.0)
    })
}
