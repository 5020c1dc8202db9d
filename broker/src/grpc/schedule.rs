//! `ScheduleService`: what waits, and what may be done to it. Everything is decided in [`crate::schedule::control`].

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::Stream;
use prost_types::Timestamp;
use proto::admin::v1::{self as pb, schedule_service_server::ScheduleService};
use scheduler::TimerKey;
use storage::units::{DueTime, ScheduleId, TimestampMs};
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

use super::{
    errors::{self, invalid, of_control, status},
    moments::{self, counted, timestamp},
    names::{checked_request_id, parse_scheduled_message, scheduled_message},
    pages, places,
};
use crate::{
    api::Broker,
    partition::Partition,
    schedule::control::{self, Asked, Change, ControlError, Held, HeldRecord, Loader, Outcome},
    schedule::firing_order::{self, Position},
};

/// A page with values ends here; one record may be larger.
const PAGE_BYTES_MAX: usize = 4 << 20;
const CANCELS_MAX: usize = 100_000;
/// A CANCEL frame of a bulk cancel settles so many at most.
const BULK: usize = 1_000;
const BUCKETS_MAX: i32 = 1_000;
const WATCH_LEAST: Duration = Duration::from_millis(100);
/// Where spans end that grow: 1 s, 10 s, 1 min, 10 min, 1 h, 6 h, 1 d, 7 d, 30 d, 365 d.
const GROWING_MS: [i64; 10] = [
    1_000,
    10_000,
    60_000,
    600_000,
    3_600_000,
    21_600_000,
    86_400_000,
    604_800_000,
    2_592_000_000,
    31_536_000_000,
];

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

    fn now(&self) -> TimestampMs {
        self.broker.clock.wall()
    }

    async fn move_to(
        &self,
        name: &str,
        change: Change,
        expected: Option<DueTime>,
        request_id: &str,
    ) -> Result<(), Status> {
        let request_id = checked_request_id(request_id)?.to_vec();
        let (topic, index, id) = parse_scheduled_message(name)?;
        let partition = places::partition(&self.broker, topic, index)?;
        let now = self.now();
        let max_delay = self.broker.config.get().schedule_max_delay_ms;
        if let Change::MoveTo(due) = change
            && due.0.saturating_sub(now.0) > max_delay
        {
            let why =
                format!("deliver_time lies beyond schedule.max.delay.ms, which is {max_delay}");
            return Err(status(Code::InvalidArgument, "TOO_FAR", why));
        }
        let fire = self.broker.fire.clone();
        // In a task of its own: a client that leaves must not keep the fire loop from hearing of what was appended.
        let moved = tokio::spawn(async move {
            let asked = Asked {
                change,
                expected,
                request_id: &request_id,
            };
            let moved = control::reschedule(&partition, id, asked, now).await;
            fire.watch(&partition);
            moved
        });
        let moved = moved
            .await
            .map_err(|_stopping| of_control(&ControlError::Closed))?;
        match moved.map_err(|e| of_control(&e))? {
            Outcome::Done => Ok(()),
            Outcome::AlreadyFired(offset) => Err(already_delivered(name, offset.0)),
            Outcome::NotFound => Err(not_found(name)),
            Outcome::DueDiffers(due) => {
                let why = format!("{name} is due at {}", due.0);
                let metadata = HashMap::from([("deliver_time_ms".to_owned(), due.0.to_string())]);
                Err(errors::with(
                    Code::Aborted,
                    "DELIVER_TIME_DIFFERS",
                    why,
                    metadata,
                ))
            }
        }
    }
}

/// A filter, checked.
struct Filter {
    partitions: Vec<Arc<Partition>>,
    after: DueTime,
    before: DueTime,
    key: Option<Bytes>,
    header: Option<pb::Header>,
}

