//! Answers for partitions, by topic, in the order in which Kafka tells them: first what it refused itself, a topic once; then
//! what the coordinator answered, as it was asked. Where something was refused, answers of one topic are told together. Source:
//! Apache Kafka, `OffsetCommitResponse.Builder`, `OffsetDeleteResponse.Builder`.

use std::hash::Hash;

use indexmap::IndexMap;

/// Topics of an answer, each with its partitions.
pub(super) struct ToldByTopic<T, P> {
    refused: IndexMap<T, Vec<P>>,
    answered: Vec<(T, Vec<P>)>,
}

impl<T: Hash + Eq + Clone, P> ToldByTopic<T, P> {
    pub(super) fn new() -> Self {
        Self {
            refused: IndexMap::new(),
            answered: Vec::new(),
        }
    }

    /// A partition that the coordinator was not asked about.
    pub(super) fn refused(&mut self, topic: &T, partition: P) {
        self.refused
            .entry(topic.clone())
            .or_default()
            .push(partition);
    }

    /// What the coordinator answered for the topic that was asked for next.
    pub(super) fn answered(&mut self, topic: &T, partitions: Vec<P>) {
        if !partitions.is_empty() {
            self.answered.push((topic.clone(), partitions));
        }
    }

    pub(super) fn finish(self) -> Vec<(T, Vec<P>)> {
        let Self {
            mut refused,
            answered,
        } = self;
        if refused.is_empty() {
            return answered;
        }
        for (topic, partitions) in answered {
            refused.entry(topic).or_default().extend(partitions);
        }
        refused.into_iter().collect()
    }
}
