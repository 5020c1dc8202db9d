//! One file per command.

mod bench;
mod consume;
mod dedup;
mod demo;
mod group;
mod produce;
mod replay;
mod schedule;
mod topic;
mod txn;
mod wal;

use std::process::ExitCode;

pub use bench::{
    BenchCommand, BenchCommitArgs, Common as BenchCommon, ConsumeArgs as BenchConsumeArgs, E2eArgs,
    GroupsCommand, GroupsSubject, HeldArgs, JoinArgs, JoinProtocol, Payload,
    ProduceArgs as BenchProduceArgs, ReadyArgs, ReplayArgs as BenchReplayArgs, TxnArgs,
};

pub use dedup::DedupCommand;
pub use group::{GroupCommand, SeekArgs, Target as SeekTarget};
pub use replay::{
    Range as ReplayRange, ReplayCommand, StartArgs as ReplayStartArgs,
    StreamArgs as ReplayStreamArgs,
};
pub use schedule::{Filter as ScheduleFilter, Place as SchedulePlace, ScheduleCommand};
pub use txn::{AbortArgs, TxnCommand};

use crate::cli::{Cli, Command};

/// Runs a command; the exit code is its own, an error means 1.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let (bootstrap, format) = (cli.bootstrap.as_str(), cli.output);
    match cli.command {
        Command::Topic(command) => topic::run(bootstrap, format, command).await,
        Command::Produce(args) => produce::run(bootstrap, format, args).await,
        Command::Consume(args) => consume::run(bootstrap, format, &args),
        Command::Bench(command) => bench::run(bootstrap, &cli.admin, format, command).await,
        Command::Group(command) => group::run(bootstrap, format, command).await,
        Command::Txn(command) => txn::run(bootstrap, format, command).await,
        Command::Dedup(command) => dedup::run(&cli.admin, format, command).await,
        Command::Replay(command) => replay::run(&cli.admin, format, command).await,
        Command::Schedule(command) => schedule::run(&cli.admin, format, command).await,
        Command::Wal { args } => wal::run(format, &args),
        Command::Demo { topic } => demo::run(bootstrap, format, &topic).await,
    }
}
