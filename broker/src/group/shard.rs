//! The groups of one partition of `__consumer_offsets`.

mod census;

use std::{collections::HashMap, time::Duration};

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        JoinGroupResponse, SyncGroupResponse,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
    },
};
use storage::{control::MarkerKind, units::TimestampMs};
use tokio::sync::oneshot;

use super::{
    Images,
    classic::{
        Around, CONSUMER, ClassicGroup, Identity, JoinAsked, Leaving, State, Step, SyncAsked,
        Then as Next, refused_join, text,
    },
    consumer::{self, ConsumerGroup},
    metrics::Rebalances,
    offsets::{Commit, Committed, InTransaction, InTransactions, KeptSince, Offsets},
    record::{self, OffsetValue, Said},
    service::GroupConfig,
};
use crate::{
    config::LiveConfig,
    coordinator::{Deadlines, Decided, KeyValue, Now, Shard},
};

/// Records that say what expired, of one look: they are one batch.
const EXPIRED_MAX: usize = 10_000;

/// Kafka's name of groups of the classic protocol.
const CLASSIC: &str = "classic";

/// What a shard waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Deadline {
    /// Members of a group to join.
    Join(String),
    /// Members of a group to sync.
    Sync(String),
    /// A heartbeat of a member.
    Session(String, String),
    /// Offsets that nobody needs any more are looked for.
    Expire,
    /// What a consumer group waits for.
    Consumer(consumer::Deadline),
}

/// What follows when a group's records are committed.
#[derive(Debug)]
pub struct Then {
    group: String,
    next: Next,
}

/// Groups, and what they committed.
#[derive(Debug)]
pub struct GroupShard {
    live: LiveConfig,
    pub(super) images: Images,
    pub(super) groups: HashMap<String, ClassicGroup>,
    /// A group is of one kind.
    pub(super) consumers: HashMap<String, ConsumerGroup>,
    pub(super) offsets: Offsets,
    in_transactions: InTransactions,
    pub(super) deadlines: Deadlines<Deadline>,
    rebalances: Rebalances,
}

/// A group, as ListGroups tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub group: String,
    /// `consumer`, `connect`, …; empty where it only commits.
    pub protocol_type: String,
    /// Kafka's name of its state.
    pub state: &'static str,
    /// Kafka's name of its kind: `classic`, `consumer`.
    pub kind: &'static str,
}

pub(super) type Decision<R> = Decided<R, Then>;

impl GroupShard {
    /// Without groups.
    pub fn new(live: LiveConfig, images: Images) -> Self {
        Self {
            live,
            images,
            groups: HashMap::new(),
            consumers: HashMap::new(),
            offsets: Offsets::default(),
            in_transactions: InTransactions::default(),
            deadlines: Deadlines::default(),
            rebalances: Rebalances::default(),
        }
    }

    pub(super) fn config(&self) -> GroupConfig {
        self.live.get().groups
    }

