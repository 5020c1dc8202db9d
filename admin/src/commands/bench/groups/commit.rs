//! `bench groups commit`: offsets of groups that nobody is in, several commits on their way at once.

use std::{
    collections::VecDeque,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use kafka_protocol::messages::{
    OffsetCommitRequest,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
};
use serde::Serialize;
use tokio::{task::JoinSet, time::sleep};

use super::{CommitArgs, Cost, Watch, join::AGAIN_AFTER};
use crate::{
    commands::bench::{
        clock::Clock,
        numbers::{Latencies, Quantiles},
        report,
    },
    output::Format,
    wire::{self, Code, Connection, CoordinatorKind},
};

/// Topics go by name up to here.
const VERSION_MAX: i16 = 8;

#[derive(Serialize)]
struct Outcome<'a> {
    bench: &'static str,
    #[serde(flatten)]
    args: &'a CommitArgs,
    #[serde(flatten)]
    cost: Cost,
    #[serde(flatten)]
    quantiles: Quantiles,
}

/// What the connections share.
#[derive(Debug)]
struct Work {
    next: AtomicU64,
    commits: u64,
    groups: u64,
    topic: String,
    offsets: i32,
    in_flight: usize,
    clock: Clock,
}

pub(super) async fn run(
    bootstrap: &str,
    format: Format,
    args: &CommitArgs,
) -> anyhow::Result<ExitCode> {
    let partitions = super::make_topic(bootstrap, &args.subject).await?;
    anyhow::ensure!(
        args.offsets <= partitions,
        "--offsets is above the topic's {partitions} partitions"
    );
    let address = super::coordinator(bootstrap, CoordinatorKind::Group, &name(0)).await?;
    let connections = super::connections(&address, args.connections).await?;
    let work = Arc::new(Work {
        next: AtomicU64::new(0),
        commits: args.commits,
        groups: args.groups,
        topic: args.subject.topic.clone(),
        offsets: args.offsets,
        in_flight: usize::try_from(args.in_flight)?,
        clock: Clock::start(),
    });
    let watch = Watch::start(args.subject.broker_pid)?;
    let mut tasks = JoinSet::new();
    for connection in connections {
        tasks.spawn(commit(connection, Arc::clone(&work)));
    }
    let mut latencies = Latencies::new()?;
    while let Some(done) = tasks.join_next().await {
        latencies.merge(&done??)?;
    }
    let outcome = Outcome {
        bench: "groups commit",
        args,
        cost: watch.end(args.commits)?,
        quantiles: latencies.quantiles(),
    };
    report::print(format, &outcome)?;
    Ok(ExitCode::SUCCESS)
}

/// A group's name; `bench groups ready` asks for the same.
pub(super) fn name(number: u64) -> String {
    format!("bench-group-{number}")
}

async fn commit(mut connection: Connection, work: Arc<Work>) -> anyhow::Result<Latencies> {
    let version = connection.version::<OffsetCommitRequest>(VERSION_MAX)?;
    let mut latencies = Latencies::new()?;
    let mut sent = VecDeque::new();
    loop {
        while sent.len() < work.in_flight {
            let number = work.next.fetch_add(1, Ordering::Relaxed);
            if number >= work.commits {
                break;
            }
            sent.push_back((number, work.clock.nanos()));
            connection.send(&request(&work, number), version).await?;
        }
        let Some((number, began)) = sent.pop_front() else {
            return Ok(latencies);
        };
        let answer = connection.receive::<OffsetCommitRequest>(version).await?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let mut codes = partitions.map(|partition| Code(partition.error_code));
        match codes.find(|code| !code.is_ok()) {
            None => latencies.record_nanos(work.clock.nanos().saturating_sub(began)),
            // The first commit to a partition of the coordinator's topic may be early.
            Some(code) if code.is_coordinator_on_its_way() => {
                sleep(AGAIN_AFTER).await;
                sent.push_back((number, began));
                connection.send(&request(&work, number), version).await?;
            }
            Some(code) => code.ok()?,
        }
    }
}

fn request(work: &Work, number: u64) -> OffsetCommitRequest {
    let offset = i64::try_from(number).unwrap_or(i64::MAX);
    let partitions = (0..work.offsets).map(|partition| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(partition)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(-1)
            .with_committed_metadata(Some(wire::text("")))
    });
    let topic = OffsetCommitRequestTopic::default()
        .with_name(wire::topic(&work.topic))
        .with_partitions(partitions.collect());
    OffsetCommitRequest::default()
        .with_group_id(wire::group(&name(number % work.groups)))
        .with_generation_id_or_member_epoch(-1)
        .with_retention_time_ms(-1)
        .with_topics(vec![topic])
}
