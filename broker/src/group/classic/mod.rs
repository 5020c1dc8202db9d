//! A classic group: members join, the leader assigns, and a generation goes on until somebody comes or goes.
//!
//! ```text
//! Empty ──join──> PreparingRebalance ──all joined, or time is over──> CompletingRebalance ──leader synced──> Stable
//!   ^                 ^    │ nobody joined                                   │ join, leave, no sync              │ join, leave,
//!   └─────────────────│────┘                                                 v                                   │ no heartbeat
//!                     └──────────────────────────────────────────────────────┴───────────────────────────────────┘
//! ```
//! Source: Apache Kafka, `ClassicGroup`, `GroupMetadataManager.classicGroupJoin` and what follows it.

mod convert;
mod join;
mod leave;
mod member;
mod rebalance;
mod sync;

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use indexmap::IndexMap;
use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{JoinGroupResponse, join_group_response},
    protocol::StrBytes,
};
use storage::units::TimestampMs;

pub(super) use self::{convert::Converted, member::Member};
pub use self::{join::JoinAsked, leave::Leaving, member::Identity, sync::SyncAsked};
use super::{
    record::{self, GroupValue, MemberValue},
    service::GroupConfig,
    shard::Deadline,
};
use crate::coordinator::{Deadlines, KeyValue, Now, Reader};

/// The protocol type of consumers.
pub(super) const CONSUMER: &str = "consumer";

/// Where a group is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl State {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// What group methods need of the shard around them.
pub(super) struct Around<'a> {
    pub(super) deadlines: &'a mut Deadlines<Deadline>,
    pub(super) config: &'a GroupConfig,
    pub(super) now: Now,
}

impl Around<'_> {
    fn set(&mut self, deadline: Deadline, in_ms: i64) {
        let at = self.now.steady.saturating_add(in_ms);
        self.deadlines.set(deadline, at);
    }
}

/// What is to be done after the group's records are committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The leader's assignments go out.
    Assign {
        generation: i32,
        assignments: BTreeMap<String, Bytes>,
    },
    /// A static member that came back is told that nothing changed.
    Welcome {
        generation: i32,
        member: String,
        skips: bool,
        leader_before: String,
    },
}

/// What a step of a group asks to be written, and what follows when it is.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) records: Vec<KeyValue>,
    pub(super) then: Option<Then>,
}

/// A group.
#[derive(Debug)]
pub(super) struct ClassicGroup {
    pub(super) id: String,
    pub(super) state: State,
    previous: State,
    pub(super) since: TimestampMs,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol: Option<String>,
    leader: Option<String>,
    /// In the order in which they came.
    members: IndexMap<String, Member>,
    /// Static members by their instance ids.
    instances: HashMap<String, String>,
    /// Told an id, and not joined with it yet.
    pending_joins: HashSet<String>,
    /// Joined this generation, and not synced yet.
    pending_syncs: HashSet<String>,
    /// Somebody came while the first members were waited for.
    new_member_added: bool,
    /// How long the first members may still be waited for, behind the present deadline.
    join_left_ms: i64,
}

impl ClassicGroup {
    pub(super) fn new(id: String, now: TimestampMs) -> Self {
        Self {
            id,
            state: State::Empty,
            previous: State::Empty,
            since: now,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: IndexMap::new(),
            instances: HashMap::new(),
            pending_joins: HashSet::new(),
            pending_syncs: HashSet::new(),
            new_member_added: false,
            join_left_ms: 0,
        }
    }

    /// As a record has it: stable where it has members.
    pub(super) fn from_value(id: String, value: GroupValue) -> Self {
        let state = if value.members.is_empty() {
            State::Empty
        } else {
            State::Stable
        };
        let mut group = Self {
            state,
            previous: state,
            since: TimestampMs(value.since_ms),
            generation: value.generation,
            protocol_type: Some(value.protocol_type).filter(|kind| !kind.is_empty()),
            leader: value.leader,
            ..Self::new(id, TimestampMs(value.since_ms))
        };
        for member in value.members {
            let protocol = value.protocol.clone().unwrap_or_default();
            group.add(Member::from_value(member, protocol));
        }
        group.protocol = value.protocol;
        group
    }

