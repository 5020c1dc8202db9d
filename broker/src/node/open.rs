//! What a node has before it does anything: metadata, the group commit, indexes, partitions.

use std::{net::SocketAddr, sync::Arc};

use anyhow::Context;
use scheduler::{Clock, SystemClock};
use storage::{
    data_dir::DataDir,
    disk::{
        RealDisk,
        together::{FileSystem, SyncTogether},
    },
    journal::Journal,
    log::{JournalOptions, Syncer, SyncerOptions},
};
use tracing::info;

use crate::{
    config::LiveConfig,
    dedup::DedupIndex,
    metadata::{Metadata, MetadataOptions},
    partition::{Registry, RegistryOptions},
    schedule::{fire_loop::FireHandle, key_index::KeyIndex},
    telemetry::Metrics,
};

/// Threads that sync: two, so that one slow log does not hold up all.
const SYNC_THREADS: usize = 2;

/// Loops that fire: one for each core, as far as firing is not better left to few.
const FIRE_LOOPS_MAX: usize = 4;

/// What was opened.
pub(super) struct Opened {
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metadata: Metadata,
    pub(super) syncer: Syncer,
    pub(super) fire: FireHandle,
    pub(super) dedup: Arc<DedupIndex>,
    pub(super) registry: Arc<Registry>,
}

/// Opens all of it; the partitions are those of the metadata.
pub(super) async fn open(
    live: &LiveConfig,
    data_dir: &Arc<DataDir>,
    kafka_at: SocketAddr,
) -> anyhow::Result<Opened> {
    let config = live.get();
    let (host, port) = config
        .advertised
        .clone()
        .unwrap_or_else(|| (kafka_at.ip().to_string(), kafka_at.port()));
    let metrics = Arc::new(Metrics::new()?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let options = MetadataOptions {
        node_id: config.node_id,
        host,
        port,
        rack: None,
    };
    let metadata = Metadata::open(data_dir.path(), options).await?;
    let syncer = start_syncer(data_dir, &metrics, config.flush_journal_bytes)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let fire = FireHandle::new(cores.min(FIRE_LOOPS_MAX));
    let index = data_dir.path().join("index");
    let keys = KeyIndex::open(index.join("keys")).context(
        "what waits under schedule keys cannot be opened; it is made anew from the logs where the folder `index` and those called \
         `timers` are moved away",
    )?;
    let ids = index.join("message-ids");
    let dedup = DedupIndex::open(&ids, Arc::clone(&clock), Arc::clone(&metrics))?;
    let dedup = Arc::new(dedup);
    let registry = Arc::new(Registry::new(RegistryOptions {
        data_dir: Arc::clone(data_dir),
        node_id: config.node_id,
        disk: Arc::new(RealDisk),
        syncer: syncer.clone(),
        clock: Arc::clone(&clock),
        config: live.clone(),
        fire: fire.clone(),
        metrics: Arc::clone(&metrics),
        keys: Arc::new(keys),
        dedup: Arc::clone(&dedup),
    }));
    registry.sweep(&metadata.image());
    super::reconcile(&registry, &metadata).await?;
    Ok(Opened {
        metrics,
        clock,
        metadata,
        syncer,
        fire,
        dedup,
        registry,
    })
}

/// The group commit of all logs, after the segments were given what only the journal has.
fn start_syncer(
    data_dir: &DataDir,
    metrics: &Arc<Metrics>,
    journal_bytes: u64,
) -> anyhow::Result<Syncer> {
    let disk = Arc::new(RealDisk);
    let (journal, replayed) = Journal::open(&*disk, data_dir.path())?;
    if replayed.rounds > 0 {
        info!(
            rounds = replayed.rounds,
            bytes = replayed.bytes,
            written_bytes = replayed.written_bytes,
            segments = replayed.segments,
            passed_over = replayed.passed_over,
            "journal replayed"
        );
    }
    let journal = match journal {
        Some(unwanted) if journal_bytes == 0 => {
            unwanted.remove(&*disk)?;
            None
        }
        other => other,
    };
    let on_sync = Arc::clone(metrics);
    let together = FileSystem::of(data_dir.path())?;
    let journal = (journal_bytes > 0).then(|| JournalOptions {
        disk,
        node_dir: data_dir.path().to_path_buf(),
        journal,
        bytes_max: journal_bytes,
    });
    Ok(Syncer::start(SyncerOptions {
        threads: SYNC_THREADS,
        on_sync: Some(Arc::new(move |synced| on_sync.synced(synced))),
        together: together.map(|all| -> Arc<dyn SyncTogether> { Arc::new(all) }),
        journal,
    })?)
}
