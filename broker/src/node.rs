//! The node: everything is started here in order, and stopped in reverse.
//!
//! data folder -> metadata -> partitions -> fire loop -> listeners; a partition that cannot be opened does not stop the rest.

mod admin;
mod open;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context;
use futures::FutureExt;
use kafka_compat::server;
use scheduler::Clock;
use storage::{data_dir::DataDir, log::Syncer};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};
use tracing::{error, info};

use self::{admin::AdminThreads, open::Opened};
use crate::{
    api::{Broker, FetchSessions, KafkaService},
    compaction,
    config::LiveConfig,
    coordinator::CoordinatorOptions,
    dedup,
    group::{self, Groups},
    http,
    ids::ProducerIds,
    metadata::{Command, Metadata},
    partition::Registry,
    replay::job::{self, ReplayJobs},
    schedule::fire_loop::FireHandle,
    scrub,
    telemetry::{Loggers, Metrics},
    transaction::{self, Transactions},
};

/// Timers that came or went since the last checkpoint, from which a partition writes one: a start replays at most so many, and
/// what came within [`LOOK_FOR_BUSY_LOGS`].
const BUSY_TIMER_CHANGES: u64 = 16 * 1024;
/// A log with so many bytes since its last checkpoint gets one: four such logs are read in less than 200 ms.
const BUSY_LOG_BYTES: u64 = 64 << 20;

/// Such logs are looked for this often.
const LOOK_FOR_BUSY_LOGS: Duration = Duration::from_secs(1);

/// Removed files whose delay is over are looked for this often.
const REAP_EVERY: Duration = Duration::from_secs(1);

/// A partition that could not be opened or removed for a passing reason is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A node that runs.
#[derive(Debug)]
pub struct Node {
    /// Where Kafka clients connect.
    pub kafka: SocketAddr,
    /// Where metrics and health are served.
    pub http: SocketAddr,
    /// Where the gRPC admin API is served.
    pub grpc: SocketAddr,
    metadata: Metadata,
    registry: Arc<Registry>,
    shutdown: watch::Sender<bool>,
    syncer: Syncer,
    tasks: JoinSet<()>,
    admin: AdminThreads,
    reconcile: JoinHandle<()>,
    // Last: nothing may touch the folder after it is unlocked.
    _data_dir: Arc<DataDir>,
}

