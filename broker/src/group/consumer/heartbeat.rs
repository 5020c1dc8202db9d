//! ConsumerGroupHeartbeat: a member joins, says what it reads and has, and learns what it shall have. Source: Apache Kafka,
//! `GroupMetadataManager.consumerGroupHeartbeat`.

use std::collections::BTreeMap;

use kafka_compat::protocol::error::ResponseError as Kafka;
use storage::units::TopicId;

use super::{
    Around, ConsumerGroup, Deadline, Member, Outcome, Timer,
    member::{LEAVES_FOR_A_WHILE, MemberState},
    reconcile::{Claimed, Goal},
    record,
};
use crate::coordinator::KeyValue;

/// A ConsumerGroupHeartbeat request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatAsked {
    /// Which group.
    pub group: String,
    /// Who asks; empty: it wants an id.
    pub member: String,
    /// The epoch that it was told; 0 to join, -1 to leave, -2 to leave for a while.
    pub epoch: i32,
    /// The id that it gave itself (KIP-345).
    pub instance: Option<String>,
    /// Where it is.
    pub rack: Option<String>,
    /// How long it may take to give up partitions; -1: as before.
    pub rebalance_timeout_ms: i32,
    /// Topics that it reads. `None`: as before.
    pub names: Option<Vec<String>>,
    /// Topics that it reads, as a regular expression. `None`: as before.
    pub regex: Option<String>,
    /// The assignor that it asks for. `None`: as before.
    pub assignor: Option<String>,
    /// What it has. `None`: as before.
    pub owned: Option<Vec<(TopicId, Vec<i32>)>>,
    /// What the client calls itself.
    pub client_id: String,
    /// Where it asks from.
    pub client_host: String,
}

/// What a member is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// Its id.
    pub member: String,
    /// Its epoch.
    pub epoch: i32,
    /// When to come again; 0 for one that left.
    pub interval_ms: i32,
    /// What it may use at once. `None`: as before.
    pub assignment: Option<BTreeMap<TopicId, Vec<i32>>>,
}

/// Why a member is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Kafka's error.
    pub code: Kafka,
    /// Kafka's words; `None` where they are the error's own.
    pub why: Option<String>,
}

impl From<Kafka> for Refused {
    fn from(code: Kafka) -> Self {
        Self { code, why: None }
    }
}

impl Refused {
    pub(super) fn new(code: Kafka, why: String) -> Self {
        Self {
            code,
            why: Some(why),
        }
    }

    pub(super) fn unknown_member(member: &str, group: &str) -> Self {
        let why = format!("Member {member} is not a member of group {group}.");
        Self::new(Kafka::UnknownMemberId, why)
    }

    pub(super) fn unknown_state() -> Self {
        let why = "The consumer group member is in a unknown state. \
                   The member must abandon all its partitions and rejoin.";
        Self::new(Kafka::FencedMemberEpoch, why.to_owned())
    }

    fn unknown_instance(instance: &str) -> Self {
        let why = format!("Instance id {instance} is unknown.");
        Self::new(Kafka::UnknownMemberId, why)
    }
}

/// Whose request it is, and how.
pub(super) struct Claim<'a> {
    pub(super) member: &'a str,
    pub(super) epoch: i32,
    pub(super) instance: Option<&'a str>,
    pub(super) owned: Claimed<'a>,
    /// It may be new.
    pub(super) joins: bool,
    pub(super) is_classic: bool,
}

