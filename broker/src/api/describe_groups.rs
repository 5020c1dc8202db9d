//! DescribeGroups (key 15): versions 0 to 6. A group that is not there is Dead; from v6 on it is an error (KIP-1043).

use kafka_compat::protocol::{
    error::ResponseError as Kafka,
    messages::{
        DescribeGroupsRequest, DescribeGroupsResponse, describe_groups_response::DescribedGroup,
    },
    protocol::StrBytes,
};

use super::{Broker, authorized};

const DEAD: StrBytes = StrBytes::from_static_str("Dead");
/// The first version that has an error's message.
const WITH_MESSAGE: i16 = 6;

pub(crate) fn handle(
    broker: &Broker,
    version: i16,
    request: &DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let groups = request.groups.iter().map(|id| {
        let described = match broker.groups.describe(id) {
            Ok(Some(group)) => group,
            Ok(None) if version >= WITH_MESSAGE => DescribedGroup::default()
                .with_group_state(DEAD)
                .with_error_code(Kafka::GroupIdNotFound.code())
                .with_error_message(Some(StrBytes::from_string(format!(
                    "Group {} {}",
                    id.as_str(),
                    if broker.groups.is_of_consumers(id) {
                        "is not a classic group."
                    } else {
                        "not found."
                    }
                )))),
            Ok(None) => DescribedGroup::default().with_group_state(DEAD),
            Err(code) => DescribedGroup::default().with_error_code(code.code()),
        };
        let asked = request.include_authorized_operations && described.error_code == 0;
        described
            .with_group_id(id.clone())
            .with_authorized_operations(authorized::of_group(asked))
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}
