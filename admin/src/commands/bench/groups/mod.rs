//! `bench groups`: what a group coordinator does in a second. It speaks Kafka's protocol itself: a client library would be what is
//! measured.

mod args;
mod classic;
mod commit;
mod consumer;
mod join;
mod ready;
mod usage;

use std::process::ExitCode;

pub use args::{
    CommitArgs, GroupsCommand, JoinArgs, Protocol as JoinProtocol, ReadyArgs,
    Subject as GroupsSubject, TxnArgs,
};
pub(super) use usage::{Cost, Watch};

use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use super::{Common, broker};
use crate::{
    output::Format,
    wire::{self, Cluster, Code, Connection, CoordinatorKind},
};

pub(super) const CLIENT_ID: &str = "chronosctl-bench";

pub(super) async fn run(
    bootstrap: &str,
    format: Format,
    command: GroupsCommand,
) -> anyhow::Result<ExitCode> {
    match command {
        GroupsCommand::Join(args) => join::run(bootstrap, format, &args).await,
        GroupsCommand::Commit(args) => commit::run(bootstrap, format, &args).await,
        GroupsCommand::Ready(args) => ready::run(bootstrap, format, &args).await,
    }
}

/// Makes the topic if it is not there.
pub(super) async fn make_topic(bootstrap: &str, subject: &GroupsSubject) -> anyhow::Result<i32> {
    let common = Common {
        topic: Some(subject.topic.clone()),
        partitions: subject.partitions,
        topic_config: Vec::new(),
        set: Vec::new(),
        broker_pid: subject.broker_pid,
    };
    Ok(broker::topic(bootstrap, &common).await?.partitions)
}

/// Where a coordinator is. That of a group has read what it has when this returns.
pub(super) async fn coordinator(
    bootstrap: &str,
    kind: CoordinatorKind,
    key: &str,
) -> anyhow::Result<String> {
    let mut cluster = Cluster::connect(bootstrap).await?;
    if kind == CoordinatorKind::Group {
        let request = DescribeGroupsRequest::default().with_groups(vec![wire::group(key)]);
        let code = |answer: &DescribeGroupsResponse| {
            Code(answer.groups.first().map_or(0, |group| group.error_code))
        };
        cluster
            .ask_coordinator((kind, key), (&request, i16::MAX), code)
            .await?;
    }
    let id = cluster.coordinator(kind, key).await?;
    let address = cluster.address_of(id);
    address.ok_or_else(|| anyhow::anyhow!("broker {id} is not there"))
}

/// Connections, opened before anything is timed.
pub(super) async fn connections(address: &str, count: u32) -> anyhow::Result<Vec<Connection>> {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(Connection::open(address, CLIENT_ID).await?);
    }
    Ok(connections)
}