impl Node {
    /// Starts a node; clients are served when this returns.
    pub async fn start(live: LiveConfig, loggers: Loggers) -> anyhow::Result<Self> {
        let config = live.get();
        // Its lock first: whoever fails to get it must not take the ports.
        let data_dir = Arc::new(DataDir::open(&config.data_dir, config.node_id)?);
        let kafka = bind(config.listen, "listeners", config.listen_backlog)?;
        let http = bind(config.http_listen, "http.listen", config.listen_backlog)?;
        let grpc = bind(config.grpc_listen, "grpc.listen", config.listen_backlog)?;
        let (kafka_at, http_at) = (kafka.local_addr()?, http.local_addr()?);
        let grpc_at = grpc.local_addr()?;
        let Opened {
            metrics,
            clock,
            metadata,
            syncer,
            fire,
            dedup,
            registry,
        } = open::open(&live, &data_dir, kafka_at).await?;

        let (shutdown, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        fire_what_is_due(&mut tasks, &fire, &clock, &stopped);
        tasks.spawn(dedup::run(
            Arc::clone(&registry),
            Arc::clone(&dedup),
            config.dedup_index_interval,
            stopped.clone(),
        ));
        let groups = groups(&metadata, &registry, &clock, &live, &metrics);
        tasks.spawn(groups.clone().run(stopped.clone()));
        let producer_ids = Arc::new(ProducerIds::default());
        let around = transaction::Around {
            metadata: metadata.clone(),
            registry: Arc::clone(&registry),
            groups: groups.clone(),
            fire: fire.clone(),
            producer_ids: Arc::clone(&producer_ids),
            config: live.clone(),
        };
        let transactions = transactions(around, &clock);
        tasks.spawn(transactions.clone().run(stopped.clone()));
        let replay_jobs = ReplayJobs::new(job::Around {
            metadata: metadata.clone(),
            registry: Arc::clone(&registry),
            fire: fire.clone(),
            producer_ids: Arc::clone(&producer_ids),
            config: live.clone(),
            clock: Arc::clone(&clock),
        });
        tasks.spawn(replay_jobs.clone().run(stopped.clone()));
        let broker = Arc::new(Broker {
            node_id: config.node_id,
            log_dir: std::path::absolute(&config.data_dir)?.display().to_string(),
            config: live.clone(),
            loggers,
            metadata: metadata.clone(),
            fetch_sessions: FetchSessions::default(),
            registry: Arc::clone(&registry),
            groups: groups.clone(),
            fire,
            transactions,
            producer_ids,
            clock,
            replay_jobs,
            dedup,
            metrics: Arc::clone(&metrics),
        });
        let admin = AdminThreads::start()?;
        if let Some(serving) = admin.serve(grpc, Arc::clone(&broker), stopped.clone()) {
            tasks.spawn(serving.map(drop));
        }
        tasks.spawn(server::serve(
            kafka,
            Arc::new(KafkaService(Arc::clone(&broker))),
            config.queued_max_request_bytes,
            stopped.clone(),
        ));
        tasks.spawn(observe(http, Arc::clone(&broker), stopped.clone()));
        maintain(
            &mut tasks,
            &registry,
            &live,
            metrics,
            config.checkpoint_interval,
            &stopped,
        );
        let reconcile = tokio::spawn(follow(Arc::clone(&registry), metadata.clone(), live));
        Ok(Self {
            kafka: kafka_at,
            http: http_at,
            grpc: grpc_at,
            metadata,
            registry,
            shutdown,
            syncer,
            tasks,
            admin,
            reconcile,
            _data_dir: data_dir,
        })
    }

    /// Stops in reverse: listeners first, then the logs are closed.
    pub async fn stop(mut self) {
        info!("stopping");
        self.shutdown.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
        drop(self.admin);
        self.reconcile.abort();
        self.metadata.stop().await;
        let registry = Arc::clone(&self.registry);
        let syncer = self.syncer;
        let close = move || {
            registry.close();
            syncer.close_journal();
        };
        if let Err(error) = tokio::task::spawn_blocking(close).await {
            error!(%error, "closing the logs failed");
        }
        info!("stopped");
    }
}

/// Serves metrics and health.
async fn observe(listener: TcpListener, broker: Arc<Broker>, stopped: watch::Receiver<bool>) {
    if let Err(error) = http::serve(listener, broker, stopped).await {
        error!(%error, "the HTTP listener ended");
    }
}

/// Consumer groups, of which nothing is loaded yet.
fn groups(
    metadata: &Metadata,
    registry: &Arc<Registry>,
    clock: &Arc<dyn Clock>,
    live: &LiveConfig,
    metrics: &Metrics,
) -> Groups {
    let options = CoordinatorOptions {
        topic: group::TOPIC,
        metadata: metadata.clone(),
        registry: Arc::clone(registry),
        clock: Arc::clone(clock),
    };
    Groups::new(options, live.clone(), metrics.groups().clone())
}

/// Transactions, of which nothing is loaded yet.
fn transactions(around: transaction::Around, clock: &Arc<dyn Clock>) -> Transactions {
    let options = CoordinatorOptions {
        topic: transaction::TOPIC,
        metadata: around.metadata.clone(),
        registry: Arc::clone(&around.registry),
        clock: Arc::clone(clock),
    };
    Transactions::new(options, around)
}

fn fire_what_is_due(
    tasks: &mut JoinSet<()>,
    fire: &FireHandle,
    clock: &Arc<dyn Clock>,
    stopped: &watch::Receiver<bool>,
) {
    for fire_loop in fire.loops(clock) {
        let stopped = stopped.clone();
        tasks.spawn(async move {
            if let Err(error) = fire_loop.run(stopped).await {
                error!(%error, "a fire loop ended: held records wait for the next start");
            }
        });
    }
}

fn bind(address: SocketAddr, setting: &str, backlog: u32) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(backlog)
    };
    listen().with_context(|| format!("{setting}: cannot bind {address}"))
}

