//! Consumer groups in a shard: what of them the shard does, and how decisions are taken over.

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        JoinGroupResponse, SyncGroupResponse, consumer_group_describe_response::DescribedGroup,
    },
};

use super::{
    Around, ConsumerGroup, Deadline, HeartbeatAnswer, HeartbeatAsked, Member, Outcome, Refused,
    Said, Timer,
    convert::Downgrade,
    leave::{Leave, left},
    wait,
};
use crate::{
    coordinator::{Decided, KeyValue, Now},
    group::{
        Commit, GroupShard, Groups, Identity, JoinAsked, Leaving, SyncAsked,
        classic::{Around as ClassicAround, ClassicGroup, State, Step, refused_join},
        service::{GroupConfig, told},
        shard::{Decision, answered, decided},
    },
    metadata::Image,
};

/// What could not be written is tried again after this.
const AGAIN_MS: i64 = 500;

impl Groups {
    /// A member of a consumer group sends a heartbeat.
    ///
    /// # Errors
    /// Why it is refused, with Kafka's words where Kafka has some.
    pub async fn consumer_heartbeat(
        &self,
        asked: HeartbeatAsked,
    ) -> Result<HeartbeatAnswer, Refused> {
        let shard = self.shard(&asked.group)?;
        let heard = self
            .0
            .write(shard, |shard, now| shard.consumer_heartbeat(asked, now));
        heard.await.map_err(|e| told(&e))?
    }

    /// A consumer group and its members.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND` where it is none.
    pub fn consumer_describe(&self, group: &str) -> Result<DescribedGroup, Refused> {
        let shard = self.shard(group)?;
        let described = self.0.read(shard, |shard| shard.consumer_describe(group));
        described.map_err(|e| told(&e))?
    }

    /// Whether who asks may see what a group committed.
    ///
    /// # Errors
    /// `UNKNOWN_MEMBER_ID`, `STALE_MEMBER_EPOCH` or `ILLEGAL_GENERATION`.
    pub fn may_fetch(&self, group: &str, member: Option<&str>, epoch: i32) -> Result<(), Kafka> {
        let shard = self.shard(group)?;
        let may = self
            .0
            .read(shard, |shard| match shard.consumers.get(group) {
                Some(group) => group.may_fetch(member, epoch),
                None => Ok(()),
            });
        may.map_err(|e| told(&e))?
    }

    /// Whether there is a consumer group of that name.
    pub fn is_of_consumers(&self, group: &str) -> bool {
        let look = |shard: &GroupShard| shard.is_consumer_group(group);
        self.shard(group)
            .is_ok_and(|shard| self.0.read(shard, look).unwrap_or(false))
    }

    /// Whether it is a member that speaks the consumer protocol, who cannot commit with an old request.
    pub fn is_new_member(&self, group: &str, member: &str) -> bool {
        let look = |shard: &GroupShard| {
            let group = shard.consumers.get(group);
            let member = group.and_then(|group| group.members.get(member));
            member.is_some_and(|member| !member.is_classic())
        };
        self.shard(group)
            .is_ok_and(|shard| self.0.read(shard, look).unwrap_or(false))
    }
}

impl ConsumerGroup {
    fn may_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), Kafka> {
        if member.is_none() && epoch < 0 {
            return Ok(());
        }
        let member = member.and_then(|id| self.members.get(id));
        let member = member.ok_or(Kafka::UnknownMemberId)?;
        if member.epoch == epoch {
            Ok(())
        } else {
            Err(outdated(member))
        }
    }

    /// Whether who asks may commit these offsets. Source: Apache Kafka, `ConsumerGroup.validateOffsetCommit`.
    pub(in crate::group) fn may_commit(
        &self,
        who: &Identity,
        epoch: i32,
        commits: &[Commit],
        image: &Image,
    ) -> Result<(), Kafka> {
        if epoch < 0 && self.is_empty() {
            return Ok(());
        }
        let member = self.members.get(&who.member);
        let member = member.ok_or(Kafka::UnknownMemberId)?;
        if epoch > member.epoch {
            return Err(outdated(member));
        }
        // An older epoch may commit what it got in that epoch, or before.
        let is_its_own = |commit: &Commit| {
            let topic = image.topics.get(&commit.topic);
            let since = topic.and_then(|topic| member.has_since(topic.id, commit.partition));
            since.is_some_and(|since| epoch >= since)
        };
        if epoch == member.epoch || commits.iter().all(is_its_own) {
            Ok(())
        } else {
            Err(outdated(member))
        }
    }
}

