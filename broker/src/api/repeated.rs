//! What a request names more than once, found in one pass: a request may name a million things.

use std::{collections::HashSet, hash::Hash};

/// The items that occur more than once.
pub(super) fn repeated<T: Copy + Eq + Hash>(items: impl Iterator<Item = T>) -> HashSet<T> {
    let mut seen = HashSet::new();
    items.filter(|item| !seen.insert(*item)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_occurs_twice_or_more_is_named() {
        let found = repeated(["a", "b", "a", "c", "c", "c"].into_iter());
        assert_eq!(found, HashSet::from(["a", "c"]));
    }
}
