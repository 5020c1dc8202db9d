//! Where each leader's term begins (KIP-101): derived from the epochs stamped into batches.

use serde::{Deserialize, Serialize};

use crate::units::{LeaderEpoch, Offset};

/// Terms in order, each with its first offset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeaderEpochs(Vec<(LeaderEpoch, Offset)>);

impl LeaderEpochs {
    /// A batch of `epoch` begins at `offset`.
    pub(super) fn saw(&mut self, epoch: LeaderEpoch, offset: Offset) {
        if self.0.last().is_none_or(|(last, _)| *last < epoch) {
            self.0.push((epoch, offset));
        }
    }

    /// The log starts at `log_start`: the term there begins with it, and those before are forgotten.
    pub(super) fn start_at(&mut self, log_start: Offset) {
        let after = self.0.partition_point(|(_, start)| *start <= log_start);
        self.0.drain(..after.saturating_sub(1));
        if let Some((_, start)) = self.0.first_mut().filter(|(_, s)| *s < log_start) {
            *start = log_start;
        }
    }

    /// The largest term up to `epoch`, and where it ends; (-1, -1) where the log
    /// has none.
    pub(super) fn end_offset(&self, epoch: LeaderEpoch, log_end: Offset) -> (LeaderEpoch, Offset) {
        let after = self.0.partition_point(|(e, _)| *e <= epoch);
        let end = self.0.get(after).map_or(log_end, |(_, start)| *start);
        match after.checked_sub(1).and_then(|i| self.0.get(i)) {
            Some((found, _)) => (*found, end),
            // Before the first term: that one's beginning. Source: Apache Kafka, `LeaderEpochFileCache.endOffsetFor`.
            None if !self.0.is_empty() && epoch.0 != -1 => (epoch, end),
            None => (LeaderEpoch(-1), Offset(-1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let mut epochs = LeaderEpochs::default();
        for (epoch, offset) in [(0, 0), (0, 5), (2, 10), (5, 30)] {
            epochs.saw(LeaderEpoch(epoch), Offset(offset));
        }
        for (asked, found, end) in [
            (0, 0, 10),
            (1, 0, 10),
            (2, 2, 30),
            (4, 2, 30),
            (5, 5, 44),
            (9, 5, 44),
        ] {
            let expected = (LeaderEpoch(found), Offset(end));
            assert_eq!(
                epochs.end_offset(LeaderEpoch(asked), Offset(44)),
                expected,
                "{asked}"
            );
        }
        epochs.start_at(Offset(12));
        let expected = (LeaderEpoch(2), Offset(30));
        assert_eq!(epochs.end_offset(LeaderEpoch(3), Offset(44)), expected);
        let before = (LeaderEpoch(1), Offset(12));
        assert_eq!(epochs.end_offset(LeaderEpoch(1), Offset(44)), before);
        let none = LeaderEpochs::default().end_offset(LeaderEpoch(0), Offset(0));
        assert_eq!(none, (LeaderEpoch(-1), Offset(-1)));
    }
}
