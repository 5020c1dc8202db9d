//! What was promised, kept outside the broker: values that were acked, and what consumers found.

use std::collections::HashMap;

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Acked.
    pub acked: usize,
    /// Acked, but not found.
    pub lost: usize,
    /// Found more than once.
    pub doubled: usize,
    /// Found though nobody was told that it is there: legal, the ack itself was lost.
    pub unacked_found: usize,
}

/// Holds what was acked against what was found.
pub fn balance<'a>(
    acked: impl Iterator<Item = &'a str>,
    found: impl Iterator<Item = &'a str>,
) -> Balance {
    let mut times: HashMap<&str, usize> = HashMap::new();
    for value in found {
        *times.entry(value).or_default() += 1;
    }
    let mut balance = Balance {
        doubled: times.values().filter(|n| **n > 1).count(),
        ..Balance::default()
    };
    for value in acked {
        balance.acked += 1;
        if times.remove(value).is_none() {
            balance.lost += 1;
        }
    }
    balance.unacked_found = times.len();
    balance
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_doubled_and_unacked_are_told_apart() {
        let balance = balance(
            ["a", "b", "c"].into_iter(),
            ["a", "a", "c", "x"].into_iter(),
        );
        assert_eq!(
            balance,
            Balance {
                acked: 3,
                lost: 1,
                doubled: 1,
                unacked_found: 1
            }
        );
    }
}
