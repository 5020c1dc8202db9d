//! What is told of consumer groups.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use prometheus::{Counter, Histogram, IntCounter, IntGauge, IntGaugeVec, Registry};

use super::{
    metrics::OTHER,
    register::{Register, doubling},
};
use crate::group::Census;

/// Pairs of group and topic with a label of their own; the rest share `_other`.
const LAGS_MAX: usize = 500;

/// Metrics of groups; cheap to clone.
#[derive(Clone, Debug)]
pub struct GroupMetrics {
    rebalances: IntCounter,
    rebalance_seconds: Histogram,
    commits: IntCounter,
    committed: IntCounter,
    expired: IntCounter,
    load_seconds: Counter,
    loaded: IntCounter,
    groups: IntGaugeVec,
    members: IntGauge,
    offsets: IntGauge,
    lag: IntGaugeVec,
    left_out: IntGauge,
    labelled: Arc<Mutex<HashSet<(String, String)>>>,
}

impl GroupMetrics {
    pub(super) fn new(r: &Register<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            rebalances: r.counter(
                "chronos_group_rebalances_total",
                "Rebalances of groups that became stable.",
            )?,
            rebalance_seconds: r.histogram(
                "chronos_group_rebalance_duration_seconds",
                "From the first member that came, went or changed to a stable group.",
                doubling(0.001, 18),
            )?,
            commits: r.counter(
                "chronos_group_commits_total",
                "Commits of offsets that were answered without an error.",
            )?,
            committed: r.counter(
                "chronos_group_committed_offsets_total",
                "Offsets in those commits.",
            )?,
            expired: r.counter(
                "chronos_group_expired_offsets_total",
                "Committed offsets that went after offsets.retention.minutes.",
            )?,
            load_seconds: r.float_counter(
                "chronos_group_load_seconds_total",
                "What reading groups from __consumer_offsets took.",
            )?,
            loaded: r.counter(
                "chronos_group_loaded_records_total",
                "Records that were read for it.",
            )?,
            groups: r.gauges("chronos_groups", "Groups, by state.", &["state"])?,
            members: r.gauge("chronos_group_members", "Members of all groups.")?,
            offsets: r.gauge(
                "chronos_group_offsets",
                "Committed offsets that are kept, one for each group and partition.",
            )?,
            lag: r.gauges(
                "chronos_group_lag_offsets",
                "Offsets between what a group committed and the end that consumers are told, over a topic's partitions.",
                &["group", "topic"],
            )?,
            left_out: r.gauge(
                "chronos_group_lag_left_out_offsets",
                "Committed offsets that lag is not computed for, as there are more than 100,000.",
            )?,
            labelled: Arc::default(),
        })
    }

    /// Without a page that shows them.
    pub fn unregistered() -> Result<Self, prometheus::Error> {
        Self::new(&Register::new(&Registry::new()))
    }

    /// A group became stable.
    pub fn rebalanced(&self, took: Duration) {
        self.rebalances.inc();
        self.rebalance_seconds.observe(took.as_secs_f64());
    }

    /// How many rebalances there were, and the seconds that they took.
    pub fn rebalances(&self) -> (u64, f64) {
        (
            self.rebalances.get(),
            self.rebalance_seconds.get_sample_sum(),
        )
    }

    /// A commit of so many offsets was answered.
    pub fn committed(&self, offsets: usize) {
        self.commits.inc();
        self.committed.inc_by(offsets as u64);
    }

    /// So many offsets were kept long enough.
    pub fn expired(&self, offsets: usize) {
        self.expired.inc_by(offsets as u64);
    }

    /// A partition's groups were read.
    pub fn loaded(&self, records: u64, took: Duration) {
        self.loaded.inc_by(records);
        self.load_seconds.inc_by(took.as_secs_f64());
    }

    /// Tells what groups there are.
    pub(super) fn tell(&self, census: &Census) {
        let gauge = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.groups.reset();
        for (state, groups) in &census.states {
            self.groups.with_label_values(&[*state]).set(gauge(*groups));
        }
        self.members.set(gauge(census.members));
        self.offsets.set(gauge(census.offsets));
        self.left_out.set(gauge(census.left_out));
        self.tell_lags(&census.lags);
    }

    /// Who has a label keeps it while it is there: a series that came and went with the order of the groups would be of no use.
    fn tell_lags(&self, lags: &BTreeMap<(String, String), i64>) {
        let mut labelled = self.labelled.lock();
        labelled.retain(|pair| lags.contains_key(pair));
        self.lag.reset();
        for (pair, lag) in lags {
            if labelled.len() < LAGS_MAX && !labelled.contains(pair) {
                labelled.insert(pair.clone());
            }
            let (group, topic) = if labelled.contains(pair) {
                (pair.0.as_str(), pair.1.as_str())
            } else {
                (OTHER, OTHER)
            };
            self.lag.with_label_values(&[group, topic]).add(*lag);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;

    use super::*;

    fn series(metrics: &GroupMetrics) -> usize {
        metrics
            .lag
            .collect()
            .iter()
            .map(|f| f.get_metric().len())
            .sum()
    }

    #[test]
    fn groups_beyond_the_bound_share_a_label_and_places_are_given_on() {
        let metrics = GroupMetrics::unregistered().unwrap();
        let pair = |i: usize| (format!("g{i:04}"), "t".to_owned());
        let mut census = Census::default();
        census.lags.extend((100..700).map(|i| (pair(i), 2)));
        metrics.tell(&census);
        assert_eq!(series(&metrics), LAGS_MAX + 1);
        let other = metrics.lag.with_label_values(&[OTHER, OTHER]);
        assert_eq!(other.get(), 200);
        // Earlier names come: whoever has a label keeps it.
        census.lags.extend((0..100).map(|i| (pair(i), 1)));
        metrics.tell(&census);
        assert_eq!(metrics.lag.with_label_values(&["g0100", "t"]).get(), 2);
        let other = metrics.lag.with_label_values(&[OTHER, OTHER]);
        assert_eq!(other.get(), 300);
        census.lags.retain(|pair, _| pair.0.as_str() < "g0100");
        metrics.tell(&census);
        assert_eq!(series(&metrics), 100);
    }
}
