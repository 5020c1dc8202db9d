//! Replay: a range of a topic's records once more, by time or by offset, without a group.
//!
//! [`cursor::Cursor`] reads one partition on, [`Replay`] takes records from all of them in an order, and tells where to go on.
//! Nothing here waits: the service that serves it does, for its client, for the clock, for what is still to come. Both block on
//! the disk, and hold what one read of each partition gave.

mod cursor;
mod future;
pub mod job;
mod token;

use std::sync::Arc;

use kafka_compat::record_headers::MESSAGE_ID;
use storage::{
    log::ReadError,
    record::Record,
    units::{Offset, TimestampMs},
};
use thiserror::Error;

use self::{cursor::Cursor, future::Future};
use crate::{partition::Partition, schedule::control::ControlError};

/// Bytes of an answer's records at most, unless the first is larger.
const ANSWER_BYTES: usize = 256 << 10;
/// Bytes that are read for one answer at most: a filter that fits nothing must not keep the client without a word.
const BUDGET_BYTES: usize = 8 << 20;
/// What one read of a partition gives; less where there are many.
const READ_BYTES: usize = 1 << 20;
const READ_BYTES_LEAST: usize = 16 << 10;

/// Which records.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// With this timestamp or a later one.
    pub start_ms: Option<i64>,
    /// With a timestamp before this one.
    pub end_ms: Option<i64>,
    /// With this key.
    pub key: Option<Vec<u8>>,
    /// With this header, and this value of it unless any will do.
    pub header: Option<(String, Option<Vec<u8>>)>,
    /// With this message id.
    pub message_id: Option<String>,
}

impl Wanted {
    fn fits(&self, timestamp: i64, record: &Record) -> bool {
        let has = |name: &str, value: Option<&[u8]>| {
            let mut headers = record.headers.iter();
            headers.any(|(found, its)| {
                found.as_ref() == name.as_bytes() && (value.is_none() || its.as_deref() == value)
            })
        };
        let header = self.header.as_ref();
        self.is_in_time(timestamp)
            && (self.key.is_none() || record.key.as_deref() == self.key.as_deref())
            && header.is_none_or(|(name, value)| has(name, value.as_deref()))
            && (self.message_id.as_ref()).is_none_or(|id| has(MESSAGE_ID, Some(id.as_bytes())))
    }

    fn is_in_time(&self, timestamp: i64) -> bool {
        self.start_ms.is_none_or(|start| timestamp >= start)
            && self.end_ms.is_none_or(|end| timestamp < end)
    }
}

/// A record of a partition.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Which.
    pub partition: i32,
    /// Its offset.
    pub offset: Offset,
    /// Its time in milliseconds.
    pub timestamp: i64,
    /// The record.
    pub record: Record,
    /// It is held: its offset is its schedule id, its time when it is due.
    pub is_pending: bool,
}

/// Offsets of a partition: from the first one to before the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From here on.
    pub start: Offset,
    /// Before this one; `None` for no end.
    pub end: Option<Offset>,
}

/// What a replay is.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Which records.
    pub wanted: Wanted,
    /// The earliest timestamp first.
    pub merged: bool,
    /// At most so many records.
    pub limit: Option<u64>,
    /// What is still to come belongs to it.
    pub waits: bool,
    /// So does what is held, behind what the log has.
    pub future: bool,
}

/// Why a replay ends early.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// What was to be read is not in the log.
    #[error(
        "offset {offset} of partition {partition} is not in the log, which has {log_start} to {log_end}"
    )]
    OutOfRange {
        /// Where.
        partition: i32,
        /// What was asked for, or comes next.
        offset: Offset,
        /// The first offset.
        log_start: Offset,
        /// One past the last.
        log_end: Offset,
    },
    /// The log cannot be read.
    #[error("partition {0}: {1}")]
    Read(i32, ReadError),
    /// A batch of it is damaged.
    #[error("the batch at {offset} of partition {partition} is damaged")]
    Damaged {
        /// Where.
        partition: i32,
        /// Its base offset.
        offset: i64,
    },
    /// Held records cannot be read.
    #[error("held records: {0}")]
    Held(ControlError),
    /// The token belongs to another request, or is damaged.
    #[error("it belongs to another request, or is damaged")]
    Token,
}

