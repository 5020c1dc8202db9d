//! Says of most ids that the index does not have them, without asking it: Bloom filters.
//!
//! Ids go into the last of a few slices; when it is full, a larger one is added. The small ones have more bits an id, so that what
//! all of them let pass together is about what the last one does. A full set is made anew from the index, which has let go of what
//! is too old; until then, and while it is made at the start, more lookups go to RocksDB.
//!
//! Not in blocks of a cache line: those let 2 % pass where these, of 11 bits an id, let 0.5 % pass, and what passes costs a hundred
//! microseconds. One that is not there is denied by the second look on average.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::{Mutex, RwLock};

/// Ids, and bits for each, of one slice after another.
const SLICES: [(u64, u64); 4] = [(1 << 20, 20), (4 << 20, 18), (16 << 20, 14), (80 << 20, 11)];

/// A filter over all ids of the index.
#[derive(Debug, Default)]
pub(super) struct Filter {
    slices: RwLock<Arc<Vec<Arc<Slice>>>>,
    adding: Mutex<()>,
}

#[derive(Debug)]
struct Slice {
    words: Box<[AtomicU64]>,
    bits: u64,
    /// Bits set for an id.
    probes: u32,
    room: u64,
    ids: AtomicU64,
}

impl Slice {
    fn new(room: u64, bits_each: u64) -> Self {
        let words = (room * bits_each).div_ceil(64).max(1);
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            bits: words * 64,
            // The best number is bits * ln 2; it may be less.
            probes: u32::try_from(bits_each * 7 / 10).unwrap_or(1),
            room,
            ids: AtomicU64::new(0),
        }
    }

    /// The bits of an id, each with its word. Source: Kirsch, Mitzenmacher: Less Hashing, Same Performance (2006).
    fn places(&self, id: u128) -> impl Iterator<Item = Option<(&AtomicU64, u64)>> {
        let half = |shift: u32| u64::try_from(id >> shift & u128::from(u64::MAX)).unwrap_or(0);
        let (mut at, step) = (half(64), half(0) | 1);
        (0..self.probes).map(move |_| {
            // A multiplication instead of a division: Lemire, Fast Random Integer Generation in an Interval.
            let bit = u64::try_from((u128::from(at) * u128::from(self.bits)) >> 64).unwrap_or(0);
            at = at.wrapping_add(step);
            let word = usize::try_from(bit / 64)
                .ok()
                .and_then(|word| self.words.get(word));
            Some((word?, 1 << (bit % 64)))
        })
    }

    fn has(&self, id: u128) -> bool {
        let is_set = |(word, bit): (&AtomicU64, u64)| word.load(Relaxed) & bit != 0;
        self.places(id).all(|place| place.is_some_and(is_set))
    }

    fn add(&self, id: u128) {
        // One thread at a time adds: no lock is needed on the word.
        for (word, bit) in self.places(id).flatten() {
            word.store(word.load(Relaxed) | bit, Relaxed);
        }
        self.ids.fetch_add(1, Relaxed);
    }

    fn is_full(&self) -> bool {
        self.ids.load(Relaxed) >= self.room
    }
}

impl Filter {
    /// Which of these the index may have, by their places.
    pub(super) fn may_have_of(&self, ids: impl Iterator<Item = u128>) -> Vec<usize> {
        let slices = Arc::clone(&self.slices.read());
        let mut found = Vec::new();
        if !slices.is_empty() {
            for (at, id) in ids.enumerate() {
                if slices.iter().any(|slice| slice.has(id)) {
                    found.push(at);
                }
            }
        }
        found
    }

    /// The index has these from now on.
    pub(super) fn add(&self, ids: impl Iterator<Item = u128>) {
        let _one = self.adding.lock();
        let mut slices = Arc::clone(&self.slices.read());
        for id in ids {
            let last = slices.last();
            if last.is_none_or(|last| last.is_full())
                && let Some((room, bits)) = SLICES.get(slices.len())
            {
                let more = Arc::new(Slice::new(*room, *bits));
                slices = Arc::new(slices.iter().cloned().chain([more]).collect());
                *self.slices.write() = Arc::clone(&slices);
            }
            if let Some(last) = slices.last() {
                last.add(id);
            }
        }
    }

    /// From now on it is as another.
    pub(super) fn replace(&self, other: &Self) {
        *self.slices.write() = Arc::clone(&other.slices.read());
    }

    /// Whether it lets more pass than it should: it is to be made anew.
    pub(super) fn is_overfull(&self) -> bool {
        let slices = self.slices.read();
        let last = slices.get(SLICES.len() - 1);
        last.is_some_and(|last| last.ids.load(Relaxed) > last.room + last.room / 4)
    }

    /// Bytes in memory.
    pub(super) fn memory(&self) -> u64 {
        let slices = self.slices.read();
        slices
            .iter()
            .map(|slice| slice.words.len() as u64 * 8)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look drawn.
    fn ids(from: u64, count: u64) -> impl Iterator<Item = u128> + Clone {
        (from..from + count).map(|n| {
            let high = u128::from(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                .wrapping_mul(0xd6e8_feb8_6659_fd93);
            high << 64
                ^ high.rotate_left(17)
                ^ u128::from(n).wrapping_mul(0xa076_1d64_78bd_642f_e703_7ed1_a0b4_28db)
        })
    }

    #[test]
    fn it_never_denies_what_was_added_and_seldom_allows_what_was_not() {
        let filter = Filter::default();
        assert!(filter.may_have_of(ids(0, 100)).is_empty());
        filter.add(ids(0, 1_500_000));
        assert_eq!(filter.may_have_of(ids(0, 1_500_000)).len(), 1_500_000);
        let passed = filter.may_have_of(ids(10_000_000, 100_000)).len();
        assert!(passed < 200, "{passed} of 100,000");
        assert!(filter.memory() < 13 << 20 && !filter.is_overfull());
        let other = Filter::default();
        other.add(ids(5, 1));
        filter.replace(&other);
        assert_eq!(filter.may_have_of(ids(0, 10)), [5]);
    }
}
