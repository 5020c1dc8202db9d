//! Metadata (key 3): versions 0 to 13.
//!
//! No topic list means all topics (v0: an empty list does); an empty list none. Topics that do not exist are created when
//! the request (v4+) and `auto.create.topics.enable` allow it, and are ready when this answers. v10 has topic ids, v12 takes
//! them.

use kafka_compat::protocol::{
    messages::{
        BrokerId, MetadataRequest, MetadataResponse, TopicName,
        metadata_response::{
            MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
        },
    },
    protocol::StrBytes,
};
use storage::units::TopicId;

use super::{Broker, auto_create, error_code::Kafka, topic_name};
use crate::metadata::{Image, Topic};

/// "Not asked for", in the fields for authorized operations (KIP-430).
const NO_OPERATIONS: i32 = i32::MIN;

pub(super) async fn handle(
    broker: &Broker,
    version: i16,
    request: MetadataRequest,
) -> MetadataResponse {
    let all = match &request.topics {
        None => true,
        Some(topics) => version == 0 && topics.is_empty(),
    };
    let may_create = (version < 4 || request.allow_auto_topic_creation)
        && broker.config.get().auto_create_topics_enable;
    let mut topics = Vec::new();
    if all {
        topics.extend(broker.metadata.image().topics.values().map(|t| describe(t)));
    } else {
        for asked in request.topics.unwrap_or_default() {
            let topic = match asked.name {
                Some(name) if asked.topic_id.is_nil() => {
                    by_name(broker, &name, may_create, version).await
                }
                _ => by_id(&broker.metadata.image(), asked.topic_id),
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
        .with_cluster_authorized_operations(NO_OPERATIONS)
}

async fn by_name(
    broker: &Broker,
    name: &TopicName,
    may_create: bool,
    version: i16,
) -> MetadataResponseTopic {
    let existing = broker
        .metadata
        .image()
        .topics
        .get(name.0.as_str())
        .map(|t| describe(t));
    if let Some(topic) = existing {
        return topic;
    }
    let created = if topic_name::refuse(&name.0).is_some() {
        Err(Kafka::InvalidTopicException)
    } else if may_create {
        auto_create::on_demand(broker, &name.0).await
    } else {
        Err(Kafka::UnknownTopicOrPartition)
    };
    let image = broker.metadata.image();
    match (created, image.topics.get(name.0.as_str())) {
        (Ok(()), Some(topic)) => describe(topic),
        // Created and deleted again by somebody: the client asks anew.
        (Ok(()), None) => unknown(
            Some(name.clone()),
            TopicId::nil(),
            Kafka::LeaderNotAvailable,
            version,
        ),
        (Err(code), _) => unknown(Some(name.clone()), TopicId::nil(), code, version),
    }
}

fn by_id(image: &Image, id: TopicId) -> MetadataResponseTopic {
    match image.topic_by_id(id) {
        Some(topic) => describe(topic),
        None => unknown(None, id, Kafka::UnknownTopicId, 12),
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
        .with_topic_authorized_operations(NO_OPERATIONS)
}

fn describe(topic: &Topic) -> MetadataResponseTopic {
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
        .with_topic_authorized_operations(NO_OPERATIONS)
}
