//! `ReplayService`: records of a range once more. What comes next is decided in [`crate::replay`]; here it is waited for.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, Stream};
use prost::Message;
use proto::admin::v1::{self as pb, replay_service_server::ReplayService};
use storage::{
    log::{Offsets, ReadError},
    units::Offset,
};
use tokio::{sync::watch, time::timeout};
use tonic::{Code, Request, Response, Status};

use super::{
    errors::{self, invalid, of_control, status},
    moments::{self, optional_ms},
    places, replay_jobs,
};
use crate::{
    api::Broker,
    metadata::JobState,
    pace,
    partition::Partition,
    replay::{Plan, Replay, ReplayError, Replayed, Span, Stop, Wanted},
};

/// A client that hears nothing for longer cannot tell a filter that fits nothing from a connection that is gone.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The service.
#[derive(Clone, Debug)]
pub(super) struct Service {
    broker: Arc<Broker>,
    stopped: watch::Receiver<bool>,
}

impl Service {
    pub(super) fn new(broker: Arc<Broker>, stopped: watch::Receiver<bool>) -> Self {
        Self { broker, stopped }
    }

    async fn begin(&self, request: pb::StreamReplayRequest) -> Result<Streaming, Status> {
        if request.topic.is_empty() {
            return Err(invalid("topic", "it is missing"));
        }
        let speed = request.speed;
        if !speed.is_finite() || speed < 0.0 {
            return Err(invalid("speed", "it is no number of times"));
        }
        let plan = plan(&request)?;
        let partitions = places::partitions(&self.broker, &request.topic, &request.partitions)?;
        if request.wait {
            let end = request
                .range
                .as_ref()
                .and_then(|range| range.append_end_time.as_ref());
            let end = end.map(|end| moments::ms_of("range.append_end_time", end));
            if end
                .transpose()?
                .is_some_and(|end| end > self.broker.clock.wall().0)
            {
                let why = "it is in the future: with wait, end by time or offset";
                return Err(invalid("range.append_end_time", why));
            }
        }
        let (range, of) = (request.range.clone(), partitions.clone());
        let spans = places::blocking(move || spans(range.as_ref(), &of)).await??;
        let logs = partitions.iter().map(|p| p.log().watch()).collect();
        let token = request.resume_token.clone();
        let unresumed = pb::StreamReplayRequest {
            resume_token: String::new(),
            ..request
        };
        let mut request = unresumed.encode_to_vec();
        // Another topic of that name has other records.
        if let Some(first) = partitions.first() {
            request.extend_from_slice(first.key.topic.as_bytes());
        }
        let replay = {
            let request = request.clone();
            blocking(move || {
                if token.is_empty() {
                    Replay::begin(partitions.into_iter().zip(spans).collect(), plan)
                } else {
                    Replay::resume(partitions, plan, &token, &request)
                }
            })
        };
        Ok(Streaming {
            replay: Some(replay.await?),
            request,
            speed: (speed > 0.0).then_some(speed),
            since: None,
            answered: pace::now(),
            logs,
            service: self.clone(),
        })
    }
}

/// Which records a range and a filter name.
pub(super) fn wanted(
    range: Option<&pb::ReplayRange>,
    filter: Option<&pb::ReplayFilter>,
) -> Result<Wanted, Status> {
    let range = range.cloned().unwrap_or_default();
    let start_ms = optional_ms("range.start_time", range.start_time.as_ref())?;
    let end_ms = optional_ms("range.end_time", range.end_time.as_ref())?;
    if let (Some(start), Some(end)) = (start_ms, end_ms)
        && start > end
    {
        return Err(invalid("range.end_time", "it is before the start"));
    }
    let filter = filter.cloned().unwrap_or_default();
    let header = filter.header.map(|h| (h.key, h.value.map(Into::into)));
    Ok(Wanted {
        start_ms,
        end_ms,
        key: filter.key.map(Into::into),
        header,
        message_id: filter.message_id,
    })
}

