//! `chronosctl context list|set|use|delete`: names for nodes.

use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde::Serialize;

use crate::{
    contexts::{self, Contexts, Node},
    output::{self, Format},
};

/// A command about contexts.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List them
    List,
    /// Name a node: the addresses are those of --bootstrap and --admin
    Set {
        /// Its name
        name: String,
    },
    /// Talk to that node from now on, unless told otherwise
    Use {
        /// Its name
        name: String,
    },
    /// Forget a name
    Delete {
        /// Which
        name: String,
    },
}

#[derive(Serialize)]
struct Row {
    name: String,
    current: bool,
    bootstrap: Option<String>,
    admin: Option<String>,
}

/// Runs a command; the addresses are those that were given.
pub(super) fn run(
    format: Format,
    command: ContextCommand,
    given: Node,
) -> anyhow::Result<ExitCode> {
    let path = contexts::path()?;
    let mut all = Contexts::read(&path)?;
    match command {
        ContextCommand::List => {}
        ContextCommand::Set { name } => {
            if given == Node::default() {
                bail!("say where it is: --bootstrap HOST:PORT, --admin HOST:PORT");
            }
            all.contexts.insert(name, given);
            all.write(&path)?;
        }
        ContextCommand::Use { name } => {
            all.find(Some(&name))?;
            all.current = Some(name);
            all.write(&path)?;
        }
        ContextCommand::Delete { name } => {
            if all.contexts.remove(&name).is_none() {
                bail!("there is no context '{name}'");
            }
            all.current = all.current.filter(|current| *current != name);
            all.write(&path)?;
        }
    }
    let rows = all.contexts.into_iter().map(|(name, node)| Row {
        current: all.current.as_deref() == Some(name.as_str()),
        name,
        bootstrap: node.bootstrap,
        admin: node.admin,
    });
    output::rows(format, &rows.collect::<Vec<_>>())?;
    Ok(ExitCode::SUCCESS)
}
