//! `chronosctl produce`: records now, or for later.

use std::{
    io::{BufRead, stdin},
    process::ExitCode,
};

use anyhow::Context;
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord},
};
use serde::Serialize;

use crate::{
    cli::ProduceArgs,
    kafka::{self, PATIENCE},
    output::{self, Format},
};

#[derive(Serialize)]
struct Produced {
    topic: String,
    partition: i32,
    /// The record's offset; for a held one, its schedule id.
    offset: i64,
    held: bool,
}

pub(super) async fn run(
    bootstrap: &str,
    format: Format,
    args: ProduceArgs,
) -> anyhow::Result<ExitCode> {
    let producer = kafka::producer(bootstrap)?;
    if let Some(value) = &args.value {
        send(&producer, format, &args, value.as_bytes()).await?;
        return Ok(ExitCode::SUCCESS);
    }
    for line in stdin().lock().lines() {
        send(&producer, format, &args, line?.as_bytes()).await?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn send(
    producer: &FutureProducer,
    format: Format,
    args: &ProduceArgs,
    value: &[u8],
) -> anyhow::Result<()> {
    let mut record = FutureRecord::<str, [u8]>::to(&args.topic)
        .payload(value)
        .headers(headers(args));
    if let Some(key) = &args.key {
        record = record.key(key);
    }
    if let Some(partition) = args.partition {
        record = record.partition(partition);
    }
    let delivery = producer
        .send(record, PATIENCE)
        .await
        .map_err(|(error, _)| error)
        .with_context(|| format!("producing to {}", args.topic))?;
    let held = args.deliver_at.is_some() || args.deliver_after.is_some();
    let produced = Produced {
        topic: args.topic.clone(),
        partition: delivery.partition,
        offset: delivery.offset,
        held,
    };
    let what = if held { "held, schedule id" } else { "offset" };
    let text = format!(
        "{}[{}] {what} {}",
        produced.topic, produced.partition, produced.offset
    );
    output::row(format, &produced, &text)
}

fn headers(args: &ProduceArgs) -> OwnedHeaders {
    let own = [
        ("chronos-deliver-at", &args.deliver_at),
        ("chronos-deliver-after", &args.deliver_after),
        ("chronos-message-id", &args.message_id),
    ];
    let own = own
        .iter()
        .filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    args.header
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .chain(own)
        .fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header {
                key,
                value: Some(value),
            })
        })
}
