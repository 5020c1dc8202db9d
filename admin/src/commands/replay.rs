//! `chronosctl replay`: records of a topic once more, by time or by offset.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use proto::admin::v1::{self as pb, replay_service_client::ReplayServiceClient};
use serde::Serialize;

use crate::{
    grpc,
    output::{self, Format},
    time::{self, moment},
};

/// What to replay.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The topic
    topic: String,
    /// A partition; may be given several times [default: all]
    #[arg(short, long)]
    partition: Vec<i32>,
    /// With this time or a later one: epoch milliseconds, RFC 3339 with offset, or -1h30m from now
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// With a time before this one
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// These offsets of a partition, the last one excluded: 0:100..200, or 0:100.. ; may be given several times
    #[arg(long, value_name = "P:FROM..TO", value_parser = offsets)]
    offsets: Vec<pb::OffsetRange>,
    /// With this key
    #[arg(short, long)]
    key: Option<String>,
    /// With this header, and this value of it if one is given
    #[arg(short = 'H', long, value_name = "NAME[=VALUE]")]
    header: Option<String>,
    /// With this chronos-message-id
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
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
    /// Go on where an earlier one, with the same words, said that it can be resumed
    #[arg(long, value_name = "TOKEN")]
    resume: Option<String>,
}

fn offsets(text: &str) -> Result<pb::OffsetRange, String> {
    let parse = || {
        let (partition, range) = text.split_once(':')?;
        let (start, end) = range.split_once("..")?;
        let end_offset = match end {
            "" => None,
            end => Some(end.parse().ok()?),
        };
        Some(pb::OffsetRange {
            partition: partition.parse().ok()?,
            start_offset: start.parse().ok()?,
            end_offset,
        })
    };
    parse().ok_or_else(|| "it is not like 0:100..200".to_owned())
}

impl ReplayArgs {
    fn into_request(self) -> anyhow::Result<pb::StreamReplayRequest> {
        let at = |text: Option<String>| {
            let at = text.map(|text| moment(&text).map(time::timestamp));
            at.transpose()
        };
        let header = self.header.map(|text| match text.split_once('=') {
            Some((key, value)) => pb::Header {
                key: key.to_owned(),
                value: Some(value.to_owned().into()),
            },
            None => pb::Header {
                key: text,
                value: None,
            },
        });
        let order = if self.merged {
            pb::ReplayOrder::MergedByTime
        } else {
            pb::ReplayOrder::Partition
        };
        Ok(pb::StreamReplayRequest {
            topic: self.topic,
            partitions: self.partition,
            range: Some(pb::ReplayRange {
                start_time: at(self.from)?,
                end_time: at(self.to)?,
                offsets: self.offsets,
            }),
            filter: Some(pb::ReplayFilter {
                key: self.key.map(Into::into),
                header,
                message_id: self.message_id,
            }),
            order: order.into(),
            speed: self.speed.unwrap_or_default(),
            limit: self.limit.map(Into::into).unwrap_or_default(),
            wait: self.wait,
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
}

pub(super) async fn run(admin: &str, format: Format, args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let request = args.into_request()?;
    let channel = grpc::connect(admin, None).await?;
    let mut client = ReplayServiceClient::new(channel).max_decoding_message_size(usize::MAX);
    let answers = client.stream_replay(request).await;
    let mut answers = answers.map_err(|status| anyhow::anyhow!("{}", status.message()))?;
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
    }
}

impl Replayed {
    fn text(&self) -> String {
        let at = time::local(self.timestamp);
        let key = self.key.as_deref().map(|key| format!("{key}: "));
        let key = key.unwrap_or_default();
        let value = self.value.as_deref().unwrap_or("(null)");
        format!("{}:{}  {at}  {key}{value}", self.partition, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read() {
        let range = |partition, start_offset, end_offset| pb::OffsetRange {
            partition,
            start_offset,
            end_offset,
        };
        assert_eq!(offsets("0:100..200"), Ok(range(0, 100, Some(200))));
        assert_eq!(offsets("12:7.."), Ok(range(12, 7, None)));
        for wrong in ["", "1", "1:2", "x:1..2", "1:..2", "1:2..x"] {
            assert!(offsets(wrong).is_err(), "{wrong}");
        }
    }
}
