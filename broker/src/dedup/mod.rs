//! Message ids: a record with header `chronos-message-id` is appended once to its partition within `chronos.dedup.window.ms`.
//! See `docs/dedup.md` and `docs/adr/0011-dedup-by-the-log.md`.
//!
//! ```text
//! produce ──> DedupIndex::stored (filter, then RocksDB) ──┐
//!                                                         ├─> Partition::append: under its lock, Window::seen decides
//!             Window (memory: taken since the last run) ──┘   appended ──> Window::take
//! every 128 Ki ids, or 10 s:  Windows ──> one sorted run ──> RocksDB, with how far each log is covered
//! start:  the log from there on ──> Window        index lost: the whole log, as far back as the window
//! ```
//! The log decides; all else is derived from it. What lies in the index was synced in its log before.

mod filter;
mod flush;
mod index;
mod replay;
mod taken;
mod window;

pub use flush::{flush_all, run};
pub use index::{Crowded, DedupIndex, IndexStats, Mark};
pub use replay::{ReplayError, Rules, open};
pub use taken::{Seen, Taken};
pub use window::{Found, Ids, Leaving, Stored, Window};
