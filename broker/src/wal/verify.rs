//! `chronosdb wal verify`.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use admin::output::{self, Format};
use serde::Serialize;
use storage::{
    disk::{Disk, RealDisk},
    frame::{CancelFrame, ForgetFrame, HoldFrame},
    log::{ScanItem, ScanStop},
};

use super::{VerifyArgs, segments};

#[derive(Default, Serialize)]
struct Verdict {
    partition: String,
    ok: bool,
    segments: usize,
    frames: u64,
    held_records: u64,
    bytes: u64,
    next_offset: i64,
    /// Where the first bad byte is, and what is wrong there.
    damage: Option<String>,
}

pub(super) fn run(args: &VerifyArgs, format: Format) -> anyhow::Result<ExitCode> {
    let verdicts: Vec<Verdict> = partitions(&args.folders)?
        .iter()
        .map(|folder| verify(folder))
        .collect();
    output::rows(format, &verdicts)?;
    Ok(if verdicts.iter().all(|v| v.ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Folders that are partitions, and the partitions in those that are not.
fn partitions(folders: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in folders {
        if RealDisk.exists(&folder.join("segments")) {
            found.push(folder.clone());
            continue;
        }
        let names = RealDisk
            .list(folder)
            .map_err(|e| anyhow::anyhow!("{}: {e}", folder.display()))?;
        let inside = names.into_iter().map(|(name, _)| folder.join(name));
        found.extend(inside.filter(|path| RealDisk.exists(&path.join("segments"))));
    }
    Ok(found)
}

fn verify(folder: &Path) -> Verdict {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let mut verdict = Verdict {
        partition: name.into_owned(),
        ..Verdict::default()
    };
    verdict.damage = check(folder, &mut verdict).err();
    verdict.ok = verdict.damage.is_none();
    verdict
}

fn check(folder: &Path, verdict: &mut Verdict) -> Result<(), String> {
    let segments = segments(folder).map_err(|e| e.to_string())?;
    let mut next = segments.first().map(|s| s.header.first_offset);
    for segment in &segments {
        let at = |position: u64| format!("{} at {position}", segment.path.display());
        if next != Some(segment.header.first_offset) {
            let (first, next) = (segment.header.first_offset, next.unwrap_or_default());
            return Err(format!(
                "{}: it starts at {first} where {next} follows",
                at(0)
            ));
        }
        let mut scanner = segment.scanner();
        while let Some(unit) = scanner.next_unit() {
            let unit = unit.map_err(|stop| match stop {
                ScanStop::Bad(why) => format!("{}: {why}", at(scanner.position())),
                ScanStop::Io(error) => format!("{}: {error}", at(scanner.position())),
            })?;
            take_in(verdict, &unit).map_err(|why| format!("{}: {why}", at(unit.position)))?;
        }
        verdict.segments += 1;
        next = Some(scanner.next_offset());
        verdict.next_offset = scanner.next_offset().0;
    }
    Ok(())
}

fn take_in(verdict: &mut Verdict, unit: &ScanItem) -> Result<(), String> {
    for frame in &unit.frames {
        verdict.frames += 1;
        verdict.bytes += frame.bytes.len() as u64;
        if !frame.header.is_hidden() {
            continue;
        }
        if let Some(hold) = HoldFrame::parse(frame).map_err(|e| e.to_string())? {
            for i in 0..hold.entries.len() {
                hold.record(i).map_err(|e| e.to_string())?;
                verdict.held_records += 1;
            }
        } else if CancelFrame::parse(frame)
            .map_err(|e| e.to_string())?
            .is_none()
        {
            ForgetFrame::parse(frame).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}