impl ConsumerGroup {
    /// Decides on a heartbeat of a member that stays. `records` come before those that are decided here.
    pub(super) fn heartbeat(
        &self,
        asked: &HeartbeatAsked,
        mut records: Vec<KeyValue>,
        around: Around<'_>,
    ) -> Result<Outcome<HeartbeatAnswer>, Refused> {
        let owned = asked.owned.as_deref();
        let claim = Claim {
            member: &asked.member,
            epoch: asked.epoch,
            instance: asked.instance.as_deref(),
            owned,
            joins: asked.epoch == 0,
            is_classic: false,
        };
        self.refuse_if_full(&asked.member, around)?;
        let member = self.admit(&claim, &mut records)?;
        let mut updated = member.clone();
        subscribe(&mut updated, asked);
        let changed = self.changed(&member, updated, around, records)?;
        let Changed {
            mut updated,
            mut records,
            mut timers,
            ..
        } = changed;
        let targeted = self.targeted(
            changed.epoch,
            &updated,
            changed.is_homogeneous,
            around,
            &mut records,
        );
        let goal = Goal {
            epoch: targeted.epoch,
            target: &targeted.target,
            has_subscribed_anew: changed.has_subscribed_anew,
            claimed: owned,
        };
        updated = self.reconcile(updated, &goal, around, &mut records, &mut timers)?;
        timers.push(Timer::Set(
            Deadline::Session(self.id.clone(), updated.id.clone()),
            i64::from(around.config.session_timeout_ms),
        ));
        // One that says everything may have lost what it was told.
        let says_all = asked.rebalance_timeout_ms != -1
            && (asked.names.is_some() || asked.regex.is_some())
            && asked.owned.is_some();
        let tells = asked.epoch == 0 || says_all || member.assigned != updated.assigned;
        let assignment = tells.then(|| {
            let topics = updated.assigned.iter();
            topics
                .map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
                .collect()
        });
        Ok(Outcome {
            records,
            timers,
            reply: HeartbeatAnswer {
                member: updated.id,
                epoch: updated.epoch,
                interval_ms: around.config.heartbeat_interval_ms,
                assignment,
            },
            is_current: changed.is_current,
        })
    }

    pub(super) fn refuse_if_full(&self, member: &str, around: Around<'_>) -> Result<(), Refused> {
        let max = around.config.max_size;
        if self.members.len() >= max && !self.members.contains_key(member) {
            let why =
                format!("The consumer group has reached its maximum capacity of {max} members.");
            return Err(Refused::new(Kafka::GroupMaxSizeReached, why));
        }
        Ok(())
    }

    /// The member as it is, or a new one; a static member that comes back takes the place of its old id.
    pub(super) fn admit(
        &self,
        claim: &Claim<'_>,
        records: &mut Vec<KeyValue>,
    ) -> Result<Member, Refused> {
        let new = || Member::new(claim.member);
        let Some(instance) = claim.instance else {
            let member = match self.members.get(claim.member) {
                Some(member) => member.clone(),
                None if claim.joins => new(),
                None => return Err(Refused::unknown_member(claim.member, &self.id)),
            };
            refuse_wrong_epoch(&member, claim)?;
            return Ok(member);
        };
        match self.static_member(instance) {
            None if claim.joins => {
                let known = self.members.get(claim.member);
                Ok(known.cloned().unwrap_or_else(new))
            }
            None => Err(Refused::unknown_instance(instance)),
            Some(there) if claim.joins => {
                if !claim.is_classic && !there.is_classic() && there.epoch != LEAVES_FOR_A_WHILE {
                    return Err(unreleased(there, claim.member, instance));
                }
                let back = Member {
                    id: claim.member.to_owned(),
                    epoch: 0,
                    previous_epoch: 0,
                    ..there.clone()
                };
                records.extend(there.removal(&self.id));
                records.push(record::member(&self.id, &back));
                let target = self.targets.get(&there.id).cloned().unwrap_or_default();
                records.push(record::target_of(&self.id, &back.id, Some(&target)));
                records.push(record::current(&self.id, &back));
                Ok(back)
            }
            Some(there) => {
                refuse_other_id(there, claim.member, instance)?;
                refuse_wrong_epoch(there, claim)?;
                Ok(there.clone())
            }
        }
    }

    /// A static member by its instance id, for one that leaves.
    pub(super) fn identified(&self, member: &str, instance: &str) -> Result<&Member, Refused> {
        let there = self.static_member(instance);
        let there = there.ok_or_else(|| Refused::unknown_instance(instance))?;
        refuse_other_id(there, member, instance)?;
        Ok(there)
    }

    /// What follows from how a member changed: records, and the group's epoch.
    pub(super) fn changed(
        &self,
        member: &Member,
        updated: Member,
        around: Around<'_>,
        mut records: Vec<KeyValue>,
    ) -> Result<Changed, Refused> {
        let mut timers = Vec::new();
        if updated != *member {
            records.push(record::member(&self.id, &updated));
        }
        let has_other_names = updated.names != member.names;
        let regex = self.regex_changed(member, &updated, around, &mut records, &mut timers)?;
        // A regular expression that is not resolved yet changes nothing: when it is, the epoch grows.
        let grows = has_other_names || regex.is_resolved || (updated.is_classic() && regex.is_new);
        let is_seen = self.seen_version == Some(around.image.version);
        let (mut epoch, mut is_current) = (self.epoch, false);
        let mut is_homogeneous = true;
        let mut must_know_type = self.assignment_epoch < self.epoch;
        if grows || !is_seen {
            let all = self.subscriptions(self.members_with(&updated));
            let hash = all.hash(around.image);
            is_homogeneous = all.is_homogeneous();
            must_know_type = false;
            if grows || hash != self.hash {
                epoch += 1;
                records.push(record::group(&self.id, Some((epoch, hash))));
            } else {
                is_current = true;
            }
            if self.has_partitions_record {
                records.push(record::no_partitions(&self.id));
            }
        }
        if must_know_type {
            let all = self.subscriptions(self.members_with(&updated));
            is_homogeneous = all.is_homogeneous();
        }
        Ok(Changed {
            updated,
            records,
            timers,
            epoch,
            is_homogeneous,
            has_subscribed_anew: has_other_names || regex.is_new,
            is_current,
        })
    }

