//! The gRPC API (`proto/`): services, health, reflection.

mod cluster;
mod dedup;
mod errors;
mod group;
mod kafka;
mod maintenance;
mod measured;
mod moments;
mod names;
mod once;
mod pages;
mod places;
mod replay;
mod replay_jobs;
mod schedule;
mod settings;
mod topic;

use std::{collections::HashSet, sync::Arc, time::Duration};

use prost::Message;
use proto::admin::v1::{
    cluster_service_server::ClusterServiceServer, dedup_service_server::DedupServiceServer,
    group_service_server::GroupServiceServer, maintenance_service_server::MaintenanceServiceServer,
    replay_service_server::ReplayServiceServer, schedule_service_server::ScheduleServiceServer,
    topic_service_server::TopicServiceServer,
};
use tokio::{net::TcpListener, sync::watch};
use tonic::{server::NamedService, service::Routes, transport::Server};
use tonic_health::server::HealthReporter;

use self::measured::Measure;
use crate::api::Broker;

/// A request at most.
const REQUEST_BYTES_MAX: usize = 4 << 20;
/// An answer at most.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// An idle connection is asked whether it is there.
const KEEPALIVE_EVERY: Duration = Duration::from_mins(1);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(20);
/// Calls under way when the node stops may take so long.
const DRAIN_FOR: Duration = Duration::from_secs(2);
/// Requests of a connection that are worked on at once.
const CONCURRENCY_MAX: usize = 64;
const STREAMS_MAX: u32 = 256;

/// A service whose requests and answers are bounded.
macro_rules! limited {
    ($server:ident($service:expr)) => {
        $server::new($service)
            .max_decoding_message_size(REQUEST_BYTES_MAX)
            .max_encoding_message_size(ANSWER_BYTES_MAX)
    };
}

/// The services, and what the health service says of each.
struct Services {
    routes: Routes,
    health: HealthReporter,
    names: Vec<&'static str>,
}

impl Services {
    async fn add<S>(&mut self, service: S)
    where
        S: tonic::codegen::Service<
                tonic::codegen::http::Request<tonic::body::Body>,
                Error = std::convert::Infallible,
            > + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.health
            .set_service_status(S::NAME, tonic_health::ServingStatus::Serving)
            .await;
        self.names.push(S::NAME);
        self.routes = std::mem::take(&mut self.routes).add_service(service);
    }
}

/// Serves until told to stop; the health service says `NOT_SERVING` from then on.
pub async fn serve(
    listener: TcpListener,
    broker: Arc<Broker>,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that a tool can show the details of an error.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    let mut services = Services {
        routes,
        health: health.clone(),
        names: Vec::new(),
    };
    let b = || Arc::clone(&broker);
    services
        .add(limited!(ClusterServiceServer(cluster::Service::new(b()))))
        .await;
    services
        .add(limited!(DedupServiceServer(dedup::Service::new(b()))))
        .await;
    services
        .add(limited!(GroupServiceServer(group::Service::new(b()))))
        .await;
    services
        .add(limited!(MaintenanceServiceServer(
            maintenance::Service::new(b())
        )))
        .await;
    services
        .add(limited!(TopicServiceServer(topic::Service::new(b()))))
        .await;
    let schedule = schedule::Service::new(b(), stopped.clone());
    services
        .add(limited!(ScheduleServiceServer(schedule)))
        .await;
    let replay = replay::Service::new(b(), stopped.clone());
    // One record may be as large as a batch may be.
    let replay = limited!(ReplayServiceServer(replay)).max_encoding_message_size(usize::MAX);
    services.add(replay).await;
    let Services { routes, names, .. } = services;
    let measure = Measure::new(broker.metrics.rpc().clone(), methods()?);
    let mut cut = stopped.clone();
    let drained = async move {
        // An error means that the node is gone.
        let _ = stopped.wait_for(|stop| *stop).await;
        for name in names.into_iter().chain([""]) {
            health
                .set_service_status(name, tonic_health::ServingStatus::NotServing)
                .await;
        }
    };
    // A stream that the client keeps open (a health watch) has no end of its own.
    let cut = async move {
        let _ = cut.wait_for(|stop| *stop).await;
        tokio::time::sleep(DRAIN_FOR).await;
    };
    let served = Server::builder()
        .layer(measure)
        .http2_keepalive_interval(Some(KEEPALIVE_EVERY))
        .http2_keepalive_timeout(Some(KEEPALIVE_PATIENCE))
        .concurrency_limit_per_connection(CONCURRENCY_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .add_routes(routes)
        .serve_with_incoming_shutdown(Incoming(listener), drained);
    tokio::select! {
        served = served => Ok(served?),
        () = cut => Ok(()),
    }
}

/// All methods that are served, as `Service/Method`.
fn methods() -> anyhow::Result<HashSet<String>> {
    let files = prost_types::FileDescriptorSet::decode(proto::DESCRIPTORS)?;
    let services = files.file.iter().flat_map(|file| &file.service);
    let methods = services.flat_map(|service| {
        let methods = service.method.iter();
        methods.map(|method| format!("{}/{}", service.name(), method.name()))
    });
    Ok(methods.collect())
}

/// Connections as they come; one that fails to be accepted does not end the server.
struct Incoming(TcpListener);

impl futures::Stream for Incoming {
    type Item = std::io::Result<tokio::net::TcpStream>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_accept(context).map(|accepted| {
            Some(accepted.map(|(stream, _)| {
                // Small answers must not wait for each other.
                let _ = stream.set_nodelay(true);
                stream
            }))
        })
    }
}