/// Why there are no more records in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It is full, or much was read: there may be more.
    Busy,
    /// More has to be written first.
    CaughtUp,
    /// The next record has this timestamp, whose time has not come.
    NotBefore(i64),
    /// The range is at its end.
    Completed,
}

/// Where the next record is.
#[derive(Clone, Copy)]
enum Next {
    /// In the log of a cursor.
    Past(usize),
    /// Among those that are held.
    Future,
}

/// A range under way.
#[derive(Debug)]
pub struct Replay {
    cursors: Vec<Cursor>,
    /// Where it belongs to it.
    future: Option<Future>,
    plan: Plan,
    streamed: u64,
    read_bytes: usize,
}

impl Replay {
    /// Of these partitions, each with the offsets that were asked for.
    pub fn begin(
        partitions: Vec<(Arc<Partition>, Option<Span>)>,
        plan: Plan,
    ) -> Result<Self, ReplayError> {
        let all = partitions
            .iter()
            .map(|(partition, _)| Arc::clone(partition));
        let future = plan
            .future
            .then(|| Future::begin(all.collect(), &plan.wanted));
        let cursors = partitions
            .into_iter()
            .map(|(partition, span)| Cursor::begin(partition, span, &plan));
        let cursors = cursors.collect::<Result<Vec<_>, _>>()?;
        Ok(Self::of(cursors, future, plan, 0))
    }

    /// Where a token says; `request` tells requests apart that a token must not cross.
    pub fn resume(
        partitions: Vec<Arc<Partition>>,
        plan: Plan,
        token: &str,
        request: &[u8],
    ) -> Result<Self, ReplayError> {
        let token = token::parse(token, request).ok_or(ReplayError::Token)?;
        let (streamed, places) = (token.streamed, token.places);
        // Partitions that came since are no part of it.
        if places.len() > partitions.len() {
            return Err(ReplayError::Token);
        }
        // Nor are they of its future.
        let partitions = partitions.into_iter().take(places.len());
        let partitions: Vec<_> = partitions.collect();
        let future = plan
            .future
            .then(|| Future::at(partitions.clone(), &plan.wanted, token.future));
        let cursors = partitions.into_iter().zip(places);
        let cursors = cursors.map(|(partition, span)| Cursor::resume(partition, span));
        Ok(Self::of(cursors.collect(), future, plan, streamed))
    }

    fn of(cursors: Vec<Cursor>, future: Option<Future>, plan: Plan, streamed: u64) -> Self {
        let read_bytes = BUDGET_BYTES / cursors.len().max(1);
        Self {
            cursors,
            future,
            plan,
            streamed,
            read_bytes: read_bytes.clamp(READ_BYTES_LEAST, READ_BYTES),
        }
    }

    /// Goes on behind what was taken.
    pub fn token(&self, request: &[u8]) -> String {
        let places = self.cursors.iter().map(Cursor::place);
        let future = self.future.as_ref().and_then(Future::place);
        token::of(self.streamed, places, future, request)
    }

    /// How many records were taken, before a resumption as well.
    pub fn streamed(&self) -> u64 {
        self.streamed
    }

    /// The next records, none of them with a timestamp behind the horizon.
    pub fn take(
        &mut self,
        horizon: Option<i64>,
        now: TimestampMs,
    ) -> Result<(Vec<Replayed>, Stop), ReplayError> {
        self.cursors.iter_mut().for_each(Cursor::look_again);
        if let Some(future) = &mut self.future {
            future.look_again();
        }
        let mut taken = Vec::new();
        let (mut bytes, mut budget) = (0, BUDGET_BYTES);
        loop {
            if self.plan.limit.is_some_and(|limit| self.streamed >= limit) {
                return Ok((taken, Stop::Completed));
            }
            let next = match self.next_cursor(&mut budget)? {
                Some(at) => Next::Past(at),
                None => match self.why_none(budget, now) {
                    Stop::Completed if self.reads_future(&mut budget)? => Next::Future,
                    // It was not looked to its end.
                    Stop::Completed if budget == 0 => return Ok((taken, Stop::Busy)),
                    why => return Ok((taken, why)),
                },
            };
            let Some(first) = self.first(next) else {
                return Ok((taken, Stop::Busy));
            };
            let (timestamp, len) = (first.timestamp, first.record.encoded_len());
            if horizon.is_some_and(|horizon| timestamp > horizon) {
                return Ok((taken, Stop::NotBefore(timestamp)));
            }
            if bytes + len > ANSWER_BYTES && !taken.is_empty() {
                return Ok((taken, Stop::Busy));
            }
            bytes += len;
            taken.extend(self.take_first(next));
            self.streamed += 1;
        }
    }

