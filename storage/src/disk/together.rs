//! One call that makes all files of a file system durable.
//!
//! Sixteen logs with a batch each cost sixteen `fdatasync`s, each a journal commit and a cache flush of its own; one `syncfs`
//! costs little more than one of them. It also waits for what other programs wrote to that file system, so it is used only
//! while little is dirty on the machine.

use std::{
    fmt::Debug,
    fs::{self, File},
    io,
    path::Path,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

/// With more than this waiting to be written on the machine, files are synced one by one.
const DIRTY_MAX: u64 = 64 << 20;
/// What is dirty is read this often at most.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// `EXT4_SUPER_MAGIC`, `statfs(2)`.
const EXT4: u64 = 0xEF53;

/// Syncs all files of a disk at once.
pub trait SyncTogether: Send + Sync + Debug {
    /// Whether that would not wait for much that others wrote.
    fn is_quiet(&self) -> bool;
    /// Makes durable what was written to any file before.
    fn sync(&self) -> io::Result<()>;
}

/// `syncfs(2)` on one descriptor, which therefore hears of each failed write-back of the file system once.
#[derive(Debug)]
pub struct FileSystem {
    folder: File,
    looked: Mutex<Option<(Instant, bool)>>,
}

impl FileSystem {
    /// The file system of a folder; `None` where `syncfs` is not known to do for every file what `fdatasync` does: it flushes
    /// the device's cache on ext4 (`ext4_sync_fs`), not always on XFS; and before Linux 5.8 it told no failed write-back.
    pub fn of(folder: &Path) -> io::Result<Option<Self>> {
        let folder = File::open(folder)?;
        let kind = rustix::fs::fstatfs(&folder)?.f_type;
        let release = rustix::system::uname();
        let is_known =
            u64::try_from(kind) == Ok(EXT4) && tells_failures(&release.release().to_string_lossy());
        Ok(is_known.then_some(Self {
            folder,
            looked: Mutex::new(None),
        }))
    }
}

/// Whether a kernel's `syncfs` tells failed write-backs: Linux 5.8 (commit 735e4ae5ba28).
fn tells_failures(release: &str) -> bool {
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (5, 8))
}

impl SyncTogether for FileSystem {
    fn is_quiet(&self) -> bool {
        let mut looked = self.looked.lock();
        let now = now();
        if let Some((at, quiet)) = *looked
            && now < at + LOOK_EVERY
        {
            return quiet;
        }
        let quiet = fs::read_to_string("/proc/meminfo")
            .ok()
            .and_then(|text| dirty_bytes(&text))
            .is_some_and(|dirty| dirty <= DIRTY_MAX);
        *looked = Some((now, quiet));
        quiet
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.folder)?)
    }
}

/// What `/proc/meminfo` says is dirty or being written.
fn dirty_bytes(meminfo: &str) -> Option<u64> {
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    };
    Some((kib("Dirty:")? + kib("Writeback:")?) * 1024)
}

#[expect(
    clippy::disallowed_methods,
    reason = "only measures spans, on threads outside tokio"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_tell() {
        for (release, tells) in [
            ("6.18.44-fc", true),
            ("5.8.0-rc1", true),
            ("5.7.19", false),
            ("4.19.0-26-amd64", false),
            ("unknown", false),
        ] {
            assert_eq!(tells_failures(release), tells, "{release}");
        }
    }

    #[test]
    fn dirty_and_being_written() {
        let text = "MemTotal:  24 kB\nDirty:             128 kB\nWriteback:           2 kB\nWritebackTmp:        7 kB\n";
        assert_eq!(dirty_bytes(text), Some(130 * 1024));
        assert_eq!(dirty_bytes("MemTotal: 24 kB\n"), None);
    }
}
