//! Replay jobs: a range of a topic appended to another, in the background, each record once. See `docs/replay.md`.
//!
//! The metadata has what a job is and how far it came ([`crate::metadata::ReplayJob`]); [`ReplayJobs::run`] has a task for each that
//! runs; [`runner::Runner`] does the work, and finds what was appended after the metadata last heard of it.

mod republish;
mod runner;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use scheduler::Clock;
use storage::units::TopicId;
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tracing::{error, info, warn};

use self::runner::{Round, Runner};
use super::{Plan, ReplayError, Span, cursor::Cursor};
use crate::{
    config::LiveConfig,
    ids::ProducerIds,
    metadata::{
        Command, JobCommand, JobProgress, JobSpan, JobSpec, JobState, Metadata, MetadataError,
        Outcome, ReplayJob,
    },
    pace,
    partition::{Partition, PartitionKey, Registry, Slot},
    schedule::fire_loop::FireHandle,
};

/// Jobs at most, those that ended among them.
const JOBS_MAX: usize = 1_000;
/// The metadata hears this often how far a job is.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// What failed for now is tried again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// A round of a job with a limit is about so long.
const ROUND: Duration = Duration::from_millis(100);
/// A job that waits looks this often whether it is still to run.
const NAP: Duration = Duration::from_millis(200);

/// What jobs work with.
#[derive(Clone, Debug)]
pub struct Around {
    /// Jobs and topics.
    pub metadata: Metadata,
    /// Partitions.
    pub registry: Arc<Registry>,
    /// Who fires held records.
    pub fire: FireHandle,
    /// Producer ids to take.
    pub producer_ids: Arc<ProducerIds>,
    /// Settings.
    pub config: LiveConfig,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
}

