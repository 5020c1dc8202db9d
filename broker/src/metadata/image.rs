//! The metadata at one moment, and the one function that makes the next moment.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use storage::units::TopicId;

use super::{
    command::{Command, Outcome},
    replay_job::ReplayJob,
};

/// Topics that the node keeps its own state in; clients do not write to them.
pub(super) const INTERNAL_TOPICS: [&str; 2] = [crate::group::TOPIC, crate::transaction::TOPIC];

/// The metadata at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Entries applied.
    pub version: u64,
    /// 22 characters, as Kafka's.
    pub cluster_id: String,
    /// Who decides.
    pub controller: i32,
    /// Brokers by id.
    pub brokers: BTreeMap<i32, Broker>,
    /// Topics by name.
    pub topics: BTreeMap<String, Arc<Topic>>,
    /// Deleted topics whose folders may still be there.
    pub deleting: BTreeMap<TopicId, Arc<Topic>>,
    /// The next producer id to give out.
    pub next_producer_id: i64,
    /// Settings that clients changed, by the broker's id; "" for all brokers.
    #[serde(default)]
    pub broker_configs: BTreeMap<String, BTreeMap<String, String>>,
    /// Settings of consumer groups, by their ids.
    #[serde(default)]
    pub group_configs: BTreeMap<String, BTreeMap<String, String>>,
    /// Replay jobs by their ids.
    #[serde(default)]
    pub replay_jobs: BTreeMap<String, Arc<ReplayJob>>,
    /// Names by id, of `topics`. Derived.
    #[serde(skip)]
    names: BTreeMap<TopicId, String>,
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broker {
    /// Where clients reach it.
    pub host: String,
    /// Where clients reach it.
    pub port: u16,
    /// Its rack.
    pub rack: Option<String>,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: TopicId,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionState>,
    /// Settings that differ from the defaults.
    pub configs: BTreeMap<String, String>,
    /// Kept by the broker for itself.
    pub internal: bool,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionState {
    /// Who leads; -1 nobody.
    pub leader: i32,
    /// The leader's term.
    pub leader_epoch: i32,
    /// Who has it.
    pub replicas: Vec<i32>,
    /// Who has all of it.
    pub isr: Vec<i32>,
}

impl PartitionState {
    fn new(replicas: Vec<i32>) -> Self {
        let leader = replicas.first().copied().unwrap_or(-1);
        Self {
            leader,
            leader_epoch: 0,
            isr: replicas.clone(),
            replicas,
        }
    }
}

impl Image {
    /// The topic of that id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// An image that was stored, its derived parts made anew.
    #[must_use]
    pub fn restored(mut self) -> Self {
        let names = self.topics.values().map(|t| (t.id, t.name.clone()));
        self.names = names.collect();
        self
    }

    /// Applies one entry. Deterministic: the same entries give the same image everywhere.
    pub fn apply(&mut self, command: Command) -> Outcome {
        self.version += 1;
        match command {
            Command::InitCluster { cluster_id } => {
                self.cluster_id = cluster_id;
                Outcome::Done
            }
            Command::RegisterBroker {
                id,
                host,
                port,
                rack,
            } => {
                self.controller = id;
                self.brokers.insert(id, Broker { host, port, rack });
                Outcome::Done
            }
            Command::CreateTopic {
                name,
                topic_id,
                assignments,
                configs,
            } => {
                if self.topics.contains_key(&name) {
                    return Outcome::TopicExists;
                }
                let partitions = assignments.into_iter().map(PartitionState::new).collect();
                let internal = INTERNAL_TOPICS.contains(&name.as_str());
                let topic = Topic {
                    name: name.clone(),
                    id: topic_id,
                    partitions,
                    configs,
                    internal,
                };
                self.names.insert(topic_id, name.clone());
                self.topics.insert(name, Arc::new(topic));
                Outcome::Done
            }
            Command::DeleteTopic { topic_id } => {
                let Some(topic) = self.topic_by_id(topic_id).cloned() else {
                    return Outcome::NoSuchTopic;
                };
                self.topics.remove(&topic.name);
                self.names.remove(&topic_id);
                self.deleting.insert(topic_id, topic);
                Outcome::Done
            }
            Command::TopicFilesRemoved { topic_id } => match self.deleting.remove(&topic_id) {
                Some(_) => Outcome::Done,
                None => Outcome::NoSuchTopic,
            },
            Command::CreatePartitions { topic_id, added } => self.edit(topic_id, |topic| {
                topic
                    .partitions
                    .extend(added.into_iter().map(PartitionState::new));
            }),
            Command::AlterTopicConfig { topic_id, changes } => {
                self.edit(topic_id, |topic| alter(&mut topic.configs, changes))
            }
            Command::AlterBrokerConfig { broker, changes } => {
                alter(self.broker_configs.entry(broker).or_default(), changes);
                self.broker_configs.retain(|_, configs| !configs.is_empty());
                Outcome::Done
            }
            Command::AlterGroupConfig { group, changes } => {
                alter(self.group_configs.entry(group).or_default(), changes);
                self.group_configs.retain(|_, configs| !configs.is_empty());
                Outcome::Done
            }
            Command::AllocateProducerIds { count } => {
                let first = self.next_producer_id;
                self.next_producer_id += count;
                Outcome::ProducerIds { first, count }
            }
            Command::ReplayJob(command) => command.apply(&mut self.replay_jobs),
        }
    }

    fn edit(&mut self, id: TopicId, change: impl FnOnce(&mut Topic)) -> Outcome {
        let name = self.names.get(&id);
        match name.and_then(|name| self.topics.get_mut(name)) {
            Some(topic) => {
                change(Arc::make_mut(topic));
                Outcome::Done
            }
            None => Outcome::NoSuchTopic,
        }
    }
}

fn alter(configs: &mut BTreeMap<String, String>, changes: BTreeMap<String, Option<String>>) {
    for (key, value) in changes {
        match value {
            Some(value) => configs.insert(key, value),
            None => configs.remove(&key),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(name: &str, id: u128) -> Command {
        Command::CreateTopic {
            name: name.into(),
            topic_id: TopicId::from_u128(id),
            assignments: vec![vec![1], vec![1]],
            configs: BTreeMap::from([("retention.ms".into(), "5".into())]),
        }
    }

    #[test]
    fn a_name_is_taken_once_and_free_again_after_deletion() {
        let mut image = Image::default();
        let first = TopicId::from_u128(1);
        assert_eq!(image.apply(create("t", 1)), Outcome::Done);
        assert_eq!(image.apply(create("t", 2)), Outcome::TopicExists);
        assert_eq!(image.topics["t"].id, first);
        assert_eq!(
            image.apply(Command::DeleteTopic { topic_id: first }),
            Outcome::Done
        );
        assert_eq!(image.apply(create("t", 2)), Outcome::Done);
        assert!(
            image.deleting.contains_key(&first),
            "its folders are not gone yet"
        );
        assert_eq!(
            image.apply(Command::TopicFilesRemoved { topic_id: first }),
            Outcome::Done
        );
        assert_eq!(
            image.apply(Command::DeleteTopic { topic_id: first }),
            Outcome::NoSuchTopic
        );
        assert!(image.deleting.is_empty());
        assert_eq!(image.version, 6);
    }

    #[test]
    fn a_topic_grows_and_its_settings_change() {
        let mut image = Image::default();
        let topic_id = TopicId::from_u128(1);
        image.apply(create("t", 1));
        image.apply(Command::CreatePartitions {
            topic_id,
            added: vec![vec![1]],
        });
        let changes = BTreeMap::from([
            ("retention.ms".into(), None),
            ("a".into(), Some("b".into())),
        ]);
        image.apply(Command::AlterTopicConfig { topic_id, changes });
        assert_eq!(image.topics["t"].partitions.len(), 3);
        assert_eq!(
            image.topics["t"].configs,
            BTreeMap::from([("a".into(), "b".into())])
        );
    }

    #[test]
    fn producer_ids_are_never_given_twice() {
        let mut image = Image::default();
        let give = Command::AllocateProducerIds { count: 10 };
        assert_eq!(
            image.apply(give.clone()),
            Outcome::ProducerIds {
                first: 0,
                count: 10
            }
        );
        assert_eq!(
            image.apply(give),
            Outcome::ProducerIds {
                first: 10,
                count: 10
            }
        );
    }
}
