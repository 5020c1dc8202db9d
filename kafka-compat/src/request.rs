//! Decoded requests: one variant per API.

use std::net::SocketAddr;

use bytes::Bytes;
use kafka_protocol::{
    messages::{
        AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, AlterConfigsRequest,
        AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, ApiKey, ApiVersionsRequest,
        ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest,
        CreateTopicsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
        DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest,
        DescribeLogDirsRequest, DescribeProducersRequest, DescribeQuorumRequest,
        DescribeTopicPartitionsRequest, DescribeTransactionsRequest, ElectLeadersRequest,
        EndTxnRequest, FetchRequest, FindCoordinatorRequest, HeartbeatRequest,
        IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
        ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
        ListPartitionReassignmentsRequest, ListTransactionsRequest, MetadataRequest,
        OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest,
        ProduceRequest, SyncGroupRequest, TxnOffsetCommitRequest, UpdateFeaturesRequest,
    },
    protocol::Decodable,
};
use thiserror::Error;

use crate::{
    api_table, guard,
    header::RequestHeader,
    marker_request::{self, MarkerRequest},
    offset_requests,
};

/// A request that was decoded.
#[derive(Debug)]
pub struct Request {
    /// Which API.
    pub api: ApiKey,
    /// Which version.
    pub version: i16,
    /// Its header.
    pub header: RequestHeader,
    /// Its body.
    pub body: RequestBody,
    /// Who sent it.
    pub peer: SocketAddr,
}

/// Why a body is not understood; the connection is closed.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Its shape is not that of the API and version.
    #[error("{0}")]
    Refused(#[from] guard::Refused),
    /// The codec refused what the guard let through.
    #[error("{0:#}")]
    Codec(String),
    /// ApiVersions is answered before this, other APIs are not in the table.
    #[error("the API is not answered here")]
    Unknown,
}

macro_rules! bodies {
    ($($variant:ident($request:ty)),* $(,)? ; $($own:ident($own_request:ty)),* $(,)?) => {
        /// A request's body.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each variant is the API of its name")]
        pub enum RequestBody {
            $($variant($request),)*
            $($own($own_request),)*
        }

        impl RequestBody {
            /// Guards and decodes a body.
            pub fn decode(api: ApiKey, version: i16, mut body: Bytes) -> Result<Self, DecodeError> {
                guard::check(api as i16, version, &body)?;
                if let Some(decoded) = offset_requests::decode(api, version, &body) {
                    return decoded.map_err(|why| DecodeError::Codec(why.to_owned()));
                }
                if api == ApiKey::WriteTxnMarkers {
                    let decoded = marker_request::decode(version, body);
                    let decoded = decoded.map(Self::WriteTxnMarkers);
                    return decoded.ok_or_else(|| DecodeError::Codec("the request is cut off".into()));
                }
                match api {
                    $(ApiKey::$variant => <$request>::decode(&mut body, api_table::codec_version(api, version))
                        .map(Self::$variant)
                        .map_err(|e| DecodeError::Codec(e.to_string())),)*
                    _ => Err(DecodeError::Unknown),
                }
            }
        }
    };
}

bodies! {
    Produce(ProduceRequest),
    Fetch(FetchRequest),
    ListOffsets(ListOffsetsRequest),
    Metadata(MetadataRequest),
    FindCoordinator(FindCoordinatorRequest),
    ApiVersions(ApiVersionsRequest),
    CreateTopics(CreateTopicsRequest),
    DeleteTopics(DeleteTopicsRequest),
    InitProducerId(InitProducerIdRequest),
    DescribeConfigs(DescribeConfigsRequest),
    AlterConfigs(AlterConfigsRequest),
    CreatePartitions(CreatePartitionsRequest),
    IncrementalAlterConfigs(IncrementalAlterConfigsRequest),
    DescribeCluster(DescribeClusterRequest),
    DescribeTopicPartitions(DescribeTopicPartitionsRequest),
    DeleteRecords(DeleteRecordsRequest),
    OffsetForLeaderEpoch(OffsetForLeaderEpochRequest),
    AlterReplicaLogDirs(AlterReplicaLogDirsRequest),
    DescribeLogDirs(DescribeLogDirsRequest),
    ElectLeaders(ElectLeadersRequest),
    AlterPartitionReassignments(AlterPartitionReassignmentsRequest),
    ListPartitionReassignments(ListPartitionReassignmentsRequest),
    DescribeQuorum(DescribeQuorumRequest),
    UpdateFeatures(UpdateFeaturesRequest),
    DescribeProducers(DescribeProducersRequest),
    ListConfigResources(ListConfigResourcesRequest),
    OffsetCommit(OffsetCommitRequest),
    OffsetFetch(OffsetFetchRequest),
    JoinGroup(JoinGroupRequest),
    Heartbeat(HeartbeatRequest),
    LeaveGroup(LeaveGroupRequest),
    SyncGroup(SyncGroupRequest),
    DescribeGroups(DescribeGroupsRequest),
    ListGroups(ListGroupsRequest),
    DeleteGroups(DeleteGroupsRequest),
    OffsetDelete(OffsetDeleteRequest),
    AddPartitionsToTxn(AddPartitionsToTxnRequest),
    AddOffsetsToTxn(AddOffsetsToTxnRequest),
    EndTxn(EndTxnRequest),
    TxnOffsetCommit(TxnOffsetCommitRequest),
    DescribeTransactions(DescribeTransactionsRequest),
    ListTransactions(ListTransactionsRequest),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatRequest),
    ConsumerGroupDescribe(ConsumerGroupDescribeRequest),
    ;
    WriteTxnMarkers(MarkerRequest),
}
