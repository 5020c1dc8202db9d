//! AlterReplicaLogDirs (key 34): versions 1 and 2 (KIP-113), as a broker with one folder answers: a replica can only be where
//! it is.

use std::collections::BTreeMap;

use kafka_compat::protocol::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse,
    alter_replica_log_dirs_response::{
        AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
    },
};

use super::{Broker, error_code::Kafka, lookup};

pub(super) fn handle(
    broker: &Broker,
    request: &AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let image = broker.metadata.image();
    let mut topics: BTreeMap<String, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for dir in &request.dirs {
        for asked in &dir.topics {
            let name = asked.name.0.as_str();
            let results = topics.entry(name.to_owned()).or_default();
            for index in &asked.partitions {
                let code = if dir.path.as_str() == broker.log_dir {
                    let topic = image.topics.get(name).ok_or(Kafka::UnknownTopicOrPartition);
                    topic
                        .and_then(|t| lookup::partition(broker, t, *index, -1))
                        .err()
                } else {
                    Some(Kafka::LogDirNotFound)
                };
                results.push(
                    AlterReplicaLogDirPartitionResult::default()
                        .with_partition_index(*index)
                        .with_error_code(code.map_or(0, |code| code.code())),
                );
            }
        }
    }
    let results = topics.into_iter().map(|(name, partitions)| {
        AlterReplicaLogDirTopicResult::default()
            .with_topic_name(lookup::name(&name))
            .with_partitions(partitions)
    });
    AlterReplicaLogDirsResponse::default().with_results(results.collect())
}
