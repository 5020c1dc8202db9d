//! What the group APIs share.

use kafka_compat::{
    protocol::{error::ResponseError as Kafka, protocol::StrBytes},
    request::Request,
};

use crate::group::Identity;

/// Kafka refuses the empty name where a group has members. Source: Apache Kafka, `GroupCoordinatorService.isGroupIdNotEmpty`.
pub(super) fn refuse_empty(group: &str) -> Result<(), Kafka> {
    if group.is_empty() {
        Err(Kafka::InvalidGroupId)
    } else {
        Ok(())
    }
}

/// Who asks.
pub(super) fn identity(member: &str, instance: Option<&StrBytes>) -> Identity {
    Identity {
        member: member.to_owned(),
        instance: instance.map(ToString::to_string),
    }
}

/// The client's own name, and its address as Kafka writes it.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) host: String,
}

impl Client {
    pub(super) fn of(request: &Request) -> Self {
        Self {
            id: request.header.client_id.clone().unwrap_or_default(),
            host: format!("/{}", request.peer.ip()),
        }
    }
}

/// Kafka's code, 0 for success.
pub(super) fn code<T>(result: &Result<T, Kafka>) -> i16 {
    result.as_ref().err().map_or(0, Kafka::code)
}
