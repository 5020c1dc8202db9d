//! A member of a consumer group. Source: Apache Kafka, `ConsumerGroupMember`.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use storage::units::TopicId;

/// Partitions of topics, each with the epoch at which the member got it.
pub(in crate::group) type Owned = BTreeMap<TopicId, BTreeMap<i32, i32>>;
/// Partitions of topics.
pub(in crate::group) type Target = BTreeMap<TopicId, BTreeSet<i32>>;

/// A static member that will come back has this epoch.
pub(in crate::group) const LEAVES_FOR_A_WHILE: i32 = -2;
/// A member that leaves.
pub(in crate::group) const LEAVES: i32 = -1;

/// How far a member is on its way to what it shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::group) enum MemberState {
    /// It has what it shall have in its epoch.
    Stable,
    /// It is to give up partitions before it goes on.
    Unrevoked,
    /// It waits for partitions that others have not given up.
    Unreleased,
    /// A later release wrote it.
    Unknown,
}

impl MemberState {
    pub(super) fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::Unrevoked => 1,
            Self::Unreleased => 2,
            Self::Unknown => 127,
        }
    }

    pub(super) fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::Unrevoked,
            2 => Self::Unreleased,
            _ => Self::Unknown,
        }
    }
}

/// What a member that speaks the classic protocol said when it joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct ClassicPart {
    pub(in crate::group) session_timeout_ms: i32,
    /// What it can do, the best first, each with its subscription.
    pub(in crate::group) protocols: Vec<(String, Bytes)>,
}

/// A member, its subscription, and what it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct Member {
    pub(in crate::group) id: String,
    /// What it is told to be at; it sends it with every heartbeat.
    pub(in crate::group) epoch: i32,
    /// The one before: its answer may have been lost.
    pub(in crate::group) previous_epoch: i32,
    pub(in crate::group) state: MemberState,
    pub(in crate::group) instance: Option<String>,
    pub(in crate::group) rack: Option<String>,
    pub(in crate::group) client_id: String,
    pub(in crate::group) client_host: String,
    pub(in crate::group) names: BTreeSet<String>,
    /// Empty: none.
    pub(in crate::group) regex: String,
    pub(in crate::group) rebalance_timeout_ms: i32,
    pub(in crate::group) assignor: Option<String>,
    pub(in crate::group) assigned: Owned,
    /// What it is to give up.
    pub(in crate::group) revoking: Owned,
    pub(in crate::group) classic: Option<ClassicPart>,
}

impl Member {
    /// One that is not in the group yet.
    pub(in crate::group) fn new(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            instance: None,
            rack: None,
            client_id: String::new(),
            client_host: String::new(),
            names: BTreeSet::new(),
            regex: String::new(),
            rebalance_timeout_ms: -1,
            assignor: None,
            assigned: Owned::new(),
            revoking: Owned::new(),
            classic: None,
        }
    }

    /// Goes on to an epoch.
    pub(super) fn go_to(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }

    /// It has what it shall have in that epoch.
    pub(super) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// It speaks the classic protocol.
    pub(in crate::group) fn is_classic(&self) -> bool {
        self.classic.is_some()
    }

    /// The regular expression that it subscribes with.
    pub(super) fn regex(&self) -> Option<&str> {
        Some(self.regex.as_str()).filter(|regex| !regex.is_empty())
    }

    /// The protocol that it likes best, with its subscription.
    pub(super) fn first_protocol(&self) -> Option<&(String, Bytes)> {
        self.classic.as_ref()?.protocols.first()
    }

    /// Since when it has a partition, or had it until it gives it up.
    pub(super) fn has_since(&self, topic: TopicId, partition: i32) -> Option<i32> {
        let find = |owned: &Owned| owned.get(&topic)?.get(&partition).copied();
        find(&self.assigned).or_else(|| find(&self.revoking))
    }
}

/// What is owned, without the epochs.
pub(super) fn without_epochs(owned: &Owned) -> Target {
    let topics = owned.iter();
    topics
        .map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
        .collect()
}

/// What is owned since one epoch.
pub(super) fn with_epoch(target: &Target, epoch: i32) -> Owned {
    let topics = target.iter();
    topics
        .map(|(topic, partitions)| (*topic, partitions.iter().map(|p| (*p, epoch)).collect()))
        .collect()
}
