//! `chronosctl bench`: drives any Kafka broker by librdkafka and says how fast it was and what it cost.
//!
//! Every result is one object: the parameters first, then what was measured, with units in the names. A GB is 1e9 bytes of values.

mod args;
mod broker;
mod client;
mod clock;
mod consume;
mod e2e;
mod groups;
mod held;
mod load;
mod monitor;
mod numbers;
mod proc;
mod produce;
mod replay;
mod report;
mod stamp;
mod txn;

use std::process::ExitCode;

pub use groups::{
    CommitArgs as BenchCommitArgs, GroupsCommand, GroupsSubject, JoinArgs, JoinProtocol, ReadyArgs,
    TxnArgs,
};

pub use args::{
    BenchCommand, Common, ConsumeArgs, E2eArgs, HeldArgs, Payload, ProduceArgs, ReplayArgs,
};

use crate::output::Format;

pub(super) async fn run(
    bootstrap: &str,
    admin: &str,
    format: Format,
    command: BenchCommand,
) -> anyhow::Result<ExitCode> {
    match command {
        BenchCommand::Produce(args) => produce::run(bootstrap, format, args).await,
        BenchCommand::Consume(args) => consume::run(bootstrap, format, args).await,
        BenchCommand::Replay(args) => replay::run(bootstrap, admin, format, args).await,
        BenchCommand::E2e(args) => e2e::run(bootstrap, format, args).await,
        BenchCommand::Held(args) => held::run(bootstrap, format, args).await,
        BenchCommand::Groups(command) => groups::run(bootstrap, format, command).await,
        BenchCommand::Txn(args) => txn::run(bootstrap, format, &args).await,
    }
}
