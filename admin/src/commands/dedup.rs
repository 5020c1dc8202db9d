//! `chronosctl dedup check|lookup|forget|stats`: message ids.

use std::{process::ExitCode, time::Duration};

use bytes::Bytes;
use clap::{Args, Subcommand};
use proto::admin::v1::{self as pb, dedup_service_client::DedupServiceClient};
use serde::Serialize;

use crate::{
    grpc,
    output::{self, Format},
    time::{self, duration_ms, millis, spoken},
};

const PATIENCE: Duration = Duration::from_mins(1);

/// A command about message ids.
#[derive(Debug, Subcommand)]
pub enum DedupCommand {
    /// Tell whether records of a partition have these ids
    Check {
        /// Where, and which
        #[command(flatten)]
        ids: Ids,
    },
    /// Find the records of a topic that have an id
    Lookup {
        /// The topic
        topic: String,
        /// The id
        id: String,
        /// A partition; may be given several times [default: all]
        #[arg(short, long)]
        partition: Vec<i32>,
    },
    /// Give ids free: the next record with one of them is appended
    Forget {
        /// Where, and which
        #[command(flatten)]
        ids: Ids,
        /// Only tell what they are
        #[arg(long)]
        dry_run: bool,
    },
    /// Count ids and copies
    Stats {
        /// The topic [default: all that have ids]
        #[arg(short, long)]
        topic: Option<String>,
    },
}

/// Ids of a partition.
#[derive(Debug, Args)]
pub struct Ids {
    /// The topic
    topic: String,
    /// The ids
    #[arg(required = true, value_name = "ID")]
    named: Vec<String>,
    /// The partition
    #[arg(short, long, default_value_t = 0)]
    partition: i32,
}

impl Ids {
    fn bytes(&self) -> Vec<Bytes> {
        self.named.iter().cloned().map(Bytes::from).collect()
    }
}

#[derive(Serialize)]
struct UseRow {
    message_id: String,
    state: &'static str,
    partition: i32,
    offset: Option<i64>,
    accepted: Option<String>,
    accepted_ms: Option<i64>,
    expires_ms: Option<i64>,
}

fn row(found: &pb::MessageIdUse) -> UseRow {
    let state = match found.state() {
        pb::MessageIdState::Unspecified => "unknown",
        pb::MessageIdState::Free => "free",
        pb::MessageIdState::Taken => "taken",
        pb::MessageIdState::InTransaction => "in transaction",
    };
    let accepted_ms = found.accept_time.as_ref().map(|at| millis(Some(at)));
    UseRow {
        message_id: String::from_utf8_lossy(&found.message_id).into_owned(),
        state,
        partition: found.partition,
        offset: found.offset,
        accepted: accepted_ms.map(time::local),
        accepted_ms,
        expires_ms: found.expire_time.as_ref().map(|at| millis(Some(at))),
    }
}

#[derive(Serialize)]
struct TopicRow {
    topic: String,
    window: String,
    window_fill: String,
    entries: i64,
    bytes: i64,
    copies: i64,
    new: i64,
    expired: i64,
}

#[derive(Serialize)]
struct IndexRow {
    entries: i64,
    bytes: i64,
    files: i64,
    in_memory: i64,
    filter_bytes: i64,
    filter_ready: bool,
    cache_bytes: i64,
}

/// Runs a command.
pub(super) async fn run(
    admin: &str,
    format: Format,
    command: DedupCommand,
) -> anyhow::Result<ExitCode> {
    let channel = grpc::connect(admin, Some(PATIENCE)).await?;
    let mut client = DedupServiceClient::new(channel);
    let uses = match command {
        DedupCommand::Check { ids } | DedupCommand::Forget { ids, dry_run: true } => {
            let message_ids = ids.bytes();
            let request = pb::CheckMessageIdsRequest {
                topic: ids.topic,
                partition: ids.partition,
                message_ids,
            };
            client
                .check_message_ids(request)
                .await
                .map_err(grpc::told)?
                .into_inner()
                .uses
        }
        DedupCommand::Lookup {
            topic,
            id,
            partition,
        } => {
            let request = pb::LookupMessageIdRequest {
                topic,
                partitions: partition,
                message_id: id.into(),
            };
            client
                .lookup_message_id(request)
                .await
                .map_err(grpc::told)?
                .into_inner()
                .uses
        }
        DedupCommand::Forget { ids, .. } => {
            let message_ids = ids.bytes();
            let request = pb::ForgetMessageIdsRequest {
                topic: ids.topic,
                partition: ids.partition,
                message_ids,
                request_id: String::new(),
            };
            let answer = client
                .forget_message_ids(request)
                .await
                .map_err(grpc::told)?
                .into_inner();
            return forgotten(format, &answer.uses);
        }
        DedupCommand::Stats { topic } => {
            let request = pb::GetDedupStatsRequest {
                topic: topic.unwrap_or_default(),
            };
            let stats = client
                .get_dedup_stats(request)
                .await
                .map_err(grpc::told)?
                .into_inner();
            return told(format, &stats);
        }
    };
    let rows: Vec<UseRow> = uses.iter().map(row).collect();
    output::rows(format, &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn forgotten(format: Format, uses: &[pb::MessageIdUse]) -> anyhow::Result<ExitCode> {
    let rows: Vec<UseRow> = uses
        .iter()
        .map(|found| {
            let was = row(found);
            let state = match was.state {
                "taken" => "forgotten",
                "free" => "was free",
                other => other,
            };
            UseRow { state, ..was }
        })
        .collect();
    output::rows(format, &rows)?;
    let open = rows.iter().any(|row| row.state == "in transaction");
    Ok(if open {
        output::note(
            format,
            "A transaction that is open decides: try again when it has ended.",
        );
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn told(format: Format, stats: &pb::GetDedupStatsResponse) -> anyhow::Result<ExitCode> {
    let topics = stats.topics.iter().map(|topic| {
        let window_ms = topic.window.as_ref().map_or(0, duration_ms);
        TopicRow {
            topic: topic.topic.clone(),
            window: match window_ms {
                0 => "off".to_owned(),
                ms => spoken(ms),
            },
            window_fill: format!("{:.1}%", topic.window_fill * 100.0),
            entries: topic.entries,
            bytes: topic.bytes,
            copies: topic.hits,
            new: topic.misses,
            expired: topic.expired,
        }
    });
    let topics: Vec<TopicRow> = topics.collect();
    output::rows(format, &topics)?;
    if let Some(index) = stats.index {
        output::note(format, "");
        let index = IndexRow {
            entries: index.entries,
            bytes: index.bytes,
            files: index.files,
            in_memory: index.in_memory,
            filter_bytes: index.filter_bytes,
            filter_ready: index.filter_ready,
            cache_bytes: index.cache_bytes,
        };
        output::rows(format, &[index])?;
    }
    if stats.unavailable_partitions > 0 {
        let why = format!(
            "{} partitions are offline, and not counted",
            stats.unavailable_partitions
        );
        output::note(format, &why);
    }
    Ok(ExitCode::SUCCESS)
}