/// Why a job does not go on, or is not made.
#[derive(Debug, Error)]
pub enum JobError {
    /// It may go on by itself.
    #[error("{0}")]
    Passing(String),
    /// A topic was deleted, or has other partitions.
    #[error("the {0} topic was deleted")]
    Gone(&'static str),
    /// The target does not take a record.
    #[error("the target refuses a record: {0}")]
    Refused(String),
    /// The source cannot be read.
    #[error(transparent)]
    Source(#[from] ReplayError),
    /// There is another job of that id.
    #[error("there is another job of that id")]
    Exists,
    /// There is no job of that id.
    #[error("there is no such job")]
    NotFound,
    /// It has ended.
    #[error("the job has ended")]
    Ended,
    /// It has not ended.
    #[error("the job has not ended: cancel it first")]
    NotEnded,
    /// There are as many as there may be.
    #[error("there are {JOBS_MAX} jobs: delete some that have ended")]
    TooMany,
    /// The metadata could not be changed.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl Around {
    /// The partitions of a topic, if it is still the one of that id.
    fn partitions(&self, name: &str, id: TopicId) -> Result<Vec<Arc<Partition>>, JobError> {
        let image = self.metadata.image();
        let which = || JobError::Gone("source or target");
        let topic = image.topics.get(name).filter(|topic| topic.id == id);
        let topic = topic.ok_or_else(which)?;
        let open = |index: i32| {
            let key = PartitionKey { topic: id, index };
            match self.registry.get(key) {
                Some(Slot::Online(partition)) => Ok(partition),
                Some(Slot::Offline { why, .. }) => {
                    Err(JobError::Passing(format!("{name}-{index}: {why}")))
                }
                None => Err(JobError::Passing(format!("{name}-{index} is being opened"))),
            }
        };
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        (0..count).map(open).collect()
    }
}

/// All jobs of a node; cheap to clone.
#[derive(Clone, Debug)]
pub struct ReplayJobs {
    around: Around,
    /// How far those are that run: newer than what the metadata knows.
    live: Arc<Mutex<HashMap<String, JobProgress>>>,
    /// Rung when one came further, or ended.
    told: Arc<Notify>,
}

impl ReplayJobs {
    /// Nothing runs yet.
    pub fn new(around: Around) -> Self {
        Self {
            around,
            live: Arc::default(),
            told: Arc::default(),
        }
    }

    /// The jobs, by id.
    pub fn list(&self) -> Vec<ReplayJob> {
        let jobs = self.around.metadata.image();
        jobs.replay_jobs
            .values()
            .map(|job| self.seen(job))
            .collect()
    }

    /// One of them.
    pub fn get(&self, id: &str) -> Result<ReplayJob, JobError> {
        let image = self.around.metadata.image();
        let job = image.replay_jobs.get(id).ok_or(JobError::NotFound)?;
        Ok(self.seen(job))
    }

    /// Returns when one came further, or at the latest after `patience`.
    pub async fn told(&self, patience: Duration) {
        // An error is the patience's end.
        let _ = timeout(patience, self.told.notified()).await;
    }

    fn seen(&self, job: &ReplayJob) -> ReplayJob {
        let live = self.live.lock().get(&job.id).cloned();
        ReplayJob {
            progress: live.unwrap_or_else(|| job.progress.clone()),
            ..job.clone()
        }
    }

    /// Makes a job of these partitions, each with the offsets that were asked for; or finds the one that the same request made.
    pub async fn create(
        &self,
        id: &str,
        spec: JobSpec,
        request: &[u8],
        sources: Vec<(Arc<Partition>, Option<Span>)>,
    ) -> Result<ReplayJob, JobError> {
        let mut fingerprint = DefaultHasher::new();
        request.hash(&mut fingerprint);
        let fingerprint = fingerprint.finish();
        let known = |job: ReplayJob| {
            if job.fingerprint == fingerprint {
                Ok(job)
            } else {
                Err(JobError::Exists)
            }
        };
        if let Ok(job) = self.get(id) {
            return known(job);
        }
        let image = self.around.metadata.image();
        if image.replay_jobs.len() >= JOBS_MAX {
            return Err(JobError::TooMany);
        }
        let plan = plan_of(&spec);
        let spans = move || {
            let begin = |(partition, span): (Arc<Partition>, Option<Span>)| {
                let index = partition.key.index;
                let span = Cursor::begin(partition, span, &plan)?.place();
                let start = span.start.0;
                Ok(JobSpan {
                    partition: index,
                    start,
                    end: span.end.map_or(start, |end| end.0.max(start)),
                })
            };
            sources.into_iter().map(begin).collect()
        };
        let spans: Result<Vec<JobSpan>, ReplayError> = tokio::task::spawn_blocking(spans)
            .await
            .map_err(|_stopping| JobError::Passing("the node stops".to_owned()))?;
        let spans = spans?;
        let mut producers = Vec::with_capacity(spans.len());
        for _ in &spans {
            let metadata = &self.around.metadata;
            producers.push(self.around.producer_ids.next(metadata).await?);
        }
        let now = self.around.clock.wall().0;
        let targets = self.around.partitions(&spec.target, spec.target_id)?;
        let job = ReplayJob {
            id: id.to_owned(),
            fingerprint,
            producers,
            created_ms: now,
            state: JobState::Running,
            progress: JobProgress {
                next: spans.iter().map(|span| span.start).collect(),
                target_ends: targets.iter().map(|p| p.offsets().log_end.0).collect(),
                at_ms: now,
                ..JobProgress::default()
            },
            spec: JobSpec { spans, ..spec },
        };
        let create = Command::ReplayJob(JobCommand::Create {
            job: Box::new(job.clone()),
        });
        match self.around.metadata.propose(create).await? {
            Outcome::Done => Ok(job),
            // Somebody was faster.
            _ => known(self.get(id)?),
        }
    }

    /// Pauses a job, lets it go on, or gives it up.
    pub async fn set_state(&self, id: &str, state: JobState) -> Result<ReplayJob, JobError> {
        let set = Command::ReplayJob(JobCommand::SetState {
            id: id.to_owned(),
            state,
        });
        match self.around.metadata.propose(set).await? {
            Outcome::Done => self.get(id),
            Outcome::WrongState => Err(JobError::Ended),
            _ => Err(JobError::NotFound),
        }
    }

    /// Forgets a job that has ended.
    pub async fn remove(&self, id: &str) -> Result<(), JobError> {
        let remove = Command::ReplayJob(JobCommand::Remove { id: id.to_owned() });
        match self.around.metadata.propose(remove).await? {
            Outcome::Done => Ok(()),
            Outcome::WrongState => Err(JobError::NotEnded),
            _ => Err(JobError::NotFound),
        }
    }

    /// Runs those that are to run, until the node stops.
    pub async fn run(self, mut stopped: watch::Receiver<bool>) {
        let mut images = self.around.metadata.watch();
        let mut tasks: JoinSet<String> = JoinSet::new();
        let mut running: HashMap<String, tokio::task::AbortHandle> = HashMap::new();
        loop {
            let image = images.borrow_and_update().clone();
            for job in image.replay_jobs.values() {
                if job.state == JobState::Running && !running.contains_key(&job.id) {
                    let task = self.clone().drive(job.id.clone(), stopped.clone());
                    running.insert(job.id.clone(), tasks.spawn(task));
                }
            }
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => break,
                Some(ended) = tasks.join_next(), if !tasks.is_empty() => match ended {
                    Ok(id) => {
                        running.remove(&id);
                    }
                    Err(error) => {
                        error!(%error, "a replay job's task failed");
                        running.retain(|_, task| !task.is_finished());
                    }
                },
                changed = images.changed() => if changed.is_err() {
                    break;
                },
            }
        }
        while tasks.join_next().await.is_some() {}
    }

    /// The job, while it is to run.
    fn still(&self, id: &str) -> Option<Arc<ReplayJob>> {
        let image = self.around.metadata.image();
        let job = image.replay_jobs.get(id)?;
        (job.state == JobState::Running).then(|| Arc::clone(job))
    }

    /// One job, until it has ended, is not to run any more, or the node stops. Returns its id.
    async fn drive(self, id: String, stopped: watch::Receiver<bool>) -> String {
        while let Some(job) = self.still(&id)
            && !*stopped.borrow()
        {
            match self.work(job, &stopped).await {
                Ok(()) => break,
                Err(JobError::Passing(why)) => {
                    warn!(job = id, why, "a replay job waits");
                    sleep(AGAIN_AFTER).await;
                }
                Err(JobError::Metadata(error)) => {
                    warn!(job = id, %error, "a replay job waits");
                    sleep(AGAIN_AFTER).await;
                }
                Err(error) => {
                    let why = error.to_string();
                    warn!(job = id, why, "a replay job failed");
                    if let Some(job) = self.still(&id) {
                        let progress = self.seen(&job).progress;
                        let failed = JobState::Failed { why };
                        // Where it cannot be told, the next start finds it out again.
                        let _ = self.tell(&job, progress, Some(failed)).await;
                    }
                    break;
                }
            }
        }
        self.live.lock().remove(&id);
        self.told.notify_waiters();
        id
    }

    async fn tell(
        &self,
        job: &ReplayJob,
        progress: JobProgress,
        ended: Option<JobState>,
    ) -> Result<(), JobError> {
        let advance = Command::ReplayJob(JobCommand::Advance {
            id: job.id.clone(),
            producers: job.producers.clone(),
            progress,
            ended,
        });
        self.around.metadata.propose(advance).await?;
        self.told.notify_waiters();
        Ok(())
    }

    /// Does the work of a job from where it is. Ends when it is done, or not to be done any more.
    async fn work(
        &self,
        job: Arc<ReplayJob>,
        stopped: &watch::Receiver<bool>,
    ) -> Result<(), JobError> {
        let (of, around) = (Arc::clone(&job), self.around.clone());
        let open = tokio::task::spawn_blocking(move || Runner::open(of, &around));
        let mut runner = open.await.map_err(stopping)??;
        let begun = pace::now();
        let mut paced = Paced::new(&job.spec, begun);
        let ran_before = job.progress.ran_ms;
        let mut told = begun;
        loop {
            let goes_on = self.still(&job.id).is_some() && !*stopped.borrow();
            if !goes_on {
                let progress = self.progress(&runner, ran_before, begun);
                return self.tell(&job, progress, None).await;
            }
            let around = self.around.clone();
            let (most, horizon) = (paced.records(), paced.horizon());
            let work = tokio::task::spawn_blocking(move || {
                let round = runner.round(most, horizon, &around);
                (runner, round)
            });
            let (back, round) = work.await.map_err(stopping)?;
            runner = back;
            let round = round?;
            for (partition, at) in &round.appended {
                if !partition.committed(*at).await {
                    return Err(JobError::Passing("the target commits nothing".to_owned()));
                }
            }
            let progress = self.progress(&runner, ran_before, begun);
            self.live.lock().insert(job.id.clone(), progress.clone());
            if round.is_over {
                info!(
                    job = job.id,
                    records = progress.records,
                    "a replay job is complete"
                );
                return self.tell(&job, progress, Some(JobState::Completed)).await;
            }
            if told.elapsed() >= TELL_EVERY {
                told = pace::now();
                self.tell(&job, progress, None).await?;
            }
            let rest = paced.after(&round);
            if !rest.is_zero() {
                sleep(rest.min(NAP)).await;
            }
        }
    }

    fn progress(&self, runner: &Runner, ran_before: u64, begun: Instant) -> JobProgress {
        let ran = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        JobProgress {
            at_ms: self.around.clock.wall().0,
            ran_ms: ran_before.saturating_add(ran),
            ..runner.progress()
        }
    }
}

fn stopping(_: tokio::task::JoinError) -> JobError {
    JobError::Passing("the node stops".to_owned())
}

fn plan_of(spec: &JobSpec) -> Plan {
    Plan {
        wanted: super::Wanted {
            start_ms: spec.start_ms,
            end_ms: spec.end_ms,
            key: spec.key.clone(),
            header: spec.header.clone(),
            message_id: spec.message_id.clone(),
        },
        ..Plan::default()
    }
}

/// How fast a job may be.
struct Paced {
    begun: Instant,
    records_per_second: u64,
    bytes_per_second: u64,
    speed_milli: u64,
    /// The first record's timestamp, and when it came.
    since: Option<(i64, Instant)>,
    records: u64,
    bytes: u64,
}

impl Paced {
    fn new(spec: &JobSpec, begun: Instant) -> Self {
        Self {
            begun,
            records_per_second: spec.records_per_second,
            bytes_per_second: spec.bytes_per_second,
            speed_milli: spec.speed_milli,
            since: None,
            records: 0,
            bytes: 0,
        }
    }

