//! `bench replay`: streams a range over gRPC, once or many times at once.

use std::{process::ExitCode, thread};

use anyhow::{Context, ensure};
use proto::admin::v1::{self as pb, replay_service_client::ReplayServiceClient};
use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    ReplayArgs, broker,
    clock::Clock,
    monitor::{Done, End, Monitor},
    numbers::round,
    report::{self, Cost, Rates, Subject},
};
use crate::{
    grpc,
    output::Format,
    time::{self, moment},
};

#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    subject: Subject<'a, ReplayArgs>,
    #[serde(flatten)]
    rates: Rates,
    /// From the call to the first record, of the first stream to have one.
    first_record_ms: Option<f64>,
    last_first_record_ms: Option<f64>,
    #[serde(flatten)]
    cost: Cost,
}

#[derive(Default)]
struct Read {
    records: u64,
    bytes: u64,
    first_seconds: Option<f64>,
}

pub(super) async fn run(
    bootstrap: &str,
    admin: &str,
    format: Format,
    args: ReplayArgs,
) -> anyhow::Result<ExitCode> {
    let topic = broker::topic(bootstrap, &args.common).await?;
    let at = |text: &Option<String>| {
        let at = text.as_ref().map(|text| moment(text).map(time::timestamp));
        at.transpose()
    };
    let order = if args.merged {
        pb::ReplayOrder::MergedByTime
    } else {
        pb::ReplayOrder::Partition
    };
    let request = pb::StreamReplayRequest {
        topic: topic.name.clone(),
        range: Some(pb::ReplayRange {
            start_time: at(&args.from)?,
            end_time: at(&args.to)?,
            ..pb::ReplayRange::default()
        }),
        order: order.into(),
        limit: args.records.map(i64::try_from).transpose()?.unwrap_or(0),
        ..pb::StreamReplayRequest::default()
    };
    let monitor = Monitor {
        name: "replay",
        done: Done::default(),
        end: End::Unknown,
        broker_pid: args.common.broker_pid,
    };
    let (streams, admin) = (args.streams, admin.to_owned());
    let all = || {
        let runtime = tokio::runtime::Runtime::new()?;
        runtime.block_on(async {
            let mut running = JoinSet::new();
            for _ in 0..streams {
                let (request, admin) = (request.clone(), admin.clone());
                running.spawn(stream(admin, request, monitor.done.clone()));
            }
            let mut reads = Vec::new();
            while let Some(read) = running.join_next().await {
                reads.push(read.context("a stream failed")??);
            }
            anyhow::Ok(reads)
        })
    };
    // In a runtime of its own, which takes all cores: that of the command line has one thread, which watches here.
    let (reads, usage) = monitor.watch(|| {
        let done = thread::scope(|scope| scope.spawn(all).join());
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    let records: u64 = reads.iter().map(|read| read.records).sum();
    let bytes: u64 = reads.iter().map(|read| read.bytes).sum();
    ensure!(records > 0, "{} has no records in that range", topic.name);
    let firsts = || reads.iter().filter_map(|read| read.first_seconds);
    let result = Outcome {
        subject: Subject::new("replay", bootstrap, &topic, &args),
        rates: Rates::new(records, bytes, &usage),
        first_record_ms: firsts().reduce(f64::min).map(|s| round(s * 1e3)),
        last_first_record_ms: firsts().reduce(f64::max).map(|s| round(s * 1e3)),
        cost: Cost::new(records, bytes, &usage),
    };
    report::print(format, &result)?;
    Ok(ExitCode::SUCCESS)
}

async fn stream(
    admin: String,
    request: pb::StreamReplayRequest,
    done: Done,
) -> anyhow::Result<Read> {
    let channel = grpc::connect(&admin, None).await?;
    let mut client = ReplayServiceClient::new(channel).max_decoding_message_size(usize::MAX);
    let clock = Clock::start();
    let mut answers = client.stream_replay(request).await?.into_inner();
    let mut read = Read::default();
    while let Some(answer) = answers.message().await? {
        if !answer.records.is_empty() {
            read.first_seconds.get_or_insert_with(|| clock.seconds());
        }
        read.records += answer.records.len() as u64;
        let values = answer
            .records
            .iter()
            .filter_map(|record| record.value.as_ref());
        read.bytes += values.map(|value| value.len() as u64).sum::<u64>();
        done.set(read.records);
    }
    Ok(read)
}
