//! `bench groups ready`: asks again and again, also where nobody listens yet.

use std::{process::ExitCode, time::Duration};

use kafka_protocol::messages::OffsetFetchRequest;
use serde::Serialize;
use tokio::time::sleep;

use super::{CLIENT_ID, ReadyArgs, commit, join::AGAIN_AFTER};
use crate::{
    commands::bench::{clock::Clock, numbers::round, report},
    output::Format,
    wire::{self, Code, Connection},
};

/// Groups are named one a request up to here.
const VERSION_MAX: i16 = 7;

#[derive(Serialize)]
struct Outcome<'a> {
    bench: &'static str,
    #[serde(flatten)]
    args: &'a ReadyArgs,
    /// Since this command began.
    ready_ms: f64,
    offsets: usize,
}

pub(super) async fn run(
    bootstrap: &str,
    format: Format,
    args: &ReadyArgs,
) -> anyhow::Result<ExitCode> {
    let clock = Clock::start();
    let patience = Duration::from_secs(args.patience_seconds);
    let sample = args.sample.min(args.groups);
    // Evenly among all.
    let mut left = (0..sample).map(|i| i * args.groups / sample).peekable();
    let (mut connection, mut offsets) = (None, 0);
    while let Some(number) = left.peek().copied() {
        match fetch(bootstrap, &mut connection, number).await {
            Ok(found) => {
                offsets += found;
                left.next();
            }
            Err(why) => {
                anyhow::ensure!(
                    clock.elapsed() < patience,
                    "not ready after {patience:?}: {why:#}"
                );
                sleep(AGAIN_AFTER).await;
            }
        }
    }
    let outcome = Outcome {
        bench: "groups ready",
        args,
        ready_ms: round(clock.seconds() * 1e3),
        offsets,
    };
    report::print(format, &outcome)?;
    Ok(ExitCode::SUCCESS)
}

/// How many offsets a group has. A connection that failed is opened anew.
async fn fetch(
    bootstrap: &str,
    connection: &mut Option<Connection>,
    number: u64,
) -> anyhow::Result<usize> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(bootstrap, CLIENT_ID).await?,
    };
    let request = OffsetFetchRequest::default()
        .with_group_id(wire::group(&commit::name(number)))
        .with_topics(None);
    let answer = open.ask_up_to(&request, VERSION_MAX).await?;
    *connection = Some(open);
    Code(answer.error_code).ok()?;
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let found = partitions.filter(|p| p.committed_offset >= 0).count();
    anyhow::ensure!(found > 0, "{} has no offsets", commit::name(number));
    Ok(found)
}
