//! A consumer group (KIP-848): the broker assigns, and each member is led to its assignment by its own heartbeats.
//!
//! ```text
//! member joins, leaves, subscribes anew; a topic changes ──> group epoch + 1
//! group epoch > assignment epoch ──assign/──> what each member shall have (target), assignment epoch = group epoch
//! a member's heartbeat ──reconcile.rs──> gives up what is not its own any more (Unrevoked)
//!                                    ──> gets what nobody has any more (Unreleased while somebody has)
//!                                    ──> Stable: member epoch = assignment epoch
//! ```
//! A partition is owned by one member at a time: it is in the `assigned` or `revoking` of one member, and others get it when it
//! is in neither. What a group is changes by [`ConsumerGroup::replay`] alone; `heartbeat.rs`, `leave.rs`, `regex.rs`, `classic.rs`
//! and `convert.rs` decide, and return records. Source: Apache Kafka 4.3, `GroupMetadataManager`, `ConsumerGroup`.

mod assign;
mod classic;
mod convert;
mod describe;
mod hash;
mod heartbeat;
mod images;
mod leave;
mod member;
mod protocol;
mod reconcile;
mod record;
mod regex;
mod settings;
mod shard;
mod subscription;
mod target;
#[cfg(test)]
mod tests;
mod validate;

pub(crate) use self::protocol::read_assignment;
pub use self::{
    heartbeat::{HeartbeatAnswer, HeartbeatAsked, Refused},
    images::Images,
    settings::{
        ASSIGNMENT_INTERVAL, Assignor, Assignors, ConsumerConfig, HEARTBEAT_INTERVAL, Migration,
        SESSION_TIMEOUT,
    },
    validate::validate,
};
pub(super) use self::{
    member::Member,
    record::{Said, read},
};

use std::collections::{BTreeMap, HashMap};

use storage::units::TopicId;

use self::{
    member::{Owned, Target},
    record::{Resolved, What},
};
use super::shard::Deadline as Outer;
use crate::{
    coordinator::{Deadlines, KeyValue, Now},
    metadata::Image,
};

/// The group epoch and the assignment epoch of a group that is new.
const FIRST_EPOCH: i32 = 1;

/// What a group waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Deadline {
    /// A heartbeat of a member.
    Session(String, String),
    /// A member to give up partitions.
    Revoke(String, String),
    /// A member that speaks the classic protocol to join again.
    Join(String, String),
    /// A member that speaks the classic protocol to fetch what it has.
    Sync(String, String),
    /// Regular expressions to be matched with the topics that are there.
    Regexes(String),
}

impl Deadline {
    fn group(&self) -> &str {
        match self {
            Self::Session(group, _)
            | Self::Revoke(group, _)
            | Self::Join(group, _)
            | Self::Sync(group, _)
            | Self::Regexes(group) => group,
        }
    }
}

/// What decisions need of the world.
#[derive(Clone, Copy)]
struct Around<'a> {
    image: &'a Image,
    config: &'a ConsumerConfig,
    now: Now,
}

/// A change to what is waited for, with a decision.
#[derive(Debug)]
enum Timer {
    Set(Deadline, i64),
    SetIfNone(Deadline, i64),
    Cancel(Deadline),
}

/// What was decided.
#[derive(Debug)]
struct Outcome<R> {
    records: Vec<KeyValue>,
    timers: Vec<Timer>,
    reply: R,
    /// The topics are as the group knows them.
    is_current: bool,
}

impl<R> Outcome<R> {
    fn reply(reply: R) -> Self {
        Self {
            records: Vec::new(),
            timers: Vec::new(),
            reply,
            is_current: false,
        }
    }
}

fn wait(deadlines: &mut Deadlines<Outer>, timers: Vec<Timer>, now: Now) {
    for timer in timers {
        match timer {
            Timer::Set(deadline, ms) => {
                deadlines.set(Outer::Consumer(deadline), now.steady.saturating_add(ms));
            }
            Timer::SetIfNone(deadline, ms) => {
                let deadline = Outer::Consumer(deadline);
                if !deadlines.is_set(&deadline) {
                    deadlines.set(deadline, now.steady.saturating_add(ms));
                }
            }
            Timer::Cancel(deadline) => deadlines.cancel(&Outer::Consumer(deadline)),
        }
    }
}

