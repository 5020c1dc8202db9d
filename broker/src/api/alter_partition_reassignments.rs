//! AlterPartitionReassignments (key 45): versions 0 and 1 (KIP-455). One broker has all replicas: the only assignment there is
//! can be asked for, and changes nothing.

use kafka_compat::protocol::{
    messages::{
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
        alter_partition_reassignments_request::ReassignablePartition,
        alter_partition_reassignments_response::{
            ReassignablePartitionResponse, ReassignableTopicResponse,
        },
    },
    protocol::StrBytes,
};

use super::{Broker, error_code::Kafka};
use crate::metadata::Topic;

pub(super) fn handle(
    broker: &Broker,
    version: i16,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let image = broker.metadata.image();
    let message = request.topics.is_empty().then(StrBytes::default);
    let responses = request.topics.into_iter().map(|asked| {
        let topic = image.topics.get(asked.name.0.as_str());
        let partitions = asked.partitions.iter().map(|p| {
            let answer =
                ReassignablePartitionResponse::default().with_partition_index(p.partition_index);
            match reassign(broker, topic.map(|t| &**t), p) {
                Ok(()) => answer.with_error_message(None),
                Err((code, why)) => answer
                    .with_error_code(code.code())
                    .with_error_message(why.map(StrBytes::from_string)),
            }
        });
        ReassignableTopicResponse::default()
            .with_partitions(partitions.collect())
            .with_name(asked.name)
    });
    let response = AlterPartitionReassignmentsResponse::default()
        .with_error_message(message)
        .with_responses(responses.collect());
    if version < 1 {
        return response;
    }
    response.with_allow_replication_factor_change(request.allow_replication_factor_change)
}

fn reassign(
    broker: &Broker,
    topic: Option<&Topic>,
    asked: &ReassignablePartition,
) -> Result<(), (Kafka, Option<String>)> {
    let index = usize::try_from(asked.partition_index).ok();
    let partition = topic.and_then(|t| t.partitions.get(index?));
    let partition = partition.ok_or_else(|| {
        let why = "This server does not host this topic-partition.";
        (Kafka::UnknownTopicOrPartition, Some(why.to_owned()))
    })?;
    let Some(replicas) = &asked.replicas else {
        return Err((Kafka::NoReassignmentInProgress, None));
    };
    let invalid = |why: String| Err((Kafka::InvalidReplicaAssignment, Some(why)));
    if replicas.is_empty() {
        return invalid("The manual partition assignment includes an empty replica list.".into());
    }
    let other = replicas.iter().find(|b| b.0 != broker.node_id);
    if let Some(other) = other {
        return invalid(format!(
            "The manual partition assignment includes broker {}, but no such broker is registered.",
            other.0
        ));
    }
    if replicas.len() != partition.replicas.len() {
        return invalid(format!(
            "The manual partition assignment includes the broker {} more than once.",
            broker.node_id
        ));
    }
    Ok(())
}
