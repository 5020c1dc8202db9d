//! OffsetCommit and OffsetFetch requests of version 10, which the codec does not have: version 9 with ids for topic names
//! (KIP-848). The guard has walked them.

use bytes::Bytes;
use kafka_protocol::messages::{
    ApiKey, OffsetCommitRequest, OffsetFetchRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};

use crate::{flexible::Fields, request::RequestBody};

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
    let mut from = Fields::new(body.clone());
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