    /// Lets a group take a step; `None` where there is no such group.
    pub(super) fn with<R>(
        &mut self,
        id: &str,
        now: Now,
        step: impl FnOnce(&mut ClassicGroup, &mut Around<'_>) -> R,
    ) -> Option<R> {
        let config = self.config();
        let group = self.groups.get_mut(id)?;
        let mut around = Around {
            deadlines: &mut self.deadlines,
            config: &config,
            now,
        };
        let before = group.state;
        let stepped = step(group, &mut around);
        self.rebalances.stepped(id, before, group.state, now);
        Some(stepped)
    }

    /// A member joins; the answer comes through the channel.
    pub fn join(
        &mut self,
        asked: &JoinAsked,
        now: Now,
    ) -> Decision<oneshot::Receiver<JoinGroupResponse>> {
        let id = &asked.group;
        let config = self.config();
        let timeout = i64::from(asked.session_timeout_ms);
        if !(config.min_session_timeout_ms..=config.max_session_timeout_ms).contains(&timeout) {
            return Decided::reply(answered(refused_join(
                Kafka::InvalidSessionTimeout,
                &asked.who.member,
            )));
        }
        let is_consumer = self.consumers.get(id).map(ConsumerGroup::is_empty);
        if is_consumer == Some(false) {
            return self.join_consumers(asked, now);
        }
        // One that names itself is in no group that is empty.
        let mut before = if asked.who.member.is_empty() {
            self.make_way(id)
        } else {
            Vec::new()
        };
        if !self.groups.contains_key(id) {
            if !asked.who.member.is_empty() {
                return Decided::reply(answered(refused_join(
                    Kafka::UnknownMemberId,
                    &asked.who.member,
                )));
            }
            let group = ClassicGroup::new(id.clone(), now.wall);
            self.groups.insert(id.clone(), group);
        }
        let joined = self.with(id, now, |group, around| group.join(asked, around));
        match joined {
            Some(mut join) => {
                before.append(&mut join.step.records);
                join.step.records = before;
                decided(id, join.step, join.answer)
            }
            None => Decided::reply(answered(refused_join(Kafka::UnknownMemberId, ""))),
        }
    }

    /// A member asks for its assignment; the answer comes through the channel.
    pub fn sync(
        &mut self,
        asked: SyncAsked,
        now: Now,
    ) -> Decision<oneshot::Receiver<SyncGroupResponse>> {
        let id = asked.group.clone();
        if self.is_consumer_group(&id) {
            let synced = self.sync_consumers(&asked, now);
            let refused = |code: Kafka| SyncGroupResponse::default().with_error_code(code.code());
            return Decided::reply(answered(synced.unwrap_or_else(refused)));
        }
        let synced = self.with(&id, now, |group, around| group.sync(asked, around));
        match synced.unwrap_or(Err(Kafka::UnknownMemberId)) {
            Ok(sync) => decided(&id, sync.step, sync.answer),
            Err(code) => Decided::reply(answered(
                SyncGroupResponse::default().with_error_code(code.code()),
            )),
        }
    }

    /// A member is alive.
    pub fn heartbeat(
        &mut self,
        id: &str,
        who: &Identity,
        generation: i32,
        now: Now,
    ) -> Decision<Result<(), Kafka>> {
        if self.is_consumer_group(id) {
            return Decided::reply(self.heartbeat_consumers(id, who, generation, now));
        }
        let heard = self.with(id, now, |group, around| {
            group.heartbeat(who, generation, around)
        });
        Decided::reply(heard.unwrap_or(Err(Kafka::UnknownMemberId)))
    }

    /// Members leave; an answer for each, or one for all.
    pub fn leave(
        &mut self,
        id: &str,
        leaving: &[Leaving],
        now: Now,
    ) -> Decision<Result<Vec<Result<(), Kafka>>, Kafka>> {
        if self.is_consumer_group(id) {
            return self.leave_consumers(id, leaving, now);
        }
        match self.with(id, now, |group, around| group.leave(leaving, around)) {
            Some((answers, step)) => decided(id, step, Ok(answers)),
            None => Decided::reply(Err(Kafka::UnknownMemberId)),
        }
    }

    /// Offsets are committed, all or none. `expires_ms` is -1 unless an old client says how long they are kept.
    pub fn commit(
        &mut self,
        id: &str,
        who: &Identity,
        generation: i32,
        (commits, expires_ms): (&[Commit], i64),
        now: Now,
    ) -> Decision<Result<(), Kafka>> {
        let allowed = self.with(id, now, |group, around| {
            group.may_commit(who, generation)?;
            group.heard_of(&who.member, around);
            Ok(())
        });
        let allowed = match allowed {
            Some(allowed) => allowed,
            None if self.is_consumer_group(id) => {
                self.consumers_may_commit(id, who, generation, commits)
            }
            // Whoever is in no group may use any name for what it committed.
            None if generation < 0 => Ok(()),
            None => Err(Kafka::GroupIdNotFound),
        };
        if let Err(code) = allowed {
            return Decided::reply(Err(code));
        }
        Decided::write(commit_records(id, commits, expires_ms, now), Ok(()))
    }

    /// Offsets that count when their transaction is committed.
    pub fn commit_in_transaction(
        &mut self,
        id: &str,
        who: &Identity,
        generation: i32,
        commits: &[Commit],
        now: Now,
    ) -> Decision<Result<(), Kafka>> {
        let allowed = self.with(id, now, |group, around| {
            group.may_commit_in_transaction(who, generation)?;
            group.heard_of(&who.member, around);
            Ok(())
        });
        let allowed = match allowed {
            Some(allowed) => allowed,
            None if self.is_consumer_group(id) => {
                self.consumers_may_commit_in_transaction(id, who, generation, commits)
            }
            None if generation < 0 => Ok(()),
            None => Err(Kafka::IllegalGeneration),
        };
        match allowed {
            Ok(()) => Decided::write(commit_records(id, commits, -1, now), Ok(())),
            Err(code) => Decided::reply(Err(code)),
        }
    }

    /// Whether an open transaction commits something there.
    pub fn is_unstable(&self, group: &str, topic: &str, partition: i32) -> bool {
        self.in_transactions.has(group, topic, partition)
    }

    /// What a group committed for a partition.
    pub fn committed(&self, group: &str, topic: &str, partition: i32) -> Option<Committed> {
        let value = self.offsets.get(group, topic, partition);
        value.map(Committed::from)
    }

    /// All that a group committed, by topic.
    pub fn all_committed(&self, group: &str) -> Vec<(String, Vec<(i32, Committed)>)> {
        let topics = self.offsets.of(group).map(|(topic, of_topic)| {
            let of_topic = of_topic.iter();
            let committed = of_topic.map(|(partition, value)| (*partition, Committed::from(value)));
            (topic.clone(), committed.collect())
        });
        topics.collect()
    }

    /// All groups.
    pub fn list(&self) -> Vec<Listed> {
        let groups = self.groups.values().map(|group| Listed {
            group: group.id.clone(),
            protocol_type: group.protocol_type.clone().unwrap_or_default(),
            state: group.state.name(),
            kind: CLASSIC,
        });
        let consumers = self.consumers.values().map(ConsumerGroup::listed);
        groups.chain(consumers).collect()
    }

    /// A group and its members; `None` where there is none.
    pub fn describe(&self, id: &str) -> Option<DescribedGroup> {
        let group = self.groups.get(id)?;
        let protocol = (group.state == State::Stable)
            .then_some(group.protocol.as_deref())
            .flatten();
        let members = group.members().map(|member| {
            let told = DescribedGroupMember::default()
                .with_member_id(text(&member.id))
                .with_group_instance_id(member.instance.as_deref().map(text))
                .with_client_id(text(&member.client_id))
                .with_client_host(text(&member.client_host))
                .with_member_assignment(member.assignment.clone());
            match protocol {
                Some(_) => told.with_member_metadata(member.metadata(protocol)),
                None => told,
            }
        });
        let described = DescribedGroup::default()
            .with_group_id(text(id).into())
            .with_group_state(text(group.state.name()))
            .with_protocol_type(text(group.protocol_type.as_deref().unwrap_or_default()))
            .with_protocol_data(text(protocol.unwrap_or_default()))
            .with_members(members.collect());
        Some(described)
    }

    /// A group without members goes, with all that it committed.
    pub fn delete(&mut self, id: &str) -> Decision<Result<(), Kafka>> {
        match self.groups.get(id) {
            None if self.is_consumer_group(id) => self.delete_consumers(id),
            None => Decided::reply(Err(Kafka::GroupIdNotFound)),
            Some(group) if group.state != State::Empty => Decided::reply(Err(Kafka::NonEmptyGroup)),
            Some(_) => {
                let mut records = self.removals_of_all(id);
                records.push(record::group(id, None));
                Decided::write(records, Ok(()))
            }
        }
    }

    /// What removes all that a group committed, open transactions too.
    pub(super) fn removals_of_all(&self, id: &str) -> Vec<KeyValue> {
        let mut places = self.offsets.places(id);
        places.extend(self.in_transactions.places(id));
        places.sort_unstable();
        places.dedup();
        removals(id, &places)
    }

    /// Committed offsets of partitions go, but of topics that the group reads; an answer for each.
    pub fn delete_offsets(
        &mut self,
        id: &str,
        places: &[(String, i32)],
    ) -> Decision<Result<Vec<Result<(), Kafka>>, Kafka>> {
        let consumers = self.consumers.get(id);
        let Some(is_empty) = consumers
            .map(ConsumerGroup::is_empty)
            .or_else(|| self.groups.get(id).map(|group| group.state == State::Empty))
        else {
            return Decided::reply(Err(Kafka::GroupIdNotFound));
        };
        let classic = self.groups.get(id);
        let is_other = classic.is_some_and(|g| g.protocol_type.as_deref() != Some(CONSUMER));
        if !is_empty && is_other {
            return Decided::reply(Err(Kafka::NonEmptyGroup));
        }
        let read = classic.and_then(ClassicGroup::subscribed);
        let reads = |topic: &String| match consumers {
            Some(group) => group.reads(topic),
            // What cannot be read may be any topic.
            None => read.as_ref().is_none_or(|read| read.contains(topic)),
        };
        let (mut answers, mut gone) = (Vec::new(), Vec::new());
        for (topic, partition) in places {
            if !is_empty && reads(topic) {
                answers.push(Err(Kafka::GroupSubscribedToTopic));
                continue;
            }
            answers.push(Ok(()));
            let is_there = self.offsets.get(id, topic, *partition).is_some();
            if is_there || self.is_unstable(id, topic, *partition) {
                gone.push((topic.clone(), *partition));
            }
        }
        Decided::write(removals(id, &gone), Ok(answers))
    }

    /// What nobody needs any more: of each group, offsets that were kept long enough, and the group when it has none.
    fn expire(&self, now: TimestampMs) -> Vec<KeyValue> {
        let retention = self.config().offsets_retention_ms;
        let mut records = Vec::new();
        for (id, group) in &self.groups {
            let since = match (&group.protocol_type, group.state) {
                (None, _) => KeptSince::Commit,
                (Some(_), State::Empty) => KeptSince::Empty(group.since.0),
                (Some(_), State::Stable) => match group.subscribed() {
                    Some(read) => KeptSince::CommitUnlessRead(read),
                    None => KeptSince::Used,
                },
                (Some(_), _) => KeptSince::Used,
            };
            let mut expired = self.offsets.expired(id, &since, retention, now.0);
            expired.retain(|(topic, partition)| !self.is_unstable(id, topic, *partition));
            records.extend(removals(id, &expired));
            let is_left =
                self.offsets.places(id).len() > expired.len() || self.in_transactions.has_of(id);
            if group.state == State::Empty && !is_left && group.size() == 0 {
                records.push(record::group(id, None));
            }
        }
        for group in self.consumers.values() {
            let places = self.offsets.places(&group.id);
            let read = places.iter().map(|(topic, _)| topic);
            let read = read.filter(|topic| group.reads(topic)).cloned().collect();
            let since = KeptSince::CommitUnlessRead(read);
            let mut expired = self.offsets.expired(&group.id, &since, retention, now.0);
            expired.retain(|(topic, partition)| !self.is_unstable(&group.id, topic, *partition));
            records.extend(removals(&group.id, &expired));
            let is_left = places.len() > expired.len() || self.in_transactions.has_of(&group.id);
            if group.is_empty() && !is_left {
                records.extend(group.removal());
            }
        }
        records
    }

    fn on(&mut self, deadline: Deadline, now: Now) -> Decision<()> {
        let (id, step) = match deadline {
            Deadline::Join(id) => {
                let step = self.with(&id, now, ClassicGroup::on_join_deadline);
                (id, step)
            }
            Deadline::Sync(id) => {
                let step = self.with(&id, now, ClassicGroup::on_sync_deadline);
                (id, step)
            }
            Deadline::Session(id, member) => {
                let step = self.with(&id, now, |group, around| {
                    group.on_session_deadline(&member, around)
                });
                (id, step)
            }
            Deadline::Consumer(deadline) => return self.on_consumer_deadline(&deadline, now),
            Deadline::Expire => {
                let mut records = self.expire(now.wall);
                let is_all = records.len() <= EXPIRED_MAX;
                records.truncate(EXPIRED_MAX);
                self.look_again(is_all, now);
                self.tell_of_expired(&records);
                return Decided::write(records, ());
            }
        };
        decided(&id, step.unwrap_or_default(), ())
    }

    fn look_again(&mut self, is_all: bool, now: Now) {
        let every = self.config().offsets_check_interval_ms;
        let every = if is_all { every } else { every.min(1_000) };
        let at = now.steady.saturating_add(every);
        self.deadlines.set(Deadline::Expire, at);
    }
}

impl Shard for GroupShard {
    type Then = Then;

