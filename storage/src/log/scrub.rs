//! Looking for damage in what nobody reads: every batch of a log, its checksum, and that it follows the one before.
//!
//! What is damaged is remembered, and from then on a read of it is an error, while what lies around it is read as ever. Nothing
//! is changed on the disk: a copy elsewhere, or a repair, decides.

use std::{ops::ControlFlow, sync::Arc};

use super::{
    log::Log,
    read::{corrupt, header_at, limit, load},
    segment::{SEGMENT_HEADER_LEN, Segment},
};
use crate::{
    batch::{BatchHeader, HEADER_LEN},
    units::Offset,
};

/// Bytes of a segment that are no sound batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where they start in the file.
    pub start: u64,
    /// One past them: a batch that is sound, or the end.
    pub end: u64,
    /// The first offset that they may have had.
    pub first: Offset,
    /// The last one.
    pub last: Offset,
    /// What is wrong with the first of them.
    pub why: String,
}

/// Damage, and the file that it is in.
#[derive(Clone, Debug)]
pub struct Found {
    /// The segment's file.
    pub path: std::path::PathBuf,
    /// What is damaged in it.
    pub damage: Damage,
}

impl Log {
    /// Reads all that is committed, and remembers what is damaged. `pace` hears the bytes of each batch before it is read, and may
    /// wait, or stop the pass; then what the segment at hand had before stays remembered. Returns what was not known before.
    /// Blocks on the disk.
    pub fn scrub(&self, pace: &mut dyn FnMut(usize) -> ControlFlow<()>) -> Vec<Found> {
        let committed = self.committed();
        let segments = Arc::clone(&self.segments.read());
        let mut found = Vec::new();
        for segment in segments.iter() {
            let Some(limit) = limit(segment, &committed) else {
                break;
            };
            let ControlFlow::Continue(damages) = scrub_segment(segment, limit, pace) else {
                break;
            };
            let mut known = segment.damages.write();
            let new = damages.iter().filter(|damage| !known.contains(damage));
            found.extend(new.map(|damage| Found {
                path: segment.path.clone(),
                damage: damage.clone(),
            }));
            *known = damages;
        }
        found
    }

    /// Damaged places known.
    pub fn damaged(&self) -> usize {
        let segments = self.segments.read();
        segments.iter().map(|s| s.damages.read().len()).sum()
    }
}

fn scrub_segment(
    segment: &Segment,
    limit: u64,
    pace: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> ControlFlow<(), Vec<Damage>> {
    let mut damages: Vec<Damage> = Vec::new();
    let mut position = SEGMENT_HEADER_LEN as u64;
    let mut next = segment.first_offset;
    // Where the unit at hand began, whose frames share its offsets.
    let mut unit = next;
    while position < limit {
        let header = header_at(segment, position);
        pace(header.as_ref().map_or(HEADER_LEN, BatchHeader::total_len))?;
        let batch = header.and_then(|header| {
            load(segment, position, &header)?;
            // The base offset is under no checksum. Of a unit, the frames behind the HOLD lie in its offsets.
            let base = Offset(header.base_offset);
            if base == next || (unit..next).contains(&base) {
                return Ok(header);
            }
            let why = format!("it starts at offset {base}, {next} follows");
            Err(corrupt(segment, position, why))
        });
        match batch {
            Ok(header) => {
                position += header.total_len() as u64;
                next = next.max(Offset(header.last_offset() + 1));
                let base = Offset(header.base_offset);
                if base >= unit {
                    unit = if header.is_hidden() { base } else { next };
                }
            }
            Err(error) => {
                let (end, first_after) = next_sound(segment, position, limit);
                let last = first_after.unwrap_or_else(|| segment.index.read().next_offset);
                damages.push(Damage {
                    start: position,
                    end,
                    first: next,
                    last: Offset(last.0 - 1),
                    why: error.to_string(),
                });
                position = end;
                next = next.max(last);
                unit = next;
            }
        }
    }
    ControlFlow::Continue(damages)
}

/// The next place that the indexes name and where a sound batch is, with its first offset; else the limit.
fn next_sound(segment: &Segment, damaged: u64, limit: u64) -> (u64, Option<Offset>) {
    let mut places = segment.index.read().places_after(damaged);
    // A header that still makes sense says where the next batch is.
    if let Ok(header) = header_at(segment, damaged) {
        places.insert(0, damaged + header.total_len() as u64);
    }
    for place in places.into_iter().filter(|place| *place < limit) {
        let Ok(header) = header_at(segment, place) else {
            continue;
        };
        if load(segment, place, &header).is_ok() {
            return (place, Some(Offset(header.base_offset)));
        }
    }
    (limit, None)
}
