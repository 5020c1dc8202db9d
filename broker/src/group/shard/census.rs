//! What a shard tells of itself: counted at a scrape, and as it goes.

use std::time::Duration;

use super::GroupShard;
use crate::{
    coordinator::KeyValue,
    group::{
        metrics::{Census, Ends, Rebalances},
        record::{self, Said},
    },
    telemetry::GroupMetrics,
};

impl GroupShard {
    /// Counts what happens here.
    #[must_use]
    pub fn told_to(mut self, metrics: GroupMetrics) -> Self {
        self.rebalances = Rebalances::told_to(metrics);
        self
    }

    /// Adds its groups to a census.
    pub fn count(&self, census: &mut Census, ends: &Ends) {
        let classic = self.groups.iter();
        let classic = classic.map(|(id, g)| (id, g.state.name(), g.members().count()));
        let consumers = self.consumers.iter();
        let consumers = consumers.map(|(id, g)| (id, g.state().name(), g.size()));
        for (id, state, members) in classic.chain(consumers) {
            census.group(state, members);
            for (topic, of_topic) in self.offsets.of(id) {
                let committed = of_topic.iter();
                let committed = committed.map(|(partition, value)| (*partition, value.offset));
                census.topic(id, topic, committed, ends);
            }
        }
    }

    /// These records say that offsets are kept no longer, and groups.
    pub(super) fn tell_of_expired(&self, records: &[KeyValue]) {
        let is_offset =
            |record: &&KeyValue| matches!(record::read(record), Some(Said::Offset { .. }));
        if let Some(metrics) = self.rebalances.metrics() {
            metrics.expired(records.iter().filter(is_offset).count());
        }
    }

    pub(super) fn tell_of_load(&self, records: u64, took: Duration) {
        if let Some(metrics) = self.rebalances.metrics() {
            metrics.loaded(records, took);
        }
    }
}
