//! `chronosctl cluster info|nodes|node|leaders|health|raft`.

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;
use proto::admin::v1::{self as pb, cluster_service_client::ClusterServiceClient};
use serde::Serialize;
use tonic::transport::Channel;

use crate::{
    grpc,
    output::{self, Format},
    time::{duration_ms, spoken},
};

const PATIENCE: Duration = Duration::from_secs(10);
const PAGE: i32 = 1_000;

/// A command about the cluster.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// The cluster as a whole
    Info,
    /// Its nodes
    Nodes,
    /// One node, with its disk and memory
    Node {
        /// Its id [default: the one that is asked]
        id: Option<i32>,
    },
    /// Who leads which partition
    Leaders {
        /// The topic [default: all]
        #[arg(short, long)]
        topic: Option<String>,
    },
    /// Whether all is well; the exit code is 1 where it is not
    Health,
    /// The metadata log
    Raft,
}

#[derive(Serialize)]
struct ClusterRow {
    cluster: String,
    controller: i32,
    nodes: i32,
    topics: i32,
    partitions: i32,
    metadata_version: i64,
}

#[derive(Serialize)]
struct NodeRow {
    node: i32,
    host: String,
    port: i32,
    rack: Option<String>,
    controller: bool,
    version: Option<String>,
    up: Option<String>,
    uptime_ms: Option<i64>,
    resident_bytes: Option<i64>,
    cpu_ms: Option<i64>,
    disk_bytes: Option<i64>,
    disk_free_bytes: Option<i64>,
    log_bytes: Option<i64>,
    online: Option<i32>,
    offline: Option<i32>,
}

impl From<pb::Node> for NodeRow {
    fn from(node: pb::Node) -> Self {
        let state = node.state.as_ref();
        let ms = |span: Option<&prost_types::Duration>| span.map(duration_ms);
        Self {
            node: node.node_id,
            host: node.host,
            port: node.port,
            rack: Some(node.rack).filter(|rack| !rack.is_empty()),
            controller: node.controller,
            version: state.map(|s| s.version.clone()),
            up: state.and_then(|s| ms(s.uptime.as_ref())).map(spoken),
            uptime_ms: state.and_then(|s| ms(s.uptime.as_ref())),
            resident_bytes: state.map(|s| s.resident_bytes),
            cpu_ms: state.and_then(|s| ms(s.cpu_time.as_ref())),
            disk_bytes: state.map(|s| s.disk_bytes),
            disk_free_bytes: state.map(|s| s.disk_free_bytes),
            log_bytes: state.map(|s| s.log_bytes),
            online: state.map(|s| s.online_partitions),
            offline: state.map(|s| s.offline_partitions),
        }
    }
}

#[derive(Serialize)]
struct LeaderRow {
    topic: String,
    partition: i32,
    leader: i32,
    epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
}

#[derive(Serialize)]
struct ProblemRow {
    reason: String,
    subject: String,
    message: String,
}

#[derive(Serialize)]
struct HealthRow {
    status: &'static str,
    problems: Vec<ProblemRow>,
}

#[derive(Serialize)]
struct RaftRow {
    leader: i32,
    term: i32,
    log_end: i64,
    applied: i64,
    voters: Vec<i32>,
}

/// Runs a command.
pub(super) async fn run(
    admin: &str,
    format: Format,
    command: ClusterCommand,
) -> anyhow::Result<ExitCode> {
    let mut client = ClusterServiceClient::new(grpc::connect(admin, Some(PATIENCE)).await?);
    match command {
        ClusterCommand::Info => {
            let answer = client.get_cluster(pb::GetClusterRequest {}).await;
            let told = answer.map_err(grpc::told)?.into_inner();
            let row = ClusterRow {
                cluster: told.cluster_id,
                controller: told.controller,
                nodes: told.node_count,
                topics: told.topic_count,
                partitions: told.partition_count,
                metadata_version: told.metadata_version,
            };
            output::rows(format, &[row])?;
        }
        ClusterCommand::Nodes => {
            let answer = client.list_nodes(pb::ListNodesRequest {}).await;
            let nodes = answer.map_err(grpc::told)?.into_inner().nodes.into_iter();
            output::rows(format, &nodes.map(NodeRow::from).collect::<Vec<_>>())?;
        }
        ClusterCommand::Node { id: node_id } => {
            let answer = client.get_node(pb::GetNodeRequest { node_id }).await;
            let node = answer.map_err(grpc::told)?.into_inner().node;
            output::rows(format, &[NodeRow::from(node.unwrap_or_default())])?;
        }
        ClusterCommand::Leaders { topic } => leaders(&mut client, format, topic).await?,
        ClusterCommand::Health => return health(&mut client, format).await,
        ClusterCommand::Raft => {
            let answer = client.get_raft_status(pb::GetRaftStatusRequest {}).await;
            let told = answer.map_err(grpc::told)?.into_inner();
            let row = RaftRow {
                leader: told.leader,
                term: told.term,
                log_end: told.log_end,
                applied: told.applied,
                voters: told.voters,
            };
            output::rows(format, &[row])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn leaders(
    client: &mut ClusterServiceClient<Channel>,
    format: Format,
    topic: Option<String>,
) -> anyhow::Result<()> {
    let mut request = pb::ListPartitionLeadersRequest {
        topic: topic.unwrap_or_default(),
        page_size: PAGE,
        page_token: String::new(),
    };
    let mut rows = Vec::new();
    loop {
        let answer = client.list_partition_leaders(request.clone()).await;
        let page = answer.map_err(grpc::told)?.into_inner();
        rows.extend(page.leaders.into_iter().map(|leader| LeaderRow {
            topic: leader.topic,
            partition: leader.partition,
            leader: leader.leader,
            epoch: leader.leader_epoch,
            replicas: leader.replicas,
            isr: leader.in_sync_replicas,
        }));
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return output::rows(format, &rows);
        }
    }
}

async fn health(
    client: &mut ClusterServiceClient<Channel>,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let answer = client.get_health(pb::GetHealthRequest {}).await;
    let told = answer.map_err(grpc::told)?.into_inner();
    let status = match told.status() {
        pb::HealthStatus::Unspecified => "unknown",
        pb::HealthStatus::Healthy => "healthy",
        pb::HealthStatus::Degraded => "degraded",
        pb::HealthStatus::Unhealthy => "unhealthy",
    };
    let is_well = told.problems.is_empty();
    let problems = told.problems.into_iter().map(|problem| ProblemRow {
        reason: problem.reason,
        subject: problem.subject,
        message: problem.message,
    });
    let problems: Vec<ProblemRow> = problems.collect();
    if format.is_for_people() {
        output::note(format, status);
        if !is_well {
            output::rows(format, &problems)?;
        }
    } else {
        output::rows(format, &[HealthRow { status, problems }])?;
    }
    Ok(if is_well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
