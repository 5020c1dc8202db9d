//! One file per command.

mod bench;
mod cluster;
mod config;
mod consume;
mod context;
mod debug;
mod dedup;
mod demo;
mod docs;
mod group;
mod produce;
mod replay;
mod rpc;
mod schedule;
mod shell;
mod top;
mod topic;
mod txn;
mod version;
mod wal;

use std::process::ExitCode;

pub use bench::{
    BenchCommand, BenchCommitArgs, Common as BenchCommon, ConsumeArgs as BenchConsumeArgs, E2eArgs,
    GroupsCommand, GroupsSubject, HeldArgs, JoinArgs, JoinProtocol, Payload,
    ProduceArgs as BenchProduceArgs, ReadyArgs, ReplayArgs as BenchReplayArgs, TxnArgs,
};

pub use cluster::ClusterCommand;
pub use config::ConfigCommand;
pub use context::ContextCommand;
pub use debug::DebugCommand;
pub use dedup::DedupCommand;
pub use group::{GroupCommand, SeekArgs, Target as SeekTarget};
pub use replay::{
    Range as ReplayRange, ReplayCommand, StartArgs as ReplayStartArgs,
    StreamArgs as ReplayStreamArgs,
};
pub use rpc::RpcArgs;
pub use schedule::{Filter as ScheduleFilter, Place as SchedulePlace, ScheduleCommand};
pub use top::TopArgs;
pub use topic::TopicChange;
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
        Command::Topic(command) => topic::run((bootstrap, admin), format, command).await,
        Command::Cluster(command) => cluster::run(admin, format, command).await,
        Command::Config(command) => config::run(admin, format, command).await,
        Command::Debug(command) => debug::run(admin, format, command).await,
        Command::Rpc(args) => rpc::run(admin, format, args).await,
        Command::Version => version::run(admin, format).await,
        Command::Docs { folder } => docs::write(&folder),
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