    fn replay(&mut self, record: &KeyValue) {
        match record::read(record) {
            Some(Said::Offset {
                group,
                topic,
                partition,
                value,
            }) => {
                if let Some(value) = &value
                    && !self.is_consumer_group(&group)
                {
                    let since = TimestampMs(value.committed_ms);
                    let known = self.groups.entry(group.clone());
                    known.or_insert_with(|| ClassicGroup::new(group.clone(), since));
                }
                if value.is_some() {
                    self.in_transactions.outdate(&group, &topic, partition);
                } else {
                    self.in_transactions.remove(&group, &topic, partition);
                }
                self.offsets.set(&group, topic, partition, value);
            }
            Some(Said::Group { group, value }) => match value {
                Some(value) => {
                    let known = ClassicGroup::from_value(group.clone(), value);
                    self.consumers.remove(&group);
                    self.groups.insert(group, known);
                }
                None => {
                    self.groups.remove(&group);
                }
            },
            None => {
                if let Some(said) = consumer::read(record) {
                    self.replay_consumer(said);
                }
            }
        }
    }

    fn replay_in_transaction(&mut self, producer_id: i64, record: &KeyValue) {
        if let Some(Said::Offset {
            group,
            topic,
            partition,
            value: Some(value),
        }) = record::read(record)
        {
            if !self.is_consumer_group(&group) {
                let since = TimestampMs(value.committed_ms);
                let known = self.groups.entry(group.clone());
                known.or_insert_with(|| ClassicGroup::new(group.clone(), since));
            }
            let place = (topic, partition);
            self.in_transactions.add(producer_id, group, place, value);
        }
    }

