//! One partition's batch: checked, looked at for message ids, appended.

use std::{pin::pin, sync::Arc};

use kafka_compat::{
    protocol::{
        messages::produce_request::PartitionProduceData,
        messages::produce_response::PartitionProduceResponse, protocol::StrBytes,
    },
    records::{self, Checked, HeldBatch, MessageIds, RecordRules, Refusal},
};
use storage::{
    batch::BatchView,
    log::{AppendError, Guard, Origin},
    units::{Offset, TimestampMs},
};
use tokio::time::{Instant, timeout_at};

use super::{
    super::{Broker, error_code, error_code::Kafka, lookup},
    ACKS_ALL, Outcome,
};
use crate::{
    dedup::{Crowded, Found},
    metadata::{PartitionState, Topic},
    partition::{AppendedUnit, NotAppended, Once, Partition},
    schedule::accept::{self, Accepted},
    topic_config::TopicConfig,
};

/// What all batches of a request share.
#[derive(Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) broker: &'a Broker,
    pub(super) version: i16,
    pub(super) acks: i16,
    /// For how long it may wait for what decides whether a record is a copy.
    pub(super) deadline: Instant,
}

/// A batch that was let in.
struct Appended {
    unit: AppendedUnit,
    held: u64,
    cancels: bool,
    /// Records of it that were left out, since the log has them.
    copies: usize,
}

/// Why one was not.
enum Refused {
    Records(Refusal),
    Log(AppendError),
    Other(Kafka, Option<String>),
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        Self::Log(error)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self::Records(refusal)
    }
}

/// A batch on its way.
struct Batch<'a> {
    broker: &'a Broker,
    topic: &'a Topic,
    partition: &'a Arc<Partition>,
    config: &'a TopicConfig,
    rules: &'a RecordRules,
    guard: Option<Guard>,
    now: TimestampMs,
}

pub(super) async fn append(
    request: Request<'_>,
    topic: &Topic,
    PartitionProduceData { index, records, .. }: PartitionProduceData,
    guard: Option<Guard>,
) -> Outcome {
    let Request { broker, acks, .. } = request;
    if topic.internal {
        return Outcome::error(index, Kafka::InvalidTopicException);
    }
    let partition = match lookup::partition(broker, topic, index, -1) {
        Ok(partition) => partition,
        Err(code) => return Outcome::error(index, code),
    };
    let config = partition.config();
    let replicas = usize::try_from(index)
        .ok()
        .and_then(|i| topic.partitions.get(i));
    if acks == ACKS_ALL && replicas.is_some_and(|r| lacks_replicas(r, config.min_insync_replicas)) {
        return Outcome::error(index, Kafka::NotEnoughReplicas);
    }
    let now = broker.clock.wall();
    let rules = rules(request, topic, index, &config, now);
    let bytes = records.as_ref().map_or(0, bytes::Bytes::len);
    let batch = Batch {
        broker,
        topic,
        partition: &partition,
        config: &config,
        rules: &rules,
        guard,
        now,
    };
    let checked = records::check_produce(records, &rules).map_err(Refused::from);
    let appended = match checked {
        Ok(checked) if checked.ids.found.is_empty() => batch.append_all(checked),
        Ok(checked) => batch.append_once(checked, request.deadline).await,
        Err(refused) => Err(refused),
    };
    match appended {
        Ok((appended, count)) => {
            let unit = appended.unit;
            let is_new = unit.duplicate_of.is_none();
            if is_new {
                let copies = i32::try_from(appended.copies).unwrap_or(i32::MAX);
                partition
                    .metrics
                    .produced(count - copies, bytes, appended.held);
                if appended.held > 0 || appended.cancels {
                    broker.fire.watch(&partition);
                }
            }
            let answer = PartitionProduceResponse::default()
                .with_index(index)
                .with_base_offset(unit.base_offset.0)
                // Of a retry, Kafka tells the original's largest timestamp whatever its type.
                .with_log_append_time_ms(match unit.duplicate_of {
                    Some(original) => original.0,
                    None if config.log_append_time => now.0,
                    None => -1,
                })
                .with_log_start_offset(unit.log_start.0);
            // A retry or a copy is answered when what it repeats is committed, whatever the acks.
            let waits = acks == ACKS_ALL || !is_new || appended.copies > 0;
            let wait = waits.then_some((partition, unit));
            Outcome { answer, wait }
        }
        Err(refused) => refused_by(&partition, index, refused),
    }
}

