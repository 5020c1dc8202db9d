//! Jobs of `ReplayService`: requests checked, jobs told. What they do is decided in [`crate::replay::job`].

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::Stream;
use prost::Message;
use proto::admin::v1 as pb;
use storage::units::TopicId;
use tokio::sync::watch;
use tonic::{Code, Status};

use super::{
    errors::{self, invalid, status},
    moments, places,
    replay::{of_replay, spans, wanted},
};
use crate::{
    api::Broker,
    metadata::{JobDeliver, JobSpec, JobState, ReplayJob},
    partition::Partition,
    replay::job::JobError,
};

const ID_MAX: usize = 100;
const HEADERS_MAX: usize = 100;
/// A watched job is told of this often, whether it came further or not.
const TOLD_EVERY: Duration = Duration::from_secs(1);
const SPEED_MAX: f64 = 1_000_000.0;

pub(super) async fn create(
    broker: &Broker,
    request: pb::CreateReplayJobRequest,
) -> Result<pb::ReplayJob, Status> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let id = request.job_id.clone();
    if !(1..=ID_MAX).contains(&id.len()) || !id.bytes().all(allowed) {
        let why = format!("it is not 1 to {ID_MAX} of a-z, A-Z, 0-9, '.', '_' and '-'");
        return Err(invalid("job_id", why));
    }
    let bytes = request.encode_to_vec();
    let target_id = target(broker, &request.target_topic)?;
    let sources = places::partitions(broker, &request.topic, &request.partitions)?;
    let spec = spec(&request, &sources, target_id)?;
    let (range, of) = (request.range.clone(), sources.clone());
    let spans = places::blocking(move || spans(range.as_ref(), &of)).await??;
    let sources = sources.into_iter().zip(spans).collect();
    let made = broker.replay_jobs.create(&id, spec, &bytes, sources).await;
    made.map(|job| told(&job)).map_err(|error| of_job(&error))
}

/// A topic that clients may write to.
fn target(broker: &Broker, name: &str) -> Result<TopicId, Status> {
    let image = broker.metadata.image();
    let Some(topic) = image.topics.get(name) else {
        let why = format!("there is no topic '{name}'");
        return Err(status(Code::NotFound, "TOPIC_NOT_FOUND", why));
    };
    if topic.internal {
        return Err(invalid(
            "target_topic",
            "the node keeps its own state in it",
        ));
    }
    Ok(topic.id)
}