impl Filter {
    fn new(service: &Service, filter: Option<&pb::ScheduleFilter>) -> Result<Self, Status> {
        let filter = filter.ok_or_else(|| invalid("filter", "it is missing"))?;
        if filter.topic.is_empty() {
            return Err(invalid("filter.topic", "it is missing"));
        }
        let time = |field: &str, at: &Option<Timestamp>| {
            at.as_ref().map(|at| due_of(field, at)).transpose()
        };
        Ok(Self {
            partitions: places::partitions(&service.broker, &filter.topic, &filter.partitions)?,
            after: time("filter.deliver_after", &filter.deliver_after)?.unwrap_or(DueTime(0)),
            before: time("filter.deliver_before", &filter.deliver_before)?
                .unwrap_or(DueTime(i64::MAX)),
            key: filter.key.clone(),
            header: filter.header.clone(),
        })
    }

    /// Whether records have to be read to know.
    fn looks_into_records(&self) -> bool {
        self.key.is_some() || self.header.is_some()
    }

    fn fits(&self, held: &HeldRecord) -> bool {
        let key = self.key.as_ref();
        if key.is_some() && held.record.key.as_ref() != key {
            return false;
        }
        self.header.as_ref().is_none_or(|header| {
            held.record
                .last_header(&header.key)
                .is_some_and(|value| *value == header.value)
        })
    }
}

async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, ControlError> + Send + 'static,
) -> Result<T, Status> {
    let done = places::blocking(task).await?;
    done.map_err(|error| of_control(&error))
}

/// A page, and where to go on, where there is more.
type Page = (Vec<pb::ScheduledMessage>, Option<Position>);

/// The records at and behind `from` that fit, in firing order over all partitions; and where to go on, where there is more.
fn page(
    topic: &str,
    filter: &Filter,
    from: Position,
    size: usize,
    with_values: bool,
) -> Result<Page, ControlError> {
    let (entries, mut next) = firing_order::page(&filter.partitions, from, filter.before, size)?;
    let mut loaders: Vec<_> = filter.partitions.iter().map(|p| Loader::new(p)).collect();
    let mut found = Vec::new();
    let mut bytes = 0;
    for (at, which, entry) in entries {
        if bytes > PAGE_BYTES_MAX {
            next = Some(at);
            break;
        }
        let Some(loader) = loaders.get_mut(which) else {
            continue;
        };
        if let Some(held) = loader.load(&entry)?.filter(|held| filter.fits(held)) {
            let message = message(topic, at.partition, &held, with_values);
            bytes += prost::Message::encoded_len(&message);
            found.push(message);
        }
    }
    Ok((found, next))
}

#[tonic::async_trait]
impl ScheduleService for Service {
    async fn list_scheduled_messages(
        &self,
        request: Request<pb::ListScheduledMessagesRequest>,
    ) -> Result<Response<pb::ListScheduledMessagesResponse>, Status> {
        let request = request.into_inner();
        let filter = Filter::new(self, request.filter.as_ref())?;
        let size = pages::size(request.page_size)?;
        let asked = prost::Message::encode_to_vec(&request.filter.clone().unwrap_or_default());
        let from = if request.page_token.is_empty() {
            Position::at(filter.after)
        } else {
            pages::first(&request.page_token, &asked)?
        };
        let topic = request.filter.unwrap_or_default().topic;
        let with_values = request.with_values;
        let (messages, next) =
            blocking(move || page(&topic, &filter, from, size, with_values)).await?;
        Ok(Response::new(pb::ListScheduledMessagesResponse {
            messages,
            next_page_token: next.map_or_else(String::new, |at| pages::token(&at, &asked)),
        }))
    }

    async fn get_scheduled_message(
        &self,
        request: Request<pb::GetScheduledMessageRequest>,
    ) -> Result<Response<pb::GetScheduledMessageResponse>, Status> {
        let name = request.into_inner().name;
        let (topic, index, id) = parse_scheduled_message(&name)?;
        let partition = places::partition(&self.broker, topic, index)?;
        match blocking(move || control::get(&partition, id)).await? {
            Held::Pending(held) => Ok(Response::new(pb::GetScheduledMessageResponse {
                message: Some(message(topic, index, &held, true)),
            })),
            Held::Fired(offset) => Err(already_delivered(&name, offset.0)),
            Held::NotFound => Err(not_found(&name)),
        }
    }

