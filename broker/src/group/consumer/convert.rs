//! A classic group of consumers becomes a consumer group when a member of the new protocol joins, and a classic one again when
//! the last of those leaves. Source: Apache Kafka, `GroupMetadataManager.convertToConsumerGroup`, `convertToClassicGroup`.

use bytes::Bytes;
use kafka_compat::protocol::error::ResponseError as Kafka;

use super::{
    Around, ConsumerGroup, Member, Refused,
    member::{ClassicPart, MemberState, Target, with_epoch},
    protocol, record,
};
use crate::{
    coordinator::KeyValue,
    group::classic::{ClassicGroup, Converted},
};

/// A consumer group becomes a classic one.
pub(super) struct Downgrade {
    pub(super) records: Vec<KeyValue>,
    pub(super) group: ClassicGroup,
    /// Its members have to join again.
    pub(super) rebalances: bool,
}

impl ConsumerGroup {
    /// Without these, all members speak the classic protocol, and they may go on with it.
    pub(super) fn downgrades_without(
        &self,
        gone: &[&Member],
        around: Around<'_>,
        classic_max_size: usize,
    ) -> bool {
        let classic_gone = gone.iter().filter(|member| member.is_classic()).count();
        let left = self.members.len() - gone.len();
        self.classic_members - classic_gone == left
            && left > 0
            && left <= classic_max_size
            && around.config.migration.downgrades()
    }

    /// A static member takes the place of the last one that spoke the consumer protocol: which one that was.
    pub(super) fn downgrades_with(
        &self,
        joining: &Member,
        around: Around<'_>,
        classic_max_size: usize,
    ) -> Option<&Member> {
        let replaced = self.static_member(joining.instance.as_deref()?)?;
        let is_last = !replaced.is_classic() && self.classic_members == self.members.len() - 1;
        let may = around.config.migration.downgrades() && self.members.len() <= classic_max_size;
        (is_last && may).then_some(replaced)
    }

    /// The group without some members, or with one in the place of another, as a classic one.
    pub(super) fn downgrade(
        &self,
        gone: &[&Member],
        joining: Option<(&Member, &Member)>,
        rebalances: bool,
        around: Around<'_>,
    ) -> Downgrade {
        let mut records = match joining {
            None => self.removal(),
            // The records before have put it in the place of the other already.
            Some((joining, replaced)) => self.removal_with(|id| {
                if id == replaced.id {
                    joining.id.as_str()
                } else {
                    id
                }
            }),
        };
        let replaced = joining.map(|(_, replaced)| &replaced.id);
        let stays = self.members.values().filter(|member| {
            Some(&member.id) != replaced && gone.iter().all(|gone| gone.id != member.id)
        });
        let members = stays
            .map(|member| (member, &member.id))
            .chain(joining.map(|(joining, replaced)| (joining, &replaced.id)));
        let none = Target::new();
        let members = members.filter_map(|(member, id)| {
            let target = self.targets.get(id).unwrap_or(&none);
            converted(member, target, around)
        });
        let now = around.now;
        let group = ClassicGroup::of_consumers(&self.id, self.epoch, members.collect(), now);
        records.push(group.as_record());
        Downgrade {
            records,
            group,
            rebalances,
        }
    }

    /// A classic group as a consumer group, and what says so in the log.
    pub(super) fn upgraded(
        classic: &ClassicGroup,
        around: Around<'_>,
    ) -> Result<(Self, Vec<KeyValue>), Refused> {
        let id = &classic.id;
        let refused = |why: &str| {
            let why = format!("Cannot upgrade classic group {id} to consumer group because {why}");
            Err(Refused::new(Kafka::GroupIdNotFound, why))
        };
        if !around.config.migration.upgrades() {
            return refused("online upgrade is disabled.");
        }
        if !classic.is_of_consumers() {
            return refused("the group does not use the consumer embedded protocol.");
        }
        if classic.members().count() > around.config.max_size {
            return refused("the group size exceeds the consumer group maximum size.");
        }
        let mut group = Self::new(id);
        group.epoch = classic.generation;
        group.assignment_epoch = classic.generation;
        for part in classic.parts() {
            let Some(subscription) = protocol::read_subscription(part.subscription.clone()) else {
                return refused("the embedded consumer protocol is malformed.");
            };
            let target = match assigned(&part.assignment, around) {
                Some((target, user_data)) if user_data.is_empty() => target,
                Some(_) => {
                    return refused(
                        "an unsupported custom assignor is in use. Please refer to the documentation or switch to a \
                         default assignor before re-attempting the upgrade.",
                    );
                }
                None => return refused("the embedded consumer protocol is malformed."),
            };
            let member = upgraded(part, subscription, &target, classic.generation);
            group.targets.insert(member.id.clone(), target);
            group.put(member);
        }
        group.hash = group
            .subscriptions(group.members.values())
            .hash(around.image);
        let mut records = vec![crate::group::record::group(id, None)];
        records.extend(group.records());
        Ok((group, records))
    }

    /// All of it.
    fn records(&self) -> Vec<KeyValue> {
        let id = &self.id;
        let members = || self.members.values();
        let mut records: Vec<_> = members().map(|member| record::member(id, member)).collect();
        records.push(record::group(id, Some((self.epoch, self.hash))));
        let targets = self.targets.iter();
        records.extend(targets.map(|(member, target)| record::target_of(id, member, Some(target))));
        let made = (self.assignment_epoch, self.assigned_at_ms);
        records.push(record::target(id, Some(made)));
        records.extend(members().map(|member| record::current(id, member)));
        records
    }

    /// Session timeouts of members of the classic protocol.
    pub(super) fn classic_sessions(&self) -> Vec<(String, i64)> {
        let members = self.members.values();
        members
            .filter_map(|member| {
                let session = member.classic.as_ref()?.session_timeout_ms;
                Some((member.id.clone(), i64::from(session)))
            })
            .collect()
    }
}

/// Nothing where it has not synced yet.
fn assigned(assignment: &Bytes, around: Around<'_>) -> Option<(Target, Bytes)> {
    if assignment.is_empty() {
        return Some((Target::new(), Bytes::new()));
    }
    let (topics, user_data) = protocol::read_assignment(assignment.clone())?;
    let topics = protocol::by_id(topics, around.image).into_iter();
    let target = topics.map(|(topic, partitions)| (topic, partitions.into_iter().collect()));
    Some((target.collect(), user_data))
}

fn upgraded(
    part: Converted,
    subscription: protocol::Subscription,
    target: &Target,
    generation: i32,
) -> Member {
    Member {
        epoch: generation,
        previous_epoch: generation,
        state: MemberState::Stable,
        instance: part.instance,
        rack: subscription.rack,
        client_id: part.client_id,
        client_host: part.client_host,
        names: subscription.topics.into_iter().collect(),
        rebalance_timeout_ms: part.rebalance_timeout_ms,
        assigned: with_epoch(target, generation),
        classic: Some(ClassicPart {
            session_timeout_ms: part.session_timeout_ms,
            protocols: part.protocols,
        }),
        ..Member::new(&part.id)
    }
}

/// `None` for one that does not speak the classic protocol.
fn converted(member: &Member, target: &Target, around: Around<'_>) -> Option<Converted> {
    let classic = member.classic.as_ref()?;
    let (_, subscription) = classic.protocols.first()?;
    Some(Converted {
        id: member.id.clone(),
        instance: member.instance.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: classic.session_timeout_ms,
        subscription: subscription.clone(),
        assignment: protocol::write_assignment(target, subscription, around.image),
        protocols: classic.protocols.clone(),
    })
}
