//! DeleteTopics (key 20): versions 1 to 6. v6 takes ids, or names, or both kinds in one request.
//!
//! Answers when the deletion is agreed; the folders go in the background, and only for topics deleted this way.

use kafka_compat::protocol::{
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
        delete_topics_response::DeletableTopicResult,
    },
    protocol::StrBytes,
};
use storage::units::TopicId;

use super::{
    Broker,
    error_code::{self, Kafka},
};
use crate::metadata::Command;

pub(super) async fn handle(
    broker: &Broker,
    version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let asked: Vec<(Option<TopicName>, TopicId)> = if version >= 6 {
        request
            .topics
            .into_iter()
            .map(|t| (t.name, t.topic_id))
            .collect()
    } else {
        request
            .topic_names
            .into_iter()
            .map(|name| (Some(name), TopicId::nil()))
            .collect()
    };
    let mut responses = Vec::with_capacity(asked.len());
    for (name, id) in asked {
        let result = DeletableTopicResult::default();
        responses.push(match delete(broker, name.as_ref(), id).await {
            Ok((name, id)) => result
                .with_name(Some(TopicName(StrBytes::from_string(name))))
                .with_topic_id(id),
            Err(code) => result
                .with_name(name)
                .with_topic_id(id)
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_string(code.to_string()))),
        });
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

async fn delete(
    broker: &Broker,
    name: Option<&TopicName>,
    id: TopicId,
) -> Result<(String, TopicId), Kafka> {
    if !broker.config.get().delete_topic_enable {
        return Err(Kafka::TopicDeletionDisabled);
    }
    let image = broker.metadata.image();
    let topic = match name {
        Some(_) if !id.is_nil() => return Err(Kafka::InvalidRequest),
        Some(name) => image
            .topics
            .get(name.0.as_str())
            .ok_or(Kafka::UnknownTopicOrPartition)?,
        None => image.topic_by_id(id).ok_or(Kafka::UnknownTopicId)?,
    };
    let command = Command::DeleteTopic { topic_id: topic.id };
    broker
        .change_metadata(command)
        .await
        .map_err(|e| error_code::of_metadata(&e))?;
    Ok((topic.name.clone(), topic.id))
}
