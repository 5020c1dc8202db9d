//! `chronosctl topic alter|grow|trim|offsets`: over the admin API.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use clap::Subcommand;
use proto::admin::v1::{self as pb, topic_service_client::TopicServiceClient};
use serde::Serialize;

use crate::{
    cli::key_value,
    grpc,
    output::{self, Format},
    time::{self, millis},
};

const PATIENCE: Duration = Duration::from_mins(1);

/// A command about a topic, over the admin API.
#[derive(Debug, Subcommand)]
pub enum TopicChange {
    /// Change settings of a topic: all of them, or none
    Alter {
        /// The topic
        name: String,
        /// A new value; may be given several times
        #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
        config: Vec<(String, String)>,
        /// A setting that goes back to its default; may be given several times
        #[arg(long, value_name = "KEY")]
        reset: Vec<String>,
        /// Only check
        #[arg(long)]
        dry_run: bool,
    },
    /// Give a topic more partitions: keys may go to other ones from then on
    Grow {
        /// The topic
        name: String,
        /// How many it is to have
        partitions: i32,
        /// Only check
        #[arg(long)]
        dry_run: bool,
    },
    /// Delete the first records of a partition; what is held stays
    Trim {
        /// The topic
        name: String,
        /// The partition
        #[arg(short, long)]
        partition: i32,
        /// The first offset that stays [default: all goes that consumers can read]
        #[arg(long, value_name = "OFFSET")]
        before: Option<i64>,
        /// Only tell what would go
        #[arg(long)]
        dry_run: bool,
    },
    /// Find the first records of a time or later
    Offsets {
        /// The topic
        name: String,
        /// Epoch milliseconds, RFC 3339 with offset, or -1h30m from now
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        time: String,
        /// A partition; may be given several times [default: all]
        #[arg(short, long)]
        partition: Vec<i32>,
    },
}

#[derive(Serialize)]
struct TopicRow {
    topic: String,
    id: String,
    partitions: i32,
    bytes: i64,
    held: i64,
    own_settings: BTreeMap<String, Option<String>>,
}

fn row(topic: Option<pb::Topic>) -> TopicRow {
    let topic = topic.unwrap_or_default();
    let own = topic.settings.into_iter();
    let own = own.filter(|setting| setting.source() == pb::SettingSource::Topic);
    TopicRow {
        topic: topic.name,
        id: topic.topic_id,
        partitions: topic.partition_count,
        bytes: topic.bytes,
        held: topic.held,
        own_settings: own.map(|setting| (setting.name, setting.value)).collect(),
    }
}

#[derive(Serialize)]
struct Trimmed {
    topic: String,
    partition: i32,
    start_before: i64,
    start_after: i64,
}

#[derive(Serialize)]
struct Found {
    partition: i32,
    offset: Option<i64>,
    time: Option<String>,
    timestamp_ms: Option<i64>,
}

fn was_dry(format: Format, dry_run: bool) {
    if dry_run {
        output::note(format, "nothing was changed: this was a dry run");
    }
}

/// What deleting these would take away.
pub(super) async fn would_delete(
    admin: &str,
    format: Format,
    names: Vec<String>,
) -> anyhow::Result<ExitCode> {
    let mut client = TopicServiceClient::new(grpc::connect(admin, Some(PATIENCE)).await?);
    let mut rows = Vec::with_capacity(names.len());
    for topic in names {
        let request = pb::DeleteTopicRequest {
            topic,
            validate_only: true,
            ..pb::DeleteTopicRequest::default()
        };
        let answer = client.delete_topic(request).await.map_err(grpc::told)?;
        rows.push(row(answer.into_inner().topic));
    }
    output::rows(format, &rows)?;
    was_dry(format, true);
    Ok(ExitCode::SUCCESS)
}

/// Runs a command.
pub(super) async fn run(
    admin: &str,
    format: Format,
    command: TopicChange,
) -> anyhow::Result<ExitCode> {
    let mut client = TopicServiceClient::new(grpc::connect(admin, Some(PATIENCE)).await?);
    match command {
        TopicChange::Alter {
            name,
            config,
            reset,
            dry_run,
        } => {
            let request = pb::UpdateTopicConfigRequest {
                topic: name,
                set: config.into_iter().collect(),
                reset,
                validate_only: dry_run,
            };
            let answer = client.update_topic_config(request).await;
            let answer = answer.map_err(grpc::told)?.into_inner();
            output::rows(format, &[row(answer.topic)])?;
            was_dry(format, dry_run);
        }
        TopicChange::Grow {
            name,
            partitions,
            dry_run,
        } => {
            let request = pb::AddPartitionsRequest {
                topic: name,
                partition_count: partitions,
                validate_only: dry_run,
            };
            let answer = client.add_partitions(request).await;
            let answer = answer.map_err(grpc::told)?.into_inner();
            output::rows(format, &[row(answer.topic)])?;
            was_dry(format, dry_run);
        }
        TopicChange::Trim {
            name,
            partition,
            before,
            dry_run,
        } => {
            let request = pb::TruncatePartitionRequest {
                topic: name.clone(),
                partition,
                before_offset: before,
                dry_run,
            };
            let answer = client.truncate_partition(request).await;
            let answer = answer.map_err(grpc::told)?.into_inner();
            let trimmed = Trimmed {
                topic: name,
                partition,
                start_before: answer.previous_start_offset,
                start_after: answer.log_start_offset,
            };
            output::rows(format, &[trimmed])?;
            was_dry(format, dry_run);
        }
        TopicChange::Offsets {
            name,
            time,
            partition,
        } => {
            let request = pb::ListOffsetsForTimesRequest {
                topic: name,
                partitions: partition,
                time: Some(time::timestamp(time::moment(&time)?)),
            };
            let answer = client.list_offsets_for_times(request).await;
            let answer = answer.map_err(grpc::told)?.into_inner();
            let rows = answer.offsets.into_iter().map(|found| {
                let at = found.timestamp.as_ref().map(|at| millis(Some(at)));
                Found {
                    partition: found.partition,
                    offset: found.offset,
                    time: at.map(time::local),
                    timestamp_ms: at,
                }
            });
            output::rows(format, &rows.collect::<Vec<_>>())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
