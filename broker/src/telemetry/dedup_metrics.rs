//! What is told of message ids.

use std::time::Duration;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::register::{Register, doubling};
use crate::dedup::IndexStats;

/// Metrics of dedup.
#[derive(Debug)]
pub struct DedupMetrics {
    checks: IntCounterVec,
    lookup_seconds: Histogram,
    entries: IntGauge,
    bytes: IntGauge,
    in_memory: IntGauge,
    filter_bytes: IntGauge,
    filter_is_whole: IntGauge,
    cache_bytes: IntGauge,
    pending_compaction_bytes: IntGauge,
}

/// Those of one topic.
#[derive(Clone, Debug)]
pub(super) struct TopicChecks {
    miss: IntCounter,
    hit: IntCounter,
    expired: IntCounter,
}

/// What those of one topic came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// Copies.
    pub hits: u64,
    /// New ids.
    pub misses: u64,
    /// Ids that the window had left behind.
    pub expired: u64,
}

impl TopicChecks {
    pub(super) fn so_far(&self) -> Checks {
        Checks {
            hits: self.hit.get(),
            misses: self.miss.get(),
            expired: self.expired.get(),
        }
    }

    /// So many ids were asked about; so many were taken, or had been.
    pub(super) fn count(&self, ids: usize, copies: usize, expired: u64) {
        let hits = copies as u64;
        self.hit.inc_by(hits);
        self.expired.inc_by(expired);
        let others = (ids as u64).saturating_sub(hits).saturating_sub(expired);
        self.miss.inc_by(others);
    }
}

impl DedupMetrics {
    pub(super) fn new(r: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            checks: r.counters(
                "chronos_dedup_checks_total",
                "Message ids of produced records: a hit is a copy, which is not appended; expired is one that the window left behind.",
                &["topic", "result"],
            )?,
            lookup_seconds: r.histogram(
                "chronos_dedup_lookup_duration_seconds",
                "Lookups of a batch's message ids in the index, of those that the filter let pass.",
                doubling(0.000_01, 18),
            )?,
            entries: r.gauge(
                "chronos_dedup_window_entries",
                "Message ids remembered, about: those in memory and in the index.",
            )?,
            bytes: r.gauge("chronos_dedup_window_bytes", "Bytes of the index's files.")?,
            in_memory: r.gauge(
                "chronos_dedup_ids_in_memory",
                "Message ids that are not in the index yet, about 40 bytes each.",
            )?,
            filter_bytes: r.gauge("chronos_dedup_filter_bytes", "Memory of the filter.")?,
            filter_is_whole: r.gauge(
                "chronos_dedup_filter_ready",
                "1 where the filter has all ids; 0 while it is made: lookups of new ids read the index then.",
            )?,
            cache_bytes: r.gauge(
                "chronos_rocksdb_block_cache_bytes",
                "Memory of the index's block cache.",
            )?,
            pending_compaction_bytes: r.gauge(
                "chronos_rocksdb_pending_compaction_bytes",
                "Bytes of the index that wait to be merged.",
            )?,
        })
    }

    pub(super) fn of_topic(&self, topic: &str) -> TopicChecks {
        let of = |result| self.checks.with_label_values(&[topic, result]);
        TopicChecks {
            miss: of("miss"),
            hit: of("hit"),
            expired: of("expired"),
        }
    }

    /// Ids of a batch were looked up in the index.
    pub fn looked_up(&self, took: Duration) {
        self.lookup_seconds.observe(took.as_secs_f64());
    }

    pub(super) fn tell(&self, stats: &IndexStats) {
        let set =
            |gauge: &IntGauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.entries, stats.store.entries + stats.in_memory);
        set(&self.bytes, stats.store.bytes);
        set(&self.in_memory, stats.in_memory);
        set(&self.filter_bytes, stats.filter_bytes);
        set(&self.filter_is_whole, u64::from(stats.filter_is_whole));
        set(&self.cache_bytes, stats.store.cache_bytes);
        set(
            &self.pending_compaction_bytes,
            stats.store.pending_compaction_bytes,
        );
    }
}
