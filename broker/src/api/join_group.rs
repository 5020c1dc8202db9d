//! JoinGroup (key 11): versions 0 to 9. Answered when all members have joined, or time is over.
//!
//! v1 brought the rebalance timeout; from v4 on a new member is first given an id (KIP-394); v5 static members (KIP-345);
//! v9 lets a static leader skip its assignment (KIP-814).

use std::sync::Arc;

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{JoinGroupRequest, JoinGroupResponse},
    protocol::StrBytes,
};

use super::{
    Broker,
    group_id::{self, Client},
};
use crate::group::JoinAsked;

pub(super) async fn handle(
    broker: Arc<Broker>,
    version: i16,
    client: Client,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    if group_id::refuse_empty(&request.group_id).is_err() {
        let refused = JoinGroupResponse::default()
            .with_error_code(Kafka::InvalidGroupId.code())
            .with_generation_id(-1)
            .with_protocol_name(None)
            .with_member_id(request.member_id);
        return in_version(version, refused);
    }
    let asked = JoinAsked {
        group: request.group_id.to_string(),
        who: group_id::identity(&request.member_id, request.group_instance_id.as_ref()),
        client_id: client.id,
        client_host: client.host,
        session_timeout_ms: request.session_timeout_ms,
        // The first version had one timeout for both.
        rebalance_timeout_ms: if version >= 1 {
            request.rebalance_timeout_ms
        } else {
            request.session_timeout_ms
        },
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .iter()
            // Copied: the frame that they came in is not kept.
            .map(|p| (p.name.to_string(), bytes::Bytes::copy_from_slice(&p.metadata)))
            .collect(),
        needs_id: version >= 4,
        can_skip: version >= 9,
    };
    in_version(version, broker.groups.join(asked).await)
}

/// Before v7 the protocol's name was never null.
fn in_version(version: i16, answer: JoinGroupResponse) -> JoinGroupResponse {
    if version >= 7 {
        return answer;
    }
    let name = answer.protocol_name.clone().unwrap_or_default();
    answer
        .with_protocol_name(Some(name))
        .with_protocol_type(None::<StrBytes>)
}
