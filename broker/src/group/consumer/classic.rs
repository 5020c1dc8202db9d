//! Members of the classic protocol in a consumer group: a group goes from one protocol to the other while it is used, one member after
//! another (KIP-848).
//!
//! Such a member joins, syncs and sends heartbeats as in a classic group, and is brought to its target all the same: a join is its
//! heartbeat, the answer's generation its epoch, and the sync tells it what it may read. It never leads. Source: Apache Kafka,
//! `GroupMetadataManager.classicGroupJoinToConsumerGroup` and its kin, `ConsumerGroup.fromClassicGroup`.

use std::collections::BTreeSet;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{JoinGroupResponse, SyncGroupResponse},
};

use super::{
    ConsumerGroup, HeartbeatAsked, Owned, Refused, Target,
    heartbeat::{Beat, hash_of},
    member::{ClassicMember, Member, MemberState},
    partitions_of, record,
};
use crate::{
    coordinator::{KeyValue, Reader},
    group::{
        Identity, JoinAsked, SyncAsked,
        classic::{CONSUMER, ClassicGroup, text},
    },
    metadata::Image,
};

/// A consumer's subscription, of whatever version. Source: Apache Kafka, `ConsumerProtocolSubscription`.
#[derive(Debug, Default)]
struct Subscription {
    topics: BTreeSet<String>,
    owned: Vec<(String, Vec<i32>)>,
    generation: i32,
    rack: Option<String>,
}

fn read_partitions(from: &mut Reader) -> Option<Vec<(String, Vec<i32>)>> {
    let mut topics = Vec::new();
    for _ in 0..from.i32()? {
        let name = from.string()?;
        let mut partitions = Vec::new();
        for _ in 0..from.i32()? {
            partitions.push(from.i32()?);
        }
        topics.push((name, partitions));
    }
    Some(topics)
}

fn read_subscription(bytes: Bytes) -> Option<Subscription> {
    let mut from = Reader::new(bytes);
    let version = from.i16()?;
    let mut read = Subscription {
        generation: -1,
        ..Subscription::default()
    };
    for _ in 0..from.i32()? {
        read.topics.insert(from.string()?);
    }
    from.nullable_bytes()?;
    if version >= 1 {
        read.owned = read_partitions(&mut from)?;
    }
    if version >= 2 {
        read.generation = from.i32()?;
    }
    if version >= 3 {
        read.rack = from.nullable_string()?;
    }
    Some(read)
}

/// What the leader of a classic group gave a member; nothing where it gave none.
fn read_assignment(bytes: Bytes) -> Option<Vec<(String, Vec<i32>)>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut from = Reader::new(bytes);
    from.i16()?;
    read_partitions(&mut from)
}

/// As a leader would have written it: version 0, without user data.
fn write_assignment(target: &Target, image: &Image) -> Bytes {
    let named: Vec<_> = target
        .iter()
        .filter_map(|(id, partitions)| Some((&image.topic_by_id(*id)?.name, partitions)))
        .collect();
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let mut out = BytesMut::new();
    out.put_i16(0);
    out.put_i32(count(named.len()));
    for (name, partitions) in named {
        out.put_i16(i16::try_from(name.len()).unwrap_or(i16::MAX));
        out.put_slice(name.as_bytes());
        out.put_i32(count(partitions.len()));
        for partition in partitions {
            out.put_i32(*partition);
        }
    }
    out.put_i32(-1);
    out.freeze()
}

fn ids(named: &[(String, Vec<i32>)], image: &Image) -> Target {
    let mut target = Target::new();
    for (name, partitions) in named
        .iter()
        .filter(|(_, partitions)| !partitions.is_empty())
    {
        if let Some(topic) = image.topics.get(name) {
            target.insert(topic.id, partitions.iter().copied().collect());
        }
    }
    target
}

/// A join that is answered, and what it leads to.
pub(in crate::group) struct Joined {
    pub(in crate::group) beat: Beat,
    pub(in crate::group) answer: JoinGroupResponse,
    pub(in crate::group) session_timeout_ms: i32,
}

