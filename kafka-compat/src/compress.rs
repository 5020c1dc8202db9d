//! Kafka's codecs, with a bound on what comes out: a small batch can announce gigabytes.

use std::io::{Read, Write};

use bytes::{Buf, Bytes};
use thiserror::Error;

/// What snappy-java writes before its blocks (xerial framing); librdkafka writes it, too.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\x00";
const XERIAL_HEADER: &[u8; 16] = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01";
const XERIAL_BLOCK: usize = 32 * 1024;

/// Why bytes are not decompressed.
#[derive(Debug, Error)]
pub enum CompressError {
    /// Codecs 5 to 7.
    #[error("compression codec {0} is unknown")]
    Codec(u8),
    /// More comes out than is allowed.
    #[error("more than {0} bytes come out")]
    TooLarge(usize),
    /// The codec refuses.
    #[error("{0}")]
    Broken(String),
}

/// A codec with its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not compressed.
    None,
    /// gzip; -1 is its own default level.
    Gzip(i32),
    /// snappy, in xerial's framing.
    Snappy,
    /// lz4, in its frame format.
    Lz4(i32),
    /// zstd.
    Zstd(i32),
}

impl Codec {
    /// The codec of that number, at its default level.
    pub fn of(id: u8) -> Option<Self> {
        Some(match id {
            0 => Self::None,
            1 => Self::Gzip(-1),
            2 => Self::Snappy,
            3 => Self::Lz4(0),
            4 => Self::Zstd(0),
            _ => return None,
        })
    }

    /// Its number in a batch's attributes.
    pub fn id(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Gzip(_) => 1,
            Self::Snappy => 2,
            Self::Lz4(_) => 3,
            Self::Zstd(_) => 4,
        }
    }
}

/// Decompresses, to at most `cap` bytes.
pub fn decompress(codec: u8, bytes: &Bytes, cap: usize) -> Result<Bytes, CompressError> {
    match codec {
        0 => Ok(bytes.clone()),
        1 => read_capped(flate2::read::MultiGzDecoder::new(&bytes[..]), cap),
        2 => snappy(bytes, cap),
        3 => {
            check_lz4(bytes)?;
            read_capped(lz4::Decoder::new(&bytes[..]).map_err(broken)?, cap)
        }
        4 => read_capped(zstd::Decoder::new(&bytes[..]).map_err(broken)?, cap),
        other => Err(CompressError::Codec(other)),
    }
}

/// Compresses.
pub fn compress(codec: Codec, bytes: &[u8]) -> Result<Vec<u8>, CompressError> {
    match codec {
        Codec::None => Ok(bytes.to_vec()),
        Codec::Gzip(level) => {
            let level = u32::try_from(level)
                .map_or_else(|_| flate2::Compression::default(), flate2::Compression::new);
            let mut w = flate2::write::GzEncoder::new(Vec::new(), level);
            w.write_all(bytes).map_err(broken)?;
            w.finish().map_err(broken)
        }
        Codec::Snappy => {
            let mut out = XERIAL_HEADER.to_vec();
            let mut encoder = snap::raw::Encoder::new();
            for block in bytes.chunks(XERIAL_BLOCK) {
                let block = encoder.compress_vec(block).map_err(broken)?;
                let len = u32::try_from(block.len()).map_err(broken)?;
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(&block);
            }
            Ok(out)
        }
        Codec::Lz4(level) => {
            let mut w = lz4::EncoderBuilder::new()
                .level(u32::try_from(level).unwrap_or(0))
                .block_mode(lz4::BlockMode::Independent)
                .build(Vec::new())
                .map_err(broken)?;
            w.write_all(bytes).map_err(broken)?;
            let (out, done) = w.finish();
            done.map_err(broken)?;
            Ok(out)
        }
        Codec::Zstd(level) => zstd::encode_all(bytes, level).map_err(broken),
    }
}

fn read_capped(reader: impl Read, cap: usize) -> Result<Bytes, CompressError> {
    let mut out = Vec::new();
    reader
        .take(cap as u64 + 1)
        .read_to_end(&mut out)
        .map_err(broken)?;
    if out.len() > cap {
        Err(CompressError::TooLarge(cap))
    } else {
        Ok(out.into())
    }
}

