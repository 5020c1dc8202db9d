//! Small JSON files that a person can read and that notice damage.
//!
//! ```text
//! <the JSON, on one line>\n
//! <its CRC32C, 8 hex digits>\n
//! ```

use std::io;

use serde::{Deserialize, Serialize};

/// The file's bytes; replace the file whole with them, see [`crate::checkpoint::replace`].
pub fn seal(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value).map_err(io::Error::other)?;
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(format!("\n{crc:08x}\n").as_bytes());
    Ok(bytes)
}

/// What was sealed; `None` where the bytes are damaged or of another shape.
pub fn unseal<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (json, crc) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let crc = u32::from_str_radix(crc, 16).ok()?;
    (crc == crc32c::crc32c(json.as_bytes()))
        .then(|| serde_json::from_str(json).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_comes_back_and_any_damage_is_noticed() {
        let bytes = seal(&vec![("a", 1), ("b", 2)]).unwrap();
        let back: Vec<(String, i32)> = unseal(&bytes).unwrap();
        assert_eq!(back, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // The case of a hex digit carries no information.
            let same = unseal::<Vec<(String, i32)>>(&flipped).is_none_or(|v| v == back);
            assert!(same, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(unseal::<Vec<(String, i32)>>(&bytes[..len]), None);
        }
    }
}
