//! A member's heartbeat: it joins, says what changed, and is brought closer to its target.

use std::collections::{BTreeMap, BTreeSet};

use kafka_compat::protocol::error::ResponseError as Kafka;
use storage::units::TopicId;

use super::{
    ClassicMember, ConsumerGroup, Refused, Subscriber, Target, assignor, compiled, matching,
    member::{AWAY, Member, MemberState, Towards, reconcile},
    partitions_of, record,
};
use crate::{coordinator::KeyValue, metadata::Image};

/// What a member says; `None` and -1: as before.
#[derive(Clone, Debug, Default)]
pub struct HeartbeatAsked {
    /// The group.
    pub group: String,
    /// The member's id, its own.
    pub member: String,
    /// Its epoch: 0 it joins, -1 it leaves, -2 a static member is away for a while.
    pub epoch: i32,
    /// A static member's own name.
    pub instance: Option<String>,
    /// Where it is.
    pub rack: Option<String>,
    /// How long it may take to give partitions up.
    pub rebalance_timeout_ms: i32,
    /// What it wants to read.
    pub topics: Option<BTreeSet<String>>,
    /// And topics whose names this fits.
    pub regex: Option<String>,
    /// By whom it wants to be assigned.
    pub assignor: Option<String>,
    /// What it has.
    pub owned: Option<Target>,
    /// The client's name, and its address.
    pub client_id: String,
    /// Its address.
    pub client_host: String,
    /// It speaks the classic protocol: this is a join, whatever epoch it has.
    pub classic: Option<ClassicMember>,
}

/// What a member is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// Its id.
    pub member: String,
    /// Its epoch from then on.
    pub epoch: i32,
    /// What it may read; `None`: as before.
    pub assignment: Option<Target>,
}

/// What a heartbeat leads to.
pub(in crate::group) struct Beat {
    pub(in crate::group) records: Vec<KeyValue>,
    pub(in crate::group) answer: HeartbeatAnswer,
    /// It is to give partitions up, in so many milliseconds; `None` where it has not to.
    pub(in crate::group) revokes_within_ms: Option<i32>,
    /// A static member whose place it took.
    pub(in crate::group) replaced: Option<String>,
}

/// The member as it was when it asked, and whose place it takes.
struct Comes {
    member: Member,
    is_new: bool,
    replaces: Option<Member>,
}

