//! Metrics, for Prometheus.
//!
//! Labels are bounded: APIs, error names, at most [`TOPICS_MAX`] topics, and at most 500 pairs of group and topic; never a
//! partition, key, client or message id.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use kafka_compat::{
    api_table::APIS,
    protocol::{error::ResponseError, messages::ApiKey},
};
use parking_lot::Mutex;
use prometheus::{
    Encoder, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};
use storage::log::Synced;

use super::{
    compaction_metrics::CompactionMetrics,
    dedup_metrics::{Checks, DedupMetrics, TopicChecks},
    group_metrics::GroupMetrics,
    node_metrics::{NodeFacts, NodeMetrics},
    process::Usage,
    register::{Described, Register, doubling},
    rpc_metrics::RpcMetrics,
    schedule_metrics::ScheduleMetrics,
};
use crate::{dedup::IndexStats, group::Census, schedule::accept::PendingSize};

/// Topics with a label of their own; the rest share `_other`.
const TOPICS_MAX: usize = 200;
pub(super) const OTHER: &str = "_other";

/// The counters of one API.
#[derive(Debug)]
struct ApiMetrics {
    seconds: Histogram,
    succeeded: IntCounter,
}

/// The counters of one topic, or of all that share a label.
#[derive(Clone, Debug)]
pub struct TopicMetrics {
    records: IntCounter,
    bytes_in: IntCounter,
    bytes_out: IntCounter,
    refused: IntCounter,
    accepted: IntCounter,
    delivered: IntCounter,
    cancelled: IntCounter,
    rescheduled: IntCounter,
    carried: IntCounter,
    carried_bytes: IntCounter,
    fire_failed: IntCounter,
    lateness: Histogram,
    checks: TopicChecks,
}

impl TopicMetrics {
    /// A batch was appended.
    pub fn produced(&self, records: i32, bytes: usize, held: u64) {
        self.records.inc_by(u64::try_from(records).unwrap_or(0));
        self.bytes_in.inc_by(bytes as u64);
        self.accepted.inc_by(held);
    }

    /// So many message ids of a batch were asked about: those were copies, and those had been taken too long ago.
    pub fn deduplicated(&self, ids: usize, copies: usize, expired: u64) {
        self.checks.count(ids, copies, expired);
    }

    /// What message ids came to so far.
    pub fn checks(&self) -> Checks {
        self.checks.so_far()
    }

    /// A batch was refused.
    pub fn refused(&self) {
        self.refused.inc();
    }

    /// Records were sent to a consumer.
    pub fn fetched(&self, bytes: usize) {
        self.bytes_out.inc_by(bytes as u64);
    }

    /// Held records became visible, each so many milliseconds after it was due.
    pub fn fired(&self, lateness_ms: impl Iterator<Item = i64>) {
        let mut count = 0;
        for late in lateness_ms {
            count += 1;
            let late = u64::try_from(late).unwrap_or(0);
            self.lateness
                .observe(Duration::from_millis(late).as_secs_f64());
        }
        self.delivered.inc_by(count);
    }

    /// So many held records were cancelled.
    pub fn cancelled(&self, records: usize) {
        self.cancelled.inc_by(records as u64);
    }

    /// So many held records got another due time.
    pub fn rescheduled(&self, records: usize) {
        self.rescheduled.inc_by(records as u64);
    }

    /// So many held records were held again at the log's end, of so many bytes.
    pub fn carried(&self, records: usize, bytes: u64) {
        self.carried.inc_by(records as u64);
        self.carried_bytes.inc_by(bytes);
    }

    /// A held record could not be fired.
    pub fn fire_failed(&self) {
        self.fire_failed.inc();
    }
}

/// One partition's share of what [`Metrics::logs`] tells.
#[derive(Clone, Copy, Debug)]
pub struct LogFacts<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Bytes of its segments.
    pub bytes: u64,
    /// Places of them that are damaged.
    pub damaged: usize,
    /// Those of them that only held records keep.
    pub pinned_bytes: u64,
    /// Held records not yet fired.
    pub pending: PendingSize,
    /// Those of them that are due.
    pub overdue: u64,
    /// How late the first of them is.
    pub oldest_overdue: Duration,
    /// Timers in memory.
    pub timers_in_memory: usize,
}

/// All metrics of a node.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    topics: Mutex<HashSet<String>>,
    scraping: Mutex<()>,
    uptime: prometheus::Gauge,
    started: tokio::time::Instant,
    apis: HashMap<i16, ApiMetrics>,
    requests: IntCounterVec,
    bytes_in: IntCounter,
    bytes_out: IntCounter,
    records: IntCounterVec,
    topic_bytes: IntCounterVec,
    connections: IntGauge,
    fsync_seconds: Histogram,
    journal_bytes: IntCounter,
    log_bytes: IntGauge,
    damaged: IntGauge,
    compaction: CompactionMetrics,
    groups: GroupMetrics,
    dedup: DedupMetrics,
    scrubs: IntCounter,
    refused: IntCounterVec,
    schedule: ScheduleMetrics,
    partitions: IntGaugeVec,
    cpu_seconds: prometheus::Gauge,
    resident_bytes: IntGauge,
    node: NodeMetrics,
    rpc: RpcMetrics,
    described: Vec<Described>,
}

