//! The listener: accepts, bounds the number of connections, and ends them when the node stops.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{net::TcpListener, sync::watch};
use tracing::{debug, warn};

use crate::{connection, service::Service};

/// After a failed accept (no file descriptors left) the listener rests this long.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `max.connections`.
    pub connections_max: usize,
    /// `connections.max.idle.ms`.
    pub idle: Duration,
}

/// Serves until told to stop.
pub async fn serve<S: Service>(
    listener: TcpListener,
    service: Arc<S>,
    limits: Limits,
    mut shutdown: watch::Receiver<bool>,
) {
    let open = Arc::new(AtomicUsize::new(0));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        if open.load(Ordering::Relaxed) >= limits.connections_max {
            debug!(%peer, limits.connections_max, "too many connections; this one is closed");
            continue;
        }
        let counted = Counted::new(&open, &service);
        let (service, shutdown) = (Arc::clone(&service), shutdown.clone());
        tokio::spawn(async move {
            let _counted = counted;
            connection::run(stream, peer, service, limits, shutdown).await;
        });
    }
}

/// Counts a connection for as long as it lives.
struct Counted<S: Service> {
    open: Arc<AtomicUsize>,
    service: Arc<S>,
}

impl<S: Service> Counted<S> {
    fn new(open: &Arc<AtomicUsize>, service: &Arc<S>) -> Self {
        service.on_connections(open.fetch_add(1, Ordering::Relaxed) + 1);
        Self {
            open: Arc::clone(open),
            service: Arc::clone(service),
        }
    }
}

impl<S: Service> Drop for Counted<S> {
    fn drop(&mut self) {
        self.service
            .on_connections(self.open.fetch_sub(1, Ordering::Relaxed) - 1);
    }
}
