//! `chronosctl txn list|describe|abort|find-hanging`: transactions of any Kafka broker, over Kafka's own protocol.

mod abort;
mod args;
mod describe;
mod find_hanging;
mod list;
mod producers;
mod states;

use std::process::ExitCode;

pub use args::{AbortArgs, TxnCommand};

use crate::{output::Format, wire::Cluster};

pub(super) async fn run(
    bootstrap: &str,
    format: Format,
    command: TxnCommand,
) -> anyhow::Result<ExitCode> {
    let mut cluster = Cluster::connect(bootstrap).await?;
    match command {
        TxnCommand::List { state, older_than } => {
            list::run(&mut cluster, format, &state, older_than.as_deref()).await
        }
        TxnCommand::Describe { ids } => describe::run(&mut cluster, format, &ids).await,
        TxnCommand::Abort(args) => abort::run(&mut cluster, format, &args).await,
        TxnCommand::FindHanging {
            topic,
            partition,
            max_transaction_timeout,
        } => {
            let places = (topic.as_slice(), partition);
            find_hanging::run(&mut cluster, format, places, &max_transaction_timeout).await
        }
    }
}