impl Metrics {
    /// Registers everything. The error is a defect of ours: a name used twice.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let r = Register::new(&registry);
        let build = r.gauges("chronos_build_info", "This build.", &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let seconds = doubling(0.000_5, 15);
        let request_seconds = r.histograms(
            "chronos_kafka_request_duration_seconds",
            "From a request's last byte to its answer's last byte.",
            &["api"],
            seconds.clone(),
        )?;
        let requests = r.counters(
            "chronos_kafka_requests_total",
            "Requests answered, by first error.",
            &["api", "error"],
        )?;
        let request_bytes = r.counters(
            "chronos_kafka_request_bytes_total",
            "Bytes of frames.",
            &["direction"],
        )?;
        let apis = APIS.iter().map(|api| {
            let name = format!("{:?}", api.key);
            let metrics = ApiMetrics {
                seconds: request_seconds.with_label_values(&[&name]),
                succeeded: requests.with_label_values(&[name.as_str(), "none"]),
            };
            (api.key as i16, metrics)
        });
        let made = Self {
            topics: Mutex::default(),
            scraping: Mutex::default(),
            uptime: r.float("chronos_uptime_seconds", "Seconds since the start.")?,
            started: tokio::time::Instant::now(),
            apis: apis.collect(),
            bytes_in: request_bytes.with_label_values(&["in"]),
            bytes_out: request_bytes.with_label_values(&["out"]),
            requests,
            records: r.counters(
                "chronos_topic_records_total",
                "Records produced.",
                &["topic"],
            )?,
            topic_bytes: r.counters(
                "chronos_topic_bytes_total",
                "Bytes of batches.",
                &["topic", "direction"],
            )?,
            connections: r.gauge("chronos_connections", "Kafka connections open.")?,
            journal_bytes: r.counter(
                "chronos_journal_bytes_total",
                "Bytes written to the node's journal, which makes small appends durable together.",
            )?,
            fsync_seconds: r.histogram(
                "chronos_log_fsync_duration_seconds",
                "Group commits.",
                seconds.clone(),
            )?,
            log_bytes: r.gauge("chronos_log_size_bytes", "Bytes of all segments.")?,
            refused: r.counters(
                "chronos_topic_batches_refused_total",
                "Batches refused by their records.",
                &["topic"],
            )?,
            damaged: r.gauge(
                "chronos_log_damaged_places",
                "Places in segments that a scrub found damaged.",
            )?,
            compaction: CompactionMetrics::new(&r)?,
            groups: GroupMetrics::new(&r)?,
            dedup: DedupMetrics::new(&r)?,
            scrubs: r.counter(
                "chronos_log_scrubs_total",
                "Passes over all logs in search of damage.",
            )?,
            schedule: ScheduleMetrics::new(&r)?,
            partitions: r.gauges("chronos_partitions", "Partitions of this node.", &["state"])?,
            cpu_seconds: r.float("process_cpu_seconds_total", "User and system time.")?,
            resident_bytes: r.gauge("process_resident_memory_bytes", "Resident memory.")?,
            node: NodeMetrics::new(&r)?,
            rpc: RpcMetrics::new(&r)?,
            described: Vec::new(),
            registry: Registry::new(),
        };
        let described = r.described();
        Ok(Self {
            registry,
            described,
            ..made
        })
    }

    /// A request was answered.
    pub fn request_done(&self, api: ApiKey, took: Duration, error: Option<i16>) {
        let Some(handles) = self.apis.get(&(api as i16)) else {
            return;
        };
        handles.seconds.observe(took.as_secs_f64());
        let name = match error.and_then(ResponseError::try_from_code) {
            None => return handles.succeeded.inc(),
            Some(ResponseError::Unknown(_)) => "unknown".to_owned(),
            Some(known) => format!("{known:?}"),
        };
        self.requests
            .with_label_values(&[format!("{api:?}").as_str(), &name])
            .inc();
    }

    /// Frames went over the wire.
    pub fn request_bytes(&self, received: usize, sent: usize) {
        self.bytes_in.inc_by(received as u64);
        self.bytes_out.inc_by(sent as u64);
    }

