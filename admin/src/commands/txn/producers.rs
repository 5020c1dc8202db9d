//! What the leaders of partitions know of producers.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::{
    DescribeProducersRequest, describe_producers_request::TopicRequest,
};

use crate::wire::{self, Cluster, Code, Place};

/// A producer of a partition.
#[derive(Clone, Debug)]
pub(super) struct Producer {
    pub(super) place: Place,
    pub(super) id: i64,
    pub(super) epoch: i32,
    /// Of the coordinator that wrote its last marker; -1 where there was none.
    pub(super) coordinator_epoch: i32,
    /// When it wrote last.
    pub(super) last_ms: i64,
    /// Where its open transaction began; `None` where none is open.
    pub(super) start_offset: Option<i64>,
}

/// The producers of partitions. Each must be there, and have a leader.
pub(super) async fn of(
    cluster: &mut Cluster,
    places: &BTreeSet<Place>,
) -> anyhow::Result<Vec<Producer>> {
    let topics: BTreeSet<String> = places.iter().map(|place| place.topic.clone()).collect();
    let leaders = cluster.leaders(Some(&topics)).await?;
    let mut by_leader: BTreeMap<i32, BTreeMap<&str, Vec<i32>>> = BTreeMap::new();
    for place in places {
        let Some(leader) = leaders.get(place) else {
            anyhow::bail!("there is no partition {place}");
        };
        anyhow::ensure!(*leader >= 0, "nobody leads {place} now");
        let of_leader = by_leader.entry(*leader).or_default();
        let of_topic = of_leader.entry(&place.topic).or_default();
        of_topic.push(place.partition);
    }
    let mut producers = Vec::new();
    for (leader, topics) in by_leader {
        let topics = topics.into_iter().map(|(name, partitions)| {
            TopicRequest::default()
                .with_name(wire::topic(name))
                .with_partition_indexes(partitions)
        });
        let request = DescribeProducersRequest::default().with_topics(topics.collect());
        let answer = cluster.broker(leader).await?.ask(&request).await?;
        for topic in answer.topics {
            for partition in topic.partitions {
                let place = Place {
                    topic: topic.name.to_string(),
                    partition: partition.partition_index,
                };
                if let Err(why) = Code(partition.error_code).ok() {
                    return Err(why.context(format!("asking for the producers of {place}")));
                }
                let told = partition.active_producers.iter().map(|told| Producer {
                    place: place.clone(),
                    id: told.producer_id.0,
                    epoch: told.producer_epoch,
                    coordinator_epoch: told.coordinator_epoch,
                    last_ms: told.last_timestamp,
                    start_offset: Some(told.current_txn_start_offset).filter(|start| *start >= 0),
                });
                producers.extend(told);
            }
        }
    }
    Ok(producers)
}
