//! CANCEL frames: read, and written.

use bytes::{Buf, BufMut, Bytes};

use super::{
    CANCEL_VERSION, CANCEL_VERSION_1, FrameError, KIND_CANCEL, alone, kind, narrow, put_kind,
};
use crate::{
    batch::{BatchHeader, BatchView},
    units::{DueTime, ScheduleId, TimestampMs},
};

const CANCEL_ENTRY_LEN: usize = 25;
const CANCEL_ENTRY_LEN_1: usize = 17;

/// What became of a hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelAction {
    /// It never fires.
    Cancelled,
    /// It fires at another time.
    Rescheduled(DueTime),
    /// A newer hold of the same schedule key took its place.
    Replaced,
}

/// A line of a CANCEL frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelEntry {
    /// Which record.
    pub id: ScheduleId,
    /// When it was due until then; version 1 did not say.
    pub due: Option<DueTime>,
    /// What became of it.
    pub action: CancelAction,
}

/// A CANCEL frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelFrame {
    /// Who asked: makes a repeated request answer as the first one did.
    pub request_id: Bytes,
    /// What it settles or moves, in order.
    pub entries: Vec<CancelEntry>,
}

impl CancelFrame {
    /// Reads a CANCEL frame; `None` for any other frame.
    pub fn parse(view: &BatchView) -> Result<Option<Self>, FrameError> {
        if !view.header.is_hidden() {
            return Ok(None);
        }
        let mut b = view.records();
        let version = b.get(1).copied();
        if kind(&mut b)? != KIND_CANCEL {
            return Ok(None);
        }
        let has_due = version != Some(CANCEL_VERSION_1);
        let entry_len = if has_due {
            CANCEL_ENTRY_LEN
        } else {
            CANCEL_ENTRY_LEN_1
        };
        if b.remaining() < 2 {
            return Err(FrameError::Cut);
        }
        let id_len = usize::from(b.get_u16());
        if b.remaining() < id_len + 4 {
            return Err(FrameError::Cut);
        }
        let request_id = b.split_to(id_len);
        let count = b.get_u32() as usize;
        if count.saturating_mul(entry_len) > b.remaining() {
            return Err(FrameError::Cut);
        }
        let mut entries = Vec::with_capacity(count);
        for i in 0..count {
            let id = ScheduleId(b.get_i64());
            let action = b.get_u8();
            let due = has_due.then(|| DueTime(b.get_i64()));
            let new_due = DueTime(b.get_i64());
            let action = match action {
                1 => CancelAction::Cancelled,
                2 => CancelAction::Rescheduled(new_due),
                3 => CancelAction::Replaced,
                _ => return Err(FrameError::Entry(i)),
            };
            entries.push(CancelEntry { id, due, action });
        }
        Ok(Some(Self {
            request_id,
            entries,
        }))
    }

    /// The body; the caller puts it behind a header with [`crate::batch::ATTR_HIDDEN`].
    pub fn encode(&self) -> Bytes {
        let mut body = Vec::new();
        let has_due = self.entries.iter().all(|entry| entry.due.is_some());
        let version = if has_due {
            CANCEL_VERSION
        } else {
            CANCEL_VERSION_1
        };
        put_kind(&mut body, KIND_CANCEL, version);
        body.put_u16(u16::try_from(self.request_id.len()).unwrap_or(u16::MAX));
        body.put_slice(&self.request_id);
        body.put_u32(narrow(self.entries.len()));
        for CancelEntry { id, due, action } in &self.entries {
            body.put_i64(id.0);
            let (code, new_due) = match action {
                CancelAction::Cancelled => (1, -1),
                CancelAction::Rescheduled(new_due) => (2, new_due.0),
                CancelAction::Replaced => (3, -1),
            };
            body.put_u8(code);
            if let Some(due) = due.filter(|_| has_due) {
                body.put_i64(due.0);
            }
            body.put_i64(new_due);
        }
        body.into()
    }

    /// The frame, open for stamping; it takes one offset.
    pub fn into_frame(self, now: TimestampMs) -> (BatchHeader, Bytes) {
        let body = self.encode();
        (alone(&body, self.entries.len(), now), body)
    }
}
