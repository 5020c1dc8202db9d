//! ConsumerGroupHeartbeat (key 68): versions 0 and 1 (KIP-848). A member joins, says what it wants and has, and is told what to read;
//! or it leaves. From v1 on it makes its own id, and may name topics by a regular expression.

use std::sync::Arc;

use kafka_compat::protocol::{
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
        consumer_group_heartbeat_response::{Assignment, TopicPartitions},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Broker, error_code::Kafka, group_id::Client};
use crate::group::{ASSIGNORS, HeartbeatAsked, Refused, Target};

/// The first version whose members make their own ids (KIP-1082).
const OWN_ID: i16 = 1;
const JOINS: i32 = 0;
const LEAVES: i32 = -1;
const AWAY: i32 = -2;

pub(super) async fn handle(
    broker: Arc<Broker>,
    version: i16,
    client: Client,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let told = async {
        check(version, &request)?;
        let asked = asked(client, request);
        broker.groups.consumer_heartbeat(&asked).await
    };
    match told.await {
        Ok(answer) => {
            let interval = broker.config.get().groups.consumer_heartbeat_interval_ms;
            ConsumerGroupHeartbeatResponse::default()
                .with_member_id(Some(StrBytes::from_string(answer.member)))
                .with_member_epoch(answer.epoch)
                .with_heartbeat_interval_ms(if answer.epoch < JOINS { 0 } else { interval })
                .with_assignment(answer.assignment.map(assignment))
        }
        Err(Refused { code, message }) => ConsumerGroupHeartbeatResponse::default()
            .with_error_code(code.code())
            .with_error_message(Some(StrBytes::from_string(message))),
    }
}

/// Source: Apache Kafka, `GroupCoordinatorService.throwIfConsumerGroupHeartbeatRequestIsInvalid`.
fn check(version: i16, request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refused> {
    let invalid = |why: &str| Err(Refused::new(Kafka::InvalidRequest, why));
    let epoch = request.member_epoch;
    let needs_id = version >= OWN_ID || epoch > JOINS || epoch == LEAVES;
    if needs_id && request.member_id.is_empty() {
        return invalid("MemberId can't be empty.");
    }
    if request.group_id.is_empty() {
        return invalid("GroupId can't be empty.");
    }
    let is_empty = |text: &Option<StrBytes>| text.as_deref().is_some_and(str::is_empty);
    if is_empty(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_empty(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    if epoch == JOINS {
        if request.rebalance_timeout_ms == -1 {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if request
            .topic_partitions
            .as_ref()
            .is_none_or(|owned| !owned.is_empty())
        {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
    } else if epoch == AWAY && request.instance_id.is_none() {
        return invalid("InstanceId can't be null.");
    } else if epoch < AWAY {
        return invalid("MemberEpoch is invalid.");
    }
    match request.server_assignor.as_deref() {
        Some(assignor) if !ASSIGNORS.contains(&assignor) => {
            let why = format!(
                "ServerAssignor {assignor} is not supported. Supported assignors: {}.",
                ASSIGNORS.join(", ")
            );
            Err(Refused::new(Kafka::UnsupportedAssignor, why))
        }
        _ => Ok(()),
    }
}

fn asked(client: Client, request: ConsumerGroupHeartbeatRequest) -> HeartbeatAsked {
    let text = |text: Option<StrBytes>| text.map(|text| text.to_string());
    let member = if request.member_id.is_empty() {
        Uuid::new_v4().to_string()
    } else {
        request.member_id.to_string()
    };
    let topics = request.subscribed_topic_names.map(|names| {
        let names = names.into_iter().map(|name| name.to_string());
        names.collect()
    });
    let owned = request.topic_partitions.map(|owned| {
        let topics = owned.into_iter();
        topics
            .map(|topic| (topic.topic_id, topic.partitions.into_iter().collect()))
            .collect()
    });
    HeartbeatAsked {
        group: request.group_id.to_string(),
        member,
        epoch: request.member_epoch,
        instance: text(request.instance_id),
        rack: text(request.rack_id),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topics,
        regex: text(request.subscribed_topic_regex),
        assignor: text(request.server_assignor),
        owned,
        client_id: client.id,
        client_host: client.host,
        classic: None,
    }
}

fn assignment(target: Target) -> Assignment {
    let topics = target.into_iter().map(|(id, partitions)| {
        TopicPartitions::default()
            .with_topic_id(id)
            .with_partitions(partitions.into_iter().collect())
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
