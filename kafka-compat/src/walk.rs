//! Walking the records of a batch without decoding them: lengths, offsets, timestamps. No allocation.

/// What every record shows without its fields being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
}

/// Calls `each` for every one of `count` records; false where the bytes are not exactly those.
pub(crate) fn outlines(mut bytes: &[u8], count: i32, mut each: impl FnMut(Outline)) -> bool {
    for _ in 0..count {
        let Some(len) = varint(&mut bytes).and_then(|n| usize::try_from(n).ok()) else {
            return false;
        };
        let Some((mut record, rest)) = bytes.split_at_checked(len) else {
            return false;
        };
        bytes = rest;
        // The attributes are unused.
        let Some((_, fields)) = record.split_first() else {
            return false;
        };
        record = fields;
        let (Some(timestamp_delta), Some(offset_delta)) =
            (varint(&mut record), varint(&mut record))
        else {
            return false;
        };
        let Ok(offset_delta) = i32::try_from(offset_delta) else {
            return false;
        };
        each(Outline {
            timestamp_delta,
            offset_delta,
        });
    }
    bytes.is_empty()
}

fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut raw = 0u64;
    for i in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        raw |= u64::from(byte & 0x7f) << (7 * i).min(63);
        if byte & 0x80 == 0 {
            return Some((raw >> 1).cast_signed() ^ -(raw & 1).cast_signed());
        }
    }
    None
}
