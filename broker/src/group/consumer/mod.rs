//! Consumer groups (KIP-848): members say what they want to read, the broker decides who reads what, and brings each closer to that
//! with its heartbeats: it gives up first, and gets then what others gave up.
//!
//! ```text
//! group epoch       grows when somebody comes, goes or wants something else, or a topic changed
//! assignment epoch  the group epoch that the target was made for
//! member epoch      the assignment epoch that the member is brought to; its commits carry it
//! ```
//! [`ConsumerGroup::heartbeat`] decides and [`ConsumerGroup::replay`] alone changes state. Source: Apache Kafka,
//! `GroupMetadataManager.consumerGroupHeartbeat`, `ConsumerGroup`.

mod assignor;
mod classic;
mod heartbeat;
mod leave;
mod member;
pub(super) mod record;

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
};

use kafka_compat::protocol::error::ResponseError as Kafka;
use regex::Regex;
use storage::units::TopicId;

pub use self::assignor::NAMES as ASSIGNORS;
pub use self::heartbeat::{HeartbeatAnswer, HeartbeatAsked};
pub(super) use self::member::ClassicMember;
use self::{
    assignor::Subscriber,
    member::Member,
    record::{Current, Said},
};
use crate::{group::Identity, metadata::Image};

/// What a member is to read.
pub type Target = BTreeMap<TopicId, BTreeSet<i32>>;
/// What a member has, each partition since an epoch.
type Owned = BTreeMap<TopicId, BTreeMap<i32, i32>>;

/// Why a request is refused, in Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Kafka's code.
    pub code: Kafka,
    /// Why.
    pub message: String,
}

