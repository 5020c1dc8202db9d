//! `bench consume`: reads all partitions from the beginning.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail, ensure};
use rdkafka::{Offset, error::KafkaError};
use serde::Serialize;

use super::{
    ConsumeArgs, broker, client,
    clock::Clock,
    monitor::{Done, End, Monitor},
    numbers::round,
    report::{self, Cost, Rates, Subject},
};
use crate::output::Format;

/// How long nothing may come.
const PATIENCE: Duration = Duration::from_secs(30);
/// The count that people see is brought up to date after so many records.
const TELL_EVERY: u64 = 1_024;

#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(flatten)]
    subject: Subject<'a, ConsumeArgs>,
    #[serde(flatten)]
    rates: Rates,
    first_record_ms: Option<f64>,
    #[serde(flatten)]
    cost: Cost,
}

/// What came.
#[derive(Default)]
struct Read {
    records: u64,
    bytes: u64,
    first_seconds: Option<f64>,
}

pub(super) async fn run(
    bootstrap: &str,
    format: Format,
    args: ConsumeArgs,
) -> anyhow::Result<ExitCode> {
    let topic = broker::topic(bootstrap, &args.common).await?;
    let own = [("enable.partition.eof", "true")];
    let consumer = client::consumer(bootstrap, &own, &args.common.set)?;
    let in_topic: i64 = broker::ends(&consumer, &topic)?
        .iter()
        .map(|(_, end)| end)
        .sum();
    let monitor = Monitor {
        name: "consume",
        done: Done::default(),
        end: End::Records(args.records.unwrap_or(in_topic.unsigned_abs())),
        broker_pid: args.common.broker_pid,
    };
    let (read, usage) = monitor.watch(|| {
        let clock = Clock::start();
        let from = (0..topic.partitions).map(|partition| (partition, Offset::Beginning));
        client::assign(&consumer, &topic, from)?;
        let (mut read, mut ended) = (Read::default(), 0);
        while ended < topic.partitions && args.records.is_none_or(|limit| read.records < limit) {
            match consumer.poll(PATIENCE) {
                Some(Ok(message)) => {
                    read.first_seconds.get_or_insert_with(|| clock.seconds());
                    read.records += 1;
                    read.bytes += message.payload_len() as u64;
                    if read.records.is_multiple_of(TELL_EVERY) {
                        monitor.done.set(read.records);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
                Some(Err(error)) => return Err(error).context("consuming"),
                None => bail!(
                    "nothing came for {PATIENCE:?} after {} records",
                    read.records
                ),
            }
        }
        Ok(read)
    })?;
    ensure!(read.records > 0, "{} has no records", topic.name);
    let result = Outcome {
        subject: Subject::new("consume", bootstrap, &topic, &args),
        rates: Rates::new(read.records, read.bytes, &usage),
        first_record_ms: read.first_seconds.map(|seconds| round(seconds * 1e3)),
        cost: Cost::new(read.records, read.bytes, &usage),
    };
    report::print(format, &result)?;
    Ok(ExitCode::SUCCESS)
}
