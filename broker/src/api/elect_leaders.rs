//! ElectLeaders (key 43): versions 0 to 2. With one replica each, every partition has its preferred leader already.

use kafka_compat::protocol::{
    messages::{
        ElectLeadersRequest, ElectLeadersResponse,
        elect_leaders_request::TopicPartitions,
        elect_leaders_response::{PartitionResult, ReplicaElectionResult},
    },
    protocol::StrBytes,
};

use super::{Broker, error_code::Kafka, lookup};

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(super) fn handle(
    broker: &Broker,
    version: i16,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let response = ElectLeadersResponse::default();
    let kind = if version >= 1 {
        request.election_type
    } else {
        PREFERRED
    };
    let unknown = ![PREFERRED, UNCLEAN].contains(&kind);
    let response = if unknown {
        response.with_error_code(Kafka::InvalidRequest.code())
    } else {
        response
    };
    let image = broker.metadata.image();
    // Of all partitions, Kafka names only those whose leader changes: none.
    let asked = request.topic_partitions.unwrap_or_else(|| {
        let all = image.topics.keys();
        all.map(|name| TopicPartitions::default().with_topic(lookup::name(name)))
            .collect()
    });
    let results = asked.into_iter().map(|topic| {
        let known = image.topics.get(topic.topic.0.as_str());
        let results = topic.partitions.iter().map(|index| {
            let count = known.map(|t| t.partitions.len());
            let is_there = usize::try_from(*index).is_ok_and(|i| count.is_some_and(|n| i < n));
            let (code, message) = match count {
                _ if unknown => (
                    Kafka::InvalidRequest,
                    format!("Unknown election type {kind}"),
                ),
                None => (
                    Kafka::UnknownTopicOrPartition,
                    format!("No such topic as {}", topic.topic.0),
                ),
                Some(_) if !is_there => (
                    Kafka::UnknownTopicOrPartition,
                    format!("No such partition as {}-{index}", topic.topic.0),
                ),
                Some(_) => (
                    Kafka::ElectionNotNeeded,
                    Kafka::ElectionNotNeeded.to_string(),
                ),
            };
            let message = Some(StrBytes::from_string(message));
            PartitionResult::default()
                .with_partition_id(*index)
                .with_error_code(code.code())
                .with_error_message(message)
        });
        ReplicaElectionResult::default()
            .with_partition_result(results.collect())
            .with_topic(topic.topic)
    });
    response.with_replica_election_results(results.collect())
}
