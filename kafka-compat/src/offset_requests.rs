//! OffsetCommit and OffsetFetch requests of version 10, which the codec does not have: version 9 with ids for topic names
//! (KIP-848). The guard has walked them.

use bytes::{Buf, Bytes};
use kafka_protocol::{
    messages::{
        ApiKey, OffsetCommitRequest, OffsetFetchRequest,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
    protocol::StrBytes,
};
use uuid::Uuid;

use crate::request::RequestBody;

const OWN_VERSION: i16 = 10;

/// `None` where the codec has the version.
pub(crate) fn decode(
    api: ApiKey,
    version: i16,
    body: &Bytes,
) -> Option<Result<RequestBody, &'static str>> {
    if version != OWN_VERSION {
        return None;
    }
    let mut from = Fields(body.clone());
    let decoded = match api {
        ApiKey::OffsetCommit => commit(&mut from).map(RequestBody::OffsetCommit),
        ApiKey::OffsetFetch => fetch(&mut from).map(RequestBody::OffsetFetch),
        _ => return None,
    };
    Some(decoded.ok_or("the request is cut off"))
}

fn commit(from: &mut Fields) -> Option<OffsetCommitRequest> {
    let request = OffsetCommitRequest::default()
        .with_group_id(from.string()?.into())
        .with_generation_id_or_member_epoch(from.i32()?)
        .with_member_id(from.string()?)
        .with_group_instance_id(from.nullable_string()?)
        .with_topics(from.array(|from| {
            let topic = OffsetCommitRequestTopic::default()
                .with_topic_id(from.uuid()?)
                .with_partitions(from.array(|from| {
                    let partition = OffsetCommitRequestPartition::default()
                        .with_partition_index(from.i32()?)
                        .with_committed_offset(from.i64()?)
                        .with_committed_leader_epoch(from.i32()?)
                        .with_committed_metadata(from.nullable_string()?);
                    from.tags()?;
                    Some(partition)
                })??);
            from.tags()?;
            Some(topic)
        })??);
    from.tags()?;
    Some(request)
}

fn fetch(from: &mut Fields) -> Option<OffsetFetchRequest> {
    let request = OffsetFetchRequest::default()
        .with_groups(from.array(|from| {
            let group = OffsetFetchRequestGroup::default()
                .with_group_id(from.string()?.into())
                .with_member_id(from.nullable_string()?)
                .with_member_epoch(from.i32()?)
                .with_topics(from.array(|from| {
                    let topic = OffsetFetchRequestTopics::default()
                        .with_topic_id(from.uuid()?)
                        .with_partition_indexes(from.array(Fields::i32)??);
                    from.tags()?;
                    Some(topic)
                })?);
            from.tags()?;
            Some(group)
        })??)
        .with_require_stable(from.u8()? != 0);
    from.tags()?;
    Some(request)
}

/// Fields of the flexible form, one after another.
struct Fields(Bytes);

impl Fields {
    fn u8(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }

    fn i32(&mut self) -> Option<i32> {
        self.0.try_get_i32().ok()
    }

    fn i64(&mut self) -> Option<i64> {
        self.0.try_get_i64().ok()
    }

    fn uuid(&mut self) -> Option<Uuid> {
        self.0.try_get_u128().ok().map(Uuid::from_u128)
    }

    fn varint(&mut self) -> Option<usize> {
        let mut n = 0usize;
        for shift in (0..35).step_by(7) {
            let byte = self.u8()?;
            n |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(n);
            }
        }
        None
    }

    #[expect(clippy::option_option, reason = "cut off, null, or there")]
    fn nullable_string(&mut self) -> Option<Option<StrBytes>> {
        let Some(len) = self.varint()?.checked_sub(1) else {
            return Some(None);
        };
        if len > self.0.len() {
            return None;
        }
        StrBytes::try_from(self.0.split_to(len)).ok().map(Some)
    }

    fn string(&mut self) -> Option<StrBytes> {
        self.nullable_string()?
    }

    /// The inner `None` is a null array.
    #[expect(clippy::option_option, reason = "cut off, null, or there")]
    fn array<T>(&mut self, each: impl Fn(&mut Self) -> Option<T>) -> Option<Option<Vec<T>>> {
        let Some(len) = self.varint()?.checked_sub(1) else {
            return Some(None);
        };
        // Nothing is allocated for what is announced and not there.
        let mut items = Vec::new();
        for _ in 0..len {
            items.push(each(self)?);
        }
        Some(Some(items))
    }

    fn tags(&mut self) -> Option<()> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let len = self.varint()?;
            if len > self.0.len() {
                return None;
            }
            self.0.advance(len);
        }
        Some(())
    }
}
