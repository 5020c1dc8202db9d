//! What is left of units.

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    sync::Arc,
};

use parking_lot::RwLock;

use super::{
    Around, Closed, Compacted, CompactionRules, KeyMap, aborted::Aborted, for_each_record,
    key_map::Places, scanner, unreadable,
};
use crate::{
    batch::{
        ATTR_DELETE_HORIZON, ATTR_HIDDEN, ATTR_TRANSACTIONAL, BatchHeader, BatchView, MAGIC_V2,
        build_batch,
    },
    disk::{DiskFile, OpenMode},
    frame::{HoldFrame, Holds},
    log::{
        ReadError, ScanItem,
        log::{Log, State},
        producer_state::Producers,
        segment::{SEGMENT_HEADER_LEN, Segment, SegmentHeader, file_name},
        segment_index::SegmentIndex,
    },
    record::RecordRef,
    units::Offset,
};

/// Appended to the name of a segment that is being written.
pub(super) const CLEANED: &str = ".cleaned";
/// Written at once.
const WRITE_BYTES: usize = 1 << 20;

/// By what is judged what stays.
pub(super) struct Cleaner<'a> {
    pub(super) keys: &'a KeyMap,
    /// Where in the map's offsets last records are.
    pub(super) places: &'a Places,
    /// The map's offsets begin here.
    pub(super) clean_to: Offset,
    pub(super) aborted: &'a Aborted,
    /// Producers of whose transaction something was there since its last marker; whether held records were.
    pub(super) open: HashMap<i64, bool>,
    /// Records from here on are not in the map: they stay.
    pub(super) map_end: Offset,
    /// One past the log's last visible record.
    pub(super) last_visible: Offset,
    pub(super) producers: &'a Producers,
    pub(super) rules: &'a CompactionRules,
    pub(super) now_ms: i64,
    pub(super) around: &'a dyn Around,
}

/// What is left of a batch.
enum Left {
    All,
    Some(BatchView),
    Nothing,
}

