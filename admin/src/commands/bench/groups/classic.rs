//! A member of a classic group, as clients behave: it asks for an id, joins, syncs, and joins again when a heartbeat says so.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::{
    error::ResponseError as Kafka,
    messages::{
        HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
        join_group_request::JoinGroupRequestProtocol, leave_group_request::MemberIdentity,
        sync_group_request::SyncGroupRequestAssignment,
    },
    protocol::StrBytes,
};
use tokio::time::sleep;

use super::join::{Group, Told};
use crate::wire::{self, Code, Connection};

const SESSION_MS: i32 = 30_000;
const REBALANCE_MS: i32 = 60_000;
const PROTOCOL: &str = "range";

/// Joins until the group is stable, then leaves.
pub(super) async fn member(
    mut connection: Connection,
    group: Group,
    number: u32,
) -> anyhow::Result<()> {
    let mut id = StrBytes::default();
    let stable = group.board.stable();
    while !*stable.borrow() {
        let joined = join(&mut connection, &group, &mut id).await?;
        let Some(joined) = joined else {
            continue;
        };
        let generation = joined.generation_id;
        let Some(assigned) = sync(&mut connection, &group, &joined).await? else {
            continue;
        };
        let told = Told {
            generation: Some(generation),
            assigned,
        };
        group.board.tell(number, Some(told));
        stay(&mut connection, &group, &id, generation).await?;
    }
    let member = MemberIdentity::default().with_member_id(id);
    let request = LeaveGroupRequest::default()
        .with_group_id(wire::group(&group.id))
        .with_members(vec![member]);
    connection.ask(&request).await?;
    Ok(())
}

/// `None` where it has to be tried again.
async fn join(
    connection: &mut Connection,
    group: &Group,
    id: &mut StrBytes,
) -> anyhow::Result<Option<JoinGroupResponse>> {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(wire::text(PROTOCOL))
        .with_metadata(subscription(&group.topic));
    let request = JoinGroupRequest::default()
        .with_group_id(wire::group(&group.id))
        .with_session_timeout_ms(SESSION_MS)
        .with_rebalance_timeout_ms(REBALANCE_MS)
        .with_member_id(id.clone())
        .with_protocol_type(wire::text("consumer"))
        .with_protocols(vec![protocol]);
    let answer = connection.ask(&request).await?;
    match Code(answer.error_code).error() {
        None => Ok(Some(answer)),
        Some(Kafka::MemberIdRequired) => {
            *id = answer.member_id;
            Ok(None)
        }
        Some(Kafka::RebalanceInProgress) => Ok(None),
        Some(_) => Err(failed("joining", answer.error_code)),
    }
}

/// What it is assigned; `None` where others came meanwhile.
async fn sync(
    connection: &mut Connection,
    group: &Group,
    joined: &JoinGroupResponse,
) -> anyhow::Result<Option<Vec<i32>>> {
    let assignments = if joined.leader == joined.member_id {
        assign(group, joined)
    } else {
        Vec::new()
    };
    let request = SyncGroupRequest::default()
        .with_group_id(wire::group(&group.id))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_protocol_type(Some(wire::text("consumer")))
        .with_protocol_name(Some(wire::text(PROTOCOL)))
        .with_assignments(assignments);
    let answer = connection.ask(&request).await?;
    match Code(answer.error_code).error() {
        None => Ok(Some(numbers(&answer.assignment))),
        Some(Kafka::RebalanceInProgress | Kafka::IllegalGeneration) => Ok(None),
        Some(_) => Err(failed("syncing", answer.error_code)),
    }
}

/// Partitions in turns.
fn assign(group: &Group, joined: &JoinGroupResponse) -> Vec<SyncGroupRequestAssignment> {
    let mut of_members: BTreeMap<usize, Vec<i32>> = BTreeMap::new();
    let partitions = i32::try_from(group.board.partitions()).unwrap_or(i32::MAX);
    for (partition, member) in (0..partitions).zip((0..joined.members.len()).cycle()) {
        of_members.entry(member).or_default().push(partition);
    }
    let members = joined.members.iter().enumerate().map(|(index, member)| {
        let partitions = of_members.remove(&index).unwrap_or_default();
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(assignment(&group.topic, &partitions))
    });
    members.collect()
}

/// Until it has to join again, or all are where they shall be.
async fn stay(
    connection: &mut Connection,
    group: &Group,
    id: &StrBytes,
    generation: i32,
) -> anyhow::Result<()> {
    let mut stable = group.board.stable();
    let request = HeartbeatRequest::default()
        .with_group_id(wire::group(&group.id))
        .with_generation_id(generation)
        .with_member_id(id.clone());
    loop {
        tokio::select! {
            biased;
            _ = stable.wait_for(|stable| *stable) => return Ok(()),
            () = sleep(group.heartbeat) => {}
        }
        let answer = connection.ask(&request).await?;
        match Code(answer.error_code).error() {
            None => {}
            Some(Kafka::RebalanceInProgress | Kafka::IllegalGeneration) => return Ok(()),
            Some(_) => return Err(failed("a heartbeat", answer.error_code)),
        }
    }
}

fn failed(what: &str, code: i16) -> anyhow::Error {
    anyhow::anyhow!("{what}: {}", Code(code))
}

/// `ConsumerProtocolSubscription`, version 0.
fn subscription(topic: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    put_name(&mut bytes, topic);
    bytes.put_i32(-1);
    bytes.freeze()
}

/// `ConsumerProtocolAssignment`, version 0.
fn assignment(topic: &str, partitions: &[i32]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    put_name(&mut bytes, topic);
    bytes.put_i32(i32::try_from(partitions.len()).unwrap_or(0));
    for partition in partitions {
        bytes.put_i32(*partition);
    }
    bytes.put_i32(-1);
    bytes.freeze()
}

fn put_name(bytes: &mut BytesMut, topic: &str) {
    bytes.put_i16(i16::try_from(topic.len()).unwrap_or(i16::MAX));
    bytes.put_slice(topic.as_bytes());
}

fn numbers(assignment: &[u8]) -> Vec<i32> {
    let places = crate::commands::group::assigned(assignment).unwrap_or_default();
    places.into_iter().map(|place| place.partition).collect()
}
