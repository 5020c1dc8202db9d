//! `chronosctl consume`: the records of one partition.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use rdkafka::{
    Message,
    error::{KafkaError, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers},
};
use serde::Serialize;

use crate::{
    cli::ConsumeArgs,
    kafka::{self, PATIENCE},
    output::{self, Format},
    time,
};

/// One turn of waiting for records that may never come.
const TURN: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Consumed {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: Option<i64>,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

pub(super) fn run(bootstrap: &str, format: Format, args: &ConsumeArgs) -> anyhow::Result<ExitCode> {
    let consumer = kafka::consumer(bootstrap, &args.topic, args.partition, args.from)?;
    let mut seen = 0;
    while args.limit.is_none_or(|limit| seen < limit) {
        // Following, silence is no error; else the end of the partition comes within the patience.
        let patience = if args.follow { TURN } else { PATIENCE };
        match consumer.poll(patience) {
            None | Some(Err(KafkaError::PartitionEOF(_))) if args.follow => {}
            None => bail!("no answer from {bootstrap} within {PATIENCE:?}"),
            Some(Ok(message)) => {
                let record = consumed(&message);
                output::row(format, &record, &record.text())?;
                seen += 1;
            }
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) if is_passing(&error) => {}
            Some(Err(error)) => {
                return Err(error).with_context(|| format!("consuming {}", args.topic));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The client tries again by itself.
fn is_passing(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::OperationTimedOut)
    )
}

fn consumed(message: &BorrowedMessage<'_>) -> Consumed {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = message.headers().map(|headers| {
        headers
            .iter()
            .map(|h| (h.key.to_owned(), h.value.map(text)))
            .collect()
    });
    Consumed {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp: message.timestamp().to_millis(),
        key: message.key().map(text),
        value: message.payload().map(text),
        headers: headers.unwrap_or_default(),
    }
}

impl Consumed {
    fn text(&self) -> String {
        let at = self.timestamp.map_or_else(|| "-".into(), time::local);
        let key = self.key.as_deref().map(|key| format!("{key}: "));
        let headers: Vec<String> = self
            .headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_deref().unwrap_or("(null)")))
            .collect();
        let headers = if headers.is_empty() {
            String::new()
        } else {
            format!("  [{}]", headers.join(" "))
        };
        format!(
            "{:>6}  {at}  {}{}{headers}",
            self.offset,
            key.unwrap_or_default(),
            self.value.as_deref().unwrap_or("(null)"),
        )
    }
}
