//! Changing settings: the common part of AlterConfigs and IncrementalAlterConfigs. Source: Apache Kafka,
//! `ConfigurationControlManager`.

use std::collections::BTreeMap;

use super::{
    Broker,
    auto_create::Refused,
    error_code::{self, Kafka},
};
use crate::{
    metadata::{Command, Outcome, Topic},
    topic_config,
};

/// Resource types of Kafka's protocol.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

/// New values by key; `None` goes back to the default.
pub(super) type Changes = BTreeMap<String, Option<String>>;

/// Changes a resource; `decide` says how, from the topic's own settings as they are.
pub(super) async fn change(
    broker: &Broker,
    (resource_type, name): (i8, &str),
    validate_only: bool,
    keys: &[&str],
    decide: impl FnOnce(&Topic) -> Result<Changes, Refused>,
) -> Result<(), Refused> {
    if resource_type != TOPIC {
        return Err(refuse_other(broker, resource_type, name, keys));
    }
    let image = broker.metadata.image();
    let Some(topic) = image.topics.get(name) else {
        let why = format!("The topic '{name}' does not exist.");
        return Err((Kafka::UnknownTopicOrPartition, why));
    };
    let changes = decide(topic)?;
    for (key, value) in &changes {
        if let Some(value) = value {
            topic_config::validate(key, value, &broker.config)
                .map_err(|why| (Kafka::InvalidConfig, why))?;
        }
    }
    if validate_only {
        return Ok(());
    }
    let command = Command::AlterTopicConfig {
        topic_id: topic.id,
        changes,
    };
    match broker.change_metadata(command).await {
        Ok(Outcome::NoSuchTopic) => Err((
            Kafka::UnknownTopicOrPartition,
            format!("The topic '{name}' does not exist."),
        )),
        Ok(_) => Ok(()),
        Err(error) => Err((error_code::of_metadata(&error), error.to_string())),
    }
}

fn refuse_other(broker: &Broker, resource_type: i8, name: &str, keys: &[&str]) -> Refused {
    let why = if resource_type != BROKER {
        format!("Unsupported resource type: {resource_type}")
    } else if name.is_empty() || name.parse() == Ok(broker.node_id) {
        // Every setting of the node is read once, at its start.
        format!(
            "Cannot update these configs dynamically: {}",
            keys.join(", ")
        )
    } else {
        format!(
            "Unexpected broker id, expected {}, but received {name}",
            broker.node_id
        )
    };
    (Kafka::InvalidRequest, why)
}
