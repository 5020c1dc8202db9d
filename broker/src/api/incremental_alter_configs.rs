//! IncrementalAlterConfigs (key 44): versions 0 and 1 (KIP-339). Sets, deletes, appends to and subtracts from settings of topics.
//!
//! Settings of the broker are read at its start, so changing them is refused as Kafka refuses its static ones.

use std::collections::BTreeSet;

use kafka_compat::protocol::{
    messages::{
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        incremental_alter_configs_response::AlterConfigsResourceResponse,
    },
    protocol::StrBytes,
};

use super::{
    Broker,
    auto_create::Refused,
    config_change::{self, Changes},
    error_code::Kafka,
    repeated::repeated,
};
use crate::{config::Config, metadata::Topic, topic_config};

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) async fn handle(
    broker: &Broker,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let resources = request.resources.iter();
    let twice = repeated(resources.map(|r| (r.resource_type, r.resource_name.as_str())));
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let named = (resource.resource_type, resource.resource_name.as_str());
        let changed = if twice.contains(&named) {
            let why = "Each resource must appear at most once.".to_owned();
            Err((Kafka::InvalidRequest, why))
        } else {
            let keys: Vec<&str> = resource.configs.iter().map(|c| c.name.as_str()).collect();
            let decide = |topic: &Topic| changes(resource, topic, &broker.config);
            config_change::change(broker, named, request.validate_only, &keys, decide).await
        };
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        responses.push(match changed {
            Ok(()) => response,
            Err((code, message)) => response
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_string(message))),
        });
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

fn changes(
    resource: &AlterConfigsResource,
    topic: &Topic,
    config: &Config,
) -> Result<Changes, Refused> {
    let mut seen = BTreeSet::new();
    let mut changes = Changes::new();
    for asked in &resource.configs {
        if !seen.insert(asked.name.as_str()) {
            let why = format!("Error due to duplicate config keys: {}", asked.name);
            return Err((Kafka::InvalidRequest, why));
        }
        changes.insert(asked.name.to_string(), value(asked, topic, config)?);
    }
    Ok(changes)
}

/// The new value; `None` goes back to the default.
fn value(
    asked: &AlterableConfig,
    topic: &Topic,
    config: &Config,
) -> Result<Option<String>, Refused> {
    let name = asked.name.as_str();
    if asked.config_operation == DELETE {
        return Ok(None);
    }
    let Some(given) = asked.value.as_deref() else {
        let why = format!("Null value not supported for : {name}");
        return Err((Kafka::InvalidConfig, why));
    };
    let operation = match asked.config_operation {
        SET => return Ok(Some(given.to_owned())),
        APPEND => "APPEND",
        SUBTRACT => "SUBTRACT",
        other => {
            let why = format!("Unknown operation type {other}");
            return Err((Kafka::InvalidRequest, why));
        }
    };
    let Some(now) = topic_config::list_value(name, &topic.configs, config) else {
        let why = format!("Can't {operation} to key {name} because its type is not LIST.");
        return Err((Kafka::InvalidConfig, why));
    };
    let given: Vec<&str> = given.split(',').collect();
    let mut items: Vec<&str> = now.split(',').filter(|item| !item.is_empty()).collect();
    if asked.config_operation == APPEND {
        items.extend(
            given
                .iter()
                .filter(|item| !now.split(',').any(|n| n == **item)),
        );
    } else {
        items.retain(|item| !given.contains(item));
    }
    Ok(Some(items.join(",")))
}