impl ConsumerGroup {
    /// A member is alive, and may want something.
    pub(in crate::group) fn heartbeat(
        &self,
        asked: &HeartbeatAsked,
        image: &Image,
        max_size: usize,
        now_ms: i64,
    ) -> Result<Beat, Refused> {
        let is_member = self.members.contains_key(&asked.member);
        if self.members.len() >= max_size && !is_member {
            let why = format!(
                "The consumer group has reached its maximum capacity of {max_size} members."
            );
            return Err(Refused::new(Kafka::GroupMaxSizeReached, why));
        }
        let comes = self.identify(asked)?;
        let mut records = Vec::new();
        if let Some(old) = &comes.replaces {
            records.push(record::current(&self.id, &old.id, None));
            records.push(record::target(&self.id, &old.id, None));
            records.push(record::member(&self.id, &old.id, None));
        }
        let mut member = told(&comes.member, asked);
        let before = &comes.member;
        let changed = member.told() != before.told();
        if changed || comes.is_new {
            records.push(record::member(&self.id, &member.id, Some(&member)));
        }
        if comes.replaces.is_some() {
            let target = self.target_before(&comes);
            records.push(record::target(&self.id, &member.id, target.as_ref()));
        }
        let regex_before = regex_of(before);
        if let Some(regex) = regex_of(&member).filter(|regex| Some(*regex) != regex_before)
            && let Err(error) = compiled(regex)
        {
            let why = format!(
                "SubscribedTopicRegex `{regex}` is not a valid regular expression: {error}."
            );
            return Err(Refused::new(Kafka::InvalidRegularExpression, why));
        }
        let is_resubscribed =
            member.topics != before.topics || regex_of(&member) != regex_of(before);
        let mut raise = self.epoch == 0 || is_resubscribed;
        let mut hash = self.hash;
        let mut regexes = self.regexes.clone();
        if raise || self.seen_version.get() != image.version {
            regexes = self.resolve(&member, image, now_ms, &mut records);
            hash = self.hash_of_topics(&member, &regexes, image);
            raise |= hash != self.hash;
        }
        let mut epoch = self.epoch;
        if raise {
            epoch += 1;
            records.push(record::group(&self.id, Some((epoch, hash))));
        }
        let mut assignment_epoch = self.assignment_epoch;
        let mut target = self.target_before(&comes).unwrap_or_default();
        if epoch > assignment_epoch {
            let mut targets = self.assign(&comes, &member, &regexes, image);
            for (id, new) in &targets {
                let known = self.targets.get(id);
                let known = if *id == member.id {
                    known.filter(|_| comes.replaces.is_none())
                } else {
                    known
                };
                if known != Some(new) {
                    records.push(record::target(&self.id, id, Some(new)));
                }
            }
            assignment_epoch = epoch;
            records.push(record::target_epoch(&self.id, Some(epoch)));
            target = targets.remove(&member.id).unwrap_or_default();
        }
        let mut revokes_within_ms = None;
        if is_resubscribed || !member.is_reconciled_to(assignment_epoch) {
            let subscribed = ids_of(&member, &regexes, image);
            let is_taken = |topic: TopicId, partition: i32| {
                let owner = self.owners.get(&(topic, partition));
                let is_others = |owner: &&String| {
                    let of_replaced = comes.replaces.as_ref().is_some_and(|old| old.id == **owner);
                    **owner != member.id && !of_replaced
                };
                owner.filter(is_others).is_some()
            };
            let towards = Towards {
                epoch: assignment_epoch,
                target: &target,
                owned: asked.owned.as_ref(),
                subscribed: &subscribed,
                is_taken: &is_taken,
                is_resubscribed,
            };
            member = reconcile(&member, &towards);
        }
        let moved = (
            member.epoch,
            member.state,
            &member.assigned,
            &member.revoking,
        ) != (
            before.epoch,
            before.state,
            &before.assigned,
            &before.revoking,
        );
        if moved || comes.is_new {
            records.push(record::current(&self.id, &member.id, Some(&member)));
        }
        if member.state == MemberState::UnrevokedPartitions {
            revokes_within_ms = Some(member.rebalance_timeout_ms);
        }
        // What is asked next is compared with what is decided now.
        self.seen_version.set(image.version);
        let says_all = asked.epoch == 0
            || (asked.rebalance_timeout_ms != -1
                && (asked.topics.is_some() || asked.regex.is_some())
                && asked.owned.is_some());
        let assigned = partitions_of(&member.assigned);
        let is_news = says_all || assigned != partitions_of(&before.assigned);
        Ok(Beat {
            records,
            answer: HeartbeatAnswer {
                epoch: member.epoch,
                assignment: is_news.then_some(assigned),
                member: member.id,
            },
            revokes_within_ms,
            replaced: comes.replaces.map(|old| old.id),
        })
    }

