//! DescribeConfigs (key 32): versions 1 to 4, for topics, this broker, all brokers, groups, and this broker's loggers.
//!
//! Lists every config with its source, so that a tool can show what is a default and what was set.
//! Not done yet: client metrics, of which nothing can be set.

use kafka_compat::protocol::{
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
    },
    protocol::StrBytes,
};

use super::{
    Broker,
    auto_create::Refused,
    broker_logger,
    config_change::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC},
    error_code::Kafka,
    group_config, topic_name,
};
use crate::{
    config::Layer,
    topic_config::{self, ConfigEntry, source},
};

pub(super) fn handle(
    broker: &Broker,
    version: i16,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match entries(broker, resource) {
            Ok(entries) => result.with_configs(
                entries
                    .into_iter()
                    .filter(|entry| wanted(resource, &entry.name))
                    .map(|entry| describe(entry, version, request))
                    .collect(),
            ),
            Err((code, message)) => result
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_string(message))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn entries(
    broker: &Broker,
    resource: &DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, Refused> {
    let name = resource.resource_name.as_str();
    match resource.resource_type {
        TOPIC => {
            if let Some(why) = topic_name::refuse(name) {
                return Err((Kafka::InvalidTopicException, why));
            }
            let image = broker.metadata.image();
            let topic = image.topics.get(name).ok_or_else(|| {
                (
                    Kafka::UnknownTopicOrPartition,
                    "This server does not host this topic-partition.".to_owned(),
                )
            })?;
            Ok(topic_config::describe(&topic.configs, &broker.config.get()))
        }
        // Of all brokers: only what was changed for all.
        BROKER if name.is_empty() => {
            let config = broker.config.get();
            let changed = |e: &ConfigEntry| {
                let mut layers = config.effective().layers(&e.name);
                layers.any(|(_, layer)| layer == Layer::DynamicDefault)
            };
            let entries = config.describe().into_iter().filter(changed);
            Ok(entries.map(for_all).collect())
        }
        BROKER if name.parse() == Ok(broker.node_id) => Ok(broker.config.get().describe()),
        BROKER_LOGGER if name.parse() == Ok(broker.node_id) => {
            Ok(broker_logger::describe(&broker.loggers))
        }
        BROKER_LOGGER if name.is_empty() => Err((
            Kafka::InvalidRequest,
            "Broker id must not be empty".to_owned(),
        )),
        CLIENT_METRICS | GROUP if name.is_empty() => Err((
            Kafka::InvalidRequest,
            "Resource name must not be empty".to_owned(),
        )),
        CLIENT_METRICS => Ok(Vec::new()),
        GROUP => {
            let image = broker.metadata.image();
            let own = image.group_configs.get(name).cloned().unwrap_or_default();
            Ok(group_config::describe(&own, &broker.config.get()))
        }
        BROKER | BROKER_LOGGER => Err((
            Kafka::InvalidRequest,
            format!(
                "Unexpected broker id, expected {} or empty string, but received {name}",
                broker.node_id
            ),
        )),
        other => Err((
            Kafka::InvalidRequest,
            format!("Unsupported resource type: {other}"),
        )),
    }
}

/// A setting as it was changed for all brokers.
fn for_all(mut entry: ConfigEntry) -> ConfigEntry {
    entry
        .synonyms
        .retain(|s| s.source == source::DYNAMIC_DEFAULT_BROKER);
    entry.value = entry.synonyms.first().and_then(|s| s.value.clone());
    entry.source = source::DYNAMIC_DEFAULT_BROKER;
    entry
}

fn wanted(resource: &DescribeConfigsResource, name: &str) -> bool {
    match &resource.configuration_keys {
        None => true,
        // As Kafka: no names are all names.
        Some(keys) if keys.is_empty() => true,
        Some(keys) => keys.iter().any(|key| key.as_str() == name),
    }
}

fn describe(
    entry: ConfigEntry,
    version: i16,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResourceResult {
    let result = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_string(entry.name))
        .with_value(entry.value.map(StrBytes::from_string))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source)
        .with_is_sensitive(entry.sensitive);
    let result = if request.include_synonyms {
        let synonyms = entry.synonyms.into_iter().map(|synonym| {
            DescribeConfigsSynonym::default()
                .with_name(StrBytes::from_string(synonym.name))
                .with_value(synonym.value.map(StrBytes::from_string))
                .with_source(synonym.source)
        });
        result.with_synonyms(synonyms.collect())
    } else {
        result
    };
    if version < 3 {
        return result;
    }
    let documentation = request
        .include_documentation
        .then(|| StrBytes::from_string(entry.doc));
    result
        .with_config_type(entry.config_type)
        .with_documentation(documentation)
}
