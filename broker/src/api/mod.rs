//! Kafka's APIs: one match, one file per API.
//!
//! Each file opens with its versions, what it does and what is not done yet. Handlers read the metadata image and the
//! partitions; only the metadata controller proposes changes. Produce applies its batches before it returns, so that
//! requests of a connection take effect in order; what waits (for a commit, for bytes) waits in a [`Reply::Later`].

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod authorized;
mod auto_create;
mod broker_logger;
mod config_change;
pub(crate) mod consumer_group_describe;
mod consumer_group_heartbeat;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_groups;
pub(crate) mod delete_records;
pub(crate) mod delete_topics;
mod describe_cluster;
mod describe_configs;
pub(crate) mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_transactions;
mod elect_leaders;
mod end_txn;
pub(crate) mod error_code;
mod fetch;
mod fetch_session;
mod find_coordinator;
mod group_config;
mod group_id;
mod heartbeat;
pub(crate) mod incremental_alter_configs;
mod init_producer_id;
pub(crate) mod internal_topics;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
pub(crate) mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod lookup;
mod metadata;
pub(crate) mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod repeated;
mod sync_group;
mod told_by_topic;
mod topic_name;
mod transactional;
mod txn_offset_commit;
mod update_features;
mod write_txn_markers;

pub use fetch_session::FetchSessions;
use group_id::Client;

use std::{net::IpAddr, sync::Arc, time::Duration};

use futures::FutureExt;
use kafka_compat::{
    protocol::messages::ApiKey,
    request::{Request, RequestBody},
    response::Response,
    server::Limits,
    service::{Reply, Service},
};
use scheduler::Clock;

use crate::{
    config::LiveConfig,
    dedup::DedupIndex,
    group::Groups,
    ids::ProducerIds,
    metadata::{Command, Metadata, MetadataError, Outcome},
    partition::Registry,
    replay::job::ReplayJobs,
    schedule::fire_loop::FireHandle,
    telemetry::{Loggers, Metrics},
    transaction::Transactions,
};

