//! Where the log begins: DeleteRecords and retention move its start, and segments below it go, oldest first.
//!
//! ```text
//! meta/log_start.json            log start, and the first segment that is kept; replaced whole
//! segments/<first offset>.log.deleted     removed, and on the disk until file.delete.delay.ms is over
//! ```
//! The file is durable before a segment goes, and what it speaks of was synced before: whatever a crash leaves, a start never
//! shows a removed record again and never takes the gap for damage. Segments that a pending held record lies in, and those
//! behind them, stay on the disk although the log starts after them. Source: Apache Kafka, `UnifiedLog.deleteOldSegments`.

use std::{io, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    error::ReadError,
    log::{Log, State},
    segment::{SEGMENT_HEADER_LEN, Segment, file_name},
};
use crate::{
    checkpoint,
    disk::{Disk, read_all},
    sealed,
    units::Offset,
};

/// Appended to the name of a removed segment.
pub(super) const DELETED: &str = ".deleted";
const FILE: &str = "meta/log_start.json";
const VERSION: u32 = 1;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionRules {
    /// A segment goes when its youngest visible record is older than this; `None` keeps all.
    pub retention_ms: Option<i64>,
    /// Oldest segments go while the visible bytes of the others are at least this; `None` keeps all.
    pub retention_bytes: Option<u64>,
    /// A removed file stays on the disk for so long.
    pub file_delete_delay_ms: i64,
}

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Segments removed.
    pub segments: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Segments below the log start that pending held records keep on the disk, oldest first.
    pub pinned: Vec<Pinned>,
}

impl Retained {
    /// Bytes of what is pinned.
    pub fn pinned_bytes(&self) -> u64 {
        self.pinned.iter().map(|segment| segment.bytes).sum()
    }
}

/// A segment that only pending held records keep, of its own or of one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// One past its last offset.
    pub end: Offset,
    /// Its size.
    pub bytes: u64,
}

/// A removed segment's file.
#[derive(Debug)]
pub(super) struct Condemned {
    path: PathBuf,
    due_ms: i64,
}

/// `meta/log_start.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogStart {
    version: u32,
    #[serde(rename = "log_start")]
    pub(super) offset: i64,
    /// First offset of the first segment that is kept.
    pub(super) first_segment: i64,
}

impl LogStart {
    /// Whether the log was ever told, be it readable or not.
    pub(super) fn is_there(disk: &dyn Disk, dir: &std::path::Path) -> bool {
        disk.exists(&dir.join(FILE))
    }

    /// What the log was told last; `None` where it still has its first record, or the file is damaged.
    pub(super) fn read(disk: &dyn Disk, dir: &std::path::Path) -> Option<Self> {
        let path = dir.join(FILE);
        if !disk.exists(&path) {
            return None;
        }
        let start: Option<Self> = read_all(disk, &path).ok().and_then(|b| sealed::unseal(&b));
        if start.is_none() {
            tracing::warn!(file = %path.display(), "the log start cannot be read; the log starts at its first segment");
        }
        start.filter(|s| s.version == VERSION)
    }
}

/// A segment, as far as retention looks at it.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// One past its last offset.
    end: Offset,
    /// Of its youngest visible record; of its end where it has none.
    youngest_ms: i64,
    visible_bytes: u64,
    has_batches: bool,
}

/// How many segments from the front the rules give up.
fn doomed(segments: &[Facts], log_start: Offset, rules: &RetentionRules, now_ms: i64) -> usize {
    let expired = |s: &Facts| {
        rules
            .retention_ms
            .is_some_and(|keep| s.has_batches && now_ms.saturating_sub(s.youngest_ms) > keep)
    };
    let by_time = segments.iter().take_while(|s| expired(s)).count();
    let mut rest: u64 = segments.iter().skip(by_time).map(|s| s.visible_bytes).sum();
    let by_size = segments
        .iter()
        .skip(by_time)
        .take_while(|s| {
            rest -= s.visible_bytes;
            s.has_batches && rules.retention_bytes.is_some_and(|keep| rest >= keep)
        })
        .count();
    let below = segments
        .iter()
        .take_while(|s| s.has_batches && s.end <= log_start)
        .count();
    (by_time + by_size).max(below)
}

impl Log {
    /// Deletes all records below `before`; returns the log start, which is durable then. Blocks on the disk.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] where `before` lies above the high watermark.
    pub fn delete_records(&self, before: Offset) -> Result<Offset, ReadError> {
        let _one = self.checkpointing.lock();
        let offsets = self.offsets();
        if before > offsets.high_watermark {
            return Err(ReadError::OutOfRange {
                log_start: offsets.log_start,
                log_end: offsets.high_watermark,
            });
        }
        if before > offsets.log_start {
            // The start must not become durable beyond the end.
            if !self.sync_round(0) {
                return Err(io::Error::other("the log is poisoned").into());
            }
            self.write_start(before, self.first_segment())?;
            self.start_at(before);
        }
        Ok(self.offsets().log_start)
    }

