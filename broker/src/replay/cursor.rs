//! One partition of a replay.

use std::{collections::VecDeque, sync::Arc};

use kafka_compat::records;
use storage::{
    batch::{BatchHeader, BatchView, HEADER_LEN},
    log::{AbortedTransaction, ReadError, ReadUpTo},
    record::RecordIter,
    units::Offset,
};

use super::{Plan, ReplayError, Replayed, Span};
use crate::partition::Partition;

/// Reads a partition on.
#[derive(Debug)]
pub(super) struct Cursor {
    partition: Arc<Partition>,
    /// Is read next.
    next: Offset,
    /// The range ends before this one.
    end: Option<Offset>,
    /// Records that fit and were read.
    ready: VecDeque<Replayed>,
    /// There was no more when it was read last.
    is_dry: bool,
}

impl Cursor {
    /// From where the plan's records begin. By time it is looked up in the index: no record before it has that time or a later one,
    /// however times are mixed.
    pub(super) fn begin(
        partition: Arc<Partition>,
        span: Option<Span>,
        plan: &Plan,
    ) -> Result<Self, ReplayError> {
        let log = partition.log();
        let offsets = log.offsets();
        let mut next = offsets.log_start;
        if let Some(span) = span {
            next = span.start;
            if next < offsets.log_start || next > offsets.log_end {
                return Err(ReplayError::OutOfRange {
                    partition: partition.key.index,
                    offset: next,
                    log_start: offsets.log_start,
                    log_end: offsets.log_end,
                });
            }
        }
        if let Some(start_ms) = plan.wanted.start_ms {
            let first = log.first_batch_at_or_after_time(start_ms, next);
            let first = first.map_err(|e| ReplayError::Read(partition.key.index, e))?;
            let base = first.map_or(offsets.visible_end, |b| Offset(b.header.base_offset));
            next = next.max(base);
        }
        let mut end = span.and_then(|span| span.end);
        if !plan.waits {
            let mut now = offsets.visible_stable;
            if let Some(end_ms) = plan.wanted.end_ms {
                now = now.min(log.end_before_time(end_ms));
            }
            end = Some(end.map_or(now, |end| end.min(now)));
        }
        Ok(Self {
            partition,
            next,
            end,
            ready: VecDeque::new(),
            is_dry: false,
        })
    }

    pub(super) fn resume(partition: Arc<Partition>, span: Span) -> Self {
        Self {
            partition,
            next: span.start,
            end: span.end,
            ready: VecDeque::new(),
            is_dry: false,
        }
    }

    /// What is left.
    pub(super) fn place(&self) -> Span {
        Span {
            start: self.first().map_or(self.next, |first| first.offset),
            end: self.end,
        }
    }

    pub(super) fn first(&self) -> Option<&Replayed> {
        self.ready.front()
    }

    pub(super) fn take(&mut self) -> Option<Replayed> {
        self.ready.pop_front()
    }

    /// Whether nothing can come that belongs to it.
    pub(super) fn is_at_end(&self) -> bool {
        let decided = self.partition.log().offsets().last_stable;
        self.ready.is_empty() && self.end.is_some_and(|end| self.next.max(decided) >= end)
    }

    /// More may have been written.
    pub(super) fn look_again(&mut self) {
        self.is_dry = false;
    }

    /// Reads on; returns how many bytes, none where there is no more until it looks again.
    pub(super) fn read(&mut self, max_bytes: usize, plan: &Plan) -> Result<usize, ReplayError> {
        let read = if self.is_dry {
            0
        } else {
            self.read_log(max_bytes, plan)?
        };
        self.is_dry = read == 0;
        Ok(read)
    }

    fn read_log(&mut self, max_bytes: usize, plan: &Plan) -> Result<usize, ReplayError> {
        if self.end.is_some_and(|end| self.next >= end) {
            return Ok(0);
        }
        let index = self.partition.key.index;
        let log = self.partition.log();
        let read = match log.read(self.next, max_bytes, ReadUpTo::Stable, true) {
            Ok(read) => read,
            Err(ReadError::OutOfRange { log_start, log_end }) => {
                return Err(ReplayError::OutOfRange {
                    partition: index,
                    offset: self.next,
                    log_start,
                    log_end,
                });
            }
            Err(error) => return Err(ReplayError::Read(index, error)),
        };
        if read.bytes == 0 {
            return Ok(0);
        }
        let aborted = log.aborted_transactions(self.next, read.end);
        let bytes = read.to_bytes();
        let mut left = bytes.map_err(|e| ReplayError::Read(index, e.into()))?;
        while let Ok(header) = BatchHeader::parse(&left) {
            // The last one may be cut: it is read again from its beginning.
            if left.len() < HEADER_LEN || header.total_len() > left.len() {
                break;
            }
            let damaged = || ReplayError::Damaged {
                partition: index,
                offset: header.base_offset,
            };
            let batch =
                BatchView::parse(left.split_to(header.total_len())).map_err(|_| damaged())?;
            if !batch.verify_crc() {
                return Err(damaged());
            }
            if self.end.is_some_and(|end| header.base_offset >= end.0) {
                self.next = self.end.unwrap_or(self.next);
                break;
            }
            self.take_in(&batch, &aborted, plan).ok_or_else(damaged)?;
            self.next = Offset(header.last_offset() + 1);
        }
        Ok(read.bytes)
    }

    /// Keeps what fits of a batch; `None` where it cannot be read.
    fn take_in(
        &mut self,
        batch: &BatchView,
        aborted: &[AbortedTransaction],
        plan: &Plan,
    ) -> Option<()> {
        let header = &batch.header;
        let is_aborted = header.is_transactional()
            && aborted.iter().any(|transaction| {
                let offsets = transaction.first_offset.0..transaction.marker.0;
                transaction.producer_id == header.producer_id
                    && offsets.contains(&header.base_offset)
            });
        let start_ms = plan.wanted.start_ms;
        let is_before = start_ms.is_some_and(|start| header.max_timestamp < start);
        if header.is_control() || is_aborted || is_before {
            return Some(());
        }
        let plain = records::plain(batch).ok()?;
        for record in RecordIter::new(plain, header.records_count) {
            let record = record.ok()?;
            let offset = Offset(header.base_offset + i64::from(record.offset_delta));
            let timestamp = if header.log_append_time() {
                header.max_timestamp
            } else {
                header.base_timestamp.saturating_add(record.timestamp_delta)
            };
            let is_in_span = offset >= self.next && self.end.is_none_or(|end| offset < end);
            if is_in_span && plan.wanted.fits(timestamp, &record) {
                self.ready.push_back(Replayed {
                    partition: self.partition.key.index,
                    offset,
                    timestamp,
                    record,
                    is_pending: false,
                });
            }
        }
        Some(())
    }
}
