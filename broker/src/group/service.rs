//! Groups, as Kafka's APIs ask for them: which shard a group is in, and how what goes wrong there is told.

use std::sync::Arc;

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{JoinGroupResponse, SyncGroupResponse, describe_groups_response::DescribedGroup},
};
use storage::log::AppendError;
use tokio::sync::watch;

use super::{
    Commit, Committed, GroupShard, Identity, JoinAsked, Leaving, Listed, SyncAsked,
    classic::refused_join,
};
use crate::{
    config::LiveConfig,
    coordinator::{Coordinator, CoordinatorError, CoordinatorOptions},
};

/// The internal topic.
pub const TOPIC: &str = "__consumer_offsets";

/// Settings of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i64,
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i64,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i64,
    /// `group.max.size`
    pub max_size: usize,
    /// `offset.metadata.max.bytes`, which Kafka counts in characters of UTF-16.
    pub metadata_max_length: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_check_interval_ms: i64,
    /// `offsets.topic.num.partitions`
    pub topic_partitions: i32,
    /// `offsets.topic.segment.bytes`
    pub topic_segment_bytes: i32,
}

/// The groups of this node; cheap to clone.
#[derive(Clone, Debug)]
pub struct Groups(Arc<Coordinator<GroupShard>>);

impl Groups {
    /// Groups whose topic may not exist yet.
    pub fn new(options: CoordinatorOptions, config: LiveConfig) -> Self {
        Self(Coordinator::new(options, move || {
            GroupShard::new(config.clone())
        }))
    }

    /// Loads groups and keeps their deadlines, until told to stop.
    pub async fn run(self, stopped: watch::Receiver<bool>) {
        self.0.run(stopped).await;
    }

    fn shard(&self, group: &str) -> Result<i32, Kafka> {
        let partitions = self.0.partitions().ok_or(Kafka::CoordinatorNotAvailable)?;
        Ok(partition_of(group, partitions))
    }

    /// A member joins; waits for the others.
    pub async fn join(&self, asked: JoinAsked) -> JoinGroupResponse {
        let member = asked.who.member.clone();
        let joined = async {
            let shard = self.shard(&asked.group)?;
            let joining = self.0.write(shard, |shard, now| shard.join(&asked, now));
            let answer = joining.await.map_err(|e| told(&e))?;
            // The group went with its partition.
            answer.await.map_err(|_| Kafka::NotCoordinator)
        };
        let joined: Result<JoinGroupResponse, Kafka> = joined.await;
        joined.unwrap_or_else(|code| refused_join(code, &member))
    }

    /// A member asks for its assignment; waits for the leader.
    pub async fn sync(&self, asked: SyncAsked) -> SyncGroupResponse {
        let synced = async {
            let shard = self.shard(&asked.group)?;
            let syncing = self.0.write(shard, |shard, now| shard.sync(asked, now));
            let answer = syncing.await.map_err(|e| told(&e))?;
            answer.await.map_err(|_| Kafka::NotCoordinator)
        };
        let synced: Result<SyncGroupResponse, Kafka> = synced.await;
        synced.unwrap_or_else(|code| SyncGroupResponse::default().with_error_code(code.code()))
    }

    /// A member is alive.
    pub async fn heartbeat(
        &self,
        group: &str,
        who: &Identity,
        generation: i32,
    ) -> Result<(), Kafka> {
        let shard = self.shard(group)?;
        let heard = self.0.write(shard, |shard, now| {
            shard.heartbeat(group, who, generation, now)
        });
        heard.await.map_err(|e| told(&e))?
    }

    /// Members leave; an answer for each, [`Kafka::UnknownMemberId`] where there is no such group.
    pub async fn leave(
        &self,
        group: &str,
        leaving: &[Leaving],
    ) -> Result<Vec<Result<(), Kafka>>, Kafka> {
        let shard = self.shard(group)?;
        let left = self
            .0
            .write(shard, |shard, now| shard.leave(group, leaving, now));
        left.await.map_err(|e| told(&e))?
    }

