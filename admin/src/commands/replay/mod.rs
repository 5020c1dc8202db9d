//! `chronosctl replay`: records of a topic once more, as a stream or into a topic.

mod job;
mod range;
mod stream;

use std::process::ExitCode;

use clap::Subcommand;

pub use self::{job::StartArgs, range::Range, stream::StreamArgs};
use crate::output::Format;

/// A command about replays.
#[derive(Debug, Subcommand)]
pub enum ReplayCommand {
    /// Print records of a range, without a group
    Stream(StreamArgs),
    /// Append the records of a range to a topic, in the background, each once
    Start(StartArgs),
    /// List the jobs
    List,
    /// Tell how far a job is
    Get {
        /// Its id
        job: String,
    },
    /// Follow a job until it has ended
    Watch {
        /// Its id
        job: String,
    },
    /// Stop a job until it is resumed
    Pause {
        /// Its id
        job: String,
    },
    /// Let a paused job go on
    Resume {
        /// Its id
        job: String,
    },
    /// Give a job up; what it has appended stays
    Cancel {
        /// Its id
        job: String,
    },
    /// Forget a job that has ended
    Delete {
        /// Its id
        job: String,
    },
}

pub(super) async fn run(
    admin: &str,
    format: Format,
    command: ReplayCommand,
) -> anyhow::Result<ExitCode> {
    match command {
        ReplayCommand::Stream(args) => stream::run(admin, format, args).await,
        other => job::run(admin, format, other).await,
    }
}
