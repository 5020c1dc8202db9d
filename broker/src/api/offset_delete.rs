//! OffsetDelete (key 47): version 0. What a group committed for a topic that it does not read goes (KIP-496).

use std::sync::Arc;

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        OffsetDeleteRequest, OffsetDeleteResponse, TopicName,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};

use super::{Broker, group_id, lookup, told_by_topic::ToldByTopic};

pub(super) async fn handle(
    broker: Arc<Broker>,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    if let Err(code) = group_id::refuse_empty(&request.group_id) {
        return OffsetDeleteResponse::default().with_error_code(code.code());
    }
    let image = broker.metadata.image();
    let mut told = ToldByTopic::new();
    // By topic, as they were asked.
    let mut asked: Vec<(&TopicName, Vec<i32>)> = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let known = image.topics.get(topic.name.0.as_str());
        let known = known.ok_or(Kafka::UnknownTopicOrPartition);
        let mut partitions = Vec::new();
        for partition in &topic.partitions {
            let index = partition.partition_index;
            match known.and_then(|topic| lookup::is_there(topic, index)) {
                Ok(()) => partitions.push(index),
                Err(code) => told.refused(&topic.name, answer(index, code.code())),
            }
        }
        asked.push((&topic.name, partitions));
    }
    let places: Vec<(String, i32)> = asked
        .iter()
        .flat_map(|(topic, partitions)| partitions.iter().map(|p| (topic.to_string(), *p)))
        .collect();
    let deleted = broker.groups.delete_offsets(&request.group_id, &places);
    let mut deleted = match deleted.await {
        Ok(deleted) => deleted.into_iter(),
        Err(code) => return OffsetDeleteResponse::default().with_error_code(code.code()),
    };
    for (topic, partitions) in asked {
        let answers = partitions.into_iter().zip(deleted.by_ref());
        let answers = answers.map(|(index, deleted)| answer(index, group_id::code(&deleted)));
        told.answered(topic, answers.collect());
    }
    let topics = told.finish().into_iter().map(|(name, partitions)| {
        OffsetDeleteResponseTopic::default()
            .with_name(name)
            .with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}

fn answer(partition: i32, code: i16) -> OffsetDeleteResponsePartition {
    OffsetDeleteResponsePartition::default()
        .with_partition_index(partition)
        .with_error_code(code)
}
