//! CreatePartitions (key 37): versions 0 to 3. A topic only grows.

use kafka_compat::protocol::{
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse,
        create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
    },
    protocol::StrBytes,
};

use super::{
    Broker,
    auto_create::{PARTITIONS_MAX, Refused, check_files},
    error_code::{self, Kafka},
    repeated::repeated,
};
use crate::metadata::Command;

pub(crate) async fn handle(
    broker: &Broker,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    let twice = repeated(request.topics.iter().map(|t| t.name.0.as_str()));
    // Each of them is refused once.
    let mut not_yet_refused = twice.clone();
    for topic in &request.topics {
        let name = topic.name.0.as_str();
        let grown = if twice.contains(name) {
            if !not_yet_refused.remove(name) {
                continue;
            }
            let why = "Duplicate topic in request.".to_owned();
            Err((Kafka::InvalidRequest, why))
        } else {
            grow(broker, topic, request.validate_only).await
        };
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        results.push(match grown {
            Ok(()) => result,
            Err((code, message)) => result
                .with_error_code(code.code())
                // Kafka says nothing more of a topic that is not there.
                .with_error_message(
                    (code != Kafka::UnknownTopicOrPartition)
                        .then(|| StrBytes::from_string(message)),
                ),
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn grow(
    broker: &Broker,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refused> {
    let image = broker.metadata.image();
    let Some(topic) = image.topics.get(asked.name.0.as_str()) else {
        let why = "This server does not host this topic-partition.";
        return Err((Kafka::UnknownTopicOrPartition, why.into()));
    };
    let now = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    if asked.count < now {
        let why = format!(
            "The topic {} currently has {now} partition(s); {} would not be an increase.",
            topic.name, asked.count
        );
        return Err((Kafka::InvalidPartitions, why));
    }
    if asked.count == now {
        let why = format!("Topic already has {now} partition(s).");
        return Err((Kafka::InvalidPartitions, why));
    }
    if asked.count > PARTITIONS_MAX {
        let why = format!("Number of partitions must be at most {PARTITIONS_MAX}.");
        return Err((Kafka::InvalidPartitions, why));
    }
    check_files(&image, asked.count - now)?;
    if let Some(assignments) = &asked.assignments {
        let added = asked.count - now;
        if i32::try_from(assignments.len()).is_ok_and(|n| n != added) {
            let why = format!(
                "Attempted to add {added} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err((Kafka::InvalidReplicaAssignment, why));
        }
        if assignments
            .iter()
            .any(|a| a.broker_ids.iter().map(|b| b.0).ne([broker.node_id]))
        {
            let why = format!(
                "The manual partition assignment may name broker {} only.",
                broker.node_id
            );
            return Err((Kafka::InvalidReplicaAssignment, why));
        }
    }
    if validate_only {
        return Ok(());
    }
    let added = usize::try_from(asked.count - now).unwrap_or(0);
    let added = vec![vec![broker.node_id]; added];
    let command = Command::CreatePartitions {
        topic_id: topic.id,
        added,
    };
    match broker.change_metadata(command).await {
        Ok(_) => Ok(()),
        Err(error) => Err((error_code::of_metadata(&error), error.to_string())),
    }
}
