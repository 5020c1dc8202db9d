//! The listener: accepts, bounds the number of connections, and ends them when the node stops.

use std::{collections::HashMap, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};
use tracing::{debug, warn};

use crate::{complaints::Complaints, connection, service::Service};

/// After a failed accept (no file descriptors left) the listener rests this long.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Bounds of a listener, as they are now.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `max.connections`.
    pub connections_max: usize,
    /// `connections.max.idle.ms`.
    pub idle: Duration,
}

/// Serves until told to stop. `queued_bytes_max` bounds the bytes of requests that are being received or answered, of all
/// connections: `queued.max.request.bytes`.
pub async fn serve<S: Service>(
    listener: TcpListener,
    service: Arc<S>,
    queued_bytes_max: Option<usize>,
    mut shutdown: watch::Receiver<bool>,
) {
    let open = Arc::new(Open::default());
    let shared = Shared {
        queued: queued_bytes_max.map(Queued::new),
        complaints: Arc::new(Complaints::new()),
    };
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
        let ip = peer.ip().to_canonical();
        let Some(counted) = open.count(&service, ip) else {
            debug!(%peer, "too many connections; this one is closed");
            continue;
        };
        let (service, shutdown) = (Arc::clone(&service), shutdown.clone());
        let shared = shared.clone();
        tokio::spawn(async move {
            let _counted = counted;
            connection::run(stream, peer, service, shared, shutdown).await;
        });
    }
}

/// What all connections of a listener share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) queued: Option<Queued>,
    pub(crate) complaints: Arc<Complaints>,
}

/// Room for requests, shared by all connections.
#[derive(Clone, Debug)]
pub(crate) struct Queued {
    room: Arc<Semaphore>,
    max: u32,
}

impl Queued {
    /// Waits for room; a request larger than all of it waits for all.
    pub(crate) async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.max);
        Arc::clone(&self.room).acquire_many_owned(bytes).await.ok()
    }

    fn new(bytes: usize) -> Self {
        let max = u32::try_from(bytes.min(Semaphore::MAX_PERMITS)).unwrap_or(u32::MAX);
        Self {
            room: Arc::new(Semaphore::new(max as usize)),
            max,
        }
    }
}

/// Connections that are open, by address.
#[derive(Debug, Default)]
struct Open(Mutex<HashMap<IpAddr, usize>>);

impl Open {
    /// Counts one more; `None` where that would be too many.
    fn count<S: Service>(self: &Arc<Self>, service: &Arc<S>, ip: IpAddr) -> Option<Counted<S>> {
        let limits = service.limits();
        let mut open = self.0.lock();
        let all: usize = open.values().sum();
        let of_ip = open.get(&ip).copied().unwrap_or(0);
        if all >= limits.connections_max || of_ip >= service.connections_max_of(ip) {
            return None;
        }
        open.insert(ip, of_ip + 1);
        service.on_connections(all + 1);
        Some(Counted {
            open: Arc::clone(self),
            service: Arc::clone(service),
            ip,
        })
    }
}

/// Counts a connection for as long as it lives.
struct Counted<S: Service> {
    open: Arc<Open>,
    service: Arc<S>,
    ip: IpAddr,
}

impl<S: Service> Drop for Counted<S> {
    fn drop(&mut self) {
        let mut open = self.open.0.lock();
        if let Some(count) = open.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.ip);
            }
        }
        self.service.on_connections(open.values().sum());
    }
}