/// Makes the partitions follow the metadata as it stands.
async fn reconcile(registry: &Arc<Registry>, metadata: &Metadata) -> anyhow::Result<()> {
    let image = metadata.image();
    let blocking = Arc::clone(registry);
    let removed = tokio::task::spawn_blocking(move || blocking.reconcile(&image)).await?;
    for topic_id in removed {
        metadata
            .propose(Command::TopicFilesRemoved { topic_id })
            .await?;
    }
    Ok(())
}

/// Makes the partitions follow each change of the metadata, and of the settings.
async fn follow(registry: Arc<Registry>, metadata: Metadata, config: LiveConfig) {
    let (mut images, mut reloads) = (metadata.watch(), config.reloads());
    loop {
        if let Err(error) = reconcile(&registry, &metadata).await {
            error!(%error, "the partitions do not follow the metadata");
        }
        let changed = async {
            tokio::select! {
                changed = images.changed() => changed,
                changed = reloads.changed() => changed,
            }
        };
        if registry.wants_retry() {
            // An error repeats itself below; a time-out is the time to try again.
            let _ = timeout(RETRY_AFTER, changed).await;
        } else if changed.await.is_err() {
            return;
        }
    }
}

/// The tasks that look after logs.
fn maintain(
    tasks: &mut JoinSet<()>,
    registry: &Arc<Registry>,
    live: &LiveConfig,
    metrics: Arc<Metrics>,
    checkpoint_every: Duration,
    stopped: &watch::Receiver<bool>,
) {
    let (registry, stopped) = (|| Arc::clone(registry), || stopped.clone());
    tasks.spawn(checkpoints(registry(), checkpoint_every, stopped()));
    tasks.spawn(compaction::run(
        registry(),
        live.clone(),
        Arc::clone(&metrics),
        stopped(),
    ));
    tasks.spawn(scrub::run(registry(), live.clone(), metrics, stopped()));
    tasks.spawn(retention(registry(), live.clone(), stopped()));
}

/// All logs every `log.flush.offset.checkpoint.interval.ms`, a busy one more often: a start after a crash reads what is newer.
async fn checkpoints(registry: Arc<Registry>, every: Duration, mut stopped: watch::Receiver<bool>) {
    let mut all_at = Instant::now() + every;
    loop {
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(every.min(LOOK_FOR_BUSY_LOGS)) => {}
        }
        let all = Instant::now() >= all_at;
        if all {
            all_at = Instant::now() + every;
        }
        let least = if all { 0 } else { BUSY_LOG_BYTES };
        let registry = Arc::clone(&registry);
        let task = move || {
            registry.checkpoint_where(least);
            registry.checkpoint_timers(BUSY_TIMER_CHANGES);
        };
        if let Err(error) = tokio::task::spawn_blocking(task).await {
            error!(%error, "checkpoints failed");
        }
    }
}

/// Looks for what may go every `log.retention.check.interval.ms`, and removes files whose delay is over.
async fn retention(
    registry: Arc<Registry>,
    config: LiveConfig,
    mut stopped: watch::Receiver<bool>,
) {
    let mut looked = Instant::now();
    loop {
        let every = config.get().retention_check_interval;
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(every.min(REAP_EVERY)) => {}
        }
        let look = looked.elapsed() >= every;
        if look {
            looked = Instant::now();
        }
        let registry = Arc::clone(&registry);
        let task = move || {
            if look {
                registry.retain();
            } else {
                registry.reap();
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(task).await {
            error!(%error, "retention failed");
        }
    }
}