    fn on_marker(&mut self, producer_id: i64, kind: MarkerKind) {
        let ended = self.in_transactions.end(producer_id);
        if kind == MarkerKind::Commit {
            for InTransaction {
                group,
                topic,
                partition,
                value,
                ..
            } in ended
            {
                self.offsets.set(&group, topic, partition, Some(value));
            }
        }
    }

    fn loaded(&mut self, now: Now) {
        let ids: Vec<_> = self.groups.keys().cloned().collect();
        for id in ids {
            self.with(&id, now, ClassicGroup::loaded);
        }
        self.consumers_loaded(now);
        self.look_again(true, now);
    }

    fn told_of_load(&self, records: u64, took: Duration) {
        self.tell_of_load(records, took);
    }

    fn next_deadline(&self) -> Option<i64> {
        self.deadlines.next()
    }

    fn on_deadline(&mut self, now: Now) -> Option<Decision<()>> {
        let deadline = self.deadlines.pop(now.steady)?;
        Some(self.on(deadline, now))
    }

    fn on_topics_gone(&mut self, is_gone: &dyn Fn(&str) -> bool) -> Decision<()> {
        let mut records = Vec::new();
        for group in self.groups.keys().chain(self.consumers.keys()) {
            let mut places = self.offsets.places(group);
            places.retain(|(topic, _)| is_gone(topic));
            records.extend(removals(group, &places));
        }
        Decided::write(records, ())
    }

