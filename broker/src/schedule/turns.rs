//! Whose turn it is when more is due than one turn of the fire loop appends.
//!
//! Topics take turns, and within a topic its partitions do: a topic with one partition that waits for it is not behind one with a
//! hundred. Within a partition records fire in the order of their due times; between partitions no order is promised.

use std::collections::HashMap;

use storage::units::TopicId;

use crate::partition::PartitionKey;

/// Who was served when, since last nothing was left due.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Turns given so far.
    given: u64,
    partitions: HashMap<PartitionKey, u64>,
    topics: HashMap<TopicId, u64>,
}

impl Turns {
    /// The partition gets its turn.
    pub(super) fn give(&mut self, key: PartitionKey) {
        self.given += 1;
        self.partitions.insert(key, self.given);
        self.topics.insert(key.topic, self.given);
    }

    /// Nothing is left: nobody is owed a turn.
    pub(super) fn forget(&mut self) {
        self.partitions.clear();
        self.topics.clear();
    }

    /// Those that have something due, in the order in which they get their turns.
    pub(super) fn order(&self, mut due: Vec<PartitionKey>) -> Vec<PartitionKey> {
        let partition = |key: &PartitionKey| self.partitions.get(key).copied().unwrap_or(0);
        let topic = |key: &PartitionKey| self.topics.get(&key.topic).copied().unwrap_or(0);
        due.sort_unstable_by_key(|key| (key.topic, partition(key), key.index));
        let mut ranked: Vec<_> = due
            .chunk_by(|a, b| a.topic == b.topic)
            .flat_map(|of_topic| of_topic.iter().enumerate())
            .collect();
        ranked.sort_by_key(|(rank, key)| (*rank, topic(key)));
        ranked.into_iter().map(|(_, key)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(topic: u128, index: i32) -> PartitionKey {
        PartitionKey {
            topic: TopicId::from_u128(topic),
            index,
        }
    }

    /// Serves two of those due at a time; returns how often each was served.
    fn serve(due: &[PartitionKey], turns: usize) -> HashMap<PartitionKey, usize> {
        let mut order = Turns::default();
        let mut served = HashMap::new();
        for _ in 0..turns {
            for key in order.order(due.to_vec()).into_iter().take(2) {
                order.give(key);
                *served.entry(key).or_default() += 1;
            }
        }
        served
    }

    #[test]
    fn partitions_of_a_topic_take_turns() {
        let due: Vec<_> = (0..7).map(|index| key(1, index)).collect();
        let served = serve(&due, 70);
        assert!(due.iter().all(|key| served[key] == 20), "{served:?}");
    }

    #[test]
    fn a_topic_with_one_partition_is_not_behind_one_with_a_hundred() {
        let mut due: Vec<_> = (0..100).map(|index| key(1, index)).collect();
        due.push(key(2, 0));
        let served = serve(&due, 100);
        assert_eq!(served[&key(2, 0)], 100);
        assert!((0..100).all(|index| served[&key(1, index)] == 1));
    }

    #[test]
    fn more_topics_than_a_turn_has_room_for_take_turns() {
        let due: Vec<_> = (1..=5).map(|topic| key(topic, 0)).collect();
        let served = serve(&due, 50);
        assert!(due.iter().all(|key| served[key] == 20), "{served:?}");
    }

    #[test]
    fn all_get_their_turn_where_there_is_room() {
        let due: Vec<_> = (0..9).map(|i| key(u128::from(i % 3 == 0), i)).collect();
        let mut ordered = Turns::default().order(due.clone());
        let mut all = due;
        ordered.sort_unstable();
        all.sort_unstable();
        assert_eq!(ordered, all);
    }
}