    async fn cancel_scheduled_messages(
        &self,
        request: Request<pb::CancelScheduledMessagesRequest>,
    ) -> Result<Response<pb::CancelScheduledMessagesResponse>, Status> {
        let request = request.into_inner();
        let request_id = checked_request_id(&request.request_id)?;
        if request.schedule_ids.len() > CANCELS_MAX {
            return Err(invalid(
                "schedule_ids",
                format!("there are more than {CANCELS_MAX}"),
            ));
        }
        let partition = places::partition(&self.broker, &request.topic, request.partition)?;
        let ids: Vec<ScheduleId> = request
            .schedule_ids
            .iter()
            .copied()
            .map(ScheduleId)
            .collect();
        let outcomes = control::cancel(&partition, &ids, request_id, self.now()).await;
        let outcomes = outcomes.map_err(|e| of_control(&e))?;
        let outcome = |(id, outcome): (&i64, Outcome)| {
            let (result, delivered_offset) = match outcome {
                Outcome::Done => (pb::CancelResult::Cancelled, None),
                Outcome::AlreadyFired(at) => (pb::CancelResult::AlreadyDelivered, Some(at.0)),
                Outcome::NotFound | Outcome::DueDiffers(_) => (pb::CancelResult::NotFound, None),
            };
            pb::CancelOutcome {
                schedule_id: *id,
                result: result.into(),
                delivered_offset,
            }
        };
        let outcomes = request.schedule_ids.iter().zip(outcomes).map(outcome);
        Ok(Response::new(pb::CancelScheduledMessagesResponse {
            outcomes: outcomes.collect(),
        }))
    }

    async fn reschedule_scheduled_message(
        &self,
        request: Request<pb::RescheduleScheduledMessageRequest>,
    ) -> Result<Response<pb::RescheduleScheduledMessageResponse>, Status> {
        let request = request.into_inner();
        let to = request.deliver_time.as_ref();
        let to = to.ok_or_else(|| invalid("deliver_time", "it is missing"))?;
        let due = due_of("deliver_time", to)?;
        let expected = request.expected_deliver_time.as_ref();
        let expected = expected
            .map(|at| due_of("expected_deliver_time", at))
            .transpose()?;
        let to = Change::MoveTo(due);
        self.move_to(&request.name, to, expected, &request.request_id)
            .await?;
        Ok(Response::new(pb::RescheduleScheduledMessageResponse {
            deliver_time: Some(timestamp(due.0)),
        }))
    }

    async fn deliver_scheduled_message_now(
        &self,
        request: Request<pb::DeliverScheduledMessageNowRequest>,
    ) -> Result<Response<pb::DeliverScheduledMessageNowResponse>, Status> {
        let request = request.into_inner();
        let due = DueTime(self.now().0);
        self.move_to(&request.name, Change::Now(due), None, &request.request_id)
            .await?;
        Ok(Response::new(pb::DeliverScheduledMessageNowResponse {
            deliver_time: Some(timestamp(due.0)),
        }))
    }

    async fn batch_cancel_scheduled_messages(
        &self,
        request: Request<pb::BatchCancelScheduledMessagesRequest>,
    ) -> Result<Response<pb::BatchCancelScheduledMessagesResponse>, Status> {
        let request = request.into_inner();
        let filter = Arc::new(Filter::new(self, request.filter.as_ref())?);
        let mut answer = pb::BatchCancelScheduledMessagesResponse::default();
        for partition in &filter.partitions {
            let mut from = TimerKey {
                due: filter.after,
                id: ScheduleId(0),
            };
            loop {
                let (asked, of) = (Arc::clone(&filter), Arc::clone(partition));
                let (ids, last) = blocking(move || fitting(&asked, &of, from)).await?;
                answer.matched += counted(ids.len() as u64);
                if !request.dry_run && !ids.is_empty() {
                    let outcomes = control::cancel(partition, &ids, b"", self.now()).await;
                    let outcomes = outcomes.map_err(|e| of_control(&e))?;
                    let done = outcomes.iter().filter(|o| **o == Outcome::Done).count();
                    answer.cancelled += counted(done as u64);
                }
                let Some(last) = last else { break };
                from = TimerKey {
                    id: ScheduleId(last.id.0 + 1),
                    ..last
                };
            }
        }
        Ok(Response::new(answer))
    }

