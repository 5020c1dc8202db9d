//! ConsumerGroupHeartbeat (key 68): versions 0 and 1 (KIP-848). A member joins, goes on or leaves, and learns its assignment.
//!
//! From v1 on clients make their own member ids (KIP-1082), and may subscribe with a regular expression.

use std::sync::Arc;

use kafka_compat::protocol::{
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        consumer_group_heartbeat_response::{Assignment, TopicPartitions},
    },
    protocol::StrBytes,
};

use super::{Broker, group_id::Client};
use crate::group::{self, HeartbeatAnswer, HeartbeatAsked, Refused};

pub(super) async fn handle(
    broker: Arc<Broker>,
    version: i16,
    client: Client,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    match heartbeat(&broker, version, client, &request).await {
        Ok(answer) => told(answer),
        Err(Refused { code, why }) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(code.code())
            .with_error_message(why.map(StrBytes::from_string)),
    }
}

async fn heartbeat(
    broker: &Broker,
    version: i16,
    client: Client,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<HeartbeatAnswer, Refused> {
    let text = |text: &Option<StrBytes>| text.as_ref().map(ToString::to_string);
    let names = request.subscribed_topic_names.as_ref();
    let owned = request.topic_partitions.as_ref();
    let asked = HeartbeatAsked {
        group: request.group_id.to_string(),
        member: request.member_id.to_string(),
        epoch: request.member_epoch,
        instance: text(&request.instance_id),
        rack: text(&request.rack_id),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        names: names.map(|names| names.iter().map(|name| name.to_string()).collect()),
        regex: text(&request.subscribed_topic_regex),
        assignor: text(&request.server_assignor),
        owned: owned.map(|owned| {
            let topics = owned.iter();
            topics
                .map(|topic| (topic.topic_id, topic.partitions.clone()))
                .collect()
        }),
        client_id: client.id,
        client_host: client.host,
    };
    group::validate(&asked, version, &broker.config.get().groups.consumer)?;
    broker.groups.consumer_heartbeat(asked).await
}

fn told(answer: HeartbeatAnswer) -> ConsumerGroupHeartbeatResponse {
    let assignment = answer.assignment.map(|topics| {
        let topics = topics.into_iter().map(|(topic, partitions)| {
            TopicPartitions::default()
                .with_topic_id(topic)
                .with_partitions(partitions)
        });
        Assignment::default().with_topic_partitions(topics.collect())
    });
    ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(StrBytes::from_string(answer.member)))
        .with_member_epoch(answer.epoch)
        .with_heartbeat_interval_ms(answer.interval_ms)
        .with_assignment(assignment)
}
