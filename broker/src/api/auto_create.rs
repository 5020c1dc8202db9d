//! Creating a topic: the common part of CreateTopics and of Metadata's auto-creation.

use std::collections::BTreeMap;

use rustix::process::{Resource, getrlimit};
use storage::units::TopicId;

use super::{
    Broker,
    error_code::{self, Kafka},
    topic_name,
};
use crate::metadata::{Command, Image, Outcome};

/// A topic wished for, with defaults filled in.
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) partitions: i32,
    pub(super) replication_factor: i16,
    pub(super) configs: BTreeMap<String, String>,
}

/// A refusal with Kafka's code and a sentence.
pub(super) type Refused = (Kafka, String);

/// Kafka's name for its metadata log: nobody may make a topic of that name.
pub(super) const METADATA_TOPIC: &str = "__cluster_metadata";

/// Most partitions one topic may have on this node: each costs open files and memory.
pub(super) const PARTITIONS_MAX: i32 = 10_000;

/// Checks name and counts against what is there now.
pub(super) fn check(broker: &Broker, wish: &Wish) -> Result<(), Refused> {
    if let Some(why) = topic_name::refuse(&wish.name) {
        return Err((Kafka::InvalidTopicException, why));
    }
    if wish.name == METADATA_TOPIC {
        let why = format!("Creation of internal topic {METADATA_TOPIC} is prohibited.");
        return Err((Kafka::InvalidRequest, why));
    }
    let image = broker.metadata.image();
    if image.topics.contains_key(&wish.name) {
        return Err((
            Kafka::TopicAlreadyExists,
            format!("Topic '{}' already exists.", wish.name),
        ));
    }
    if let Some(other) = topic_name::collision(&image, &wish.name) {
        let why = format!(
            "Topic '{}' collides with existing topic: {other}",
            wish.name
        );
        return Err((Kafka::InvalidTopicException, why));
    }
    if wish.partitions < 1 {
        let why = "Number of partitions was set to an invalid non-positive value.";
        return Err((Kafka::InvalidPartitions, why.into()));
    }
    if wish.partitions > PARTITIONS_MAX {
        let why = format!("Number of partitions must be at most {PARTITIONS_MAX}.");
        return Err((Kafka::InvalidPartitions, why));
    }
    check_files(&image, wish.partitions)?;
    if wish.replication_factor < 1 {
        let why = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err((Kafka::InvalidReplicationFactor, why.into()));
    }
    let brokers = image.brokers.len();
    if usize::try_from(wish.replication_factor).is_ok_and(|rf| rf > brokers) {
        let why = format!(
            "Unable to replicate the partition {} time(s): The target replication factor of {} cannot be reached because only {brokers} broker(s) are registered.",
            wish.replication_factor, wish.replication_factor
        );
        return Err((Kafka::InvalidReplicationFactor, why));
    }
    Ok(())
}

/// Each partition is an open file at least; connections and closed segments need some, too.
pub(super) fn check_files(image: &Image, added: i32) -> Result<(), Refused> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let now: usize = image.topics.values().map(|t| t.partitions.len()).sum();
    let wanted = now as u64 + u64::try_from(added).unwrap_or(0);
    if wanted <= limit / 2 {
        return Ok(());
    }
    let why = format!(
        "This broker has {now} partitions; with {added} more they would need over half of the {limit} files that it may open."
    );
    Err((Kafka::InvalidPartitions, why))
}

/// Creates it and returns when its partitions are open.
pub(super) async fn create(broker: &Broker, wish: Wish) -> Result<TopicId, Refused> {
    let topic_id = uuid::Uuid::new_v4();
    let replicas = vec![vec![broker.node_id]; usize::try_from(wish.partitions).unwrap_or(0)];
    let command = Command::CreateTopic {
        name: wish.name.clone(),
        topic_id,
        assignments: replicas,
        configs: wish.configs,
    };
    match broker.change_metadata(command).await {
        Ok(Outcome::TopicExists) => Err((
            Kafka::TopicAlreadyExists,
            format!("Topic '{}' already exists.", wish.name),
        )),
        Ok(_) => Ok(topic_id),
        Err(error) => Err((error_code::of_metadata(&error), error.to_string())),
    }
}

/// Creates a topic that a client asked about, if the broker allows; true where it exists now.
pub(super) async fn on_demand(broker: &Broker, name: &str) -> Result<(), Kafka> {
    if name == METADATA_TOPIC {
        return Err(Kafka::UnknownTopicOrPartition);
    }
    let wish = Wish {
        name: name.to_owned(),
        partitions: broker.config.get().num_partitions,
        replication_factor: broker.config.get().default_replication_factor,
        configs: BTreeMap::new(),
    };
    let created = match check(broker, &wish) {
        Ok(()) => create(broker, wish).await.map(|_| ()),
        Err(refused) => Err(refused),
    };
    match created {
        Ok(()) | Err((Kafka::TopicAlreadyExists, _)) => Ok(()),
        Err((code, _)) => Err(code),
    }
}
