//! IncrementalAlterConfigs (key 44): versions 0 and 1 (KIP-339). Sets, deletes, appends to and subtracts from settings of
//! topics, of brokers (those that Kafka can change at run time), and levels of loggers.

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
    config_change::{self, Changes, Target},
    error_code::Kafka,
    repeated::repeated,
};
use crate::config::Config;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) async fn handle(
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
            let config = broker.config.get();
            let decide = |target: &Target| changes(resource, target, &config);
            config_change::change(broker, named, request.validate_only, decide).await
        };
        let response = AlterConfigsResourceResponse::default()
            .with_error_message(None)
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
    target: &Target,
    config: &Config,
) -> Result<Changes, Refused> {
    let mut seen = BTreeSet::new();
    let mut changes = Changes::new();
    for asked in &resource.configs {
        if !seen.insert(asked.name.as_str()) {
            let why = format!("Error due to duplicate config keys: {}", asked.name);
            return Err((Kafka::InvalidRequest, why));
        }
        changes.insert(asked.name.to_string(), value(asked, target, config)?);
    }
    Ok(changes)
}

/// The new value; `None` goes back to the default.
fn value(
    asked: &AlterableConfig,
    target: &Target,
    config: &Config,
) -> Result<Option<String>, Refused> {
    let name = asked.name.as_str();
    if asked.config_operation == DELETE {
        return Ok(None);
    }
    let Some(given) = asked.value.as_deref() else {
        let why = format!("Null value not supported for : {name}");
        return Err((Kafka::InvalidRequest, why));
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
    if matches!(target, Target::Loggers) {
        let why = format!("{operation} is not supported for broker loggers");
        return Err((Kafka::InvalidRequest, why));
    }
    let Some(now) = target.list_value(name, config) else {
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
