//! Heartbeat (key 12): versions 0 to 4. A member is alive, and learns whether it has to join again.

use std::sync::Arc;

use kafka_compat::protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::{Broker, group_id};

pub(super) async fn handle(broker: Arc<Broker>, request: HeartbeatRequest) -> HeartbeatResponse {
    let who = group_id::identity(&request.member_id, request.group_instance_id.as_ref());
    let heard = match group_id::refuse_empty(&request.group_id) {
        Ok(()) => {
            let heard = broker
                .groups
                .heartbeat(&request.group_id, &who, request.generation_id);
            heard.await
        }
        Err(code) => Err(code),
    };
    HeartbeatResponse::default().with_error_code(group_id::code(&heard))
}
