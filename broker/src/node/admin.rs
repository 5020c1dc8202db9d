//! The admin API has threads of its own, which go behind all others where cores are short: a replay that reads as fast as it can must
//! not hold up producers.

use std::{io, sync::Arc};

use tokio::{net::TcpListener, runtime::Runtime, sync::watch, task::JoinHandle};
use tracing::error;

use crate::{api::Broker, grpc};

/// Threads that serve, and threads that read logs for them.
const THREADS: usize = 2;
const BLOCKING_THREADS: usize = 8;
/// A ninth of what another thread gets, where both want all. Source: sched(7).
const NICE: i32 = 10;

/// Its threads.
#[derive(Debug)]
pub(super) struct AdminThreads(Option<Runtime>);

impl AdminThreads {
    pub(super) fn start() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(BLOCKING_THREADS)
            .thread_name("admin")
            .on_thread_start(|| {
                // Where the kernel does not allow it, they are as all others.
                let _ = rustix::process::nice(NICE);
            })
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Serves until told to stop.
    pub(super) fn serve(
        &self,
        listener: TcpListener,
        broker: Arc<Broker>,
        stopped: watch::Receiver<bool>,
    ) -> Option<JoinHandle<()>> {
        let serving = async move {
            if let Err(error) = grpc::serve(listener, broker, stopped).await {
                error!(%error, "the gRPC listener ended");
            }
        };
        self.0.as_ref().map(|runtime| runtime.spawn(serving))
    }
}

/// A runtime must not be waited for where others run: what is still read then is read to nobody.
impl Drop for AdminThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
