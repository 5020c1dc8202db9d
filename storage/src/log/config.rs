//! Settings of a log.

use std::time::Duration;

/// When an append counts as committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushPolicy {
    /// When it is synced.
    Ack,
    /// At once; synced at least this often.
    Interval(Duration),
    /// At once; the operating system syncs when it likes.
    Os,
}

/// Settings of a log; they may change while it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment is closed when it would grow past this.
    pub segment_bytes: u32,
    /// A segment is closed when it is this old.
    pub segment_ms: i64,
    /// An index entry at least every so many bytes.
    pub index_interval_bytes: u32,
    /// When an append counts as committed.
    pub flush_policy: FlushPolicy,
    /// A sync after so many records, whatever the policy; their append is committed by it.
    pub flush_messages: i64,
    /// A producer that was silent for so long is forgotten.
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3_600_000,
            index_interval_bytes: 4096,
            flush_policy: FlushPolicy::Ack,
            flush_messages: i64::MAX,
            producer_id_expiration_ms: 24 * 3_600_000,
        }
    }
}
