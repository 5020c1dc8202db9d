//! A job at work: reads its sources on, appends what they have to the target. Blocks on the disk; who waits is [`super`].
//!
//! Exactly once: for each source partition the job is a producer of its own in the target's log, and a batch's last sequence stands for
//! the source offset of its last record (see [`super::republish`]). What was appended since the progress in the metadata is found
//! there, whatever was killed; it is passed over when the source is read again. So the metadata need not know of each batch.

use std::{collections::BTreeMap, sync::Arc};

use kafka_compat::records;
use storage::{
    log::{AppendError, Origin},
    units::Offset,
};

use super::{
    super::{Plan, Replayed, Span, cursor::Cursor},
    Around, JobError,
    republish::{self, BATCH_BYTES},
};
use crate::{
    metadata::{JobProgress, ReplayJob},
    partition::{NotAppended, Partition},
    schedule::accept,
};

/// What one read of a source gives.
const READ_BYTES: usize = 1 << 20;
/// Records taken of a source before the next has its turn.
const TURN_RECORDS: usize = 10_000;
const TURN_BYTES: usize = 1 << 20;

/// A job at work.
pub(super) struct Runner {
    job: Arc<ReplayJob>,
    plan: Plan,
    sources: Vec<Source>,
    target: Vec<Arc<Partition>>,
    progress: JobProgress,
}

/// A source partition.
struct Source {
    cursor: Cursor,
    producer_id: i64,
    /// The offset of the last record that each partition of the target has of it, where that is not before the cursor.
    written: BTreeMap<usize, i64>,
    end: i64,
    is_over: bool,
}

/// What a round did.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// What was appended is committed when these are.
    pub(super) appended: Vec<(Arc<Partition>, Offset)>,
    pub(super) records: u64,
    pub(super) bytes: u64,
    /// The earliest record whose time has not come has this timestamp.
    pub(super) not_before: Option<i64>,
    /// All is appended.
    pub(super) is_over: bool,
}

impl Runner {
    /// Finds where it has to go on.
    pub(super) fn open(job: Arc<ReplayJob>, around: &Around) -> Result<Self, JobError> {
        let spec = &job.spec;
        let source = around.partitions(&spec.source, spec.source_id)?;
        let mut target = around.partitions(&spec.target, spec.target_id)?;
        let progress = job.progress.clone();
        // Those that came since are none of its: a record must not go elsewhere when it is read again.
        target.truncate(progress.target_ends.len());
        let mut sources = Vec::with_capacity(spec.spans.len());
        let places = spec.spans.iter().zip(&job.producers).enumerate();
        for (at, (span, producer_id)) in places {
            let index = usize::try_from(span.partition).unwrap_or(usize::MAX);
            let partition = source.get(index).ok_or(JobError::Gone("source"))?;
            let next = progress.next.get(at).copied().unwrap_or(span.start);
            let mut written = BTreeMap::new();
            for (number, partition) in target.iter().enumerate() {
                let producers = partition.log().producers();
                let mine = producers.into_iter().find(|p| p.id == *producer_id);
                let ended = progress.target_ends.get(number).copied().unwrap_or(0);
                // What was appended before the progress was written is below its offsets.
                if let Some(mine) = mine.filter(|mine| mine.last_offset >= ended) {
                    written.insert(number, republish::offset_of(mine.last_sequence, next));
                }
            }
            let cursor = Cursor::resume(
                Arc::clone(partition),
                Span {
                    start: Offset(next),
                    end: Some(Offset(span.end)),
                },
            );
            sources.push(Source {
                cursor,
                producer_id: *producer_id,
                written,
                end: span.end,
                is_over: next >= span.end,
            });
        }
        Ok(Self {
            plan: super::plan_of(spec),
            job,
            sources,
            target,
            progress,
        })
    }

    /// A turn of each source, of so many records in all, none of them later than the horizon.
    pub(super) fn round(
        &mut self,
        max_records: usize,
        horizon: Option<i64>,
        around: &Around,
    ) -> Result<Round, JobError> {
        let mut round = Round::default();
        for at in 0..self.sources.len() {
            let left = max_records.saturating_sub(usize::try_from(round.records).unwrap_or(0));
            if left > 0 {
                self.turn(at, left.min(TURN_RECORDS), horizon, &mut round, around)?;
            }
        }
        round.is_over = self.sources.iter().all(|source| source.is_over);
        self.progress.records += round.records;
        self.progress.bytes += round.bytes;
        Ok(round)
    }