    /// Removes what `rules` do not keep. `oldest_pending` tells the HOLD of the oldest pending record that is not known to
    /// be settled by a committed FIRE; it is asked when no record can be added to what may go. What is derived from the log
    /// must be durable then up to the log's end: frames that settled a record may go. Blocks on the disk.
    pub fn retain(
        &self,
        rules: &RetentionRules,
        now_ms: i64,
        oldest_pending: &dyn Fn() -> io::Result<Option<Offset>>,
    ) -> io::Result<Retained> {
        self.reap(now_ms);
        let _one = self.checkpointing.lock();
        let Some((doomed, start)) = self.decide(rules, now_ms)? else {
            return Ok(Retained::default());
        };
        let pin = oldest_pending()?;
        // What settled the records that go must be on the disk before they go, and so must what the start speaks of.
        self.write_checkpoint(now_ms)?;
        let removable = doomed
            .iter()
            .take_while(|(_, end)| pin.is_none_or(|pin| *end <= pin))
            .count();
        let (gone, pinned) = doomed.split_at(removable.min(doomed.len()));
        let size = |segment: &Segment| segment.index.read().size;
        let retained = Retained {
            segments: gone.len(),
            bytes: gone.iter().map(|(segment, _)| size(segment)).sum(),
            pinned: pinned
                .iter()
                .map(|(segment, end)| Pinned {
                    end: *end,
                    bytes: size(segment),
                })
                .collect(),
        };
        let first = gone
            .last()
            .map_or_else(|| self.first_segment(), |(_, end)| *end);
        if gone.is_empty() && start <= self.offsets().log_start {
            return Ok(retained);
        }
        self.write_start(start, first)?;
        self.start_at(start);
        self.remove(gone, rules.file_delete_delay_ms, now_ms)?;
        Ok(retained)
    }

    /// Unlinks removed files whose delay is over.
    pub fn reap(&self, now_ms: i64) {
        let due: Vec<Condemned> = {
            let mut writer = self.writer.lock();
            if writer.condemned.is_empty() {
                return;
            }
            let (due, waiting) = std::mem::take(&mut writer.condemned)
                .into_iter()
                .partition(|c| c.due_ms <= now_ms);
            writer.condemned = waiting;
            due
        };
        for file in due {
            if let Err(cause) = self.disk.remove_file(&file.path) {
                tracing::warn!(file = %file.path.display(), %cause, "a removed segment is still on the disk");
            }
        }
    }

    /// The segments that go, each with its end, and the start that this leaves. An active segment that goes is closed first.
    #[expect(
        clippy::type_complexity,
        reason = "segments, each with its end, and the new start"
    )]
    fn decide(
        &self,
        rules: &RetentionRules,
        now_ms: i64,
    ) -> io::Result<Option<(Vec<(Arc<Segment>, Offset)>, Offset)>> {
        let mut writer = self.writer.lock();
        if writer.state != State::Open {
            return Ok(None);
        }
        let segments = Arc::clone(&self.segments.read());
        let facts = facts(&segments, writer.next_offset);
        let mut count = doomed(&facts, writer.log_start, rules, now_ms);
        let committed = self.committed().high_watermark;
        let is_committed = facts.iter().take_while(|f| f.end <= committed).count();
        count = count.min(is_committed);
        if count == 0 {
            return Ok(None);
        }
        if count == segments.len() {
            self.roll(&mut writer, now_ms).map_err(io::Error::other)?;
        }
        let ends = facts.iter().map(|f| f.end);
        let going: Vec<_> = segments.iter().cloned().zip(ends).take(count).collect();
        let start = going.last().map_or(writer.log_start, |(_, end)| *end);
        Ok(Some((going, start.max(writer.log_start))))
    }

    fn first_segment(&self) -> Offset {
        let segments = self.segments.read();
        segments.first().map_or(Offset(0), |s| s.first_offset)
    }

    fn write_start(&self, log_start: Offset, first_segment: Offset) -> io::Result<()> {
        let start = LogStart {
            version: VERSION,
            offset: log_start.0,
            first_segment: first_segment.0,
        };
        checkpoint::replace(&*self.disk, &self.dir.join(FILE), &sealed::seal(&start)?)
    }

    fn start_at(&self, log_start: Offset) {
        let mut writer = self.writer.lock();
        writer.log_start = writer.log_start.max(log_start);
        writer.visible_end = writer.visible_end.max(log_start);
        writer.epochs.start_at(log_start);
        self.publish(&mut writer);
    }

    /// Takes segments out of the log. Readers that have them open keep the bytes; a segment whose file cannot be renamed is
    /// removed by the next start.
    fn remove(
        &self,
        gone: &[(Arc<Segment>, Offset)],
        delay_ms: i64,
        now_ms: i64,
    ) -> io::Result<()> {
        let is_gone = |s: &Arc<Segment>| gone.iter().any(|(g, _)| Arc::ptr_eq(g, s));
        {
            let mut writer = self.writer.lock();
            writer.unindexed.retain(|s| !is_gone(s));
            let mut segments = self.segments.write();
            let kept: Vec<_> = segments.iter().filter(|s| !is_gone(s)).cloned().collect();
            *segments = Arc::new(kept);
        }
        self.condemn(gone, delay_ms, now_ms)
    }

    /// Takes the files of segments away that are not in the log any more.
    pub(super) fn condemn(
        &self,
        gone: &[(Arc<Segment>, Offset)],
        delay_ms: i64,
        now_ms: i64,
    ) -> io::Result<()> {
        for (segment, _) in gone {
            let mut name = segment.path.clone().into_os_string();
            name.push(DELETED);
            let path = PathBuf::from(name);
            self.disk.rename(&segment.path, &path)?;
            let due_ms = now_ms.saturating_add(delay_ms);
            self.writer
                .lock()
                .condemned
                .push(Condemned { path, due_ms });
            for kind in ["index", "frames"] {
                let path = self
                    .dir
                    .join(format!("index/{:020}.{kind}", segment.first_offset.0));
                if self.disk.exists(&path) {
                    self.disk.remove_file(&path)?;
                }
            }
            tracing::info!(segment = %segment.path.display(), bytes = segment.index.read().size, "segment removed");
        }
        self.disk.sync_dir(&self.dir.join("segments"))?;
        self.reap(now_ms);
        Ok(())
    }
}

