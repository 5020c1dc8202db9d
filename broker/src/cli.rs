//! The command line of `chronosdb`.

use std::path::PathBuf;

use admin::output::Format;
use clap::{Args, Parser, Subcommand};

use crate::wal::WalCommand;

/// A Kafka-compatible broker that can deliver later.
#[derive(Debug, Parser)]
#[command(name = "chronosdb", version, about)]
pub struct Cli {
    /// What to do; without it, the node starts.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Settings.
    #[command(flatten)]
    pub settings: Settings,
}

/// Where settings come from.
#[derive(Debug, Args)]
pub struct Settings {
    /// A TOML file with settings
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data folder (log.dirs)
    #[arg(long, global = true, value_name = "FOLDER")]
    pub data_dir: Option<String>,
    /// Where Kafka clients connect (listeners)
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Where metrics and health are served (http.listen)
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    pub http_listen: Option<String>,
    /// Where the gRPC admin API is served (grpc.listen)
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    pub grpc_listen: Option<String>,
    /// Any setting
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the node
    Start,
    /// Look at settings without starting
    Config {
        /// What to do.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Write the reference pages of settings and metrics
    #[command(hide = true)]
    Docs {
        /// The folder
        folder: PathBuf,
    },
    /// Look into the log files of a partition
    Wal {
        /// What to do.
        #[command(subcommand)]
        command: WalCommand,
        /// How to print
        #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
}

/// A command about settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting, its value and where that came from
    Print,
    /// Check the settings and say nothing if they hold
    Validate,
}

impl Settings {
    /// All flags as KEY=VALUE.
    pub fn overrides(&self) -> Vec<String> {
        let named = [
            ("log.dirs", &self.data_dir),
            ("listeners", &self.listen),
            ("http.listen", &self.http_listen),
            ("grpc.listen", &self.grpc_listen),
        ];
        let named = named
            .iter()
            .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={value}")));
        named.chain(self.set.iter().cloned()).collect()
    }
}
