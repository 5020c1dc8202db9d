//! Assignors: pure functions from members and topics to what each member shall have.
//!
//! Source: Apache Kafka, `org.apache.kafka.coordinator.group.assignor`.

mod mixed;
mod range;
#[cfg(test)]
mod tests;
mod uniform;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use storage::units::TopicId;

use super::{member::Target, settings::Assignor};

/// A member, as assignors see it.
#[derive(Clone, Debug, Default)]
pub(super) struct Spec {
    pub(super) instance: Option<String>,
    /// Topics that it reads and that exist.
    pub(super) topics: BTreeSet<TopicId>,
    /// What it should have before.
    pub(super) before: Target,
}

/// A group, as assignors see it.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    pub(super) members: BTreeMap<String, Spec>,
    /// All members read the same topics.
    pub(super) is_homogeneous: bool,
    /// Partitions of every topic that a member reads.
    pub(super) partitions: HashMap<TopicId, i32>,
}

impl Group {
    fn partitions(&self, topic: TopicId) -> i32 {
        self.partitions.get(&topic).copied().unwrap_or(0)
    }
}

/// What each member shall have; members that are left out shall have nothing.
pub(super) fn assign(assignor: Assignor, group: &Group) -> BTreeMap<String, Target> {
    match assignor {
        Assignor::Range => range::assign(group),
        Assignor::Uniform if group.is_homogeneous => uniform::assign(group),
        Assignor::Uniform => mixed::assign(group),
    }
}
