//! The gRPC API (`proto/`): services, health, reflection.

mod dedup;
mod errors;
mod moments;
mod names;
mod page_token;
mod places;
mod replay;
mod replay_jobs;
mod schedule;

use std::{sync::Arc, time::Duration};

use proto::admin::v1::{
    dedup_service_server::DedupServiceServer, replay_service_server::ReplayServiceServer,
    schedule_service_server::ScheduleServiceServer,
};
use tokio::{net::TcpListener, sync::watch};
use tonic::{service::Routes, transport::Server};

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

/// Serves until told to stop; the health service says `NOT_SERVING` from then on.
pub async fn serve(
    listener: TcpListener,
    broker: Arc<Broker>,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let replay = replay::Service::new(Arc::clone(&broker), stopped.clone());
    let replay = ReplayServiceServer::new(replay)
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        // One record may be as large as a batch may be.
        .max_encoding_message_size(usize::MAX);
    let dedup = DedupServiceServer::new(dedup::Service::new(Arc::clone(&broker)))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    let schedule = ScheduleServiceServer::new(schedule::Service::new(broker, stopped.clone()))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX);
    health
        .set_serving::<DedupServiceServer<dedup::Service>>()
        .await;
    health
        .set_serving::<ScheduleServiceServer<schedule::Service>>()
        .await;
    health
        .set_serving::<ReplayServiceServer<replay::Service>>()
        .await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(dedup)
        .add_service(replay)
        .add_service(schedule);
    let mut cut = stopped.clone();
    let drained = async move {
        // An error means that the node is gone.
        let _ = stopped.wait_for(|stop| *stop).await;
        health
            .set_service_status("", tonic_health::ServingStatus::NotServing)
            .await;
        health
            .set_not_serving::<DedupServiceServer<dedup::Service>>()
            .await;
        health
            .set_not_serving::<ScheduleServiceServer<schedule::Service>>()
            .await;
        health
            .set_not_serving::<ReplayServiceServer<replay::Service>>()
            .await;
    };
    // A stream that the client keeps open (a health watch) has no end of its own.
    let cut = async move {
        let _ = cut.wait_for(|stop| *stop).await;
        tokio::time::sleep(DRAIN_FOR).await;
    };
    let served = Server::builder()
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
