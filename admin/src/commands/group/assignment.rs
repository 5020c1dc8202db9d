//! What a member of a classic group is assigned. Any client may have written it, so it is walked here: the codec would allocate
//! what a count announces. Source: Apache Kafka, `ConsumerProtocolAssignment`, of which later versions only add to the end.

use std::collections::BTreeSet;

use crate::wire::Place;

/// The partitions of an assignment; `None` where it is no assignment of consumers.
pub(in crate::commands) fn places(bytes: &[u8]) -> Option<BTreeSet<Place>> {
    if bytes.is_empty() {
        return Some(BTreeSet::new());
    }
    let mut left = bytes;
    let _version = number::<2>(&mut left)?;
    let topics = number::<4>(&mut left)?;
    let mut places = BTreeSet::new();
    for _ in 0..topics {
        let length = usize::try_from(number::<2>(&mut left)?).ok()?;
        let (name, after) = left.split_at_checked(length)?;
        left = after;
        let topic = std::str::from_utf8(name).ok()?;
        for _ in 0..number::<4>(&mut left)? {
            let partition = i32::try_from(number::<4>(&mut left)?).ok()?;
            let topic = topic.to_owned();
            places.insert(Place { topic, partition });
        }
    }
    Some(places)
}

/// A signed number of `N` bytes, at most four.
fn number<const N: usize>(left: &mut &[u8]) -> Option<i64> {
    let (bytes, after) = left.split_first_chunk::<N>()?;
    *left = after;
    let value = bytes.iter().fold(0i64, |n, byte| n << 8 | i64::from(*byte));
    let bits = 64 - 8 * u32::try_from(N).ok()?;
    Some(value << bits >> bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned() -> Vec<u8> {
        let mut bytes = vec![0, 1, 0, 0, 0, 2];
        for topic in ["a", "bb"] {
            bytes.extend([0, u8::try_from(topic.len()).unwrap()]);
            bytes.extend(topic.as_bytes());
            bytes.extend([0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 2]);
        }
        // No user data.
        bytes.extend([255; 4]);
        bytes
    }

    #[test]
    fn an_assignment_is_read_and_what_is_none_is_told_apart() {
        let places = places(&assigned()).unwrap();
        let shown: Vec<_> = places.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["a-0", "a-258", "bb-0", "bb-258"]);
        assert_eq!(super::places(&[]), Some(BTreeSet::new()));
    }

    /// Each prefix, and counts that announce more than is there.
    #[test]
    fn damage_is_no_assignment() {
        let whole = assigned();
        for length in 1..whole.len() - 4 {
            assert_eq!(places(&whole[..length]), None, "{length}");
        }
        assert_eq!(places(&[0, 1, 127, 255, 255, 255]), None);
        assert_eq!(places(&[0, 1, 0, 0, 0, 1, 255, 255]), None);
    }
}