impl Cleaner<'_> {
    /// Whether nothing of a unit stays, by its head alone: a plain batch of the map's offsets none of which is a key's last. The
    /// unit was read, and its checksum asked, when the map was made.
    fn goes_unread(&self, head: &BatchHeader) -> bool {
        let (first, last) = (Offset(head.base_offset), Offset(head.last_offset()));
        let is_plain = !head.is_hidden() && !head.is_control() && !head.is_fire();
        is_plain
            && !head.is_transactional()
            && first >= self.clean_to
            && last < self.map_end
            && last.0 + 1 < self.last_visible.0
            && !self.goes_on(head)
            && self.places.has_none(first, last)
    }

    /// What is left of a unit, in frames; all of it, or what follows the last, may be a hole.
    fn unit(&mut self, unit: &ScanItem, out: &mut Output<'_>) -> Result<(), ReadError> {
        let Some(first) = unit.frames.first() else {
            return Ok(());
        };
        if first.header.is_control() {
            return self.marker(first, out);
        }
        for frame in &unit.frames {
            let header = &frame.header;
            if header.is_transactional() && header.records_count > 0 {
                let holds = self.open.entry(header.producer_id).or_default();
                *holds |= header.is_hidden();
            }
        }
        let (base, last) = (first.header.base_offset, first.header.last_offset());
        let goes_on = self.goes_on(&first.header);
        if let Some(hold) = HoldFrame::parse(first).map_err(io::Error::other)? {
            return self.held_unit(unit, &hold, goes_on, out);
        }
        if first.header.is_hidden() || first.header.is_fire() {
            return out.put_all(unit);
        }
        match self.batch(first, &mut out.compacted)? {
            Left::All => out.put_all(unit),
            Left::Some(batch) if goes_on && batch.header.last_offset() < last => {
                let head = empty_hold(&first.header, &[&batch])?;
                out.put(&[head, batch])
            }
            Left::Some(batch) => {
                let behind = batch.header.last_offset() + 1;
                out.put(&[batch])?;
                out.hole(behind, last);
                Ok(())
            }
            Left::Nothing if goes_on => out.put(&[empty_hold(&first.header, &[])?]),
            Left::Nothing => {
                out.hole(base, last);
                Ok(())
            }
        }
    }

    /// The end of a transaction goes when nothing of the transaction is left, some time later.
    fn marker(&mut self, marker: &BatchView, out: &mut Output<'_>) -> Result<(), ReadError> {
        let header = &marker.header;
        let left = self.open.remove(&header.producer_id);
        let stays = left.is_some()
            || self.producers.is_last_word(header)
            || header.last_offset() + 1 >= self.last_visible.0
            || header.base_offset >= self.map_end.0;
        match header.delete_horizon_ms() {
            Some(until) if !stays && until <= self.now_ms => {
                out.hole(header.base_offset, header.last_offset());
                return Ok(());
            }
            None if !stays => {
                let plain = self.around.plain(marker)?;
                let dated = self.rewritten(marker, &plain, &[true], true)?;
                out.put(&[dated])?;
            }
            _ => {
                out.put_as(std::slice::from_ref(marker), left == Some(true))?;
            }
        }
        out.index.aborted.extend(self.aborted.ended_by(header));
        Ok(())
    }

    /// A unit that a HOLD opens: offsets and sequences are the HOLD's, whatever is left of what follows it.
    fn held_unit(
        &self,
        unit: &ScanItem,
        hold: &HoldFrame,
        goes_on: bool,
        out: &mut Output<'_>,
    ) -> Result<(), ReadError> {
        let entries = hold.entries.iter();
        let ids: Vec<_> = entries.map(|entry| (entry.id, entry.due)).collect();
        let mut changed = !ids.is_empty() && !self.around.is_pending(&ids)?;
        let is_settled = changed || ids.is_empty();
        let mut left = Vec::new();
        for frame in unit.frames.iter().skip(1) {
            if frame.header.is_hidden() {
                left.push(frame.clone());
                continue;
            }
            match self.batch(frame, &mut out.compacted)? {
                Left::All => left.push(frame.clone()),
                Left::Some(batch) => {
                    changed = true;
                    left.push(batch);
                }
                Left::Nothing => changed = true,
            }
        }
        let Some(first) = unit.frames.first() else {
            return Ok(());
        };
        if is_settled && left.is_empty() && !goes_on {
            out.hole(first.header.base_offset, first.header.last_offset());
            return Ok(());
        }
        if !changed {
            return out.put_all(unit);
        }
        if !is_settled {
            // Its head says how many bytes follow it: it is left as it is.
            return out.put_all(unit);
        }
        let frames: Vec<&BatchView> = left.iter().collect();
        let head = empty_hold(&first.header, &frames)?;
        let mut frames = vec![head];
        frames.extend(left);
        out.put(&frames)
    }

    /// The producer may send another batch that has to follow this one.
    fn goes_on(&self, header: &BatchHeader) -> bool {
        header.has_producer_id()
            && self.producers.last_offset(header.producer_id) == Some(header.last_offset())
    }

    fn batch(&self, batch: &BatchView, counts: &mut Compacted) -> Result<Left, ReadError> {
        let header = &batch.header;
        if self.aborted.has(header) {
            counts.records_before += u64::try_from(header.records_count).unwrap_or(0);
            return Ok(Left::Nothing);
        }
        let plain = self.around.plain(batch)?;
        let is_last_visible = header.last_offset() + 1 >= self.last_visible.0;
        let horizon = header.delete_horizon_ms();
        let mut found = Vec::new();
        for_each_record(batch, &plain, |record, offset| {
            let key = record.key().map(|key| self.keys.hash(key));
            found.push((key, offset, record.is_tombstone()));
        })?;
        self.keys
            .warm(found.iter().filter_map(|(key, ..)| key.as_ref()));
        let mut tombstones = false;
        let stays = found.iter().map(|(key, offset, is_tombstone)| {
            let is_last = match key {
                // It could never be found again.
                None => false,
                Some(key) => self.keys.last(key).is_none_or(|last| *offset >= last),
            };
            let is_gone = *is_tombstone && horizon.is_some_and(|until| until <= self.now_ms);
            let stays = *offset >= self.map_end || (is_last && !is_gone);
            tombstones |= stays && *is_tombstone;
            stays
        });
        let mut keeps: Vec<bool> = stays.collect();
        counts.records_before += keeps.len() as u64;
        if is_last_visible && let Some(last) = keeps.last_mut() {
            *last = true;
        }
        let count = keeps.iter().filter(|stays| **stays).count();
        counts.records_after += count as u64;
        let dates = tombstones && horizon.is_none();
        if count == 0 {
            return Ok(Left::Nothing);
        }
        if count == keeps.len() && !dates {
            return Ok(Left::All);
        }
        self.rewritten(batch, &plain, &keeps, dates).map(Left::Some)
    }

    /// The records that stay, at their offsets; where it is the first time that tombstones are met, with the time they go.
    fn rewritten(
        &self,
        batch: &BatchView,
        plain: &[u8],
        keeps: &[bool],
        dates: bool,
    ) -> Result<BatchView, ReadError> {
        let header = batch.header;
        let base_timestamp = if dates {
            self.now_ms.saturating_add(self.rules.delete_retention_ms)
        } else {
            header.base_timestamp
        };
        let shift = base_timestamp.saturating_sub(header.base_timestamp);
        let mut body = Vec::with_capacity(plain.len());
        let (mut count, mut last_delta) = (0, 0);
        let mut keeps = keeps.iter();
        let mut latest = -1;
        for_each_record(batch, plain, |record: &RecordRef<'_>, _| {
            if keeps.next() != Some(&true) {
                return;
            }
            count += 1;
            last_delta = record.offset_delta;
            latest = latest.max(header.base_timestamp.saturating_add(record.timestamp_delta));
            if shift == 0 {
                body.extend_from_slice(record.encoded);
            } else {
                record.encode_with(
                    record.timestamp_delta.saturating_sub(shift),
                    record.offset_delta,
                    record.encoded_headers(),
                    &mut body,
                );
            }
        })?;
        let packed = self.around.packed(header.compression(), body)?;
        let horizon = if dates { ATTR_DELETE_HORIZON } else { 0 };
        let rewritten = BatchHeader {
            attributes: header.attributes | horizon,
            base_timestamp,
            max_timestamp: if header.log_append_time() {
                header.max_timestamp
            } else {
                latest
            },
            last_offset_delta: last_delta,
            records_count: count,
            ..header
        };
        let bytes = build_batch(rewritten, &packed);
        Ok(BatchView::parse(bytes).map_err(io::Error::other)?)
    }
}

