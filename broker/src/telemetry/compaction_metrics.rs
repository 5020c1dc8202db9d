//! What is told of compaction.

use prometheus::{Counter, Gauge, IntCounter, IntGauge};

use super::register::Register;

/// Metrics of the cleaner.
#[derive(Debug)]
pub(super) struct CompactionMetrics {
    pub(super) dirtiest: Gauge,
    pub(super) passes: IntCounter,
    pub(super) bytes_before: IntCounter,
    pub(super) bytes_after: IntCounter,
    pub(super) seconds: Counter,
    pub(super) failing: IntGauge,
}

impl CompactionMetrics {
    pub(super) fn new(r: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            dirtiest: r.float(
                "chronos_log_compaction_max_dirty_ratio",
                "The largest share of a compacted topic's log that no pass went over.",
            )?,
            passes: r.counter("chronos_log_compactions_total", "Passes of the cleaner.")?,
            bytes_before: r.counter(
                "chronos_log_compacted_bytes_total",
                "Bytes that passes went over.",
            )?,
            bytes_after: r.counter(
                "chronos_log_compacted_kept_bytes_total",
                "Bytes of them that are left.",
            )?,
            seconds: r
                .float_counter("chronos_log_compaction_seconds_total", "What passes took.")?,
            failing: r.gauge(
                "chronos_log_compaction_failing_logs",
                "Logs whose last pass failed: they are as they were, and are tried again.",
            )?,
        })
    }
}
