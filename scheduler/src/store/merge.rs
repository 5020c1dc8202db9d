//! Runs read together, in firing order; where several know a key, the newest is believed.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    StoreError,
    run::{Cursor, Known, Run},
};
use crate::timer_key::TimerKey;

/// A reader over runs.
#[derive(Debug, Default)]
pub(super) struct Merge {
    /// By the next key, or for a run that is not open yet the lowest that can come; then the newest first.
    heads: BinaryHeap<Reverse<(TimerKey, Reverse<usize>, bool)>>,
    sources: Vec<Source>,
}

#[derive(Debug)]
enum Source {
    Closed(Run, Option<TimerKey>),
    Open(Cursor),
}

impl Merge {
    /// Of runs, the newest last, each behind its floor and `after`. Runs are opened when their time comes.
    pub(super) fn new(runs: &[Run], after: Option<TimerKey>) -> Self {
        let mut merge = Self::default();
        for run in runs {
            let floor = run.info.floor.max(after);
            if floor >= Some(run.info.max) {
                continue;
            }
            let lowest = run.info.min.max(floor.unwrap_or(run.info.min));
            let number = merge.sources.len();
            merge.heads.push(Reverse((lowest, Reverse(number), false)));
            merge.sources.push(Source::Closed(run.clone(), floor));
        }
        merge
    }

    /// The next key and what is known of it.
    pub(super) fn next(&mut self) -> Result<Option<(TimerKey, Known)>, StoreError> {
        let mut found: Option<(TimerKey, Known)> = None;
        while let Some(Reverse((key, Reverse(number), open))) = self.heads.peek().copied() {
            if found.is_some_and(|(at, _)| key > at) {
                break;
            }
            self.heads.pop();
            let Some(source) = self.sources.get_mut(number) else {
                continue;
            };
            if let Source::Closed(run, floor) = source {
                *source = Source::Open(run.clone().cursor(*floor)?);
            }
            let Source::Open(cursor) = source else {
                continue;
            };
            if open && let Some(next) = cursor.peek()? {
                // The newest run comes first; older ones are only read past.
                found.get_or_insert(next);
                cursor.advance();
            }
            if let Some((next, _)) = cursor.peek()? {
                self.heads.push(Reverse((next, Reverse(number), true)));
            }
        }
        Ok(found)
    }
}
