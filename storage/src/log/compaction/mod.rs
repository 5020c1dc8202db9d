//! Compaction: of the records with one key, only the last is kept. Offsets and order stay.
//!
//! ```text
//! segments/<first offset>.log.cleaned   what some neighbouring segments become; without the swap file it is thrown away
//! meta/compaction.json                  how far the log is clean; and while segments change places, which become one
//! ```
//! A pass looks at closed segments alone. It reads the keys that came since the last one into a map of bounded size, then writes
//! segments anew, from the log's beginning to where the map ends, several into one where they became small. What is left of a
//! batch keeps its offsets; a run of offsets of which nothing is left becomes one hidden frame without entries, so that units
//! still follow one another without a hole, and a start reads a compacted segment as any other.
//! - *Kept*: the last record of each key, records behind the map's end, the log's last visible record. Tombstones until
//!   `delete.retention.ms` after the first pass that met them: the batch says until when (attribute bit 6, base timestamp).
//! - *Transactions*: what lies behind the first open one waits. What an aborted one wrote goes; a marker goes
//!   `delete.retention.ms` after the first pass that found nothing of its transaction left, as tombstones do.
//! - *Kept whole*: FIREs and CANCELs, and HOLDs that a pending record lies in; a settled HOLD keeps its
//!   offsets only. Hidden frames never enter the map.
//! - *A producer's last batch* keeps its header, in a HOLD without entries: its sequences go on (KIP-98).
//! - *Crash*: new segments are synced before the swap file is; with it a start finishes the swap, without it nothing happened.
//!
//! Source: Apache Kafka, `Cleaner`, `LogCleanerManager`, `SkimpyOffsetMap`; `storage/DESIGN` §4 rule 7 for what is hidden.

mod aborted;
mod clean;
mod key_map;
mod state;
mod swap;

use std::{collections::HashMap, io, sync::Arc};

use bytes::Bytes;

pub use self::key_map::BYTES_PER_KEY;
pub(super) use self::swap::finish;
use self::{aborted::Aborted, clean::Cleaner, key_map::KeyMap, state::CleanState};
use super::{
    error::ReadError,
    log::Log,
    scan::{ScanStop, Scanner},
    segment::{SEGMENT_HEADER_LEN, Segment},
};
use crate::{
    batch::BatchView,
    record::RecordRef,
    units::{DueTime, Offset, ScheduleId},
};

/// What is compacted when, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionRules {
    /// `min.cleanable.dirty.ratio`
    pub min_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: younger records stay.
    pub min_lag_ms: i64,
    /// `max.compaction.lag.ms`: with an older record that was never looked at, a pass begins whatever the ratio.
    pub max_lag_ms: i64,
    /// `delete.retention.ms`: how long tombstones are kept.
    pub delete_retention_ms: i64,
    /// `segment.bytes`: what segments become together.
    pub segment_bytes: u32,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `file.delete.delay.ms`
    pub file_delete_delay_ms: i64,
    /// Keys that are held in memory at once, [`BYTES_PER_KEY`] each.
    pub keys_max: usize,
}

/// What compaction needs of those who know more than the log.
pub trait Around {
    /// The records of a batch, uncompressed.
    fn plain(&self, batch: &BatchView) -> io::Result<Bytes>;
    /// Records as the batch's codec has them.
    fn packed(&self, codec: u8, plain: Vec<u8>) -> io::Result<Vec<u8>>;
    /// Whether one of these held records is pending; each with the due time that its HOLD has.
    fn is_pending(&self, held: &[(ScheduleId, DueTime)]) -> io::Result<bool>;
    /// HOLDs of records that are not pending any more go next: what is derived from the log must be durable.
    fn before_swap(&self) -> io::Result<()>;
    /// So many bytes were read or written: waits where that is too much; false where the pass is to be given up.
    fn pace(&self, bytes: usize) -> bool;
}

/// How much there is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dirt {
    /// Bytes that passes went over.
    pub clean_bytes: u64,
    /// Bytes of closed segments that came since.
    pub dirty_bytes: u64,
    /// A record waits longer than `max.compaction.lag.ms`.
    pub is_late: bool,
}

