//! The brokers of a cluster: who leads a partition, who coordinates a group, and what offsets a partition has.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    time::Duration,
};

use anyhow::{Context, bail};
use kafka_protocol::{
    messages::{
        FindCoordinatorRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
    },
    protocol::Request,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::{Code, Connection, text, topic};
use crate::kafka::PATIENCE;

const CLIENT_ID: &str = "chronosctl";
/// Between two looks for a coordinator that is on its way.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Asks ListOffsets for the first offset.
pub const EARLIEST: i64 = -2;
/// Asks ListOffsets for one past the last offset that a consumer can read.
pub const LATEST: i64 = -1;

/// A partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// What a coordinator is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoordinatorKind {
    /// A group.
    Group,
    /// A transactional id.
    Transaction,
}

/// A cluster, by the brokers that it told of; connections are opened when they are needed.
#[derive(Debug)]
pub struct Cluster {
    brokers: BTreeMap<i32, String>,
    connections: HashMap<i32, Connection>,
}

impl Cluster {
    /// Asks the first broker of a list that answers.
    pub async fn connect(bootstrap: &str) -> anyhow::Result<Self> {
        let mut why = anyhow::anyhow!("'{bootstrap}' names no broker");
        for address in bootstrap.split(',').map(str::trim) {
            match Self::connect_to(address).await {
                Ok(cluster) => return Ok(cluster),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    async fn connect_to(address: &str) -> anyhow::Result<Self> {
        let mut connection = Connection::open(address, CLIENT_ID).await?;
        let request = metadata_of(Some(&BTreeSet::new()));
        let answer = connection.ask_up_to(&request, METADATA_MAX).await?;
        let brokers = answer.brokers.iter().map(|broker| {
            let address = format!("{}:{}", broker.host, broker.port);
            (broker.node_id.0, address)
        });
        Ok(Self {
            brokers: brokers.collect(),
            connections: HashMap::new(),
        })
    }

    /// The ids of all brokers.
    pub fn brokers(&self) -> Vec<i32> {
        self.brokers.keys().copied().collect()
    }

    /// Where a broker is, with its id.
    pub fn address(&self, broker: i32) -> String {
        match self.brokers.get(&broker) {
            Some(address) => format!("{address} (id {broker})"),
            None => format!("id {broker}"),
        }
    }

    /// Where a broker is.
    pub fn address_of(&self, broker: i32) -> Option<String> {
        self.brokers.get(&broker).cloned()
    }

    /// The connection to a broker.
    pub async fn broker(&mut self, id: i32) -> anyhow::Result<&mut Connection> {
        if !self.connections.contains_key(&id) {
            let Some(address) = self.brokers.get(&id) else {
                bail!("broker {id} is not there");
            };
            let connection = Connection::open(address, CLIENT_ID).await?;
            self.connections.insert(id, connection);
        }
        self.connections
            .get_mut(&id)
            .context("the connection is gone")
    }

    async fn any(&mut self) -> anyhow::Result<&mut Connection> {
        let Some(id) = self.brokers.keys().next().copied() else {
            bail!("the cluster has no broker");
        };
        self.broker(id).await
    }

    async fn metadata(
        &mut self,
        topics: Option<&BTreeSet<String>>,
    ) -> anyhow::Result<MetadataResponse> {
        let request = metadata_of(topics);
        self.any().await?.ask_up_to(&request, METADATA_MAX).await
    }

    /// Who leads the partitions of these topics, or of all. Topics that are not there are not in it, and are not made.
    pub async fn leaders(
        &mut self,
        topics: Option<&BTreeSet<String>>,
    ) -> anyhow::Result<BTreeMap<Place, i32>> {
        let answer = self.metadata(topics).await?;
        let mut leaders = BTreeMap::new();
        for told in answer.topics {
            let name = told.name.unwrap_or_default();
            for partition in told.partitions {
                let place = Place {
                    topic: name.to_string(),
                    partition: partition.partition_index,
                };
                leaders.insert(place, partition.leader_id.0);
            }
        }
        Ok(leaders)
    }

    /// The ids of topics; those that are not there are not in it.
    pub async fn topic_ids(
        &mut self,
        topics: &BTreeSet<String>,
    ) -> anyhow::Result<BTreeMap<String, Uuid>> {
        let request = metadata_of(Some(topics));
        let answer = self.any().await?.ask_up_to(&request, 12).await?;
        let there = answer
            .topics
            .into_iter()
            .filter(|told| told.error_code == 0);
        let ids = there.map(|told| (told.name.unwrap_or_default().to_string(), told.topic_id));
        Ok(ids.collect())
    }

    /// Offsets of partitions: each at [`EARLIEST`], [`LATEST`], or the first whose record is of that time or later, -1 where
    /// there is none. A partition without a leader, or whose topic is gone, is not in the answer.
    pub async fn offsets(
        &mut self,
        asked: &[(Place, i64)],
    ) -> anyhow::Result<HashMap<Place, Result<i64, Code>>> {
        let topics: BTreeSet<String> = asked.iter().map(|(place, _)| place.topic.clone()).collect();
        if topics.is_empty() {
            return Ok(HashMap::new());
        }
        let leaders = self.leaders(Some(&topics)).await?;
        let mut by_leader: BTreeMap<i32, BTreeMap<&str, Vec<ListOffsetsPartition>>> =
            BTreeMap::new();
        for (place, at) in asked {
            let Some(leader) = leaders.get(place).filter(|leader| **leader >= 0) else {
                continue;
            };
            let partition = ListOffsetsPartition::default()
                .with_partition_index(place.partition)
                .with_current_leader_epoch(-1)
                .with_timestamp(*at);
            let of_leader = by_leader.entry(*leader).or_default();
            of_leader.entry(&place.topic).or_default().push(partition);
        }
        let mut offsets = HashMap::new();
        for (leader, topics) in by_leader {
            let topics = topics.into_iter().map(|(name, partitions)| {
                ListOffsetsTopic::default()
                    .with_name(topic(name))
                    .with_partitions(partitions)
            });
            let request = ListOffsetsRequest::default()
                .with_replica_id((-1).into())
                .with_topics(topics.collect());
            let answer = self.broker(leader).await?.ask_up_to(&request, 7).await?;
            for told in answer.topics {
                for partition in told.partitions {
                    let place = Place {
                        topic: told.name.to_string(),
                        partition: partition.partition_index,
                    };
                    let code = Code(partition.error_code);
                    let offset = if code.is_ok() {
                        Ok(partition.offset)
                    } else {
                        Err(code)
                    };
                    offsets.insert(place, offset);
                }
            }
        }
        Ok(offsets)
    }

    /// The broker that coordinates a group or a transactional id; waits for one that starts.
    pub async fn coordinator(&mut self, kind: CoordinatorKind, key: &str) -> anyhow::Result<i32> {
        let request = FindCoordinatorRequest::default()
            .with_key(text(key))
            .with_key_type(match kind {
                CoordinatorKind::Group => 0,
                CoordinatorKind::Transaction => 1,
            });
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.any().await?.ask_up_to(&request, 3).await?;
            let code = Code(answer.error_code);
            if !code.is_coordinator_on_its_way() || Instant::now() > until {
                code.ok()
                    .with_context(|| format!("looking for the coordinator of {key}"))?;
                return Ok(answer.node_id.0);
            }
            sleep(AGAIN_AFTER).await;
        }
    }

    /// Asks the coordinator of a key; again where it is on its way. `code` tells how it went.
    pub async fn ask_coordinator<R: Request>(
        &mut self,
        (kind, key): (CoordinatorKind, &str),
        (request, at_most): (&R, i16),
        code: impl Fn(&R::Response) -> Code,
    ) -> anyhow::Result<R::Response> {
        let until = Instant::now() + PATIENCE;
        loop {
            let coordinator = self.coordinator(kind, key).await?;
            let connection = self.broker(coordinator).await?;
            let answer = connection.ask_up_to(request, at_most).await?;
            if !code(&answer).is_coordinator_on_its_way() || Instant::now() > until {
                return Ok(answer);
            }
            sleep(AGAIN_AFTER).await;
        }
    }
}

/// Topics go by name up to here.
const METADATA_MAX: i16 = 9;

fn metadata_of(topics: Option<&BTreeSet<String>>) -> MetadataRequest {
    let asked = |name: &String| MetadataRequestTopic::default().with_name(Some(topic(name)));
    let topics = topics.map(|names| names.iter().map(asked).collect());
    MetadataRequest::default()
        .with_topics(topics)
        .with_allow_auto_topic_creation(false)
}
