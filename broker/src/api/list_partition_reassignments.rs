//! ListPartitionReassignments (key 46): version 0 (KIP-455). There is one broker, so nothing moves.

use kafka_compat::protocol::messages::ListPartitionReassignmentsResponse;

pub(super) fn handle() -> ListPartitionReassignmentsResponse {
    ListPartitionReassignmentsResponse::default().with_error_message(None)
}
