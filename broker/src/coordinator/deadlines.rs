//! What is to happen when, unless it is called off.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
};

/// Deadlines in milliseconds of a clock that never steps; one for each key.
#[derive(Debug)]
pub struct Deadlines<K> {
    in_order: BTreeSet<(i64, K)>,
    at: HashMap<K, i64>,
}

impl<K> Default for Deadlines<K> {
    fn default() -> Self {
        Self {
            in_order: BTreeSet::new(),
            at: HashMap::new(),
        }
    }
}

impl<K: Clone + Ord + Hash> Deadlines<K> {
    /// Takes the place of the key's deadline before.
    pub fn set(&mut self, key: K, at: i64) {
        self.cancel(&key);
        self.in_order.insert((at, key.clone()));
        self.at.insert(key, at);
    }

    /// Nothing happens any more.
    pub fn cancel(&mut self, key: &K) {
        if let Some((key, at)) = self.at.remove_entry(key) {
            self.in_order.remove(&(at, key));
        }
    }

    /// Whether it has one.
    pub fn is_set(&self, key: &K) -> bool {
        self.at.contains_key(key)
    }

    /// Takes out the first that is over at `now`.
    pub fn pop(&mut self, now: i64) -> Option<K> {
        let (at, _) = self.in_order.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.in_order.pop_first()?;
        self.at.remove(&key);
        Some(key)
    }

    /// When the first is over.
    pub fn next(&self) -> Option<i64> {
        self.in_order.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts_and_order_is_by_time() {
        let mut deadlines = Deadlines::default();
        deadlines.set("a", 10);
        deadlines.set("b", 5);
        deadlines.set("c", 7);
        deadlines.set("b", 20);
        deadlines.cancel(&"c");
        deadlines.cancel(&"never");
        assert_eq!(deadlines.next(), Some(10));
        assert_eq!(deadlines.pop(9), None);
        assert_eq!(deadlines.pop(20), Some("a"));
        assert_eq!(deadlines.pop(20), Some("b"));
        assert_eq!((deadlines.pop(99), deadlines.next()), (None, None));
    }
}
