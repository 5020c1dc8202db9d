//! Why a journal cannot be used.

use std::{io, path::PathBuf};

use thiserror::Error;

/// Why a node does not start with that journal. No journal file was changed.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Not a journal of this release, or a damaged one.
    #[error(
        "{file}: {why}; it may be the only place that has what was acked last. To start without it, move the folder away"
    )]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What was found.
        why: String,
    },
    /// A segment is not as long as it was when the journal was written, or is damaged.
    #[error(
        "{segment}: {why}, and the journal goes on at {position}; to start without that, move the folder `journal` away"
    )]
    Segment {
        /// The file.
        segment: PathBuf,
        /// Where the journal's bytes belong.
        position: u64,
        /// What does not fit.
        why: String,
    },
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

pub(super) fn io_at(path: &std::path::Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_path_buf();
    move |source| JournalError::Io { path, source }
}
