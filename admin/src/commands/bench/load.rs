//! Keys and values, made once and cut from a pool: making them is no part of what is measured.

use std::hash::{BuildHasher, RandomState};

use super::{Payload, ProduceArgs};

/// Larger than a batch, so that a batch does not repeat itself.
const POOL_BYTES: usize = 1 << 20;
/// 2⁶⁴ divided by the golden ratio: multiples of it fill a range evenly, in no order.
pub(super) const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const WORDS: &[&str] = &[
    "order",
    "account",
    "delivery",
    "customer",
    "2026",
    "status",
    "pending",
    "amount",
    "currency",
    "the",
    "of",
    "and",
    "shipped",
    "warehouse",
    "street",
    "id",
    "created",
    "at",
    "by",
    "total",
    "invoice",
    "note",
    "price",
    "item",
    "quantity",
    "region",
    "north",
    "south",
    "retry",
    "event",
    "update",
    "schedule",
    "9f3a",
    "71c0",
    "b2e8",
    "44d1",
    "cancelled",
    "true",
    "false",
    "null",
];

/// Bytes of one size, one after the other out of a pool.
#[derive(Debug)]
pub(super) struct Cuts {
    pool: Vec<u8>,
    size: usize,
    at: usize,
}

impl Cuts {
    pub(super) fn new(payload: Payload, size: usize, seed: u64) -> Self {
        let pool = match payload {
            Payload::Zeros => vec![0; size],
            Payload::Random => random(POOL_BYTES + size, seed),
            Payload::Text => text(POOL_BYTES + size, seed),
        };
        Self { pool, size, at: 0 }
    }

    pub(super) fn next(&mut self) -> &[u8] {
        // An odd step, so that going round does not meet the same cuts again.
        let start = self.at;
        self.at += self.size | 1;
        if self.at + self.size > self.pool.len() {
            self.at = self.at.checked_rem(251).unwrap_or(0);
            if self.at + self.size > self.pool.len() {
                self.at = 0;
            }
        }
        self.pool.get(start..start + self.size).unwrap_or_default()
    }
}

/// Keys of records.
#[derive(Debug)]
pub(super) enum Keys {
    /// Hardly one of them comes twice.
    Random(Cuts),
    /// Chosen among so many.
    Among { count: u64, state: u64, key: String },
}

impl Keys {
    /// `None` where records have no key.
    pub(super) fn new(args: &ProduceArgs, seed: u64) -> Option<Self> {
        match args.keys {
            Some(count) => Some(Self::Among {
                count: count.max(1),
                state: seed,
                key: String::new(),
            }),
            None if args.key_bytes > 0 => {
                let cuts = Cuts::new(Payload::Random, args.key_bytes, seed);
                Some(Self::Random(cuts))
            }
            None => None,
        }
    }

    pub(super) fn next(&mut self) -> &[u8] {
        match self {
            Self::Random(cuts) => cuts.next(),
            Self::Among { count, state, key } => {
                *key = format!("key-{:010}", next_random(state) % *count);
                key.as_bytes()
            }
        }
    }
}

/// Message ids, no two of them alike, in no order.
#[derive(Debug)]
pub(super) struct Ids {
    run: u64,
    count: u64,
    id: String,
}

impl Ids {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            run: seed,
            count: 0,
            id: String::new(),
        }
    }

    pub(super) fn next(&mut self) -> &str {
        use std::fmt::Write as _;
        self.count += 1;
        // An odd factor: each count has its own product.
        let drawn = self.count.wrapping_mul(SPREAD);
        self.id.clear();
        // Writing to a String cannot fail.
        let _ = write!(self.id, "{drawn:016x}{:016x}", self.run);
        &self.id
    }
}

/// Different in each process.
pub(super) fn seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// xorshift64: fast, and random enough for a compressor.
pub(super) fn next_random(state: &mut u64) -> u64 {
    *state = (*state).max(1);
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn random(length: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend_from_slice(&next_random(&mut seed).to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn text(length: usize, mut seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 16);
    while bytes.len() < length {
        let word = next_random(&mut seed) % WORDS.len() as u64;
        let word = usize::try_from(word).ok().and_then(|at| WORDS.get(at));
        bytes.extend_from_slice(word.unwrap_or(&"").as_bytes());
        bytes.push(b' ');
    }
    bytes.truncate(length);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn cuts_have_the_size_and_differ() {
        for payload in [Payload::Random, Payload::Text] {
            let mut cuts = Cuts::new(payload, 1024, 7);
            let seen: HashSet<Vec<u8>> = (0..2_000).map(|_| cuts.next().to_vec()).collect();
            assert!(seen.iter().all(|cut| cut.len() == 1024));
            assert!(seen.len() > 1_900, "{payload:?}: {}", seen.len());
        }
    }

    #[test]
    fn keys_are_chosen_among_as_many_as_asked_for() {
        let mut keys = Keys::Among {
            count: 10,
            state: 7,
            key: String::new(),
        };
        let seen: HashSet<Vec<u8>> = (0..1_000).map(|_| keys.next().to_vec()).collect();
        assert_eq!(seen.len(), 10);
        assert!(seen.contains(b"key-0000000003".as_slice()));
    }

    #[test]
    fn ids_differ() {
        let mut ids = Ids::new(7);
        let seen: HashSet<String> = (0..10_000).map(|_| ids.next().to_owned()).collect();
        assert!(seen.len() == 10_000 && seen.iter().all(|id| id.len() == 32));
    }

    #[test]
    fn any_size_goes_on_for_ever() {
        for size in [0, 1, 7, 1_048_576, 3_000_000] {
            for payload in [Payload::Zeros, Payload::Random] {
                let mut cuts = Cuts::new(payload, size, 1);
                assert!(
                    (0..5_000)
                        .step_by(1 + size / 500)
                        .all(|_| cuts.next().len() == size)
                );
            }
        }
    }

    #[test]
    fn text_is_words() {
        let words = text(1_000, 3);
        assert!(
            words
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || *b == b' ')
        );
    }
}
