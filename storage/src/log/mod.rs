//! The log of one partition.
//!
//! ```text
//! segments/<first offset>.log    64-byte header, then v2 batches, one after another          the truth
//! index/<first offset>.index     sparse: offset -> position, time -> position                derived
//! index/<first offset>.frames    runs of hidden frames, places of hidden and FIRE frames     derived
//! index/manifest.json            segments, offsets, sizes, high watermark                    derived
//! meta/checkpoint.json           up to where the log was synced and read: where recovery starts
//! meta/compaction.json           how far compaction went
//! meta/log_start.json            where the log begins, once it does not with its first record
//! meta/producers.snapshot        producer state at the checkpoint                            derived
//! ```
//! One writer at a time (a mutex held for one `pwritev`), any number of readers that never wait for it. What is durable is
//! told by a `watch` of [`Offsets`]: `log_start <= visible_end <= high_watermark <= log_end`. What a transaction wrote is not
//! decided before its marker: those who read what is committed stop at the first open one ([`ReadUpTo::Stable`]).

mod append_times;
mod checkpoint_file;
mod checkpointing;
mod commit;
mod compaction;
mod config;
mod error;
mod journaling;
mod leader_epochs;
#[expect(
    clippy::module_inception,
    reason = "the log is what this module is about"
)]
mod log;
mod manifest;
mod offsets;
mod producer_state;
mod read;
mod recovery;
mod retention;
mod roll;
mod room;
mod scan;
mod scrub;
mod segment;
mod segment_index;
mod stored_hold;
mod syncer;
#[cfg(test)]
mod tests;
mod transactions;
mod unit;
mod walk;

pub use compaction::{Around, BYTES_PER_KEY, Compacted, CompactionRules, Dirt};
pub use config::{FlushPolicy, LogConfig};
pub use error::{AppendError, OpenError, ReadError};
pub use journaling::JournalOptions;
pub use log::{Log, LogOptions};
pub use offsets::Offsets;
pub use producer_state::ProducerInfo;
pub use read::{Chunk, FileSlice, ReadResult, ReadUpTo, StoredFrame};
pub use recovery::RecoveryReport;
pub use retention::{Pinned, Retained, RetentionRules};
pub use scan::{ScanItem, ScanStop, Scanner};
pub use scrub::{Damage, Found};
pub use segment::{SEGMENT_HEADER_LEN, SegmentHeader};
pub(crate) use segment::{file_name as segment_file_name, is_half_made};
pub use stored_hold::{HoldReadError, StoredHold};
pub use syncer::{OnSync, Synced, Syncer, SyncerOptions};
pub use transactions::{AbortedTransaction, FirstBatch, Guard};
pub use unit::{Appended, Frame, Origin, Unit};
pub use walk::AppendTime;
