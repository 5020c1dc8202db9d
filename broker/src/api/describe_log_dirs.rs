//! DescribeLogDirs (key 35): versions 1 to 5. This node has one folder; sizes are those of the batches, hidden ones included.
//!
//! v4 tells the file system's bytes, v5 whether the folder is cordoned: it never is.

use std::collections::BTreeMap;

use kafka_compat::protocol::{
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName,
        describe_log_dirs_response::{
            DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
        },
    },
    protocol::StrBytes,
};

use super::Broker;

pub(super) fn handle(broker: &Broker, request: &DescribeLogDirsRequest) -> DescribeLogDirsResponse {
    let wanted = |topic: &str, index: i32| {
        request.topics.as_ref().is_none_or(|topics| {
            let mut asked = topics.iter().filter(|t| t.topic.0.as_str() == topic);
            asked.any(|t| t.partitions.contains(&index))
        })
    };
    let mut sizes: BTreeMap<String, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for partition in broker.registry.online() {
        let index = partition.key.index;
        if wanted(&partition.topic, index) {
            let size = i64::try_from(partition.log().size_bytes()).unwrap_or(i64::MAX);
            sizes.entry(partition.topic.to_string()).or_default().push(
                DescribeLogDirsPartition::default()
                    .with_partition_index(index)
                    .with_partition_size(size),
            );
        }
    }
    let topics = sizes.into_iter().map(|(name, mut partitions)| {
        partitions.sort_by_key(|p| p.partition_index);
        DescribeLogDirsTopic::default()
            .with_name(TopicName(StrBytes::from_string(name)))
            .with_partitions(partitions)
    });
    let (total, usable) = broker.registry.disk_bytes().unwrap_or((-1, -1));
    let result = DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(broker.log_dir.clone()))
        .with_topics(topics.collect())
        .with_total_bytes(total)
        .with_usable_bytes(usable);
    DescribeLogDirsResponse::default().with_results(vec![result])
}
