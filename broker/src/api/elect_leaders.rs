//! ElectLeaders (key 43): versions 0 to 2. With one replica each, every partition has its preferred leader already.

use kafka_compat::protocol::{
    messages::{
        ElectLeadersRequest, ElectLeadersResponse,
        elect_leaders_response::{PartitionResult, ReplicaElectionResult},
    },
    protocol::StrBytes,
};

use super::{Broker, error_code::Kafka};

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;

pub(super) fn handle(
    broker: &Broker,
    version: i16,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let response = ElectLeadersResponse::default();
    if version >= 1 && ![PREFERRED, UNCLEAN].contains(&request.election_type) {
        return response.with_error_code(Kafka::InvalidRequest.code());
    }
    let image = broker.metadata.image();
    // Of all partitions, Kafka names only those whose leader changes: none.
    let asked = request.topic_partitions.unwrap_or_default();
    let results = asked.into_iter().map(|topic| {
        let known = image.topics.get(topic.topic.0.as_str());
        let results = topic.partitions.iter().map(|index| {
            let count = known.map(|t| t.partitions.len());
            let is_there = usize::try_from(*index).is_ok_and(|i| count.is_some_and(|n| i < n));
            let (code, message) = match count {
                None => (
                    Kafka::UnknownTopicOrPartition,
                    format!("No such topic as {}", topic.topic.0),
                ),
                Some(_) if !is_there => (
                    Kafka::UnknownTopicOrPartition,
                    format!("No such partition as {}-{index}", topic.topic.0),
                ),
                Some(_) => (Kafka::ElectionNotNeeded, String::new()),
            };
            let message = (!message.is_empty()).then(|| StrBytes::from_string(message));
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
