//! Consumer groups of the shard.

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{JoinGroupResponse, SyncGroupResponse},
};
use storage::units::TopicId;
use tokio::sync::oneshot;

use super::{Deadline, Decision, GroupShard, answered};
use crate::{
    coordinator::{Decided, KeyValue, Now},
    group::{
        Commit, Identity, JoinAsked, Leaving, SyncAsked,
        classic::{new_member_id, refused_join},
        consumer::{
            ConsumerGroup, DescribedGroup, HeartbeatAnswer, HeartbeatAsked, Refused, record::Said,
        },
        record,
    },
    metadata::Image,
};

/// Below this a member says that it leaves.
const JOINS: i32 = 0;

impl GroupShard {
    /// A member of a consumer group is alive, wants something, or leaves.
    pub fn consumer_heartbeat(
        &mut self,
        asked: &HeartbeatAsked,
        image: &Image,
        now: Now,
    ) -> Decision<Result<HeartbeatAnswer, Refused>> {
        if asked.epoch < JOINS {
            return self.consumer_leave(asked, image, now);
        }
        let id = &asked.group;
        let mut records = Vec::new();
        let mut converts = false;
        let fresh;
        let group = match (self.consumers.get(id), self.groups.get(id)) {
            (Some(group), _) => group,
            (None, Some(classic)) if asked.epoch == JOINS && classic.size() == 0 => {
                // Nobody is in it: it becomes one of the other kind, with what it committed.
                records.push(record::group(id, None));
                fresh = ConsumerGroup::new(id);
                &fresh
            }
            (None, Some(classic)) if asked.epoch == JOINS && classic.has_consumers() => {
                // Its members go on in it, and are told to join again.
                let Some(converted) = ConsumerGroup::of_classic(classic, image) else {
                    let why = format!("Group {id} is not a consumer group.");
                    return Decided::reply(Err(Refused::new(Kafka::GroupIdNotFound, why)));
                };
                fresh = converted;
                records.push(record::group(id, None));
                records.extend(fresh.records());
                converts = true;
                &fresh
            }
            (None, Some(_)) => {
                let why = format!("Group {id} is not a consumer group.");
                return Decided::reply(Err(Refused::new(Kafka::GroupIdNotFound, why)));
            }
            (None, None) if asked.epoch == JOINS => {
                fresh = ConsumerGroup::new(id);
                &fresh
            }
            (None, None) => return Decided::reply(Err(not_found(id))),
        };
        let config = self.config();
        let beat = group.heartbeat(asked, image, config.consumer_max_size, now.wall.0);
        let beat = match beat {
            Ok(beat) => beat,
            Err(refused) => return Decided::reply(Err(refused)),
        };
        if converts {
            let sessions = group.classic_sessions();
            let id = asked.group.clone();
            self.with(&id, now, |classic, around| classic.dissolve(around));
            for (member, session) in sessions {
                self.heard_of(&id, &member, session.into(), now);
            }
        }
        let deadline = |id: &str| Deadline::Member(asked.group.clone(), id.to_owned());
        let revoke = |id: &str| Deadline::Revoke(asked.group.clone(), id.to_owned());
        if let Some(gone) = &beat.replaced {
            self.deadlines.cancel(&deadline(gone));
            self.deadlines.cancel(&revoke(gone));
        }
        let member = &beat.answer.member;
        let session = now
            .steady
            .saturating_add(config.consumer_session_timeout_ms);
        self.deadlines.set(deadline(member), session);
        match beat.revokes_within_ms {
            // It is set when it begins, and not put off.
            Some(within) if !beat.records.is_empty() => {
                let at = now.steady.saturating_add(within.into());
                self.deadlines.set(revoke(member), at);
            }
            Some(_) => {}
            None => self.deadlines.cancel(&revoke(member)),
        }
        records.extend(beat.records);
        Decided::write(records, Ok(beat.answer))
    }

    /// The session of a member begins anew.
    fn heard_of(&mut self, group: &str, member: &str, session_ms: i64, now: Now) {
        let deadline = Deadline::Member(group.to_owned(), member.to_owned());
        let at = now.steady.saturating_add(session_ms);
        self.deadlines.set(deadline, at);
    }

