//! Walking the records of a batch without decoding them: lengths, offsets, timestamps. No allocation.

/// What a record shows on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outline {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) has_key: bool,
}

/// Why a walk ended before the last record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The bytes are not exactly `count` whole records.
    Malformed,
    /// The caller saw enough.
    Seen,
}

/// Calls `each` for every one of `count` records, until it says false. Every field of every record is walked, so that a
/// consumer can read what passes here.
pub(crate) fn outlines(
    mut bytes: &[u8],
    count: i32,
    mut each: impl FnMut(Outline) -> bool,
) -> Result<(), Stop> {
    for _ in 0..count {
        let outline = outline(&mut bytes).ok_or(Stop::Malformed)?;
        if !each(outline) {
            return Err(Stop::Seen);
        }
    }
    if bytes.is_empty() {
        Ok(())
    } else {
        Err(Stop::Malformed)
    }
}

fn outline(bytes: &mut &[u8]) -> Option<Outline> {
    let len = usize::try_from(varint(bytes)?).ok()?;
    let (mut record, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    // The attributes are unused.
    (_, record) = record.split_first()?;
    let timestamp_delta = varint(&mut record)?;
    let offset_delta = i32::try_from(varint(&mut record)?).ok()?;
    let has_key = skip_nullable(&mut record)?;
    skip_nullable(&mut record)?;
    let headers = usize::try_from(varint(&mut record)?).ok()?;
    // Each takes at least two bytes.
    if headers > record.len() / 2 {
        return None;
    }
    for _ in 0..headers {
        let name = usize::try_from(varint(&mut record)?).ok()?;
        (_, record) = record.split_at_checked(name)?;
        skip_nullable(&mut record)?;
    }
    record.is_empty().then_some(Outline {
        timestamp_delta,
        offset_delta,
        has_key,
    })
}

/// A key, a value or a header's value: -1 is null. Whether it is not.
fn skip_nullable(bytes: &mut &[u8]) -> Option<bool> {
    let len = varint(bytes)?;
    if len == -1 {
        return Some(false);
    }
    let len = usize::try_from(len).ok()?;
    (_, *bytes) = bytes.split_at_checked(len)?;
    Some(true)
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use storage::record::{Record, RecordIter};

    proptest! {
        /// The walk and the decoder agree on what is whole.
        #[test]
        fn what_is_walked_can_be_decoded(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), count in 0..4i32) {
            // A plausible first length makes more of the space reachable.
            if let Some(first) = bytes.first_mut() {
                *first = (*first % 40) * 2;
            }
            let walked = outlines(&bytes, count, |_| true).is_ok();
            let decoded: Result<Vec<Record>, _> = RecordIter::new(Bytes::from(bytes), count).collect();
            prop_assert_eq!(walked, decoded.is_ok());
        }
    }

    #[test]
    fn a_broken_body_is_noticed() {
        let record = Record {
            key: Some("k".into()),
            value: Some("value".into()),
            headers: vec![("h".into(), None)],
            ..Record::default()
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        assert_eq!(outlines(&bytes, 1, |_| true), Ok(()));
        // The key's length: one more than there is room for.
        bytes[4] = 100;
        assert_eq!(outlines(&bytes, 1, |_| true), Err(Stop::Malformed));
    }
}
