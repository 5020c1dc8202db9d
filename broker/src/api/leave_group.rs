//! LeaveGroup (key 13): versions 0 to 5. From v3 on several members may leave at once, by the ids of their instances too
//! (KIP-345).

use std::sync::Arc;

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{LeaveGroupRequest, LeaveGroupResponse, leave_group_response::MemberResponse},
};

use super::{Broker, group_id};
use crate::group::Leaving;

pub(super) async fn handle(
    broker: Arc<Broker>,
    version: i16,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    let leaving: Vec<Leaving> = if version < 3 {
        vec![Leaving {
            who: group_id::identity(&request.member_id, None),
        }]
    } else {
        let members = request.members.iter();
        members
            .map(|m| Leaving {
                who: group_id::identity(&m.member_id, m.group_instance_id.as_ref()),
            })
            .collect()
    };
    let left = match group_id::refuse_empty(&request.group_id) {
        Ok(()) => broker.groups.leave(&request.group_id, &leaving).await,
        Err(code) => Err(code),
    };
    let left = match left {
        // Each of them is told.
        Err(Kafka::UnknownMemberId) if version >= 3 => {
            Ok(vec![Err(Kafka::UnknownMemberId); leaving.len()])
        }
        left => left,
    };
    let answer = LeaveGroupResponse::default();
    match left {
        Err(code) => answer.with_error_code(code.code()),
        Ok(each) if version < 3 => answer.with_error_code(each.first().map_or(0, group_id::code)),
        Ok(each) => {
            let members = request.members.into_iter().zip(&each);
            let told = members.map(|(member, left)| {
                MemberResponse::default()
                    .with_member_id(member.member_id)
                    .with_group_instance_id(member.group_instance_id)
                    .with_error_code(group_id::code(left))
            });
            answer.with_members(told.collect())
        }
    }
}
