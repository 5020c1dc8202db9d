//! `chronosctl replay stream`: records of a topic once more, by time or by offset.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use proto::admin::v1::{self as pb, replay_service_client::ReplayServiceClient};
use serde::Serialize;

use super::range::Range;
use crate::{
    grpc,
    output::{self, Format},
    time,
};

/// What to replay.
#[derive(Debug, Args)]
pub struct StreamArgs {
    /// Which records
    #[command(flatten)]
    range: Range,
    /// How many at most
    #[arg(short = 'n', long)]
    limit: Option<u32>,
    /// So many times as fast as it happened, by the records' times [default: as fast as can be]
    #[arg(long, value_name = "TIMES")]
    speed: Option<f64>,
    /// The earliest time first over all partitions, instead of one partition after the other
    #[arg(long)]
    merged: bool,
    /// Wait for what is still to come of the range
    #[arg(short, long)]
    wait: bool,
    /// Behind what there is, show what is held, by due time
    #[arg(long, conflicts_with = "wait")]
    include_pending: bool,
    /// Go on where an earlier one, with the same words, said that it can be resumed
    #[arg(long, value_name = "TOKEN")]
    resume: Option<String>,
}

impl StreamArgs {
    fn into_request(self) -> anyhow::Result<pb::StreamReplayRequest> {
        let order = if self.merged {
            pb::ReplayOrder::MergedByTime
        } else {
            pb::ReplayOrder::Partition
        };
        Ok(pb::StreamReplayRequest {
            range: Some(self.range.range()?),
            filter: Some(self.range.filter()),
            topic: self.range.topic,
            partitions: self.range.partition,
            order: order.into(),
            speed: self.speed.unwrap_or_default(),
            limit: self.limit.map(Into::into).unwrap_or_default(),
            wait: self.wait,
            include_pending: self.include_pending,
            resume_token: self.resume.unwrap_or_default(),
        })
    }
}

#[derive(Serialize)]
struct Replayed {
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
    /// It is held: the offset is its schedule id, the time when it is due.
    pending: bool,
}

pub(super) async fn run(admin: &str, format: Format, args: StreamArgs) -> anyhow::Result<ExitCode> {
    let request = args.into_request()?;
    let channel = grpc::connect(admin, None).await?;
    let mut client = ReplayServiceClient::new(channel).max_decoding_message_size(usize::MAX);
    let answers = client.stream_replay(request).await;
    let mut answers = answers.map_err(grpc::told)?;
    let mut token = String::new();
    loop {
        let answer = tokio::select! {
            answer = answers.get_mut().message() => answer,
            _ = tokio::signal::ctrl_c() => {
                output::note(format, &format!("interrupted; go on with --resume {token}"));
                return Ok(ExitCode::SUCCESS);
            }
        };
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => bail!("the stream ended; go on with --resume {token}"),
            Err(status) if token.is_empty() => bail!("{}", status.message()),
            Err(status) => bail!("{}; go on with --resume {token}", status.message()),
        };
        for record in answer.records {
            let record = replayed(record);
            output::row(format, &record, &record.text())?;
        }
        token = answer.resume_token;
        if answer.completed {
            output::note(format, &format!("{} records", answer.streamed));
            return Ok(ExitCode::SUCCESS);
        }
    }
}

fn replayed(record: pb::ReplayRecord) -> Replayed {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = record.headers.into_iter();
    Replayed {
        partition: record.partition,
        offset: record.offset,
        timestamp: time::millis(record.time.as_ref()),
        key: record.key.as_deref().map(text),
        value: record.value.as_deref().map(text),
        headers: headers
            .map(|h| (h.key, h.value.as_deref().map(text)))
            .collect(),
        pending: record.pending,
    }
}

impl Replayed {
    fn text(&self) -> String {
        let at = time::local(self.timestamp);
        let key = self.key.as_deref().map(|key| format!("{key}: "));
        let key = key.unwrap_or_default();
        let value = self.value.as_deref().unwrap_or("(null)");
        let held = if self.pending { "held  " } else { "" };
        format!(
            "{}:{}  {at}  {held}{key}{value}",
            self.partition, self.offset
        )
    }
}
