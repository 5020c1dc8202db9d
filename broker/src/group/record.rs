//! Keys and values of `__consumer_offsets`, as Apache Kafka 4.3 writes them: `OffsetCommit*` and `GroupMetadata*` in
//! `group-coordinator/src/main/resources/common/message`.
//!
//! ```text
//! key    i16 kind: 0, 1 OffsetCommit: group, topic strings, partition i32 | 2 GroupMetadata: group string
//! value  OffsetCommit  i16 3 | offset i64 | leader epoch i32 | metadata string | commit time i64
//!        GroupMetadata i16 3 | protocol type string | generation i32 | protocol, leader nullable strings | state since i64
//!                      | count i32, each member: id string | instance nullable string | client id, host strings
//!                        | rebalance timeout, session timeout i32 | subscription, assignment bytes
//! ```
//! Older versions of the values are read too.

use bytes::Bytes;

use crate::coordinator::{KeyValue, Reader, Writer};

const OFFSET_COMMIT_0: i16 = 0;
const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;
const VALUE_VERSION: i16 = 3;
/// From here on values are of the flexible form.
const FLEXIBLE: i16 = 4;

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// A group committed an offset, or has it no more.
    Offset {
        group: String,
        topic: String,
        partition: i32,
        value: Option<OffsetValue>,
    },
    /// What a group is, or that it is none any more.
    Group {
        group: String,
        value: Option<GroupValue>,
    },
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OffsetValue {
    pub(super) offset: i64,
    pub(super) leader_epoch: i32,
    pub(super) metadata: String,
    pub(super) committed_ms: i64,
    /// Old clients said how long; -1: the broker does.
    pub(super) expires_ms: i64,
}

/// A classic group between two rebalances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct GroupValue {
    pub(super) protocol_type: String,
    pub(super) generation: i32,
    pub(super) protocol: Option<String>,
    pub(super) leader: Option<String>,
    pub(super) since_ms: i64,
    pub(super) members: Vec<MemberValue>,
}

/// A member of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MemberValue {
    pub(super) id: String,
    pub(super) instance: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    pub(super) subscription: Bytes,
    pub(super) assignment: Bytes,
}

fn offset_key(group: &str, topic: &str, partition: i32) -> Bytes {
    let key = Writer::default().i16(OFFSET_COMMIT);
    key.string(group).string(topic).i32(partition).finish()
}

/// An offset is committed; `None` takes it back.
pub(super) fn offset(
    group: &str,
    topic: &str,
    partition: i32,
    value: Option<&OffsetValue>,
) -> KeyValue {
    let value = value.map(|value| {
        // Only version 1 says when it ends.
        let version = if value.expires_ms >= 0 {
            1
        } else {
            VALUE_VERSION
        };
        let mut out = Writer::default().i16(version).i64(value.offset);
        if version == VALUE_VERSION {
            out = out.i32(value.leader_epoch);
        }
        out = out.string(&value.metadata).i64(value.committed_ms);
        if version == 1 {
            out = out.i64(value.expires_ms);
        }
        out.finish()
    });
    KeyValue {
        key: offset_key(group, topic, partition),
        value,
    }
}

/// A group is as `value` says; `None` removes it.
pub(super) fn group(group: &str, value: Option<&GroupValue>) -> KeyValue {
    let value = value.map(|value| {
        let mut out = Writer::default()
            .i16(VALUE_VERSION)
            .string(&value.protocol_type)
            .i32(value.generation)
            .nullable_string(value.protocol.as_deref())
            .nullable_string(value.leader.as_deref())
            .i64(value.since_ms)
            .i32(i32::try_from(value.members.len()).unwrap_or(i32::MAX));
        for member in &value.members {
            out = out
                .string(&member.id)
                .nullable_string(member.instance.as_deref())
                .string(&member.client_id)
                .string(&member.client_host)
                .i32(member.rebalance_timeout_ms)
                .i32(member.session_timeout_ms)
                .bytes(&member.subscription)
                .bytes(&member.assignment);
        }
        out.finish()
    });
    KeyValue {
        key: Writer::default().i16(GROUP_METADATA).string(group).finish(),
        value,
    }
}

/// `None` for what this release does not know.
pub(super) fn read(record: &KeyValue) -> Option<Said> {
    let mut key = Reader::new(record.key.clone());
    match key.i16()? {
        OFFSET_COMMIT_0 | OFFSET_COMMIT => Some(Said::Offset {
            group: key.string()?,
            topic: key.string()?,
            partition: key.i32()?,
            value: match &record.value {
                Some(value) => Some(read_offset(&mut Reader::new(value.clone()))?),
                None => None,
            },
        }),
        GROUP_METADATA => Some(Said::Group {
            group: key.string()?,
            value: match &record.value {
                Some(value) => Some(read_group(&mut Reader::new(value.clone()))?),
                None => None,
            },
        }),
        _ => None,
    }
}

