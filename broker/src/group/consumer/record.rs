//! Keys and values of consumer groups in `__consumer_offsets`, as Apache Kafka 4.3 writes them: `ConsumerGroup*Key` and `*Value` in
//! `group-coordinator/src/main/resources/common/message`. Keys are inflexible, values flexible, of version 0.
//!
//! ```text
//! key    3 group                    value  epoch i32 | tag 0: hash of the topics' metadata i64
//!        4 group                           written up to 4.0; removed here
//!        5 group, member                   instance, rack | client id, host | names | regex | rebalance timeout i32 | assignor
//!                                          | tag 0: session timeout i32, protocols (name, metadata)
//!        6 group                           assignment epoch i32 | tag 0: when it was made i64
//!        7 group, member                   topics (uuid, partitions)
//!        8 group, member                   epoch, previous epoch i32 | state i8 | assigned, pending revocation:
//!                                          topics (uuid, partitions, tag 0: epochs)
//!        16 group, regex                   topics | version, time i64
//! ```

use std::collections::BTreeSet;

use bytes::Bytes;

use super::member::{ClassicPart, Member, MemberState, Owned, Target};
use crate::coordinator::{FlexReader, FlexWriter, KeyValue, Reader, Writer};

const GROUP: i16 = 3;
const PARTITIONS: i16 = 4;
const MEMBER: i16 = 5;
const TARGET: i16 = 6;
const TARGET_OF_MEMBER: i16 = 7;
const CURRENT: i16 = 8;
const REGEX: i16 = 16;

/// What a record says of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct Said {
    pub(in crate::group) group: String,
    pub(in crate::group) what: What,
}

/// What is said; without a value it is so no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) enum What {
    /// Its epoch, and the hash of what its topics are like.
    Group(Option<(i32, i64)>),
    /// An older release kept what its topics are like.
    Partitions(bool),
    /// A member and its subscription.
    Member(String, Option<Box<Member>>),
    /// The epoch of the assignment, and when it was made.
    Target(Option<(i32, i64)>),
    /// What a member shall have.
    TargetOf(String, Option<Target>),
    /// What a member has.
    Current(String, Option<Current>),
    /// The topics of a regular expression.
    Regex(String, Option<Resolved>),
}

impl What {
    /// It says that something is so no more.
    pub(super) fn is_removal(&self) -> bool {
        matches!(
            self,
            Self::Group(None)
                | Self::Partitions(false)
                | Self::Member(_, None)
                | Self::Target(None)
                | Self::TargetOf(_, None)
                | Self::Current(_, None)
                | Self::Regex(_, None)
        )
    }
}

/// What a member has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::group) struct Current {
    pub(super) epoch: i32,
    pub(super) previous_epoch: i32,
    pub(super) state: MemberState,
    pub(super) assigned: Owned,
    pub(super) revoking: Owned,
}

/// The topics that a regular expression meant at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::group) struct Resolved {
    pub(super) topics: BTreeSet<String>,
    /// Of the metadata.
    pub(super) version: i64,
    pub(super) at_ms: i64,
}

fn key(kind: i16, group: &str, of: Option<&str>) -> Bytes {
    let key = Writer::default().i16(kind).string(group);
    match of {
        Some(of) => key.string(of).finish(),
        None => key.finish(),
    }
}

fn value() -> FlexWriter {
    FlexWriter::default().i16(0)
}

/// A tagged 64-bit number; 0 is not written.
fn tagged(number: i64) -> Option<(u32, Bytes)> {
    (number != 0).then(|| (0, FlexWriter::default().i64(number).finish()))
}

/// The group's epoch.
pub(in crate::group) fn group(group: &str, said: Option<(i32, i64)>) -> KeyValue {
    KeyValue {
        key: key(GROUP, group, None),
        value: said.map(|(epoch, hash)| value().i32(epoch).tags(tagged(hash)).finish()),
    }
}

/// What an older release kept goes.
pub(in crate::group) fn no_partitions(group: &str) -> KeyValue {
    KeyValue {
        key: key(PARTITIONS, group, None),
        value: None,
    }
}

/// The epoch of the assignment.
pub(in crate::group) fn target(group: &str, said: Option<(i32, i64)>) -> KeyValue {
    KeyValue {
        key: key(TARGET, group, None),
        value: said.map(|(epoch, at)| value().i32(epoch).tags(tagged(at)).finish()),
    }
}

/// A member and its subscription.
pub(in crate::group) fn member(group: &str, member: &Member) -> KeyValue {
    let out = value()
        .nullable_string(member.instance.as_deref())
        .nullable_string(member.rack.as_deref())
        .string(&member.client_id)
        .string(&member.client_host)
        .array(member.names.iter(), |out, name| out.string(name))
        .nullable_string(Some(&member.regex))
        .i32(member.rebalance_timeout_ms)
        .nullable_string(member.assignor.as_deref());
    let classic = member.classic.as_ref().map(|classic| {
        // A nullable structure: 1 says that it is there.
        let out = FlexWriter::default().i8(1).i32(classic.session_timeout_ms);
        let out = out.array(classic.protocols.iter(), |out, (name, metadata)| {
            out.string(name).bytes(metadata).tags(None)
        });
        (0, out.tags(None).finish())
    });
    KeyValue {
        key: key(MEMBER, group, Some(&member.id)),
        value: Some(out.tags(classic).finish()),
    }
}

