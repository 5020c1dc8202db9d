//! Kafka's protocol as it is, for what librdkafka does not offer: groups and transactions as who runs a cluster sees them, and
//! loads that a client library would be the bottleneck of.
//!
//! A broker's answers are decoded by the codec of `kafka-protocol`, which believes the lengths that they announce: the broker is
//! the one that was named on the command line. What *members of a group* wrote is not believed ([`crate::commands`] walks it).

mod cluster;
mod code;
mod connection;

pub use cluster::{Cluster, CoordinatorKind, EARLIEST, LATEST, Place};
pub use code::Code;
pub use connection::Connection;

use kafka_protocol::{
    messages::{GroupId, TopicName, TransactionalId},
    protocol::StrBytes,
};

/// A string as the codec has it.
pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A topic's name as the codec has it.
pub fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A group's name as the codec has it.
pub fn group(id: &str) -> GroupId {
    GroupId(text(id))
}

/// A transactional id as the codec has it.
pub fn transactional(id: &str) -> TransactionalId {
    TransactionalId(text(id))
}
