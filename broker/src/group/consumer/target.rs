//! What members shall have: made anew when the group's epoch has grown. Source: Apache Kafka,
//! `GroupMetadataManager.maybeUpdateTargetAssignment`, `TargetAssignmentBuilder`.

use std::collections::{BTreeMap, HashMap};

use super::{Around, ConsumerGroup, Member, assign, member::Target, record, settings::Assignor};
use crate::coordinator::KeyValue;

/// What a member shall have, in which epoch.
pub(super) struct Targeted {
    pub(super) epoch: i32,
    pub(super) target: Target,
}

impl ConsumerGroup {
    /// Makes targets for a group epoch with a changed member, unless they are made already, or were made a moment ago.
    pub(super) fn targeted(
        &self,
        epoch: i32,
        changed: &Member,
        is_homogeneous: bool,
        around: Around<'_>,
        records: &mut Vec<KeyValue>,
    ) -> Targeted {
        if self.assignment_epoch >= epoch || !self.may_assign(around) {
            return self.last_target(changed);
        }
        let group = self.seen_by_assignors(changed, is_homogeneous, around);
        let assignor = preferred_assignor(self.members_with(changed));
        let assignor = assignor.unwrap_or(around.config.assignors.first);
        let mut targets = assign::assign(assignor, &group);
        for id in group.members.keys() {
            let target = targets.entry(id.clone()).or_default();
            if self.targets.get(id) != Some(target) {
                records.push(record::target_of(&self.id, id, Some(target)));
            }
        }
        let made = (epoch, around.now.wall.0);
        records.push(record::target(&self.id, Some(made)));
        Targeted {
            epoch,
            target: targets.remove(&changed.id).unwrap_or_default(),
        }
    }

    /// What was made before; a static member that comes back has that of its old id.
    pub(super) fn last_target(&self, member: &Member) -> Targeted {
        let id = match &member.instance {
            None => Some(&member.id),
            Some(instance) => self.instances.get(instance),
        };
        let target = id.and_then(|id| self.targets.get(id));
        Targeted {
            epoch: self.assignment_epoch,
            target: target.cloned().unwrap_or_default(),
        }
    }

    /// Not too often (KIP-1263).
    fn may_assign(&self, around: Around<'_>) -> bool {
        let interval = around.config.assignment_interval_ms;
        self.assigned_at_ms == 0
            || interval == 0
            || around.now.wall.0 >= self.assigned_at_ms.saturating_add(interval)
    }

    fn seen_by_assignors(
        &self,
        changed: &Member,
        is_homogeneous: bool,
        around: Around<'_>,
    ) -> assign::Group {
        let mut partitions = HashMap::new();
        let members = self.members_with(changed).map(|member| {
            let topics = self.topic_ids(member, around.image);
            for topic in topics.iter().filter_map(|id| around.image.topic_by_id(*id)) {
                let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
                partitions.insert(topic.id, count);
            }
            let before = if member.id == changed.id {
                self.last_target_of(changed)
            } else {
                self.targets.get(&member.id)
            };
            let spec = assign::Spec {
                instance: member.instance.clone(),
                topics,
                before: before.cloned().unwrap_or_default(),
            };
            (member.id.clone(), spec)
        });
        let members = members.collect();
        assign::Group {
            members,
            is_homogeneous,
            partitions,
        }
    }

    /// Of itself, or of the static member whose place it takes.
    fn last_target_of(&self, member: &Member) -> Option<&Target> {
        let of_instance = member.instance.as_ref();
        let replaced = of_instance.and_then(|instance| self.instances.get(instance));
        self.targets.get(replaced.unwrap_or(&member.id))
    }
}

/// What most members ask for.
pub(super) fn preferred_assignor<'a>(
    members: impl Iterator<Item = &'a Member>,
) -> Option<Assignor> {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for name in members.filter_map(|member| member.assignor.as_deref()) {
        *votes.entry(name).or_default() += 1;
    }
    // Of two with as many, `uniform`, which is the later name.
    let most = votes.into_iter().max_by_key(|(_, count)| *count);
    most.and_then(|(name, _)| Assignor::find(name))
}
