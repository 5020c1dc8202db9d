//! Which topic names are legal. Source: Apache Kafka, `Topic.validate` and `Topic.hasCollision`.

use crate::metadata::Image;

const NAME_LEN_MAX: usize = 249;

/// Why a name is refused, in Kafka's words.
pub(super) fn refuse(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("Topic name is invalid: the empty string is not allowed".into());
    }
    if name == "." || name == ".." {
        return Some("Topic name is invalid: '.' or '..' is not allowed".into());
    }
    if name.len() > NAME_LEN_MAX {
        return Some(format!(
            "Topic name is invalid: the length of '{name}' is longer than the max allowed length {NAME_LEN_MAX}"
        ));
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    {
        return Some(format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
        ));
    }
    None
}

/// A topic whose name differs only in `.` and `_`: metric names could not tell them apart.
pub(super) fn collision<'a>(image: &'a Image, name: &str) -> Option<&'a str> {
    if !name.contains(['.', '_']) {
        return None;
    }
    let unified = name.replace('.', "_");
    image
        .topics
        .keys()
        .find(|other| other.as_str() != name && other.replace('.', "_") == unified)
        .map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged_as_kafka_does() {
        for good in [
            "t",
            "a.b_c-D9",
            &"x".repeat(249),
            "__consumer_offsets",
            "...",
        ] {
            assert_eq!(refuse(good), None, "{good}");
        }
        for bad in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            assert_ne!(refuse(bad), None, "{bad}");
        }
    }
}
