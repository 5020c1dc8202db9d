//! Metadata (key 3): versions 0 to 13.
//!
//! No topic list means all topics (v0: an empty list does); an empty list none. Topics that do not exist are created when
//! the request (v4+) and `auto.create.topics.enable` allow it, and are ready when this answers. v10 has topic ids, v12 takes
//! them.

use std::collections::HashSet;

use kafka_compat::protocol::{
    messages::{
        BrokerId, MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
    protocol::StrBytes,
};
use storage::units::TopicId;

use super::{
    Broker,
    authorized::{self, NOT_ASKED},
    auto_create,
    error_code::Kafka,
    topic_name,
};
use crate::metadata::{Image, Topic};

/// From here on topics may be named by id.
const BY_ID: i16 = 12;

pub(super) async fn handle(
    broker: &Broker,
    version: i16,
    request: MetadataRequest,
) -> MetadataResponse {
    let names_by_id = |t: &MetadataRequestTopic| t.name.is_none() || !t.topic_id.is_nil();
    if version < BY_ID && request.topics.iter().flatten().any(names_by_id) {
        return refused(version, &request);
    }
    let ask = Ask {
        version,
        may_create: (version < 4 || request.allow_auto_topic_creation)
            && broker.config.get().auto_create_topics_enable,
        operations: request.include_topic_authorized_operations,
    };
    let all = match &request.topics {
        None => true,
        Some(topics) => version == 0 && topics.is_empty(),
    };
    let mut topics = Vec::new();
    if all {
        let image = broker.metadata.image();
        topics.extend(image.topics.values().map(|t| describe(t, &ask)));
    } else {
        let mut seen = HashSet::new();
        for asked in request.topics.unwrap_or_default() {
            if !seen.insert((asked.name.clone(), asked.topic_id)) {
                continue;
            }
            let topic = match asked.name {
                Some(name) if asked.topic_id.is_nil() => by_name(broker, &name, &ask).await,
                _ => by_id(&broker.metadata.image(), asked.topic_id, &ask),
            };
            topics.push(topic);
        }
    }

    let image = broker.metadata.image();
    let brokers = image.brokers.iter().map(|(id, b)| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(*id))
            .with_host(StrBytes::from_string(b.host.clone()))
            .with_port(i32::from(b.port))
            .with_rack(b.rack.clone().map(StrBytes::from_string))
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(StrBytes::from_string(image.cluster_id.clone())))
        .with_controller_id(BrokerId(image.controller))
        .with_topics(topics)
        .with_cluster_authorized_operations(authorized::of_cluster(
            request.include_cluster_authorized_operations,
        ))
}

/// What holds for all topics of a request.
struct Ask {
    version: i16,
    may_create: bool,
    operations: bool,
}

/// As Kafka refuses ids and missing names before v12: without brokers.
fn refused(version: i16, request: &MetadataRequest) -> MetadataResponse {
    let topics = request.topics.iter().flatten().map(|t| {
        MetadataResponseTopic::default()
            .with_error_code(Kafka::InvalidRequest.code())
            .with_name(Some(t.name.clone().unwrap_or_default()))
            .with_topic_id(if version >= 10 {
                t.topic_id
            } else {
                TopicId::nil()
            })
            .with_topic_authorized_operations(NOT_ASKED)
    });
    MetadataResponse::default()
        .with_controller_id(BrokerId(-1))
        .with_topics(topics.collect())
        .with_cluster_id(None)
        .with_cluster_authorized_operations(NOT_ASKED)
}

async fn by_name(broker: &Broker, name: &TopicName, ask: &Ask) -> MetadataResponseTopic {
    let existing = broker
        .metadata
        .image()
        .topics
        .get(name.0.as_str())
        .map(|t| describe(t, ask));
    if let Some(topic) = existing {
        return topic;
    }
    let created = if topic_name::refuse(&name.0).is_some() {
        Err(Kafka::InvalidTopicException)
    } else if ask.may_create {
        auto_create::on_demand(broker, &name.0).await
    } else {
        Err(Kafka::UnknownTopicOrPartition)
    };
    let image = broker.metadata.image();
    match (created, image.topics.get(name.0.as_str())) {
        (Ok(()), Some(topic)) => describe(topic, ask),
        // Created and deleted again by somebody: the client asks anew.
        (Ok(()), None) => unknown(
            Some(name.clone()),
            TopicId::nil(),
            Kafka::LeaderNotAvailable,
            ask.version,
        ),
        (Err(code), _) => unknown(Some(name.clone()), TopicId::nil(), code, ask.version),
    }
}

fn by_id(image: &Image, id: TopicId, ask: &Ask) -> MetadataResponseTopic {
    match image.topic_by_id(id) {
        Some(topic) => describe(topic, ask),
        None => unknown(None, id, Kafka::UnknownTopicId, ask.version),
    }
}

fn unknown(
    name: Option<TopicName>,
    id: TopicId,
    code: Kafka,
    version: i16,
) -> MetadataResponseTopic {
    // The name is nullable from v12 on.
    let name = if version < 12 {
        Some(name.unwrap_or_default())
    } else {
        name
    };
    MetadataResponseTopic::default()
        .with_error_code(code.code())
        .with_name(name)
        .with_topic_id(id)
        .with_topic_authorized_operations(NOT_ASKED)
}

fn describe(topic: &Topic, ask: &Ask) -> MetadataResponseTopic {
    let partitions = (0i32..).zip(&topic.partitions).map(|(index, p)| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(p.leader))
            .with_leader_epoch(p.leader_epoch)
            .with_replica_nodes(p.replicas.iter().copied().map(BrokerId).collect())
            .with_isr_nodes(p.isr.iter().copied().map(BrokerId).collect())
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.clone()))))
        .with_topic_id(topic.id)
        .with_is_internal(topic.internal)
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(authorized::of_topic(ask.operations))
}
