//! A segment file: `segments/<first offset, 20 digits>.log`.
//!
//! ```text
//!  0  magic         8 bytes  "CRNOS1\0\0"
//!  8  version       u32      1
//! 12  rewritten     u32      how often compaction wrote it anew
//! 16  first offset  i64
//! 24  created       i64      milliseconds since the epoch
//! 32  topic id      16 bytes
//! 48  partition     i32
//! 52  reserved      8 bytes  0
//! 60  crc           u32      CRC32C of bytes 0 to 59
//! 64  v2 batches
//! ```

use std::{io, path::PathBuf, sync::Arc};

use bytes::{Buf, BufMut};
use parking_lot::RwLock;

use super::{scrub::Damage, segment_index::SegmentIndex};
use crate::{
    disk::DiskFile,
    units::{Offset, TopicId},
};

/// Bytes before the first batch.
pub const SEGMENT_HEADER_LEN: usize = 64;
const MAGIC: &[u8; 8] = b"CRNOS1\0\0";
const VERSION: u32 = 1;
const CRC_AT: usize = 60;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// The first offset that may be in it.
    pub first_offset: Offset,
    /// When it was made, milliseconds since the epoch.
    pub created_ms: i64,
    /// The topic.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: i32,
    /// How often compaction wrote it anew. What the journal says of its bytes is of the first file of that name.
    pub rewritten: u32,
}

impl SegmentHeader {
    /// The 64 bytes.
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut out = [0; SEGMENT_HEADER_LEN];
        let (covered, mut crc) = out.split_at_mut(CRC_AT);
        let mut b = &mut *covered;
        b.put_slice(MAGIC);
        b.put_u32(VERSION);
        b.put_u32(self.rewritten);
        b.put_i64(self.first_offset.0);
        b.put_i64(self.created_ms);
        b.put_slice(self.topic_id.as_bytes());
        b.put_i32(self.partition);
        crc.put_u32(crc32c::crc32c(covered));
        out
    }

    /// Reads the 64 bytes; the error says what was found instead.
    pub fn parse(bytes: &[u8; SEGMENT_HEADER_LEN]) -> Result<Self, String> {
        let (covered, mut crc) = bytes.split_at(CRC_AT);
        let mut b = covered;
        let mut magic = [0; 8];
        b.copy_to_slice(&mut magic);
        if &magic != MAGIC {
            return Err(format!("unknown magic {magic:02x?}"));
        }
        let version = b.get_u32();
        if version != VERSION {
            return Err(format!(
                "version {version} is not {VERSION}, the one this release reads"
            ));
        }
        if crc.get_u32() != crc32c::crc32c(covered) {
            return Err("the header's checksum does not fit".into());
        }
        let rewritten = b.get_u32();
        let first_offset = Offset(b.get_i64());
        let created_ms = b.get_i64();
        let mut id = [0; 16];
        b.copy_to_slice(&mut id);
        let topic_id = TopicId::from_bytes(id);
        Ok(Self {
            first_offset,
            created_ms,
            topic_id,
            partition: b.get_i32(),
            rewritten,
        })
    }
}

/// A segment's file name.
pub(crate) fn file_name(first_offset: Offset) -> String {
    format!("{:020}.log", first_offset.0)
}

/// The first offset in a segment's file name.
pub(super) fn first_offset_of(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20)
        .then(|| digits.parse().ok().map(Offset))
        .flatten()
}

/// The header is synced before the first batch is written; until then it may be missing, cut off, or zeros.
pub(crate) fn is_half_made(file: &dyn DiskFile, len: u64) -> io::Result<bool> {
    if len != SEGMENT_HEADER_LEN as u64 {
        return Ok(len < SEGMENT_HEADER_LEN as u64);
    }
    let mut bytes = [0; SEGMENT_HEADER_LEN];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.iter().all(|b| *b == 0))
}

/// An open segment. The writer extends the last one; readers share all.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first_offset: Offset,
    pub(super) created_ms: i64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) index: RwLock<SegmentIndex>,
    /// What a scrub found, in the file's order.
    pub(super) damages: RwLock<Vec<Damage>>,
}

impl Segment {
    /// What is damaged at a position.
    pub(super) fn damage_at(&self, position: u64) -> Option<Damage> {
        let damages = self.damages.read();
        let found = damages
            .iter()
            .find(|d| (d.start..d.end).contains(&position));
        found.cloned()
    }

    /// Where the next damage behind a position starts.
    pub(super) fn damage_after(&self, position: u64) -> Option<u64> {
        let damages = self.damages.read();
        damages
            .iter()
            .map(|d| d.start)
            .find(|start| *start > position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_is_noticed() {
        let header = SegmentHeader {
            rewritten: 0,
            first_offset: Offset(77),
            created_ms: 5,
            topic_id: TopicId::from_u128(9),
            partition: 3,
        };
        let bytes = header.encode();
        assert_eq!(SegmentHeader::parse(&bytes), Ok(header));
        for bit in 0..SEGMENT_HEADER_LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::parse(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn file_names_sort_and_read_back() {
        assert_eq!(file_name(Offset(12)), "00000000000000000012.log");
        assert_eq!(
            first_offset_of("00000000000000000012.log"),
            Some(Offset(12))
        );
        for other in [
            "12.log",
            "00000000000000000012.index",
            "x0000000000000000012.log",
        ] {
            assert_eq!(first_offset_of(other), None, "{other}");
        }
    }
}