    /// The record of what it is, with the assignments that members get.
    fn record(&self, assignments: Option<&BTreeMap<String, Bytes>>) -> KeyValue {
        let protocol = self.protocol.as_deref();
        let members = self.members.values().map(|member| {
            let assigned = match assignments {
                Some(assignments) => assignments.get(&member.id).cloned().unwrap_or_default(),
                None => member.assignment.clone(),
            };
            MemberValue {
                id: member.id.clone(),
                instance: member.instance.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                rebalance_timeout_ms: member.rebalance_timeout_ms,
                session_timeout_ms: member.session_timeout_ms,
                subscription: member.metadata(protocol),
                assignment: assigned,
            }
        });
        let value = GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since_ms: self.since.0,
            members: members.collect(),
        };
        record::group(&self.id, Some(&value))
    }

    fn go(&mut self, state: State, now: Now) {
        self.previous = self.state;
        self.state = state;
        self.since = now.wall;
    }

    fn is(&self, state: State) -> bool {
        self.state == state
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Members, and those that were told an id.
    pub(super) fn size(&self) -> usize {
        self.members.len() + self.pending_joins.len()
    }

    fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    fn add(&mut self, member: Member) {
        if self.members.is_empty() && self.protocol_type.is_none() {
            self.protocol_type = Some(member.protocol_type.clone());
        }
        if let Some(instance) = &member.instance {
            self.instances.insert(instance.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending_joins.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    fn remove(&mut self, id: &str, around: &mut Around<'_>) {
        around
            .deadlines
            .cancel(&Deadline::Session(self.id.clone(), id.to_owned()));
        self.pending_syncs.remove(id);
        self.pending_joins.remove(id);
        let Some(member) = self.members.shift_remove(id) else {
            return;
        };
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Whether who asks is the member that it says.
    pub(super) fn identify(&self, who: &Identity) -> Result<(), Kafka> {
        if let Some(instance) = &who.instance {
            match self.instances.get(instance) {
                None => return Err(Kafka::UnknownMemberId),
                Some(id) if *id != who.member => return Err(Kafka::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(&who.member) {
            Ok(())
        } else {
            Err(Kafka::UnknownMemberId)
        }
    }

    /// The session of a member begins anew.
    pub(super) fn heard_of(&mut self, id: &str, around: &mut Around<'_>) {
        if let Some(member) = self.members.get_mut(id) {
            member.is_new = false;
            let session = i64::from(member.session_timeout_ms);
            around.set(Deadline::Session(self.id.clone(), id.to_owned()), session);
        }
    }

    /// Every member's session begins now: the group was read from the log.
    pub(super) fn loaded(&mut self, around: &mut Around<'_>) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            self.heard_of(&id, around);
        }
    }

    /// The members as their leader is told of them.
    fn joined_members(&self) -> Vec<join_group_response::JoinGroupResponseMember> {
        let protocol = self.protocol.as_deref();
        let told = |member: &Member| {
            join_group_response::JoinGroupResponseMember::default()
                .with_member_id(text(&member.id))
                .with_group_instance_id(member.instance.as_deref().map(text))
                .with_metadata(member.metadata(protocol))
        };
        self.members.values().map(told).collect()
    }

    /// What a member is told of the generation; the leader learns who is in it.
    fn joined(&self, member: &str, with_members: bool) -> JoinGroupResponse {
        let members = if with_members {
            self.joined_members()
        } else {
            Vec::new()
        };
        JoinGroupResponse::default()
            .with_generation_id(self.generation)
            .with_protocol_type(self.protocol_type.as_deref().map(text))
            .with_protocol_name(self.protocol.as_deref().map(text))
            .with_leader(text(self.leader.as_deref().unwrap_or_default()))
            .with_member_id(text(member))
            .with_members(members)
    }

    /// Topics that its consumers read; `None` where that cannot be told.
    pub(super) fn subscribed(&self) -> Option<HashSet<String>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let mut topics = HashSet::new();
        let protocol = self.protocol.as_deref()?;
        for member in self.members.values() {
            topics.extend(topics_of(member.metadata(Some(protocol)))?);
        }
        Some(topics)
    }

    /// Whether offsets may be committed in a transaction: nothing is said of who does not say who he is, and a rebalance under way is
    /// no reason to refuse.
    pub(super) fn may_commit_in_transaction(
        &self,
        who: &Identity,
        generation: i32,
    ) -> Result<(), Kafka> {
        let is_member = !who.member.is_empty() || who.instance.is_some();
        if generation < 0 && (self.is(State::Empty) || !is_member) {
            return Ok(());
        }
        self.identify(who)?;
        if generation != self.generation {
            return Err(Kafka::IllegalGeneration);
        }
        Ok(())
    }

    /// Whether who asks may commit offsets in that generation.
    pub(super) fn may_commit(&self, who: &Identity, generation: i32) -> Result<(), Kafka> {
        let is_member = !who.member.is_empty() || who.instance.is_some();
        if generation < 0 && self.is(State::Empty) {
            return Ok(());
        }
        if generation < 0 && !is_member {
            return if self.is(State::Empty) {
                Ok(())
            } else {
                Err(Kafka::UnknownMemberId)
            };
        }
        self.identify(who)?;
        if generation != self.generation {
            return Err(Kafka::IllegalGeneration);
        }
        if self.is(State::CompletingRebalance) {
            return Err(Kafka::RebalanceInProgress);
        }
        Ok(())
    }
}

/// The topics of a consumer's subscription, of whatever version: later ones add fields behind them. Not the codec's to read: it
/// allocates what a count announces. Source: Apache Kafka, `ConsumerProtocolSubscription`.
fn topics_of(subscription: Bytes) -> Option<Vec<String>> {
    let mut from = Reader::new(subscription);
    let _version = from.i16()?;
    let count = from.i32()?;
    (0..count).map(|_| from.string()).collect()
}

/// A refused join.
pub(super) fn refused_join(code: Kafka, member: &str) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(code.code())
        .with_generation_id(-1)
        .with_protocol_name(None)
        .with_member_id(text(member))
}

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
