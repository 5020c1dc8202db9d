//! One file per command.

mod bench;
mod consume;
mod context;
mod dedup;
mod demo;
mod group;
mod produce;
mod replay;
mod schedule;
mod shell;
mod top;
mod topic;
mod txn;
mod wal;

use std::process::ExitCode;

pub use bench::{
    BenchCommand, BenchCommitArgs, Common as BenchCommon, ConsumeArgs as BenchConsumeArgs, E2eArgs,
    GroupsCommand, GroupsSubject, HeldArgs, JoinArgs, JoinProtocol, Payload,
    ProduceArgs as BenchProduceArgs, ReadyArgs, ReplayArgs as BenchReplayArgs, TxnArgs,
};

pub use context::ContextCommand;
pub use dedup::DedupCommand;
pub use group::{GroupCommand, SeekArgs, Target as SeekTarget};
pub use replay::{
    Range as ReplayRange, ReplayCommand, StartArgs as ReplayStartArgs,
    StreamArgs as ReplayStreamArgs,
};
pub use schedule::{Filter as ScheduleFilter, Place as SchedulePlace, ScheduleCommand};
pub use top::TopArgs;
pub use txn::{AbortArgs, TxnCommand};

use crate::{
    cli::{Cli, Command},
    contexts::{self, Contexts, Node},
};

const BOOTSTRAP: &str = "127.0.0.1:9092";
const ADMIN: &str = "127.0.0.1:9095";

/// Runs a command; the exit code is its own, an error means 1.
pub async fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let format = cli.output;
    if let Command::Context(command) = cli.command {
        let given = Node {
            bootstrap: cli.bootstrap,
            admin: cli.admin,
        };
        return context::run(format, command, given);
    }
    // What was said counts before what the context says.
    let node = match (&cli.bootstrap, &cli.admin) {
        (Some(_), Some(_)) => Node::default(),
        _ => Contexts::read(&contexts::path()?)?.find(cli.context.as_deref())?,
    };
    let or = |said: Option<String>, known: Option<String>, default: &str| {
        said.or(known).unwrap_or_else(|| default.to_owned())
    };
    let bootstrap = or(cli.bootstrap, node.bootstrap, BOOTSTRAP);
    let admin = or(cli.admin, node.admin, ADMIN);
    let (bootstrap, admin) = (bootstrap.as_str(), admin.as_str());
    match cli.command {
        Command::Context(_) => Ok(ExitCode::SUCCESS),
        Command::Top(args) => top::run(admin, args).await,
        Command::Completions { shell } => Ok(shell::completions(shell)),
        Command::Man { folder } => shell::man(&folder),
        Command::Topic(command) => topic::run(bootstrap, format, command).await,
        Command::Produce(args) => produce::run(bootstrap, format, args).await,
        Command::Consume(args) => consume::run(bootstrap, format, &args),
        Command::Bench(command) => bench::run(bootstrap, admin, format, command).await,
        Command::Group(command) => group::run(bootstrap, format, command).await,
        Command::Txn(command) => txn::run(bootstrap, format, command).await,
        Command::Dedup(command) => dedup::run(admin, format, command).await,
        Command::Replay(command) => replay::run(admin, format, command).await,
        Command::Schedule(command) => schedule::run(admin, format, command).await,
        Command::Wal { args } => wal::run(format, &args),
        Command::Demo { topic } => demo::run(bootstrap, format, &topic).await,
    }
}
