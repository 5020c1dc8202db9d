//! Keys and values of consumer groups in `__consumer_offsets`, as Apache Kafka 4.3 writes them: `ConsumerGroup*` in
//! `group-coordinator/src/main/resources/common/message`. Keys are of the inflexible form, values of the flexible one.
//!
//! ```text
//! kind  key                value (i16 0 first)
//!  3    group              epoch i32 | tag 0: hash of the topics' metadata i64
//!  4    group              not written any more; a tombstone is
//!  5    group, member      instance, rack | client id, host | topics [] | regex | rebalance timeout i32 | assignor
//!                          | tag 0: of a member of the classic protocol: session timeout i32, protocols [name, metadata]
//!  6    group              assignment epoch i32
//!  7    group, member      target [topic id, partitions []]
//!  8    group, member      epoch, previous epoch i32 | state i8 | assigned, revoking [topic id, partitions [], tag 0: their epochs []]
//! 16    group, regex       topics [] | metadata version, time i64
//! ```

use std::collections::BTreeSet;

use bytes::Bytes;
use storage::units::TopicId;

use super::{
    Owned, Target,
    member::{ClassicMember, Member, MemberState},
};
use crate::coordinator::{FlexibleReader, FlexibleWriter, KeyValue, Reader, Writer};

const GROUP: i16 = 3;
const MEMBER: i16 = 5;
const TARGET_EPOCH: i16 = 6;
const TARGET: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;
const VERSION: i16 = 0;

/// What a record says of a consumer group.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::group) enum Said {
    /// Its epoch, and the hash of its topics' metadata.
    Group(Option<(i32, i64)>),
    /// What a member told of itself.
    Member(String, Option<Box<Member>>),
    /// The epoch of its target.
    TargetEpoch(Option<i32>),
    /// What a member is to have.
    Target(String, Option<Target>),
    /// What a member has.
    Current(String, Option<Current>),
    /// Topics that a regular expression stands for.
    Regex(String, Option<BTreeSet<String>>),
}

/// What a member has.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::group) struct Current {
    pub(super) epoch: i32,
    pub(super) previous_epoch: i32,
    pub(super) state: MemberState,
    pub(super) assigned: Owned,
    pub(super) revoking: Owned,
}

fn key(kind: i16, group: &str) -> Writer {
    Writer::default().i16(kind).string(group)
}

fn record(key: Writer, value: Option<FlexibleWriter>) -> KeyValue {
    KeyValue {
        key: key.finish(),
        value: value.map(FlexibleWriter::finish),
    }
}

fn value() -> FlexibleWriter {
    let mut out = FlexibleWriter::default();
    out.i16(VERSION);
    out
}

pub(super) fn group(group: &str, of: Option<(i32, i64)>) -> KeyValue {
    let value = of.map(|(epoch, hash)| {
        let mut out = value();
        out.i32(epoch);
        let tag = (hash != 0).then(|| (0, Bytes::copy_from_slice(&hash.to_be_bytes())));
        out.tags(tag.into_iter().collect());
        out
    });
    record(key(GROUP, group), value)
}

pub(super) fn member(group: &str, id: &str, of: Option<&Member>) -> KeyValue {
    let value = of.map(|member| {
        let mut out = value();
        out.nullable_string(member.instance.as_deref());
        out.nullable_string(member.rack.as_deref());
        out.string(&member.client_id);
        out.string(&member.client_host);
        out.count(member.topics.len());
        for topic in &member.topics {
            out.string(topic);
        }
        out.nullable_string(member.regex.as_deref());
        out.i32(member.rebalance_timeout_ms);
        out.nullable_string(member.assignor.as_deref());
        let classic = member.classic.as_ref().map(|classic| (0, tagged(classic)));
        out.tags(classic.into_iter().collect());
        out
    });
    record(key(MEMBER, group).string(id), value)
}

/// A nullable struct in a tag opens with whether it is there.
fn tagged(classic: &ClassicMember) -> Bytes {
    let mut out = FlexibleWriter::default();
    out.i8(1);
    out.i32(classic.session_timeout_ms);
    out.count(classic.protocols.len());
    for (name, metadata) in &classic.protocols {
        out.string(name);
        out.bytes(metadata);
        out.tags(Vec::new());
    }
    out.tags(Vec::new());
    out.finish()
}

pub(super) fn target_epoch(group: &str, epoch: Option<i32>) -> KeyValue {
    let value = epoch.map(|epoch| {
        let mut out = value();
        out.i32(epoch);
        out.tags(Vec::new());
        out
    });
    record(key(TARGET_EPOCH, group), value)
}

pub(super) fn target(group: &str, id: &str, of: Option<&Target>) -> KeyValue {
    let value = of.map(|target| {
        let mut out = value();
        out.count(target.len());
        for (topic, partitions) in target {
            out.id(*topic);
            out.count(partitions.len());
            for partition in partitions {
                out.i32(*partition);
            }
            out.tags(Vec::new());
        }
        out.tags(Vec::new());
        out
    });
    record(key(TARGET, group).string(id), value)
}