fn read_offset(value: &mut Reader) -> Option<OffsetValue> {
    let version = value.i16().filter(|version| *version < FLEXIBLE)?;
    Some(OffsetValue {
        offset: value.i64()?,
        leader_epoch: if version >= 3 { value.i32()? } else { -1 },
        metadata: value.string()?,
        committed_ms: value.i64()?,
        expires_ms: if version == 1 { value.i64()? } else { -1 },
    })
}

fn read_group(value: &mut Reader) -> Option<GroupValue> {
    let version = value.i16().filter(|version| *version < FLEXIBLE)?;
    let mut group = GroupValue {
        protocol_type: value.string()?,
        generation: value.i32()?,
        protocol: value.nullable_string()?,
        leader: value.nullable_string()?,
        since_ms: if version >= 2 { value.i64()? } else { -1 },
        members: Vec::new(),
    };
    for _ in 0..value.i32()? {
        group.members.push(read_member(value, version)?);
    }
    Some(group)
}

fn read_member(value: &mut Reader, version: i16) -> Option<MemberValue> {
    let id = value.string()?;
    let instance = if version >= 3 {
        value.nullable_string()?
    } else {
        None
    };
    let (client_id, client_host) = (value.string()?, value.string()?);
    let rebalance = if version >= 1 {
        Some(value.i32()?)
    } else {
        None
    };
    let session_timeout_ms = value.i32()?;
    Some(MemberValue {
        id,
        instance,
        client_id,
        client_host,
        // The first version had one timeout for both.
        rebalance_timeout_ms: rebalance.unwrap_or(session_timeout_ms),
        session_timeout_ms,
        subscription: value.bytes()?,
        assignment: value.bytes()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset_value() -> OffsetValue {
        OffsetValue {
            offset: 42,
            leader_epoch: 7,
            metadata: "why".into(),
            committed_ms: 1_000,
            expires_ms: -1,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let member = MemberValue {
            id: "m-1".into(),
            instance: Some("i".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: 60_000,
            session_timeout_ms: 10_000,
            subscription: Bytes::from_static(b"sub"),
            assignment: Bytes::new(),
        };
        let value = GroupValue {
            protocol_type: "consumer".into(),
            generation: 3,
            protocol: Some("range".into()),
            leader: None,
            since_ms: 5,
            members: vec![member],
        };
        for value in [None, Some(value)] {
            let said = Said::Group {
                group: "g".into(),
                value: value.clone(),
            };
            assert_eq!(read(&group("g", value.as_ref())), Some(said));
        }
        let expiring = OffsetValue {
            leader_epoch: -1,
            expires_ms: 9_000,
            ..offset_value()
        };
        for value in [None, Some(offset_value()), Some(expiring)] {
            let said = Said::Offset {
                group: "g".into(),
                topic: "t".into(),
                partition: 5,
                value: value.clone(),
            };
            assert_eq!(read(&offset("g", "t", 5, value.as_ref())), Some(said));
        }
    }

    /// As a running Apache Kafka 4.3.1 wrote them, group "g", topic "t", partition 0.
    #[test]
    fn the_bytes_are_kafkas() {
        let record = offset("g", "t", 0, Some(&offset_value()));
        assert_eq!(record.key.as_ref(), b"\0\x01\0\x01g\0\x01t\0\0\0\0");
        assert_eq!(
            record.value.as_deref(),
            Some(&b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x07\0\x03why\0\0\0\0\0\0\x03\xe8"[..])
        );
        let empty = GroupValue::default();
        let record = group("g", Some(&empty));
        assert_eq!(record.key.as_ref(), b"\0\x02\0\x01g");
        assert_eq!(
            record.value.as_deref(),
            Some(&b"\0\x03\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\0\0\0"[..])
        );
    }

    #[test]
    fn cut_and_unknown_records_say_nothing() {
        let record = offset("g", "t", 0, Some(&offset_value()));
        let value = record.value.unwrap();
        for len in 0..value.len() {
            let cut = KeyValue {
                key: record.key.clone(),
                value: Some(value.slice(..len)),
            };
            assert_eq!(read(&cut), None, "{len}");
        }
        for len in 0..record.key.len() {
            let cut = KeyValue {
                key: record.key.slice(..len),
                value: None,
            };
            assert_eq!(read(&cut), None, "{len}");
        }
        let later = KeyValue {
            key: Bytes::from_static(b"\0\x03"),
            value: None,
        };
        assert_eq!(read(&later), None);
    }
}