impl Dirt {
    /// The share that no pass went over.
    pub fn ratio(&self) -> f64 {
        let all = self.clean_bytes + self.dirty_bytes;
        #[expect(clippy::cast_precision_loss, reason = "a share of bytes")]
        let ratio = self.dirty_bytes as f64 / all.max(1) as f64;
        ratio
    }

    /// Whether a pass is worth it.
    pub fn is_enough(&self, rules: &CompactionRules) -> bool {
        self.dirty_bytes > 0 && (self.is_late || self.ratio() >= rules.min_dirty_ratio)
    }
}

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Bytes of segments before.
    pub bytes_before: u64,
    /// And after.
    pub bytes_after: u64,
    /// Visible records before.
    pub records_before: u64,
    /// And after.
    pub records_after: u64,
    /// Keys that were looked at.
    pub keys: usize,
}

/// A closed segment that may be compacted, and its end.
type Closed = (Arc<Segment>, Offset);

impl Log {
    /// How much a pass would have to do.
    pub fn dirt(&self, rules: &CompactionRules, now_ms: i64) -> Dirt {
        let clean_to = CleanState::read(&*self.disk, &self.dir).clean_to;
        let mut dirt = Dirt::default();
        for (segment, end) in self.closed(rules, now_ms) {
            let index = segment.index.read();
            let bytes = index.size - SEGMENT_HEADER_LEN as u64;
            if end <= clean_to {
                dirt.clean_bytes += bytes;
            } else {
                dirt.dirty_bytes += bytes;
                let oldest = index.min_timestamp;
                dirt.is_late |= now_ms.saturating_sub(oldest) > rules.max_lag_ms;
            }
        }
        dirt
    }

    /// Segments from the front that are closed, committed, and old enough.
    fn closed(&self, rules: &CompactionRules, now_ms: i64) -> Vec<Closed> {
        // What a transaction wrote that is open may be aborted.
        let committed = self.offsets().last_stable;
        let segments = Arc::clone(&self.segments.read());
        let mut closed = Vec::new();
        for pair in segments.windows(2) {
            let [segment, next] = pair else { continue };
            let youngest = segment.index.read().max_timestamp;
            let age = now_ms.saturating_sub(youngest);
            let is_young = rules.min_lag_ms > 0 && age < rules.min_lag_ms;
            if next.first_offset > committed || is_young {
                break;
            }
            closed.push((Arc::clone(segment), next.first_offset));
        }
        closed
    }

    /// One pass; `None` where there is nothing to do, or it was given up, as when retention takes what is compacted. One at a
    /// time. Blocks on the disk.
    pub fn compact(
        &self,
        rules: &CompactionRules,
        now_ms: i64,
        around: &dyn Around,
    ) -> Result<Option<Compacted>, ReadError> {
        let closed = self.closed(rules, now_ms);
        let clean_to = CleanState::read(&*self.disk, &self.dir).clean_to;
        let mut keys = KeyMap::new(clean_to, rules.keys_max);
        let aborted = Aborted::of(self, closed.last().map_or(Offset(0), |(_, end)| *end));
        let Some(map_end) = map_keys(&closed, clean_to, &mut keys, &aborted, around)? else {
            return Ok(None);
        };
        if map_end <= clean_to {
            return Ok(None);
        }
        let in_map: Vec<Closed> = closed
            .into_iter()
            .filter(|(segment, _)| segment.first_offset < map_end)
            .collect();
        let mut compacted = Compacted {
            keys: keys.len(),
            ..Compacted::default()
        };
        let producers = self.writer.lock().producers.clone();
        let last_visible = self.offsets().visible_end;
        let places = keys.places(map_end);
        let mut cleaner = Cleaner {
            keys: &keys,
            places: &places,
            clean_to,
            aborted: &aborted,
            open: HashMap::new(),
            map_end,
            last_visible,
            producers: &producers,
            rules,
            now_ms,
            around,
        };
        for group in groups(in_map, rules) {
            let Some(written) = self.write_cleaned(&group, &mut cleaner, &mut compacted)? else {
                return Ok(None);
            };
            // What settled the records whose HOLDs go must not be lost behind them.
            if !self.sync_round(0) {
                return Err(io::Error::other("the log is poisoned").into());
            }
            around.before_swap()?;
            if !self.swap(&group, &written, rules.file_delete_delay_ms, now_ms)? {
                return Ok(None);
            }
        }
        let state = CleanState {
            clean_to: map_end,
            swap: None,
        };
        state.write(&*self.disk, &self.dir)?;
        Ok(Some(compacted))
    }
}

