//! `index/manifest.json`: the segments, for a person and for a quick start. Derived; a lost or stale one is made anew.

use serde::{Deserialize, Serialize};

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) version: u32,
    pub(super) high_watermark: i64,
    pub(super) segments: Vec<SegmentEntry>,
}

/// One segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentEntry {
    pub(super) first_offset: i64,
    pub(super) next_offset: i64,
    pub(super) visible_end: i64,
    pub(super) size_bytes: u64,
    pub(super) min_timestamp: i64,
    pub(super) max_timestamp: i64,
    pub(super) hidden_and_fire_frames: usize,
}
