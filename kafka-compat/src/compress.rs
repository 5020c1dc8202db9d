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

/// Decompresses, to at most `cap` bytes.
pub fn decompress(codec: u8, bytes: &Bytes, cap: usize) -> Result<Bytes, CompressError> {
    match codec {
        0 => Ok(bytes.clone()),
        1 => read_capped(flate2::read::MultiGzDecoder::new(&bytes[..]), cap),
        2 => snappy(bytes, cap),
        3 => read_capped(lz4::Decoder::new(&bytes[..]).map_err(broken)?, cap),
        4 => read_capped(zstd::Decoder::new(&bytes[..]).map_err(broken)?, cap),
        other => Err(CompressError::Codec(other)),
    }
}

/// Compresses.
pub fn compress(codec: u8, bytes: &[u8]) -> Result<Vec<u8>, CompressError> {
    match codec {
        0 => Ok(bytes.to_vec()),
        1 => {
            let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            w.write_all(bytes).map_err(broken)?;
            w.finish().map_err(broken)
        }
        2 => {
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
        3 => {
            let mut w = lz4::EncoderBuilder::new()
                .block_mode(lz4::BlockMode::Independent)
                .build(Vec::new())
                .map_err(broken)?;
            w.write_all(bytes).map_err(broken)?;
            let (out, done) = w.finish();
            done.map_err(broken)?;
            Ok(out)
        }
        4 => zstd::encode_all(bytes, 0).map_err(broken),
        other => Err(CompressError::Codec(other)),
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
        for codec in 0..=4 {
            let packed = Bytes::from(compress(codec, &plain).unwrap());
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
        assert!(matches!(compress(5, b""), Err(CompressError::Codec(5))));
    }

    #[test]
    fn snappy_without_framing_is_read() {
        let packed = snap::raw::Encoder::new().compress_vec(b"hello").unwrap();
        assert_eq!(decompress(2, &packed.into(), 9).unwrap(), &b"hello"[..]);
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
