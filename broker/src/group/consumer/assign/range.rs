//! `range`: of each topic, a member gets partitions that follow each other. Members are in one order for all topics, so those
//! with as many partitions are read together. Static members come first, by their instance ids: theirs stay when others come
//! and go. Source: Apache Kafka, `RangeAssignor`.

use std::collections::{BTreeMap, HashMap};

use super::{Group, Spec};
use crate::group::consumer::member::Target;

/// How a topic is cut.
struct Cut {
    partitions: i32,
    readers: i32,
    /// Members that got their range.
    served: i32,
    next: i32,
}

impl Cut {
    /// The first members get one more where it does not come out even.
    fn take(&mut self) -> std::ops::Range<i32> {
        let more = i32::from(self.served < self.partitions % self.readers);
        let start = self.next;
        self.next = (start + self.partitions / self.readers + more).min(self.partitions);
        self.served += 1;
        start..self.next
    }
}

pub(super) fn assign(group: &Group) -> BTreeMap<String, Target> {
    let mut members: Vec<(&String, &Spec)> = group.members.iter().collect();
    // By id already.
    members.sort_by_key(|(_, spec)| (spec.instance.is_none(), spec.instance.clone()));
    let mut cuts = HashMap::new();
    for topic in members.iter().flat_map(|(_, spec)| &spec.topics) {
        let cut = cuts.entry(*topic).or_insert_with(|| Cut {
            partitions: group.partitions(*topic),
            readers: 0,
            served: 0,
            next: 0,
        });
        cut.readers += 1;
    }
    let mut targets = BTreeMap::new();
    for (id, spec) in members {
        let mut target = Target::new();
        for topic in &spec.topics {
            let range = cuts.get_mut(topic).map(Cut::take).unwrap_or_default();
            if !range.is_empty() {
                target.insert(*topic, range.collect());
            }
        }
        targets.insert(id.clone(), target);
    }
    targets
}