    fn then(&mut self, then: Then, committed: bool, now: Now) -> Decision<()> {
        let Then { group: id, next } = then;
        let step = self.with(&id, now, |group, around| match next {
            Next::Assign {
                generation,
                assignments,
            } => group.assign(generation, assignments, committed, around),
            next @ Next::Welcome { .. } => {
                group.welcome(&next, committed);
                Step::default()
            }
        });
        decided(&id, step.unwrap_or_default(), ())
    }
}

/// A group's step: what it says of the group is true of it already.
pub(super) fn decided<R>(group: &str, step: Step, reply: R) -> Decision<R> {
    Decided {
        records: step.records,
        replay: false,
        reply,
        then: step.then.map(|next| Then {
            group: group.to_owned(),
            next,
        }),
    }
}

fn commit_records(group: &str, commits: &[Commit], expires_ms: i64, now: Now) -> Vec<KeyValue> {
    let records = commits.iter().map(|commit| {
        let value = OffsetValue {
            offset: commit.offset,
            leader_epoch: commit.leader_epoch,
            metadata: commit.metadata.clone(),
            committed_ms: now.wall.0,
            expires_ms,
        };
        record::offset(group, &commit.topic, commit.partition, Some(&value))
    });
    records.collect()
}

fn removals(group: &str, places: &[(String, i32)]) -> Vec<KeyValue> {
    let places = places.iter();
    places
        .map(|(topic, partition)| record::offset(group, topic, *partition, None))
        .collect()
}

pub(super) fn answered<T>(answer: T) -> oneshot::Receiver<T> {
    let (tell, hear) = oneshot::channel();
    drop(tell.send(answer));
    hear
}
