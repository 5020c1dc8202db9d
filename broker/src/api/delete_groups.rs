//! DeleteGroups (key 42): versions 0 to 2. Groups without members go, with all that they committed.

use std::{collections::HashSet, sync::Arc};

use kafka_compat::protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, delete_groups_response::DeletableGroupResult,
};

use super::{Broker, group_id};

pub(crate) async fn handle(
    broker: Arc<Broker>,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    let mut seen = HashSet::new();
    for id in request.groups_names {
        // Once, however often it is named.
        if !seen.insert(id.clone()) {
            continue;
        }
        let deleted = broker.groups.delete(&id).await;
        results.push(
            DeletableGroupResult::default()
                .with_error_code(group_id::code(&deleted))
                .with_group_id(id),
        );
    }
    DeleteGroupsResponse::default().with_results(results)
}
