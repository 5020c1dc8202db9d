//! What is told of held records.

use std::time::Duration;

use prometheus::{Histogram, IntCounterVec, IntGauge, IntGaugeVec};

use super::{
    metrics::LogFacts,
    register::{Register, doubling},
};
use crate::schedule::accept::PendingSize;

/// Metrics of held records.
#[derive(Debug)]
pub(super) struct ScheduleMetrics {
    pinned_bytes: IntGauge,
    pending: IntGaugeVec,
    pending_bytes: IntGaugeVec,
    overdue: IntGauge,
    oldest_overdue: prometheus::Gauge,
    timers_in_memory: IntGauge,
    pub(super) accepted: IntCounterVec,
    pub(super) delivered: IntCounterVec,
    pub(super) cancelled: IntCounterVec,
    pub(super) rescheduled: IntCounterVec,
    pub(super) carried: IntCounterVec,
    pub(super) carried_bytes: IntCounterVec,
    pub(super) fire_failed: IntCounterVec,
    pub(super) lateness: Histogram,
}

impl ScheduleMetrics {
    pub(super) fn new(r: &Register<'_>) -> Result<Self, prometheus::Error> {
        let seconds = doubling(0.000_5, 15);
        Ok(Self {
            pinned_bytes: r.gauge(
                "chronos_schedule_pinned_bytes",
                "Bytes that retention gave up, and that held records keep on the disk.",
            )?,
            pending: r.gauges(
                "chronos_schedule_pending_messages",
                "Held records not yet fired.",
                &["topic"],
            )?,
            pending_bytes: r.gauges(
                "chronos_schedule_pending_bytes",
                "What held records not yet fired take in their HOLD frames.",
                &["topic"],
            )?,
            overdue: r.gauge(
                "chronos_schedule_overdue_messages",
                "Held records that are due and not fired yet; at most 100,000 of a partition are counted.",
            )?,
            oldest_overdue: r.float(
                "chronos_schedule_oldest_overdue_seconds",
                "How long ago the first of those was due; 0 where there is none.",
            )?,
            timers_in_memory: r.gauge(
                "chronos_schedule_timers_in_memory",
                "Timers that memtables and look-aheads have, about 80 bytes each.",
            )?,
            accepted: r.counters(
                "chronos_schedule_accepted_total",
                "Records held.",
                &["topic"],
            )?,
            delivered: r.counters(
                "chronos_schedule_delivered_total",
                "Held records fired and committed.",
                &["topic"],
            )?,
            cancelled: r.counters(
                "chronos_schedule_cancelled_total",
                "Held records cancelled.",
                &["topic"],
            )?,
            rescheduled: r.counters(
                "chronos_schedule_rescheduled_total",
                "Held records that got another due time.",
                &["topic"],
            )?,
            carried: r.counters(
                "chronos_schedule_carried_total",
                "Held records that were held again at the log's end, so that their segments could go.",
                &["topic"],
            )?,
            carried_bytes: r.counters(
                "chronos_schedule_carried_bytes_total",
                "What they took.",
                &["topic"],
            )?,
            fire_failed: r.counters(
                "chronos_schedule_failed_total",
                "Held records that could not be fired.",
                &["topic"],
            )?,
            lateness: r.histogram(
                "chronos_schedule_delivery_lateness_seconds",
                "From due to committed.",
                seconds,
            )?,
        })
    }

    /// Tells what waits in these partitions.
    pub(super) fn tell(&self, logs: &[LogFacts<'_>], label: impl Fn(&str) -> String) {
        let gauge = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let (mut pinned, mut overdue, mut in_memory) = (0, 0, 0);
        let mut oldest = Duration::ZERO;
        self.pending.reset();
        self.pending_bytes.reset();
        for log in logs {
            pinned += log.pinned_bytes;
            overdue += log.overdue;
            in_memory += log.timers_in_memory as u64;
            oldest = oldest.max(log.oldest_overdue);
            if log.pending.records > 0 {
                let topic = label(log.topic);
                let labels = &[topic.as_str()];
                let PendingSize { records, bytes } = log.pending;
                self.pending.with_label_values(labels).add(gauge(records));
                self.pending_bytes
                    .with_label_values(labels)
                    .add(gauge(bytes));
            }
        }
        self.overdue.set(gauge(overdue));
        self.oldest_overdue.set(oldest.as_secs_f64());
        self.timers_in_memory.set(gauge(in_memory));
        self.pinned_bytes.set(gauge(pinned));
    }
}
