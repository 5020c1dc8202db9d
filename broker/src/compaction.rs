//! The cleaner: of the logs whose `cleanup.policy` has compact, the dirtiest is compacted, one after another. Source: Apache
//! Kafka, `LogCleaner`.

use std::{cell::RefCell, cmp::Ordering, io, sync::Arc, time::Duration};

use bytes::Bytes;
use kafka_compat::{
    compress::{self, Codec},
    records,
};
use storage::{
    batch::BatchView,
    log::{Around, Compacted, CompactionRules, Dirt},
    units::{DueTime, ScheduleId},
};
use tokio::sync::watch;
use tracing::{error, info};

use crate::{
    config::LiveConfig,
    pace::{self, Pace},
    partition::{Partition, Registry},
    telemetry::Metrics,
};

/// What a key takes in the cleaner's memory.
const BYTES_PER_KEY: usize = 56;

/// Settings of the cleaner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`
    pub enabled: bool,
    /// `log.cleaner.backoff.ms`
    pub backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`
    pub dedupe_buffer_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`
    pub bytes_per_second: f64,
}

impl CleanerConfig {
    /// Keys that fit the memory.
    pub fn keys_max(&self) -> usize {
        (self.dedupe_buffer_bytes / BYTES_PER_KEY).max(1)
    }
}

/// Compacts until told to stop.
pub async fn run(
    registry: Arc<Registry>,
    config: LiveConfig,
    metrics: Arc<Metrics>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let settings = config.get().cleaner;
        let mut compacted = false;
        if settings.enabled {
            let (registry, metrics, stop) =
                (Arc::clone(&registry), Arc::clone(&metrics), stopped.clone());
            let pass = move || dirtiest(&registry, settings, &metrics, &stop);
            match tokio::task::spawn_blocking(pass).await {
                Ok(done) => compacted = done,
                Err(error) => error!(%error, "a compaction ended early"),
            }
        }
        let rest = if compacted {
            Duration::ZERO
        } else {
            settings.backoff
        };
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(rest) => {}
        }
    }
}

/// Compacts the log that needs it most; whether there was one.
fn dirtiest(
    registry: &Registry,
    settings: CleanerConfig,
    metrics: &Metrics,
    stopped: &watch::Receiver<bool>,
) -> bool {
    let now = registry.now();
    let mut dirty: Vec<(Arc<Partition>, CompactionRules, Dirt)> = Vec::new();
    let mut dirtiest: f64 = 0.0;
    for partition in registry.online() {
        let Some(rules) = partition.config().compaction else {
            continue;
        };
        let dirt = partition.log().dirt(&rules, now.0);
        dirtiest = dirtiest.max(dirt.ratio());
        if dirt.is_enough(&rules) {
            dirty.push((partition, rules, dirt));
        }
    }
    metrics.dirtiest(dirtiest);
    let worst = dirty.into_iter().max_by(|(.., a), (.., b)| {
        (a.is_late, a.ratio())
            .partial_cmp(&(b.is_late, b.ratio()))
            .unwrap_or(Ordering::Equal)
    });
    let Some((partition, rules, _)) = worst else {
        return false;
    };
    let around = Here {
        partition: &partition,
        pace: RefCell::new(Pace::new(settings.bytes_per_second)),
        stopped,
        registry,
    };
    let started = pace::now();
    match partition.log().compact(&rules, now.0, &around) {
        Ok(Some(compacted)) => {
            let Compacted {
                bytes_before,
                bytes_after,
                records_before,
                records_after,
                keys,
            } = compacted;
            info!(topic = %partition.topic, partition = partition.key.index, bytes_before, bytes_after,
                  records_before, records_after, keys, took_ms = started.elapsed().as_millis(), "compacted");
            metrics.compacted(bytes_before, bytes_after, started.elapsed());
            true
        }
        Ok(None) => false,
        Err(error) => {
            error!(topic = %partition.topic, partition = partition.key.index, %error,
                   "compaction failed; the log is as it was");
            false
        }
    }
}

/// What a log's compaction needs of the node.
struct Here<'a> {
    partition: &'a Partition,
    pace: RefCell<Pace>,
    stopped: &'a watch::Receiver<bool>,
    registry: &'a Registry,
}

impl Around for Here<'_> {
    fn plain(&self, batch: &BatchView) -> io::Result<Bytes> {
        records::plain(batch).map_err(io::Error::other)
    }

    fn packed(&self, codec: u8, plain: Vec<u8>) -> io::Result<Vec<u8>> {
        match Codec::of(codec) {
            Some(Codec::None) | None => Ok(plain),
            Some(codec) => compress::compress(codec, &plain).map_err(io::Error::other),
        }
    }

    fn is_pending(&self, held: &[(ScheduleId, DueTime)]) -> io::Result<bool> {
        for (id, due) in held {
            let found = self.partition.find_pending(*id, *due);
            if found.map_err(io::Error::other)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn before_swap(&self) -> io::Result<()> {
        self.partition.checkpoint_when_emptied(self.registry.now())
    }

    fn pace(&self, bytes: usize) -> bool {
        self.pace.borrow_mut().passed(bytes, self.stopped)
    }
}