fn plan(request: &pb::StreamReplayRequest) -> Result<Plan, Status> {
    let limit = u64::try_from(request.limit).map_err(|_| invalid("limit", "it is negative"))?;
    let order = pb::ReplayOrder::try_from(request.order);
    let order = order.map_err(|_| invalid("order", "there is no such order"))?;
    if request.include_pending && request.wait {
        let why = "with wait, what is held is told when it is delivered";
        return Err(invalid("include_pending", why));
    }
    Ok(Plan {
        wanted: wanted(request.range.as_ref(), request.filter.as_ref())?,
        merged: order == pb::ReplayOrder::MergedByTime || request.speed > 0.0,
        limit: (limit > 0).then_some(limit),
        waits: request.wait,
        future: request.include_pending,
    })
}

/// The offsets that were asked for of each partition, by number and by time of appending. Blocks on the disk.
pub(super) fn spans(
    range: Option<&pb::ReplayRange>,
    partitions: &[Arc<Partition>],
) -> Result<Vec<Option<Span>>, Status> {
    let mut spans = vec![None; partitions.len()];
    let Some(range) = range else {
        return Ok(spans);
    };
    for asked in &range.offsets {
        let at = partitions
            .iter()
            .position(|p| p.key.index == asked.partition);
        let span = at.and_then(|at| spans.get_mut(at)).ok_or_else(|| {
            let why = format!("partition {} is not replayed", asked.partition);
            invalid("range.offsets", why)
        })?;
        let end = asked.end_offset.map(Offset);
        let start = Offset(asked.start_offset);
        if span.is_some() || end.is_some_and(|end| end < start) {
            let why = format!("those of partition {} are no range", asked.partition);
            return Err(invalid("range.offsets", why));
        }
        *span = Some(Span { start, end });
    }
    let appended = Appended::of(range)?;
    if appended.is_asked() {
        for (span, partition) in spans.iter_mut().zip(partitions) {
            *span = Some(appended.within(*span, partition)?);
        }
    }
    Ok(spans)
}

/// A range of times of appending.
struct Appended {
    from_ms: Option<i64>,
    to_ms: Option<i64>,
}

impl Appended {
    fn of(range: &pb::ReplayRange) -> Result<Self, Status> {
        let from_ms = optional_ms("range.append_start_time", range.append_start_time.as_ref())?;
        let to_ms = optional_ms("range.append_end_time", range.append_end_time.as_ref())?;
        if let (Some(from), Some(to)) = (from_ms, to_ms)
            && from > to
        {
            return Err(invalid("range.append_end_time", "it is before the start"));
        }
        Ok(Self { from_ms, to_ms })
    }

    fn is_asked(&self) -> bool {
        self.from_ms.is_some() || self.to_ms.is_some()
    }

    /// What of a span was appended then.
    fn within(&self, span: Option<Span>, partition: &Partition) -> Result<Span, Status> {
        // What comes from now on is appended later than a time that has passed.
        let log_end = self.to_ms.map(|_| partition.offsets().log_end);
        let found = partition.log().appended_between(self.from_ms, self.to_ms);
        let (start, end) = found.map_err(|error| {
            let index = partition.key.index;
            of_replay(&ReplayError::Read(index, ReadError::Io(error)))
        })?;
        let end = end.or(log_end);
        let Some(span) = span else {
            return Ok(Span { start, end });
        };
        let ends = [span.end, end].into_iter().flatten();
        let start = span.start.max(start);
        Ok(Span {
            start,
            end: ends.min().map(|end| end.max(start)),
        })
    }
}

/// A stream under way.
struct Streaming {
    /// `None` while it is read on, and at the end.
    replay: Option<Replay>,
    request: Vec<u8>,
    speed: Option<f64>,
    /// The first record's time, and when it was sent: what comes later is sent by that.
    since: Option<(i64, Instant)>,
    answered: Instant,
    /// The partitions' offsets, whose changes are heard of.
    logs: Vec<watch::Receiver<Offsets>>,
    service: Service,
}

