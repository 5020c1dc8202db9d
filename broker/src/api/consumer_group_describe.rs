//! ConsumerGroupDescribe (key 69): versions 0 and 1 (KIP-848). v1 tells which protocol a member speaks (KIP-1099).

use kafka_compat::protocol::{
    messages::{
        ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId,
        consumer_group_describe_response::DescribedGroup,
    },
    protocol::StrBytes,
};

use super::{Broker, authorized, group_id};
use crate::group::Refused;

pub(crate) fn handle(
    broker: &Broker,
    request: &ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let groups = request.group_ids.iter().map(|id| {
        let described = group_id::refuse_empty(id)
            .map_err(Refused::from)
            .and_then(|()| broker.groups.consumer_describe(id));
        match described {
            Ok(group) => group.with_authorized_operations(authorized::of_group(
                request.include_authorized_operations,
            )),
            Err(refused) => told(id, refused),
        }
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

fn told(id: &GroupId, refused: Refused) -> DescribedGroup {
    DescribedGroup::default()
        .with_group_id(id.clone())
        .with_error_code(refused.code.code())
        .with_error_message(refused.why.map(StrBytes::from_string))
}
