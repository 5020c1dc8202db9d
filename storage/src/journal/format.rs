//! The bytes of a journal, as the module's head draws them.

use bytes::{Buf, BufMut};

use crate::units::{Offset, TopicId};

/// Rounds start at multiples of it: no block that has an acked round is written again.
pub(super) const BLOCK_BYTES: u64 = BLOCK_LEN as u64;
pub(super) const BLOCK_LEN: usize = 4096;
const MAGIC: &[u8; 8] = b"CRNJNL1\0";
const VERSION: u32 = 1;
const HEADER_LEN: usize = 36;
const HEADER_CRC_AT: usize = 32;
pub(super) const ROUND_MAGIC: &[u8; 4] = b"JRND";
pub(super) const ROUND_HEADER_LEN: usize = 28;
const CRC_COVERS_FROM: usize = 8;
const SEGMENT: u8 = 1;
const BYTES: u8 = 2;

/// The first block of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileHeader {
    pub(super) salt: u64,
    pub(super) first_generation: u64,
    /// The node was stopped: no round is there that is not over.
    pub(super) is_closed: bool,
}

impl FileHeader {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN);
        out.put_slice(MAGIC);
        out.put_u32(VERSION);
        out.put_u32(u32::from(self.is_closed));
        out.put_u64(self.salt);
        out.put_u64(self.first_generation);
        out.put_u32(crc32c::crc32c(&out));
        out
    }

    /// Reads it; the error says what was found instead.
    pub(super) fn parse(block: &[u8]) -> Result<Self, String> {
        let Some((mut b, mut crc)) = block
            .get(..HEADER_LEN)
            .map(|header| header.split_at(HEADER_CRC_AT))
        else {
            return Err("the header is cut off".into());
        };
        let covered = b;
        if !b.starts_with(MAGIC) {
            return Err("unknown magic".into());
        }
        b.advance(MAGIC.len());
        let version = b.get_u32();
        if version != VERSION {
            return Err(format!(
                "version {version} is not {VERSION}, the one this release reads"
            ));
        }
        if crc.get_u32() != crc32c::crc32c(covered) {
            return Err("the header's checksum does not fit".into());
        }
        let is_closed = b.get_u32() != 0;
        Ok(Self {
            salt: b.get_u64(),
            first_generation: b.get_u64(),
            is_closed,
        })
    }
}

/// A segment that entries speak of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct SegmentName {
    pub(super) topic_id: TopicId,
    pub(super) partition: i32,
    pub(super) first_offset: Offset,
}

/// A part of a round.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// From here on that id means that segment.
    Segment {
        id: u32,
        name: SegmentName,
        /// The partition's folder, from the node's on.
        folder: &'a str,
    },
    /// What the segment has from a position on.
    Bytes {
        id: u32,
        position: u64,
        bytes: &'a [u8],
    },
}

/// A round that is made in a buffer, which the next one uses again.
#[derive(Debug, Default)]
pub(super) struct RoundBuffer(Vec<u8>);

impl RoundBuffer {
    pub(super) fn start(&mut self) {
        self.0.clear();
        self.0.resize(ROUND_HEADER_LEN, 0);
    }

    pub(super) fn segment(&mut self, id: u32, name: &SegmentName, folder: &str) {
        let out = &mut self.0;
        out.put_u8(SEGMENT);
        out.put_u32(id);
        out.put_slice(name.topic_id.as_bytes());
        out.put_i32(name.partition);
        out.put_i64(name.first_offset.0);
        // A folder's name is 255 bytes at most.
        out.put_u16(u16::try_from(folder.len()).unwrap_or(u16::MAX));
        out.put_slice(folder.as_bytes());
    }

    /// Room for bytes of a segment, to be filled.
    pub(super) fn bytes(&mut self, id: u32, position: u64, len: u32) -> &mut [u8] {
        let out = &mut self.0;
        out.put_u8(BYTES);
        out.put_u32(id);
        out.put_u64(position);
        out.put_u32(len);
        let from = out.len();
        out.resize(from + len as usize, 0);
        out.get_mut(from..).unwrap_or_default()
    }

    /// The whole round, with the zeros behind it.
    pub(super) fn finish(&mut self, salt: u64, generation: u64, number: u64) -> &[u8] {
        let out = &mut self.0;
        let len = u32::try_from(out.len()).unwrap_or(u32::MAX);
        if let Some(mut header) = out.get_mut(..ROUND_HEADER_LEN) {
            header.put_slice(ROUND_MAGIC);
            header.put_u32(0);
            header.put_u32(len);
            header.put_u64(generation);
            header.put_u64(number);
        }
        let crc = checksum(salt, out.get(CRC_COVERS_FROM..).unwrap_or_default());
        if let Some(mut at) = out.get_mut(4..8) {
            at.put_u32(crc);
        }
        let padded = (out.len() as u64).next_multiple_of(BLOCK_BYTES);
        out.resize(usize::try_from(padded).unwrap_or(usize::MAX), 0);
        out
    }
}

