//! `chronosctl config get|reload`: settings of a node.

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;
use proto::admin::v1::{self as pb, maintenance_service_client::MaintenanceServiceClient};
use serde::Serialize;

use crate::{
    grpc,
    output::{self, Format},
};

const PATIENCE: Duration = Duration::from_secs(10);

/// A command about settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show settings, and where each value comes from; with -o wide also what they do
    Get {
        /// Their names [default: all]
        names: Vec<String>,
        /// Only those that somebody changed
        #[arg(long)]
        changed: bool,
    },
    /// Read the node's file again, as SIGHUP does: what can change while it runs is taken over, the rest is told
    Reload {
        /// Only tell what would change
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Serialize)]
struct Row {
    setting: String,
    value: Option<String>,
    source: &'static str,
    read_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    what: Option<String>,
}

#[derive(Serialize)]
struct ChangeRow {
    setting: String,
    before: Option<String>,
    after: Option<String>,
    needs_restart: bool,
    overridden: bool,
}

fn source(source: pb::SettingSource) -> &'static str {
    match source {
        pb::SettingSource::Unspecified => "unknown",
        pb::SettingSource::Default => "default",
        pb::SettingSource::File => "file",
        pb::SettingSource::Environment => "environment",
        pb::SettingSource::Flag => "flag",
        pb::SettingSource::AllNodes => "changed for all nodes",
        pb::SettingSource::Node => "changed for this node",
        pb::SettingSource::Topic => "topic",
        pb::SettingSource::NodeDefault => "node",
    }
}

/// Runs a command.
pub(super) async fn run(
    admin: &str,
    format: Format,
    command: ConfigCommand,
) -> anyhow::Result<ExitCode> {
    let mut client = MaintenanceServiceClient::new(grpc::connect(admin, Some(PATIENCE)).await?);
    match command {
        ConfigCommand::Get { names, changed } => {
            let answer = client.get_config(pb::GetConfigRequest { names }).await;
            let settings = answer.map_err(grpc::told)?.into_inner().settings;
            let told = settings
                .into_iter()
                .filter(|setting| !changed || setting.source() != pb::SettingSource::Default);
            let rows = told.map(|setting| Row {
                source: source(setting.source()),
                setting: setting.name,
                value: setting.value,
                read_only: setting.read_only,
                what: (format != Format::Table).then_some(setting.documentation),
            });
            output::rows(format, &rows.collect::<Vec<_>>())?;
        }
        ConfigCommand::Reload { dry_run } => {
            let answer = client
                .reload_config(pb::ReloadConfigRequest { dry_run })
                .await;
            let told = answer.map_err(grpc::told)?.into_inner();
            let rows: Vec<ChangeRow> = told
                .changes
                .into_iter()
                .map(|change| ChangeRow {
                    setting: change.name,
                    before: change.previous_value,
                    after: change.value,
                    needs_restart: change.needs_restart,
                    overridden: change.overridden,
                })
                .collect();
            output::rows(format, &rows)?;
            if rows.iter().any(|row| row.needs_restart) {
                output::note(format, "what needs a restart counts from the next start on");
            }
            if rows.iter().any(|row| row.overridden) {
                output::note(
                    format,
                    "what is overridden was changed by a client: that counts",
                );
            }
            if told.file.is_empty() {
                output::note(format, "the node was started without a file");
            }
            if dry_run {
                output::note(format, "nothing was changed: this was a dry run");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
