//! HTTP: `/metrics`, `/healthz` (alive), `/readyz` (fit to serve, else 503 with reasons), `/version`.

use std::{fmt, sync::Arc};

use axum::{Json, Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use serde_json::json;
use tokio::{net::TcpListener, sync::watch};

use crate::{
    partition::Registry,
    telemetry::{LogFacts, Metrics},
};

/// What the pages show.
#[derive(Clone)]
pub struct HttpState {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The partitions.
    pub registry: Arc<Registry>,
}

impl fmt::Debug for HttpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpState").finish_non_exhaustive()
    }
}

/// Serves until told to stop.
pub async fn serve(
    listener: TcpListener,
    state: HttpState,
    mut shutdown: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let pages = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route(
            "/version",
            get(|| async { Json(json!({ "version": env!("CARGO_PKG_VERSION") })) }),
        )
        .with_state(state);
    axum::serve(listener, pages)
        .with_graceful_shutdown(async move {
            // An error means that the node is gone, too.
            let _ = shutdown.wait_for(|stop| *stop).await;
        })
        .await
}

async fn metrics(State(state): State<HttpState>) -> impl IntoResponse {
    let online = state.registry.online();
    state.metrics.logs(online.iter().map(|p| LogFacts {
        topic: &p.topic,
        bytes: p.log().size_bytes(),
        pinned_bytes: p.pinned_bytes(),
        pending: p.pending_records(),
    }));
    match state.metrics.encode() {
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

async fn readyz(State(state): State<HttpState>) -> impl IntoResponse {
    let reasons = state.registry.offline();
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