/// The head of a round; its checksum is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RoundHeader {
    crc: u32,
    pub(super) len: u32,
    pub(super) generation: u64,
    pub(super) number: u64,
}

impl RoundHeader {
    /// `None` where no round starts.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut b = bytes.get(..ROUND_HEADER_LEN)?.strip_prefix(ROUND_MAGIC)?;
        let header = Self {
            crc: b.get_u32(),
            len: b.get_u32(),
            generation: b.get_u64(),
            number: b.get_u64(),
        };
        (header.len as usize >= ROUND_HEADER_LEN).then_some(header)
    }

    /// Whether these are all bytes of the round, undamaged.
    pub(super) fn fits(&self, salt: u64, round: &[u8]) -> bool {
        round.len() == self.len as usize
            && round
                .get(CRC_COVERS_FROM..)
                .is_some_and(|covered| checksum(salt, covered) == self.crc)
    }
}

fn checksum(salt: u64, covered: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_be_bytes()), covered)
}

/// The entries of a round whose checksum fits.
pub(super) fn entries(round: &[u8]) -> impl Iterator<Item = Result<Entry<'_>, &'static str>> {
    let mut rest = round.get(ROUND_HEADER_LEN..).unwrap_or_default();
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = next_entry(&mut rest).ok_or("an entry is cut off or of an unknown kind");
        if entry.is_err() {
            rest = &[];
        }
        Some(entry)
    })
}

fn next_entry<'a>(rest: &mut &'a [u8]) -> Option<Entry<'a>> {
    let kind = rest.try_get_u8().ok()?;
    let id = rest.try_get_u32().ok()?;
    match kind {
        SEGMENT => {
            let mut topic_id = [0; 16];
            rest.try_copy_to_slice(&mut topic_id).ok()?;
            let name = SegmentName {
                topic_id: TopicId::from_bytes(topic_id),
                partition: rest.try_get_i32().ok()?,
                first_offset: Offset(rest.try_get_i64().ok()?),
            };
            let len = rest.try_get_u16().ok()?;
            let folder = std::str::from_utf8(take(rest, len.into())?).ok()?;
            Some(Entry::Segment { id, name, folder })
        }
        BYTES => {
            let position = rest.try_get_u64().ok()?;
            let len = rest.try_get_u32().ok()?;
            let bytes = take(rest, len as usize)?;
            Some(Entry::Bytes {
                id,
                position,
                bytes,
            })
        }
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: u64 = 77;

    fn name() -> SegmentName {
        SegmentName {
            topic_id: TopicId::from_u128(9),
            partition: 3,
            first_offset: Offset(1000),
        }
    }

    fn round() -> Vec<u8> {
        let mut buffer = RoundBuffer::default();
        buffer.start();
        buffer.segment(1, &name(), "partitions/t-3");
        buffer.bytes(1, 64, 5).copy_from_slice(b"hello");
        buffer.finish(SALT, 6, 2).to_vec()
    }

    #[test]
    fn a_file_header_reads_back_and_any_flipped_bit_is_noticed() {
        let header = FileHeader {
            salt: SALT,
            first_generation: 12,
            is_closed: true,
        };
        let bytes = header.encode();
        assert_eq!(FileHeader::parse(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::parse(&flipped).is_err(), "bit {bit}");
        }
        assert!(FileHeader::parse(&bytes[..20]).is_err());
    }

    #[test]
    fn a_round_reads_back_and_any_flipped_bit_is_noticed() {
        let bytes = round();
        assert_eq!(bytes.len(), 4096);
        let header = RoundHeader::parse(&bytes).unwrap();
        assert_eq!((header.generation, header.number), (6, 2));
        let len = header.len as usize;
        assert!(header.fits(SALT, &bytes[..len]));
        assert!(!header.fits(SALT + 1, &bytes[..len]), "another file's");
        assert!(bytes[len..].iter().all(|b| *b == 0));
        let read: Vec<_> = entries(&bytes[..len]).collect();
        let folder = "partitions/t-3";
        let expected = [
            Ok(Entry::Segment {
                id: 1,
                name: name(),
                folder,
            }),
            Ok(Entry::Bytes {
                id: 1,
                position: 64,
                bytes: b"hello",
            }),
        ];
        assert_eq!(read, expected);
        for bit in 0..len * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let fits = RoundHeader::parse(&flipped).is_some_and(|h| {
                flipped
                    .get(..h.len as usize)
                    .is_some_and(|r| h.fits(SALT, r))
            });
            assert!(!fits, "bit {bit}");
        }
    }

    #[test]
    fn entries_that_are_cut_off_are_errors() {
        let bytes = round();
        let len = RoundHeader::parse(&bytes).unwrap().len as usize;
        let whole = [ROUND_HEADER_LEN, ROUND_HEADER_LEN + 49, len];
        for cut in ROUND_HEADER_LEN..=len {
            let is_whole = entries(&bytes[..cut]).all(|entry| entry.is_ok());
            assert_eq!(is_whole, whole.contains(&cut), "cut at {cut}");
        }
    }
}