impl ConsumerGroup {
    /// What a classic group with members becomes; `None` where its members are no consumers.
    pub(in crate::group) fn of_classic(classic: &ClassicGroup, image: &Image) -> Option<Self> {
        let mut group = Self::new(&classic.id);
        group.epoch = classic.generation;
        group.assignment_epoch = classic.generation;
        for old in classic.members() {
            let (_, metadata) = old.protocols.first()?;
            let subscription = read_subscription(metadata.clone())?;
            let assigned = ids(&read_assignment(old.assignment.clone())?, image);
            let since = |partitions: &BTreeSet<i32>| {
                let partitions = partitions.iter();
                partitions.map(|p| (*p, classic.generation)).collect()
            };
            let owned: Owned = assigned.iter().map(|(id, p)| (*id, since(p))).collect();
            let member = Member {
                epoch: classic.generation,
                previous_epoch: classic.generation,
                state: MemberState::Stable,
                instance: old.instance.clone(),
                rack: subscription.rack,
                client_id: old.client_id.clone(),
                client_host: old.client_host.clone(),
                topics: subscription.topics,
                rebalance_timeout_ms: old.rebalance_timeout_ms,
                assigned: owned,
                classic: Some(ClassicMember {
                    session_timeout_ms: old.session_timeout_ms,
                    protocols: old.protocols.clone(),
                }),
                ..Member::new(&old.id)
            };
            for place in member.owns() {
                group.owners.insert(place, member.id.clone());
            }
            if let Some(instance) = &member.instance {
                group.instances.insert(instance.clone(), member.id.clone());
            }
            group.targets.insert(member.id.clone(), assigned);
            group.members.insert(member.id.clone(), member);
        }
        let names = group.members.values().flat_map(|m| &m.topics);
        group.hash = hash_of(names.collect::<BTreeSet<_>>(), image);
        Some(group)
    }

    /// All records that make the group what it is.
    pub(in crate::group) fn records(&self) -> Vec<KeyValue> {
        let id = &self.id;
        let mut records = Vec::new();
        for member in self.members.values() {
            records.push(record::member(id, &member.id, Some(member)));
        }
        records.push(record::group(id, Some((self.epoch, self.hash))));
        for member in self.members.keys() {
            records.push(record::target(id, member, self.targets.get(member)));
        }
        records.push(record::target_epoch(id, Some(self.assignment_epoch)));
        for member in self.members.values() {
            records.push(record::current(id, &member.id, Some(member)));
        }
        records
    }

    /// How long members of the classic protocol may be silent.
    pub(in crate::group) fn classic_sessions(&self) -> Vec<(String, i32)> {
        let members = self.members.values().filter_map(|m| {
            let classic = m.classic.as_ref()?;
            Some((m.id.clone(), classic.session_timeout_ms))
        });
        members.collect()
    }

    fn is_common(&self, protocol: &str, but: &str) -> bool {
        let others = self.members.values().filter(|m| m.id != but);
        let mut classic = others.filter_map(|m| m.classic.as_ref());
        classic.all(|c| c.protocols.iter().any(|(name, _)| name == protocol))
    }

    /// A member of the classic protocol joins.
    pub(in crate::group) fn join(
        &self,
        asked: &JoinAsked,
        image: &Image,
        max_size: usize,
        now_ms: i64,
    ) -> Result<Joined, Refused> {
        let refused = |code: Kafka| Refused::new(code, code.to_string());
        let id = &asked.who.member;
        let fits = asked.protocol_type == CONSUMER
            && asked
                .protocols
                .iter()
                .any(|(name, _)| self.is_common(name, id));
        let first = asked.protocols.first().filter(|_| fits);
        let (protocol, metadata) =
            first.ok_or_else(|| refused(Kafka::InconsistentGroupProtocol))?;
        let subscription = read_subscription(metadata.clone());
        let subscription = subscription.ok_or_else(|| refused(Kafka::InconsistentGroupProtocol))?;
        let known = self.members.get(id);
        // What it says that it has counts if it is of the epoch that it has now.
        let is_current = known.is_some_and(|m| m.epoch == subscription.generation);
        let owned = if is_current {
            ids(&subscription.owned, image)
        } else {
            Target::new()
        };
        let beat = HeartbeatAsked {
            group: asked.group.clone(),
            member: id.clone(),
            epoch: 0,
            instance: asked.who.instance.clone(),
            rack: subscription.rack,
            rebalance_timeout_ms: asked.rebalance_timeout_ms,
            topics: Some(subscription.topics),
            regex: None,
            assignor: None,
            owned: Some(owned),
            client_id: asked.client_id.clone(),
            client_host: asked.client_host.clone(),
            classic: Some(ClassicMember {
                session_timeout_ms: asked.session_timeout_ms,
                protocols: asked.protocols.clone(),
            }),
        };
        let beat = self.heartbeat(&beat, image, max_size, now_ms)?;
        let answer = JoinGroupResponse::default()
            .with_generation_id(beat.answer.epoch)
            .with_protocol_type(Some(text(CONSUMER)))
            .with_protocol_name(Some(text(protocol)))
            .with_member_id(text(&beat.answer.member));
        Ok(Joined {
            beat,
            answer,
            session_timeout_ms: asked.session_timeout_ms,
        })
    }

