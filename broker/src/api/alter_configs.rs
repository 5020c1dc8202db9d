//! AlterConfigs (key 33): versions 0 to 2. Replaces the whole set of a topic's or broker's own settings; KafkaJS, sarama and
//! librdkafka use it.

use std::collections::BTreeMap;

use kafka_compat::protocol::{
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, alter_configs_request::AlterConfigsResource,
        alter_configs_response::AlterConfigsResourceResponse,
    },
    protocol::StrBytes,
};

use super::{
    Broker,
    auto_create::Refused,
    config_change::{self, BROKER_LOGGER, Changes, Target},
    error_code::Kafka,
    repeated::repeated,
};

pub(super) async fn handle(broker: &Broker, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let resources = request.resources.iter();
    let twice = repeated(resources.map(|r| (r.resource_type, r.resource_name.as_str())));
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let named = (resource.resource_type, resource.resource_name.as_str());
        let changed = if twice.contains(&named) {
            let why = "Each resource must appear at most once.".to_owned();
            Err((Kafka::InvalidRequest, why))
        } else {
            let decide = |target: &Target| replace(resource, &target.own(broker));
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
    AlterConfigsResponse::default().with_responses(responses)
}

fn replace(
    resource: &AlterConfigsResource,
    own: &BTreeMap<String, String>,
) -> Result<Changes, Refused> {
    let mut changes: Changes = own.keys().map(|key| (key.clone(), None)).collect();
    if resource.resource_type == BROKER_LOGGER {
        let why = "AlterConfigs is not supported for broker loggers".to_owned();
        return Err((Kafka::InvalidRequest, why));
    }
    let twice = repeated(resource.configs.iter().map(|c| c.name.as_str()));
    if let Some(name) = twice.iter().min() {
        let why = format!("Error due to duplicate config keys: {name}");
        return Err((Kafka::InvalidRequest, why));
    }
    for config in &resource.configs {
        let Some(value) = &config.value else {
            let why = format!("Null value not supported for : {}", config.name);
            return Err((Kafka::InvalidRequest, why));
        };
        changes.insert(config.name.to_string(), Some(value.to_string()));
    }
    Ok(changes)
}
