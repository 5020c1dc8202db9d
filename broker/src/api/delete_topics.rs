//! DeleteTopics (key 20): versions 1 to 6. v6 takes ids, or names, or both kinds in one request.
//!
//! Answers when the deletion is agreed; the folders go in the background, and only for topics deleted this way.

use std::{collections::BTreeMap, sync::Arc};

use kafka_compat::protocol::{
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse, delete_topics_request::DeleteTopicState,
        delete_topics_response::DeletableTopicResult,
    },
    protocol::StrBytes,
};
use storage::units::TopicId;

use super::{
    Broker,
    error_code::{self, Kafka},
    lookup,
    repeated::repeated,
};
use crate::metadata::{Command, Image, Topic};

pub(crate) async fn handle(
    broker: &Broker,
    version: i16,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let asked: Vec<DeleteTopicState> = if version >= 6 {
        request.topics
    } else {
        let names = request.topic_names.into_iter();
        names
            .map(|name| DeleteTopicState::default().with_name(Some(name)))
            .collect()
    };
    let image = broker.metadata.image();
    let (doomed, mut responses) = judge(&image, &asked);
    for topic in doomed {
        let result = answer(Some(topic.name.as_str()), topic.id);
        responses.push(match delete(broker, topic.id).await {
            Ok(()) => result,
            Err(code) => refuse(result, code, code.to_string()),
        });
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

/// The topics that are named once and are there, and the refusals of the rest. Source: Apache Kafka, `ControllerApis`.
fn judge<'a>(
    image: &'a Image,
    asked: &[DeleteTopicState],
) -> (Vec<&'a Arc<Topic>>, Vec<DeletableTopicResult>) {
    let mut refused = Vec::new();
    let (mut names, mut ids) = (Vec::new(), Vec::new());
    for topic in asked {
        let by_id = !topic.topic_id.is_nil();
        let invalid = |why: &str| {
            let result = answer(topic.name.as_ref().map(|n| n.0.as_str()), topic.topic_id);
            refuse(result, Kafka::InvalidRequest, why.to_owned())
        };
        match &topic.name {
            None if by_id => ids.push(topic.topic_id),
            None => refused.push(invalid("Neither topic name nor id were specified.")),
            Some(name) if !by_id => names.push(name.0.as_str()),
            Some(_) => refused.push(invalid("You may not specify both topic name and topic id.")),
        }
    }
    let names_twice = repeated(names.iter().copied());
    let mut ids_twice = repeated(ids.iter().copied());
    for name in &names_twice {
        let result = answer(Some(name), TopicId::nil());
        refused.push(refuse(
            result,
            Kafka::InvalidRequest,
            "Duplicate topic name.".into(),
        ));
    }
    for id in &ids_twice {
        let result = answer(None, *id);
        refused.push(refuse(
            result,
            Kafka::InvalidRequest,
            "Duplicate topic id.".into(),
        ));
    }
    let mut doomed = BTreeMap::new();
    for id in ids
        .into_iter()
        .filter(|id| !ids_twice.contains(id))
        .collect::<Vec<_>>()
    {
        if let Some(topic) = image.topic_by_id(id) {
            doomed.insert(id, topic);
        } else {
            let code = Kafka::UnknownTopicId;
            refused.push(refuse(answer(None, id), code, code.to_string()));
        }
    }
    for name in names.into_iter().filter(|name| !names_twice.contains(name)) {
        match image.topics.get(name) {
            None => {
                let code = Kafka::UnknownTopicOrPartition;
                let result = answer(Some(name), TopicId::nil());
                refused.push(refuse(result, code, code.to_string()));
            }
            Some(topic) if ids_twice.contains(&topic.id) || doomed.contains_key(&topic.id) => {
                let why = "The provided topic name maps to an ID that was already supplied.";
                doomed.remove(&topic.id);
                ids_twice.insert(topic.id);
                let result = answer(Some(name), topic.id);
                refused.push(refuse(result, Kafka::InvalidRequest, why.into()));
            }
            Some(topic) => {
                doomed.insert(topic.id, topic);
            }
        }
    }
    (doomed.into_values().collect(), refused)
}

fn answer(name: Option<&str>, id: TopicId) -> DeletableTopicResult {
    DeletableTopicResult::default()
        .with_name(name.map(lookup::name))
        .with_topic_id(id)
}

fn refuse(result: DeletableTopicResult, code: Kafka, why: String) -> DeletableTopicResult {
    result
        .with_error_code(code.code())
        .with_error_message(Some(StrBytes::from_string(why)))
}

async fn delete(broker: &Broker, topic_id: TopicId) -> Result<(), Kafka> {
    if !broker.config.get().delete_topic_enable {
        return Err(Kafka::TopicDeletionDisabled);
    }
    let outcome = broker
        .change_metadata(Command::DeleteTopic { topic_id })
        .await;
    outcome.map(|_| ()).map_err(|e| error_code::of_metadata(&e))
}
