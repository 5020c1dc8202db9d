//! `uniform`, where all members read the same topics: numbers of partitions differ by one at most, and as few as possible move.
//!
//! Source: Apache Kafka, `UniformHomogeneousAssignmentBuilder`.

use std::collections::{BTreeMap, BTreeSet};

use storage::units::TopicId;

use super::Group;
use crate::group::consumer::member::Target;

pub(super) fn assign(group: &Group) -> BTreeMap<String, Target> {
    let topics = group.members.values().next().map(|spec| &spec.topics);
    let Some(topics) = topics.filter(|topics| !topics.is_empty()) else {
        return BTreeMap::new();
    };
    let (mut free, all) = unassigned(group, topics);
    let mut shares = Shares::new(all, group.members.len());
    let mut targets = BTreeMap::new();
    let mut hungry = Vec::new();
    for (id, spec) in &group.members {
        let kept = shares.keep(&spec.before, topics, &mut free);
        if kept.wants > 0 {
            hungry.push((id.clone(), kept.wants));
        }
        targets.insert(id.clone(), kept.target);
    }
    let mut free = free.into_iter();
    for (id, wants) in hungry {
        if let Some(target) = targets.get_mut(&id) {
            for (topic, partition) in free.by_ref().take(wants) {
                target
                    .entry(topic)
                    .or_insert_with(BTreeSet::new)
                    .insert(partition);
            }
        }
    }
    targets
}

/// Partitions that no member had, and how many there are in all.
fn unassigned(group: &Group, topics: &BTreeSet<TopicId>) -> (Vec<(TopicId, i32)>, usize) {
    let mut had = BTreeSet::new();
    for before in group.members.values().map(|spec| &spec.before) {
        for (topic, partitions) in before {
            had.extend(partitions.iter().map(|p| (*topic, *p)));
        }
    }
    let each = |topic: &TopicId| {
        let topic = *topic;
        (0..group.partitions(topic)).map(move |p| (topic, p))
    };
    let all: Vec<_> = topics.iter().flat_map(each).collect();
    let count = all.len();
    let free = all.into_iter().filter(|place| !had.contains(place));
    (free.collect(), count)
}

/// How many partitions members get.
struct Shares {
    least: usize,
    /// Members that still get one more.
    with_one_more: usize,
    /// Members that have not been looked at.
    left: usize,
}

/// What a member keeps, and how many it still gets.
struct Kept {
    target: Target,
    wants: usize,
}

impl Shares {
    fn new(partitions: usize, members: usize) -> Self {
        Self {
            least: partitions / members,
            with_one_more: partitions % members,
            left: members,
        }
    }

    /// A member keeps what it may; what is too much is free.
    fn keep(
        &mut self,
        before: &Target,
        topics: &BTreeSet<TopicId>,
        free: &mut Vec<(TopicId, i32)>,
    ) -> Kept {
        let mut gets_more = self.with_one_more > 0;
        let mut quota = self.least + usize::from(gets_more);
        let mut target = Target::new();
        for (topic, partitions) in before.iter().filter(|(topic, _)| topics.contains(topic)) {
            for partition in partitions {
                if quota > 0 {
                    quota -= 1;
                    target.entry(*topic).or_default().insert(*partition);
                } else {
                    free.push((*topic, *partition));
                }
            }
        }
        // Others may have one more already: leave it to them, as long as enough of them are left.
        if quota > 0 && gets_more && self.left > self.with_one_more {
            quota -= 1;
            gets_more = false;
        }
        self.with_one_more -= usize::from(gets_more);
        self.left -= 1;
        Kept {
            target,
            wants: quota,
        }
    }
}
