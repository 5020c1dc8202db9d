//! DescribeProducers (key 61): version 0 (KIP-664). The producers that a partition's log remembers, and where their open transactions
//! began.

use kafka_compat::protocol::{
    messages::{
        DescribeProducersRequest, DescribeProducersResponse, ProducerId,
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
    },
    protocol::StrBytes,
};

use super::{Broker, error_code::Kafka, lookup, topic_name};
use crate::metadata::Image;

pub(super) fn handle(
    broker: &Broker,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let image = broker.metadata.image();
    let topics = request.topics.into_iter().map(|asked| {
        let partitions = asked.partition_indexes.iter().map(|index| {
            let answer = PartitionResponse::default()
                .with_partition_index(*index)
                .with_error_message(None);
            match producers(broker, asked.name.0.as_str(), *index) {
                Ok(producers) => answer.with_active_producers(producers),
                Err(code) => answer.with_error_code(code.code()).with_error_message(
                    told(code, &image, asked.name.0.as_str())
                        .then(|| StrBytes::from_string(code.to_string())),
                ),
            }
        });
        TopicResponse::default()
            .with_partitions(partitions.collect())
            .with_name(asked.name)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

/// Kafka gives a sentence for a topic, and none for a partition.
fn told(code: Kafka, image: &Image, name: &str) -> bool {
    code == Kafka::InvalidTopicException || !image.topics.contains_key(name)
}

fn producers(broker: &Broker, name: &str, index: i32) -> Result<Vec<ProducerState>, Kafka> {
    if topic_name::refuse(name).is_some() {
        return Err(Kafka::InvalidTopicException);
    }
    let image = broker.metadata.image();
    let topic = image.topics.get(name);
    let topic = topic.ok_or(Kafka::UnknownTopicOrPartition)?;
    let partition = lookup::partition(broker, topic, index, -1)?;
    let producers = partition.log().producers().into_iter();
    let states = producers.map(|p| {
        ProducerState::default()
            .with_producer_id(ProducerId(p.id))
            .with_producer_epoch(p.epoch.into())
            .with_last_sequence(p.last_sequence)
            .with_last_timestamp(p.last_timestamp)
            .with_coordinator_epoch(p.coordinator_epoch)
            .with_current_txn_start_offset(p.transaction_start.map_or(-1, |start| start.0))
    });
    Ok(states.collect())
}