impl Refused {
    /// A code and what is wrong.
    pub fn new(code: Kafka, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// A member, as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub id: String,
    /// Its own id, its rack, its client's name and address.
    pub instance: Option<String>,
    /// Its rack.
    pub rack: Option<String>,
    /// Its client's name.
    pub client_id: String,
    /// Where it is.
    pub client_host: String,
    /// Its epoch.
    pub epoch: i32,
    /// What it wants to read.
    pub topics: Vec<String>,
    /// And topics whose names this fits.
    pub regex: Option<String>,
    /// What it has.
    pub assigned: Target,
    /// What it is to have.
    pub target: Target,
    /// It speaks the classic protocol.
    pub is_classic: bool,
}

/// A group, as it is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Kafka's name of its state.
    pub state: &'static str,
    /// Its epoch.
    pub epoch: i32,
    /// The one that its target was made for.
    pub assignment_epoch: i32,
    /// By whom.
    pub assignor: String,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A group.
#[derive(Debug)]
pub(super) struct ConsumerGroup {
    id: String,
    epoch: i32,
    /// Of the topics that are read: it differs when one comes, goes or grows.
    hash: i64,
    assignment_epoch: i32,
    members: BTreeMap<String, Member>,
    /// Static members by their instance ids.
    instances: HashMap<String, String>,
    targets: HashMap<String, Target>,
    /// Topics that a regular expression of members stands for.
    regexes: BTreeMap<String, BTreeSet<String>>,
    /// Who has a partition.
    owners: HashMap<(TopicId, i32), String>,
    /// The metadata that the hash was last compared with; not in the log: a start compares again.
    seen_version: Cell<u64>,
}

impl ConsumerGroup {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            epoch: 0,
            hash: 0,
            assignment_epoch: 0,
            members: BTreeMap::new(),
            instances: HashMap::new(),
            targets: HashMap::new(),
            regexes: BTreeMap::new(),
            owners: HashMap::new(),
            seen_version: Cell::new(0),
        }
    }

    /// Takes over what a record says; one that removes the group is the caller's.
    pub(super) fn replay(&mut self, said: Said) {
        match said {
            Said::Group(Some((epoch, hash))) => (self.epoch, self.hash) = (epoch, hash),
            Said::Group(None) => {}
            Said::Member(id, Some(told)) => {
                let known = self.members.remove(&id);
                let known = known.unwrap_or_else(|| Member::new(&id));
                if let Some(instance) = &told.instance {
                    self.instances.insert(instance.clone(), id.clone());
                }
                let member = Member {
                    epoch: known.epoch,
                    previous_epoch: known.previous_epoch,
                    state: known.state,
                    assigned: known.assigned,
                    revoking: known.revoking,
                    ..*told
                };
                self.members.insert(id, member);
            }
            Said::Member(id, None) => {
                self.release(&id);
                if let Some(gone) = self.members.remove(&id)
                    && let Some(instance) = gone.instance
                    && self.instances.get(&instance) == Some(&id)
                {
                    self.instances.remove(&instance);
                }
            }
            Said::TargetEpoch(epoch) => self.assignment_epoch = epoch.unwrap_or(0),
            Said::Target(id, Some(target)) => {
                self.targets.insert(id, target);
            }
            Said::Target(id, None) => {
                self.targets.remove(&id);
            }
            Said::Current(id, current) => self.replay_current(&id, current),
            Said::Regex(regex, Some(topics)) => {
                self.regexes.insert(regex, topics);
            }
            Said::Regex(regex, None) => {
                self.regexes.remove(&regex);
            }
        }
    }

    fn replay_current(&mut self, id: &str, current: Option<Current>) {
        self.release(id);
        let Some(current) = current else {
            if let Some(member) = self.members.get_mut(id) {
                *member = Member {
                    classic: member.classic.clone(),
                    ..member.told()
                };
            }
            return;
        };
        let known = self.members.entry(id.to_owned());
        let member = known.or_insert_with(|| Member::new(id));
        let Current {
            epoch,
            previous_epoch,
            state,
            assigned,
            revoking,
        } = current;
        member.epoch = epoch;
        member.previous_epoch = previous_epoch;
        member.state = state;
        member.assigned = assigned;
        member.revoking = revoking;
        for place in member.owns() {
            self.owners.insert(place, id.to_owned());
        }
    }

    fn release(&mut self, id: &str) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        for place in member.owns() {
            if self.owners.get(&place).is_some_and(|owner| owner == id) {
                self.owners.remove(&place);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a member speaks the consumer protocol itself.
    pub(super) fn has_own(&self, id: &str) -> bool {
        let member = self.members.get(id);
        member.is_some_and(|member| member.classic.is_none())
    }

    pub(super) fn member_ids(&self) -> Vec<String> {
        self.members.keys().cloned().collect()
    }

    /// Kafka's name of its state.
    pub(super) fn state(&self) -> &'static str {
        if self.members.is_empty() {
            return "Empty";
        }
        if self.epoch > self.assignment_epoch {
            return "Assigning";
        }
        let mut members = self.members.values();
        if members.all(|m| m.is_reconciled_to(self.assignment_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Topics that somebody reads.
    pub(super) fn subscribed(&self) -> HashSet<String> {
        let by_name = self.members.values().flat_map(|m| &m.topics);
        by_name
            .chain(self.regexes.values().flatten())
            .cloned()
            .collect()
    }

    fn target_of(&self, id: &str) -> Target {
        self.targets.get(id).cloned().unwrap_or_default()
    }

    /// The assignor that most members ask for; the first of all where nobody does.
    fn preferred_assignor(&self, with: Option<&Member>) -> String {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        let others = self
            .members
            .values()
            .filter(|m| with.is_none_or(|with| with.id != m.id));
        for member in others.chain(with) {
            if let Some(assignor) = &member.assignor {
                *votes.entry(assignor).or_default() += 1;
            }
        }
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        let default = ASSIGNORS.first().copied().unwrap_or_default();
        most.map_or(default, |(assignor, _)| assignor).to_owned()
    }

    /// The group, for who asks.
    pub(super) fn describe(&self) -> DescribedGroup {
        let members = self.members.values().map(|m| DescribedMember {
            id: m.id.clone(),
            instance: m.instance.clone(),
            rack: m.rack.clone(),
            client_id: m.client_id.clone(),
            client_host: m.client_host.clone(),
            epoch: m.epoch,
            topics: m.topics.iter().cloned().collect(),
            regex: m.regex.clone().filter(|regex| !regex.is_empty()),
            assigned: partitions_of(&m.assigned),
            target: self.target_of(&m.id),
            is_classic: m.classic.is_some(),
        });
        DescribedGroup {
            state: self.state(),
            epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            assignor: self.preferred_assignor(None),
            members: members.collect(),
        }
    }

    /// Whether who asks may commit offsets of these topics and partitions with that epoch.
    pub(super) fn may_commit(
        &self,
        who: &Identity,
        epoch: i32,
        mut places: impl Iterator<Item = (TopicId, i32)>,
    ) -> Result<(), Kafka> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(&who.member);
        let member = member.ok_or(Kafka::UnknownMemberId)?;
        if member.classic.is_some() && epoch != member.epoch {
            return Err(Kafka::IllegalGeneration);
        }
        match epoch.cmp(&member.epoch) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(Kafka::StaleMemberEpoch),
            // It commits what it had before it heard of its next epoch: its own still (KIP-1251).
            std::cmp::Ordering::Less => {
                let since = |(topic, partition): (TopicId, i32)| {
                    let of_topic = member.assigned.get(&topic);
                    of_topic.and_then(|of_topic| of_topic.get(&partition).copied())
                };
                let is_own = |place| since(place).is_some_and(|since| since <= epoch);
                if epoch >= 0 && places.all(is_own) {
                    Ok(())
                } else {
                    Err(Kafka::StaleMemberEpoch)
                }
            }
        }
    }

    /// Whether who asks may read what the group committed.
    pub(super) fn may_fetch(&self, member: Option<&str>, epoch: i32) -> Result<(), Kafka> {
        if member.is_none() && epoch < 0 {
            return Ok(());
        }
        let known = member.and_then(|id| self.members.get(id));
        let known = known.ok_or(Kafka::UnknownMemberId)?;
        if known.epoch == epoch {
            Ok(())
        } else {
            Err(Kafka::StaleMemberEpoch)
        }
    }
}

/// Without since when.
fn partitions_of(owned: &Owned) -> Target {
    let topics = owned
        .iter()
        .filter(|(_, partitions)| !partitions.is_empty());
    topics
        .map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
        .collect()
}

/// Names of topics that a regular expression stands for: the whole name has to fit, and internal ones never do.
fn matching(regex: &str, image: &Image) -> BTreeSet<String> {
    let Ok(regex) = compiled(regex) else {
        return BTreeSet::new();
    };
    let topics = image.topics.values();
    let fitting = topics.filter(|topic| !topic.internal && regex.is_match(&topic.name));
    fitting.map(|topic| topic.name.clone()).collect()
}

fn compiled(regex: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?:{regex})$"))
}
