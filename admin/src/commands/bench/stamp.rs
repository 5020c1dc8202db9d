//! What a value says of its record: whose run it is of, its number, a time.

/// Bytes that a stamp takes.
pub(super) const STAMP_BYTES: usize = 24;

/// The first bytes of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Tells this run's records from others in the topic.
    pub(super) run: u64,
    /// Counted from 0; `WARM_UP` is none of the counted.
    pub(super) number: u64,
    /// In the run's own unit.
    pub(super) time: u64,
}

/// The number of records that only open connections.
pub(super) const WARM_UP: u64 = u64::MAX;

impl Stamp {
    /// Over the first bytes of a value.
    pub(super) fn write(self, value: &mut [u8]) {
        let words = [self.run, self.number, self.time];
        for (place, word) in value.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
    }

    /// That of a value of this run.
    pub(super) fn read(value: &[u8], run: u64) -> Option<Self> {
        let words = value.get(..STAMP_BYTES)?.as_chunks::<8>().0;
        let &[own, number, time] = words else {
            return None;
        };
        let stamp = Self {
            run: u64::from_be_bytes(own),
            number: u64::from_be_bytes(number),
            time: u64::from_be_bytes(time),
        };
        (stamp.run == run).then_some(stamp)
    }
}

/// Which numbers came, and how often more than once.
#[derive(Debug)]
pub(super) struct Seen {
    came: Vec<bool>,
    pub(super) distinct: u64,
    pub(super) duplicates: u64,
}

impl Seen {
    pub(super) fn of(count: u64) -> anyhow::Result<Self> {
        Ok(Self {
            came: vec![false; usize::try_from(count)?],
            distinct: 0,
            duplicates: 0,
        })
    }

    /// Whether it is the first of this number.
    pub(super) fn add(&mut self, number: u64) -> bool {
        let place = usize::try_from(number)
            .ok()
            .and_then(|at| self.came.get_mut(at));
        match place {
            Some(came) if !*came => {
                *came = true;
                self.distinct += 1;
                true
            }
            _ => {
                self.duplicates += 1;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_comes_back_in_its_own_run_only() {
        let stamp = Stamp {
            run: 7,
            number: 8,
            time: 9,
        };
        let mut value = [1; 100];
        stamp.write(&mut value);
        assert_eq!(Stamp::read(&value, 7), Some(stamp));
        assert_eq!(Stamp::read(&value, 6), None);
        assert_eq!(Stamp::read(&value[..23], 7), None);
        assert_eq!(value[24], 1);
    }

    #[test]
    fn duplicates_are_counted_once_each_time() {
        let mut seen = Seen::of(3).unwrap();
        assert!(seen.add(0) && seen.add(2) && !seen.add(2));
        assert_eq!((seen.distinct, seen.duplicates), (2, 1));
    }
}
