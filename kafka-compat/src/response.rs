//! Answers: encoded into one buffer, except Fetch, whose records stay where they are.

use bytes::{BufMut, BytesMut};
use kafka_protocol::{
    messages::{
        AddOffsetsToTxnResponse, AddPartitionsToTxnResponse, AlterConfigsResponse,
        AlterPartitionReassignmentsResponse, AlterReplicaLogDirsResponse, ApiKey,
        ApiVersionsResponse, ConsumerGroupDescribeResponse, ConsumerGroupHeartbeatResponse,
        CreatePartitionsResponse, CreateTopicsResponse, DeleteGroupsResponse,
        DeleteRecordsResponse, DeleteTopicsResponse, DescribeClusterResponse,
        DescribeConfigsResponse, DescribeGroupsResponse, DescribeLogDirsResponse,
        DescribeProducersResponse, DescribeQuorumResponse, DescribeTopicPartitionsResponse,
        DescribeTransactionsResponse, ElectLeadersResponse, EndTxnResponse,
        FindCoordinatorResponse, HeartbeatResponse, IncrementalAlterConfigsResponse,
        InitProducerIdResponse, JoinGroupResponse, LeaveGroupResponse, ListConfigResourcesResponse,
        ListGroupsResponse, ListOffsetsResponse, ListPartitionReassignmentsResponse,
        ListTransactionsResponse, MetadataResponse, OffsetCommitResponse, OffsetDeleteResponse,
        OffsetFetchResponse, OffsetForLeaderEpochResponse, ProduceResponse, SyncGroupResponse,
        TxnOffsetCommitResponse, UpdateFeaturesResponse, WriteTxnMarkersResponse,
    },
    protocol::Encodable,
};
use storage::log::Chunk;
use thiserror::Error;

use crate::{api_table, fetch_response::FetchBody, log_dirs_response};

/// An answer that could not be encoded: a defect of ours; the connection is closed.
#[derive(Debug, Error)]
#[error("encoding the answer: {0}")]
pub struct EncodeError(pub(crate) String);

macro_rules! bodies {
    ($($variant:ident($response:ty)),* $(,)?) => {
        /// An answer.
        #[derive(Debug)]
        #[expect(missing_docs, reason = "each variant is the API of its name")]
        pub enum Response {
            Fetch(FetchBody),
            $($variant($response),)*
        }

        impl From<FetchBody> for Response {
            fn from(body: FetchBody) -> Self {
                Self::Fetch(body)
            }
        }

        $(impl From<$response> for Response {
            fn from(body: $response) -> Self {
                Self::$variant(body)
            }
        })*

        impl Response {
            fn encode_body(&self, out: &mut BytesMut, version: i16) -> Result<(), EncodeError> {
                match self {
                    Self::Fetch(_) => Ok(()),
                    $(Self::$variant(body) => {
                        let version = api_table::codec_version(ApiKey::$variant, version);
                        body.encode(out, version).map_err(|e| EncodeError(e.to_string()))
                    })*
                }
            }
        }
    };
}

bodies! {
    Produce(ProduceResponse),
    ListOffsets(ListOffsetsResponse),
    Metadata(MetadataResponse),
    FindCoordinator(FindCoordinatorResponse),
    ApiVersions(ApiVersionsResponse),
    CreateTopics(CreateTopicsResponse),
    DeleteTopics(DeleteTopicsResponse),
    InitProducerId(InitProducerIdResponse),
    DescribeConfigs(DescribeConfigsResponse),
    AlterConfigs(AlterConfigsResponse),
    CreatePartitions(CreatePartitionsResponse),
    IncrementalAlterConfigs(IncrementalAlterConfigsResponse),
    DescribeCluster(DescribeClusterResponse),
    DescribeTopicPartitions(DescribeTopicPartitionsResponse),
    DeleteRecords(DeleteRecordsResponse),
    OffsetForLeaderEpoch(OffsetForLeaderEpochResponse),
    AlterReplicaLogDirs(AlterReplicaLogDirsResponse),
    DescribeLogDirs(DescribeLogDirsResponse),
    ElectLeaders(ElectLeadersResponse),
    AlterPartitionReassignments(AlterPartitionReassignmentsResponse),
    ListPartitionReassignments(ListPartitionReassignmentsResponse),
    DescribeQuorum(DescribeQuorumResponse),
    UpdateFeatures(UpdateFeaturesResponse),
    DescribeProducers(DescribeProducersResponse),
    ListConfigResources(ListConfigResourcesResponse),
    OffsetCommit(OffsetCommitResponse),
    OffsetFetch(OffsetFetchResponse),
    JoinGroup(JoinGroupResponse),
    Heartbeat(HeartbeatResponse),
    LeaveGroup(LeaveGroupResponse),
    SyncGroup(SyncGroupResponse),
    DescribeGroups(DescribeGroupsResponse),
    ListGroups(ListGroupsResponse),
    DeleteGroups(DeleteGroupsResponse),
    OffsetDelete(OffsetDeleteResponse),
    AddPartitionsToTxn(AddPartitionsToTxnResponse),
    AddOffsetsToTxn(AddOffsetsToTxnResponse),
    EndTxn(EndTxnResponse),
    WriteTxnMarkers(WriteTxnMarkersResponse),
    TxnOffsetCommit(TxnOffsetCommitResponse),
    DescribeTransactions(DescribeTransactionsResponse),
    ListTransactions(ListTransactionsResponse),
    ConsumerGroupHeartbeat(ConsumerGroupHeartbeatResponse),
    ConsumerGroupDescribe(ConsumerGroupDescribeResponse),
}

