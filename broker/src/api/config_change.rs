//! Changing settings: the common part of AlterConfigs and IncrementalAlterConfigs. Source: Apache Kafka,
//! `ConfigurationControlManager`, `ConfigAdminManager`, `DynamicBrokerConfig`.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Broker,
    auto_create::Refused,
    broker_logger,
    error_code::{self, Kafka},
    group_config, topic_name,
};
use crate::{
    config::{Config, KEYS, Kind},
    metadata::{Command, Outcome, Topic},
    topic_config,
};

/// Resource types of Kafka's protocol.
pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const BROKER_LOGGER: i8 = 8;
pub(super) const CLIENT_METRICS: i8 = 16;
pub(super) const GROUP: i8 = 32;

/// New values by key; `None` goes back to the default.
pub(super) type Changes = BTreeMap<String, Option<String>>;

/// What is changed, as it is now.
pub(super) enum Target {
    /// A topic.
    Topic(Arc<Topic>),
    /// A broker, or all of them where the name is empty.
    Broker(String),
    /// A group, which need not exist.
    Group(String),
    /// This node's loggers.
    Loggers,
}

impl Target {
    /// Finds it.
    pub(super) fn find(broker: &Broker, resource_type: i8, name: &str) -> Result<Self, Refused> {
        let is_this = name.parse() == Ok(broker.node_id);
        match resource_type {
            TOPIC if name.is_empty() => Err((
                Kafka::InvalidRequest,
                "Default topic resources are not allowed.".to_owned(),
            )),
            TOPIC => {
                if let Some(why) = topic_name::refuse(name) {
                    return Err((Kafka::InvalidTopicException, why));
                }
                let image = broker.metadata.image();
                let topic = image.topics.get(name).cloned();
                topic.map(Self::Topic).ok_or_else(|| {
                    let why = format!("The topic '{name}' does not exist.");
                    (Kafka::UnknownTopicOrPartition, why)
                })
            }
            BROKER if name.is_empty() || is_this => Ok(Self::Broker(name.to_owned())),
            BROKER_LOGGER if is_this => Ok(Self::Loggers),
            BROKER | BROKER_LOGGER => Err((
                Kafka::InvalidRequest,
                format!(
                    "Unexpected broker id, expected {}, but received {name}",
                    broker.node_id
                ),
            )),
            GROUP if name.is_empty() => Err((
                Kafka::InvalidRequest,
                "Default group resources are not allowed.".to_owned(),
            )),
            GROUP => Ok(Self::Group(name.to_owned())),
            CLIENT_METRICS => Err((
                Kafka::InvalidRequest,
                "Settings of client metrics are not supported yet".to_owned(),
            )),
            other => Err((
                Kafka::InvalidRequest,
                format!("Unexpected resource type {other}"),
            )),
        }
    }

    /// Its own settings.
    pub(super) fn own(&self, broker: &Broker) -> BTreeMap<String, String> {
        match self {
            Self::Topic(topic) => topic.configs.clone(),
            Self::Broker(name) => {
                let image = broker.metadata.image();
                image.broker_configs.get(name).cloned().unwrap_or_default()
            }
            Self::Group(name) => {
                let image = broker.metadata.image();
                image.group_configs.get(name).cloned().unwrap_or_default()
            }
            Self::Loggers => BTreeMap::new(),
        }
    }

    /// The value of a setting that is a list; `None` for any other.
    pub(super) fn list_value(&self, key: &str, config: &Config) -> Option<String> {
        match self {
            Self::Topic(topic) => topic_config::list_value(key, &topic.configs, config),
            Self::Broker(_) => {
                let row = KEYS.iter().find(|k| k.name == key)?;
                matches!(row.kind, Kind::ListOf(_)).then(|| config.text(key).0.to_owned())
            }
            Self::Group(_) | Self::Loggers => None,
        }
    }

    fn check(&self, broker: &Broker, changes: &Changes) -> Result<(), Refused> {
        match self {
            Self::Topic(_) => {
                let set = changes.iter().filter_map(|(k, v)| Some((k, v.as_ref()?)));
                for (key, value) in set {
                    topic_config::validate(key, value)
                        .map_err(|why| (Kafka::InvalidConfig, why))?;
                }
                Ok(())
            }
            Self::Broker(_) => check_broker(changes),
            Self::Group(_) => {
                let config = broker.config.get();
                group_config::check(&self.own(broker), changes, &config)
            }
            Self::Loggers => broker_logger::check(changes),
        }
    }
}

fn check_broker(changes: &Changes) -> Result<(), Refused> {
    let find = |name: &str| KEYS.iter().find(|k| k.name == name);
    let fixed: Vec<&str> = changes
        .keys()
        .map(String::as_str)
        .filter(|name| find(name).is_none_or(|key| !key.dynamic))
        .collect();
    if !fixed.is_empty() {
        let why = format!(
            "Cannot update these configs dynamically: {}",
            fixed.join(", ")
        );
        return Err((Kafka::InvalidRequest, why));
    }
    for (name, value) in changes {
        let refused = find(name)
            .zip(value.as_ref())
            .and_then(|(k, v)| k.refuse(v));
        if let (Some(why), Some(value)) = (refused, value) {
            let why = format!("Invalid value {value} for configuration {name}: {why}");
            return Err((Kafka::InvalidRequest, why));
        }
    }
    Ok(())
}

/// Changes a resource; `decide` says how, from the resource as it is.
pub(super) async fn change(
    broker: &Broker,
    (resource_type, name): (i8, &str),
    validate_only: bool,
    decide: impl FnOnce(&Target) -> Result<Changes, Refused>,
) -> Result<(), Refused> {
    let target = Target::find(broker, resource_type, name)?;
    let changes = decide(&target)?;
    target.check(broker, &changes)?;
    if validate_only {
        return Ok(());
    }
    let command = match target {
        Target::Topic(topic) => Command::AlterTopicConfig {
            topic_id: topic.id,
            changes,
        },
        Target::Broker(broker) => Command::AlterBrokerConfig { broker, changes },
        Target::Group(group) => Command::AlterGroupConfig { group, changes },
        Target::Loggers => return broker_logger::set(&broker.loggers, &changes),
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
