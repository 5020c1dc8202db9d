//! Members that leave, are away for a while, or are not heard of any more; groups that go.

use std::collections::BTreeSet;

use kafka_compat::protocol::error::ResponseError as Kafka;

use super::{
    ConsumerGroup, HeartbeatAnswer, HeartbeatAsked, Owned, Refused,
    heartbeat::{hash_of, unknown},
    member::{AWAY, Member, MemberState},
    record,
};
use crate::{coordinator::KeyValue, metadata::Image};

/// What leaving leads to.
pub(in crate::group) struct Left {
    pub(in crate::group) records: Vec<KeyValue>,
    pub(in crate::group) answer: HeartbeatAnswer,
    /// Who it was.
    pub(in crate::group) member: String,
    /// It is away for a while: its session goes on.
    pub(in crate::group) is_away: bool,
}

impl ConsumerGroup {
    /// A member leaves, for good or, a static one, for a while.
    pub(in crate::group) fn leave(
        &self,
        asked: &HeartbeatAsked,
        image: &Image,
    ) -> Result<Left, Refused> {
        let member = match &asked.instance {
            None => {
                let member = self.members.get(&asked.member);
                member.ok_or_else(|| unknown(&asked.member, &self.id))?
            }
            Some(instance) => {
                let holder = self.instances.get(instance);
                let holder = holder.and_then(|id| self.members.get(id));
                let holder = holder.ok_or_else(|| {
                    let why = format!("Instance id {instance} is unknown.");
                    Refused::new(Kafka::UnknownMemberId, why)
                })?;
                if holder.id != asked.member {
                    let why = format!(
                        "Static member {} with instance id {instance} was fenced by member {}.",
                        asked.member, holder.id
                    );
                    return Err(Refused::new(Kafka::FencedInstanceId, why));
                }
                holder
            }
        };
        let is_away = asked.epoch == AWAY && asked.instance.is_some();
        let records = if is_away {
            // It may come back and go on with what it had.
            let away = Member {
                epoch: AWAY,
                previous_epoch: member.epoch,
                revoking: Owned::new(),
                state: MemberState::Stable,
                ..member.clone()
            };
            vec![record::current(&self.id, &member.id, Some(&away))]
        } else {
            self.without(&[&member.id], Some(image))
        };
        Ok(Left {
            records,
            answer: HeartbeatAnswer {
                member: asked.member.clone(),
                epoch: asked.epoch,
                assignment: None,
            },
            member: member.id.clone(),
            is_away,
        })
    }

    /// The records that take members out of the group; what they had is given to others with the next heartbeats.
    pub(in crate::group) fn without(&self, ids: &[&str], image: Option<&Image>) -> Vec<KeyValue> {
        let mut records = Vec::new();
        for id in ids {
            records.push(record::current(&self.id, id, None));
            records.push(record::target(&self.id, id, None));
            records.push(record::member(&self.id, id, None));
        }
        let left = || {
            self.members
                .values()
                .filter(|m| !ids.contains(&m.id.as_str()))
        };
        let wanted: BTreeSet<&String> = left().filter_map(|m| m.regex.as_ref()).collect();
        let gone = self.regexes.keys().filter(|r| !wanted.contains(r));
        records.extend(gone.map(|regex| record::regex(&self.id, regex, None)));
        let hash = image.map_or(self.hash, |image| {
            let by_name = left().flat_map(|m| &m.topics);
            let by_regex = wanted.iter().filter_map(|r| self.regexes.get(*r)).flatten();
            hash_of(by_name.chain(by_regex).collect::<BTreeSet<_>>(), image)
        });
        records.push(record::group(&self.id, Some((self.epoch + 1, hash))));
        records
    }

    /// A member did not give its partitions up in time.
    pub(in crate::group) fn is_late(&self, id: &str) -> bool {
        let member = self.members.get(id);
        member.is_some_and(|m| {
            let is_told = m.classic.is_some() && m.epoch < self.epoch;
            is_told || m.state == MemberState::UnrevokedPartitions
        })
    }

    pub(in crate::group) fn has(&self, id: &str) -> bool {
        self.members.contains_key(id)
    }

    /// The group goes.
    pub(in crate::group) fn tombstones(&self) -> Vec<KeyValue> {
        let mut records = Vec::new();
        for id in self.members.keys() {
            records.push(record::current(&self.id, id, None));
            records.push(record::target(&self.id, id, None));
            records.push(record::member(&self.id, id, None));
        }
        let regexes = self.regexes.keys();
        records.extend(regexes.map(|regex| record::regex(&self.id, regex, None)));
        records.push(record::target_epoch(&self.id, None));
        records.push(record::group(&self.id, None));
        records
    }
}
