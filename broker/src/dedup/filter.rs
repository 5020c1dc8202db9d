//! Says of most ids that the index does not have them, without asking it: Bloom filters.
//!
//! Ids go into the last of a few slices; when it is full, a larger one is added. When the last of them is full, and at a start, all are
//! made anew from the index, as one of the size that is needed: the index has let go of what is too old. Beyond
//! [`BITS_MAX`] a slice takes more ids than it has room for, and lets more pass.
//!
//! Not in blocks of a cache line: those let 2 % pass where these, of 11 bits an id, let 0.5 % pass, and what passes costs a hundred
//! microseconds. One that is not there is denied by the second look on average; the looks of a batch do not wait for each other.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use parking_lot::{Mutex, RwLock};

/// Ids, and bits for each, of one slice after another.
const SLICES: [(u64, u64); 3] = [(1 << 20, 20), (4 << 20, 18), (16 << 20, 14)];
/// Bits for each id of one that was made for many.
const BITS_EACH: u64 = 11;
/// Of one slice, a multiple of 64: 100 million ids.
const BITS_MAX: u64 = 100_000_000 * BITS_EACH;
/// A slice is made for so many times the ids that there are.
const GROWTH: u64 = 4;

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
        let words = (room * bits_each).min(BITS_MAX).div_ceil(64).max(1);
        Self {
            words: (0..words).map(|_| AtomicU64::new(0)).collect(),
            bits: words * 64,
            // The best number is bits * ln 2; it may be less.
            probes: u32::try_from(bits_each * 7 / 10).unwrap_or(1),
            room,
            ids: AtomicU64::new(0),
        }
    }

    /// The word and the bit of an id's look. Source: Kirsch, Mitzenmacher: Less Hashing, Same Performance (2006).
    fn place(&self, id: u128, probe: u32) -> Option<(&AtomicU64, u64)> {
        let half = |shift: u32| u64::try_from(id >> shift & u128::from(u64::MAX)).unwrap_or(0);
        let at = half(64).wrapping_add((half(0) | 1).wrapping_mul(u64::from(probe)));
        // A multiplication instead of a division: Lemire, Fast Random Integer Generation in an Interval.
        let bit = u64::try_from((u128::from(at) * u128::from(self.bits)) >> 64).unwrap_or(0);
        let word = usize::try_from(bit / 64)
            .ok()
            .and_then(|word| self.words.get(word));
        Some((word?, 1 << (bit % 64)))
    }

    fn looks_set(&self, id: u128, probe: u32) -> bool {
        let place = self.place(id, probe);
        place.is_some_and(|(word, bit)| word.load(Relaxed) & bit != 0)
    }

    fn add(&self, id: u128) {
        // One thread at a time adds: no lock is needed on the word.
        for (word, bit) in (0..self.probes).filter_map(|probe| self.place(id, probe)) {
            word.store(word.load(Relaxed) | bit, Relaxed);
        }
        self.ids.fetch_add(1, Relaxed);
    }

    /// It has as many bits as a slice may have.
    fn is_largest(&self) -> bool {
        self.bits >= BITS_MAX
    }

    fn is_full(&self) -> bool {
        self.ids.load(Relaxed) >= self.room
    }
}

impl Filter {
    /// Of one slice, for so many ids and those to come.
    pub(super) fn for_ids(ids: u64) -> Self {
        let first = SLICES.first().map_or(1, |(room, _)| *room);
        if ids < first / GROWTH {
            return Self::default();
        }
        let room = ids
            .saturating_mul(GROWTH)
            .min((BITS_MAX / BITS_EACH).max(ids));
        let slice = Arc::new(Slice::new(room, BITS_EACH));
        Self {
            slices: RwLock::new(Arc::new(vec![slice])),
            adding: Mutex::default(),
        }
    }

    /// Which of these the index may have, by their places.
    pub(super) fn may_have_of(&self, ids: impl Iterator<Item = u128>) -> Vec<usize> {
        let slices = Arc::clone(&self.slices.read());
        let mut found = Vec::new();
        if slices.is_empty() {
            return found;
        }
        let all: Vec<(usize, u128)> = ids.enumerate().collect();
        let mut left = Vec::with_capacity(all.len());
        for slice in slices.iter() {
            left.clear();
            left.extend_from_slice(&all);
            // One look of each, then the next: memory is asked for many words at a time.
            for probe in 0..slice.probes {
                left.retain(|(_, id)| slice.looks_set(*id, probe));
                if left.is_empty() {
                    break;
                }
            }
            found.extend(left.iter().map(|(at, _)| *at));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The index has these from now on.
    pub(super) fn add(&self, ids: impl Iterator<Item = u128>) {
        let _one = self.adding.lock();
        let mut slices = Arc::clone(&self.slices.read());
        for id in ids {
            let is_full = slices.last().is_none_or(|last| last.is_full());
            if is_full
                && !slices.first().is_some_and(|first| first.is_largest())
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

    /// Whether it is to be made anew: the last slice is full, or the largest one has half as many ids again as it was made for.
    pub(super) fn is_overfull(&self) -> bool {
        let slices = self.slices.read();
        match (slices.first(), slices.last()) {
            (Some(first), _) if first.is_largest() => {
                first.ids.load(Relaxed) > first.room + first.room / 2
            }
            (_, Some(last)) => slices.len() >= SLICES.len() && last.is_full(),
            _ => false,
        }
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
        filter.add(ids(0, 30_000));
        assert_eq!(filter.may_have_of(ids(0, 30_000)).len(), 30_000);
        assert!(filter.may_have_of(ids(1_000_000, 10_000)).is_empty());
        assert!(filter.memory() < 3 << 20 && !filter.is_overfull());
        let other = Filter::for_ids(10);
        assert_eq!(other.memory(), 0);
        other.add(ids(5, 1));
        filter.replace(&other);
        assert_eq!(filter.may_have_of(ids(0, 10)), [5]);
    }

    #[test]
    fn a_full_slice_lets_half_a_percent_pass() {
        let slice = Slice::new(30_000, BITS_EACH);
        ids(0, 30_000).for_each(|id| slice.add(id));
        assert!(slice.is_full() && !slice.is_largest());
        let has = |id: u128| (0..slice.probes).all(|probe| slice.looks_set(id, probe));
        assert!(ids(0, 30_000).all(has));
        let passed = ids(1_000_000, 20_000).filter(|id| has(*id)).count();
        assert!((40..200).contains(&passed), "{passed} of 20,000");
    }
}
