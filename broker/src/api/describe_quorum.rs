//! DescribeQuorum (key 55): versions 0 to 2 (KIP-595, KIP-836, KIP-853). The metadata log's leader, end and voters.

use kafka_compat::protocol::{
    messages::{
        BrokerId, DescribeQuorumRequest, DescribeQuorumResponse,
        describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use super::{Broker, auto_create::METADATA_TOPIC, error_code::Kafka};

pub(super) fn handle(
    broker: &Broker,
    version: i16,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let response = DescribeQuorumResponse::default();
    let is_metadata = match request.topics.as_slice() {
        [topic] => {
            let only_0 = matches!(topic.partitions.as_slice(), [p] if p.partition_index == 0);
            topic.topic_name.0.as_str() == METADATA_TOPIC && only_0
        }
        _ => false,
    };
    if !is_metadata {
        let topics = request.topics.into_iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|p| {
                PartitionData::default()
                    .with_partition_index(p.partition_index)
                    .with_error_code(Kafka::UnknownTopicOrPartition.code())
            });
            TopicData::default()
                .with_partitions(partitions.collect())
                .with_topic_name(topic.topic_name)
        });
        return response.with_topics(topics.collect());
    }
    let quorum = broker.metadata.quorum();
    let now = broker.clock.wall().0;
    let voters = quorum.voters.iter().map(|id| {
        let state = ReplicaState::default()
            .with_replica_id(BrokerId(*id))
            .with_log_end_offset(quorum.log_end);
        let times = if version >= 1 { now } else { -1 };
        state
            .with_last_fetch_timestamp(times)
            .with_last_caught_up_timestamp(times)
            .with_replica_directory_id(Uuid::nil())
    });
    let partition = PartitionData::default()
        .with_leader_id(BrokerId(quorum.leader))
        .with_leader_epoch(quorum.term)
        .with_high_watermark(quorum.log_end)
        .with_current_voters(voters.collect());
    let topic = TopicData::default()
        .with_topic_name(super::lookup::name(METADATA_TOPIC))
        .with_partitions(vec![partition]);
    let response = response.with_topics(vec![topic]);
    if version < 2 {
        return response;
    }
    let image = broker.metadata.image();
    let nodes = image.brokers.iter().map(|(id, b)| {
        let listener = Listener::default()
            .with_name(StrBytes::from_static_str("CONTROLLER"))
            .with_host(StrBytes::from_string(b.host.clone()))
            .with_port(b.port);
        Node::default()
            .with_node_id(BrokerId(*id))
            .with_listeners(vec![listener])
    });
    response.with_nodes(nodes.collect())
}
