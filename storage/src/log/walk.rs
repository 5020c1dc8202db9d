//! Walking over all of a log, unit by unit, for what is derived from its records.

use std::{ops::ControlFlow, sync::Arc};

use super::{
    error::ReadError,
    log::Log,
    read::{corrupt, header_at, limit},
    scan::{ScanItem, ScanStop, Scanner},
};
use crate::units::Offset;

/// When a unit was appended, as far as the log knows: between when its segment was made and when the next one was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendTime {
    /// Not before.
    pub from_ms: i64,
    /// Not after; `i64::MAX` in the active segment.
    pub to_ms: i64,
}

impl Log {
    /// Gives `each` the committed units from the one that `from` is in, in log order, each checked by its checksums. Segments that
    /// were closed before `since_ms` are not read.
    pub fn walk(
        &self,
        from: Offset,
        since_ms: i64,
        each: &mut dyn FnMut(&ScanItem, AppendTime) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let committed = self.committed();
        let segments = self.segments_from(from);
        for (i, segment) in segments.iter().enumerate() {
            let appended = AppendTime {
                from_ms: segment.created_ms,
                to_ms: segments.get(i + 1).map_or(i64::MAX, |next| next.created_ms),
            };
            let Some(end) = limit(segment, &committed) else {
                break;
            };
            if appended.to_ms < since_ms {
                continue;
            }
            let start = segment.index.read().position_for_offset(from);
            if start >= end {
                continue;
            }
            let first = Offset(header_at(segment, start)?.base_offset);
            let mut scanner = Scanner::new(Arc::clone(&segment.file), start, end, first);
            while let Some(unit) = scanner.next_unit() {
                let unit = match unit {
                    Ok(unit) => unit,
                    Err(ScanStop::Io(source)) => return Err(ReadError::Io(source)),
                    Err(ScanStop::Bad(why)) => {
                        return Err(corrupt(segment, scanner.position(), why));
                    }
                };
                if scanner.next_offset() > from && each(&unit, appended).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// When the log was opened, records below this were known to have no message id; `None` where they may have.
    pub fn no_ids_below(&self) -> Option<Offset> {
        self.no_ids_below
    }

    /// A message id may be in any record that is appended from now on, and in what no [`Self::walk`] looked at: the checkpoints say
    /// so, until the log is gone.
    pub fn has_message_ids(&self) {
        self.message_ids
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