/// Reads the keys of what came since the last pass. Returns up to where all of them are in the map; `None` where it was given up.
fn map_keys(
    closed: &[Closed],
    clean_to: Offset,
    keys: &mut KeyMap,
    aborted: &Aborted,
    around: &dyn Around,
) -> Result<Option<Offset>, ReadError> {
    let mut map_end = clean_to;
    let mut found = Vec::new();
    for (segment, end) in closed.iter().filter(|(_, end)| *end > clean_to) {
        let mut scanner = scanner(segment);
        while let Some(unit) = scanner.next_unit() {
            let unit = unit.map_err(|stop| unreadable(segment, &scanner, stop))?;
            let bytes = unit.frames.iter().map(|frame| frame.bytes.len()).sum();
            if !around.pace(bytes) {
                return Ok(None);
            }
            for batch in &unit.frames {
                let header = &batch.header;
                let has_none = header.is_hidden() || header.is_control() || aborted.has(header);
                if has_none || scanner.next_offset() <= clean_to {
                    continue;
                }
                if !keys.has_room_for(header.records_count, Offset(header.last_offset())) {
                    return Ok(Some(map_end));
                }
                let plain = around.plain(batch)?;
                found.clear();
                for_each_record(batch, &plain, |record, offset| {
                    found.extend(record.key().map(|key| (keys.hash(key), offset)));
                })?;
                keys.warm(found.iter().map(|(key, _)| key));
                for (key, offset) in &found {
                    keys.put(key, *offset);
                }
            }
            map_end = map_end.max(scanner.next_offset());
        }
        map_end = map_end.max(*end);
    }
    Ok(Some(map_end))
}

/// Neighbours that become one segment.
fn groups(closed: Vec<Closed>, rules: &CompactionRules) -> Vec<Vec<Closed>> {
    let mut groups: Vec<Vec<Closed>> = Vec::new();
    let mut bytes = 0;
    for (segment, end) in closed {
        let size = segment.index.read().size;
        let first = groups.last().and_then(|group| group.first());
        let fits = first.is_some_and(|(first, _)| {
            i32::try_from(end.0 - first.first_offset.0).is_ok()
                && bytes + size <= u64::from(rules.segment_bytes)
        });
        match groups.last_mut() {
            Some(group) if fits => {
                group.push((segment, end));
                bytes += size;
            }
            _ => {
                groups.push(vec![(segment, end)]);
                bytes = size;
            }
        }
    }
    groups
}

fn scanner(segment: &Segment) -> Scanner {
    let size = segment.index.read().size;
    let from = SEGMENT_HEADER_LEN as u64;
    Scanner::new(Arc::clone(&segment.file), from, size, segment.first_offset)
}

fn unreadable(segment: &Segment, scanner: &Scanner, stop: ScanStop) -> ReadError {
    match stop {
        ScanStop::Io(error) => error.into(),
        ScanStop::Bad(why) => ReadError::Corrupt {
            segment: segment.path.clone(),
            position: scanner.position(),
            why,
        },
    }
}

/// Gives each record of a batch, and its offset.
fn for_each_record(
    batch: &BatchView,
    plain: &[u8],
    mut each: impl FnMut(&RecordRef<'_>, Offset),
) -> io::Result<()> {
    let mut left = plain;
    for _ in 0..batch.header.records_count {
        let record = RecordRef::read(left).map_err(io::Error::other)?;
        left = left.get(record.encoded.len()..).unwrap_or_default();
        let offset = batch.header.base_offset + i64::from(record.offset_delta);
        each(&record, Offset(offset));
    }
    Ok(())
}
