//! A member of a consumer group.

use std::collections::BTreeSet;

use bytes::Bytes;
use storage::units::TopicId;

use super::{Owned, Target};

/// A static member that left for a while has this epoch.
pub(super) const AWAY: i32 = -2;

/// How far a member is on its way to its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MemberState {
    /// There.
    #[default]
    Stable,
    /// It has partitions that it is to give up.
    UnrevokedPartitions,
    /// Others have partitions that it is to get.
    UnreleasedPartitions,
}

impl MemberState {
    /// Kafka's number.
    pub(super) fn number(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
        }
    }

    pub(super) fn of(number: i8) -> Option<Self> {
        match number {
            0 => Some(Self::Stable),
            1 => Some(Self::UnrevokedPartitions),
            2 => Some(Self::UnreleasedPartitions),
            _ => None,
        }
    }
}

/// What a member of the classic protocol told, while its group is on its way from one protocol to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMember {
    /// Without a heartbeat for so long it is gone.
    pub session_timeout_ms: i32,
    /// What it can do, the best first, each with its subscription.
    pub protocols: Vec<(String, Bytes)>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct Member {
    pub(in crate::group) id: String,
    pub(super) epoch: i32,
    pub(super) previous_epoch: i32,
    pub(super) state: MemberState,
    pub(super) instance: Option<String>,
    pub(super) rack: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) topics: BTreeSet<String>,
    pub(super) regex: Option<String>,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) assignor: Option<String>,
    /// What it may read, each since an epoch.
    pub(super) assigned: Owned,
    /// What it is to give up.
    pub(super) revoking: Owned,
    pub(super) classic: Option<ClassicMember>,
}

impl Member {
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            topics: BTreeSet::new(),
            regex: None,
            rebalance_timeout_ms: -1,
            assignor: None,
            assigned: Owned::new(),
            revoking: Owned::new(),
            classic: None,
        }
    }

    /// What it told of itself, and nothing of what it has.
    pub(super) fn told(&self) -> Self {
        Self {
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: Owned::new(),
            revoking: Owned::new(),
            ..self.clone()
        }
    }

    pub(super) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// The next epoch; the one before is kept where it changes.
    fn raise(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// All that it has, with what it gives up.
    pub(super) fn owns(&self) -> impl Iterator<Item = (TopicId, i32)> {
        let all = self.assigned.iter().chain(&self.revoking);
        all.flat_map(|(topic, partitions)| partitions.keys().map(move |p| (*topic, *p)))
    }

    /// Whether what it says that it has is part of what it was given.
    pub(super) fn was_given(&self, owned: Option<&Target>) -> bool {
        owned.is_some_and(|owned| {
            owned.iter().all(|(topic, partitions)| {
                let given = self.assigned.get(topic);
                partitions
                    .iter()
                    .all(|p| given.is_some_and(|given| given.contains_key(p)))
            })
        })
    }
}

/// What a member is brought closer to.
pub(super) struct Towards<'a> {
    pub(super) epoch: i32,
    pub(super) target: &'a Target,
    /// What the member says that it has; `None`: as before.
    pub(super) owned: Option<&'a Target>,
    /// Topics that it reads.
    pub(super) subscribed: &'a BTreeSet<TopicId>,
    /// Whether somebody has a partition.
    pub(super) is_taken: &'a dyn Fn(TopicId, i32) -> bool,
    /// Its topics changed.
    pub(super) is_resubscribed: bool,
}

/// One step towards the target: first it gives up, then it gets what others gave up. Source: Apache Kafka,
/// `CurrentAssignmentBuilder`.
pub(super) fn reconcile(member: &Member, towards: &Towards<'_>) -> Member {
    match member.state {
        MemberState::Stable if member.epoch != towards.epoch => next(member, towards),
        MemberState::Stable if towards.is_resubscribed => unsubscribed(member, towards),
        MemberState::Stable => member.clone(),
        MemberState::UnrevokedPartitions if has_any(towards.owned, &member.revoking) => {
            if towards.is_resubscribed {
                unsubscribed(member, towards)
            } else {
                member.clone()
            }
        }
        MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
            next(member, towards)
        }
    }
}

/// A member that does not say what it has may have anything.
fn has_any(owned: Option<&Target>, revoking: &Owned) -> bool {
    let Some(owned) = owned else {
        return true;
    };
    owned.iter().any(|(topic, partitions)| {
        let given_up = revoking.get(topic);
        partitions
            .iter()
            .any(|p| given_up.is_some_and(|given_up| given_up.contains_key(p)))
    })
}

/// Without topics that it does not read any more.
fn unsubscribed(member: &Member, towards: &Towards<'_>) -> Member {
    let mut changed = member.clone();
    let gone: Vec<_> = member
        .assigned
        .keys()
        .filter(|topic| !towards.subscribed.contains(topic))
        .copied()
        .collect();
    if gone.is_empty() {
        return changed;
    }
    for topic in gone {
        let partitions = changed.assigned.remove(&topic).unwrap_or_default();
        changed
            .revoking
            .entry(topic)
            .or_default()
            .extend(partitions);
    }
    changed.raise(member.epoch);
    if has_any(towards.owned, &changed.revoking) {
        changed.state = MemberState::UnrevokedPartitions;
    } else {
        changed.revoking = member.revoking.clone();
    }
    changed
}

fn next(member: &Member, towards: &Towards<'_>) -> Member {
    let mut changed = Member {
        assigned: Owned::new(),
        revoking: Owned::new(),
        ..member.clone()
    };
    let mut pending = Target::new();
    let mut is_waiting = false;
    let nothing = BTreeSet::new();
    let topics: BTreeSet<_> = towards
        .target
        .keys()
        .chain(member.assigned.keys())
        .collect();
    for topic in topics {
        let target = towards.target.get(topic);
        let target = target
            .filter(|_| towards.subscribed.contains(topic))
            .unwrap_or(&nothing);
        let has = member.assigned.get(topic).cloned().unwrap_or_default();
        let (keeps, gives): (_, _) = has.into_iter().partition(|(p, _)| target.contains(p));
        let keeps: std::collections::BTreeMap<i32, i32> = keeps;
        let gives: std::collections::BTreeMap<i32, i32> = gives;
        let own = member.revoking.get(topic);
        for partition in target.iter().filter(|p| !keeps.contains_key(p)) {
            // What it gives up itself is its own to take back.
            let is_own = own.is_some_and(|own| own.contains_key(partition));
            if (towards.is_taken)(*topic, *partition) && !is_own {
                is_waiting = true;
            } else {
                pending.entry(*topic).or_default().insert(*partition);
            }
        }
        if !keeps.is_empty() {
            changed.assigned.insert(*topic, keeps);
        }
        if !gives.is_empty() {
            changed.revoking.insert(*topic, gives);
        }
    }
    if !changed.revoking.is_empty() && has_any(towards.owned, &changed.revoking) {
        changed.state = MemberState::UnrevokedPartitions;
        changed.raise(member.epoch);
        return changed;
    }
    changed.revoking = Owned::new();
    for (topic, partitions) in pending {
        let assigned = changed.assigned.entry(topic).or_default();
        assigned.extend(partitions.into_iter().map(|p| (p, towards.epoch)));
    }
    changed.state = if is_waiting {
        MemberState::UnreleasedPartitions
    } else {
        MemberState::Stable
    };
    changed.raise(towards.epoch);
    changed
}