/// What handlers work with. Everything in it is a handle.
#[derive(Debug)]
pub struct Broker {
    /// This node's id.
    pub node_id: i32,
    /// The data folder, as DescribeLogDirs names it.
    pub log_dir: String,
    /// Settings.
    pub config: LiveConfig,
    /// Levels of log lines.
    pub loggers: Loggers,
    /// Cluster metadata.
    pub metadata: Metadata,
    /// Fetch sessions.
    pub fetch_sessions: FetchSessions,
    /// Open partitions.
    pub registry: Arc<Registry>,
    /// Who fires held records.
    pub fire: FireHandle,
    /// Consumer groups.
    pub groups: Groups,
    /// Transactions.
    pub transactions: Transactions,
    /// Producer ids to give out.
    pub producer_ids: Arc<ProducerIds>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Replay jobs.
    pub replay_jobs: ReplayJobs,
    /// Message ids.
    pub dedup: Arc<DedupIndex>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

impl Broker {
    /// Changes the metadata, and returns when the partitions of this node have followed it.
    async fn change_metadata(&self, command: Command) -> Result<Outcome, MetadataError> {
        let outcome = self.metadata.propose(command).await?;
        let version = self.metadata.image().version;
        self.registry.reconciled_to(version).await;
        Ok(outcome)
    }
}

/// The connection's view of the broker.
#[derive(Clone, Debug)]
pub struct KafkaService(pub Arc<Broker>);

impl Service for KafkaService {
    async fn call(&self, request: Request) -> Reply {
        let broker = Arc::clone(&self.0);
        let version = request.version;
        let client = Client::of(&request);
        match request.body {
            RequestBody::Produce(body) => produce::handle(&broker, version, body).await,
            RequestBody::Fetch(body) => later(fetch::handle(broker, version, body)),
            RequestBody::ListOffsets(body) => now(list_offsets::handle(&broker, version, &body)),
            RequestBody::Metadata(body) => now(metadata::handle(&broker, version, body).await),
            RequestBody::CreateTopics(body) => {
                now(create_topics::handle(&broker, version, body).await)
            }
            RequestBody::DeleteTopics(body) => {
                now(delete_topics::handle(&broker, version, body).await)
            }
            RequestBody::CreatePartitions(body) => {
                now(create_partitions::handle(&broker, body).await)
            }
            RequestBody::DescribeConfigs(body) => {
                now(describe_configs::handle(&broker, version, &body))
            }
            RequestBody::AlterConfigs(body) => now(alter_configs::handle(&broker, body).await),
            RequestBody::IncrementalAlterConfigs(body) => {
                now(incremental_alter_configs::handle(&broker, body).await)
            }
            RequestBody::InitProducerId(body) => {
                later(init_producer_id::handle(broker, version, body))
            }
            RequestBody::AddPartitionsToTxn(body) => {
                later(add_partitions_to_txn::handle(broker, version, body))
            }
            RequestBody::AddOffsetsToTxn(body) => {
                later(add_offsets_to_txn::handle(broker, version, body))
            }
            RequestBody::EndTxn(body) => later(end_txn::handle(broker, version, body)),
            RequestBody::TxnOffsetCommit(body) => {
                later(txn_offset_commit::handle(broker, version, body))
            }
            RequestBody::WriteTxnMarkers(body) => later(write_txn_markers::handle(broker, body)),
            RequestBody::DescribeTransactions(body) => {
                now(describe_transactions::handle(&broker, &body))
            }
            RequestBody::ListTransactions(body) => now(list_transactions::handle(&broker, &body)),
            RequestBody::DescribeCluster(body) => {
                now(describe_cluster::handle(&broker, version, &body))
            }
            RequestBody::DescribeTopicPartitions(body) => {
                now(describe_topic_partitions::handle(&broker, &body))
            }
            RequestBody::FindCoordinator(body) => {
                now(find_coordinator::handle(&broker, version, &body).await)
            }
            RequestBody::JoinGroup(body) => {
                later(join_group::handle(broker, version, client, body))
            }
            RequestBody::SyncGroup(body) => later(sync_group::handle(broker, version, body)),
            RequestBody::Heartbeat(body) => later(heartbeat::handle(broker, body)),
            RequestBody::LeaveGroup(body) => later(leave_group::handle(broker, version, body)),
            RequestBody::ConsumerGroupHeartbeat(body) => later(consumer_group_heartbeat::handle(
                broker, version, client, body,
            )),
            RequestBody::ConsumerGroupDescribe(body) => {
                now(consumer_group_describe::handle(&broker, &body))
            }
            RequestBody::OffsetCommit(body) => later(offset_commit::handle(broker, version, body)),
            RequestBody::OffsetFetch(body) => now(offset_fetch::handle(&broker, version, body)),
            RequestBody::OffsetDelete(body) => later(offset_delete::handle(broker, body)),
            RequestBody::DescribeGroups(body) => {
                now(describe_groups::handle(&broker, version, &body))
            }
            RequestBody::ListGroups(body) => now(list_groups::handle(&broker, &body)),
            RequestBody::DeleteGroups(body) => later(delete_groups::handle(broker, body)),
            RequestBody::DeleteRecords(body) => now(delete_records::handle(&broker, body).await),
            RequestBody::OffsetForLeaderEpoch(body) => {
                now(offset_for_leader_epoch::handle(&broker, body))
            }
            RequestBody::DescribeLogDirs(body) => now(describe_log_dirs::handle(&broker, &body)),
            RequestBody::AlterReplicaLogDirs(body) => {
                now(alter_replica_log_dirs::handle(&broker, &body))
            }
            RequestBody::ElectLeaders(body) => now(elect_leaders::handle(&broker, version, body)),
            RequestBody::AlterPartitionReassignments(body) => now(
                alter_partition_reassignments::handle(&broker, version, body),
            ),
            RequestBody::ListPartitionReassignments(_) => {
                now(list_partition_reassignments::handle())
            }
            RequestBody::DescribeQuorum(body) => {
                now(describe_quorum::handle(&broker, version, body))
            }
            RequestBody::UpdateFeatures(body) => now(update_features::handle(version, &body)),
            RequestBody::DescribeProducers(body) => now(describe_producers::handle(&broker, body)),
            RequestBody::ListConfigResources(body) => {
                now(list_config_resources::handle(&broker, version, &body))
            }
            // Answered by the connection, from the table.
            RequestBody::ApiVersions(_) => Reply::Close,
        }
    }

    fn limits(&self) -> Limits {
        let config = self.0.config.get();
        Limits {
            request_bytes_max: config.socket_request_max_bytes,
            connections_max: config.max_connections,
            idle: config.connections_max_idle,
        }
    }

    fn connections_max_of(&self, ip: IpAddr) -> usize {
        let config = self.0.config.get();
        let of_ip = config.max_connections_overrides.get(&ip);
        of_ip.copied().unwrap_or(config.max_connections_per_ip)
    }

    fn on_request_done(&self, api: ApiKey, took: Duration, error: Option<i16>) {
        self.0.metrics.request_done(api, took, error);
    }

    fn on_bytes(&self, received: usize, sent: usize) {
        self.0.metrics.request_bytes(received, sent);
    }

    fn on_connections(&self, open: usize) {
        self.0.metrics.connections(open);
    }
}

fn now(body: impl Into<Response>) -> Reply {
    Reply::Now(body.into())
}

/// Only for what may wait while later requests of the connection go on.
fn later<B: Into<Response> + 'static>(body: impl Future<Output = B> + Send + 'static) -> Reply {
    Reply::Later(body.map(Into::into).boxed())
}
