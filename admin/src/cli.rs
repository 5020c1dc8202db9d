//! The command line's words. Exit codes: 0 done, 1 failed, 2 wrong usage.

use clap::{Args, Parser, Subcommand};

use crate::{
    commands::{
        BenchCommand, ClusterCommand, ConfigCommand, ContextCommand, DebugCommand, DedupCommand,
        GroupCommand, ReplayCommand, RpcArgs, ScheduleCommand, TopArgs, TopicChange, TxnCommand,
    },
    output::Format,
};

/// Manages `ChronosDB`, and any other Kafka broker as far as it goes.
#[derive(Debug, Parser)]
#[command(
    name = "chronosctl",
    version,
    about = "Manages ChronosDB, and any other Kafka broker as far as it goes"
)]
pub struct Cli {
    /// The broker to talk to [default: that of the context, or 127.0.0.1:9092]
    #[arg(
        short,
        long,
        global = true,
        env = "CHRONOS_BOOTSTRAP",
        value_name = "HOST:PORT"
    )]
    pub bootstrap: Option<String>,
    /// The node's gRPC admin API [default: that of the context, or 127.0.0.1:9095]
    #[arg(long, global = true, env = "CHRONOS_ADMIN", value_name = "HOST:PORT")]
    pub admin: Option<String>,
    /// The node, by the name that `context set` gave it [default: that of `context use`]
    #[arg(long, global = true, env = "CHRONOS_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// How to print: a table for people (wide: never cut to the terminal); for scripts JSON, one object a line, or YAML
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// A command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create, list, describe, change, trim and delete topics
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Write records, now or for later
    Produce(ProduceArgs),
    /// Read records of one partition
    Consume(ConsumeArgs),
    /// List, describe, move and delete consumer groups
    #[command(subcommand)]
    Group(GroupCommand),
    /// List and describe transactions; find and abort those that hang
    #[command(subcommand)]
    Txn(TxnCommand),
    /// Look up message ids, give them free, count them
    #[command(subcommand)]
    Dedup(DedupCommand),
    /// Read records once more, by time or by offset: as a stream, or into a topic
    #[command(subcommand)]
    Replay(ReplayCommand),
    /// List, cancel and move held records
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// The cluster, its nodes, who leads what, and whether all is well
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Settings of a node: show them, read its file again
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Levels of log lines, and a bundle for who helps
    #[command(subcommand)]
    Debug(DebugCommand),
    /// Call a method of the admin API by name; without one, list them
    Rpc(RpcArgs),
    /// Tell which release runs here, and which on the node
    Version,
    /// A live view of a node: rates, what is held and when it is due, lateness, lag
    Top(TopArgs),
    /// Names for nodes, and which is meant
    #[command(subcommand)]
    Context(ContextCommand),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Write man pages, one for each command
    Man {
        /// The folder
        folder: std::path::PathBuf,
    },
    /// Write the reference pages of this program and of the admin API
    #[command(hide = true)]
    Docs {
        /// The folder
        folder: std::path::PathBuf,
    },
    /// Look into the log files of a partition (runs the chronosdb binary)
    #[command(disable_help_flag = true)]
    Wal {
        /// As `chronosdb wal --help` says.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure a broker, this or any other that speaks Kafka
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Show what it is about: one record now, one in five seconds, how late it was
    Demo {
        /// The topic to use; made if need be
        #[arg(default_value = "chronos-demo")]
        topic: String,
    },
}

/// A command about topics.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create a topic
    Create {
        /// Its name
        name: String,
        /// Its partitions; -1 takes the broker's default
        #[arg(short, long, default_value_t = -1, allow_negative_numbers = true)]
        partitions: i32,
        /// Its replication factor; -1 takes the broker's default
        #[arg(short, long, default_value_t = -1, allow_negative_numbers = true)]
        replication_factor: i32,
        /// A setting of the topic; may be given several times
        #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
        config: Vec<(String, String)>,
    },
    /// List topics
    List {
        /// Also those that the node keeps its own state in
        #[arg(long)]
        internal: bool,
    },
    /// Describe a topic: partitions, offsets, settings
    Describe {
        /// Its name
        name: String,
    },
    /// Delete topics
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// Only tell what would go (asks the admin API)
        #[arg(long)]
        dry_run: bool,
    },
    /// Over the admin API
    #[command(flatten)]
    Change(TopicChange),
}

/// What to produce.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// The topic
    pub topic: String,
    /// The value; without it, each line of standard input is a record
    #[arg(short, long)]
    pub value: Option<String>,
    /// The key of every record
    #[arg(short, long)]
    pub key: Option<String>,
    /// The partition; chosen by the key without it
    #[arg(short, long)]
    pub partition: Option<i32>,
    /// A header; may be given several times
    #[arg(short = 'H', long, value_name = "NAME=VALUE", value_parser = key_value)]
    pub header: Vec<(String, String)>,
    /// Deliver then: epoch milliseconds, or RFC 3339 with offset
    #[arg(long, value_name = "TIME", conflicts_with = "deliver_after")]
    pub deliver_at: Option<String>,
    /// Deliver after: milliseconds, 1h30m, or PT15M
    #[arg(long, value_name = "SPAN")]
    pub deliver_after: Option<String>,
    /// Append it once: another record of the partition with this id, within the topic's window, is a copy
    #[arg(long, value_name = "ID")]
    pub message_id: Option<String>,
}

/// What to consume.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    /// The topic
    pub topic: String,
    /// The partition
    #[arg(short, long, default_value_t = 0)]
    pub partition: i32,
    /// Where to start: beginning, end, or an offset
    #[arg(short, long, default_value = "beginning", value_parser = start)]
    pub from: rdkafka::Offset,
    /// Stop after so many records
    #[arg(short = 'n', long)]
    pub limit: Option<usize>,
    /// Wait for more at the end instead of stopping there
    #[arg(short = 'F', long)]
    pub follow: bool,
}

pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("'{text}' is not NAME=VALUE"))
}

fn start(text: &str) -> Result<rdkafka::Offset, String> {
    match text {
        "beginning" => Ok(rdkafka::Offset::Beginning),
        "end" => Ok(rdkafka::Offset::End),
        number => number
            .parse()
            .ok()
            .filter(|n: &i64| *n >= 0)
            .map(rdkafka::Offset::Offset)
            .ok_or_else(|| format!("'{text}' is not beginning, end or an offset")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn places_to_start_are_understood_or_refused() {
        assert_eq!(start("end"), Ok(rdkafka::Offset::End));
        assert_eq!(start("7"), Ok(rdkafka::Offset::Offset(7)));
        assert!(start("-7").is_err());
        assert!(key_value("=x").is_err());
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
    }
}
