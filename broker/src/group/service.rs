//! Groups, as Kafka's APIs ask for them: which shard a group is in, and how what goes wrong there is told.

use std::sync::Arc;

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{JoinGroupResponse, SyncGroupResponse, describe_groups_response::DescribedGroup},
};
use storage::{
    control::Marker,
    log::{AppendError, Guard},
    units::Offset,
};
use tokio::sync::watch;

use super::{
    Census, Commit, Committed, ConsumerConfig, Ends, GroupShard, Identity, Images, JoinAsked,
    Leaving, Listed, SyncAsked, classic::refused_join,
};
use crate::{
    config::LiveConfig,
    coordinator::{Coordinator, CoordinatorError, CoordinatorOptions, Producer, partition_of},
    partition::Partition,
    telemetry::GroupMetrics,
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
    /// `group.consumer.…`
    pub consumer: ConsumerConfig,
}

/// The groups of this node; cheap to clone.
#[derive(Clone, Debug)]
pub struct Groups(pub(super) Arc<Coordinator<GroupShard>>);

impl Groups {
    /// Groups whose topic may not exist yet.
    pub fn new(options: CoordinatorOptions, config: LiveConfig, metrics: GroupMetrics) -> Self {
        let images = Images::of(options.metadata.clone());
        Self(Coordinator::new(options, move || {
            GroupShard::new(config.clone(), images.clone()).told_to(metrics.clone())
        }))
    }

    /// Loads groups and keeps their deadlines, until told to stop.
    pub async fn run(self, stopped: watch::Receiver<bool>) {
        self.0.run(stopped).await;
    }

    /// Waits until all of them are loaded.
    pub async fn loaded(&self) {
        self.0.loaded().await;
    }

    pub(super) fn shard(&self, group: &str) -> Result<i32, Kafka> {
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

    /// Offsets that count when their producer's transaction is committed, all or none.
    pub async fn commit_in_transaction(
        &self,
        group: &str,
        who: &Identity,
        generation: i32,
        commits: &[Commit],
        (producer, guard): (Producer, Option<Guard>),
    ) -> Result<(), Kafka> {
        let shard = self.shard(group)?;
        let decide = |shard: &mut GroupShard, now| {
            shard.commit_in_transaction(group, who, generation, commits, now)
        };
        let writing = self
            .0
            .write_in_transaction(shard, (producer, guard), decide);
        writing.await.map_err(|e| told(&e))?
    }

    /// Where a group is, as a transaction names it, and what its producer has to show there; see [`Coordinator::guard`].
    pub fn guard(
        &self,
        group: &str,
        producer: Producer,
        epoch_per_transaction: bool,
    ) -> Result<(i32, Option<Guard>), Kafka> {
        let shard = self.shard(group)?;
        let guard = self.0.guard(shard, producer, epoch_per_transaction);
        Ok((shard, guard.map_err(|e| told(&e))?))
    }

    /// Where a group is.
    pub fn partition_of(&self, group: &str) -> Result<i32, Kafka> {
        self.shard(group)
    }

    /// Ends a producer's transaction in a partition of the groups' topic; see [`Coordinator::append_marker`].
    pub fn append_marker(
        &self,
        shard: i32,
        producer: Producer,
        marker: Marker,
    ) -> Result<(Arc<Partition>, Offset), CoordinatorError> {
        self.0.append_marker(shard, producer, marker)
    }

    /// What a group committed for these partitions: [`Kafka::UnstableOffsetCommit`] where an open transaction commits another
    /// offset, and only what is stable is asked for.
    pub fn committed(
        &self,
        group: &str,
        places: &[(String, i32)],
        is_stable: bool,
    ) -> Result<Vec<Result<Option<Committed>, Kafka>>, Kafka> {
        let shard = self.shard(group)?;
        let look = |shard: &GroupShard| {
            let places = places.iter();
            places
                .map(|(topic, partition)| {
                    if is_stable && shard.is_unstable(group, topic, *partition) {
                        return Err(Kafka::UnstableOffsetCommit);
                    }
                    Ok(shard.committed(group, topic, *partition))
                })
                .collect()
        };
        self.0.read(shard, look).map_err(|e| told(&e))
    }

    /// Whether an open transaction commits something there.
    pub fn is_unstable(&self, group: &str, topic: &str, partition: i32) -> Result<bool, Kafka> {
        let shard = self.shard(group)?;
        let look = |shard: &GroupShard| shard.is_unstable(group, topic, partition);
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

    /// What groups there are, and what each has left to read; those that are being loaded are not counted.
    pub fn census(&self, ends: &Ends) -> Census {
        let mut census = Census::default();
        for shard in 0..self.0.partitions().unwrap_or(0) {
            // An error: it is being loaded.
            let _ = self.0.read(shard, |shard| shard.count(&mut census, ends));
        }
        census
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

pub(super) fn told(error: &CoordinatorError) -> Kafka {
    match error {
        CoordinatorError::Loading => Kafka::CoordinatorLoadInProgress,
        CoordinatorError::NotHere | CoordinatorError::NotCommitted => Kafka::NotCoordinator,
        CoordinatorError::Append(AppendError::Closed | AppendError::Poisoned) => {
            Kafka::NotCoordinator
        }
        CoordinatorError::Append(AppendError::InvalidProducerEpoch { .. }) => {
            Kafka::InvalidProducerEpoch
        }
        CoordinatorError::Append(AppendError::InvalidTxnState { .. }) => Kafka::InvalidTxnState,
        CoordinatorError::Append(_) => Kafka::CoordinatorNotAvailable,
    }
}
