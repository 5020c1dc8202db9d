//! `chronosctl debug log-level|bundle`.

use std::{fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::{Args, Subcommand};
use proto::admin::v1::{self as pb, maintenance_service_client::MaintenanceServiceClient};
use serde::Serialize;
use tonic::transport::Channel;

use crate::{
    grpc,
    output::{self, Format},
    time::{self, millis, span},
};

const PATIENCE: Duration = Duration::from_mins(5);

/// A command for who looks for a fault.
#[derive(Debug, Subcommand)]
pub enum DebugCommand {
    /// Show from which level on the node's parts write log lines, or change one
    LogLevel(LogLevelArgs),
    /// Fetch a bundle for who helps: settings, metadata, partitions, groups, metrics, the last log lines; no records
    Bundle {
        /// Where to write it
        #[arg(default_value = "chronosdb-support.tar.gz")]
        file: PathBuf,
    },
}

/// Which level.
#[derive(Debug, Args)]
pub struct LogLevelArgs {
    /// PART=LEVEL, as storage=debug; PART= goes back to the default
    #[arg(value_name = "PART=LEVEL", value_parser = part)]
    change: Option<(String, String)>,
    /// Go back by itself after so long, as 5m; at most 24h
    #[arg(long = "for", value_name = "SPAN", requires = "change")]
    stays: Option<String>,
}

fn part(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=');
    let parts = parts.ok_or_else(|| format!("'{text}' is not PART=LEVEL"))?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

#[derive(Serialize)]
struct LevelRow {
    part: String,
    level: String,
    until: Option<String>,
}

fn row(level: pb::LogLevel) -> LevelRow {
    let until = level.expire_time.as_ref();
    LevelRow {
        until: until.map(|at| time::local(millis(Some(at)))),
        part: level.logger,
        level: level.level,
    }
}

#[derive(Serialize)]
struct BundleRow {
    file: String,
    bytes: usize,
}

/// Runs a command.
pub(super) async fn run(
    admin: &str,
    format: Format,
    command: DebugCommand,
) -> anyhow::Result<ExitCode> {
    let mut client = MaintenanceServiceClient::new(grpc::connect(admin, Some(PATIENCE)).await?);
    match command {
        DebugCommand::LogLevel(args) => {
            let levels = levels(&mut client, args).await?;
            let rows: Vec<LevelRow> = levels.into_iter().map(row).collect();
            output::rows(format, &rows)?;
        }
        DebugCommand::Bundle { file } => {
            let request = pb::CreateSupportBundleRequest {};
            let answer = client.create_support_bundle(request).await;
            let mut chunks = answer.map_err(grpc::told)?.into_inner();
            // All of it first: half a bundle does not look like one.
            let mut bundle = Vec::new();
            while let Some(next) = chunks.message().await.map_err(grpc::told)? {
                bundle.extend_from_slice(&next.chunk);
            }
            fs::write(&file, &bundle).with_context(|| format!("{}", file.display()))?;
            let bytes = bundle.len();
            let file = file.display().to_string();
            output::rows(format, &[BundleRow { file, bytes }])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn levels(
    client: &mut MaintenanceServiceClient<Channel>,
    args: LogLevelArgs,
) -> anyhow::Result<Vec<pb::LogLevel>> {
    let Some((logger, level)) = args.change else {
        let answer = client.list_log_levels(pb::ListLogLevelsRequest {}).await;
        return Ok(answer.map_err(grpc::told)?.into_inner().levels);
    };
    let stays = args.stays.map(|text| span(&text)).transpose()?;
    let request = pb::SetLogLevelRequest {
        logger,
        level,
        expire_after: stays.map(prost_types::Duration::try_from).transpose()?,
    };
    let answer = client.set_log_level(request).await.map_err(grpc::told)?;
    Ok(answer.into_inner().level.into_iter().collect())
}
