//! Members that speak the classic protocol, in a consumer group: to them every reconciliation is a rebalance of their own.
//! Source: Apache Kafka, `GroupMetadataManager.classicGroupJoinToConsumerGroup` and what follows it.

use bytes::Bytes;
use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{JoinGroupResponse, SyncGroupResponse},
};

use super::{
    Around, ConsumerGroup, Deadline, Member, Outcome, Refused, Timer,
    convert::Downgrade,
    heartbeat::Claim,
    member::{ClassicPart, MemberState, without_epochs},
    protocol,
    reconcile::Goal,
    settings::Migration,
};
use crate::{
    group::classic::{CONSUMER, Identity, JoinAsked, Leaving, SyncAsked, refused_join, text},
    metadata::random_uuid,
};

/// How a join is answered, and what becomes of the group.
pub(super) struct Joined {
    pub(super) outcome: Outcome<JoinGroupResponse>,
    /// The group is a classic one from here on.
    pub(super) downgrade: Option<Downgrade>,
}

impl ConsumerGroup {
    /// A client of the classic protocol joins.
    pub(super) fn classic_join(
        &self,
        asked: &JoinAsked,
        around: Around<'_>,
        classic_max_size: usize,
    ) -> Result<Joined, Refused> {
        if around.config.migration == Migration::Disabled {
            return Err(Kafka::InconsistentGroupProtocol.into());
        }
        let is_new = asked.who.member.is_empty();
        let id = if is_new {
            random_uuid()
        } else {
            asked.who.member.clone()
        };
        self.refuse_if_full(&id, around)?;
        if !self.can_work_with(asked) {
            return Err(Kafka::InconsistentGroupProtocol.into());
        }
        if is_new && asked.who.instance.is_none() && asked.needs_id {
            return Ok(Joined {
                outcome: Outcome::reply(refused_join(Kafka::MemberIdRequired, &id)),
                downgrade: None,
            });
        }
        let claim = Claim {
            member: &id,
            epoch: -1,
            instance: asked.who.instance.as_deref(),
            owned: Some(&[]),
            joins: asked.who.instance.is_none() || is_new,
            is_classic: true,
        };
        let mut records = Vec::new();
        let member = self.admit(&claim, &mut records)?;
        let first = asked
            .protocols
            .first()
            .map(|(_, metadata)| metadata.clone());
        let subscription = first.and_then(protocol::read_subscription);
        let subscription = subscription.ok_or(Kafka::UnknownServerError)?;
        let owned = protocol::by_id(subscription.owned.clone(), around.image);
        let updated = subscribed(&member, asked, subscription);
        let changed = self.changed(&member, updated, around, records)?;
        let goal_epoch = changed.epoch;
        let (mut records, mut timers) = (changed.records, changed.timers);
        if let Some(replaced) = self.downgrades_with(&changed.updated, around, classic_max_size) {
            let rebalances = self.assignment_epoch < goal_epoch;
            let mut updated = changed.updated;
            if !rebalances {
                let last = self.last_target(&updated);
                let goal = Goal {
                    epoch: last.epoch,
                    target: &last.target,
                    has_subscribed_anew: changed.has_subscribed_anew,
                    claimed: Some(&owned),
                };
                updated = self.reconcile(updated, &goal, around, &mut records, &mut timers)?;
            }
            let mut downgrade = self.downgrade(&[], Some((&updated, replaced)), rebalances, around);
            records.append(&mut downgrade.records);
            downgrade.records = records;
            return Ok(Joined {
                outcome: Outcome::reply(joined(&updated)),
                downgrade: Some(downgrade),
            });
        }
        let targeted = self.targeted(
            goal_epoch,
            &changed.updated,
            changed.is_homogeneous,
            around,
            &mut records,
        );
        let goal = Goal {
            epoch: targeted.epoch,
            target: &targeted.target,
            has_subscribed_anew: changed.has_subscribed_anew,
            claimed: Some(&owned),
        };
        let updated = self.reconcile(changed.updated, &goal, around, &mut records, &mut timers)?;
        let key = || (self.id.clone(), updated.id.clone());
        let of = |deadline: fn(String, String) -> Deadline| deadline(key().0, key().1);
        timers.push(Timer::Cancel(of(Deadline::Join)));
        timers.push(Timer::Set(
            of(Deadline::Session),
            i64::from(asked.session_timeout_ms),
        ));
        timers.push(Timer::Set(
            of(Deadline::Sync),
            i64::from(asked.rebalance_timeout_ms),
        ));
        Ok(Joined {
            outcome: Outcome {
                records,
                timers,
                reply: joined(&updated),
                is_current: changed.is_current,
            },
            downgrade: None,
        })
    }

    /// It can do something that all members of the classic protocol can.
    fn can_work_with(&self, asked: &JoinAsked) -> bool {
        let all = || self.members.values().filter_map(|m| m.classic.as_ref());
        let is_common = |name: &String| {
            all().all(|classic| classic.protocols.iter().any(|(other, _)| other == name))
        };
        asked.protocol_type == CONSUMER && asked.protocols.iter().any(|(name, _)| is_common(name))
    }

