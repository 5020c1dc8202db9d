//! Few survivors are carried forward, so that old segments can go: which, and how their HOLD is made. See
//! `docs/adr/0009-copy-forward.md`.

use bytes::Bytes;
use kafka_compat::record_headers::SCHEDULE_KEY;
use scheduler::{Place, TimerEntry};
use storage::{
    frame::{Hold, Holds},
    log::{Frame, Pinned},
    record::{RecordError, RecordRef},
    units::{Offset, ScheduleId, TimestampMs},
};

use super::{accept::ENTRY_BYTES, fire::FireError, hold_cache::HoldCache};
use crate::partition::Partition;

/// Records of one carry: what moves to its new place under one lock.
pub const RECORDS_MAX: usize = 1_024;
/// Bytes of one carry, about, unless a single record has more.
pub const BYTES_MAX: u64 = 512 * 1024;
/// What is pending in segments may be this share of them, one in so many bytes: three bytes go for each that is copied.
const SHARE: u64 = 4;

/// What a pending record takes.
pub fn size(place: Place) -> u64 {
    u64::from(place.bytes) + ENTRY_BYTES
}

/// Whether so much pending is little beside those segments.
pub fn is_little(pending_bytes: u64, pinned: &[Pinned]) -> bool {
    let bytes: u64 = pinned.iter().map(|segment| segment.bytes).sum();
    pending_bytes.saturating_mul(SHARE) <= bytes
}

/// How many segments from the front can be emptied for little; `pending` has the bytes pending in each.
pub fn worth_emptying(pinned: &[Pinned], pending: &[u64]) -> usize {
    let mut sum = 0;
    let mut worth = 0;
    for (count, bytes) in (1..).zip(pending) {
        sum += bytes;
        if is_little(sum, pinned.get(..count).unwrap_or_default()) {
            worth = count;
        }
    }
    worth
}

/// Pending records that one carry can hold.
#[derive(Debug, Default)]
pub struct Batch {
    entries: Vec<TimerEntry>,
    bytes: u64,
    ids: Option<(ScheduleId, ScheduleId)>,
}

impl Batch {
    /// Whether another record fits.
    pub fn takes(&self, entry: &TimerEntry) -> bool {
        let Some((first, last)) = self.ids else {
            return true;
        };
        let id = entry.key.id;
        // A record's place counts from the smallest id, in 32 bits.
        let span = last.max(id).0 - first.min(id).0;
        self.entries.len() < RECORDS_MAX
            && self.bytes + size(entry.place) <= BYTES_MAX
            && i32::try_from(span).is_ok()
    }

    /// Adds it.
    pub fn push(&mut self, entry: TimerEntry) {
        let id = entry.key.id;
        let (first, last) = self.ids.unwrap_or((id, id));
        self.ids = Some((first.min(id), last.max(id)));
        self.bytes += size(entry.place);
        self.entries.push(entry);
    }

    /// In the order of their ids, which is nearly the one in which they lie.
    pub fn into_entries(mut self) -> Vec<TimerEntry> {
        self.entries.sort_unstable_by_key(|entry| entry.key.id);
        self.entries
    }
}

/// A carry, and what it holds, each with its place in it; the base offset of that is not known yet.
#[derive(Debug)]
pub struct Carry {
    /// The frame to append.
    pub frame: Frame,
    /// What is in it.
    pub records: Vec<(TimerEntry, Place)>,
    /// What could not be read: it stays where it is.
    pub unread: Vec<(TimerEntry, FireError)>,
}

/// Makes the carry of records, which are in the order of their ids; `None` where none of them can be read. Blocks on the disk.
pub fn build(
    partition: &Partition,
    holds: &mut HoldCache,
    entries: &[TimerEntry],
    now: TimestampMs,
) -> Result<Option<Carry>, FireError> {
    let Some(base) = entries.first().map(|entry| entry.key.id) else {
        return Ok(None);
    };
    let mut carried = Holds::default();
    let mut records = Vec::with_capacity(entries.len());
    let mut unread = Vec::new();
    for (index, entry) in (0u32..).zip(entries) {
        match push(&mut carried, base, partition, holds, entry) {
            Ok(bytes) => {
                let place = Place {
                    hold: Offset(0),
                    index: index - u32::try_from(unread.len()).unwrap_or(0),
                    // The offset that is its id may soon have no HOLD: whoever asks finds its due time here.
                    moved: true,
                    bytes,
                };
                records.push((*entry, place));
            }
            Err(error) if error.is_passing() => return Err(error),
            Err(error) => unread.push((*entry, error)),
        }
    }
    if records.is_empty() && unread.is_empty() {
        return Ok(None);
    }
    let (header, body) = carried.encode_carry(base, now);
    Ok(Some(Carry {
        frame: Frame { header, body },
        records,
        unread,
    }))
}

fn push(
    carried: &mut Holds,
    base: ScheduleId,
    partition: &Partition,
    holds: &mut HoldCache,
    entry: &TimerEntry,
) -> Result<u32, FireError> {
    let (at, index) = (entry.place.hold, entry.place.index as usize);
    let damaged = |_: RecordError| FireError::damaged(at, index);
    let (held, bytes) = holds.read(partition, entry)?;
    let record = RecordRef::read(bytes).map_err(damaged)?;
    let mut schedule_key = None;
    for header in record.headers() {
        let header = header.map_err(damaged)?;
        if header.name == SCHEDULE_KEY.as_bytes() {
            schedule_key = header.value.map(Bytes::copy_from_slice);
        }
    }
    let delta = i32::try_from(held.id.0 - base.0);
    let hold = Hold {
        offset_delta: delta.map_err(|_| FireError::damaged(at, index))?,
        due: entry.key.due,
        created: held.created,
        schedule_key,
    };
    let len = carried.push(hold, &record, None);
    Ok(u32::try_from(len).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_bytes_go_for_each_that_is_copied() {
        let pinned = |sizes: &[u64]| -> Vec<Pinned> {
            let segment = |(i, bytes): (i64, &u64)| Pinned {
                end: Offset(i),
                bytes: *bytes,
            };
            (1..).zip(sizes).map(segment).collect()
        };
        let worth = |sizes: &[u64], pending: &[u64]| worth_emptying(&pinned(sizes), pending);
        assert_eq!(worth(&[100, 100], &[25, 25]), 2);
        assert_eq!(worth(&[100, 100], &[25, 26]), 1);
        assert_eq!(worth(&[100, 100], &[26, 25]), 0);
        // One that is full of pending records goes when enough behind it can go with it.
        assert_eq!(worth(&[100, 100, 100, 100], &[100, 0, 0, 0]), 4);
        assert_eq!(worth(&[100, 100, 100], &[100, 0, 0]), 0);
        assert_eq!(worth(&[], &[]), 0);
        assert!(is_little(25, &pinned(&[60, 40])) && !is_little(26, &pinned(&[60, 40])));
    }
}
