//! OffsetDelete (key 47): version 0. What a group committed for a topic that it does not read goes (KIP-496).

use std::sync::Arc;

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        OffsetDeleteRequest, OffsetDeleteResponse,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};

use super::{Broker, group_id, lookup};

pub(super) async fn handle(
    broker: Arc<Broker>,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    let image = broker.metadata.image();
    let mut places = Vec::new();
    let known: Vec<Vec<Result<usize, Kafka>>> = request
        .topics
        .iter()
        .map(|asked| {
            let topic = image.topics.get(asked.name.0.as_str());
            let partitions = asked.partitions.iter();
            partitions
                .map(|p| {
                    let topic = topic.ok_or(Kafka::UnknownTopicOrPartition)?;
                    lookup::is_there(topic, p.partition_index)?;
                    places.push((topic.name.clone(), p.partition_index));
                    Ok(places.len() - 1)
                })
                .collect()
        })
        .collect();
    let deleted = broker.groups.delete_offsets(&request.group_id, &places);
    let deleted = match deleted.await {
        Ok(deleted) => deleted,
        Err(code) => return OffsetDeleteResponse::default().with_error_code(code.code()),
    };
    let topics = request.topics.into_iter().zip(known).map(|(asked, known)| {
        let partitions = asked.partitions.iter().zip(known).map(|(p, known)| {
            let deleted = known.and_then(|at| deleted.get(at).copied().unwrap_or(Ok(())));
            OffsetDeleteResponsePartition::default()
                .with_partition_index(p.partition_index)
                .with_error_code(group_id::code(&deleted))
        });
        OffsetDeleteResponseTopic::default()
            .with_partitions(partitions.collect())
            .with_name(asked.name)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
