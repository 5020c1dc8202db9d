//! `chronosctl`: manages topics, produces, consumes and looks into logs, for people and scripts.

use std::process::ExitCode;

use admin::{cli::Cli, commands};
use clap::Parser;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    match commands::run(cli).await {
        Ok(code) => code,
        Err(error) => {
            say_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "errors of a command line go there")]
fn say_error(error: &str) {
    eprintln!("chronosctl: {error}");
}