    fn first(&self, next: Next) -> Option<&Replayed> {
        match next {
            Next::Past(at) => self.cursors.get(at)?.first(),
            Next::Future => self.future.as_ref()?.first(),
        }
    }

    fn take_first(&mut self, next: Next) -> Option<Replayed> {
        match next {
            Next::Past(at) => self.cursors.get_mut(at)?.take(),
            Next::Future => self.future.as_mut()?.take(),
        }
    }

    /// Whether there is a held record that comes next; nothing else does.
    fn reads_future(&mut self, budget: &mut usize) -> Result<bool, ReplayError> {
        let Some(future) = &mut self.future else {
            return Ok(false);
        };
        while future.first().is_none() && *budget > 0 {
            let Some(read) = future.read(&self.plan.wanted)? else {
                return Ok(false);
            };
            *budget = budget.saturating_sub(read);
        }
        Ok(future.first().is_some())
    }

    /// The cursor whose next record comes next; `None` where no record is there, or enough was read for it.
    fn next_cursor(&mut self, budget: &mut usize) -> Result<Option<usize>, ReplayError> {
        let mut earliest: Option<(i64, usize)> = None;
        for (at, cursor) in self.cursors.iter_mut().enumerate() {
            while cursor.first().is_none() && *budget > 0 {
                let read = cursor.read(self.read_bytes, &self.plan)?;
                if read == 0 {
                    break;
                }
                *budget = budget.saturating_sub(read);
            }
            let Some(first) = cursor.first() else {
                if *budget == 0 {
                    // What this partition has next is not known.
                    return Ok(None);
                }
                continue;
            };
            if !self.plan.merged {
                return Ok(Some(at));
            }
            if earliest.is_none_or(|(timestamp, _)| first.timestamp < timestamp) {
                earliest = Some((first.timestamp, at));
            }
        }
        Ok(earliest.map(|(_, at)| at))
    }

    fn why_none(&self, budget: usize, now: TimestampMs) -> Stop {
        if budget == 0 {
            return Stop::Busy;
        }
        let end_came = self.plan.wanted.end_ms.is_some_and(|end| now.0 >= end);
        let is_over = !self.plan.waits || end_came || self.cursors.iter().all(Cursor::is_at_end);
        if is_over {
            Stop::Completed
        } else {
            Stop::CaughtUp
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_is_wanted_fits() {
        let header =
            |key: &'static str, value: &'static str| (Bytes::from(key), Some(Bytes::from(value)));
        let record = Record {
            key: Some(Bytes::from_static(b"k")),
            headers: vec![header("a", "1"), header("a", "2"), header(MESSAGE_ID, "id")],
            ..Record::default()
        };
        let fits = |wanted: Wanted| wanted.fits(100, &record);
        let named = |name: &str, value: Option<&str>| Wanted {
            header: Some((name.into(), value.map(Into::into))),
            ..Wanted::default()
        };
        assert!(fits(Wanted::default()));
        assert!(
            fits(named("a", Some("1"))) && fits(named("a", Some("2"))) && fits(named("a", None))
        );
        assert!(!fits(named("a", Some("3"))) && !fits(named("b", None)));
        let timed = |start_ms, end_ms| Wanted {
            start_ms,
            end_ms,
            ..Wanted::default()
        };
        assert!(
            fits(timed(Some(100), Some(101)))
                && !fits(timed(Some(101), None))
                && !fits(timed(None, Some(100)))
        );
        let keyed = |key: &str| Wanted {
            key: Some(key.into()),
            ..Wanted::default()
        };
        assert!(fits(keyed("k")) && !fits(keyed("")));
        let with_id = |id: &str| Wanted {
            message_id: Some(id.into()),
            ..Wanted::default()
        };
        assert!(fits(with_id("id")) && !fits(with_id("1")));
    }
}
