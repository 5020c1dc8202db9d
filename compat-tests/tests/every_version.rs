//! Every version of every API in the table is answered, and the answer is one that a client of that version reads to its last
//! byte. Method: requests by the codec, one connection each, answers decoded by the codec's client half.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

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
            create_partitions_request::CreatePartitionsTopic,
            create_topics_request::CreatableTopic,
            delete_topics_request::DeleteTopicState,
            describe_configs_request::DescribeConfigsResource,
            describe_topic_partitions_request::TopicRequest,
            fetch_request::{FetchPartition, FetchTopic},
            list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
            metadata_request::MetadataRequestTopic,
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
    body.encode(&mut out, version).unwrap();
    let len = i32::try_from(out.len() - 4).unwrap();
    out.get_mut(..4)
        .unwrap()
        .copy_from_slice(&len.to_be_bytes());
    out.freeze()
}

/// Asks, and decodes the answer; nothing may be left of it.
fn ask<A: Decodable>(broker: &Broker, api: ApiKey, version: i16, body: &impl Encodable) -> A {
    let Reaction::Answered(answer) = send(&broker.kafka, &frame(api, version, body)).unwrap()
    else {
        panic!("{api:?} version {version}: no answer\n{}", broker.log());
    };
    let mut answer = Bytes::from(answer);
    let header = ResponseHeader::decode(&mut answer, api.response_header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 7);
    let decoded = A::decode(&mut answer, version)
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

#[expect(
    clippy::too_many_lines,
    reason = "a block an API; one broker serves all"
)]
#[tokio::test]
async fn every_version_of_every_api_is_answered_whole() {
    let broker = Broker::start(&[]).unwrap();
    client::create_topic(&broker.kafka, TOPIC, &[])
        .await
        .unwrap();
    client::warm_up(&broker.kafka, TOPIC).unwrap();
    client::read_all(&broker.kafka, TOPIC, Duration::from_secs(10)).unwrap();
    let mut asked = 0;

    let mut topic_id = uuid::Uuid::nil();
    for v in versions(ApiKey::Metadata) {
        let topic = MetadataRequestTopic::default().with_name(Some(name()));
        let body = MetadataRequest::default().with_topics(Some(vec![topic]));
        let answer: MetadataResponse = ask(&broker, ApiKey::Metadata, v, &body);
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
    for v in versions(ApiKey::ApiVersions) {
        let body = ApiVersionsRequest::default();
        let answer: ApiVersionsResponse = ask(&broker, ApiKey::ApiVersions, v, &body);
        assert_eq!(answer.api_keys.len(), api_table::APIS.len());
        asked += 1;
    }
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
        let answer: ProduceResponse = ask(&broker, ApiKey::Produce, v, &body);
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
        let answer: FetchResponse = ask(&broker, ApiKey::Fetch, v, &body);
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
    for v in versions(ApiKey::ListOffsets) {
        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let topic = ListOffsetsTopic::default()
            .with_name(name())
            .with_partitions(vec![partition]);
        let body = ListOffsetsRequest::default().with_topics(vec![topic]);
        let answer: ListOffsetsResponse = ask(&broker, ApiKey::ListOffsets, v, &body);
        let partition = answer.topics.first().unwrap().partitions.first().unwrap();
        assert_eq!(
            (partition.error_code, partition.offset),
            (0, 1),
            "ListOffsets {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::FindCoordinator) {
        let key = StrBytes::from_static_str("group");
        let body = if v < 4 {
            FindCoordinatorRequest::default().with_key(key)
        } else {
            FindCoordinatorRequest::default().with_coordinator_keys(vec![key])
        };
        let answer: FindCoordinatorResponse = ask(&broker, ApiKey::FindCoordinator, v, &body);
        let code = answer
            .coordinators
            .first()
            .map_or(answer.error_code, |c| c.error_code);
        assert_eq!(code, 15, "FindCoordinator {v}");
        asked += 1;
    }
    for v in versions(ApiKey::InitProducerId) {
        let body = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(1_000);
        let answer: InitProducerIdResponse = ask(&broker, ApiKey::InitProducerId, v, &body);
        assert_eq!(
            (answer.error_code, answer.producer_epoch),
            (0, 0),
            "InitProducerId {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::CreateTopics) {
        let topic = CreatableTopic::default()
            .with_name(TopicName(StrBytes::from_string(format!("made-{v}"))))
            .with_num_partitions(2)
            .with_replication_factor(1);
        let body = CreateTopicsRequest::default().with_topics(vec![topic]);
        let answer: CreateTopicsResponse = ask(&broker, ApiKey::CreateTopics, v, &body);
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
        let answer: CreatePartitionsResponse = ask(&broker, ApiKey::CreatePartitions, v, &body);
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
        let answer: DeleteTopicsResponse = ask(&broker, ApiKey::DeleteTopics, v, &body);
        assert_eq!(
            answer.responses.first().unwrap().error_code,
            0,
            "DeleteTopics {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::DescribeConfigs) {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(StrBytes::from_static_str(TOPIC))
            .with_configuration_keys(None);
        let body = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer: DescribeConfigsResponse = ask(&broker, ApiKey::DescribeConfigs, v, &body);
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
        let answer: AlterConfigsResponse = ask(&broker, ApiKey::AlterConfigs, v, &body);
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
            ask(&broker, ApiKey::IncrementalAlterConfigs, v, &body);
        assert_eq!(answer.responses.first().unwrap().error_code, 0);
        asked += 1;
    }
    for v in versions(ApiKey::DescribeCluster) {
        let body = DescribeClusterRequest::default();
        let answer: DescribeClusterResponse = ask(&broker, ApiKey::DescribeCluster, v, &body);
        assert_eq!(
            (answer.error_code, answer.brokers.len()),
            (0, 1),
            "DescribeCluster {v}"
        );
        asked += 1;
    }
    for v in versions(ApiKey::DescribeTopicPartitions) {
        let topic = TopicRequest::default().with_name(name());
        let body = DescribeTopicPartitionsRequest::default()
            .with_topics(vec![topic])
            .with_response_partition_limit(10);
        let answer: DescribeTopicPartitionsResponse =
            ask(&broker, ApiKey::DescribeTopicPartitions, v, &body);
        assert_eq!(answer.topics.first().unwrap().error_code, 0);
        asked += 1;
    }
    let all: i16 = api_table::APIS
        .iter()
        .map(|api| api.max - api.min + 1)
        .sum();
    assert_eq!(asked, all, "an API of the table is not asked here");
}
