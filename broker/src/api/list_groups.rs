//! ListGroups (key 16): versions 0 to 5. v4 filters by state (KIP-518), v5 by type (KIP-848).

use kafka_compat::protocol::{
    messages::{ListGroupsRequest, ListGroupsResponse, list_groups_response::ListedGroup},
    protocol::StrBytes,
};

use super::Broker;

pub(super) fn handle(broker: &Broker, request: &ListGroupsRequest) -> ListGroupsResponse {
    let fits = |filter: &[StrBytes], value: &str, trim: fn(&str) -> &str| {
        let mut filter = filter.iter();
        filter.len() == 0 || filter.any(|wanted| trim(wanted).eq_ignore_ascii_case(value))
    };
    let groups = match broker.groups.list() {
        Ok(groups) => groups,
        Err(code) => return ListGroupsResponse::default().with_error_code(code.code()),
    };
    let listed = groups
        .into_iter()
        .filter(|group| {
            // Kafka trims the one, and not the other.
            fits(&request.states_filter, group.state, str::trim)
                && fits(&request.types_filter, group.kind, |wanted| wanted)
        })
        .map(|group| {
            ListedGroup::default()
                .with_group_id(StrBytes::from_string(group.group).into())
                .with_protocol_type(StrBytes::from_string(group.protocol_type))
                .with_group_state(StrBytes::from_static_str(group.state))
                .with_group_type(StrBytes::from_static_str(group.kind))
        });
    ListGroupsResponse::default().with_groups(listed.collect())
}
