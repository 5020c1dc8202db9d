//! The words of `chronosctl bench groups` and `bench txn`.

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

/// A benchmark of a group coordinator. All groups have to be on one broker.
#[derive(Debug, Subcommand)]
pub enum GroupsCommand {
    /// Many members join one group at once: time until all have their assignment
    Join(JoinArgs),
    /// Commit offsets of groups that nobody is in: rate, time to the answer, cost
    Commit(CommitArgs),
    /// Wait until the offsets of groups that `commit` made can be fetched
    Ready(ReadyArgs),
}

/// Where it is measured.
#[derive(Clone, Debug, Args, Serialize)]
pub struct Subject {
    /// The topic, created if need be
    #[arg(short, long, default_value = "bench-groups")]
    pub topic: String,
    /// Partitions of a topic that is created
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(i32).range(1..))]
    pub partitions: i32,
    /// The broker's process here: adds its CPU seconds
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,
}

/// What `bench groups join` takes.
#[derive(Debug, Args, Serialize)]
pub struct JoinArgs {
    /// Where.
    #[command(flatten)]
    #[serde(flatten)]
    pub subject: Subject,
    /// Members, a connection each
    #[arg(short, long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub members: u32,
    /// Groups, one after the other
    #[arg(short, long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// How members speak with the coordinator
    #[arg(long, value_enum, default_value_t = Protocol::Classic)]
    pub protocol: Protocol,
    /// Between two heartbeats: how soon a member learns that it has to join again. Clients wait three seconds, which is not
    /// what is measured here
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..))]
    pub heartbeat_ms: u64,
}

/// A protocol of groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// `JoinGroup`, `SyncGroup`
    Classic,
    /// `ConsumerGroupHeartbeat` (KIP-848)
    Consumer,
}

/// What `bench groups commit` takes.
#[derive(Debug, Args, Serialize)]
pub struct CommitArgs {
    /// Where.
    #[command(flatten)]
    #[serde(flatten)]
    pub subject: Subject,
    /// Groups, in turns
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub groups: u64,
    /// Commits of all groups together
    #[arg(short = 'n', long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub commits: u64,
    /// Partitions in each commit
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    pub offsets: i32,
    /// Connections
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub connections: u32,
    /// Commits on their way in each connection
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub in_flight: u32,
}

/// What `bench groups ready` takes.
#[derive(Debug, Args, Serialize)]
pub struct ReadyArgs {
    /// Where.
    #[command(flatten)]
    #[serde(flatten)]
    pub subject: Subject,
    /// Groups that were made
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub groups: u64,
    /// How many of them are asked for
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    pub sample: u64,
    /// Give up after so many seconds
    #[arg(long, default_value_t = 120)]
    pub patience_seconds: u64,
}

/// What `bench txn` takes.
#[derive(Debug, Args, Serialize)]
pub struct TxnArgs {
    /// Where.
    #[command(flatten)]
    #[serde(flatten)]
    pub subject: Subject,
    /// Transactions of all producers together
    #[arg(short = 'n', long, default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub transactions: u64,
    /// Producers, a connection each
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub producers: u32,
    /// Records of a transaction
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    pub records: i32,
    /// Partitions that they go to in turns
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..))]
    pub over: i32,
    /// Bytes of a value
    #[arg(long = "size", default_value_t = 100)]
    pub value_bytes: usize,
}