pub(super) fn current(group: &str, id: &str, of: Option<&Member>) -> KeyValue {
    let value = of.map(|member| {
        let mut out = value();
        out.i32(member.epoch);
        out.i32(member.previous_epoch);
        out.i8(member.state.number());
        owned(&mut out, &member.assigned);
        owned(&mut out, &member.revoking);
        out.tags(Vec::new());
        out
    });
    record(key(CURRENT, group).string(id), value)
}

fn owned(out: &mut FlexibleWriter, owned: &Owned) {
    out.count(owned.len());
    for (topic, partitions) in owned {
        out.id(*topic);
        out.count(partitions.len());
        for partition in partitions.keys() {
            out.i32(*partition);
        }
        let mut epochs = FlexibleWriter::default();
        epochs.count(partitions.len());
        for epoch in partitions.values() {
            epochs.i32(*epoch);
        }
        out.tags(vec![(0, epochs.finish())]);
    }
}

pub(super) fn regex(
    group: &str,
    regex: &str,
    of: Option<(&BTreeSet<String>, u64, i64)>,
) -> KeyValue {
    let value = of.map(|(topics, version, now_ms)| {
        let mut out = value();
        out.count(topics.len());
        for topic in topics {
            out.string(topic);
        }
        out.i64(i64::try_from(version).unwrap_or(i64::MAX));
        out.i64(now_ms);
        out.tags(Vec::new());
        out
    });
    record(key(REGEX, group).string(regex), value)
}

/// The group that a record speaks of, and what it says; `None` where it is of no kind that this release knows.
pub(in crate::group) fn read(record: &KeyValue) -> Option<(String, Said)> {
    let mut key = Reader::new(record.key.clone());
    let kind = key.i16()?;
    if ![GROUP, MEMBER, TARGET_EPOCH, TARGET, CURRENT, REGEX].contains(&kind) {
        return None;
    }
    let group = key.string()?;
    let mut from = record.value.clone().map(FlexibleReader::new);
    if let Some(from) = &mut from
        && from.i16()? != VERSION
    {
        return None;
    }
    let said = match kind {
        GROUP => Said::Group(match &mut from {
            Some(from) => Some(read_group(from)?),
            None => None,
        }),
        MEMBER => {
            let id = key.string()?;
            let member = match &mut from {
                Some(from) => Some(Box::new(read_member(&id, from)?)),
                None => None,
            };
            Said::Member(id, member)
        }
        TARGET_EPOCH => Said::TargetEpoch(match &mut from {
            Some(from) => Some(from.i32()?),
            None => None,
        }),
        TARGET => Said::Target(
            key.string()?,
            match &mut from {
                Some(from) => Some(read_target(from)?),
                None => None,
            },
        ),
        CURRENT => Said::Current(
            key.string()?,
            match &mut from {
                Some(from) => Some(read_current(from)?),
                None => None,
            },
        ),
        _ => Said::Regex(
            key.string()?,
            match &mut from {
                Some(from) => {
                    let topics = read_strings(from)?.into_iter().collect();
                    let (_version, _time) = (from.i64()?, from.i64()?);
                    Some(topics)
                }
                None => None,
            },
        ),
    };
    Some((group, said))
}

fn read_group(from: &mut FlexibleReader) -> Option<(i32, i64)> {
    let epoch = from.i32()?;
    let tags = from.tags()?;
    let hash = tags.into_iter().find(|(tag, _)| *tag == 0);
    let hash = match hash {
        Some((_, field)) => FlexibleReader::new(field).i64()?,
        None => 0,
    };
    Some((epoch, hash))
}

fn read_strings(from: &mut FlexibleReader) -> Option<Vec<String>> {
    let count = from.count()?;
    // Nothing is allocated for what is announced and not there.
    let mut strings = Vec::new();
    for _ in 0..count {
        strings.push(from.string()?);
    }
    Some(strings)
}

fn read_member(id: &str, from: &mut FlexibleReader) -> Option<Member> {
    let mut member = Member::new(id);
    member.instance = from.nullable_string()?;
    member.rack = from.nullable_string()?;
    member.client_id = from.string()?;
    member.client_host = from.string()?;
    member.topics = read_strings(from)?.into_iter().collect();
    member.regex = from.nullable_string()?;
    member.rebalance_timeout_ms = from.i32()?;
    member.assignor = from.nullable_string()?;
    let classic = from.tags()?.into_iter().find(|(tag, _)| *tag == 0);
    if let Some((_, field)) = classic {
        member.classic = read_classic(&mut FlexibleReader::new(field))?;
    }
    Some(member)
}

