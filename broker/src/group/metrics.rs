//! What is counted of groups while they live, and what is looked up of them when somebody scrapes.
//!
//! Lag is the visible end of a partition minus the offset that a group committed: offsets, not records (`docs/groups.md`).

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use super::classic::State;
use crate::{coordinator::Now, partition::Partition, telemetry::GroupMetrics};

/// Committed offsets whose lag is computed at a scrape: some tens of milliseconds.
const LOOKED_AT_MAX: usize = 100_000;

/// The groups of a node at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Groups by Kafka's name of their state.
    pub states: BTreeMap<&'static str, usize>,
    /// Members of all groups.
    pub members: usize,
    /// Committed offsets.
    pub offsets: usize,
    /// Lag by group and topic, over all partitions.
    pub lags: BTreeMap<(String, String), i64>,
    /// Committed offsets that lag was not computed for: there are too many.
    pub left_out: usize,
}

impl Census {
    /// Counts a group.
    pub(super) fn group(&mut self, state: &'static str, members: usize) {
        *self.states.entry(state).or_default() += 1;
        self.members += members;
    }

    /// Counts what a group committed in a topic's partitions.
    pub(super) fn topic(
        &mut self,
        group: &str,
        topic: &str,
        committed: impl ExactSizeIterator<Item = (i32, i64)>,
        ends: &Ends,
    ) {
        let count = committed.len();
        self.offsets += count;
        if self.offsets > LOOKED_AT_MAX {
            self.left_out += count;
            return;
        }
        let Some(ends) = ends.0.get(topic) else {
            return;
        };
        let lag = committed.fold(0i64, |sum, (partition, offset)| {
            let end = ends.get(&partition).copied();
            // What is beyond the end was committed before the topic was made anew.
            let left = end.map_or(0, |end| end.saturating_sub(offset).max(0));
            sum.saturating_add(left)
        });
        let key = (group.to_owned(), topic.to_owned());
        let sum = self.lags.entry(key).or_default();
        *sum = sum.saturating_add(lag);
    }
}

/// Where the records that consumers can read end.
#[derive(Debug, Default)]
pub struct Ends(HashMap<Arc<str>, HashMap<i32, i64>>);

impl Ends {
    /// Of these partitions, now.
    pub fn of(partitions: &[Arc<Partition>]) -> Self {
        let mut ends = Self::default();
        for partition in partitions {
            let end = partition.offsets().visible_end.0;
            let of_topic = ends.0.entry(Arc::clone(&partition.topic)).or_default();
            of_topic.insert(partition.key.index, end);
        }
        ends
    }
}

/// The rebalances of a shard, and when each began.
#[derive(Debug, Default)]
pub(super) struct Rebalances {
    metrics: Option<GroupMetrics>,
    began: HashMap<String, i64>,
}

impl Rebalances {
    pub(super) fn told_to(metrics: GroupMetrics) -> Self {
        Self {
            metrics: Some(metrics),
            began: HashMap::new(),
        }
    }

    pub(super) fn metrics(&self) -> Option<&GroupMetrics> {
        self.metrics.as_ref()
    }

    /// A group took a step. A rebalance lasts from the step that leaves `Empty` or `Stable` to the one that gets to `Stable`.
    pub(super) fn stepped(&mut self, group: &str, before: State, after: State, now: Now) {
        let Some(metrics) = &self.metrics else {
            return;
        };
        match after {
            // Most steps: a heartbeat, a commit.
            State::Stable | State::Empty if before == after => {}
            State::PreparingRebalance | State::CompletingRebalance => {
                if !self.began.contains_key(group) {
                    self.began.insert(group.to_owned(), now.steady);
                }
            }
            State::Stable => {
                if let Some(began) = self.began.remove(group) {
                    let took = u64::try_from(now.steady.saturating_sub(began)).unwrap_or(0);
                    metrics.rebalanced(Duration::from_millis(took));
                }
            }
            State::Empty => {
                self.began.remove(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(of: &[(&str, &[i64])]) -> Ends {
        let topics = of.iter().map(|(topic, ends)| {
            let ends = (0..).zip(ends.iter().copied()).collect();
            (Arc::from(*topic), ends)
        });
        Ends(topics.collect())
    }

    #[test]
    fn lag_is_the_visible_end_minus_what_was_committed() {
        let ends = ends(&[("t", &[10, 20]), ("u", &[5])]);
        let mut census = Census::default();
        census.topic("g", "t", [(0, 4), (1, 25)].into_iter(), &ends);
        census.topic("g", "u", [(0, 5), (7, 1)].into_iter(), &ends);
        census.topic("g", "gone", [(0, 1)].into_iter(), &ends);
        let lag = |topic: &str| census.lags.get(&("g".to_owned(), topic.to_owned()));
        assert_eq!(
            (lag("t"), lag("u"), lag("gone")),
            (Some(&6), Some(&0), None)
        );
        assert_eq!((census.offsets, census.left_out), (5, 0));
    }

    #[test]
    fn too_many_offsets_are_counted_and_left_out() {
        let ends = ends(&[("t", &[10])]);
        let mut census = Census::default();
        let many = vec![(0, 9); LOOKED_AT_MAX];
        census.topic("a", "t", many.into_iter(), &ends);
        census.topic("b", "t", [(0, 1)].into_iter(), &ends);
        assert_eq!((census.lags.len(), census.left_out), (1, 1));
        assert_eq!(census.offsets, LOOKED_AT_MAX + 1);
    }

    #[test]
    fn a_rebalance_lasts_until_the_group_is_stable() {
        let metrics = GroupMetrics::unregistered().unwrap();
        let mut rebalances = Rebalances::told_to(metrics.clone());
        let mut go = |before, after, ms| {
            let now = Now {
                wall: storage::units::TimestampMs(0),
                steady: ms,
            };
            rebalances.stepped("g", before, after, now);
        };
        go(State::Empty, State::PreparingRebalance, 1_000);
        go(State::PreparingRebalance, State::CompletingRebalance, 2_000);
        go(State::CompletingRebalance, State::PreparingRebalance, 2_500);
        go(State::PreparingRebalance, State::CompletingRebalance, 3_000);
        go(State::CompletingRebalance, State::Stable, 3_500);
        go(State::Stable, State::Stable, 9_000);
        assert_eq!(metrics.rebalances(), (1, 2.5));
        // One that nobody is left of is none.
        go(State::Stable, State::PreparingRebalance, 10_000);
        go(State::PreparingRebalance, State::Empty, 11_000);
        go(State::Empty, State::Empty, 12_000);
        assert_eq!(metrics.rebalances().0, 1);
    }
}