fn refused_by(partition: &Partition, index: i32, refused: Refused) -> Outcome {
    match refused {
        Refused::Records(refusal) => {
            partition.metrics.refused();
            let log_start = refusal.by_log.then(|| partition.offsets().log_start.0);
            let mut outcome = Outcome::refused(index, refusal);
            outcome.answer.log_start_offset = log_start.unwrap_or(-1);
            outcome
        }
        Refused::Log(error) => {
            let mut outcome = Outcome::error(index, error_code::of_append(&error));
            // As Kafka, with what the log itself found.
            if !matches!(error, AppendError::TooLarge) {
                outcome.answer.log_start_offset = partition.offsets().log_start.0;
            }
            outcome
        }
        Refused::Other(code, why) => {
            if code == Kafka::PolicyViolation {
                partition.metrics.refused();
            }
            let mut outcome = Outcome::error(index, code);
            outcome.answer.error_message = why.map(StrBytes::from_string);
            outcome
        }
    }
}

fn rules(
    request: Request<'_>,
    topic: &Topic,
    index: i32,
    config: &TopicConfig,
    now: TimestampMs,
) -> RecordRules {
    let settings = request.broker.config.get();
    let max_delay_ms = settings.schedule_max_delay_ms;
    RecordRules {
        produce_version: request.version,
        message_ids: (config.dedup_window_ms > 0).then(|| request.broker.dedup.hash()),
        aliases: Arc::clone(&settings.schedule_header_aliases),
        ..config.record_rules(&topic.name, index, now.0, max_delay_ms)
    }
}