/// A group.
#[derive(Clone, Debug)]
pub(super) struct ConsumerGroup {
    pub(super) id: String,
    /// Grows when something changes that the assignment depends on.
    epoch: i32,
    /// What its topics were like then.
    hash: i64,
    /// The group epoch that the targets were made for; -1 when they were removed.
    assignment_epoch: i32,
    /// When they were made; 0: not known.
    assigned_at_ms: i64,
    members: BTreeMap<String, Member>,
    /// Static members by their instance ids.
    instances: HashMap<String, String>,
    targets: BTreeMap<String, Target>,
    /// Who has a partition, or is to give it up.
    owners: HashMap<TopicId, HashMap<i32, String>>,
    resolved: BTreeMap<String, Resolved>,
    /// How many members subscribe with each regular expression.
    regexes: BTreeMap<String, usize>,
    /// Members that speak the classic protocol.
    classic_members: usize,
    /// There is a record of an older release to remove.
    has_partitions_record: bool,
    /// The metadata with which its hash was last compared. Not in the log.
    seen_version: Option<u64>,
}

/// Where a group is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    Assigning,
    Reconciling,
    Stable,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Stable => "Stable",
        }
    }
}

impl ConsumerGroup {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            epoch: FIRST_EPOCH,
            hash: 0,
            assignment_epoch: FIRST_EPOCH,
            assigned_at_ms: 0,
            members: BTreeMap::new(),
            instances: HashMap::new(),
            targets: BTreeMap::new(),
            owners: HashMap::new(),
            resolved: BTreeMap::new(),
            regexes: BTreeMap::new(),
            classic_members: 0,
            has_partitions_record: false,
            seen_version: None,
        }
    }

    pub(super) fn state(&self) -> State {
        if self.members.is_empty() {
            return State::Empty;
        }
        if self.epoch > self.assignment_epoch {
            return State::Assigning;
        }
        let mut members = self.members.values();
        if members.all(|member| member.is_reconciled_to(self.assignment_epoch)) {
            State::Stable
        } else {
            State::Reconciling
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// How many members it has.
    pub(super) fn size(&self) -> usize {
        self.members.len()
    }

    fn member(&self, id: &str) -> Result<&Member, Refused> {
        let member = self.members.get(id);
        member.ok_or_else(|| Refused::unknown_member(id, &self.id))
    }

    fn static_member(&self, instance: &str) -> Option<&Member> {
        self.members.get(self.instances.get(instance)?)
    }

    /// Who has a partition.
    fn owner(&self, topic: TopicId, partition: i32) -> Option<&String> {
        self.owners.get(&topic)?.get(&partition)
    }

    /// Takes over what a record says. False: the group is gone.
    pub(super) fn replay(&mut self, what: What) -> bool {
        match what {
            What::Group(None) => return false,
            What::Group(Some((epoch, hash))) => {
                self.epoch = epoch;
                self.hash = hash;
            }
            What::Partitions(is_there) => self.has_partitions_record = is_there,
            What::Member(id, None) => self.remove(&id),
            What::Member(id, Some(said)) => {
                let had = self.members.get(&id);
                let had = had.cloned().unwrap_or_else(|| Member::new(&id));
                self.put(Member {
                    epoch: had.epoch,
                    previous_epoch: had.previous_epoch,
                    state: had.state,
                    assigned: had.assigned,
                    revoking: had.revoking,
                    ..*said
                });
            }
            What::Target(None) => (self.assignment_epoch, self.assigned_at_ms) = (-1, 0),
            What::Target(Some((epoch, at_ms))) => {
                (self.assignment_epoch, self.assigned_at_ms) = (epoch, at_ms);
            }
            What::TargetOf(id, None) => {
                self.targets.remove(&id);
            }
            What::TargetOf(id, Some(target)) => {
                self.targets.insert(id, target);
            }
            What::Current(id, current) => {
                let had = self.members.get(&id).cloned();
                match (had, current) {
                    // Its other records follow, or were removed.
                    (None, None) => {}
                    (Some(had), None) => self.put(Member {
                        epoch: member::LEAVES,
                        previous_epoch: member::LEAVES,
                        assigned: Owned::new(),
                        revoking: Owned::new(),
                        ..had
                    }),
                    (had, Some(current)) => self.put(Member {
                        epoch: current.epoch,
                        previous_epoch: current.previous_epoch,
                        state: current.state,
                        assigned: current.assigned,
                        revoking: current.revoking,
                        ..had.unwrap_or_else(|| Member::new(&id))
                    }),
                }
            }
            What::Regex(regex, None) => {
                self.resolved.remove(&regex);
            }
            What::Regex(regex, Some(resolved)) => {
                self.resolved.insert(regex, resolved);
            }
        }
        true
    }

    fn put(&mut self, member: Member) {
        if let Some(old) = self.members.remove(&member.id) {
            self.uncount(&old);
        }
        for owned in [&member.assigned, &member.revoking] {
            for (topic, partitions) in owned {
                let owners = self.owners.entry(*topic).or_default();
                owners.extend(partitions.keys().map(|p| (*p, member.id.clone())));
            }
        }
        if let Some(regex) = member.regex() {
            *self.regexes.entry(regex.to_owned()).or_default() += 1;
        }
        self.classic_members += usize::from(member.is_classic());
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.members.insert(member.id.clone(), member);
    }

    fn remove(&mut self, id: &str) {
        let Some(member) = self.members.remove(id) else {
            return;
        };
        self.uncount(&member);
        if let Some(instance) = &member.instance
            && self
                .instances
                .get(instance)
                .is_some_and(|owner| owner == id)
        {
            self.instances.remove(instance);
        }
    }

    fn uncount(&mut self, member: &Member) {
        for owned in [&member.assigned, &member.revoking] {
            for (topic, partitions) in owned {
                let Some(owners) = self.owners.get_mut(topic) else {
                    continue;
                };
                for partition in partitions.keys() {
                    if owners.get(partition) == Some(&member.id) {
                        owners.remove(partition);
                    }
                }
                if owners.is_empty() {
                    self.owners.remove(topic);
                }
            }
        }
        if let Some(regex) = member.regex()
            && let Some(count) = self.regexes.get_mut(regex)
        {
            *count -= 1;
            if *count == 0 {
                self.regexes.remove(regex);
            }
        }
        self.classic_members -= usize::from(member.is_classic());
    }

    /// What removes it from the log, in the order in which a reader understands it.
    pub(super) fn removal(&self) -> Vec<KeyValue> {
        self.removal_with(|id| id)
    }

    /// As if some members had other ids.
    fn removal_with<'a>(&'a self, named: impl Fn(&'a str) -> &'a str) -> Vec<KeyValue> {
        let ids: Vec<_> = self.members.keys().map(|id| named(id)).collect();
        let ids = || ids.iter();
        let id = self.id.as_str();
        let mut records: Vec<_> = ids().map(|member| record::no_current(id, member)).collect();
        records.extend(ids().map(|member| record::target_of(id, member, None)));
        records.push(record::target(id, None));
        records.extend(ids().map(|member| record::no_member(id, member)));
        records.extend(
            self.resolved
                .keys()
                .map(|regex| record::regex(id, regex, None)),
        );
        records.push(record::no_partitions(id));
        records.push(record::group(id, None));
        records
    }
}

impl Member {
    /// What removes it from the log.
    fn removal(&self, group: &str) -> [KeyValue; 3] {
        [
            record::no_current(group, &self.id),
            record::target_of(group, &self.id, None),
            record::no_member(group, &self.id),
        ]
    }
}
