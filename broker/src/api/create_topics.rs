//! CreateTopics (key 19): versions 2 to 7.
//!
//! Partitions and replication factor -1 mean the broker's defaults (KIP-464); a manual assignment must name this cluster's
//! brokers; validate-only checks and changes nothing; v5 returns the configs, v7 the topic's id. Each topic is judged alone.

use std::collections::BTreeMap;

use kafka_compat::protocol::{
    messages::{
        CreateTopicsRequest, CreateTopicsResponse,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
    },
    protocol::StrBytes,
};
use storage::units::TopicId;

use super::{
    Broker,
    auto_create::{self, Refused, Wish},
    error_code::Kafka,
    repeated::repeated,
};
use crate::topic_config;

pub(crate) async fn handle(
    broker: &Broker,
    version: i16,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let names: Vec<String> = request
        .topics
        .iter()
        .map(|t| t.name.0.to_string())
        .collect();
    // Each of them is refused once.
    let twice = repeated(names.iter().map(String::as_str));
    let mut not_yet_refused = twice.clone();
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let made = if twice.contains(topic.name.0.as_str()) {
            if !not_yet_refused.remove(topic.name.0.as_str()) {
                continue;
            }
            Err((Kafka::InvalidRequest, "Duplicate topic name.".to_owned()))
        } else {
            make(broker, &topic, request.validate_only).await
        };
        let result = CreatableTopicResult::default()
            .with_error_message(None)
            .with_name(topic.name);
        results.push(match made {
            Ok(made) => describe(result, broker, version, &made),
            Err((code, message)) => result
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_string(message)))
                .with_num_partitions(-1)
                .with_replication_factor(-1),
        });
    }
    CreateTopicsResponse::default().with_topics(results)
}

struct Made {
    id: TopicId,
    partitions: i32,
    replication_factor: i16,
    configs: BTreeMap<String, String>,
}

async fn make(
    broker: &Broker,
    asked: &CreatableTopic,
    validate_only: bool,
) -> Result<Made, Refused> {
    let configs = configs(asked)?;
    let (partitions, replication_factor) = counts(broker, asked)?;
    let wish = Wish {
        name: asked.name.0.to_string(),
        partitions,
        replication_factor,
        configs: configs.clone(),
    };
    auto_create::check(broker, &wish)?;
    let id = if validate_only {
        // As Kafka answers: an id that the topic might have had.
        TopicId::new_v4()
    } else {
        auto_create::create(broker, wish).await?
    };
    Ok(Made {
        id,
        partitions,
        replication_factor,
        configs,
    })
}

fn counts(broker: &Broker, asked: &CreatableTopic) -> Result<(i32, i16), Refused> {
    if asked.assignments.is_empty() {
        let partitions = match asked.num_partitions {
            -1 => broker.config.get().num_partitions,
            n => n,
        };
        let factor = match asked.replication_factor {
            -1 => broker.config.get().default_replication_factor,
            n => n,
        };
        return Ok((partitions, factor));
    }
    if asked.num_partitions != -1 || asked.replication_factor != -1 {
        let why = "A manual partition assignment was specified, but numPartitions or replicationFactor was not set to -1.";
        return Err((Kafka::InvalidRequest, why.into()));
    }
    let mut indexes: Vec<i32> = asked
        .assignments
        .iter()
        .map(|a| a.partition_index)
        .collect();
    indexes.sort_unstable();
    if !indexes.iter().copied().eq((0i32..).take(indexes.len())) {
        let why = "partitions should be a consecutive 0-based integer sequence";
        return Err((Kafka::InvalidReplicaAssignment, why.into()));
    }
    if asked
        .assignments
        .iter()
        .any(|a| a.broker_ids.iter().map(|b| b.0).ne([broker.node_id]))
    {
        let why = format!(
            "The manual partition assignment may name broker {} only.",
            broker.node_id
        );
        return Err((Kafka::InvalidReplicaAssignment, why));
    }
    Ok((i32::try_from(indexes.len()).unwrap_or(i32::MAX), 1))
}

fn configs(asked: &CreatableTopic) -> Result<BTreeMap<String, String>, Refused> {
    let mut configs = BTreeMap::new();
    for config in &asked.configs {
        let Some(value) = &config.value else {
            let why = format!(
                "Null value not supported for topic configs: {}",
                config.name
            );
            return Err((Kafka::InvalidConfig, why));
        };
        topic_config::validate(&config.name, value).map_err(|why| (Kafka::InvalidConfig, why))?;
        configs.insert(config.name.to_string(), value.to_string());
    }
    Ok(configs)
}

fn describe(
    result: CreatableTopicResult,
    broker: &Broker,
    version: i16,
    made: &Made,
) -> CreatableTopicResult {
    let result = result.with_topic_id(made.id);
    if version < 5 {
        return result;
    }
    let configs = topic_config::describe(&made.configs, &broker.config.get())
        .into_iter()
        .map(|entry| {
            CreatableTopicConfigs::default()
                .with_name(StrBytes::from_string(entry.name))
                .with_value(entry.value.map(StrBytes::from_string))
                .with_read_only(entry.read_only)
                .with_config_source(entry.source)
                .with_is_sensitive(entry.sensitive)
        });
    result
        .with_num_partitions(made.partitions)
        .with_replication_factor(made.replication_factor)
        .with_configs(Some(configs.collect()))
}
