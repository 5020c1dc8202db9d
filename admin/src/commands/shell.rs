//! `chronosctl completions SHELL` and `chronosctl man FOLDER`: made from the command line itself.

use std::{fs, path::Path, process::ExitCode};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::{cli::Cli, output};

pub(super) fn completions(shell: Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "chronosctl", &mut script);
    output::text(&String::from_utf8_lossy(&script));
    ExitCode::SUCCESS
}

/// A page for each command.
pub(super) fn man(folder: &Path) -> anyhow::Result<ExitCode> {
    let made = fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command().name("chronosctl"), folder));
    made.with_context(|| format!("writing man pages to {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