/// A HOLD without entries, with the batch's offsets and sequences, before what is left of it. It opens no transaction: the marker
/// may go.
fn empty_hold(header: &BatchHeader, following: &[&BatchView]) -> io::Result<BatchView> {
    let lens: Vec<usize> = following.iter().map(|frame| frame.bytes.len()).collect();
    let outside = BatchHeader {
        attributes: header.attributes & !ATTR_TRANSACTIONAL,
        ..*header
    };
    let (head, body) = Holds::default().encode(&outside, &lens, None);
    let head = BatchHeader {
        base_offset: header.base_offset,
        leader_epoch: header.leader_epoch,
        ..head
    };
    BatchView::parse(build_batch(head, &body)).map_err(io::Error::other)
}

/// What a segment file says of itself.
pub(super) fn header_of(file: &dyn DiskFile) -> io::Result<SegmentHeader> {
    let mut bytes = [0; SEGMENT_HEADER_LEN];
    file.read_exact_at(&mut bytes, 0)?;
    SegmentHeader::parse(&bytes).map_err(io::Error::other)
}

/// A segment that is being written.
pub(super) struct Output<'a> {
    file: Arc<dyn DiskFile>,
    index: SegmentIndex,
    buffer: Vec<u8>,
    written: u64,
    /// Offsets of which nothing is left, not written down yet.
    hole: Option<(i64, i64)>,
    leader_epoch: i32,
    interval: u32,
    around: &'a dyn Around,
    pub(super) compacted: Compacted,
    given_up: bool,
}

