//! What groups committed. Source: Apache Kafka, `OffsetMetadataManager`.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::record::OffsetValue;

/// An offset to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The offset to go on from.
    pub offset: i64,
    /// The leader epoch of the record before it, or -1.
    pub leader_epoch: i32,
    /// Whatever the client wants to keep with it.
    pub metadata: String,
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The offset to go on from.
    pub offset: i64,
    /// The leader epoch of the record before it, or -1.
    pub leader_epoch: i32,
    /// What the client wanted to keep with it.
    pub metadata: String,
}

impl From<&OffsetValue> for Committed {
    fn from(value: &OffsetValue) -> Self {
        Self {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata.clone(),
        }
    }
}

type OfGroup = BTreeMap<String, BTreeMap<i32, OffsetValue>>;

/// Offsets of the groups of a shard.
#[derive(Debug, Default)]
pub(super) struct Offsets(HashMap<String, OfGroup>);

/// What open transactions commit, by producer; in the order of the log.
#[derive(Debug, Default)]
pub(super) struct InTransactions(HashMap<i64, Vec<InTransaction>>);

/// An offset that counts when its transaction is committed, unless a later one was committed meanwhile.
#[derive(Debug)]
pub(super) struct InTransaction {
    pub(super) group: String,
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) value: OffsetValue,
    is_outdated: bool,
}

impl InTransactions {
    pub(super) fn add(
        &mut self,
        producer_id: i64,
        group: String,
        (topic, partition): (String, i32),
        value: OffsetValue,
    ) {
        let of_producer = self.0.entry(producer_id).or_default();
        of_producer.push(InTransaction {
            group,
            topic,
            partition,
            value,
            is_outdated: false,
        });
    }

    /// What a producer's transaction committed.
    pub(super) fn end(&mut self, producer_id: i64) -> impl Iterator<Item = InTransaction> {
        let ended = self.0.remove(&producer_id).unwrap_or_default();
        ended.into_iter().filter(|offset| !offset.is_outdated)
    }

    /// A record of the log says what is committed from here on.
    pub(super) fn outdate(&mut self, group: &str, topic: &str, partition: i32) {
        for offset in self.0.values_mut().flatten() {
            offset.is_outdated |= offset.is_of(group, topic, partition);
        }
    }

    /// Whether a transaction is open that commits this.
    pub(super) fn has(&self, group: &str, topic: &str, partition: i32) -> bool {
        let mut all = self.0.values().flatten();
        all.any(|offset| offset.is_of(group, topic, partition))
    }

    /// A record of the log says that nothing is committed there; open transactions do not commit it either.
    pub(super) fn remove(&mut self, group: &str, topic: &str, partition: i32) {
        for of_producer in self.0.values_mut() {
            of_producer.retain(|offset| !offset.is_of(group, topic, partition));
        }
    }

    /// Of a group, what open transactions commit.
    pub(super) fn places(&self, group: &str) -> impl Iterator<Item = (String, i32)> {
        let all = self.0.values().flatten();
        let of_group = all.filter(move |offset| offset.group == group);
        of_group.map(|offset| (offset.topic.clone(), offset.partition))
    }

    /// Whether a transaction is open that commits something of a group.
    pub(super) fn has_of(&self, group: &str) -> bool {
        self.0
            .values()
            .flatten()
            .any(|offset| offset.group == group)
    }
}

impl InTransaction {
    fn is_of(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.partition == partition && self.topic == topic && self.group == group
    }
}

/// From when on an offset is kept for `offsets.retention.minutes`.
pub(super) enum KeptSince {
    /// As long as the group is used.
    Used,
    /// Nobody uses the group since then, and whatever was committed since counts from its commit.
    Empty(i64),
    /// Each from its commit.
    Commit,
    /// Each from its commit, but for topics that the group reads.
    CommitUnlessRead(HashSet<String>),
}

impl Offsets {
    /// Takes over what a record says.
    pub(super) fn set(
        &mut self,
        group: &str,
        topic: String,
        partition: i32,
        value: Option<OffsetValue>,
    ) {
        if let Some(value) = value {
            let of_group = self.0.entry(group.to_owned()).or_default();
            of_group.entry(topic).or_default().insert(partition, value);
            return;
        }
        if let Some(of_group) = self.0.get_mut(group) {
            if let Some(of_topic) = of_group.get_mut(&topic) {
                of_topic.remove(&partition);
                if of_topic.is_empty() {
                    of_group.remove(&topic);
                }
            }
            if of_group.is_empty() {
                self.0.remove(group);
            }
        }
    }

    pub(super) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&OffsetValue> {
        self.0.get(group)?.get(topic)?.get(&partition)
    }

    /// All of a group.
    pub(super) fn of(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (&String, &BTreeMap<i32, OffsetValue>)> {
        self.0.get(group).into_iter().flatten()
    }

    /// Every topic and partition of a group.
    pub(super) fn places(&self, group: &str) -> Vec<(String, i32)> {
        let topics = self.of(group);
        let places = topics.flat_map(|(topic, of_topic)| {
            of_topic
                .keys()
                .map(move |partition| (topic.clone(), *partition))
        });
        places.collect()
    }

    /// Those that were kept long enough.
    pub(super) fn expired(
        &self,
        group: &str,
        since: &KeptSince,
        retention_ms: i64,
        now_ms: i64,
    ) -> Vec<(String, i32)> {
        let mut expired = Vec::new();
        for (topic, of_topic) in self.of(group) {
            for (partition, value) in of_topic {
                let from = match since {
                    KeptSince::Used => continue,
                    KeptSince::CommitUnlessRead(read) if read.contains(topic) => continue,
                    KeptSince::Empty(empty) => value.committed_ms.max(*empty),
                    KeptSince::Commit | KeptSince::CommitUnlessRead(_) => value.committed_ms,
                };
                let until = if value.expires_ms >= 0 {
                    value.expires_ms
                } else {
                    from.saturating_add(retention_ms)
                };
                if now_ms >= until {
                    expired.push((topic.clone(), *partition));
                }
            }
        }
        expired
    }
}
