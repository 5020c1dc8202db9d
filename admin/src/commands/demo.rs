//! `chronosctl demo`: what it is about, in five seconds.

use std::{process::ExitCode, time::Duration};

use anyhow::Context;
use rdkafka::{
    Message, Offset,
    consumer::Consumer,
    error::KafkaError,
    message::{Header, Headers, OwnedHeaders},
    producer::FutureRecord,
};
use serde::Serialize;

use crate::{
    kafka::{self, PATIENCE},
    output::{self, Format},
    time,
};

const DELAY_MS: i64 = 5_000;
/// The demo gives up when the record is so late.
const PATIENCE_MS: i64 = 10_000;

#[derive(Serialize)]
struct Arrival {
    value: String,
    offset: i64,
    due_ms: Option<i64>,
    arrived_ms: i64,
    lateness_ms: Option<i64>,
}

pub(super) async fn run(bootstrap: &str, format: Format, topic: &str) -> anyhow::Result<ExitCode> {
    let producer = kafka::producer(bootstrap)?;
    let reader = kafka::reader(bootstrap)?;
    reader
        .fetch_metadata(Some(topic), PATIENCE)
        .with_context(|| format!("asking {bootstrap}; is a node running (make run)?"))?;
    let now = FutureRecord::<(), _>::to(topic)
        .payload("a record for now")
        .partition(0);
    let first = producer
        .send(now, PATIENCE)
        .await
        .map_err(|(error, _)| error)?;
    output::note(
        format,
        &format!(
            "topic {topic}: sent a record for now, offset {}",
            first.offset
        ),
    );

    let due = time::now_ms() + DELAY_MS;
    let due_text = due.to_string();
    let headers = OwnedHeaders::new().insert(Header {
        key: "chronos-deliver-at",
        value: Some(&due_text),
    });
    let later = FutureRecord::<(), _>::to(topic)
        .payload("a record for later")
        .partition(0)
        .headers(headers);
    let held = producer
        .send(later, PATIENCE)
        .await
        .map_err(|(error, _)| error)?;
    output::note(
        format,
        &format!(
            "topic {topic}: sent a record with chronos-deliver-at={due} ({}), held as schedule id {}",
            time::local(due),
            held.offset
        ),
    );

    let consumer = kafka::consumer(bootstrap, topic, 0, Offset::Offset(first.offset))?;
    let mut shown = i64::MAX;
    loop {
        let left = (due - time::now_ms()).div_euclid(1_000) + 1;
        if left < shown && left > 0 {
            output::note(format, &format!("  ... due in {left} s"));
            shown = left;
        }
        let message = match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => message,
            None | Some(Err(KafkaError::PartitionEOF(_))) => {
                anyhow::ensure!(
                    time::now_ms() < due + PATIENCE_MS,
                    "the held record did not come"
                );
                continue;
            }
            Some(Err(error)) => return Err(error.into()),
        };
        let arrived_ms = time::now_ms();
        let due_ms = message.headers().and_then(|headers| {
            let due_at = headers.iter().find(|h| h.key == "chronos-due-at")?;
            std::str::from_utf8(due_at.value?).ok()?.parse().ok()
        });
        let arrival = Arrival {
            value: String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned(),
            offset: message.offset(),
            due_ms,
            arrived_ms,
            lateness_ms: due_ms.map(|due| arrived_ms - due),
        };
        let late = arrival
            .lateness_ms
            .map_or_else(String::new, |late| format!(", {late} ms after it was due"));
        let text = format!(
            "consumed '{}' at offset {}{late}",
            arrival.value, arrival.offset
        );
        output::row(format, &arrival, &text)?;
        if arrival.due_ms == Some(due) {
            return Ok(ExitCode::SUCCESS);
        }
    }
}
