//! What is told of the node as a whole: its disk, its metadata log, its replay jobs.

use std::collections::HashMap;

use parking_lot::Mutex;
use prometheus::{IntCounter, IntGauge, IntGaugeVec};

use super::register::Register;
use crate::metadata::{JobState, Quorum, ReplayJob};

/// Of replay jobs.
const STATES: [&str; 5] = ["running", "paused", "completed", "cancelled", "failed"];

/// What there is to tell at a scrape.
#[derive(Debug)]
pub struct NodeFacts<'a> {
    /// Bytes of the disk, and those that may still be used.
    pub disk: Option<(i64, i64)>,
    /// The metadata log.
    pub quorum: Quorum,
    /// This node.
    pub node_id: i32,
    /// When it started, in milliseconds of wall time.
    pub started_ms: i64,
    /// Replay jobs, those that ended among them.
    pub jobs: &'a [ReplayJob],
}

#[derive(Debug)]
pub(super) struct NodeMetrics {
    disk: IntGauge,
    disk_free: IntGauge,
    is_leader: IntGauge,
    term: IntGauge,
    entries: IntGauge,
    apply_lag: IntGauge,
    jobs: IntGaugeVec,
    job_records: IntCounter,
    job_bytes: IntCounter,
    /// Records and bytes of each job when it was last told of.
    told: Mutex<HashMap<String, (u64, u64)>>,
}

impl NodeMetrics {
    pub(super) fn new(r: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            disk: r.gauge(
                "chronos_storage_disk_total_bytes",
                "Bytes of the data folder's disk.",
            )?,
            disk_free: r.gauge(
                "chronos_storage_disk_free_bytes",
                "Bytes of it that the node may still use.",
            )?,
            is_leader: r.gauge(
                "chronos_raft_is_leader",
                "1 where this node decides on metadata.",
            )?,
            term: r.gauge(
                "chronos_raft_term",
                "The metadata log's term: one more with each leader.",
            )?,
            entries: r.gauge(
                "chronos_raft_log_end",
                "One past the metadata log's last entry.",
            )?,
            apply_lag: r.gauge(
                "chronos_raft_apply_lag_entries",
                "Entries of the metadata log that this node has not applied yet.",
            )?,
            jobs: r.gauges("chronos_replay_jobs", "Replay jobs.", &["state"])?,
            job_records: r.counter(
                "chronos_replay_records_total",
                "Records that replay jobs appended, counted at a scrape.",
            )?,
            job_bytes: r.counter(
                "chronos_replay_bytes_total",
                "Bytes of their keys and values.",
            )?,
            told: Mutex::default(),
        })
    }

    pub(super) fn tell(&self, facts: &NodeFacts<'_>) {
        if let Some((total, free)) = facts.disk {
            self.disk.set(total);
            self.disk_free.set(free);
        }
        let quorum = &facts.quorum;
        self.is_leader
            .set(i64::from(quorum.leader == facts.node_id));
        self.term.set(i64::from(quorum.term));
        self.entries.set(quorum.log_end);
        self.apply_lag.set((quorum.log_end - quorum.applied).max(0));
        for state in STATES {
            let jobs = facts.jobs.iter().filter(|job| name(&job.state) == state);
            let count = i64::try_from(jobs.count()).unwrap_or(i64::MAX);
            self.jobs.with_label_values(&[state]).set(count);
        }
        self.tell_progress(facts.jobs, facts.started_ms);
    }

    fn tell_progress(&self, jobs: &[ReplayJob], started_ms: i64) {
        let mut told = self.told.lock();
        for job in jobs {
            let now = (job.progress.records, job.progress.bytes);
            // What a job did before the node started is no event of its.
            let at_first = if job.created_ms < started_ms {
                now
            } else {
                (0, 0)
            };
            let before = told.insert(job.id.clone(), now).unwrap_or(at_first);
            self.job_records.inc_by(now.0.saturating_sub(before.0));
            self.job_bytes.inc_by(now.1.saturating_sub(before.1));
        }
        told.retain(|id, _| jobs.iter().any(|job| job.id == *id));
    }
}

fn name(state: &JobState) -> &'static str {
    match state {
        JobState::Running => "running",
        JobState::Paused => "paused",
        JobState::Completed => "completed",
        JobState::Cancelled => "cancelled",
        JobState::Failed { .. } => "failed",
    }
}