    /// Records of a round.
    fn records(&self) -> usize {
        if self.records_per_second == 0 {
            return usize::MAX;
        }
        let rounds = 1_000 / u64::try_from(ROUND.as_millis()).unwrap_or(1).max(1);
        usize::try_from((self.records_per_second / rounds).max(1)).unwrap_or(usize::MAX)
    }

    /// Records with a later timestamp wait.
    fn horizon(&self) -> Option<i64> {
        if self.speed_milli == 0 {
            return None;
        }
        // Before the first one is known, none is let pass.
        let Some((first, at)) = self.since else {
            return Some(i64::MIN);
        };
        let passed = at
            .elapsed()
            .as_millis()
            .saturating_mul(u128::from(self.speed_milli))
            / 1_000;
        Some(first.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX)))
    }

    /// How long to rest after a round.
    fn after(&mut self, round: &Round) -> Duration {
        self.records += round.records;
        self.bytes += round.bytes;
        let due = |done: u64, per_second: u64| match per_second {
            0 => Duration::ZERO,
            limit => Duration::from_millis(done.saturating_mul(1_000) / limit),
        };
        let due =
            due(self.records, self.records_per_second).max(due(self.bytes, self.bytes_per_second));
        let rest = due.saturating_sub(self.begun.elapsed());
        let Some(next) = round.not_before else {
            return rest;
        };
        let (first, at) = *self.since.get_or_insert((next, pace::now()));
        let ahead = u64::try_from(next.saturating_sub(first)).unwrap_or(0);
        let ahead = Duration::from_millis(ahead.saturating_mul(1_000) / self.speed_milli.max(1));
        rest.max(ahead.saturating_sub(at.elapsed()))
    }
}
