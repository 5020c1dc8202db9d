//! Every version of every API in the table is answered, and the answer is one that a client of that version reads to its last
//! byte. Method: requests by the codec, one connection each, answers decoded by the codec's client half.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod transactions;

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use compat_tests::{
    client,
    cluster::Broker,
    wire::{Reaction, send},
};
use kafka_compat::{
    api_table,
    protocol::{
        messages::{
            alter_configs_request::AlterConfigsResource,
            alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
            alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic},
            create_partitions_request::CreatePartitionsTopic,
            create_topics_request::CreatableTopic,
            delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
            delete_topics_request::DeleteTopicState,
            describe_configs_request::DescribeConfigsResource,
            describe_topic_partitions_request::TopicRequest,
            elect_leaders_request::TopicPartitions,
            fetch_request::{FetchPartition, FetchTopic},
            list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
            metadata_request::MetadataRequestTopic,
            offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
            produce_request::{PartitionProduceData, TopicProduceData},
            *,
        },
        protocol::{Decodable, Encodable, StrBytes},
    },
};

const TOPIC: &str = "versions";

/// A whole frame.
fn frame(api: ApiKey, version: i16, body: &impl Encodable) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(0);
    let header = RequestHeader::default()
        .with_request_api_key(api as i16)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(StrBytes::from_static_str("every-version")));
    header
        .encode(&mut out, api.request_header_version(version))
        .unwrap();
    body.encode(&mut out, codec_version(api, version)).unwrap();
    let len = i32::try_from(out.len() - 4).unwrap();
    out.get_mut(..4)
        .unwrap()
        .copy_from_slice(&len.to_be_bytes());
    out.freeze()
}

/// The codec's version, where it stops below the table's: the request has the same bytes.
fn codec_version(api: ApiKey, version: i16) -> i16 {
    version.min(api.valid_versions().max)
}

/// The answer in the codec's version.
fn as_codec_reads_it(api: ApiKey, version: i16, mut answer: Vec<u8>) -> Bytes {
    if (api, version) == (ApiKey::DescribeLogDirs, 5) {
        // A flag is the last field of the one folder (KIP-1066), before the folder's tags and the answer's.
        assert_eq!(answer.remove(answer.len() - 3), 0, "no folder is cordoned");
    }
    Bytes::from(answer)
}