    /// Offsets are committed, all or none.
    pub async fn commit(
        &self,
        group: &str,
        who: &Identity,
        generation: i32,
        (commits, expires_after_ms): (&[Commit], Option<i64>),
    ) -> Result<(), Kafka> {
        let shard = self.shard(group)?;
        let committed = self.0.write(shard, |shard, now| {
            let expires = expires_after_ms.map_or(-1, |ms| now.wall.0.saturating_add(ms));
            shard.commit(group, who, generation, (commits, expires), now)
        });
        committed.await.map_err(|e| told(&e))?
    }

    /// What a group committed for these partitions.
    pub fn committed(
        &self,
        group: &str,
        places: &[(String, i32)],
    ) -> Result<Vec<Option<Committed>>, Kafka> {
        let shard = self.shard(group)?;
        let look = |shard: &GroupShard| {
            let places = places.iter();
            places
                .map(|(topic, partition)| shard.committed(group, topic, *partition))
                .collect()
        };
        self.0.read(shard, look).map_err(|e| told(&e))
    }

    /// All that a group committed, by topic.
    #[expect(clippy::type_complexity, reason = "topics, partitions, offsets")]
    pub fn all_committed(
        &self,
        group: &str,
    ) -> Result<Vec<(String, Vec<(i32, Committed)>)>, Kafka> {
        let shard = self.shard(group)?;
        let all = self.0.read(shard, |shard| shard.all_committed(group));
        all.map_err(|e| told(&e))
    }

    /// All groups; an error where some of them are not known yet.
    pub fn list(&self) -> Result<Vec<Listed>, Kafka> {
        let mut groups = Vec::new();
        for shard in 0..self.0.partitions().unwrap_or(0) {
            groups.extend(self.0.read(shard, GroupShard::list).map_err(|e| told(&e))?);
        }
        Ok(groups)
    }

    /// A group and its members.
    pub fn describe(&self, group: &str) -> Result<Option<DescribedGroup>, Kafka> {
        let shard = self.shard(group)?;
        let described = self.0.read(shard, |shard| shard.describe(group));
        described.map_err(|e| told(&e))
    }

    /// A group without members goes.
    pub async fn delete(&self, group: &str) -> Result<(), Kafka> {
        let shard = self.shard(group)?;
        let deleted = self.0.write(shard, |shard, _| shard.delete(group));
        deleted.await.map_err(|e| told(&e))?
    }

    /// Committed offsets of partitions go; an answer for each.
    pub async fn delete_offsets(
        &self,
        group: &str,
        places: &[(String, i32)],
    ) -> Result<Vec<Result<(), Kafka>>, Kafka> {
        let shard = self.shard(group)?;
        let deleted = self
            .0
            .write(shard, |shard, _| shard.delete_offsets(group, places));
        deleted.await.map_err(|e| told(&e))?
    }
}

fn told(error: &CoordinatorError) -> Kafka {
    match error {
        CoordinatorError::Loading => Kafka::CoordinatorLoadInProgress,
        CoordinatorError::NotHere | CoordinatorError::NotCommitted => Kafka::NotCoordinator,
        CoordinatorError::Append(AppendError::Closed | AppendError::Poisoned) => {
            Kafka::NotCoordinator
        }
        CoordinatorError::Append(_) => Kafka::CoordinatorNotAvailable,
    }
}

/// Java's hash of the name, as Kafka takes it.
fn partition_of(group: &str, partitions: i32) -> i32 {
    let units = group.encode_utf16();
    let hash = units.fold(0i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    });
    // Kafka's `Utils.abs`: the smallest number becomes 0.
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `"…".hashCode()` of Java.
    #[test]
    fn a_group_is_where_kafka_puts_it() {
        assert_eq!(partition_of("", 50), 0);
        assert_eq!(partition_of("a", 50), 97 % 50);
        let many = i32::MAX;
        assert_eq!(partition_of("test-group", many), 627_841_412);
        assert_eq!(partition_of("größe", many), 98_762_257);
        // Its hash is the smallest 32-bit number.
        assert_eq!(partition_of("polygenelubricants", 50), 0);
    }
}
