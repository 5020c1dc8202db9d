//! What is refused of a heartbeat before its group is looked at. Source: Apache Kafka,
//! `GroupCoordinatorService.throwIfConsumerGroupHeartbeatRequestIsInvalid`.

use kafka_compat::protocol::error::ResponseError as Kafka;

use super::{
    ConsumerConfig, HeartbeatAsked, Refused,
    member::{LEAVES, LEAVES_FOR_A_WHILE},
};

/// From here on clients make their own member ids (KIP-1082).
const OWN_ID_FROM: i16 = 1;

/// Refuses what no group can answer.
///
/// # Errors
/// `INVALID_REQUEST` or `UNSUPPORTED_ASSIGNOR`, with Kafka's words.
pub fn validate(
    asked: &HeartbeatAsked,
    version: i16,
    config: &ConsumerConfig,
) -> Result<(), Refused> {
    let epoch = asked.epoch;
    if version >= OWN_ID_FROM || epoch > 0 || epoch == LEAVES {
        refuse_blank(Some(&asked.member), "MemberId can't be empty.")?;
    }
    refuse_blank(Some(&asked.group), "GroupId can't be empty.")?;
    refuse_blank(asked.instance.as_ref(), "InstanceId can't be empty.")?;
    refuse_blank(asked.rack.as_ref(), "RackId can't be empty.")?;
    match epoch {
        0 => refuse_half_a_join(asked)?,
        LEAVES_FOR_A_WHILE if asked.instance.is_none() => {
            return invalid("InstanceId can't be null.");
        }
        ..LEAVES_FOR_A_WHILE => return invalid("MemberEpoch is invalid."),
        _ => {}
    }
    let allowed = || config.assignors.iter().map(super::Assignor::name);
    match &asked.assignor {
        Some(asked) if !allowed().any(|name| name == asked) => {
            let why = format!(
                "ServerAssignor {asked} is not supported. Supported assignors: {}.",
                allowed().collect::<Vec<_>>().join(", ")
            );
            Err(Refused::new(Kafka::UnsupportedAssignor, why))
        }
        _ => Ok(()),
    }
}

/// Who joins says everything, and has nothing.
fn refuse_half_a_join(asked: &HeartbeatAsked) -> Result<(), Refused> {
    if asked.rebalance_timeout_ms == -1 {
        return invalid("RebalanceTimeoutMs must be provided in first request.");
    }
    if asked.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
        return invalid("TopicPartitions must be empty when (re-)joining.");
    }
    if asked.names.is_none() && asked.regex.is_none() {
        return invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        );
    }
    Ok(())
}

/// Java's idea of blank: spaces and control characters.
fn refuse_blank(text: Option<&String>, why: &str) -> Result<(), Refused> {
    match text {
        Some(text) if text.chars().all(|c| c <= ' ') => invalid(why),
        _ => Ok(()),
    }
}

fn invalid(why: &str) -> Result<(), Refused> {
    Err(Refused::new(Kafka::InvalidRequest, why.to_owned()))
}
