//! The last offset of each key, by hashes: memory is bounded whatever keys are.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use crate::units::Offset;

/// Keys by two hashes of 64 bits, whose seeds nobody knows: that two keys fall together is as likely as with a random 128-bit
/// number, and nobody can make them.
#[derive(Debug)]
pub(super) struct KeyMap {
    last: HashMap<(u64, u64), i64>,
    seeds: (RandomState, RandomState),
    max: usize,
}

impl KeyMap {
    pub(super) fn new(max: usize) -> Self {
        Self {
            last: HashMap::new(),
            seeds: (RandomState::new(), RandomState::new()),
            max,
        }
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        (self.seeds.0.hash_one(key), self.seeds.1.hash_one(key))
    }

    /// Whether so many more fit. A first batch always does.
    pub(super) fn has_room_for(&self, keys: i32) -> bool {
        let keys = usize::try_from(keys).unwrap_or(0);
        self.last.is_empty() || self.last.len() + keys <= self.max
    }

    pub(super) fn put(&mut self, key: &[u8], offset: Offset) {
        let hash = self.hash(key);
        self.last.insert(hash, offset.0);
    }

    /// Where a key came last, of those that are in the map.
    pub(super) fn last(&self, key: &[u8]) -> Option<Offset> {
        self.last.get(&self.hash(key)).copied().map(Offset)
    }

    pub(super) fn len(&self) -> usize {
        self.last.len()
    }
}