    /// A member of the classic protocol joins, whichever kind of group it is.
    pub fn join_any(
        &mut self,
        asked: &JoinAsked,
        image: &Image,
        now: Now,
    ) -> Decision<oneshot::Receiver<JoinGroupResponse>> {
        let config = self.config();
        let refused = |code| Decided::reply(answered(refused_join(code, &asked.who.member)));
        let group = match self.consumers.get(&asked.group) {
            Some(group) if !group.is_empty() => group,
            _ => return self.join(asked, now),
        };
        let timeout = i64::from(asked.session_timeout_ms);
        if !(config.min_session_timeout_ms..=config.max_session_timeout_ms).contains(&timeout) {
            return refused(Kafka::InvalidSessionTimeout);
        }
        let mut asked = asked.clone();
        if asked.who.member.is_empty() {
            let name = asked.who.instance.as_ref().unwrap_or(&asked.client_id);
            let id = new_member_id(name);
            if asked.needs_id && asked.who.instance.is_none() {
                return Decided::reply(answered(refused_join(Kafka::MemberIdRequired, &id)));
            }
            asked.who.member = id;
        }
        match group.join(&asked, image, config.consumer_max_size, now.wall.0) {
            Ok(joined) => {
                let id = asked.group;
                if let Some(gone) = &joined.beat.replaced {
                    let gone = Deadline::Member(id.clone(), gone.clone());
                    self.deadlines.cancel(&gone);
                }
                let member = joined.beat.answer.member.clone();
                self.heard_of(&id, &member, joined.session_timeout_ms.into(), now);
                self.deadlines.cancel(&Deadline::Revoke(id, member));
                Decided::write(joined.beat.records, answered(joined.answer))
            }
            Err(Refused { code, .. }) => {
                Decided::reply(answered(refused_join(code, &asked.who.member)))
            }
        }
    }

    /// A member of the classic protocol asks what it may read.
    pub fn sync_any(
        &mut self,
        asked: SyncAsked,
        image: &Image,
        now: Now,
    ) -> Decision<oneshot::Receiver<SyncGroupResponse>> {
        let Some(group) = self.consumers.get(&asked.group) else {
            return self.sync(asked, now);
        };
        match group.sync(&asked, image) {
            Ok((session, answer)) => {
                self.heard_of(&asked.group, &asked.who.member, session.into(), now);
                Decided::reply(answered(answer))
            }
            Err(code) => Decided::reply(answered(
                SyncGroupResponse::default().with_error_code(code.code()),
            )),
        }
    }

    /// A member of the classic protocol is alive.
    pub fn heartbeat_any(
        &mut self,
        id: &str,
        who: &Identity,
        generation: i32,
        now: Now,
    ) -> Decision<Result<(), Kafka>> {
        let Some(group) = self.consumers.get(id) else {
            return self.heartbeat(id, who, generation, now);
        };
        match group.classic_heartbeat(who, generation) {
            Ok((session, told)) => {
                self.heard_of(id, &who.member, session.into(), now);
                Decided::reply(told)
            }
            Err(code) => Decided::reply(Err(code)),
        }
    }

    /// Members leave, whichever kind of group it is.
    pub fn leave_any(
        &mut self,
        id: &str,
        leaving: &[Leaving],
        image: &Image,
        now: Now,
    ) -> Decision<Result<Vec<Result<(), Kafka>>, Kafka>> {
        let Some(group) = self.consumers.get(id) else {
            return self.leave(id, leaving, now);
        };
        let (answers, gone) = group.leaving(leaving);
        let ids: Vec<&str> = gone.iter().map(String::as_str).collect();
        let records = if ids.is_empty() {
            Vec::new()
        } else {
            group.without(&ids, Some(image))
        };
        for member in &gone {
            self.deadlines
                .cancel(&Deadline::Member(id.to_owned(), member.clone()));
        }
        Decided::write(records, Ok(answers))
    }

    fn consumer_leave(
        &mut self,
        asked: &HeartbeatAsked,
        image: &Image,
        now: Now,
    ) -> Decision<Result<HeartbeatAnswer, Refused>> {
        let Some(group) = self.consumers.get(&asked.group) else {
            return Decided::reply(Err(not_found(&asked.group)));
        };
        let left = match group.leave(asked, image) {
            Ok(left) => left,
            Err(refused) => return Decided::reply(Err(refused)),
        };
        let (id, member) = (asked.group.clone(), left.member);
        let session = Deadline::Member(id.clone(), member.clone());
        if left.is_away {
            let timeout = self.config().consumer_session_timeout_ms;
            self.deadlines
                .set(session, now.steady.saturating_add(timeout));
        } else {
            self.deadlines.cancel(&session);
        }
        self.deadlines.cancel(&Deadline::Revoke(id, member));
        Decided::write(left.records, Ok(left.answer))
    }