    fn turn(
        &mut self,
        at: usize,
        max_records: usize,
        horizon: Option<i64>,
        round: &mut Round,
        around: &Around,
    ) -> Result<(), JobError> {
        let Some(source) = self.sources.get_mut(at).filter(|source| !source.is_over) else {
            return Ok(());
        };
        source.cursor.look_again();
        let count = self.target.len();
        let mut groups: BTreeMap<usize, Vec<Replayed>> = BTreeMap::new();
        let (mut records, mut bytes) = (0, 0);
        while records < max_records && bytes < TURN_BYTES {
            let Some(first) = source.cursor.first() else {
                if source.cursor.read(READ_BYTES, &self.plan)? == 0 {
                    source.is_over = true;
                    break;
                }
                // A filter may let nothing pass for long: others have their turn.
                bytes += READ_BYTES / 4;
                continue;
            };
            if horizon.is_some_and(|horizon| first.timestamp > horizon) {
                let earliest = round.not_before.unwrap_or(i64::MAX);
                round.not_before = Some(earliest.min(first.timestamp));
                break;
            }
            let Some(taken) = source.cursor.take() else {
                break;
            };
            let to = republish::partition_of(&self.job.spec, &taken, count);
            // It is there: the node stopped before the progress said so.
            if source
                .written
                .get(&to)
                .is_some_and(|last| taken.offset.0 <= *last)
            {
                continue;
            }
            records += 1;
            bytes += taken.record.encoded_len();
            groups.entry(to).or_default().push(taken);
        }
        let producer_id = source.producer_id;
        let next = if source.is_over {
            source.end
        } else {
            source.cursor.place().start.0
        };
        for (to, group) in groups {
            self.append(to, producer_id, group, round, around)?;
        }
        if let Some(slot) = self.progress.next.get_mut(at) {
            *slot = next;
        }
        Ok(())
    }

    /// Appends records of one source, in order, in batches that the target takes.
    fn append(
        &self,
        to: usize,
        producer_id: i64,
        group: Vec<Replayed>,
        round: &mut Round,
        around: &Around,
    ) -> Result<(), JobError> {
        let Some(partition) = self.target.get(to) else {
            return Err(JobError::Gone("target"));
        };
        let spec = &self.job.spec;
        let most = BATCH_BYTES.min(partition.config().max_message_bytes / 2);
        let mut records = Vec::new();
        let mut bytes = 0;
        for replayed in group {
            let (offset, timestamp) = (replayed.offset.0, replayed.timestamp);
            let record = republish::rewritten(spec, replayed);
            let len = record.encoded_len();
            if bytes + len > most && !records.is_empty() {
                let full = std::mem::take(&mut records);
                self.append_batch(partition, producer_id, full, round, around)?;
                bytes = 0;
            }
            bytes += len;
            records.push((offset, timestamp, record));
        }
        self.append_batch(partition, producer_id, records, round, around)
    }

    fn append_batch(
        &self,
        partition: &Arc<Partition>,
        producer_id: i64,
        mut batch: Vec<(i64, i64, storage::record::Record)>,
        round: &mut Round,
        around: &Around,
    ) -> Result<(), JobError> {
        let Some((first, ..)) = batch.first() else {
            return Ok(());
        };
        let first = *first;
        let now = around.clock.wall();
        let config = partition.config();
        let stamp = self.job.spec.new_timestamps.then_some(now);
        let bytes = republish::batch(&mut batch, producer_id, stamp);
        let max_delay_ms = around.config.get().schedule_max_delay_ms;
        // What is replayed is no copy, whatever id it keeps.
        let rules = config.record_rules(&partition.topic, partition.key.index, now.0, max_delay_ms);
        let payload = |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, bytes::Bytes::len);
        let payload_bytes: usize = batch
            .iter()
            .map(|(_, _, record)| payload(&record.key) + payload(&record.value))
            .sum();
        let (count, len) = (batch.len(), bytes.len());
        let checked = records::check_produce(Some(bytes), &rules).map_err(|refusal| {
            let why = match refusal.record_errors.first() {
                Some((at, why)) => {
                    let at = usize::try_from(*at).ok().and_then(|at| batch.get(at));
                    format!(
                        "source offset {}: {why}",
                        at.map_or(first, |(offset, ..)| *offset)
                    )
                }
                None => format!("source offset {first}: {}", refusal.message),
            };
            JobError::Refused(why)
        })?;
        if let Some(why) = partition.log().is_poisoned() {
            return Err(JobError::Passing(why));
        }
        let accepted = accept::accept(checked);
        let held = accepted.held();
        let appended = partition.append(accepted, Origin::Coordinator { guard: None }, None, now);
        let appended = appended.map_err(|error| match error {
            NotAppended::Log(AppendError::Closed) => JobError::Gone("target"),
            other => JobError::Passing(other.to_string()),
        })?;
        partition
            .metrics
            .produced(i32::try_from(count).unwrap_or(i32::MAX), len, held);
        if held > 0 {
            around.fire.watch(partition);
        }
        round.records += count as u64;
        round.bytes += payload_bytes as u64;
        round
            .appended
            .push((Arc::clone(partition), appended.committed_at));
        Ok(())
    }

    /// How far it is, when all that was appended is committed.
    pub(super) fn progress(&self) -> JobProgress {
        let ends = self.target.iter().map(|p| p.offsets().log_end.0);
        JobProgress {
            target_ends: ends.collect(),
            ..self.progress.clone()
        }
    }
}
