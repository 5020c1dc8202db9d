//! Authorized operations (KIP-430): without an authorizer a client may do all that a resource has. Bits are Kafka's
//! `AclOperation` codes.

/// "Not asked for".
pub(super) const NOT_ASKED: i32 = i32::MIN;
/// Read, write, create, delete, alter, describe, describe and alter configs.
const TOPIC: i32 = 3576;
/// Create, alter, describe, cluster action, describe and alter configs, idempotent write.
const CLUSTER: i32 = 8096;

/// Read, delete, describe, describe and alter configs.
const GROUP: i32 = 3400;

/// Of a group.
pub(super) fn of_group(asked: bool) -> i32 {
    if asked { GROUP } else { NOT_ASKED }
}

/// Of a topic.
pub(super) fn of_topic(asked: bool) -> i32 {
    if asked { TOPIC } else { NOT_ASKED }
}

/// Of the cluster.
pub(super) fn of_cluster(asked: bool) -> i32 {
    if asked { CLUSTER } else { NOT_ASKED }
}
