//! ListConfigResources (key 74): versions 0 and 1 (KIP-1142). v0 asks for client metrics only: there are none.

use kafka_compat::protocol::{
    messages::{
        ListConfigResourcesRequest, ListConfigResourcesResponse,
        list_config_resources_response::ConfigResource,
    },
    protocol::StrBytes,
};

use super::{
    Broker,
    config_change::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC},
    error_code::Kafka,
};

const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

pub(super) fn handle(
    broker: &Broker,
    version: i16,
    request: &ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let response = ListConfigResourcesResponse::default();
    if version == 0 {
        return response;
    }
    let asked = &request.resource_types;
    if asked.iter().any(|kind| !ALL.contains(kind)) {
        return response.with_error_code(Kafka::UnsupportedVersion.code());
    }
    let image = broker.metadata.image();
    let mut resources = Vec::new();
    for kind in ALL {
        if !asked.is_empty() && !asked.contains(&kind) {
            continue;
        }
        let names: Vec<String> = match kind {
            TOPIC => image.topics.keys().cloned().collect(),
            BROKER | BROKER_LOGGER => image.brokers.keys().map(i32::to_string).collect(),
            GROUP => image.group_configs.keys().cloned().collect(),
            _ => Vec::new(),
        };
        resources.extend(names.into_iter().map(|name| {
            ConfigResource::default()
                .with_resource_name(StrBytes::from_string(name))
                .with_resource_type(kind)
        }));
    }
    response.with_config_resources(resources)
}