impl Response {
    /// The whole frame, in parts: length, header and body.
    pub fn into_frame(
        self,
        api: ApiKey,
        version: i16,
        correlation_id: i32,
    ) -> Result<Vec<Chunk>, EncodeError> {
        let mut head = BytesMut::with_capacity(256);
        head.put_u32(0);
        head.put_i32(correlation_id);
        // ApiVersions always has header v0: a client that does not know our versions must still read it (KIP-511).
        if api != ApiKey::ApiVersions && api.response_header_version(version) >= 1 {
            head.put_u8(0);
        }
        let mut chunks = Vec::new();
        if let Self::Fetch(body) = self {
            body.encode(head, version, &mut chunks);
        } else {
            match &self {
                Self::DescribeLogDirs(body) if version >= log_dirs_response::OWN_VERSION => {
                    log_dirs_response::encode(body, &mut head);
                }
                _ => self.encode_body(&mut head, version)?,
            }
            chunks.push(Chunk::Bytes(head.freeze()));
        }
        let len: usize = chunks.iter().map(Chunk::len).sum();
        set_length(&mut chunks, len)?;
        Ok(chunks)
    }

    /// The first error code in it, for the metrics.
    #[expect(clippy::too_many_lines, reason = "an arm for each API")]
    pub fn first_error(&self) -> Option<i16> {
        let error = |code: i16| (code != 0).then_some(code);
        let code = match self {
            Self::Fetch(body) => body.first_error(),
            Self::Produce(body) => body
                .responses
                .iter()
                .flat_map(|t| &t.partition_responses)
                .map(|p| p.error_code)
                .find(|code| *code != 0),
            Self::Metadata(body) => body
                .topics
                .iter()
                .map(|t| t.error_code)
                .find(|code| *code != 0),
            Self::ListOffsets(body) => body
                .topics
                .iter()
                .flat_map(|t| &t.partitions)
                .map(|p| p.error_code)
                .find(|c| *c != 0),
            Self::CreateTopics(body) => body.topics.iter().map(|t| t.error_code).find(|c| *c != 0),
            Self::DeleteTopics(body) => body
                .responses
                .iter()
                .map(|t| t.error_code)
                .find(|c| *c != 0),
            Self::CreatePartitions(body) => {
                body.results.iter().map(|t| t.error_code).find(|c| *c != 0)
            }
            Self::DescribeConfigs(body) => {
                body.results.iter().map(|t| t.error_code).find(|c| *c != 0)
            }
            Self::AlterConfigs(body) => body
                .responses
                .iter()
                .map(|r| r.error_code)
                .find(|c| *c != 0),
            Self::IncrementalAlterConfigs(body) => body
                .responses
                .iter()
                .map(|r| r.error_code)
                .find(|c| *c != 0),
            Self::InitProducerId(body) => Some(body.error_code),
            Self::FindCoordinator(body) => Some(body.error_code),
            Self::DescribeCluster(body) => Some(body.error_code),
            Self::ApiVersions(body) => Some(body.error_code),
            Self::DeleteRecords(body) => {
                let mut partitions = body.topics.iter().flat_map(|t| &t.partitions);
                partitions.find_map(|p| error(p.error_code))
            }
            Self::OffsetForLeaderEpoch(body) => {
                let mut partitions = body.topics.iter().flat_map(|t| &t.partitions);
                partitions.find_map(|p| error(p.error_code))
            }
            Self::AlterReplicaLogDirs(body) => {
                let mut partitions = body.results.iter().flat_map(|t| &t.partitions);
                partitions.find_map(|p| error(p.error_code))
            }
            Self::DescribeLogDirs(body) => body.results.iter().find_map(|r| error(r.error_code)),
            Self::ElectLeaders(body) => Some(body.error_code),
            Self::AlterPartitionReassignments(body) => {
                let mut partitions = body.responses.iter().flat_map(|t| &t.partitions);
                partitions.find_map(|p| error(p.error_code))
            }
            Self::ListPartitionReassignments(body) => Some(body.error_code),
            Self::DescribeQuorum(body) => Some(body.error_code),
            Self::UpdateFeatures(body) => Some(body.error_code),
            Self::DescribeProducers(body) => {
                let mut partitions = body.topics.iter().flat_map(|t| &t.partitions);
                partitions.find_map(|p| error(p.error_code))
            }
            Self::ListConfigResources(body) => Some(body.error_code),
            Self::OffsetCommit(body) => {
                let mut partitions = body.topics.iter().flat_map(|t| &t.partitions);
                partitions.find_map(|p| error(p.error_code))
            }
            Self::OffsetFetch(body) => {
                let mut groups = body.groups.iter();
                groups
                    .find_map(|g| error(g.error_code))
                    .or(Some(body.error_code))
            }
            Self::JoinGroup(body) => Some(body.error_code),
            Self::Heartbeat(body) => Some(body.error_code),
            Self::LeaveGroup(body) => Some(body.error_code),
            Self::SyncGroup(body) => Some(body.error_code),
            Self::DescribeGroups(body) => body.groups.iter().find_map(|g| error(g.error_code)),
            Self::ListGroups(body) => Some(body.error_code),
            Self::DeleteGroups(body) => body.results.iter().find_map(|r| error(r.error_code)),
            Self::OffsetDelete(body) => Some(body.error_code),
            Self::AddPartitionsToTxn(body) => {
                let of_transactions = body.results_by_transaction.iter();
                let mut topics = of_transactions
                    .flat_map(|t| &t.topic_results)
                    .chain(&body.results_by_topic_v3_and_below)
                    .flat_map(|t| &t.results_by_partition);
                topics.find_map(|p| error(p.partition_error_code))
            }
            Self::AddOffsetsToTxn(body) => Some(body.error_code),
            Self::EndTxn(body) => Some(body.error_code),
            Self::WriteTxnMarkers(body) => {
                let topics = body.markers.iter().flat_map(|m| &m.topics);
                topics
                    .flat_map(|t| &t.partitions)
                    .find_map(|p| error(p.error_code))
            }
            Self::TxnOffsetCommit(body) => {
                let mut partitions = body.topics.iter().flat_map(|t| &t.partitions);
                partitions.find_map(|p| error(p.error_code))
            }
            Self::DescribeTransactions(body) => {
                let mut states = body.transaction_states.iter();
                states.find_map(|s| error(s.error_code))
            }
            Self::ListTransactions(body) => Some(body.error_code),
            Self::ConsumerGroupHeartbeat(body) => Some(body.error_code),
            Self::ConsumerGroupDescribe(body) => {
                body.groups.iter().find_map(|g| error(g.error_code))
            }
            Self::DescribeTopicPartitions(body) => {
                body.topics.iter().map(|t| t.error_code).find(|c| *c != 0)
            }
        };
        code.filter(|code| *code != 0)
    }
}

fn set_length(chunks: &mut [Chunk], total: usize) -> Result<(), EncodeError> {
    let len = total
        .checked_sub(4)
        .and_then(|n| i32::try_from(n).ok())
        .ok_or_else(|| EncodeError(format!("{total} bytes do not fit a frame")))?;
    if let Some(Chunk::Bytes(first)) = chunks.first_mut() {
        let mut bytes = BytesMut::from(std::mem::take(first));
        if let Some(prefix) = bytes.get_mut(..4) {
            prefix.copy_from_slice(&len.to_be_bytes());
        }
        *first = bytes.freeze();
    }
    Ok(())
}