fn snappy(bytes: &Bytes, cap: usize) -> Result<Bytes, CompressError> {
    if !bytes.starts_with(XERIAL_MAGIC) {
        return snappy_block(bytes, cap).map(Bytes::from);
    }
    let mut rest = bytes.slice(XERIAL_HEADER.len().min(bytes.len())..);
    let mut out = Vec::new();
    while rest.remaining() >= 4 {
        let len = rest.get_u32() as usize;
        if len > rest.remaining() {
            return Err(CompressError::Broken("a snappy block is cut off".into()));
        }
        let block = rest.split_to(len);
        out.extend_from_slice(&snappy_block(&block, cap - out.len())?);
    }
    Ok(out.into())
}

fn snappy_block(block: &[u8], cap: usize) -> Result<Vec<u8>, CompressError> {
    let len = snap::raw::decompress_len(block).map_err(broken)?;
    if len > cap {
        return Err(CompressError::TooLarge(cap));
    }
    snap::raw::Decoder::new()
        .decompress_vec(block)
        .map_err(broken)
}

/// Java's clients read only frames whose blocks are independent, so a broker that takes others would strand its consumers.
/// Source: Apache Kafka, `Lz4BlockInputStream`.
fn check_lz4(frame: &[u8]) -> Result<(), CompressError> {
    const FLAGS_AT: usize = 4;
    const INDEPENDENT: u8 = 1 << 5;
    match frame.get(FLAGS_AT) {
        Some(flags) if flags & INDEPENDENT == 0 => {
            Err(broken("lz4 blocks that depend on one another"))
        }
        _ => Ok(()),
    }
}

fn broken(error: impl std::fmt::Display) -> CompressError {
    CompressError::Broken(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_gives_back_what_it_took_and_stops_at_the_cap() {
        let plain: Vec<u8> = (0..200_000u32)
            .map(|i| u8::try_from(i % 251).unwrap())
            .collect();
        let codecs = [
            Codec::None,
            Codec::Gzip(-1),
            Codec::Gzip(9),
            Codec::Snappy,
            Codec::Lz4(9),
            Codec::Zstd(3),
            Codec::Zstd(-5),
        ];
        for codec in codecs {
            let packed = Bytes::from(compress(codec, &plain).unwrap());
            let codec = codec.id();
            assert_eq!(
                decompress(codec, &packed, plain.len()).unwrap(),
                plain,
                "codec {codec}"
            );
            if codec > 0 {
                let refused = decompress(codec, &packed, plain.len() - 1).unwrap_err();
                assert!(
                    matches!(refused, CompressError::TooLarge(_)),
                    "codec {codec}: {refused}"
                );
            }
        }
        let unknown = decompress(5, &Bytes::new(), 9);
        assert!(matches!(unknown, Err(CompressError::Codec(5))));
    }

    #[test]
    fn snappy_without_framing_is_read() {
        let packed = snap::raw::Encoder::new().compress_vec(b"hello").unwrap();
        assert_eq!(decompress(2, &packed.into(), 9).unwrap(), &b"hello"[..]);
    }

    #[test]
    fn lz4_blocks_that_depend_on_one_another_are_refused_as_kafka_does() {
        let written = |mode| {
            let mut w = lz4::EncoderBuilder::new()
                .block_mode(mode)
                .build(Vec::new())
                .unwrap();
            w.write_all(b"plain").unwrap();
            let (bytes, result) = w.finish();
            result.unwrap();
            decompress(3, &bytes.into(), 99)
        };
        assert_eq!(&written(lz4::BlockMode::Independent).unwrap()[..], b"plain");
        let refused = written(lz4::BlockMode::Linked).unwrap_err().to_string();
        assert_eq!(refused, "lz4 blocks that depend on one another");
    }

    #[test]
    fn broken_bytes_are_refused() {
        for codec in 1..=4 {
            assert!(
                decompress(codec, &Bytes::from_static(b"\x82no codec wrote this"), 99).is_err()
            );
        }
    }
}