    async fn get_schedule_stats(
        &self,
        request: Request<pb::GetScheduleStatsRequest>,
    ) -> Result<Response<pb::GetScheduleStatsResponse>, Status> {
        let request = request.into_inner();
        let (partitions, unavailable_partitions) =
            places::partitions_or_all(&self.broker, &request.topic)?;
        let edges = edges(&request, self.now())?;
        let of = edges.clone();
        let counts = blocking(move || {
            let mut sums = vec![0u64; of.len() + 1];
            for partition in partitions {
                for (sum, count) in sums.iter_mut().zip(control::histogram(&partition, &of)?) {
                    *sum += count;
                }
            }
            Ok(sums)
        })
        .await?;
        let starts = std::iter::once(None).chain(edges.iter().copied().map(Some));
        let ends = edges.iter().copied().map(Some).chain([None]);
        let buckets =
            starts
                .zip(ends)
                .zip(&counts)
                .map(|((start, end), count)| pb::ScheduleBucket {
                    start_time: start.map(|at| timestamp(at.0)),
                    end_time: end.map(|at| timestamp(at.0)),
                    count: counted(*count),
                });
        Ok(Response::new(pb::GetScheduleStatsResponse {
            pending: counted(counts.iter().sum()),
            overdue: counted(counts.first().copied().unwrap_or(0)),
            buckets: buckets.collect(),
            unavailable_partitions,
        }))
    }

    type WatchScheduleStream =
        Pin<Box<dyn Stream<Item = Result<pb::WatchScheduleResponse, Status>> + Send>>;

    async fn watch_schedule(
        &self,
        request: Request<pb::WatchScheduleRequest>,
    ) -> Result<Response<Self::WatchScheduleStream>, Status> {
        let request = request.into_inner();
        let interval = match request.interval {
            None => Duration::from_secs(1),
            Some(span) => Duration::try_from(span)
                .map_err(|_| invalid("interval", "it is negative"))?
                .max(WATCH_LEAST),
        };
        places::partitions_or_all(&self.broker, &request.topic)?;
        let service = self.clone();
        let stream = futures::stream::unfold((service, true), move |(mut service, first)| {
            let topic = request.topic.clone();
            async move {
                if !first {
                    tokio::select! {
                        _ = service.stopped.wait_for(|stop| *stop) => return None,
                        () = tokio::time::sleep(interval) => {}
                    }
                }
                let answer = counts_now(&service, &topic).await;
                Some((answer, (service, false)))
            }
        });
        Ok(Response::new(Box::pin(stream)))
    }
}

/// The next records from `from` on that fit, and the last key that was looked at, where there may be more.
fn fitting(
    filter: &Filter,
    partition: &Partition,
    from: TimerKey,
) -> Result<(Vec<ScheduleId>, Option<TimerKey>), ControlError> {
    let entries = control::list(partition, from, filter.before, BULK)?;
    let last = entries
        .last()
        .map(|entry| entry.key)
        .filter(|_| entries.len() == BULK);
    let ids = if filter.looks_into_records() {
        let mut loader = Loader::new(partition);
        let mut ids = Vec::new();
        for entry in &entries {
            let held = loader.load(entry)?;
            ids.extend(held.filter(|held| filter.fits(held)).map(|held| held.id));
        }
        ids
    } else {
        entries.iter().map(|entry| entry.key.id).collect()
    };
    Ok((ids, last))
}