    fn classic(&self, who: &Identity, generation: i32) -> Result<&Member, Kafka> {
        if let Some(instance) = &who.instance {
            match self.instances.get(instance) {
                None => return Err(Kafka::UnknownMemberId),
                Some(id) if *id != who.member => return Err(Kafka::FencedInstanceId),
                Some(_) => {}
            }
        }
        let member = self.members.get(&who.member);
        let member = member.filter(|m| m.classic.is_some());
        let member = member.ok_or(Kafka::UnknownMemberId)?;
        if member.epoch == generation {
            Ok(member)
        } else {
            Err(Kafka::IllegalGeneration)
        }
    }

    /// It is to join again: there is a new target, or what it waits for is free.
    fn is_to_join(&self, member: &Member) -> bool {
        match member.state {
            MemberState::UnrevokedPartitions => true,
            _ if member.epoch < self.epoch => true,
            MemberState::Stable => false,
            MemberState::UnreleasedPartitions => {
                let target = self.target_of(&member.id);
                let mut wanted = target
                    .iter()
                    .flat_map(|(topic, partitions)| partitions.iter().map(|p| (*topic, *p)));
                wanted.any(|place| !self.owners.contains_key(&place))
            }
        }
    }

    /// A heartbeat of the classic protocol; returns how long the member may be silent.
    pub(in crate::group) fn classic_heartbeat(
        &self,
        who: &Identity,
        generation: i32,
    ) -> Result<(i32, Result<(), Kafka>), Kafka> {
        let member = self.classic(who, generation)?;
        let session = member.classic.as_ref().map_or(0, |c| c.session_timeout_ms);
        let told = if self.is_to_join(member) {
            Err(Kafka::RebalanceInProgress)
        } else {
            Ok(())
        };
        Ok((session, told))
    }

    /// What a member that joined may read.
    pub(in crate::group) fn sync(
        &self,
        asked: &SyncAsked,
        image: &Image,
    ) -> Result<(i32, SyncGroupResponse), Kafka> {
        let member = self.classic(&asked.who, asked.generation)?;
        let classic = member.classic.as_ref().ok_or(Kafka::UnknownMemberId)?;
        let own = classic.protocols.first().map(|(name, _)| name);
        let differs = |said: &Option<String>, is: Option<&str>| {
            said.as_deref().is_some_and(|said| Some(said) != is)
        };
        if differs(&asked.protocol_type, Some(CONSUMER))
            || differs(&asked.protocol, own.map(String::as_str))
        {
            return Err(Kafka::InconsistentGroupProtocol);
        }
        if member.epoch < self.epoch && member.state != MemberState::UnrevokedPartitions {
            return Err(Kafka::RebalanceInProgress);
        }
        let assigned = write_assignment(&partitions_of(&member.assigned), image);
        let answer = SyncGroupResponse::default()
            .with_protocol_type(Some(text(CONSUMER)))
            .with_protocol_name(own.map(|own| text(own)))
            .with_assignment(assigned);
        Ok((classic.session_timeout_ms, answer))
    }

    /// Who of those that leave is here; an answer for each.
    pub(in crate::group) fn leaving(
        &self,
        leaving: &[crate::group::Leaving],
    ) -> (Vec<Result<(), Kafka>>, BTreeSet<String>) {
        let mut gone = BTreeSet::new();
        let answers = leaving.iter().map(|leaving| {
            let who = &leaving.who;
            let id = match &who.instance {
                Some(instance) => {
                    let id = self.instances.get(instance).ok_or(Kafka::UnknownMemberId)?;
                    if !who.member.is_empty() && *id != who.member {
                        return Err(Kafka::FencedInstanceId);
                    }
                    id
                }
                None => &who.member,
            };
            let known = self.members.get(id).ok_or(Kafka::UnknownMemberId)?;
            // One of the other protocol says with a heartbeat that it leaves; an operator may take a static one out.
            if known.classic.is_none() && who.instance.is_none() {
                return Err(Kafka::UnknownMemberId);
            }
            gone.insert(id.clone());
            Ok(())
        });
        (answers.collect(), gone)
    }
}