#[expect(clippy::option_option, reason = "cut off, null, or there")]
fn read_classic(from: &mut FlexibleReader) -> Option<Option<ClassicMember>> {
    if from.i8()? < 0 {
        return Some(None);
    }
    let session_timeout_ms = from.i32()?;
    let mut protocols = Vec::new();
    for _ in 0..from.count()? {
        protocols.push((from.string()?, from.bytes()?));
        from.tags()?;
    }
    Some(Some(ClassicMember {
        session_timeout_ms,
        protocols,
    }))
}

fn read_target(from: &mut FlexibleReader) -> Option<Target> {
    let mut target = Target::new();
    for _ in 0..from.count()? {
        let topic: TopicId = from.id()?;
        let mut partitions = BTreeSet::new();
        for _ in 0..from.count()? {
            partitions.insert(from.i32()?);
        }
        from.tags()?;
        target.insert(topic, partitions);
    }
    Some(target)
}

fn read_current(from: &mut FlexibleReader) -> Option<Current> {
    let (epoch, previous_epoch) = (from.i32()?, from.i32()?);
    Some(Current {
        epoch,
        previous_epoch,
        state: MemberState::of(from.i8()?)?,
        assigned: read_owned(from, epoch)?,
        revoking: read_owned(from, epoch)?,
    })
}

fn read_owned(from: &mut FlexibleReader, member_epoch: i32) -> Option<Owned> {
    let mut owned = Owned::new();
    for _ in 0..from.count()? {
        let topic = from.id()?;
        let mut partitions = Vec::new();
        for _ in 0..from.count()? {
            partitions.push(from.i32()?);
        }
        let epochs = from.tags()?.into_iter().find(|(tag, _)| *tag == 0);
        let mut epochs = epochs.map(|(_, field)| FlexibleReader::new(field));
        if let Some(epochs) = &mut epochs {
            epochs.count()?;
        }
        let of_topic = owned.entry(topic).or_default();
        for partition in partitions {
            // Releases before 4.3 did not say since when.
            let epoch = match &mut epochs {
                Some(epochs) => epochs.i32()?,
                None => member_epoch,
            };
            of_topic.insert(partition, epoch);
        }
    }
    Some(owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_member() -> Member {
        Member {
            instance: Some("i".into()),
            rack: None,
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            topics: ["a".to_owned(), "b".to_owned()].into(),
            regex: Some("x.*".into()),
            rebalance_timeout_ms: 45_000,
            assignor: Some("range".into()),
            classic: Some(ClassicMember {
                session_timeout_ms: 9_000,
                protocols: vec![("range".into(), Bytes::from_static(b"sub"))],
            }),
            ..Member::new("m")
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let topic = TopicId::from_u128(7);
        let member_of = a_member();
        let moved = Member {
            epoch: 5,
            previous_epoch: 4,
            state: MemberState::UnrevokedPartitions,
            assigned: [(topic, [(0, 3), (4, 5)].into())].into(),
            revoking: [(topic, [(2, 1)].into())].into(),
            ..Member::new("m")
        };
        let said = Current {
            epoch: 5,
            previous_epoch: 4,
            state: MemberState::UnrevokedPartitions,
            assigned: moved.assigned.clone(),
            revoking: moved.revoking.clone(),
        };
        let target_of: Target = [(topic, [0, 1].into())].into();
        let topics = ["xa".to_owned()].into();
        let table = [
            (group("g", Some((3, -9))), Said::Group(Some((3, -9)))),
            (group("g", Some((3, 0))), Said::Group(Some((3, 0)))),
            (group("g", None), Said::Group(None)),
            (
                member("g", "m", Some(&member_of)),
                Said::Member("m".into(), Some(Box::new(member_of.clone()))),
            ),
            (member("g", "m", None), Said::Member("m".into(), None)),
            (target_epoch("g", Some(4)), Said::TargetEpoch(Some(4))),
            (
                target("g", "m", Some(&target_of)),
                Said::Target("m".into(), Some(target_of.clone())),
            ),
            (
                current("g", "m", Some(&moved)),
                Said::Current("m".into(), Some(said)),
            ),
            (
                regex("g", "x.*", Some((&topics, 5, 6))),
                Said::Regex("x.*".into(), Some(topics.clone())),
            ),
        ];
        for (record, said) in table {
            assert_eq!(read(&record), Some(("g".to_owned(), said)));
            let value = record.value.unwrap_or_default();
            for len in 0..value.len() {
                let cut = KeyValue {
                    key: record.key.clone(),
                    value: Some(value.slice(..len)),
                };
                let read = read(&cut);
                // Behind the last field there are only tags, which this release may not look at.
                assert!(read.is_none() || len + 3 > value.len(), "{read:?} {len}");
            }
        }
    }

    #[test]
    fn the_bytes_are_kafkas() {
        let record = group("g", Some((2, 0)));
        assert_eq!(&record.key[..], b"\0\x03\0\x01g");
        assert_eq!(record.value.unwrap(), &b"\0\0\0\0\0\x02\0"[..]);
    }
}
