//! The last offset of each key, by hashes: memory is bounded whatever keys are.

use std::hash::{BuildHasher, RandomState};

use siphasher::sip128::SipHasher13;

use crate::units::Offset;

/// What a key takes in memory at most: a table is three quarters full or more.
pub const BYTES_PER_KEY: usize = 21;

const TABLES: usize = 256;
/// Of an entry's 128 bits, what the offset takes.
const OFFSET_BITS: u32 = 40;
/// A table grows where it is so full, or a search would be long.
const FULL: (usize, usize) = (5, 6);
/// By what share of itself.
const GROWTH: usize = 16;
/// Entries of the smallest table.
const FEWEST: usize = 16;
/// A place is of 64 offsets at least, and there are so many at most: a megabyte.
const PLACE_OFFSETS_SHIFT: u32 = 6;
const PLACES_MAX: u64 = 1 << 23;
const OFFSET_MASK: u128 = (1 << OFFSET_BITS) - 1;

/// Keys by 96 bits of a keyed hash (SipHash-1-3) whose key nobody knows: with five million keys, as many as Kafka's memory of 128
/// MB has here, two fall together once in 10^15 passes, and nobody can make them.
///
/// There are [`TABLES`] tables, which grow one by one and by little. An entry is 88 bits of the hash, of which the low ones say
/// where it belongs, and the offset from `base` on, plus one: nothing is 0. The hash's other eight bits choose the table.
#[derive(Debug)]
pub(super) struct KeyMap {
    tables: Vec<Table>,
    /// Entries of a table that grows.
    moving: Vec<u128>,
    hasher: SipHasher13,
    base: Offset,
    len: usize,
    max: usize,
}

impl KeyMap {
    /// Keys of records from `base` on.
    pub(super) fn new(base: Offset, max: usize) -> Self {
        let seed = RandomState::new();
        Self {
            tables: (0..TABLES)
                // Chance gives some tables more keys than others.
                .map(|_| Table::with_room_for(max / TABLES + max / TABLES / 8))
                .collect(),
            moving: Vec::new(),
            hasher: SipHasher13::new_with_keys(seed.hash_one(0), seed.hash_one(1)),
            base,
            len: 0,
            max,
        }
    }

    /// What a key is looked up by.
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash {
        let hash = self.hasher.hash(key).as_u128();
        KeyHash {
            table: (hash >> 120) as u8,
            hash: hash << OFFSET_BITS,
        }
    }

    /// Has what these keys need at hand: memory is waited for once for many of them, where `put` and `last` wait for each.
    pub(super) fn warm<'a>(&self, keys: impl Iterator<Item = &'a KeyHash>) {
        let first = |key: &KeyHash| {
            let entries = &self.tables.get(usize::from(key.table))?.entries;
            entries.get(Table::place(key.hash, entries.len()))
        };
        std::hint::black_box(keys.filter_map(first).fold(0, |all, one| all ^ one));
    }

    /// Whether so many more fit, up to an offset. A first batch always does.
    pub(super) fn has_room_for(&self, keys: i32, last: Offset) -> bool {
        let keys = usize::try_from(keys).unwrap_or(0);
        let fits = self.len == 0 || self.len + keys <= self.max;
        fits && self.distance(last).is_some()
    }

    fn distance(&self, offset: Offset) -> Option<u128> {
        let distance = u128::try_from(offset.0 - self.base.0 + 1).ok()?;
        (distance <= OFFSET_MASK).then_some(distance)
    }

    pub(super) fn put(&mut self, key: &KeyHash, offset: Offset) {
        let Some(distance) = self.distance(offset) else {
            return;
        };
        if let Some(table) = self.tables.get_mut(usize::from(key.table)) {
            self.len += usize::from(table.put(key.hash, distance, &mut self.moving));
        }
    }

    /// Where a key came last, of those that are in the map.
    pub(super) fn last(&self, key: &KeyHash) -> Option<Offset> {
        let distance = self.tables.get(usize::from(key.table))?.get(key.hash)?;
        let distance = i64::try_from(distance).ok()?;
        Some(Offset(self.base.0 + distance - 1))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where last records are, up to `end`.
    pub(super) fn places(&self, end: Offset) -> Places {
        let span = u64::try_from(end.0 - self.base.0).unwrap_or(0) + 1;
        let mut shift = PLACE_OFFSETS_SHIFT;
        while span >> shift >= PLACES_MAX {
            shift += 1;
        }
        let words = usize::try_from((span >> shift) / 64 + 1).unwrap_or(0);
        let mut places = Places {
            base: self.base,
            shift,
            bits: vec![0; words],
        };
        for entry in self.tables.iter().flat_map(|table| &table.entries) {
            if let Some(distance) = (entry & OFFSET_MASK).checked_sub(1) {
                places.mark(u64::try_from(distance).unwrap_or(u64::MAX));
            }
        }
        places
    }
}

/// Which neighbouring offsets the last record of a key lies among: a batch that has none goes unread.
#[derive(Debug)]
pub(super) struct Places {
    base: Offset,
    /// An offset's place is its distance from the base without so many bits.
    shift: u32,
    bits: Vec<u64>,
}

impl Places {
    fn mark(&mut self, distance: u64) {
        let place = distance >> self.shift;
        let word = usize::try_from(place / 64).ok();
        if let Some(word) = word.and_then(|word| self.bits.get_mut(word)) {
            *word |= 1 << (place % 64);
        }
    }

