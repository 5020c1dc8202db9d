//! A member of a group of the consumer protocol (KIP-848): heartbeats, and assignments that come with their answers.

use std::collections::BTreeSet;

use anyhow::Context;
use kafka_protocol::{
    error::ResponseError as Kafka,
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        consumer_group_heartbeat_request::TopicPartitions,
    },
};
use tokio::time::sleep;

use super::join::{Group, Told};
use crate::wire::{self, Cluster, Code, Connection};

const REBALANCE_MS: i32 = 60_000;
const LEAVES: i32 = -1;

/// The id that assignments name a topic by.
pub(super) async fn topic_id(bootstrap: &str, topic: &str) -> anyhow::Result<uuid::Uuid> {
    let mut cluster = Cluster::connect(bootstrap).await?;
    let topics = BTreeSet::from([topic.to_owned()]);
    let id = cluster.topic_ids(&topics).await?.remove(topic);
    id.with_context(|| format!("there is no topic {topic}"))
}

/// Heartbeats until the group is stable, then leaves.
pub(super) async fn member(
    mut connection: Connection,
    group: Group,
    (number, topic_id): (u32, uuid::Uuid),
) -> anyhow::Result<()> {
    // Members choose their ids.
    let id = wire::text(&uuid::Uuid::new_v4().to_string());
    let base = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(wire::group(&group.id))
        .with_member_id(id);
    let first = base
        .clone()
        .with_rebalance_timeout_ms(REBALANCE_MS)
        .with_subscribed_topic_names(Some(vec![wire::topic(&group.topic)]))
        .with_topic_partitions(Some(Vec::new()));
    let mut stable = group.board.stable();
    let mut answer = beat(&mut connection, &first).await?;
    loop {
        let mut next = base
            .clone()
            .with_member_epoch(answer.member_epoch)
            .with_rebalance_timeout_ms(-1);
        if let Some(assignment) = &answer.assignment {
            let topics = assignment.topic_partitions.iter();
            let assigned: Vec<i32> = topics.flat_map(|topic| topic.partitions.clone()).collect();
            let told = Told {
                generation: None,
                assigned: assigned.clone(),
            };
            group.board.tell(number, Some(told));
            // What it lost is given back at once: nothing was read.
            let owned = TopicPartitions::default()
                .with_topic_id(topic_id)
                .with_partitions(assigned.clone());
            let owned = if assigned.is_empty() {
                Vec::new()
            } else {
                vec![owned]
            };
            next.topic_partitions = Some(owned);
        } else {
            tokio::select! {
                biased;
                _ = stable.wait_for(|stable| *stable) => break,
                () = sleep(group.heartbeat) => {}
            }
        }
        if *stable.borrow() {
            break;
        }
        answer = beat(&mut connection, &next).await?;
    }
    let leaving = base.with_member_epoch(LEAVES).with_rebalance_timeout_ms(-1);
    connection.ask(&leaving).await?;
    Ok(())
}

async fn beat(
    connection: &mut Connection,
    request: &ConsumerGroupHeartbeatRequest,
) -> anyhow::Result<ConsumerGroupHeartbeatResponse> {
    loop {
        let answer = connection.ask(request).await?;
        match Code(answer.error_code).error() {
            None => return Ok(answer),
            Some(Kafka::CoordinatorLoadInProgress) => sleep(super::join::AGAIN_AFTER).await,
            Some(_) => anyhow::bail!(
                "a heartbeat: {} {}",
                Code(answer.error_code),
                answer.error_message.unwrap_or_default()
            ),
        }
    }
}