/// Asks, and decodes the answer; nothing may be left of it.
fn ask<A: Decodable>(broker: &Broker, api: ApiKey, version: i16, body: &impl Encodable) -> A {
    let Reaction::Answered(answer) = send(&broker.kafka, &frame(api, version, body)).unwrap()
    else {
        panic!("{api:?} version {version}: no answer\n{}", broker.log());
    };
    let mut answer = as_codec_reads_it(api, version, answer);
    let header = ResponseHeader::decode(&mut answer, api.response_header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 7);
    let decoded = A::decode(&mut answer, codec_version(api, version))
        .unwrap_or_else(|e| panic!("{api:?} version {version}: {e}"));
    assert_eq!(answer.remaining(), 0, "{api:?} version {version}");
    decoded
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

/// Each version of an API of the table.
fn versions(api: ApiKey) -> std::ops::RangeInclusive<i16> {
    let row = api_table::find(api as i16).unwrap();
    row.min..=row.max
}

/// Metadata, and the topic's id.
fn of_metadata(broker: &Broker) -> (i16, uuid::Uuid) {
    let mut asked = 0;
    let mut topic_id = uuid::Uuid::nil();
    for v in versions(ApiKey::Metadata) {
        let topic = MetadataRequestTopic::default().with_name(Some(name()));
        let body = MetadataRequest::default().with_topics(Some(vec![topic]));
        let answer: MetadataResponse = ask(broker, ApiKey::Metadata, v, &body);
        let topic = answer.topics.first().unwrap();
        assert_eq!(
            (topic.error_code, topic.partitions.len()),
            (0, 1),
            "Metadata {v}"
        );
        assert!(v < 10 || !topic.topic_id.is_nil());
        topic_id = topic.topic_id;
        asked += 1;
    }
    (asked, topic_id)
}

/// What clients read and write records with.
fn of_records(broker: &Broker, topic_id: uuid::Uuid) -> i16 {
    let mut asked = 0;
    for v in versions(ApiKey::Produce) {
        let partition = PartitionProduceData::default().with_records(Some(Bytes::new()));
        let data = TopicProduceData::default().with_partition_data(vec![partition]);
        let data = if v >= 13 {
            data.with_topic_id(topic_id)
        } else {
            data.with_name(name())
        };
        let body = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(1_000)
            .with_topic_data(vec![data]);
        let answer: ProduceResponse = ask(broker, ApiKey::Produce, v, &body);
        let partition = answer
            .responses
            .first()
            .unwrap()
            .partition_responses
            .first()
            .unwrap();
        assert_eq!(partition.error_code, 87, "an empty batch, Produce {v}");
        asked += 1;
    }
    for v in versions(ApiKey::Fetch) {
        let partition = FetchPartition::default().with_partition_max_bytes(1_000);
        let topic = FetchTopic::default().with_partitions(vec![partition]);
        let topic = if v >= 13 {
            topic.with_topic_id(topic_id)
        } else {
            topic.with_topic(name())
        };
        let body = FetchRequest::default()
            .with_max_bytes(10_000)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let answer: FetchResponse = ask(broker, ApiKey::Fetch, v, &body);
        let partition = answer
            .responses
            .first()
            .unwrap()
            .partitions
            .first()
            .unwrap();
        assert_eq!(partition.error_code, 0, "Fetch {v}");
        assert!(partition.records.as_ref().unwrap().len() > 61, "Fetch {v}");
        asked += 1;
    }
    asked
}

/// What finds offsets, moves the log start and tells producers apart.
fn of_offsets(broker: &Broker) -> i16 {
    let mut asked = 0;
    for v in versions(ApiKey::ListOffsets) {
        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let topic = ListOffsetsTopic::default()
            .with_name(name())
            .with_partitions(vec![partition]);
        let body = ListOffsetsRequest::default().with_topics(vec![topic]);
        let answer: ListOffsetsResponse = ask(broker, ApiKey::ListOffsets, v, &body);
        let partition = answer.topics.first().unwrap().partitions.first().unwrap();
        assert_eq!(
            (partition.error_code, partition.offset),
            (0, 1),
            "ListOffsets {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::DeleteRecords) {
        let partition = DeleteRecordsPartition::default().with_offset(0);
        let topic = DeleteRecordsTopic::default()
            .with_name(name())
            .with_partitions(vec![partition]);
        let body = DeleteRecordsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(1_000);
        let answer: DeleteRecordsResponse = ask(broker, ApiKey::DeleteRecords, v, &body);
        let partition = answer.topics.first().unwrap().partitions.first().unwrap();
        assert_eq!(
            (partition.error_code, partition.low_watermark),
            (0, 0),
            "DeleteRecords {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::OffsetForLeaderEpoch) {
        let partition = OffsetForLeaderPartition::default()
            .with_current_leader_epoch(-1)
            .with_leader_epoch(0);
        let topic = OffsetForLeaderTopic::default()
            .with_topic(name())
            .with_partitions(vec![partition]);
        let body = OffsetForLeaderEpochRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_topics(vec![topic]);
        let answer: OffsetForLeaderEpochResponse =
            ask(broker, ApiKey::OffsetForLeaderEpoch, v, &body);
        let partition = answer.topics.first().unwrap().partitions.first().unwrap();
        assert_eq!(
            (partition.error_code, partition.end_offset),
            (0, 1),
            "OffsetForLeaderEpoch {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::InitProducerId) {
        let body = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(1_000);
        let answer: InitProducerIdResponse = ask(broker, ApiKey::InitProducerId, v, &body);
        assert_eq!(
            (answer.error_code, answer.producer_epoch),
            (0, 0),
            "InitProducerId {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::DescribeProducers) {
        let topic = describe_producers_request::TopicRequest::default()
            .with_name(name())
            .with_partition_indexes(vec![0]);
        let body = DescribeProducersRequest::default().with_topics(vec![topic]);
        let answer: DescribeProducersResponse = ask(broker, ApiKey::DescribeProducers, v, &body);
        let partition = answer.topics.first().unwrap().partitions.first().unwrap();
        assert_eq!(partition.error_code, 0, "DescribeProducers {v}");
        asked += 1;
    }
    asked
}

/// What makes topics and changes them.
fn of_topics(broker: &Broker) -> i16 {
    let mut asked = 0;
    for v in versions(ApiKey::CreateTopics) {
        let topic = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_string(format!("made-{v}"))))
            .with_num_partitions(2)
            .with_replication_factor(1);
        let body = CreateTopicsRequest::default().with_topics(vec![topic]);
        let answer: CreateTopicsResponse = ask(broker, ApiKey::CreateTopics, v, &body);
        assert_eq!(
            answer.topics.first().unwrap().error_code,
            0,
            "CreateTopics {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::CreatePartitions) {
        let topic = CreatePartitionsTopic::default()
            .with_name(TopicName(StrBytes::from_static_str("made-2")))
            .with_count(3 + i32::from(v))
            .with_assignments(None);
        let body = CreatePartitionsRequest::default().with_topics(vec![topic]);
        let answer: CreatePartitionsResponse = ask(broker, ApiKey::CreatePartitions, v, &body);
        assert_eq!(
            answer.results.first().unwrap().error_code,
            0,
            "CreatePartitions {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::DeleteTopics) {
        let gone = TopicName(StrBytes::from_string(format!("made-{}", v + 1)));
        let body = if v >= 6 {
            let topic = DeleteTopicState::default().with_name(Some(gone));
            DeleteTopicsRequest::default().with_topics(vec![topic])
        } else {
            DeleteTopicsRequest::default().with_topic_names(vec![gone])
        };
        let answer: DeleteTopicsResponse = ask(broker, ApiKey::DeleteTopics, v, &body);
        assert_eq!(
            answer.responses.first().unwrap().error_code,
            0,
            "DeleteTopics {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::DescribeTopicPartitions) {
        let topic = TopicRequest::default().with_name(name());
        let body = DescribeTopicPartitionsRequest::default()
            .with_topics(vec![topic])
            .with_response_partition_limit(10);
        let answer: DescribeTopicPartitionsResponse =
            ask(broker, ApiKey::DescribeTopicPartitions, v, &body);
        assert_eq!(answer.topics.first().unwrap().error_code, 0);
        asked += 1;
    }
    for v in versions(ApiKey::ElectLeaders) {
        let topic = TopicPartitions::default()
            .with_topic(name())
            .with_partitions(vec![0]);
        let body = ElectLeadersRequest::default()
            .with_topic_partitions(Some(vec![topic]))
            .with_timeout_ms(1_000);
        let answer: ElectLeadersResponse = ask(broker, ApiKey::ElectLeaders, v, &body);
        let result = answer.replica_election_results.first().unwrap();
        let partition = result.partition_result.first().unwrap();
        assert_eq!(partition.error_code, 84, "ELECTION_NOT_NEEDED, {v}");
        asked += 1;
    }
    for v in versions(ApiKey::AlterPartitionReassignments) {
        let partition = ReassignablePartition::default().with_replicas(Some(vec![BrokerId(99)]));
        let topic = ReassignableTopic::default()
            .with_name(name())
            .with_partitions(vec![partition]);
        let body = AlterPartitionReassignmentsRequest::default()
            .with_timeout_ms(1_000)
            .with_topics(vec![topic]);
        let answer: AlterPartitionReassignmentsResponse =
            ask(broker, ApiKey::AlterPartitionReassignments, v, &body);
        let partition = answer
            .responses
            .first()
            .unwrap()
            .partitions
            .first()
            .unwrap();
        assert_eq!(partition.error_code, 39, "INVALID_REPLICA_ASSIGNMENT, {v}");
        asked += 1;
    }
    for v in versions(ApiKey::ListPartitionReassignments) {
        let body = ListPartitionReassignmentsRequest::default().with_topics(None);
        let answer: ListPartitionReassignmentsResponse =
            ask(broker, ApiKey::ListPartitionReassignments, v, &body);
        assert_eq!(
            (answer.error_code, answer.topics.len()),
            (0, 0),
            "ListPartitionReassignments {v}"
        );
        asked += 1;
    }
    asked
}

/// What describes settings and changes them.
fn of_configs(broker: &Broker) -> i16 {
    let mut asked = 0;
    for v in versions(ApiKey::DescribeConfigs) {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(StrBytes::from_static_str(TOPIC))
            .with_configuration_keys(None);
        let body = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer: DescribeConfigsResponse = ask(broker, ApiKey::DescribeConfigs, v, &body);
        let result = answer.results.first().unwrap();
        assert!(
            result.error_code == 0 && result.configs.len() > 20,
            "DescribeConfigs {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::AlterConfigs) {
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(StrBytes::from_static_str(TOPIC));
        let body = AlterConfigsRequest::default().with_resources(vec![resource]);
        let answer: AlterConfigsResponse = ask(broker, ApiKey::AlterConfigs, v, &body);
        assert_eq!(
            answer.responses.first().unwrap().error_code,
            0,
            "AlterConfigs {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::IncrementalAlterConfigs) {
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(StrBytes::from_static_str(TOPIC));
        let body = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        let answer: IncrementalAlterConfigsResponse =
            ask(broker, ApiKey::IncrementalAlterConfigs, v, &body);
        assert_eq!(answer.responses.first().unwrap().error_code, 0);
        asked += 1;
    }
    for v in versions(ApiKey::ListConfigResources) {
        let body = ListConfigResourcesRequest::default();
        let answer: ListConfigResourcesResponse =
            ask(broker, ApiKey::ListConfigResources, v, &body);
        assert!(
            answer.error_code == 0 && v == 0 || !answer.config_resources.is_empty(),
            "ListConfigResources {v}"
        );
        asked += 1;
    }
    asked
}

/// What asks the node about itself and the cluster.
fn of_the_cluster(broker: &Broker) -> i16 {
    let mut asked = 0;
    for v in versions(ApiKey::ApiVersions) {
        let body = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str("every-version"))
            .with_client_software_version(StrBytes::from_static_str("1"));
        let answer: ApiVersionsResponse = ask(broker, ApiKey::ApiVersions, v, &body);
        assert_eq!(answer.api_keys.len(), api_table::APIS.len());
        asked += 1;
    }
    for v in versions(ApiKey::FindCoordinator) {
        let key = StrBytes::from_static_str("group");
        let body = if v < 4 {
            FindCoordinatorRequest::default().with_key(key)
        } else {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![key])
        };
        let answer: FindCoordinatorResponse = ask(broker, ApiKey::FindCoordinator, v, &body);
        let code = answer
            .coordinators
            .first()
            .map_or(answer.error_code, |c| c.error_code);
        assert_eq!(code, 0, "FindCoordinator {v}");
        asked += 1;
    }
    for v in versions(ApiKey::DescribeCluster) {
        let body = DescribeClusterRequest::default();
        let answer: DescribeClusterResponse = ask(broker, ApiKey::DescribeCluster, v, &body);
        assert_eq!(
            (answer.error_code, answer.brokers.len()),
            (0, 1),
            "DescribeCluster {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::DescribeLogDirs) {
        let body = DescribeLogDirsRequest::default().with_topics(None);
        let answer: DescribeLogDirsResponse = ask(broker, ApiKey::DescribeLogDirs, v, &body);
        let dir = answer.results.first().unwrap();
        let found = dir
            .topics
            .iter()
            .find(|topic| topic.name == name())
            .unwrap();
        assert!(
            found.partitions.first().unwrap().partition_size > 0,
            "DescribeLogDirs {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::AlterReplicaLogDirs) {
        let topic = AlterReplicaLogDirTopic::default()
            .with_name(name())
            .with_partitions(vec![0]);
        let dir = AlterReplicaLogDir::default()
            .with_path(StrBytes::from_static_str("/elsewhere"))
            .with_topics(vec![topic]);
        let body = AlterReplicaLogDirsRequest::default().with_dirs(vec![dir]);
        let answer: AlterReplicaLogDirsResponse =
            ask(broker, ApiKey::AlterReplicaLogDirs, v, &body);
        let partition = answer.results.first().unwrap().partitions.first().unwrap();
        assert_eq!(partition.error_code, 57, "LOG_DIR_NOT_FOUND, {v}");
        asked += 1;
    }
    for v in versions(ApiKey::DescribeQuorum) {
        let topic = describe_quorum_request::TopicData::default()
            .with_topic_name(TopicName(StrBytes::from_static_str("__cluster_metadata")))
            .with_partitions(vec![describe_quorum_request::PartitionData::default()]);
        let body = DescribeQuorumRequest::default().with_topics(vec![topic]);
        let answer: DescribeQuorumResponse = ask(broker, ApiKey::DescribeQuorum, v, &body);
        let partition = answer.topics.first().unwrap().partitions.first().unwrap();
        assert_eq!(
            (partition.error_code, partition.current_voters.len()),
            (0, 1),
            "DescribeQuorum {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::UpdateFeatures) {
        let body = UpdateFeaturesRequest::default().with_timeout_ms(1_000);
        let answer: UpdateFeaturesResponse = ask(broker, ApiKey::UpdateFeatures, v, &body);
        assert_eq!(answer.error_code, 0, "UpdateFeatures {v}");
        asked += 1;
    }
    asked
}

/// A request that the codec does not have.
struct Raw(Vec<u8>);

impl Encodable for Raw {
    fn encode<B: kafka_compat::protocol::protocol::buf::ByteBufMut>(
        &self,
        out: &mut B,
        _version: i16,
    ) -> anyhow::Result<()> {
        out.put_slice(&self.0);
        Ok(())
    }

    fn compute_size(&self, _version: i16) -> anyhow::Result<usize> {
        Ok(self.0.len())
    }
}

const GROUP: &str = "versions-group";

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str(GROUP))
}

/// A string of the flexible form.
fn compact(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len() + 1).unwrap();
    [&[len], text.as_bytes()].concat()
}

/// What a group's members ask, one after another, in each version.
fn of_groups(broker: &Broker, topic_id: uuid::Uuid) -> i16 {
    of_members(broker)
        + of_commits(broker, topic_id)
        + of_all_groups(broker)
        + of_consumer_groups(broker)
}

fn of_members(broker: &Broker) -> i16 {
    let mut asked = 0;
    let nobody = StrBytes::from_static_str("nobody");
    let unknown = 25;
    for v in versions(ApiKey::JoinGroup) {
        let protocol = join_group_request::JoinGroupRequestProtocol::default()
            .with_name(StrBytes::from_static_str("range"));
        let body = JoinGroupRequest::default()
            .with_group_id(group())
            .with_session_timeout_ms(10_000)
            .with_rebalance_timeout_ms(10_000)
            .with_member_id(nobody.clone())
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![protocol]);
        let answer: JoinGroupResponse = ask(broker, ApiKey::JoinGroup, v, &body);
        assert_eq!(answer.error_code, unknown, "JoinGroup {v}");
        asked += 1;
    }
    for v in versions(ApiKey::SyncGroup) {
        let mut body = SyncGroupRequest::default()
            .with_group_id(group())
            .with_member_id(nobody.clone());
        if v >= 5 {
            body = body
                .with_protocol_type(Some(StrBytes::from_static_str("consumer")))
                .with_protocol_name(Some(StrBytes::from_static_str("range")));
        }
        let answer: SyncGroupResponse = ask(broker, ApiKey::SyncGroup, v, &body);
        assert_eq!(answer.error_code, unknown, "SyncGroup {v}");
        asked += 1;
    }
    for v in versions(ApiKey::Heartbeat) {
        let body = HeartbeatRequest::default()
            .with_group_id(group())
            .with_member_id(nobody.clone());
        let answer: HeartbeatResponse = ask(broker, ApiKey::Heartbeat, v, &body);
        assert_eq!(answer.error_code, unknown, "Heartbeat {v}");
        asked += 1;
    }
    for v in versions(ApiKey::LeaveGroup) {
        let body = LeaveGroupRequest::default().with_group_id(group());
        let body = if v < 3 {
            body.with_member_id(nobody.clone())
        } else {
            let member = leave_group_request::MemberIdentity::default();
            body.with_members(vec![member.with_member_id(nobody.clone())])
        };
        let answer: LeaveGroupResponse = ask(broker, ApiKey::LeaveGroup, v, &body);
        let code = answer
            .members
            .first()
            .map_or(answer.error_code, |m| m.error_code);
        assert_eq!(code, unknown, "LeaveGroup {v}");
        asked += 1;
    }
    asked
}

fn of_commits(broker: &Broker, topic_id: uuid::Uuid) -> i16 {
    let mut asked = 0;
    for v in versions(ApiKey::OffsetCommit) {
        let answer: OffsetCommitResponse = if v < 10 {
            let partition = offset_commit_request::OffsetCommitRequestPartition::default()
                .with_committed_offset(i64::from(v));
            let topic = offset_commit_request::OffsetCommitRequestTopic::default()
                .with_name(name())
                .with_partitions(vec![partition]);
            let body = OffsetCommitRequest::default()
                .with_group_id(group())
                .with_topics(vec![topic]);
            ask(broker, ApiKey::OffsetCommit, v, &body)
        } else {
            // Group, generation, member, no instance; one topic by id; one partition: offset 10, no epoch, no metadata.
            let body = [
                compact(GROUP),
                (-1i32).to_be_bytes().to_vec(),
                vec![1, 0, 2],
                topic_id.as_bytes().to_vec(),
                vec![2],
                0i32.to_be_bytes().to_vec(),
                10i64.to_be_bytes().to_vec(),
                (-1i32).to_be_bytes().to_vec(),
                vec![0, 0, 0, 0],
            ];
            ask(broker, ApiKey::OffsetCommit, v, &Raw(body.concat()))
        };
        let partitions = &answer.topics.first().unwrap().partitions;
        assert_eq!(
            partitions.first().unwrap().error_code,
            0,
            "OffsetCommit {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::OffsetFetch) {
        let answer: OffsetFetchResponse = if v < 8 {
            let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(name())
                .with_partition_indexes(vec![0]);
            let body = OffsetFetchRequest::default()
                .with_group_id(group())
                .with_topics(Some(vec![topic]));
            ask(broker, ApiKey::OffsetFetch, v, &body)
        } else if v < 10 {
            let topic = offset_fetch_request::OffsetFetchRequestTopics::default()
                .with_name(name())
                .with_partition_indexes(vec![0]);
            let of_group = offset_fetch_request::OffsetFetchRequestGroup::default()
                .with_group_id(group())
                .with_topics(Some(vec![topic]));
            let body = OffsetFetchRequest::default().with_groups(vec![of_group]);
            ask(broker, ApiKey::OffsetFetch, v, &body)
        } else {
            // One group, no member; one topic by id; one partition; nothing needs to be stable.
            let body = [
                vec![2],
                compact(GROUP),
                vec![0],
                (-1i32).to_be_bytes().to_vec(),
                vec![2],
                topic_id.as_bytes().to_vec(),
                vec![2],
                0i32.to_be_bytes().to_vec(),
                vec![0, 0, 0, 0],
            ];
            ask(broker, ApiKey::OffsetFetch, v, &Raw(body.concat()))
        };
        let single = answer
            .topics
            .first()
            .map(|t| t.partitions.first().unwrap().committed_offset);
        let batched = answer.groups.first().map(|g| {
            let partitions = &g.topics.first().unwrap().partitions;
            partitions.first().unwrap().committed_offset
        });
        assert_eq!(single.or(batched), Some(10), "OffsetFetch {v}");
        asked += 1;
    }
    for v in versions(ApiKey::OffsetDelete) {
        let partition = offset_delete_request::OffsetDeleteRequestPartition::default();
        let topic = offset_delete_request::OffsetDeleteRequestTopic::default()
            .with_name(name())
            .with_partitions(vec![partition]);
        let body = OffsetDeleteRequest::default()
            .with_group_id(group())
            .with_topics(vec![topic]);
        let answer: OffsetDeleteResponse = ask(broker, ApiKey::OffsetDelete, v, &body);
        assert_eq!(answer.error_code, 0, "OffsetDelete {v}");
        asked += 1;
    }
    asked
}

fn of_all_groups(broker: &Broker) -> i16 {
    let mut asked = 0;
    for v in versions(ApiKey::DescribeGroups) {
        let body = DescribeGroupsRequest::default().with_groups(vec![group()]);
        let answer: DescribeGroupsResponse = ask(broker, ApiKey::DescribeGroups, v, &body);
        let described = answer.groups.first().unwrap();
        assert_eq!(
            described.group_state.as_str(),
            "Empty",
            "DescribeGroups {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::ListGroups) {
        let body = ListGroupsRequest::default();
        let answer: ListGroupsResponse = ask(broker, ApiKey::ListGroups, v, &body);
        assert_eq!(answer.groups.len(), 1, "ListGroups {v}");
        asked += 1;
    }
    for v in versions(ApiKey::DeleteGroups) {
        let missing = GroupId(StrBytes::from_static_str("missing"));
        let body = DeleteGroupsRequest::default().with_groups_names(vec![missing]);
        let answer: DeleteGroupsResponse = ask(broker, ApiKey::DeleteGroups, v, &body);
        assert_eq!(
            answer.results.first().unwrap().error_code,
            69,
            "DeleteGroups {v}"
        );
        asked += 1;
    }
    asked
}

fn of_consumer_groups(broker: &Broker) -> i16 {
    let mut asked = 0;
    let id = GroupId(StrBytes::from_static_str("versions-consumers"));
    for v in versions(ApiKey::ConsumerGroupHeartbeat) {
        let body = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(id.clone())
            .with_member_id(StrBytes::from_static_str("member"))
            .with_rebalance_timeout_ms(10_000)
            .with_subscribed_topic_names(Some(vec![TopicName(StrBytes::from_static_str(TOPIC))]))
            .with_topic_partitions(Some(Vec::new()));
        let answer: ConsumerGroupHeartbeatResponse =
            ask(broker, ApiKey::ConsumerGroupHeartbeat, v, &body);
        assert_eq!(answer.error_code, 0, "ConsumerGroupHeartbeat {v}");
        let assignment = answer.assignment.unwrap();
        assert_eq!(
            assignment.topic_partitions.len(),
            1,
            "ConsumerGroupHeartbeat {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::ConsumerGroupDescribe) {
        let body = ConsumerGroupDescribeRequest::default().with_group_ids(vec![id.clone()]);
        let answer: ConsumerGroupDescribeResponse =
            ask(broker, ApiKey::ConsumerGroupDescribe, v, &body);
        let described = answer.groups.first().unwrap();
        assert_eq!(
            described.group_state.as_str(),
            "Stable",
            "ConsumerGroupDescribe {v}"
        );
        assert_eq!(described.members.len(), 1, "ConsumerGroupDescribe {v}");
        asked += 1;
    }
    asked
}

#[tokio::test]
async fn every_version_of_every_api_is_answered_whole() {
    let broker = Broker::start(&["transaction.state.log.num.partitions=1"]).unwrap();
    client::create_topic(&broker.kafka, TOPIC, &[])
        .await
        .unwrap();
    client::warm_up(&broker.kafka, TOPIC).unwrap();
    client::read_all(&broker.kafka, TOPIC, Duration::from_secs(10)).unwrap();
    let (asked, topic_id) = of_metadata(&broker);
    let asked = asked
        + of_records(&broker, topic_id)
        + of_offsets(&broker)
        + of_topics(&broker)
        + of_configs(&broker)
        + of_the_cluster(&broker)
        + of_groups(&broker, topic_id)
        + transactions::of_transactions(&broker);
    let all: i16 = api_table::APIS
        .iter()
        .map(|api| api.max - api.min + 1)
        .sum();
    assert_eq!(asked, all, "an API of the table is not asked here");
}