fn outdated(member: &Member) -> Kafka {
    if member.is_classic() {
        Kafka::IllegalGeneration
    } else {
        Kafka::StaleMemberEpoch
    }
}

impl GroupShard {
    /// A member joins, goes on or leaves.
    pub fn consumer_heartbeat(
        &mut self,
        asked: HeartbeatAsked,
        now: Now,
    ) -> Decision<Result<HeartbeatAnswer, Refused>> {
        let leaves = asked.epoch < 0;
        let decided = if leaves {
            self.consumer_leave(&asked, now)
        } else {
            self.consumer_stay(asked, now)
        };
        decided.unwrap_or_else(|refused| Decided::reply(Err(refused)))
    }

    /// Settings, with those of one group.
    fn config_of(&self, group: &str, image: &Image) -> GroupConfig {
        let config = self.config();
        GroupConfig {
            consumer: config.consumer.of_group(image.group_configs.get(group)),
            ..config
        }
    }

    fn consumer_stay(
        &mut self,
        mut asked: HeartbeatAsked,
        now: Now,
    ) -> Result<Decision<Result<HeartbeatAnswer, Refused>>, Refused> {
        let image = self.images.now();
        let config = self.config_of(&asked.group, &image);
        let around = around(&image, &config, now);
        let id = asked.group.clone();
        let joins = asked.epoch == 0;
        if asked.member.is_empty() {
            asked.member = crate::metadata::random_uuid();
        }
        if let Some(group) = self.consumers.get_mut(&id) {
            let outcome = group.heartbeat(&asked, Vec::new(), around)?;
            if outcome.is_current {
                group.seen_version = Some(image.version);
            }
            return Ok(self.take(outcome, now));
        }
        let Some(classic) = self.groups.get(&id) else {
            if !joins {
                let why = format!("Consumer group {id} not found.");
                return Err(Refused::new(Kafka::GroupIdNotFound, why));
            }
            let outcome = ConsumerGroup::new(&id).heartbeat(&asked, Vec::new(), around)?;
            return Ok(self.take(outcome, now));
        };
        if !joins {
            return Err(not_a_consumer_group(&id));
        }
        let (group, records) = if classic.state == State::Empty {
            let removal = crate::group::record::group(&id, None);
            (ConsumerGroup::new(&id), vec![removal])
        } else {
            ConsumerGroup::upgraded(classic, around)?
        };
        let mut outcome = group.heartbeat(&asked, records, around)?;
        let sessions = group.classic_sessions().into_iter();
        outcome.timers.extend(
            sessions.map(|(member, ms)| Timer::Set(Deadline::Session(id.clone(), member), ms)),
        );
        // Whoever waits for the others is to join again, and finds the new group.
        self.with(&id, now, |classic, around| {
            classic.answer_all(Kafka::RebalanceInProgress, around);
            classic.forget_rebalance(around);
        });
        Ok(self.take(outcome, now))
    }

    fn consumer_leave(
        &mut self,
        asked: &HeartbeatAsked,
        now: Now,
    ) -> Result<Decision<Result<HeartbeatAnswer, Refused>>, Refused> {
        let id = &asked.group;
        let group = self.consumer_group(id)?;
        match group.leaving(asked)? {
            Leave::ForAWhile(member) => {
                let outcome = group.leave_for_a_while(member);
                Ok(self.take(outcome, now))
            }
            Leave::ForGood(member) => {
                let gone = [member.id.clone()];
                let answer = left(&asked.member, asked.epoch);
                Ok(self.fence(id, &gone, Ok(answer), now))
            }
        }
    }

    fn consumer_group(&self, id: &str) -> Result<&ConsumerGroup, Refused> {
        match self.consumers.get(id) {
            Some(group) => Ok(group),
            None if self.groups.contains_key(id) => Err(not_a_consumer_group(id)),
            None => Err(Refused::new(
                Kafka::GroupIdNotFound,
                format!("Group {id} not found."),
            )),
        }
    }

    fn consumer_describe(&self, id: &str) -> Result<DescribedGroup, Refused> {
        let group = self.consumer_group(id)?;
        Ok(group.describe(&self.config().consumer, &self.images.now()))
    }

    fn take<R>(&mut self, outcome: Outcome<R>, now: Now) -> Decision<Result<R, Refused>> {
        wait(&mut self.deadlines, outcome.timers, now);
        Decided::write(outcome.records, Ok(outcome.reply))
    }

