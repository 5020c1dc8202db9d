//! The journal of a node: one place that makes the small tails of many logs durable with one sync.
//!
//! A log's segment is the only place that anything is read from, and an append writes there first. What a round of the group
//! commit waits for is that those bytes survive a power loss. Sixteen logs with a few records each would need sixteen
//! `fdatasync`s of growing files, each with a journal commit of the file system; here the same bytes are written once more,
//! together, into a file that already has its size and its blocks, and synced once. The segments are synced when that file is
//! to be used again, with seconds of records at once (`docs/adr/0008-node-journal.md`).
//!
//! ```text
//! journal/a.journal  journal/b.journal     the halves: one is filled while the logs of the other one are synced
//!
//!  0  magic             8 bytes  "CRNJNL1\0"
//!  8  version           u32      1
//! 12  closed            u32      1 after a clean stop: nothing is to be looked for
//! 16  salt              u64      what the checksums of the rounds start from: bytes of a client never look like a round
//! 24  first generation  u64      rounds of an earlier one are over: the segments have what they say
//! 32  crc               u32      CRC32C of bytes 0 to 31
//! 36  zeros up to 4096, then rounds, each from a multiple of 4096 on
//!
//!  0  magic             4 bytes  "JRND"
//!  4  crc               u32      CRC32C of the salt and of bytes 8 to length
//!  8  length            u32      from the magic on, without the zeros behind it
//! 12  generation        u64      of the half: one more each time that it is filled anew
//! 20  number            u64      of the round in its generation, from 0
//! 28  entries:           u8 1    names a segment: u32 id, 16 bytes topic id, i32 partition, i64 first offset,
//!                                u16 length and UTF-8 of the partition's folder, from the node's on
//!                        u8 2    bytes of it: u32 id, u64 position, u32 length, the bytes
//! ```
//! All integers are big-endian. A round is synced before the next one is written, and before the first round of a generation it
//! is synced that those of earlier ones are over: a bad round with a later one behind it is damage.
//!
//! **At a start**, before any log is opened, what the rounds say is written to the segments, which are synced; then the rounds
//! are over ([`Journal::open`]). That is harmless however often it happens: within the life of a process a position of a segment
//! never gets other bytes once they are committed.

mod error;
mod format;
mod halves;
mod replay;

pub use error::JournalError;
pub use halves::{Half, Journal, Tail};
pub use replay::Replayed;