/// The member is gone.
pub(in crate::group) fn no_member(group: &str, member: &str) -> KeyValue {
    KeyValue {
        key: key(MEMBER, group, Some(member)),
        value: None,
    }
}

/// What a member shall have.
pub(in crate::group) fn target_of(group: &str, member: &str, said: Option<&Target>) -> KeyValue {
    KeyValue {
        key: key(TARGET_OF_MEMBER, group, Some(member)),
        value: said.map(|target| {
            let out = value().array(target.iter(), |out, (topic, partitions)| {
                let out = out.uuid(*topic);
                let out = out.array(partitions.iter(), |out, p| out.i32(*p));
                out.tags(None)
            });
            out.tags(None).finish()
        }),
    }
}

/// What a member has.
pub(in crate::group) fn current(group: &str, member: &Member) -> KeyValue {
    let out = value()
        .i32(member.epoch)
        .i32(member.previous_epoch)
        .i8(member.state.code());
    let out = owned(owned(out, &member.assigned), &member.revoking);
    KeyValue {
        key: key(CURRENT, group, Some(&member.id)),
        value: Some(out.tags(None).finish()),
    }
}

/// The member has nothing any more.
pub(in crate::group) fn no_current(group: &str, member: &str) -> KeyValue {
    KeyValue {
        key: key(CURRENT, group, Some(member)),
        value: None,
    }
}

fn owned(out: FlexWriter, owned: &Owned) -> FlexWriter {
    out.array(owned.iter(), |out, (topic, partitions)| {
        let epochs = FlexWriter::default().array(partitions.values(), |out, epoch| out.i32(*epoch));
        out.uuid(*topic)
            .array(partitions.keys(), |out, p| out.i32(*p))
            .tags(Some((0, epochs.finish())))
    })
}

/// The topics of a regular expression.
pub(in crate::group) fn regex(group: &str, regex: &str, said: Option<&Resolved>) -> KeyValue {
    KeyValue {
        key: key(REGEX, group, Some(regex)),
        value: said.map(|resolved| {
            let out = value().array(resolved.topics.iter(), |out, topic| out.string(topic));
            let out = out.i64(resolved.version).i64(resolved.at_ms);
            out.tags(None).finish()
        }),
    }
}

/// `None` for what is not of a consumer group, or is not known.
pub(in crate::group) fn read(record: &KeyValue) -> Option<Said> {
    let mut key = Reader::new(record.key.clone());
    let kind = key.i16()?;
    let group = match kind {
        GROUP..=CURRENT | REGEX => key.string()?,
        _ => return None,
    };
    let value = match &record.value {
        Some(value) => {
            let mut value = FlexReader::new(value.clone());
            value.i16().filter(|version| *version == 0)?;
            Some(value)
        }
        None => None,
    };
    let what = match kind {
        GROUP => What::Group(optional(value, number_and_tag)?),
        PARTITIONS => What::Partitions(value.is_some()),
        MEMBER => {
            let id = key.string()?;
            let member = optional(value, |value| read_member(&id, value).map(Box::new))?;
            What::Member(id, member)
        }
        TARGET => What::Target(optional(value, number_and_tag)?),
        TARGET_OF_MEMBER => What::TargetOf(key.string()?, optional(value, read_target)?),
        CURRENT => What::Current(key.string()?, optional(value, read_current)?),
        REGEX => What::Regex(key.string()?, optional(value, read_regex)?),
        _ => return None,
    };
    Some(Said { group, what })
}

#[expect(clippy::option_option, reason = "not understood, removed, or there")]
fn optional<T>(
    value: Option<FlexReader>,
    read: impl FnOnce(&mut FlexReader) -> Option<T>,
) -> Option<Option<T>> {
    match value {
        Some(mut value) => read(&mut value).map(Some),
        None => Some(None),
    }
}

fn number_and_tag(value: &mut FlexReader) -> Option<(i32, i64)> {
    let number = value.i32()?;
    let tagged = match value.tags(0)? {
        Some(tagged) => FlexReader::new(tagged).i64()?,
        None => 0,
    };
    Some((number, tagged))
}

fn read_member(id: &str, value: &mut FlexReader) -> Option<Member> {
    let mut member = Member {
        instance: value.nullable_string()?,
        rack: value.nullable_string()?,
        client_id: value.string()?,
        client_host: value.string()?,
        names: value.array(FlexReader::string)?.into_iter().collect(),
        regex: value.nullable_string()?.unwrap_or_default(),
        rebalance_timeout_ms: value.i32()?,
        assignor: value.nullable_string()?,
        ..Member::new(id)
    };
    if let Some(classic) = value.tags(0)? {
        let mut classic = FlexReader::new(classic);
        if classic.i8()? >= 0 {
            member.classic = Some(ClassicPart {
                session_timeout_ms: classic.i32()?,
                protocols: classic.array(|protocol| {
                    let read = (protocol.string()?, protocol.bytes()?);
                    protocol.tags(0)?;
                    Some(read)
                })?,
            });
        }
    }
    Some(member)
}