    /// Whether none of these is a key's last: offsets from the base to the end.
    pub(super) fn has_none(&self, first: Offset, last: Offset) -> bool {
        let place = |offset: Offset| u64::try_from(offset.0 - self.base.0).map(|d| d >> self.shift);
        let (Ok(first), Ok(last)) = (place(first), place(last)) else {
            return false;
        };
        (first..=last).all(|place| {
            let word = usize::try_from(place / 64).ok();
            let word = word.and_then(|word| self.bits.get(word));
            word.is_some_and(|word| word >> (place % 64) & 1 == 0)
        })
    }
}

/// A key's hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyHash {
    table: u8,
    /// What says in the table that this is the key; the low bits are free for the offset.
    hash: u128,
}

/// Entries, each at its place or behind it. All the room it may ever take is set aside, and the system gives it when it is used:
/// growing moves nothing and frees nothing.
#[derive(Debug)]
struct Table {
    entries: Vec<u128>,
    len: usize,
}

impl Table {
    fn with_room_for(keys: usize) -> Self {
        let entries = keys.saturating_mul(FULL.1) / FULL.0;
        Self {
            entries: Vec::with_capacity(entries + entries / GROWTH + FEWEST),
            len: 0,
        }
    }

    /// Where an entry belongs in a table of `len`.
    fn place(entry: u128, len: usize) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "32 bits above the offset")]
        let bits = (entry >> OFFSET_BITS) as u32;
        ((u64::from(bits) * len as u64) >> 32) as usize
    }

    /// Where a key is, or the free place where it would be.
    fn find(&self, hash: u128) -> Option<usize> {
        let start = Self::place(hash, self.entries.len());
        let is_it = |entry: &u128| *entry == 0 || *entry & !OFFSET_MASK == hash;
        let (before, from) = self.entries.split_at_checked(start)?;
        match from.iter().position(is_it) {
            Some(at) => Some(start + at),
            None => before.iter().position(is_it),
        }
    }

    fn get(&self, hash: u128) -> Option<u128> {
        let entry = self.entries.get(self.find(hash)?)?;
        (*entry != 0).then_some(entry & OFFSET_MASK)
    }

    /// Whether the key is new.
    fn put(&mut self, hash: u128, distance: u128, moving: &mut Vec<u128>) -> bool {
        if (self.len + 1) * FULL.1 > self.entries.len() * FULL.0 {
            self.grow(moving);
        }
        let Some(entry) = self.find(hash).and_then(|at| self.entries.get_mut(at)) else {
            return false;
        };
        let is_new = *entry == 0;
        *entry = hash | distance;
        self.len += usize::from(is_new);
        is_new
    }

    fn grow(&mut self, moving: &mut Vec<u128>) {
        let len = (self.entries.len() + self.entries.len() / GROWTH).max(FEWEST);
        moving.clear();
        moving.extend(self.entries.iter().filter(|entry| **entry != 0));
        self.entries.clear();
        self.entries.resize(len, 0);
        for entry in moving {
            let free = self.find(*entry & !OFFSET_MASK);
            if let Some(place) = free.and_then(|at| self.entries.get_mut(at)) {
                *place = *entry;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map(puts in proptest::collection::vec((0u16..2_000, 0i64..1 << 39), 0..6_000)) {
            let mut map = KeyMap::new(Offset(7), 10_000);
            let mut model = HashMap::new();
            for (key, offset) in puts {
                let offset = Offset(7 + offset);
                map.put(&map.hash(&key.to_be_bytes()), offset);
                model.insert(key, offset);
            }
            prop_assert_eq!(map.len(), model.len());
            for key in 0u16..2_100 {
                prop_assert_eq!(map.last(&map.hash(&key.to_be_bytes())), model.get(&key).copied());
            }
            let end = Offset(7 + (1 << 39));
            let places = map.places(end);
            prop_assert!(model.values().all(|offset| !places.has_none(*offset, *offset)));
        }
    }

    #[test]
    fn it_is_bounded() {
        let mut map = KeyMap::new(Offset(100), 10);
        assert!(map.has_room_for(1_000, Offset(1_100)), "a first batch");
        for n in 0u8..8 {
            map.put(&map.hash(&[n]), Offset(100));
        }
        assert!(map.has_room_for(2, Offset(200)));
        assert!(!map.has_room_for(3, Offset(200)));
        assert!(
            !map.has_room_for(1, Offset(100 + (1 << OFFSET_BITS))),
            "too far"
        );
    }

    #[test]
    fn what_has_no_last_record_is_told() {
        let mut map = KeyMap::new(Offset(1_000), 10);
        for offset in [1_000, 2_000, 2_001, 90_000] {
            map.put(&map.hash(&i64::to_be_bytes(offset)), Offset(offset));
        }
        let places = map.places(Offset(100_000));
        let none = |first, last| places.has_none(Offset(first), Offset(last));
        assert!(none(1_100, 1_900) && none(2_100, 89_000) && none(90_100, 100_000));
        assert!(!none(1_000, 1_000) && !none(1_100, 2_000) && !none(2_001, 2_500));
        assert!(!none(999, 999), "before the base it does not know");
        assert!(!none(1_100, 1 << 40), "nor behind the end");
    }

    #[test]
    fn a_key_takes_what_it_says() {
        let mut map = KeyMap::new(Offset(0), 200_000);
        for n in 0u32..200_000 {
            map.put(&map.hash(&n.to_be_bytes()), Offset(0));
        }
        let bytes: usize = map.tables.iter().map(|t| t.entries.len() * 16).sum();
        assert!(
            bytes <= map.len() * BYTES_PER_KEY,
            "{} each",
            bytes / map.len()
        );
    }
}
