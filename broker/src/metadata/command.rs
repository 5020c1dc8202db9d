//! Changes of the metadata, as they are logged. Variants and fields keep their names: logs of earlier releases have them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use storage::units::TopicId;

use super::replay_job::JobCommand;

/// A change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// The cluster's first entry.
    InitCluster {
        /// 22 characters, as Kafka's.
        cluster_id: String,
    },
    /// A broker is up, at this address.
    RegisterBroker {
        /// Its id.
        id: i32,
        /// Where clients reach it.
        host: String,
        /// Where clients reach it.
        port: u16,
        /// Its rack.
        rack: Option<String>,
    },
    /// A topic is created.
    CreateTopic {
        /// Its name.
        name: String,
        /// Its id, made by the proposer.
        topic_id: TopicId,
        /// Replicas of each partition; the first leads.
        assignments: Vec<Vec<i32>>,
        /// Settings that differ from the defaults.
        configs: BTreeMap<String, String>,
    },
    /// A topic is deleted; its folders go next.
    DeleteTopic {
        /// Which.
        topic_id: TopicId,
    },
    /// A deleted topic's folders are gone.
    TopicFilesRemoved {
        /// Which.
        topic_id: TopicId,
    },
    /// A topic grows.
    CreatePartitions {
        /// Which.
        topic_id: TopicId,
        /// Replicas of each new partition.
        added: Vec<Vec<i32>>,
    },
    /// Settings of a topic change.
    AlterTopicConfig {
        /// Which.
        topic_id: TopicId,
        /// New values; `None` goes back to the default.
        changes: BTreeMap<String, Option<String>>,
    },
    /// Settings of one broker, or of all, change.
    AlterBrokerConfig {
        /// The broker's id; empty for all.
        broker: String,
        /// New values; `None` goes back to what the broker was started with.
        changes: BTreeMap<String, Option<String>>,
    },
    /// Settings of a consumer group change.
    AlterGroupConfig {
        /// The group's id.
        group: String,
        /// New values; `None` goes back to the broker's.
        changes: BTreeMap<String, Option<String>>,
    },
    /// A broker needs producer ids (KIP-730).
    AllocateProducerIds {
        /// How many.
        count: i64,
    },
    /// A replay job is made, or changes.
    ReplayJob(JobCommand),
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InitCluster { cluster_id } => write!(f, "init cluster {cluster_id}"),
            Self::RegisterBroker { id, .. } => write!(f, "register broker {id}"),
            Self::CreateTopic { name, topic_id, .. } => write!(f, "create topic {name} {topic_id}"),
            Self::DeleteTopic { topic_id } => write!(f, "delete topic {topic_id}"),
            Self::TopicFilesRemoved { topic_id } => write!(f, "files removed of {topic_id}"),
            Self::CreatePartitions { topic_id, added } => {
                write!(f, "add {} partitions to {topic_id}", added.len())
            }
            Self::AlterTopicConfig { topic_id, .. } => write!(f, "alter config of {topic_id}"),
            Self::AlterBrokerConfig { broker, .. } => {
                write!(f, "alter config of broker {broker:?}")
            }
            Self::AlterGroupConfig { group, .. } => write!(f, "alter config of group {group:?}"),
            Self::AllocateProducerIds { count } => write!(f, "allocate {count} producer ids"),
            Self::ReplayJob(command) => write!(f, "replay job: {command}"),
        }
    }
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It took effect.
    Done,
    /// There is a topic of that name; nothing changed.
    TopicExists,
    /// There is no such topic; nothing changed.
    NoSuchTopic,
    /// There is a replay job of that id; nothing changed.
    JobExists,
    /// There is no such replay job; nothing changed.
    NoSuchJob,
    /// The replay job has ended, or has not: nothing changed.
    WrongState,
    /// A block of ids.
    ProducerIds {
        /// The first.
        first: i64,
        /// How many.
        count: i64,
    },
}