    /// A member was not heard of, or did not give partitions up, for too long.
    pub(super) fn fence(&mut self, group: &str, member: &str, for_revoking: bool) -> Vec<KeyValue> {
        let Some(known) = self.consumers.get(group) else {
            return Vec::new();
        };
        if !known.has(member) || (for_revoking && !known.is_late(member)) {
            return Vec::new();
        }
        let (group, member) = (group.to_owned(), member.to_owned());
        tracing::info!(
            group,
            member,
            for_revoking,
            "a member is fenced: it took too long"
        );
        let records = known.without(&[&member], None);
        self.deadlines
            .cancel(&Deadline::Member(group.clone(), member.clone()));
        self.deadlines.cancel(&Deadline::Revoke(group, member));
        records
    }

    pub(super) fn replay_consumer(&mut self, id: String, said: Said) {
        match said {
            Said::Group(None) => {
                self.consumers.remove(&id);
            }
            // What is said of a group that is gone is old.
            Said::Member(_, None)
            | Said::Target(_, None)
            | Said::Current(_, None)
            | Said::TargetEpoch(None)
            | Said::Regex(_, None) => {
                if let Some(group) = self.consumers.get_mut(&id) {
                    group.replay(said);
                }
            }
            said => {
                // It may have been made for a commit.
                self.groups.remove(&id);
                let group = self.consumers.entry(id);
                let fresh = |id: &String| ConsumerGroup::new(id);
                group.or_insert_with_key(fresh).replay(said);
            }
        }
    }

    /// Sessions begin anew: the groups were read from the log.
    pub(super) fn consumers_loaded(&mut self, now: Now) {
        let session = now
            .steady
            .saturating_add(self.config().consumer_session_timeout_ms);
        for (id, group) in &self.consumers {
            for member in group.member_ids() {
                if group.is_late(&member) {
                    let revoke = Deadline::Revoke(id.clone(), member.clone());
                    self.deadlines.set(revoke, session);
                }
                let deadline = Deadline::Member(id.clone(), member);
                self.deadlines.set(deadline, session);
            }
            for (member, timeout) in group.classic_sessions() {
                let deadline = Deadline::Member(id.clone(), member);
                let at = now.steady.saturating_add(timeout.into());
                self.deadlines.set(deadline, at);
            }
        }
    }

    /// A consumer group; `None` where there is none of that name, or one of the other kind.
    pub fn describe_consumer(&self, id: &str) -> Option<DescribedGroup> {
        self.consumers.get(id).map(ConsumerGroup::describe)
    }

    /// Whether there is a consumer group of that name with that member, which speaks the consumer protocol itself.
    pub fn has_consumer(&self, id: &str, member: &str) -> bool {
        self.consumers
            .get(id)
            .is_some_and(|group| group.has_own(member))
    }

    /// Whether there is a consumer group of that name.
    pub fn is_consumer(&self, id: &str) -> bool {
        self.consumers.contains_key(id)
    }

    /// Whether who asks may commit; `None` where there is no consumer group of that name.
    pub(super) fn may_commit_to_consumer(
        &self,
        id: &str,
        who: &Identity,
        epoch: i32,
        commits: &[Commit],
    ) -> Option<Result<(), Kafka>> {
        let group = self.consumers.get(id)?;
        let mut places = commits
            .iter()
            .map(|c| -> (TopicId, i32) { (c.topic_id, c.partition) });
        Some(group.may_commit(who, epoch, &mut places))
    }

    /// Whether who asks may read what a group committed (from v9 on it says who it is).
    pub fn may_fetch(&self, id: &str, member: Option<&str>, epoch: i32) -> Result<(), Kafka> {
        let group = self.consumers.get(id);
        group.map_or(Ok(()), |group| group.may_fetch(member, epoch))
    }
}

fn not_found(id: &str) -> Refused {
    let why = format!("Group {id} not found.");
    Refused::new(Kafka::GroupIdNotFound, why)
}
