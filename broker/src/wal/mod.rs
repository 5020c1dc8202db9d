//! `chronosdb wal`: looks into the files of a partition without opening it. Changes nothing, and works beside a running node,
//! whose last append may then be seen half.
//!
//! `dump` prints every frame, hidden ones too; `verify` reads everything, checks every checksum, and says where it ends.

mod dump;
mod verify;

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use admin::output::Format;
use clap::{Args, Subcommand};
use storage::{
    batch::BatchView,
    disk::{Disk, DiskFile, OpenMode, RealDisk},
    frame::ForgetFrame,
    log::{SEGMENT_HEADER_LEN, Scanner, SegmentHeader},
};

/// A command about log files.
#[derive(Debug, Subcommand)]
pub enum WalCommand {
    /// Print every frame of a partition
    Dump(DumpArgs),
    /// Check every frame of one or all partitions
    Verify(VerifyArgs),
}

/// What to dump.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// The partition's folder: DATA/NODE/partitions/TOPIC-PARTITION
    folder: PathBuf,
    /// Also print the records of each frame, and what a HOLD holds
    #[arg(long)]
    records: bool,
    /// Start at this offset
    #[arg(long, default_value_t = 0)]
    from: i64,
    /// Print so many frames at most
    #[arg(short = 'n', long)]
    limit: Option<usize>,
}

/// What to verify.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Partitions' folders, or one folder that has some: DATA/NODE/partitions
    #[arg(required = true)]
    folders: Vec<PathBuf>,
}

/// Runs a command; exit code 1 means that damage was found.
pub fn run(command: &WalCommand, format: Format) -> anyhow::Result<ExitCode> {
    match command {
        WalCommand::Dump(args) => dump::run(args, format),
        WalCommand::Verify(args) => verify::run(args, format),
    }
}

/// A segment file, opened for reading.
struct SegmentFile {
    path: PathBuf,
    header: SegmentHeader,
    file: std::sync::Arc<dyn DiskFile>,
    len: u64,
}

impl SegmentFile {
    fn scanner(&self) -> Scanner {
        Scanner::new(
            std::sync::Arc::clone(&self.file),
            SEGMENT_HEADER_LEN as u64,
            self.len,
            self.header.first_offset,
        )
    }
}

/// The segments of a partition's folder, in order. A header that cannot be read is the error, with the file's name.
fn segments(folder: &Path) -> anyhow::Result<Vec<SegmentFile>> {
    let segments = folder.join("segments");
    let names = RealDisk
        .list(&segments)
        .map_err(|e| anyhow::anyhow!("{}: {e}", segments.display()))?;
    names
        .into_iter()
        .filter(|(name, is_dir)| !is_dir && Path::new(name).extension() == Some("log".as_ref()))
        .map(|(name, _)| {
            let path = segments.join(name);
            open(&path).map_err(|why| anyhow::anyhow!("{}: {why}", path.display()))
        })
        .collect()
}

fn open(path: &Path) -> Result<SegmentFile, String> {
    let say = |e: io::Error| e.to_string();
    let file = RealDisk.open(path, OpenMode::Read).map_err(say)?;
    let len = file.len().map_err(say)?;
    let mut bytes = [0; SEGMENT_HEADER_LEN];
    file.read_exact_at(&mut bytes, 0)
        .map_err(|e| format!("reading its header: {e}"))?;
    let header = SegmentHeader::parse(&bytes)?;
    Ok(SegmentFile {
        path: path.to_path_buf(),
        header,
        file,
        len,
    })
}

/// What a frame is called.
fn kind(frame: &BatchView, opens_unit: bool) -> &'static str {
    let header = &frame.header;
    let forgets = || ForgetFrame::parse(frame).is_ok_and(|forget| forget.is_some());
    match (header.is_hidden(), header.is_fire()) {
        (true, _) if opens_unit => "HOLD",
        (true, _) if forgets() => "FORGET",
        (true, _) => "CANCEL",
        (false, true) => "FIRE",
        (false, false) if header.is_control() => "CONTROL",
        (false, false) => "DATA",
    }
}
