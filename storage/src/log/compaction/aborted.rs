//! Which batches are of aborted transactions.

use std::collections::HashMap;

use crate::{
    batch::BatchHeader,
    log::{AbortedTransaction, log::Log},
    units::Offset,
};

/// Of a part of a log, by producer.
#[derive(Debug, Default)]
pub(super) struct Aborted(HashMap<i64, Vec<AbortedTransaction>>);

impl Aborted {
    /// All that have something below `end`, wherever their markers are.
    pub(super) fn of(log: &Log, end: Offset) -> Self {
        let mut by_producer: HashMap<i64, Vec<AbortedTransaction>> = HashMap::new();
        for aborted in log.aborted_transactions(log.first_kept(), end) {
            let of_producer = by_producer.entry(aborted.producer_id).or_default();
            of_producer.push(aborted);
        }
        Self(by_producer)
    }

    /// Whether what a batch has was aborted.
    pub(super) fn has(&self, header: &BatchHeader) -> bool {
        let is_in = |aborted: &AbortedTransaction| {
            (aborted.first_offset.0..=aborted.marker.0).contains(&header.base_offset)
        };
        header.is_transactional() && !header.is_control() && {
            let of_producer = self.0.get(&header.producer_id);
            of_producer.is_some_and(|all| all.iter().any(is_in))
        }
    }

    /// The transaction that a marker aborted.
    pub(super) fn ended_by(&self, marker: &BatchHeader) -> Option<AbortedTransaction> {
        let of_producer = self.0.get(&marker.producer_id)?;
        let ended = of_producer
            .iter()
            .find(|a| a.marker.0 == marker.base_offset);
        ended.copied()
    }
}
