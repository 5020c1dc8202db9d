//! Replay jobs, as the metadata has them. Fields keep their names: logs of earlier releases have them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use storage::units::TopicId;

use super::command::Outcome;

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

/// A change of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobCommand {
    /// It is made.
    Create {
        /// What it is.
        job: Box<ReplayJob>,
    },
    /// It is paused, goes on, or is given up, if it has not ended.
    SetState {
        /// Which.
        id: String,
        /// What it is then.
        state: JobState,
    },
    /// It came so far.
    Advance {
        /// Which.
        id: String,
        /// Who its producers are: one that was made again under that id is another.
        producers: Vec<i64>,
        /// How far.
        progress: JobProgress,
        /// How it ended, if it did.
        ended: Option<JobState>,
    },
    /// One that ended is forgotten.
    Remove {
        /// Which.
        id: String,
    },
}

impl fmt::Display for JobCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { job } => write!(f, "create {:?}", job.id),
            Self::SetState { id, state } => write!(f, "set {id:?} to {state:?}"),
            Self::Advance { id, .. } => write!(f, "advance {id:?}"),
            Self::Remove { id } => write!(f, "remove {id:?}"),
        }
    }
}

impl JobCommand {
    /// Deterministic, as all of the metadata.
    pub(super) fn apply(self, jobs: &mut BTreeMap<String, Arc<ReplayJob>>) -> Outcome {
        match self {
            Self::Create { job } => {
                if jobs.contains_key(&job.id) {
                    return Outcome::JobExists;
                }
                jobs.insert(job.id.clone(), Arc::new(*job));
                Outcome::Done
            }
            Self::SetState { id, state } => {
                let Some(job) = jobs.get_mut(&id) else {
                    return Outcome::NoSuchJob;
                };
                if !job.state.is_open() {
                    return Outcome::WrongState;
                }
                Arc::make_mut(job).state = state;
                Outcome::Done
            }
            Self::Advance {
                id,
                producers,
                progress,
                ended,
            } => {
                let job = jobs.get_mut(&id);
                let Some(job) = job.filter(|job| job.producers == producers) else {
                    return Outcome::NoSuchJob;
                };
                let job = Arc::make_mut(job);
                job.progress = progress;
                // Somebody may have given it up meanwhile.
                if let Some(ended) = ended.filter(|_| job.state != JobState::Cancelled) {
                    job.state = ended;
                }
                Outcome::Done
            }
            Self::Remove { id } => match jobs.get(&id) {
                None => Outcome::NoSuchJob,
                Some(job) if job.state.is_open() => Outcome::WrongState,
                Some(_) => {
                    jobs.remove(&id);
                    Outcome::Done
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_ended_changes_no_more() {
        let mut jobs = BTreeMap::new();
        let job = ReplayJob {
            id: "j".into(),
            spec: JobSpec::default(),
            fingerprint: 1,
            producers: vec![7],
            created_ms: 0,
            state: JobState::Running,
            progress: JobProgress::default(),
        };
        let create = JobCommand::Create { job: Box::new(job) };
        assert_eq!(create.clone().apply(&mut jobs), Outcome::Done);
        assert_eq!(create.apply(&mut jobs), Outcome::JobExists);
        let set = |state| JobCommand::SetState {
            id: "j".into(),
            state,
        };
        let advance = |producers: &[i64], ended| JobCommand::Advance {
            id: "j".into(),
            producers: producers.to_vec(),
            progress: JobProgress::default(),
            ended,
        };
        let remove = || JobCommand::Remove { id: "j".into() };
        assert_eq!(remove().apply(&mut jobs), Outcome::WrongState);
        assert_eq!(set(JobState::Paused).apply(&mut jobs), Outcome::Done);
        assert_eq!(advance(&[8], None).apply(&mut jobs), Outcome::NoSuchJob);
        assert_eq!(set(JobState::Cancelled).apply(&mut jobs), Outcome::Done);
        let done = advance(&[7], Some(JobState::Completed));
        assert_eq!(done.apply(&mut jobs), Outcome::Done);
        assert_eq!(jobs["j"].state, JobState::Cancelled);
        assert_eq!(set(JobState::Running).apply(&mut jobs), Outcome::WrongState);
        assert_eq!(remove().apply(&mut jobs), Outcome::Done);
        assert_eq!(remove().apply(&mut jobs), Outcome::NoSuchJob);
    }
}