impl Batch<'_> {
    /// A batch without message ids. Returns how many records it has, too.
    fn append_all(&self, checked: Checked) -> Result<(Appended, i32), Refused> {
        let count = checked.batch.header.records_count;
        let accepted = accept::accept(checked);
        self.append(accepted, None)
            .map(|appended| (appended, count))
            .map_err(Stopped::into_refused)
    }

    /// A batch with message ids: those of its records that the log has are left out. What cannot be told before another producer's
    /// transaction ends waits for that.
    async fn append_once(
        &self,
        checked: Checked,
        deadline: Instant,
    ) -> Result<(Appended, i32), Refused> {
        let Checked { batch, held, ids } = checked;
        let header = batch.header;
        let count = header.records_count;
        let producer_id = header.is_transactional().then_some(header.producer_id);
        let mut whole = Some((batch, held));
        let mut looks = false;
        loop {
            // Before it is looked at: what ends in between is not missed.
            let mut ended = pin!(self.partition.transaction_ended());
            ended.as_mut().enable();
            if header.has_producer_id() && self.partition.log().has(&header) {
                // The log answers a retry, whatever its ids.
                let accepted = self.without(&mut whole, &ids, &Found::default())?;
                let retried = self.append(accepted, None);
                return retried
                    .map(|appended| (appended, count))
                    .map_err(Stopped::into_refused);
            }
            let stored = self.partition.stored_ids(&ids.found)?;
            // Most are new: that is found out by the append itself.
            let found = if looks || !stored.taken.is_empty() {
                self.partition
                    .look_at(&ids.found, &stored, producer_id, self.now)
            } else {
                Found::default()
            };
            let is_all = i32::try_from(found.copies.len()) == Ok(count);
            let stopped = if found.undecided {
                NotAppended::Undecided
            } else if is_all && !header.has_producer_id() {
                let copies = found.copies.len();
                self.partition
                    .metrics
                    .deduplicated(copies, copies, found.expired);
                let unit = self.partition.copied(&found);
                return Ok((Appended::only_copies(unit, copies), count));
            } else {
                let mut accepted = self.without(&mut whole, &ids, &found)?;
                accepted.answer = is_all.then(|| one_after_another(&found)).flatten();
                let once = Once {
                    ids: &ids.found,
                    stored: &stored,
                    copies: &found.copies,
                    producer_id,
                };
                match self.append(accepted, Some(&once)) {
                    Ok(appended) => return Ok((appended, count)),
                    Err(Stopped::Refused(refused)) => return Err(refused),
                    Err(Stopped::Not(stopped)) => stopped,
                }
            };
            looks = true;
            match stopped {
                NotAppended::Undecided => {
                    if timeout_at(deadline, ended).await.is_err() {
                        return Err(Refused::Other(Kafka::RequestTimedOut, None));
                    }
                }
                NotAppended::Crowded(Crowded::Open) => {
                    let why = "open transactions have too many message ids";
                    return Err(Refused::Other(Kafka::PolicyViolation, Some(why.to_owned())));
                }
                NotAppended::Crowded(Crowded::Memory) => {
                    return Err(Refused::Other(Kafka::KafkaStorageError, None));
                }
                NotAppended::Changed => {}
                NotAppended::Log(error) => return Err(error.into()),
            }
        }
    }

    /// What is to be appended without copies: as it was checked, where there are none and it was not used yet.
    fn without(
        &self,
        whole: &mut Option<(BatchView, Option<HeldBatch>)>,
        ids: &MessageIds,
        found: &Found,
    ) -> Result<Accepted, Refused> {
        let places: Vec<i32> = found.copies.iter().map(|(place, _)| *place).collect();
        if places.is_empty()
            && let Some((batch, held)) = whole.take()
        {
            let ids = MessageIds::default();
            return Ok(accept::accept(Checked { batch, held, ids }));
        }
        let checked = records::leave_out(ids, &places, self.rules)?;
        let mut accepted = accept::accept(checked);
        accepted.copies = places.len();
        Ok(accepted)
    }

    fn append(&self, accepted: Accepted, once: Option<&Once<'_>>) -> Result<Appended, Stopped> {
        let (held, copies) = (accepted.held(), accepted.copies);
        if let Some(why) = self.over_the_limit(&accepted)
            && !self.partition.log().has(accepted.original())
        {
            return Err(Refused::Other(Kafka::PolicyViolation, Some(why)).into());
        }
        let cancels = !accepted.cancels.is_empty();
        let origin = Origin::Client { guard: self.guard };
        match self.partition.append(accepted, origin, once, self.now) {
            Ok(unit) => Ok(Appended {
                unit,
                held,
                cancels,
                copies,
            }),
            Err(NotAppended::Log(error)) => Err(Refused::Log(error).into()),
            Err(stopped) => Err(Stopped::Not(stopped)),
        }
    }

    /// Why the topic may not hold that much more. What other requests add at the same moment is not seen.
    fn over_the_limit(&self, accepted: &Accepted) -> Option<String> {
        let config = self.config;
        let (records, bytes) = (config.max_pending_records, config.max_pending_bytes);
        if accepted.held() == 0 || (records.is_none() && bytes.is_none()) {
            return None;
        }
        let after = self.broker.registry.pending_size(self.topic.id) + accepted.held_size();
        let limits = [
            (
                "chronos.schedule.max.pending.records",
                records,
                after.records,
            ),
            ("chronos.schedule.max.pending.bytes", bytes, after.bytes),
        ];
        limits.into_iter().find_map(|(name, limit, after)| {
            let limit = limit.filter(|limit| after > *limit)?;
            Some(format!("{after} would be held, and {name} is {limit}"))
        })
    }
}

/// Why an append did nothing.
enum Stopped {
    Refused(Refused),
    Not(NotAppended),
}

impl From<Refused> for Stopped {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Stopped {
    /// Of an append for which nobody asked for more than the log.
    fn into_refused(self) -> Refused {
        match self {
            Self::Refused(refused) => refused,
            Self::Not(_) => Refused::Other(Kafka::UnknownServerError, None),
        }
    }
}

impl Appended {
    /// Nothing was appended: it took no offsets.
    fn only_copies(unit: AppendedUnit, copies: usize) -> Self {
        Self {
            unit,
            held: 0,
            cancels: false,
            copies,
        }
    }
}

/// Where the first original is, if the others follow it as the copies do: a client counts on from there.
fn one_after_another(found: &Found) -> Option<Offset> {
    let (_, first) = *found.copies.first()?;
    let follows = |(place, original): &(i32, Offset)| original.0 == first.0 + i64::from(*place);
    found.copies.iter().all(follows).then_some(first)
}

/// No more replicas can be in sync than there are (KIP-966).
fn lacks_replicas(partition: &PartitionState, min_insync: i32) -> bool {
    let wanted = usize::try_from(min_insync).unwrap_or(0);
    partition.isr.len() < wanted.min(partition.replicas.len())
}