    /// Removes members; the group may be a classic one then.
    fn fence<R>(&mut self, id: &str, gone: &[String], reply: R, now: Now) -> Decision<R> {
        let image = self.images.now();
        let config = self.config_of(id, &image);
        let around = around(&image, &config, now);
        let Some(group) = self.consumers.get(id) else {
            return Decided::reply(reply);
        };
        let gone = gone.iter().filter_map(|id| group.members.get(id));
        let gone: Vec<&Member> = gone.collect();
        if gone.is_empty() {
            return Decided::reply(reply);
        }
        if group.downgrades_without(&gone, around, config.max_size) {
            let downgrade = group.downgrade(&gone, None, true, around);
            return self.go_classic(id, downgrade, reply, now);
        }
        let outcome = group.without(&gone, around);
        wait(&mut self.deadlines, outcome.timers, now);
        Decided::write(outcome.records, reply)
    }

    /// The group is a classic one from here on.
    fn go_classic<R>(&mut self, id: &str, downgrade: Downgrade, reply: R, now: Now) -> Decision<R> {
        if let Some(group) = self.consumers.remove(id) {
            let timers = group.members.keys().flat_map(|m| group.no_deadlines(m));
            wait(&mut self.deadlines, timers.collect(), now);
        }
        self.groups.insert(id.to_owned(), downgrade.group);
        let rebalances = downgrade.rebalances;
        let step = self.with(
            id,
            now,
            |group: &mut ClassicGroup, around: &mut ClassicAround<'_>| {
                group.loaded(around);
                if rebalances {
                    group.rebalance(around)
                } else {
                    Step::default()
                }
            },
        );
        let mut step = step.unwrap_or_default();
        step.records.splice(0..0, downgrade.records);
        decided(id, step, reply)
    }

    /// Whether a classic request is for a consumer group.
    pub(in crate::group) fn is_consumer_group(&self, id: &str) -> bool {
        self.consumers.contains_key(id)
    }

    /// A client of the classic protocol joins a consumer group with members.
    pub(in crate::group) fn join_consumers(
        &mut self,
        asked: &JoinAsked,
        now: Now,
    ) -> Decision<tokio::sync::oneshot::Receiver<JoinGroupResponse>> {
        let image = self.images.now();
        let config = self.config_of(&asked.group, &image);
        let around = around(&image, &config, now);
        let group = self.consumers.get(&asked.group);
        let joined = match group {
            Some(group) => group.classic_join(asked, around, config.max_size),
            None => Err(Kafka::UnknownMemberId.into()),
        };
        match joined {
            Err(refused) => Decided::reply(answered(refused_join(refused.code, ""))),
            Ok(joined) => {
                let reply = answered(joined.outcome.reply);
                if let Some(downgrade) = joined.downgrade {
                    return self.go_classic(&asked.group, downgrade, reply, now);
                }
                wait(&mut self.deadlines, joined.outcome.timers, now);
                Decided::write(joined.outcome.records, reply)
            }
        }
    }

    /// An empty consumer group makes way for a classic one: what removes it from the log.
    pub(in crate::group) fn make_way(&mut self, id: &str) -> Vec<KeyValue> {
        let gone = self.consumers.remove(id);
        gone.map(|group| group.removal()).unwrap_or_default()
    }

    pub(in crate::group) fn sync_consumers(
        &mut self,
        asked: &SyncAsked,
        now: Now,
    ) -> Result<SyncGroupResponse, Kafka> {
        let image = self.images.now();
        let config = self.config_of(&asked.group, &image);
        let around = around(&image, &config, now);
        let group = self.consumers.get(&asked.group);
        let group = group.ok_or(Kafka::UnknownMemberId)?;
        let outcome = group
            .classic_sync(asked, around)
            .map_err(|refused| refused.code)?;
        wait(&mut self.deadlines, outcome.timers, now);
        Ok(outcome.reply)
    }

    pub(in crate::group) fn heartbeat_consumers(
        &mut self,
        id: &str,
        who: &Identity,
        generation: i32,
        now: Now,
    ) -> Result<(), Kafka> {
        let group = self.consumers.get(id).ok_or(Kafka::UnknownMemberId)?;
        let outcome = group.classic_heartbeat(who, generation);
        let outcome = outcome.map_err(|refused| refused.code)?;
        wait(&mut self.deadlines, outcome.timers, now);
        outcome.reply
    }

    pub(in crate::group) fn leave_consumers(
        &mut self,
        id: &str,
        leaving: &[Leaving],
        now: Now,
    ) -> Decision<Result<Vec<Result<(), Kafka>>, Kafka>> {
        let Some(group) = self.consumers.get(id) else {
            return Decided::reply(Err(Kafka::UnknownMemberId));
        };
        let (answers, gone) = group.classic_leaving(leaving);
        let gone: Vec<String> = gone.into_iter().map(|member| member.id.clone()).collect();
        self.fence(id, &gone, Ok(answers), now)
    }

    pub(in crate::group) fn consumers_may_commit(
        &self,
        id: &str,
        who: &Identity,
        epoch: i32,
        commits: &[Commit],
    ) -> Result<(), Kafka> {
        let group = self.consumers.get(id).ok_or(Kafka::GroupIdNotFound)?;
        group.may_commit(who, epoch, commits, &self.images.now())
    }

    /// In a transaction whoever names nothing commits; and it knows of generations only. Source: Apache Kafka,
    /// `OffsetMetadataManager.validateTransactionalOffsetCommit`.
    pub(in crate::group) fn consumers_may_commit_in_transaction(
        &self,
        id: &str,
        who: &Identity,
        generation: i32,
        commits: &[Commit],
    ) -> Result<(), Kafka> {
        if generation == -1 && who.member.is_empty() && who.instance.is_none() {
            return Ok(());
        }
        let allowed = self.consumers_may_commit(id, who, generation, commits);
        allowed.map_err(|code| match code {
            Kafka::StaleMemberEpoch => Kafka::IllegalGeneration,
            code => code,
        })
    }

    /// A group without members goes, with all that it committed.
    pub(in crate::group) fn delete_consumers(&self, id: &str) -> Decision<Result<(), Kafka>> {
        match self.consumers.get(id) {
            None => Decided::reply(Err(Kafka::GroupIdNotFound)),
            Some(group) if !group.is_empty() => Decided::reply(Err(Kafka::NonEmptyGroup)),
            Some(group) => {
                let mut records = self.removals_of_all(id);
                records.extend(group.removal());
                Decided::write(records, Ok(()))
            }
        }
    }

    /// Acts on a deadline of a consumer group.
    pub(in crate::group) fn on_consumer_deadline(
        &mut self,
        deadline: &Deadline,
        now: Now,
    ) -> Decision<()> {
        let id = deadline.group();
        let Some(group) = self.consumers.get(id) else {
            return Decided::reply(());
        };
        if let Deadline::Regexes(_) = deadline {
            let config = self.config();
            let image = self.images.now();
            return Decided::write(group.resolve(around(&image, &config, now)), ());
        }
        match group.late(deadline).map(|member| member.id.clone()) {
            Some(late) => {
                let decided = self.fence(id, &[late], (), now);
                // If that cannot be written, the member is still there, and its time still over.
                let again = Timer::Set(deadline.clone(), AGAIN_MS);
                wait(&mut self.deadlines, vec![again], now);
                decided
            }
            None => Decided::reply(()),
        }
    }

    /// Takes over what a record says of a consumer group.
    pub(in crate::group) fn replay_consumer(&mut self, said: Said) {
        let Said { group: id, what } = said;
        if !self.consumers.contains_key(&id) {
            if what.is_removal() {
                return;
            }
            // Offsets alone were known of it, or it was a classic one.
            self.groups.remove(&id);
            self.consumers.insert(id.clone(), ConsumerGroup::new(&id));
        }
        let stays = self
            .consumers
            .get_mut(&id)
            .is_some_and(|group| group.replay(what));
        if !stays {
            self.consumers.remove(&id);
        }
    }

    /// Sessions begin.
    pub(in crate::group) fn consumers_loaded(&mut self, now: Now) {
        let image = self.images.now();
        for group in self.consumers.values() {
            let config = self.config_of(&group.id, &image);
            wait(
                &mut self.deadlines,
                group.loaded(around(&image, &config, now)),
                now,
            );
        }
    }
}

fn around<'a>(image: &'a Image, config: &'a GroupConfig, now: Now) -> Around<'a> {
    Around {
        image,
        config: &config.consumer,
        now,
    }
}

fn not_a_consumer_group(id: &str) -> Refused {
    let why = format!("Group {id} is not a consumer group.");
    Refused::new(Kafka::GroupIdNotFound, why)
}