fn read_target(value: &mut FlexReader) -> Option<Target> {
    let topics = value.array(|topic| {
        let read = (topic.uuid()?, topic.array(FlexReader::i32)?);
        topic.tags(0)?;
        Some(read)
    })?;
    value.tags(0)?;
    let topics = topics.into_iter();
    Some(
        topics
            .map(|(topic, partitions)| (topic, partitions.into_iter().collect()))
            .collect(),
    )
}

fn read_current(value: &mut FlexReader) -> Option<Current> {
    let epoch = value.i32()?;
    let current = Current {
        epoch,
        previous_epoch: value.i32()?,
        state: MemberState::from_code(value.i8()?),
        assigned: read_owned(value, epoch)?,
        revoking: read_owned(value, epoch)?,
    };
    value.tags(0)?;
    Some(current)
}

/// Older releases did not say since when: the member's epoch counts.
fn read_owned(value: &mut FlexReader, epoch: i32) -> Option<Owned> {
    let topics = value.array(|topic| {
        let (id, partitions) = (topic.uuid()?, topic.array(FlexReader::i32)?);
        let epochs = match topic.tags(0)? {
            Some(epochs) => FlexReader::new(epochs).array(FlexReader::i32)?,
            None => Vec::new(),
        };
        let epochs = if epochs.len() == partitions.len() {
            epochs
        } else {
            vec![epoch.max(0); partitions.len()]
        };
        Some((id, partitions.into_iter().zip(epochs).collect()))
    })?;
    Some(topics.into_iter().collect())
}

fn read_regex(value: &mut FlexReader) -> Option<Resolved> {
    let resolved = Resolved {
        topics: value.array(FlexReader::string)?.into_iter().collect(),
        version: value.i64()?,
        at_ms: value.i64()?,
    };
    value.tags(0)?;
    Some(resolved)
}

#[cfg(test)]
mod tests {
    use storage::units::TopicId;

    use super::*;

    fn full() -> Member {
        Member {
            epoch: 7,
            previous_epoch: 6,
            state: MemberState::Unrevoked,
            instance: Some("i".into()),
            rack: Some("r".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            names: ["a".to_owned(), "b".to_owned()].into(),
            regex: "x.*".into(),
            rebalance_timeout_ms: 45_000,
            assignor: Some("range".into()),
            assigned: [(TopicId::from_u128(1), [(0, 3), (1, 7)].into())].into(),
            revoking: [(TopicId::from_u128(2), [(5, 2)].into())].into(),
            classic: Some(ClassicPart {
                session_timeout_ms: 9_000,
                protocols: vec![("range".into(), Bytes::from_static(b"sub"))],
            }),
            ..Member::new("m")
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let whole = full();
        let target = Target::from([(TopicId::from_u128(9), [0, 2].into())]);
        let resolved = Resolved {
            topics: ["t".to_owned()].into(),
            version: 5,
            at_ms: 6,
        };
        let subscribed = Member {
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: Owned::new(),
            revoking: Owned::new(),
            ..whole.clone()
        };
        let has = Current {
            epoch: whole.epoch,
            previous_epoch: whole.previous_epoch,
            state: whole.state,
            assigned: whole.assigned.clone(),
            revoking: whole.revoking.clone(),
        };
        let m = || "m".to_owned();
        let all = [
            (group("g", Some((3, -9))), What::Group(Some((3, -9)))),
            (group("g", None), What::Group(None)),
            (no_partitions("g"), What::Partitions(false)),
            (
                member("g", &whole),
                What::Member(m(), Some(Box::new(subscribed))),
            ),
            (no_member("g", "m"), What::Member(m(), None)),
            (super::target("g", Some((4, 5))), What::Target(Some((4, 5)))),
            (super::target("g", None), What::Target(None)),
            (
                target_of("g", "m", Some(&target)),
                What::TargetOf(m(), Some(target.clone())),
            ),
            (target_of("g", "m", None), What::TargetOf(m(), None)),
            (current("g", &whole), What::Current(m(), Some(has))),
            (no_current("g", "m"), What::Current(m(), None)),
            (
                regex("g", "t.*", Some(&resolved)),
                What::Regex("t.*".into(), Some(resolved.clone())),
            ),
            (regex("g", "t.*", None), What::Regex("t.*".into(), None)),
        ];
        for (record, what) in all {
            let group = "g".to_owned();
            assert_eq!(read(&record), Some(Said { group, what }));
            // What is cut off is not understood, and harms nobody.
            for len in 0..record.value.as_ref().map_or(0, Bytes::len) {
                let value = record.value.as_ref().map(|value| value.slice(..len));
                let key = record.key.clone();
                assert_eq!(read(&KeyValue { key, value }), None);
            }
        }
    }
}