    /// A member of the classic protocol fetches what it has.
    pub(super) fn classic_sync(
        &self,
        asked: &SyncAsked,
        around: Around<'_>,
    ) -> Result<Outcome<SyncGroupResponse>, Refused> {
        let (member, classic) = self.classic_member(&asked.who, asked.generation)?;
        let (name, metadata) = member.first_protocol().ok_or(Kafka::UnknownServerError)?;
        let differs =
            |said: &Option<String>, is: &str| said.as_ref().is_some_and(|said| said != is);
        if differs(&asked.protocol_type, CONSUMER) || differs(&asked.protocol, name) {
            return Err(Kafka::InconsistentGroupProtocol.into());
        }
        let mut outcome = Outcome::reply(SyncGroupResponse::default());
        if self.assignment_epoch > member.epoch && member.state != MemberState::Unrevoked {
            outcome.timers.push(self.must_join(member));
            outcome.reply.error_code = Kafka::RebalanceInProgress.code();
            return Ok(outcome);
        }
        let (group, id) = (self.id.clone(), member.id.clone());
        outcome
            .timers
            .push(Timer::Cancel(Deadline::Sync(group, id)));
        outcome.timers.push(self.hears(member, classic));
        let assigned = without_epochs(&member.assigned);
        outcome.reply = SyncGroupResponse::default()
            .with_protocol_type(asked.protocol_type.as_deref().map(text))
            .with_protocol_name(asked.protocol.as_deref().map(text))
            .with_assignment(protocol::write_assignment(
                &assigned,
                metadata,
                around.image,
            ));
        Ok(outcome)
    }

    /// A member of the classic protocol is alive; it learns whether it has to join again.
    pub(super) fn classic_heartbeat(
        &self,
        who: &Identity,
        generation: i32,
    ) -> Result<Outcome<Result<(), Kafka>>, Refused> {
        let (member, classic) = self.classic_member(who, generation)?;
        let mut outcome = Outcome::reply(Ok(()));
        outcome.timers.push(self.hears(member, classic));
        let must_join = member.epoch < self.assignment_epoch
            || match member.state {
                MemberState::Unrevoked => true,
                MemberState::Unreleased => !self.waits_for_others(member),
                MemberState::Stable | MemberState::Unknown => false,
            };
        if must_join {
            outcome.reply = Err(Kafka::RebalanceInProgress);
            outcome.timers.push(self.must_join(member));
        }
        Ok(outcome)
    }

    /// Who leaves, by the classic protocol; an answer for each.
    pub(super) fn classic_leaving(
        &self,
        leaving: &[Leaving],
    ) -> (Vec<Result<(), Kafka>>, Vec<&Member>) {
        let (mut answers, mut gone): (Vec<_>, Vec<&Member>) = (Vec::new(), Vec::new());
        for Leaving { who } in leaving {
            let found = match &who.instance {
                None => self.member(&who.member),
                // An administrator knows the instance, and not what id it has now.
                Some(instance) if who.member.is_empty() => {
                    let there = self.static_member(instance);
                    there.ok_or_else(|| Kafka::UnknownMemberId.into())
                }
                Some(instance) => self.identified(&who.member, instance),
            };
            match found {
                Ok(member) => {
                    answers.push(Ok(()));
                    if gone.iter().all(|other| other.id != member.id) {
                        gone.push(member);
                    }
                }
                Err(refused) => answers.push(Err(refused.code)),
            }
        }
        (answers, gone)
    }

    fn classic_member(
        &self,
        who: &Identity,
        generation: i32,
    ) -> Result<(&Member, &ClassicPart), Refused> {
        let member = match &who.instance {
            None => self.member(&who.member)?,
            Some(instance) => self.identified(&who.member, instance)?,
        };
        let classic = member.classic.as_ref().ok_or(Kafka::UnknownMemberId)?;
        if generation == member.epoch {
            Ok((member, classic))
        } else {
            Err(Kafka::IllegalGeneration.into())
        }
    }

    /// Some of what it shall have is still with others.
    fn waits_for_others(&self, member: &Member) -> bool {
        let target = self.targets.get(&member.id);
        let mut places = target
            .into_iter()
            .flatten()
            .flat_map(|(topic, partitions)| {
                let partitions = partitions.iter();
                partitions.map(move |partition| (*topic, *partition))
            });
        places.any(|(topic, partition)| {
            let has = member.assigned.get(&topic);
            let has = has.is_some_and(|has| has.contains_key(&partition));
            !has && self.owner(topic, partition).is_some()
        })
    }

    fn hears(&self, member: &Member, classic: &ClassicPart) -> Timer {
        let deadline = Deadline::Session(self.id.clone(), member.id.clone());
        Timer::Set(deadline, i64::from(classic.session_timeout_ms))
    }

    fn must_join(&self, member: &Member) -> Timer {
        let deadline = Deadline::Join(self.id.clone(), member.id.clone());
        Timer::SetIfNone(deadline, i64::from(member.rebalance_timeout_ms))
    }
}

/// What the client says goes over what is known of it. It cannot subscribe with a regular expression.
fn subscribed(member: &Member, asked: &JoinAsked, subscription: protocol::Subscription) -> Member {
    let mut updated = member.clone();
    if asked.who.instance.is_some() {
        updated.instance.clone_from(&asked.who.instance);
    }
    if subscription.rack.is_some() {
        updated.rack = subscription.rack;
    }
    if asked.rebalance_timeout_ms != -1 {
        updated.rebalance_timeout_ms = asked.rebalance_timeout_ms;
    }
    updated.names = subscription.topics.into_iter().collect();
    updated.regex = String::new();
    updated.client_id.clone_from(&asked.client_id);
    updated.client_host.clone_from(&asked.client_host);
    let copied = |(name, metadata): &(String, Bytes)| (name.clone(), metadata.clone());
    updated.classic = Some(ClassicPart {
        session_timeout_ms: asked.session_timeout_ms,
        protocols: asked.protocols.iter().map(copied).collect(),
    });
    updated
}

/// Nobody leads: the broker assigns.
fn joined(member: &Member) -> JoinGroupResponse {
    let protocol = member.first_protocol().map(|(name, _)| text(name));
    JoinGroupResponse::default()
        .with_member_id(text(&member.id))
        .with_generation_id(member.epoch)
        .with_protocol_type(Some(text(CONSUMER)))
        .with_protocol_name(protocol)
}