    /// Who asks. Source: Apache Kafka, `GroupMetadataManager.getOrMaybeSubscribeStaticConsumerGroupMember` and its kin.
    fn identify(&self, asked: &HeartbeatAsked) -> Result<Comes, Refused> {
        let joins = asked.epoch == 0;
        let known = self.members.get(&asked.member);
        let existing = |member: &Member| {
            if asked.classic.is_none() {
                check_epoch(member, asked)?;
            }
            Ok(Comes {
                member: member.clone(),
                is_new: false,
                replaces: None,
            })
        };
        let fresh = || Comes {
            member: Member::new(&asked.member),
            is_new: true,
            replaces: None,
        };
        let Some(instance) = &asked.instance else {
            return match known {
                Some(member) => existing(member),
                None if joins => Ok(fresh()),
                None => Err(unknown(&asked.member, &self.id)),
            };
        };
        let of_instance = self.instances.get(instance);
        let of_instance = of_instance.and_then(|id| self.members.get(id));
        match of_instance {
            None if joins => match known {
                Some(member) => existing(member),
                None => Ok(fresh()),
            },
            None => {
                let why = format!("Instance id {instance} is unknown.");
                Err(Refused::new(Kafka::UnknownMemberId, why))
            }
            Some(holder) if joins => {
                let is_same = asked.classic.is_some() && holder.id == asked.member;
                if is_same {
                    return existing(holder);
                }
                if holder.epoch != AWAY && asked.classic.is_none() {
                    let why = format!(
                        "Static member {} with instance id {instance} cannot join the group because the instance id is owned by {} member.",
                        asked.member, holder.id
                    );
                    return Err(Refused::new(Kafka::UnreleasedInstanceId, why));
                }
                // It takes over what the one before had.
                let epoch = match asked.classic {
                    Some(_) => self.assignment_epoch,
                    None => 0,
                };
                let member = Member {
                    id: asked.member.clone(),
                    epoch,
                    previous_epoch: epoch,
                    ..holder.clone()
                };
                Ok(Comes {
                    member,
                    is_new: true,
                    replaces: Some(holder.clone()),
                })
            }
            Some(holder) if holder.id != asked.member => {
                let why = format!(
                    "Static member {} with instance id {instance} was fenced by member {}.",
                    asked.member, holder.id
                );
                Err(Refused::new(Kafka::FencedInstanceId, why))
            }
            Some(holder) => existing(holder),
        }
    }

    /// What the member was to have, by itself or by whom it takes the place of.
    fn target_before(&self, comes: &Comes) -> Option<Target> {
        let id = comes.replaces.as_ref().unwrap_or(&comes.member);
        self.targets.get(&id.id).cloned()
    }

    /// What regular expressions stand for now; those that changed, or that nobody has any more, are written down.
    fn resolve(
        &self,
        member: &Member,
        image: &Image,
        now_ms: i64,
        records: &mut Vec<KeyValue>,
    ) -> BTreeMap<String, BTreeSet<String>> {
        let others = self.members.values().filter(|m| m.id != member.id);
        let wanted: BTreeSet<&str> = others.chain([member]).filter_map(regex_of).collect();
        for gone in self.regexes.keys().filter(|r| !wanted.contains(r.as_str())) {
            records.push(record::regex(&self.id, gone, None));
        }
        let resolved = wanted.into_iter().map(|regex| {
            let topics = matching(regex, image);
            if self.regexes.get(regex) != Some(&topics) {
                let of = Some((&topics, image.version, now_ms));
                records.push(record::regex(&self.id, regex, of));
            }
            (regex.to_owned(), topics)
        });
        resolved.collect()
    }

    /// Of the topics that are read, by name, id and size: FNV-1a, 64 bits.
    pub(super) fn hash_of_topics(
        &self,
        member: &Member,
        regexes: &BTreeMap<String, BTreeSet<String>>,
        image: &Image,
    ) -> i64 {
        let others = self.members.values().filter(|m| m.id != member.id);
        let names = others.chain([member]).flat_map(|m| &m.topics);
        let names: BTreeSet<&String> = names.chain(regexes.values().flatten()).collect();
        hash_of(names, image)
    }