async fn counts_now(service: &Service, topic: &str) -> Result<pb::WatchScheduleResponse, Status> {
    let (partitions, unavailable_partitions) = places::partitions_or_all(&service.broker, topic)?;
    let now = service.now();
    blocking(move || {
        let (mut pending, mut next) = (0, None::<DueTime>);
        for partition in partitions {
            pending += partition.pending_size().records;
            let first = TimerKey {
                due: DueTime(0),
                id: ScheduleId(0),
            };
            let found = control::list(&partition, first, DueTime(i64::MAX), 1)?;
            let due = found.first().map(|entry| entry.key.due);
            next = [next, due].into_iter().flatten().min();
        }
        Ok(pb::WatchScheduleResponse {
            time: Some(timestamp(now.0)),
            pending: i64::try_from(pending).unwrap_or(i64::MAX),
            next_deliver_time: next.map(|due| timestamp(due.0)),
            unavailable_partitions,
        })
    })
    .await
}

/// Where the spans of a histogram meet; the first is now.
fn edges(request: &pb::GetScheduleStatsRequest, now: TimestampMs) -> Result<Vec<DueTime>, Status> {
    let first = DueTime(now.0.saturating_add(1));
    let Some(width) = request.bucket_width else {
        let grown = GROWING_MS
            .iter()
            .map(|ms| DueTime(now.0.saturating_add(*ms)));
        return Ok(std::iter::once(first).chain(grown).collect());
    };
    let width = Duration::try_from(width)
        .ok()
        .and_then(|w| i64::try_from(w.as_millis()).ok());
    let width = width.filter(|ms| *ms > 0);
    let width = width.ok_or_else(|| invalid("bucket_width", "it is less than a millisecond"))?;
    let count = match request.buckets {
        0 => 24,
        1..=BUCKETS_MAX => request.buckets,
        _ => {
            return Err(invalid(
                "buckets",
                format!("allowed are 1 to {BUCKETS_MAX}"),
            ));
        }
    };
    let ends =
        (1..=i64::from(count)).map(|n| DueTime(now.0.saturating_add(n.saturating_mul(width))));
    Ok(std::iter::once(first).chain(ends).collect())
}

/// A message of its own: it must not keep the HOLD frame in memory that the record is a slice of.
fn message(
    topic: &str,
    partition: i32,
    held: &HeldRecord,
    with_value: bool,
) -> pb::ScheduledMessage {
    let record = &held.record;
    let copied = |bytes: &Option<Bytes>| bytes.as_deref().map(Bytes::copy_from_slice);
    let headers = record.headers.iter().map(|(key, value)| pb::Header {
        key: String::from_utf8_lossy(key).into_owned(),
        value: copied(value),
    });
    let value_bytes = record.value.as_ref().map_or(0, Bytes::len);
    pb::ScheduledMessage {
        name: scheduled_message(topic, partition, held.id),
        topic: topic.to_owned(),
        partition,
        schedule_id: held.id.0,
        deliver_time: Some(timestamp(held.due.0)),
        create_time: Some(timestamp(held.created.0)),
        key: copied(&record.key),
        value_bytes: i64::try_from(value_bytes).unwrap_or(i64::MAX),
        value: with_value.then(|| copied(&record.value)).flatten(),
        headers: headers.collect(),
    }
}

fn already_delivered(name: &str, offset: i64) -> Status {
    let why = format!("{name} was delivered under offset {offset}");
    let metadata = HashMap::from([("offset".to_owned(), offset.to_string())]);
    errors::with(Code::FailedPrecondition, "ALREADY_DELIVERED", why, metadata)
}

fn not_found(name: &str) -> Status {
    let why = format!("{name} was cancelled, never held, or is gone from the log");
    status(Code::NotFound, "NOT_FOUND", why)
}

fn due_of(field: &str, at: &Timestamp) -> Result<DueTime, Status> {
    moments::ms_of(field, at).map(DueTime)
}
