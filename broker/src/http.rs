//! HTTP: `/metrics`, `/healthz` (alive), `/readyz` (fit to serve, else 503 with reasons), `/version`.

use std::{sync::Arc, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::json;
use storage::units::TimestampMs;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    api::Broker,
    build,
    group::Ends,
    health,
    partition::Partition,
    telemetry::{LogFacts, NodeFacts},
};

/// Overdue records counted in a partition.
const OVERDUE_MAX: u64 = 100_000;

/// Serves until told to stop.
pub async fn serve(
    listener: TcpListener,
    broker: Arc<Broker>,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let pages = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route(
            "/version",
            get(|| async { Json(json!({ "version": build::VERSION, "commit": build::COMMIT })) }),
        )
        .with_state(broker);
    axum::serve(listener, pages)
        .with_graceful_shutdown(async move {
            // An error means that the node is gone, too.
            let _ = shutdown.wait_for(|stop| *stop).await;
        })
        .await
}

/// What a partition has to tell. Blocks on the disk.
fn facts(partition: &Partition, now: TimestampMs) -> LogFacts<'_> {
    // A store that cannot be read now says so in the log; what it had due is told at the next scrape.
    let backlog = partition.backlog(now, OVERDUE_MAX).ok();
    let since = backlog.and_then(|backlog| backlog.since);
    let late = since.map_or(0, |due| now.0.saturating_sub(due.0));
    LogFacts {
        topic: &partition.topic,
        bytes: partition.log().size_bytes(),
        damaged: partition.log().damaged(),
        pinned_bytes: partition.pinned_bytes(),
        pending: partition.pending_size(),
        overdue: backlog.map_or(0, |backlog| backlog.due),
        oldest_overdue: Duration::from_millis(u64::try_from(late).unwrap_or(0)),
        timers_in_memory: backlog.map_or(0, |backlog| backlog.timers_in_memory),
    }
}

/// The metrics, in Prometheus' text form. Blocks on the disk.
pub fn scrape(broker: &Broker) -> Result<Vec<u8>, prometheus::Error> {
    let now = broker.clock.wall();
    let online = broker.registry.online();
    let logs = online.iter().map(|partition| facts(partition, now));
    let groups = broker.groups.census(&Ends::of(&online));
    let uptime_ms = i64::try_from(broker.metrics.uptime().as_millis()).unwrap_or(i64::MAX);
    let node = NodeFacts {
        disk: broker.registry.disk_bytes(),
        quorum: broker.metadata.quorum(),
        node_id: broker.node_id,
        started_ms: now.0.saturating_sub(uptime_ms),
        jobs: &broker.replay_jobs.list(),
    };
    let metrics = &broker.metrics;
    metrics.scrape(logs, &groups, &broker.dedup.stats(), &node)
}

async fn metrics(State(broker): State<Arc<Broker>>) -> impl IntoResponse {
    let read = tokio::task::spawn_blocking(move || scrape(&broker));
    let Ok(encoded) = read.await else {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            [("content-type", "text/plain")],
            b"the node stops\n".to_vec(),
        );
    };
    match encoded {
        Ok(text) => (
            StatusCode::OK,
            [("content-type", "text/plain; version=0.0.4")],
            text,
        ),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [("content-type", "text/plain")],
            error.to_string().into_bytes(),
        ),
    }
}

async fn readyz(State(broker): State<Arc<Broker>>) -> impl IntoResponse {
    let reasons = health::unfit(&broker);
    let reasons: Vec<String> = reasons.iter().map(ToString::to_string).collect();
    let status = if reasons.is_empty() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({ "ready": reasons.is_empty(), "reasons": reasons })),
    )
}
