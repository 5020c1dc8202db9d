//! SyncGroup (key 14): versions 0 to 5. Answered when the leader has brought the assignments, and they are committed.

use std::sync::Arc;

use bytes::Bytes;
use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{SyncGroupRequest, SyncGroupResponse},
};

use super::{Broker, group_id};
use crate::group::SyncAsked;

pub(super) async fn handle(
    broker: Arc<Broker>,
    version: i16,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    let refused = |code: Kafka| SyncGroupResponse::default().with_error_code(code.code());
    // From v5 on a member says what it takes the group for (KIP-559).
    if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return refused(Kafka::InconsistentGroupProtocol);
    }
    if let Err(code) = group_id::refuse_empty(&request.group_id) {
        return refused(code);
    }
    let assignments = request.assignments.iter();
    let asked = SyncAsked {
        group: request.group_id.to_string(),
        who: group_id::identity(&request.member_id, request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: request.protocol_type.as_ref().map(ToString::to_string),
        protocol: request.protocol_name.as_ref().map(ToString::to_string),
        assignments: assignments
            .map(|a| {
                (
                    a.member_id.to_string(),
                    Bytes::copy_from_slice(&a.assignment),
                )
            })
            .collect(),
    };
    broker.groups.sync(asked).await
}