fn facts(segments: &[Arc<Segment>], log_end: Offset) -> Vec<Facts> {
    segments
        .iter()
        .enumerate()
        .map(|(i, segment)| {
            let next = segments.get(i + 1);
            let index = segment.index.read();
            let youngest_ms = if index.max_timestamp >= 0 {
                index.max_timestamp
            } else {
                // Nothing in it can be read: it is as old as its end.
                next.map_or(i64::MAX, |n| n.created_ms)
            };
            Facts {
                end: next.map_or(log_end, |n| n.first_offset),
                youngest_ms,
                visible_bytes: index.visible_bytes(),
                has_batches: index.size > SEGMENT_HEADER_LEN as u64,
            }
        })
        .collect()
}

/// Removes what a crash left: segments below the first that is kept, files that waited for their delay, and indexes of
/// segments that are not there. Called before the log is opened.
pub(super) fn sweep(
    disk: &dyn Disk,
    dir: &std::path::Path,
    start: Option<LogStart>,
) -> io::Result<()> {
    let folder = dir.join("segments");
    let mut kept = Vec::new();
    for (name, _) in disk.list(&folder)? {
        let first = super::segment::first_offset_of(&name);
        let below = |first: Offset| start.is_some_and(|s| first.0 < s.first_segment);
        if name.ends_with(DELETED) || first.is_some_and(below) {
            disk.remove_file(&folder.join(&name))?;
        } else if let Some(first) = first {
            kept.push(file_name(first));
        }
    }
    let index = dir.join("index");
    for (name, _) in disk.list(&index)? {
        let Some((digits, "index" | "frames")) = name.rsplit_once('.') else {
            continue;
        };
        if !kept.iter().any(|k| k.strip_suffix(".log") == Some(digits)) {
            disk.remove_file(&index.join(&name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(list: &[(i64, i64, u64)]) -> Vec<Facts> {
        list.iter()
            .map(|(end, youngest_ms, visible_bytes)| Facts {
                end: Offset(*end),
                youngest_ms: *youngest_ms,
                visible_bytes: *visible_bytes,
                has_batches: true,
            })
            .collect()
    }

    #[test]
    fn what_goes_is_always_a_run_from_the_front() {
        let keep_all = RetentionRules {
            retention_ms: None,
            retention_bytes: None,
            file_delete_delay_ms: 0,
        };
        let segments = facts(&[(10, 100, 50), (20, 900, 50), (30, 200, 50), (40, 950, 10)]);
        let count = |rules, start| doomed(&segments, Offset(start), &rules, 1000);
        assert_eq!(count(keep_all, 0), 0);
        assert_eq!(count(keep_all, 20), 2, "wholly below the log start");
        assert_eq!(count(keep_all, 29), 2, "a part of it is still to be read");
        let time = |ms| RetentionRules {
            retention_ms: Some(ms),
            ..keep_all
        };
        assert_eq!(count(time(500), 0), 1, "a younger one in between stops it");
        assert_eq!(count(time(10), 0), 4, "the active one as well");
        assert_eq!(count(time(900), 0), 0, "not older, just as old");
        let bytes = |n| RetentionRules {
            retention_bytes: Some(n),
            ..keep_all
        };
        assert_eq!(count(bytes(110), 0), 1);
        assert_eq!(
            count(bytes(111), 0),
            0,
            "what is left must not be less than asked for"
        );
        assert_eq!(count(bytes(0), 0), 4);
        let both = RetentionRules {
            retention_bytes: Some(60),
            ..time(500)
        };
        assert_eq!(count(both, 0), 2, "by size after what went by time");
    }
}