    fn assign(
        &self,
        comes: &Comes,
        member: &Member,
        regexes: &BTreeMap<String, BTreeSet<String>>,
        image: &Image,
    ) -> std::collections::HashMap<String, Target> {
        let replaced = comes.replaces.as_ref().map(|old| old.id.as_str());
        let others = self
            .members
            .values()
            .filter(|m| m.id != member.id && Some(m.id.as_str()) != replaced);
        let before = replaced.unwrap_or(&member.id);
        let subscribers: Vec<_> = others
            .chain([member])
            .map(|m| Subscriber {
                id: &m.id,
                instance: m.instance.as_deref(),
                topics: ids_of(m, regexes, image),
                before: if m.id == member.id {
                    self.targets.get(before)
                } else {
                    self.targets.get(&m.id)
                },
            })
            .collect();
        let topics = image.topics.values();
        let counts = topics.map(|topic| (topic.id, i32::try_from(topic.partitions.len())));
        let partitions = counts.filter_map(|(id, count)| Some((id, count.ok()?)));
        let assignor = self.preferred_assignor(Some(member));
        assignor::assign(&assignor, &subscribers, &partitions.collect())
    }
}

pub(super) fn hash_of<'a>(names: impl IntoIterator<Item = &'a String>, image: &Image) -> i64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut hash = BASIS;
    let mut any = false;
    for name in names {
        let Some(topic) = image.topics.get(name.as_str()) else {
            continue;
        };
        any = true;
        let bytes = name.as_bytes().iter().chain(topic.id.as_bytes());
        let count = (topic.partitions.len() as u64).to_be_bytes();
        for byte in bytes.chain(&count) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    }
    // None is 0, as in a group that nobody was in yet.
    if any { hash.cast_signed() } else { 0 }
}

/// The topics that a member reads, of those that there are.
fn ids_of(
    member: &Member,
    regexes: &BTreeMap<String, BTreeSet<String>>,
    image: &Image,
) -> BTreeSet<TopicId> {
    let by_regex = regex_of(member).and_then(|regex| regexes.get(regex));
    let names = member.topics.iter().chain(by_regex.into_iter().flatten());
    names
        .filter_map(|name| image.topics.get(name.as_str()).map(|topic| topic.id))
        .collect()
}

fn regex_of(member: &Member) -> Option<&str> {
    member.regex.as_deref().filter(|regex| !regex.is_empty())
}

/// The member with what it says now.
fn told(member: &Member, asked: &HeartbeatAsked) -> Member {
    let mut member = member.clone();
    if asked.instance.is_some() {
        member.instance.clone_from(&asked.instance);
    }
    if asked.rack.is_some() {
        member.rack.clone_from(&asked.rack);
    }
    if asked.rebalance_timeout_ms != -1 {
        member.rebalance_timeout_ms = asked.rebalance_timeout_ms;
    }
    if let Some(topics) = &asked.topics {
        member.topics.clone_from(topics);
    }
    if asked.regex.is_some() {
        member.regex.clone_from(&asked.regex);
    }
    if asked.assignor.is_some() {
        member.assignor.clone_from(&asked.assignor);
    }
    member.client_id.clone_from(&asked.client_id);
    member.client_host.clone_from(&asked.client_host);
    member.classic.clone_from(&asked.classic);
    member
}

fn check_epoch(member: &Member, asked: &HeartbeatAsked) -> Result<(), Refused> {
    let (known, asks) = (member.epoch, asked.epoch);
    let fenced = |how: &str| {
        let why = format!(
            "The consumer group member has a {how} member epoch ({asks}) than the one known by the group coordinator ({known}). The member must abandon all its partitions and rejoin."
        );
        Refused::new(Kafka::FencedMemberEpoch, why)
    };
    if asks > known {
        return Err(fenced("greater"));
    }
    // The answer with its next epoch may have been lost.
    if asks < known && (asks != member.previous_epoch || !member.was_given(asked.owned.as_ref())) {
        return Err(fenced("smaller"));
    }
    Ok(())
}

pub(super) fn unknown(member: &str, group: &str) -> Refused {
    let why = format!("Member {member} is not a member of group {group}.");
    Refused::new(Kafka::UnknownMemberId, why)
}