fn spec(
    request: &pb::CreateReplayJobRequest,
    sources: &[Arc<Partition>],
    target_id: TopicId,
) -> Result<JobSpec, Status> {
    let Some(first) = sources.first() else {
        return Err(invalid("partitions", "there is none"));
    };
    let wanted = wanted(request.range.as_ref(), request.filter.as_ref())?;
    let partitioning = pb::ReplayPartitioning::try_from(request.partitioning);
    let partitioning =
        partitioning.map_err(|_| invalid("partitioning", "there is no such partitioning"))?;
    let rate = |field: &str, limit: i64| {
        u64::try_from(limit).map_err(|_| invalid(field, "it is negative"))
    };
    if request.set_headers.len().max(request.remove_headers.len()) > HEADERS_MAX {
        let why = format!("there are more than {HEADERS_MAX}");
        return Err(invalid("set_headers", why));
    }
    let deliver = match &request.delivery {
        None => None,
        Some(delivery) => {
            let at = delivery.start_time.as_ref();
            let at = at.ok_or_else(|| invalid("delivery.start_time", "it is missing"))?;
            let why = "it is missing: delivery times are counted from it";
            Some(JobDeliver {
                at_ms: moments::ms_of("delivery.start_time", at)?,
                first_ms: wanted
                    .start_ms
                    .ok_or_else(|| invalid("range.start_time", why))?,
                speed_milli: match milli("delivery.speed", delivery.speed)? {
                    0 => 1_000,
                    speed => speed,
                },
            })
        }
    };
    let headers = request.set_headers.iter();
    Ok(JobSpec {
        source: request.topic.clone(),
        source_id: first.key.topic,
        target: request.target_topic.clone(),
        target_id,
        spans: Vec::new(),
        start_ms: wanted.start_ms,
        end_ms: wanted.end_ms,
        key: wanted.key,
        header: wanted.header,
        message_id: wanted.message_id,
        by_key: partitioning == pb::ReplayPartitioning::Key,
        keeps_chronos_headers: request.keep_chronos_headers,
        removed_headers: request.remove_headers.clone(),
        set_headers: headers
            .map(|header| {
                let value = header.value.as_ref().map(|value| value.to_vec());
                (header.key.clone(), value)
            })
            .collect(),
        new_timestamps: request.new_timestamps,
        records_per_second: rate("records_per_second", request.records_per_second)?,
        bytes_per_second: rate("bytes_per_second", request.bytes_per_second)?,
        speed_milli: milli("speed", request.speed)?,
        deliver,
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is in range"
)]
fn milli(field: &str, speed: f64) -> Result<u64, Status> {
    if !speed.is_finite() || !(0.0..=SPEED_MAX).contains(&speed) {
        let why = format!("it is no number of times up to {SPEED_MAX}");
        return Err(invalid(field, why));
    }
    let milli = (speed * 1_000.0).round() as u64;
    if speed > 0.0 && milli == 0 {
        return Err(invalid(field, "it is less than a thousandth"));
    }
    Ok(milli)
}

pub(super) fn get(broker: &Broker, id: &str) -> Result<pb::ReplayJob, Status> {
    let job = broker.replay_jobs.get(id);
    job.map(|job| told(&job)).map_err(|error| of_job(&error))
}

pub(super) fn list(broker: &Broker) -> Vec<pb::ReplayJob> {
    broker.replay_jobs.list().iter().map(told).collect()
}

pub(super) async fn set_state(
    broker: &Broker,
    id: &str,
    state: JobState,
) -> Result<pb::ReplayJob, Status> {
    let job = broker.replay_jobs.set_state(id, state).await;
    job.map(|job| told(&job)).map_err(|error| of_job(&error))
}

pub(super) async fn remove(broker: &Broker, id: &str) -> Result<(), Status> {
    let removed = broker.replay_jobs.remove(id).await;
    removed.map_err(|error| of_job(&error))
}

pub(super) type Watched =
    Pin<Box<dyn Stream<Item = Result<pb::WatchReplayJobResponse, Status>> + Send>>;

/// How far a job is, again and again, until it has ended.
pub(super) fn watch(
    broker: &Arc<Broker>,
    id: String,
    stopped: watch::Receiver<bool>,
) -> Result<Watched, Status> {
    get(broker, &id)?;
    let jobs = broker.replay_jobs.clone();
    let begun = (jobs, stopped, Some(true));
    let stream = futures::stream::unfold(begun, move |(jobs, mut stopped, first)| {
        let id = id.clone();
        async move {
            // `None` after the last answer.
            if !first? {
                tokio::select! {
                    _ = stopped.wait_for(|stop| *stop) => return None,
                    () = jobs.told(TOLD_EVERY) => {}
                }
            }
            let job = jobs.get(&id);
            let next = job.as_ref().is_ok_and(|job| job.state.is_open());
            let answer = job.map_err(|error| of_job(&error));
            let answer = answer.map(|job| pb::WatchReplayJobResponse {
                job: Some(told(&job)),
            });
            Some((answer, (jobs, stopped, next.then_some(false))))
        }
    });
    Ok(Box::pin(stream))
}

fn told(job: &ReplayJob) -> pb::ReplayJob {
    let (state, failure) = match &job.state {
        JobState::Running => (pb::ReplayJobState::Running, ""),
        JobState::Paused => (pb::ReplayJobState::Paused, ""),
        JobState::Completed => (pb::ReplayJobState::Completed, ""),
        JobState::Cancelled => (pb::ReplayJobState::Cancelled, ""),
        JobState::Failed { why } => (pb::ReplayJobState::Failed, why.as_str()),
    };
    let next = job.progress.next.iter().copied();
    let spans = job.spec.spans.iter().zip(next);
    let spans: Vec<_> = spans
        .map(|(span, next)| pb::ReplayJobSpan {
            partition: span.partition,
            start_offset: span.start,
            end_offset: span.end,
            next_offset: next,
        })
        .collect();
    let all: i64 = spans.iter().map(|s| s.end_offset - s.start_offset).sum();
    let done: i64 = spans.iter().map(|s| s.next_offset - s.start_offset).sum();
    let is_over = job.state == JobState::Completed || done >= all;
    let remaining = (done > 0 && job.state == JobState::Running && !is_over).then(|| {
        let ran = i128::from(job.progress.ran_ms);
        let left = ran * i128::from(all - done) / i128::from(done);
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        moments::duration(left)
    });
    pb::ReplayJob {
        job_id: job.id.clone(),
        topic: job.spec.source.clone(),
        target_topic: job.spec.target.clone(),
        state: state.into(),
        failure: failure.to_owned(),
        create_time: Some(moments::timestamp(job.created_ms)),
        progress: if is_over { 1.0 } else { share(done, all) },
        remaining,
        records: moments::counted(job.progress.records),
        bytes: moments::counted(job.progress.bytes),
        spans,
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn share(done: i64, all: i64) -> f64 {
    done as f64 / all.max(1) as f64
}

fn of_job(error: &JobError) -> Status {
    let message = error.to_string();
    match error {
        JobError::Exists => status(Code::AlreadyExists, "JOB_EXISTS", message),
        JobError::NotFound => status(Code::NotFound, "JOB_NOT_FOUND", message),
        JobError::Ended => status(Code::FailedPrecondition, "JOB_ENDED", message),
        JobError::NotEnded => status(Code::FailedPrecondition, "JOB_NOT_ENDED", message),
        JobError::TooMany => status(Code::ResourceExhausted, "TOO_MANY_JOBS", message),
        JobError::Source(error) => of_replay(error),
        JobError::Gone(_) => status(Code::NotFound, "TOPIC_NOT_FOUND", message),
        JobError::Passing(_) => errors::again_soon("PARTITION_OFFLINE", message),
        JobError::Refused(_) | JobError::Metadata(_) => status(Code::Internal, "STORAGE", message),
    }
}
