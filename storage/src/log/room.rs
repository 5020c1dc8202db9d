//! Room on the disk for what the active segment gets next, taken ahead.
//!
//! The file system then has not to find blocks for each append (a seventh of the CPU of a large write on ext4), and an append into
//! room that was taken cannot meet a full disk. The size of the file stays: recovery knows nothing of it. Small segments take
//! none, so that thousands of idle partitions cost nothing.

use std::io;

use super::log::Writer;

/// A segment of this size takes room ahead: as much as it has, so that no more than half of a file is unused.
const BYTES_MIN: u64 = 1 << 20;
const STEP_MAX: u64 = 64 << 20;

/// Takes room where the next `len` bytes have none.
pub(super) fn make(writer: &mut Writer, len: u64, segment_bytes: u64) {
    let size = writer.active.index.read().size;
    if size < BYTES_MIN || size + len <= writer.allocated {
        return;
    }
    let upto = (size + size.min(STEP_MAX))
        .min(segment_bytes)
        .max(size + len);
    writer.allocated = match writer.active.file.allocate(size, upto - size) {
        Ok(()) => upto,
        // A file system without it, or without room: the append itself will tell.
        Err(_) => u64::MAX,
    };
}

/// Gives back what the active segment did not use.
pub(super) fn give_back(writer: &mut Writer) -> io::Result<()> {
    let size = writer.active.index.read().size;
    if writer.allocated > size && writer.allocated < u64::MAX {
        writer.active.file.set_len(size)?;
    }
    writer.allocated = 0;
    Ok(())
}