impl Output<'_> {
    fn put_all(&mut self, unit: &ScanItem) -> Result<(), ReadError> {
        self.put(&unit.frames)
    }

    fn put(&mut self, frames: &[BatchView]) -> Result<(), ReadError> {
        self.put_as(frames, false)
    }

    /// The same; a marker `arms` held records, or dropped them.
    fn put_as(&mut self, frames: &[BatchView], arms: bool) -> Result<(), ReadError> {
        self.fill_hole()?;
        for (i, frame) in frames.iter().enumerate() {
            self.leader_epoch = frame.header.leader_epoch;
            self.index.push(&frame.header, self.interval, i == 0, arms);
            self.buffer.extend_from_slice(&frame.bytes);
        }
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn hole(&mut self, from: i64, to: i64) {
        if from > to {
            return;
        }
        self.hole = Some(match self.hole {
            Some((first, _)) => (first, to),
            None => (from, to),
        });
    }

    /// Offsets follow one another: what is gone is told by a frame that nobody sees.
    fn fill_hole(&mut self) -> Result<(), ReadError> {
        let Some((from, to)) = self.hole.take() else {
            return Ok(());
        };
        let header = BatchHeader {
            base_offset: from,
            batch_length: 0,
            leader_epoch: self.leader_epoch,
            magic: MAGIC_V2,
            crc: 0,
            attributes: ATTR_HIDDEN,
            last_offset_delta: i32::try_from(to - from).map_err(io::Error::other)?,
            base_timestamp: -1,
            max_timestamp: -1,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            records_count: 0,
        };
        let filler = empty_hold(&header, &[])?;
        self.index.push(&filler.header, self.interval, true, false);
        self.buffer.extend_from_slice(&filler.bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let at = SEGMENT_HEADER_LEN as u64 + self.written;
        self.file
            .write_all_at(&mut [IoSlice::new(&self.buffer)], at)?;
        self.written += self.buffer.len() as u64;
        self.given_up |= !self.around.pace(self.buffer.len());
        self.buffer.clear();
        Ok(())
    }
}

impl Log {
    /// Writes what a group becomes, beside it; durable when this returns. `None` where it was given up.
    pub(super) fn write_cleaned(
        &self,
        group: &[Closed],
        cleaner: &mut Cleaner<'_>,
        compacted: &mut Compacted,
    ) -> Result<Option<Arc<Segment>>, ReadError> {
        let Some((first, _)) = group.first() else {
            return Ok(None);
        };
        let folder = self.dir.join("segments");
        let name = format!("{}{CLEANED}", file_name(first.first_offset));
        let path = folder.join(name);
        let file = self.disk.open(&path, OpenMode::Create)?;
        file.set_len(0)?;
        let header = SegmentHeader {
            first_offset: first.first_offset,
            created_ms: first.created_ms,
            topic_id: self.topic_id,
            partition: self.partition,
            rewritten: header_of(&*first.file)?.rewritten.saturating_add(1),
        };
        file.write_all_at(&mut [IoSlice::new(&header.encode())], 0)?;
        let mut out = Output {
            file: Arc::clone(&file),
            index: SegmentIndex::empty(first.first_offset),
            buffer: Vec::with_capacity(WRITE_BYTES),
            written: 0,
            hole: None,
            leader_epoch: 0,
            interval: cleaner.rules.index_interval_bytes,
            around: cleaner.around,
            compacted: *compacted,
            given_up: false,
        };
        for (segment, end) in group {
            // The topic may be deleted: its folder goes.
            if self.writer.lock().state != State::Open {
                return Ok(None);
            }
            let mut scanner = scanner(segment);
            while let Some(head) = scanner.peek() {
                let head = head.map_err(|stop| unreadable(segment, &scanner, stop))?;
                if cleaner.goes_unread(&head) {
                    let skipped = scanner.skip(&head);
                    skipped.map_err(|stop| unreadable(segment, &scanner, stop))?;
                    out.compacted.bytes_before += head.total_len() as u64;
                    out.compacted.records_before += u64::try_from(head.records_count).unwrap_or(0);
                    out.hole(head.base_offset, head.last_offset());
                    continue;
                }
                let Some(unit) = scanner.next_unit() else {
                    break;
                };
                let unit = unit.map_err(|stop| unreadable(segment, &scanner, stop))?;
                out.compacted.bytes_before += unit
                    .frames
                    .iter()
                    .map(|f| f.bytes.len() as u64)
                    .sum::<u64>();
                cleaner.unit(&unit, &mut out)?;
                if out.given_up {
                    return Ok(None);
                }
            }
            if scanner.next_offset() != *end {
                return Err(io::Error::other("a segment ends before the next one begins").into());
            }
        }
        out.fill_hole()?;
        out.flush()?;
        *compacted = out.compacted;
        compacted.bytes_after += out.written;
        file.sync_data()?;
        self.disk.sync_dir(&folder)?;
        Ok(Some(Arc::new(Segment {
            first_offset: first.first_offset,
            created_ms: first.created_ms,
            path: first.path.clone(),
            file,
            index: RwLock::new(out.index),
            damages: RwLock::default(),
        })))
    }
}