impl Streaming {
    /// The next answer; `None` at the end, or when the node stops.
    async fn next(&mut self) -> Option<Result<pb::StreamReplayResponse, Status>> {
        loop {
            let mut replay = self.replay.take()?;
            let (horizon, now) = (self.horizon(), self.service.broker.clock.wall());
            let taken = blocking(move || {
                let taken = replay.take(horizon, now)?;
                Ok((replay, taken))
            });
            let (replay, (records, stop)) = match taken.await {
                Ok(taken) => taken,
                Err(error) => return Some(Err(error)),
            };
            let replay = self.replay.insert(replay);
            let is_over = stop == Stop::Completed;
            let is_time = !records.is_empty() || self.answered.elapsed() >= HEARTBEAT;
            if is_over || is_time {
                self.answered = pace::now();
                let answer = pb::StreamReplayResponse {
                    records: records.into_iter().map(message).collect(),
                    resume_token: replay.token(&self.request),
                    completed: is_over,
                    streamed: i64::try_from(replay.streamed()).unwrap_or(i64::MAX),
                };
                if is_over {
                    self.replay = None;
                }
                return Some(Ok(answer));
            }
            let patience = match stop {
                Stop::Busy | Stop::Completed => continue,
                Stop::CaughtUp => None,
                Stop::NotBefore(first) if self.since.is_none() => {
                    self.since = Some((first, pace::now()));
                    continue;
                }
                Stop::NotBefore(timestamp) => Some(self.until(timestamp)),
            };
            self.rest(patience).await?;
        }
    }

    /// The latest timestamp whose time has come; `None` for all.
    fn horizon(&self) -> Option<i64> {
        let speed = self.speed?;
        let Some((first, sent)) = self.since else {
            // Only looks at the first one: it is sent at once, and the others by it.
            return Some(i64::MIN);
        };
        let passed = Duration::try_from_secs_f64(sent.elapsed().as_secs_f64() * speed);
        let passed = i64::try_from(passed.unwrap_or(Duration::MAX).as_millis());
        Some(first.saturating_add(passed.unwrap_or(i64::MAX)))
    }

    fn until(&self, timestamp: i64) -> Duration {
        let (Some(speed), Some((first, sent))) = (self.speed, self.since) else {
            return Duration::ZERO;
        };
        let ahead = u64::try_from(timestamp.saturating_sub(first)).unwrap_or(0);
        let due = Duration::try_from_secs_f64(Duration::from_millis(ahead).as_secs_f64() / speed);
        due.unwrap_or(Duration::MAX).saturating_sub(sent.elapsed())
    }

    /// Until the span has passed, or, without one, more is written; not beyond the next heartbeat. `None` when the node stops.
    async fn rest(&mut self, span: Option<Duration>) -> Option<()> {
        let beat = HEARTBEAT.saturating_sub(self.answered.elapsed());
        let logs = &mut self.logs;
        let changed = async {
            if span.is_some() || logs.is_empty() {
                return std::future::pending().await;
            }
            // A log that was closed is told by the next read.
            let changes = logs.iter_mut().map(|log| log.changed().boxed());
            drop(futures::future::select_all(changes).await);
        };
        let patience = span.unwrap_or(beat).min(beat);
        tokio::select! {
            biased;
            _ = self.service.stopped.wait_for(|stop| *stop) => None,
            _ = timeout(patience, changed) => Some(()),
        }
    }
}

fn message(replayed: Replayed) -> pb::ReplayRecord {
    let record = replayed.record;
    let headers = record.headers.into_iter().map(|(name, value)| pb::Header {
        key: String::from_utf8_lossy(&name).into_owned(),
        value,
    });
    pb::ReplayRecord {
        partition: replayed.partition,
        offset: replayed.offset.0,
        time: Some(moments::timestamp(replayed.timestamp)),
        key: record.key,
        value: record.value,
        headers: headers.collect(),
        pending: replayed.is_pending,
    }
}

async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, ReplayError> + Send + 'static,
) -> Result<T, Status> {
    places::blocking(task)
        .await?
        .map_err(|error| of_replay(&error))
}

