//! The cleaner: of the logs whose `cleanup.policy` has compact, the dirtiest is compacted, one after another. Source: Apache
//! Kafka, `LogCleaner`.

use std::{
    cell::RefCell,
    cmp::Ordering,
    collections::HashMap,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kafka_compat::{
    compress::{self, Codec},
    records,
};
use storage::{
    batch::BatchView,
    log::{Around, BYTES_PER_KEY, Compacted, CompactionRules, Dirt},
    units::{DueTime, ScheduleId},
};
use tokio::sync::watch;
use tracing::{error, info};

use crate::{
    config::LiveConfig,
    pace::{self, Pace},
    partition::{Partition, PartitionKey, Registry},
    telemetry::Metrics,
};

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

/// A log whose pass failed so often in a row rests for so long at most.
const LONGEST_REST: Duration = Duration::from_hours(1);

/// Logs whose passes failed: each is left alone for a time that doubles, so that a log that cannot be compacted does not keep the
/// cleaner from others, or the disk busy. Kafka gives such a log up until it starts again.
#[derive(Debug, Default)]
struct Failed(HashMap<PartitionKey, Failure>);

#[derive(Clone, Copy, Debug)]
struct Failure {
    in_a_row: u32,
    rests_until: Instant,
}

impl Failed {
    fn failed(&mut self, log: PartitionKey, backoff: Duration, now: Instant) {
        let failure = self.0.entry(log).or_insert(Failure {
            in_a_row: 0,
            rests_until: now,
        });
        failure.in_a_row = failure.in_a_row.saturating_add(1);
        let doubled = 2u32.saturating_pow(failure.in_a_row);
        failure.rests_until = now + backoff.saturating_mul(doubled).min(LONGEST_REST);
    }

    fn rests(&self, log: &PartitionKey, now: Instant) -> bool {
        let failure = self.0.get(log);
        failure.is_some_and(|failure| now < failure.rests_until)
    }
}

/// Compacts until told to stop.
pub async fn run(
    registry: Arc<Registry>,
    config: LiveConfig,
    metrics: Arc<Metrics>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut failed = Failed::default();
    loop {
        let settings = config.get().cleaner;
        let mut compacted = false;
        if settings.enabled {
            let (registry, metrics, stop) =
                (Arc::clone(&registry), Arc::clone(&metrics), stopped.clone());
            let mut known = std::mem::take(&mut failed);
            let pass = move || {
                let compacted = dirtiest(&registry, settings, &metrics, &mut known, &stop);
                (compacted, known)
            };
            match tokio::task::spawn_blocking(pass).await {
                Ok(done) => (compacted, failed) = done,
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
    failed: &mut Failed,
    stopped: &watch::Receiver<bool>,
) -> bool {
    let (now, started) = (registry.now(), pace::now());
    let logs = registry.online();
    failed
        .0
        .retain(|key, _| logs.iter().any(|log| log.key == *key));
    let mut dirty: Vec<(Arc<Partition>, CompactionRules, Dirt)> = Vec::new();
    let mut dirtiest: f64 = 0.0;
    for partition in logs {
        let Some(rules) = partition.config().compaction else {
            continue;
        };
        let dirt = partition.log().dirt(&rules, now.0);
        dirtiest = dirtiest.max(dirt.ratio());
        if dirt.is_enough(&rules) && !failed.rests(&partition.key, started) {
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
    let compacted = partition.log().compact(&rules, now.0, &around);
    if compacted.is_err() {
        failed.failed(partition.key, settings.backoff, pace::now());
    } else {
        failed.0.remove(&partition.key);
    }
    metrics.compactions_fail(failed.0.len());
    match compacted {
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

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_log_that_fails_rests_longer_each_time() {
        let log = PartitionKey {
            topic: Uuid::from_u128(1),
            index: 0,
        };
        let mut failed = Failed::default();
        let start = pace::now();
        let backoff = Duration::from_secs(15);
        let mut rests = Vec::new();
        for _ in 0..10 {
            failed.failed(log, backoff, start);
            let seconds =
                (0..=3_600).find(|s| !failed.rests(&log, start + Duration::from_secs(*s)));
            rests.push(seconds.unwrap());
        }
        assert_eq!(
            rests,
            [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]
        );
        let other = PartitionKey { index: 1, ..log };
        assert!(!failed.rests(&other, start));
    }
}