    /// The counters of a topic, looked up once for all its partitions' life.
    pub fn topic(&self, topic: &str) -> TopicMetrics {
        let topic = self.label(topic);
        let labels = &[topic.as_str()];
        TopicMetrics {
            records: self.records.with_label_values(labels),
            bytes_in: self.topic_bytes.with_label_values(&[&topic, "in"]),
            bytes_out: self.topic_bytes.with_label_values(&[&topic, "out"]),
            refused: self.refused.with_label_values(labels),
            accepted: self.schedule.accepted.with_label_values(labels),
            delivered: self.schedule.delivered.with_label_values(labels),
            cancelled: self.schedule.cancelled.with_label_values(labels),
            rescheduled: self.schedule.rescheduled.with_label_values(labels),
            carried: self.schedule.carried.with_label_values(labels),
            carried_bytes: self.schedule.carried_bytes.with_label_values(labels),
            fire_failed: self.schedule.fire_failed.with_label_values(labels),
            lateness: self.schedule.lateness.clone(),
            checks: self.dedup.of_topic(&topic),
        }
    }

    /// A group commit was done.
    pub fn synced(&self, synced: Synced) {
        self.fsync_seconds.observe(synced.took.as_secs_f64());
        self.journal_bytes.inc_by(synced.journal_bytes);
    }

    /// How dirty the dirtiest of the logs is that are compacted.
    pub fn dirtiest(&self, ratio: f64) {
        self.compaction.dirtiest.set(ratio);
    }

    /// A log was compacted.
    pub fn compacted(&self, bytes_before: u64, bytes_after: u64, took: Duration) {
        self.compaction.passes.inc();
        self.compaction.bytes_before.inc_by(bytes_before);
        self.compaction.bytes_after.inc_by(bytes_after);
        self.compaction.seconds.inc_by(took.as_secs_f64());
    }

    /// Of so many logs the last pass failed.
    pub fn compactions_fail(&self, logs: usize) {
        let logs = i64::try_from(logs).unwrap_or(i64::MAX);
        self.compaction.failing.set(logs);
    }

    /// The counters of groups.
    pub fn groups(&self) -> &GroupMetrics {
        &self.groups
    }

    /// What is told of message ids.
    pub fn dedup(&self) -> &DedupMetrics {
        &self.dedup
    }

    /// A pass over all logs came to its end.
    pub fn scrubbed(&self) {
        self.scrubs.inc();
    }

    /// Connections open.
    pub fn connections(&self, open: usize) {
        self.connections
            .set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Partitions by state.
    pub fn partitions(&self, online: usize, offline: usize) {
        for (state, n) in [("online", online), ("offline", offline)] {
            self.partitions
                .with_label_values(&[state])
                .set(i64::try_from(n).unwrap_or(i64::MAX));
        }
    }

    /// The text that Prometheus scrapes, with what all logs hold and what groups there are now.
    pub fn scrape<'a>(
        &self,
        logs: impl Iterator<Item = LogFacts<'a>>,
        groups: &Census,
        dedup: &IndexStats,
        node: &NodeFacts<'_>,
    ) -> Result<Vec<u8>, prometheus::Error> {
        let _one_at_a_time = self.scraping.lock();
        self.groups.tell(groups);
        self.dedup.tell(dedup);
        self.node.tell(node);
        self.logs(logs);
        self.encode()
    }

    fn logs<'a>(&self, logs: impl Iterator<Item = LogFacts<'a>>) {
        let logs: Vec<_> = logs.collect();
        let damaged: usize = logs.iter().map(|log| log.damaged).sum();
        self.damaged.set(i64::try_from(damaged).unwrap_or(i64::MAX));
        let bytes: u64 = logs.iter().map(|log| log.bytes).sum();
        self.log_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.schedule.tell(&logs, |topic| self.label(topic));
    }

    /// What there is to scrape, by name.
    pub fn described(&self) -> &[Described] {
        &self.described
    }

    /// What is told of calls of the gRPC API.
    pub fn rpc(&self) -> &RpcMetrics {
        &self.rpc
    }

    /// How long the node has run.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    fn encode(&self) -> Result<Vec<u8>, prometheus::Error> {
        self.uptime.set(self.uptime().as_secs_f64());
        let used = Usage::now();
        self.cpu_seconds.set(used.cpu_seconds);
        self.resident_bytes.set(used.resident_bytes);
        let mut out = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut out)?;
        Ok(out)
    }

    fn label(&self, topic: &str) -> String {
        let mut topics = self.topics.lock();
        if topics.contains(topic) {
            return topic.to_owned();
        }
        if topics.len() >= TOPICS_MAX {
            return OTHER.to_owned();
        }
        topics.insert(topic.to_owned());
        topic.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn topics_beyond_the_bound_share_a_label() {
        let metrics = Metrics::new().unwrap();
        for i in 0..1_000 {
            metrics.topic(&format!("t{i}")).produced(1, 10, 0);
        }
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        let series = text
            .lines()
            .filter(|l| l.starts_with("chronos_topic_records_total{"))
            .count();
        assert_eq!(series, TOPICS_MAX + 1);
        assert!(
            text.contains(r#"chronos_topic_records_total{topic="_other"} 800"#),
            "{text}"
        );
    }
}