    /// Leads a member on, and waits for what it is to give up.
    pub(super) fn reconcile(
        &self,
        member: Member,
        goal: &Goal<'_>,
        around: Around<'_>,
        records: &mut Vec<KeyValue>,
        timers: &mut Vec<Timer>,
    ) -> Result<Member, Refused> {
        let next = self.reconciled(&member, goal, around.image)?;
        if next == member {
            return Ok(member);
        }
        records.push(record::current(&self.id, &next));
        // The classic protocol has deadlines of its own.
        if !next.is_classic() {
            let deadline = Deadline::Revoke(self.id.clone(), next.id.clone());
            timers.push(if next.state == MemberState::Unrevoked {
                Timer::Set(deadline, i64::from(next.rebalance_timeout_ms))
            } else {
                Timer::Cancel(deadline)
            });
        }
        Ok(next)
    }
}

/// A member that changed, and what follows for the group.
pub(super) struct Changed {
    pub(super) updated: Member,
    pub(super) records: Vec<KeyValue>,
    pub(super) timers: Vec<Timer>,
    pub(super) epoch: i32,
    pub(super) is_homogeneous: bool,
    pub(super) has_subscribed_anew: bool,
    pub(super) is_current: bool,
}

/// What the client says goes over what is known of it.
fn subscribe(member: &mut Member, asked: &HeartbeatAsked) {
    let over = |known: &mut Option<String>, said: &Option<String>| {
        if said.is_some() {
            known.clone_from(said);
        }
    };
    over(&mut member.instance, &asked.instance);
    over(&mut member.rack, &asked.rack);
    over(&mut member.assignor, &asked.assignor);
    if asked.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = asked.rebalance_timeout_ms;
    }
    if let Some(names) = &asked.names {
        member.names = names.iter().cloned().collect();
    }
    if let Some(regex) = &asked.regex {
        member.regex.clone_from(regex);
    }
    member.client_id.clone_from(&asked.client_id);
    member.client_host.clone_from(&asked.client_host);
    member.classic = None;
}

/// Epoch 0 may always come; the epoch before may, if its answer was lost: it has nothing that it shall not have.
fn refuse_wrong_epoch(member: &Member, claim: &Claim<'_>) -> Result<(), Refused> {
    let (said, is) = (claim.epoch, member.epoch);
    if claim.is_classic || said == 0 || said == is {
        return Ok(());
    }
    let fenced = |how: &str| {
        let why = format!(
            "The consumer group member has a {how} member epoch ({said}) than the one known by the group coordinator \
             ({is}). The member must abandon all its partitions and rejoin."
        );
        Err(Refused::new(Kafka::FencedMemberEpoch, why))
    };
    if said > is {
        return fenced("greater");
    }
    let has_only_its_own = claim.owned.is_some_and(|owned| {
        owned.iter().all(|(topic, partitions)| {
            let assigned = member.assigned.get(topic);
            assigned.is_some_and(|assigned| partitions.iter().all(|p| assigned.contains_key(p)))
        })
    });
    if said == member.previous_epoch && has_only_its_own {
        Ok(())
    } else {
        fenced("smaller")
    }
}

fn refuse_other_id(there: &Member, member: &str, instance: &str) -> Result<(), Refused> {
    if there.id == member {
        return Ok(());
    }
    let why = format!(
        "Static member {member} with instance id {instance} was fenced by member {}.",
        there.id
    );
    Err(Refused::new(Kafka::FencedInstanceId, why))
}

fn unreleased(there: &Member, member: &str, instance: &str) -> Refused {
    let why = format!(
        "Static member {member} with instance id {instance} cannot join the group because the instance id is owned by {} \
         member.",
        there.id
    );
    Refused::new(Kafka::UnreleasedInstanceId, why)
}
