//! Whether all is well, and what is not.

use std::fmt;

use crate::{
    api::Broker,
    metadata::JobState,
    partition::{Offline, Partition},
};

/// Problems that are told at most.
const TOLD_MAX: usize = 1_000;
/// Held records that have been due for longer are late for a reason.
const OVERDUE_MS: i64 = 5_000;
/// A disk with less is about to refuse what producers send.
const FREE_BYTES_MIN: i64 = 1 << 30;
/// So is one with less than this, if it is a twentieth of it or less.
const FREE_BYTES_LOW: i64 = 10 << 30;
const FREE_SHARE_LOW: i64 = 20;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// It serves, and somebody should look.
    Degraded,
    /// Some partitions cannot be read or written.
    Unhealthy,
}

/// What is not well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A partition is offline.
    PartitionOffline,
    /// Nobody decides on metadata.
    NoLeader,
    /// Bytes of a log do not fit their checksum.
    Damaged,
    /// The disk is nearly full.
    DiskLow,
    /// Held records are late.
    Overdue,
    /// A replay job cannot go on.
    ReplayJobFailed,
}

impl Reason {
    /// Its name for programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PartitionOffline => "PARTITION_OFFLINE",
            Self::NoLeader => "NO_LEADER",
            Self::Damaged => "DAMAGED",
            Self::DiskLow => "DISK_LOW",
            Self::Overdue => "OVERDUE",
            Self::ReplayJobFailed => "REPLAY_JOB_FAILED",
        }
    }

    /// How bad it is.
    pub const fn gravity(self) -> Gravity {
        match self {
            Self::PartitionOffline | Self::NoLeader => Gravity::Unhealthy,
            Self::Damaged | Self::DiskLow | Self::Overdue | Self::ReplayJobFailed => {
                Gravity::Degraded
            }
        }
    }
}

/// Something that is not well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What.
    pub reason: Reason,
    /// A partition as "orders-3", a job's id; empty where it is the node.
    pub subject: String,
    /// In words.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.subject.is_empty() {
            write!(f, "{}: ", self.subject)?;
        }
        f.write_str(&self.message)
    }
}

fn problem(reason: Reason, subject: impl Into<String>, message: impl Into<String>) -> Problem {
    Problem {
        reason,
        subject: subject.into(),
        message: message.into(),
    }
}

/// Why the node is not fit to serve all of it.
pub fn unfit(broker: &Broker) -> Vec<Problem> {
    let mut found = Vec::new();
    if broker.metadata.quorum().leader < 0 {
        found.push(problem(Reason::NoLeader, "", "nobody decides on metadata"));
    }
    for offline in broker.registry.offline() {
        let Offline { partition, why } = offline;
        found.push(problem(Reason::PartitionOffline, partition, why));
    }
    found
}

/// All that is not well, the worst first. Blocks on the disk.
pub fn problems(broker: &Broker) -> Vec<Problem> {
    let mut found = unfit(broker);
    found.extend(broker.registry.disk_bytes().and_then(disk));
    let now_ms = broker.clock.wall();
    for partition in broker.registry.online() {
        let name = format!("{}-{}", partition.topic, partition.key.index);
        let damaged = partition.log().damaged();
        if damaged > 0 {
            let why = format!("{damaged} places of its log do not fit their checksums");
            found.push(problem(Reason::Damaged, name.as_str(), why));
        }
        if let Some(late_ms) = late(&partition, now_ms) {
            let why = format!("a held record has been due for {} s", late_ms / 1_000);
            found.push(problem(Reason::Overdue, name, why));
        }
    }
    for job in broker.replay_jobs.list() {
        if let JobState::Failed { why } = &job.state {
            found.push(problem(Reason::ReplayJobFailed, job.id.as_str(), why));
        }
    }
    found.truncate(TOLD_MAX);
    found
}

/// How long the first held record has been due, where that is too long.
fn late(partition: &Partition, now: storage::units::TimestampMs) -> Option<i64> {
    // A store that cannot be read says so in the log.
    let since = partition.backlog(now, 1).ok()?.since?;
    let late_ms = now.0.saturating_sub(since.0);
    (late_ms > OVERDUE_MS).then_some(late_ms)
}

fn disk((total, free): (i64, i64)) -> Option<Problem> {
    let is_low = free < FREE_BYTES_MIN || free < FREE_BYTES_LOW && free < total / FREE_SHARE_LOW;
    let why = format!("{free} of {total} bytes are free");
    is_low.then(|| problem(Reason::DiskLow, "", why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_low_below_a_gibibyte_or_a_small_share() {
        let gib = 1 << 30;
        for (total, free) in [(100, 50), (2_000, 12), (100, 9), (16, 2)] {
            assert_eq!(disk((total * gib, free * gib)), None, "{free} of {total}");
        }
        let low = disk((2_000 * gib, 9 * gib)).unwrap();
        assert_eq!(low.reason, Reason::DiskLow);
        assert_eq!(disk((4 * gib, gib - 1)).unwrap().reason, Reason::DiskLow);
    }
}
