//! `ClusterService`: reads the metadata image, the partitions, the disk.

use std::sync::Arc;

use proto::admin::v1::{self as pb, cluster_service_server::ClusterService};
use tonic::{Code, Request, Response, Status};

use super::{errors::status, moments, pages, places};
use crate::{api::Broker, build, health, metadata, partition::Partition, telemetry::Usage};

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    broker: Arc<Broker>,
}

impl Service {
    pub(super) fn new(broker: Arc<Broker>) -> Self {
        Self { broker }
    }

    fn told(&self, id: i32, node: &metadata::Broker, controller: i32) -> pb::Node {
        pb::Node {
            node_id: id,
            host: node.host.clone(),
            port: i32::from(node.port),
            rack: node.rack.clone().unwrap_or_default(),
            controller: id == controller,
            state: (id == self.broker.node_id).then(|| state(&self.broker)),
        }
    }
}

/// What this node knows of itself.
fn state(broker: &Broker) -> pb::NodeState {
    let used = Usage::now();
    let all = broker.registry.online();
    let is_well = |partition: &&Arc<Partition>| partition.log().is_poisoned().is_none();
    let online = all.iter().filter(is_well).count();
    // Those whose log failed are among them.
    let offline = broker.registry.offline().len();
    let (disk, free) = broker.registry.disk_bytes().unwrap_or_default();
    let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let ms = i64::try_from(broker.metrics.uptime().as_millis()).unwrap_or(i64::MAX);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "centuries of processor time"
    )]
    let cpu_ms = (used.cpu_seconds * 1_000.0) as i64;
    pb::NodeState {
        version: build::VERSION.into(),
        uptime: Some(moments::duration(ms)),
        resident_bytes: used.resident_bytes,
        cpu_time: Some(moments::duration(cpu_ms)),
        disk_bytes: disk,
        disk_free_bytes: free,
        log_bytes: moments::counted(all.iter().map(|p| p.log().size_bytes()).sum()),
        online_partitions: number(online),
        offline_partitions: number(offline),
    }
}

fn told_of(problem: health::Problem) -> pb::HealthProblem {
    pb::HealthProblem {
        reason: problem.reason.name().into(),
        subject: problem.subject,
        message: problem.message,
    }
}

#[tonic::async_trait]
impl ClusterService for Service {
    async fn get_cluster(
        &self,
        _: Request<pb::GetClusterRequest>,
    ) -> Result<Response<pb::GetClusterResponse>, Status> {
        let image = self.broker.metadata.image();
        let number = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        let partitions = image.topics.values().map(|topic| topic.partitions.len());
        Ok(Response::new(pb::GetClusterResponse {
            cluster_id: image.cluster_id.clone(),
            controller: image.controller,
            node_count: number(image.brokers.len()),
            topic_count: number(image.topics.len()),
            partition_count: number(partitions.sum()),
            metadata_version: moments::counted(image.version),
        }))
    }

    async fn list_nodes(
        &self,
        _: Request<pb::ListNodesRequest>,
    ) -> Result<Response<pb::ListNodesResponse>, Status> {
        let service = self.clone();
        let tell = move || {
            let image = service.broker.metadata.image();
            let nodes = image.brokers.iter();
            let nodes = nodes.map(|(id, node)| service.told(*id, node, image.controller));
            nodes.collect()
        };
        let nodes = places::blocking(tell).await?;
        Ok(Response::new(pb::ListNodesResponse { nodes }))
    }

    async fn get_node(
        &self,
        request: Request<pb::GetNodeRequest>,
    ) -> Result<Response<pb::GetNodeResponse>, Status> {
        let id = request.into_inner().node_id.unwrap_or(self.broker.node_id);
        let service = self.clone();
        let tell = move || {
            let image = service.broker.metadata.image();
            let node = image.brokers.get(&id);
            node.map(|node| service.told(id, node, image.controller))
        };
        let node = places::blocking(tell).await?;
        if node.is_none() {
            let why = format!("there is no node {id}");
            return Err(status(Code::NotFound, "NODE_NOT_FOUND", why));
        }
        Ok(Response::new(pb::GetNodeResponse { node }))
    }

    async fn list_partition_leaders(
        &self,
        request: Request<pb::ListPartitionLeadersRequest>,
    ) -> Result<Response<pb::ListPartitionLeadersResponse>, Status> {
        let request = request.into_inner();
        let image = self.broker.metadata.image();
        if !request.topic.is_empty() && !image.topics.contains_key(&request.topic) {
            let why = format!("there is no topic '{}'", request.topic);
            return Err(status(Code::NotFound, "TOPIC_NOT_FOUND", why));
        }
        let wanted =
            |topic: &metadata::Topic| request.topic.is_empty() || topic.name == request.topic;
        let topics = image.topics.values().filter(|topic| wanted(topic));
        let leaders = topics.flat_map(|topic| {
            let partitions = (0i32..).zip(&topic.partitions);
            partitions.map(|(partition, state)| pb::PartitionLeader {
                topic: topic.name.clone(),
                partition,
                leader: state.leader,
                leader_epoch: state.leader_epoch,
                replicas: state.replicas.clone(),
                in_sync_replicas: state.isr.clone(),
            })
        });
        let (leaders, next_page_token) = pages::page(
            leaders,
            |leader| (leader.topic.clone(), leader.partition),
            (request.page_size, &request.page_token),
            request.topic.as_bytes(),
        )?;
        Ok(Response::new(pb::ListPartitionLeadersResponse {
            leaders,
            next_page_token,
        }))
    }

    async fn get_health(
        &self,
        _: Request<pb::GetHealthRequest>,
    ) -> Result<Response<pb::GetHealthResponse>, Status> {
        let broker = Arc::clone(&self.broker);
        let problems = places::blocking(move || health::problems(&broker)).await?;
        let worst = problems
            .iter()
            .map(|problem| problem.reason.gravity())
            .max();
        let worst = match worst {
            None => pb::HealthStatus::Healthy,
            Some(health::Gravity::Degraded) => pb::HealthStatus::Degraded,
            Some(health::Gravity::Unhealthy) => pb::HealthStatus::Unhealthy,
        };
        Ok(Response::new(pb::GetHealthResponse {
            status: worst.into(),
            problems: problems.into_iter().map(told_of).collect(),
        }))
    }

    async fn get_raft_status(
        &self,
        _: Request<pb::GetRaftStatusRequest>,
    ) -> Result<Response<pb::GetRaftStatusResponse>, Status> {
        let quorum = self.broker.metadata.quorum();
        Ok(Response::new(pb::GetRaftStatusResponse {
            leader: quorum.leader,
            term: quorum.term,
            log_end: quorum.log_end,
            applied: quorum.applied,
            voters: quorum.voters,
        }))
    }
}
