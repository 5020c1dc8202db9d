//! Replay jobs, as the metadata has them. Fields keep their names: logs of earlier releases have them.

use serde::{Deserialize, Serialize};
use storage::units::TopicId;

/// A range of a topic that is appended to another one, or to the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayJob {
    /// Its name among jobs.
    pub id: String,
    /// What it does.
    pub spec: JobSpec,
    /// Tells requests apart that have one id.
    pub fingerprint: u64,
    /// Who it is in the target's log: a producer for each of the spec's spans.
    pub producers: Vec<i64>,
    /// When it was made.
    pub created_ms: i64,
    /// Whether it goes on.
    pub state: JobState,
    /// How far it is.
    pub progress: JobProgress,
}

/// What a job does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpec {
    /// The topic that is read.
    pub source: String,
    /// Its id: one made again is another topic.
    pub source_id: TopicId,
    /// The topic that is written to.
    pub target: String,
    /// Its id.
    pub target_id: TopicId,
    /// Which offsets, by partition.
    pub spans: Vec<JobSpan>,
    /// Records with this timestamp or a later one.
    pub start_ms: Option<i64>,
    /// Records with a timestamp before this one.
    pub end_ms: Option<i64>,
    /// Records with this key.
    pub key: Option<Vec<u8>>,
    /// Records with this header, and this value of it unless any will do.
    pub header: Option<(String, Option<Vec<u8>>)>,
    /// Records with this message id.
    pub message_id: Option<String>,
    /// A record goes where its key says, not to the partition of its number.
    pub by_key: bool,
    /// Headers of ours stay on the records.
    pub keeps_chronos_headers: bool,
    /// Headers that go.
    pub removed_headers: Vec<String>,
    /// Headers that come, in place of those of that name.
    pub set_headers: Vec<(String, Option<Vec<u8>>)>,
    /// Records get the time of their append instead of their own.
    pub new_timestamps: bool,
    /// So many records a second at most; 0 for no limit.
    pub records_per_second: u64,
    /// So many bytes a second at most; 0 for no limit.
    pub bytes_per_second: u64,
    /// So many thousandths of real time, by the records' timestamps; 0 for as fast as can be.
    pub speed_milli: u64,
    /// Records are held, and due by their timestamps.
    pub deliver: Option<JobDeliver>,
}

/// Offsets of a source partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSpan {
    /// The partition.
    pub partition: i32,
    /// From this one on.
    pub start: i64,
    /// Before this one.
    pub end: i64,
}

/// When held records are due: as long after `at_ms` as their timestamps are after `first_ms`, by a speed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobDeliver {
    /// When the first is.
    pub at_ms: i64,
    /// The timestamp that stands for it.
    pub first_ms: i64,
    /// Thousandths of real time.
    pub speed_milli: u64,
}

/// Whether a job goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It does.
    Running,
    /// Until somebody says so.
    Paused,
    /// All is appended.
    Completed,
    /// It was given up.
    Cancelled,
    /// It cannot go on.
    Failed {
        /// Why.
        why: String,
    },
}

impl JobState {
    /// Whether it may change yet.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Running | Self::Paused)
    }
}

/// How far a job is. All that it counts is committed in the target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobProgress {
    /// The next offset of each span.
    pub next: Vec<i64>,
    /// Where each partition of the target ended: what this job has appended since lies behind.
    pub target_ends: Vec<i64>,
    /// Records appended.
    pub records: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// When that was.
    pub at_ms: i64,
    /// Milliseconds that it ran.
    pub ran_ms: u64,
}
