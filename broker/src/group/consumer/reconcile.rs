//! From what a member has to what it shall have, one step for each heartbeat. Source: Apache Kafka, `CurrentAssignmentBuilder`.

use std::collections::BTreeSet;

use storage::units::TopicId;

use super::{
    ConsumerGroup, Member, Refused,
    member::{MemberState, Owned, Target},
};
use crate::metadata::Image;

/// What a client says that it has: topics and partitions. `None`: as before.
pub(super) type Claimed<'a> = Option<&'a [(TopicId, Vec<i32>)]>;

/// Where a member is to go.
pub(super) struct Goal<'a> {
    pub(super) epoch: i32,
    pub(super) target: &'a Target,
    /// It subscribes to something else than before: what it does not read any more goes at once.
    pub(super) has_subscribed_anew: bool,
    pub(super) claimed: Claimed<'a>,
}

impl ConsumerGroup {
    /// The member after the next step; itself where there is none to take.
    pub(super) fn reconciled(
        &self,
        member: &Member,
        goal: &Goal<'_>,
        image: &Image,
    ) -> Result<Member, Refused> {
        if !goal.has_subscribed_anew && member.is_reconciled_to(goal.epoch) {
            return Ok(member.clone());
        }
        let step = Step {
            group: self,
            member,
            goal,
            reads: self.topic_ids(member, image),
        };
        step.take()
    }

    /// Topics that a member reads and that exist.
    pub(super) fn topic_ids(&self, member: &Member, image: &Image) -> BTreeSet<TopicId> {
        let resolved = member.regex().and_then(|regex| self.resolved.get(regex));
        let by_regex = resolved.into_iter().flat_map(|resolved| &resolved.topics);
        let names = member.names.iter().chain(by_regex);
        names
            .filter_map(|name| image.topics.get(name))
            .map(|topic| topic.id)
            .collect()
    }
}

struct Step<'a> {
    group: &'a ConsumerGroup,
    member: &'a Member,
    goal: &'a Goal<'a>,
    reads: BTreeSet<TopicId>,
}

impl Step<'_> {
    fn take(&self) -> Result<Member, Refused> {
        let member = self.member;
        match member.state {
            MemberState::Stable if member.epoch != self.goal.epoch => Ok(self.next(member.epoch)),
            MemberState::Unrevoked if !self.still_has(&member.revoking) => {
                Ok(self.next(member.epoch))
            }
            MemberState::Stable | MemberState::Unrevoked => {
                if self.goal.has_subscribed_anew {
                    Ok(self.without_unread())
                } else {
                    Ok(member.clone())
                }
            }
            MemberState::Unreleased => Ok(self.next(member.epoch)),
            // What a later release meant is not known: the member begins anew.
            MemberState::Unknown => match self.goal.claimed {
                Some([]) => Ok(self.next(self.goal.epoch)),
                _ => Err(Refused::unknown_state()),
            },
        }
    }

    /// Nothing said is taken for all.
    fn still_has(&self, revoking: &Owned) -> bool {
        let Some(claimed) = self.goal.claimed else {
            return true;
        };
        claimed.iter().any(|(topic, partitions)| {
            let revoking = revoking.get(topic);
            revoking.is_some_and(|revoking| partitions.iter().any(|p| revoking.contains_key(p)))
        })
    }

    /// Topics that it does not read any more are to be given up, whatever it shall have.
    fn without_unread(&self) -> Member {
        let mut member = self.member.clone();
        let unread = |topic: &TopicId| !self.reads.contains(topic);
        let gone: Vec<TopicId> = member.assigned.keys().copied().filter(unread).collect();
        if gone.is_empty() {
            return member;
        }
        for topic in gone {
            if let Some(partitions) = member.assigned.remove(&topic) {
                member.revoking.entry(topic).or_default().extend(partitions);
            }
        }
        if self.still_has(&member.revoking) {
            member.state = MemberState::Unrevoked;
        } else {
            member.revoking.clone_from(&self.member.revoking);
        }
        let epoch = member.epoch;
        member.go_to(epoch);
        member
    }

    /// Towards the target, from an epoch.
    fn next(&self, epoch: i32) -> Member {
        let mut kept = Owned::new();
        let mut revoking = Owned::new();
        let mut granted = Vec::new();
        let mut is_unreleased = false;
        let had = &self.member.assigned;
        let topics: BTreeSet<TopicId> =
            self.goal.target.keys().chain(had.keys()).copied().collect();
        for topic in topics {
            let target = self.goal.target.get(&topic);
            let target = target.filter(|_| self.reads.contains(&topic));
            let shall = |p: &i32| target.is_some_and(|target| target.contains(p));
            let had = had.get(&topic);
            for (partition, since) in had.into_iter().flatten() {
                let to = if shall(partition) {
                    &mut kept
                } else {
                    &mut revoking
                };
                to.entry(topic).or_default().insert(*partition, *since);
            }
            for partition in target.into_iter().flatten() {
                if had.is_some_and(|had| had.contains_key(partition)) {
                    continue;
                }
                if self.is_free(topic, *partition) {
                    granted.push((topic, *partition));
                } else {
                    is_unreleased = true;
                }
            }
        }
        let mut member = self.member.clone();
        if !revoking.is_empty() && self.still_has(&revoking) {
            // It stays in its epoch until it has given them up.
            member.state = MemberState::Unrevoked;
            member.go_to(epoch);
            (member.assigned, member.revoking) = (kept, revoking);
            return member;
        }
        for (topic, partition) in granted {
            kept.entry(topic)
                .or_default()
                .insert(partition, self.goal.epoch);
        }
        member.state = if is_unreleased {
            MemberState::Unreleased
        } else {
            MemberState::Stable
        };
        member.go_to(self.goal.epoch);
        (member.assigned, member.revoking) = (kept, Owned::new());
        member
    }

    /// Nobody has it but the member itself, which was to give it up.
    fn is_free(&self, topic: TopicId, partition: i32) -> bool {
        let own = self.member.revoking.get(&topic);
        self.group.owner(topic, partition).is_none()
            || own.is_some_and(|own| own.contains_key(&partition))
    }
}