pub(super) fn of_replay(error: &ReplayError) -> Status {
    let message = error.to_string();
    match error {
        ReplayError::OutOfRange {
            partition,
            log_start,
            log_end,
            ..
        } => {
            let about = [
                ("partition", partition.to_string()),
                ("log_start", log_start.to_string()),
                ("log_end", log_end.to_string()),
            ];
            let about = about.map(|(name, value)| (name.to_owned(), value));
            errors::with(
                Code::OutOfRange,
                "OFFSET_OUT_OF_RANGE",
                message,
                about.into(),
            )
        }
        ReplayError::Held(error) => of_control(error),
        ReplayError::Token => invalid("resume_token", message),
        ReplayError::Read(_, ReadError::Corrupt { .. }) | ReplayError::Damaged { .. } => {
            status(Code::DataLoss, "STORAGE", message)
        }
        ReplayError::Read(..) => status(Code::Internal, "STORAGE", message),
    }
}

#[tonic::async_trait]
impl ReplayService for Service {
    type StreamReplayStream =
        Pin<Box<dyn Stream<Item = Result<pb::StreamReplayResponse, Status>> + Send>>;

    async fn stream_replay(
        &self,
        request: Request<pb::StreamReplayRequest>,
    ) -> Result<Response<Self::StreamReplayStream>, Status> {
        let streaming = self.begin(request.into_inner()).await?;
        let stream = futures::stream::unfold(streaming, |mut streaming| async move {
            let answer = streaming.next().await?;
            Some((answer, streaming))
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn create_replay_job(
        &self,
        request: Request<pb::CreateReplayJobRequest>,
    ) -> Result<Response<pb::CreateReplayJobResponse>, Status> {
        let job = replay_jobs::create(&self.broker, request.into_inner()).await?;
        let job = Some(job);
        Ok(Response::new(pb::CreateReplayJobResponse { job }))
    }

    async fn get_replay_job(
        &self,
        request: Request<pb::GetReplayJobRequest>,
    ) -> Result<Response<pb::GetReplayJobResponse>, Status> {
        let job = Some(replay_jobs::get(
            &self.broker,
            &request.into_inner().job_id,
        )?);
        Ok(Response::new(pb::GetReplayJobResponse { job }))
    }

    async fn list_replay_jobs(
        &self,
        _request: Request<pb::ListReplayJobsRequest>,
    ) -> Result<Response<pb::ListReplayJobsResponse>, Status> {
        let jobs = replay_jobs::list(&self.broker);
        Ok(Response::new(pb::ListReplayJobsResponse { jobs }))
    }

    type WatchReplayJobStream = replay_jobs::Watched;

    async fn watch_replay_job(
        &self,
        request: Request<pb::WatchReplayJobRequest>,
    ) -> Result<Response<Self::WatchReplayJobStream>, Status> {
        let id = request.into_inner().job_id;
        let watched = replay_jobs::watch(&self.broker, id, self.stopped.clone())?;
        Ok(Response::new(watched))
    }

    async fn pause_replay_job(
        &self,
        request: Request<pb::PauseReplayJobRequest>,
    ) -> Result<Response<pb::PauseReplayJobResponse>, Status> {
        let id = request.into_inner().job_id;
        let job = replay_jobs::set_state(&self.broker, &id, JobState::Paused).await?;
        let job = Some(job);
        Ok(Response::new(pb::PauseReplayJobResponse { job }))
    }

    async fn resume_replay_job(
        &self,
        request: Request<pb::ResumeReplayJobRequest>,
    ) -> Result<Response<pb::ResumeReplayJobResponse>, Status> {
        let id = request.into_inner().job_id;
        let job = replay_jobs::set_state(&self.broker, &id, JobState::Running).await?;
        let job = Some(job);
        Ok(Response::new(pb::ResumeReplayJobResponse { job }))
    }

    async fn cancel_replay_job(
        &self,
        request: Request<pb::CancelReplayJobRequest>,
    ) -> Result<Response<pb::CancelReplayJobResponse>, Status> {
        let id = request.into_inner().job_id;
        let job = replay_jobs::set_state(&self.broker, &id, JobState::Cancelled).await?;
        let job = Some(job);
        Ok(Response::new(pb::CancelReplayJobResponse { job }))
    }

    async fn delete_replay_job(
        &self,
        request: Request<pb::DeleteReplayJobRequest>,
    ) -> Result<Response<pb::DeleteReplayJobResponse>, Status> {
        replay_jobs::remove(&self.broker, &request.into_inner().job_id).await?;
        Ok(Response::new(pb::DeleteReplayJobResponse {}))
    }
}
