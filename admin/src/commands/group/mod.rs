//! `chronosctl group list|describe|seek|delete`: consumer groups of any Kafka broker, over Kafka's own protocol.

mod args;
mod assignment;
mod delete;
mod describe;
mod described;
mod lag;
mod list;
mod seek;

use std::process::ExitCode;

pub use args::{GroupCommand, SeekArgs, Target};
pub(super) use assignment::places as assigned;

use crate::{output::Format, wire::Cluster};

pub(super) async fn run(
    bootstrap: &str,
    format: Format,
    command: GroupCommand,
) -> anyhow::Result<ExitCode> {
    let mut cluster = Cluster::connect(bootstrap).await?;
    match command {
        GroupCommand::List { state } => list::run(&mut cluster, format, &state).await,
        GroupCommand::Describe {
            groups,
            offsets,
            members,
            state,
        } => {
            let views = describe::Views {
                offsets: offsets || !(members || state),
                members,
                state,
            };
            describe::run(&mut cluster, format, &groups, views).await
        }
        GroupCommand::Seek(args) => seek::run(&mut cluster, format, &args).await,
        GroupCommand::Delete { groups } => delete::run(&mut cluster, format, &groups).await,
    }
}
