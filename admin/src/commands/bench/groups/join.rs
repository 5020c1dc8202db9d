//! `bench groups join`: all members at once, until the group is stable.

use std::{
    collections::HashMap,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use serde::Serialize;
use tokio::{sync::watch, task::JoinSet, time::timeout};

use super::{Cost, JoinArgs, JoinProtocol, Watch, classic, consumer};
use crate::{
    commands::bench::{
        clock::Clock,
        numbers::{Latencies, Quantiles, round},
        report,
    },
    output::Format,
    time,
    wire::CoordinatorKind,
};

/// Between two looks at a coordinator that is on its way.
pub(super) const AGAIN_AFTER: Duration = Duration::from_millis(5);
/// A group that is not stable by then never is.
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(Serialize)]
struct Outcome<'a> {
    bench: &'static str,
    #[serde(flatten)]
    args: &'a JoinArgs,
    #[serde(flatten)]
    cost: Cost,
    /// Until stable, of each round.
    stable_ms: Vec<f64>,
    #[serde(flatten)]
    quantiles: Quantiles,
}

/// What a member is part of.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) id: String,
    pub(super) topic: String,
    pub(super) heartbeat: Duration,
    pub(super) board: Arc<Board>,
}

/// Where members write what they were assigned.
#[derive(Debug)]
pub(super) struct Board {
    members: usize,
    partitions: usize,
    told: Mutex<HashMap<u32, Told>>,
    stable: watch::Sender<bool>,
}

/// What a member knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// The generation; of the consumer protocol nothing.
    pub(super) generation: Option<i32>,
    pub(super) assigned: Vec<i32>,
}

impl Board {
    fn new(members: usize, partitions: usize) -> Arc<Self> {
        Arc::new(Self {
            members,
            partitions,
            told: Mutex::default(),
            stable: watch::Sender::new(false),
        })
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions
    }

    /// A member has another assignment, or none any more.
    pub(super) fn tell(&self, member: u32, told: Option<Told>) {
        let Ok(mut board) = self.told.lock() else {
            return;
        };
        match told {
            Some(told) => board.insert(member, told),
            None => board.remove(&member),
        };
        if is_stable(&board, self.members, self.partitions) {
            self.stable.send_replace(true);
        }
    }

    /// Whether all have what they shall have.
    pub(super) fn stable(&self) -> watch::Receiver<bool> {
        self.stable.subscribe()
    }
}

/// All members are of one generation, and each partition is assigned to one of them.
fn is_stable(board: &HashMap<u32, Told>, members: usize, partitions: usize) -> bool {
    if board.len() < members {
        return false;
    }
    let first = board.values().next().and_then(|told| told.generation);
    if board.values().any(|told| told.generation != first) {
        return false;
    }
    let mut assigned: Vec<i32> = board.values().flat_map(|t| t.assigned.clone()).collect();
    let count = assigned.len();
    assigned.sort_unstable();
    assigned.dedup();
    count == partitions && assigned.len() == partitions
}

pub(super) async fn run(
    bootstrap: &str,
    format: Format,
    args: &JoinArgs,
) -> anyhow::Result<ExitCode> {
    let partitions = super::make_topic(bootstrap, &args.subject).await?;
    let (mut stable_ms, mut latencies) = (Vec::new(), Latencies::new()?);
    let watch = Watch::start(args.subject.broker_pid)?;
    for round_number in 0..args.rounds {
        let id = format!("bench-join-{}-{round_number}", time::now_ms());
        let took = once(bootstrap, args, usize::try_from(partitions)?, &id).await?;
        latencies.record_us(u64::try_from(took.as_micros())?);
        stable_ms.push(round(took.as_secs_f64() * 1e3));
    }
    let joins = u64::from(args.rounds) * u64::from(args.members);
    let outcome = Outcome {
        bench: "groups join",
        args,
        cost: watch.end(joins)?,
        stable_ms,
        quantiles: latencies.quantiles(),
    };
    report::print(format, &outcome)?;
    Ok(ExitCode::SUCCESS)
}

/// One group, from its first request to stable.
async fn once(
    bootstrap: &str,
    args: &JoinArgs,
    partitions: usize,
    id: &str,
) -> anyhow::Result<Duration> {
    let address = super::coordinator(bootstrap, CoordinatorKind::Group, id).await?;
    let connections = super::connections(&address, args.members).await?;
    let group = Group {
        id: id.to_owned(),
        topic: args.subject.topic.clone(),
        heartbeat: Duration::from_millis(args.heartbeat_ms),
        board: Board::new(usize::try_from(args.members)?, partitions),
    };
    let mut stable = group.board.stable();
    let clock = Clock::start();
    let mut members = JoinSet::new();
    for (number, connection) in (0..).zip(connections) {
        let group = group.clone();
        match args.protocol {
            JoinProtocol::Classic => members.spawn(classic::member(connection, group, number)),
            JoinProtocol::Consumer => {
                let topic_id = consumer::topic_id(bootstrap, &group.topic).await?;
                members.spawn(consumer::member(connection, group, (number, topic_id)))
            }
        };
    }
    let done = async {
        loop {
            tokio::select! {
                told = stable.wait_for(|stable| *stable) => {
                    told?;
                    return anyhow::Ok(clock.elapsed());
                }
                // A member ends before the others are stable where it failed.
                Some(ended) = members.join_next() => ended??,
            }
        }
    };
    let took = timeout(PATIENCE, done)
        .await
        .ok()
        .with_context(|| format!("group {id} is not stable after {PATIENCE:?}"))??;
    // They leave.
    while let Some(ended) = members.join_next().await {
        ended??;
    }
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_stable_when_each_partition_has_one_reader_of_one_generation() {
        let told = |generation, assigned: &[i32]| Told {
            generation: Some(generation),
            assigned: assigned.to_vec(),
        };
        let board = |a: Told, b: Told| HashMap::from([(0, a), (1, b)]);
        let stable = |board: &HashMap<u32, Told>| is_stable(board, 2, 3);
        assert!(stable(&board(told(2, &[0, 2]), told(2, &[1]))));
        assert!(!stable(&board(told(1, &[0, 2]), told(2, &[1]))));
        assert!(!stable(&board(told(2, &[0, 1]), told(2, &[1]))));
        assert!(!stable(&board(told(2, &[0]), told(2, &[1]))));
        assert!(!is_stable(&HashMap::from([(0, told(1, &[0, 1, 2]))]), 2, 3));
    }
}
