//! A partition whose clock and disk belong to the test.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bytes::Bytes;
use kafka_compat::records::{self, RecordRules};
use scheduler::{ManualClock, StoreOptions};
use storage::{
    batch::{ATTR_TRANSACTIONAL, BatchHeader, build_batch},
    control::{Marker, MarkerKind},
    disk::{Disk, crash::CrashDisk},
    log::{Chunk, FirstBatch, Log, LogOptions, Origin, ReadUpTo, Syncer, SyncerOptions},
    record::Record,
    units::{LeaderEpoch, Offset, TimestampMs, TopicId},
};

use tempfile::TempDir;

use super::super::{
    HEADER_DUE_AT, HEADER_SCHEDULE_ID, accept,
    fire_loop::{FireHandle, FireLoop},
    key_index::KeyIndex,
    pending::{self, KeysOf},
};
use crate::{
    config::{Config, load},
    coordinator::Producer,
    dedup::{DedupIndex, Window},
    partition::{AppendedUnit, DedupState, Derived, Partition, PartitionKey},
    telemetry::Metrics,
    topic_config::TopicConfig,
};

pub(super) const T0: i64 = 1_800_000_000_000;
pub(super) const HOUR: i64 = 3_600_000;
pub(super) const DAY: i64 = 24 * HOUR;

/// One partition and its fire loop.
pub(super) struct World {
    pub(super) disk: CrashDisk,
    pub(super) clock: Arc<ManualClock>,
    pub(super) partition: Arc<Partition>,
    pub(super) fire: FireHandle,
    pub(super) fire_loop: FireLoop,
    /// Schedule keys; as a page cache, it outlives a kill.
    pub(super) keys: Arc<TempDir>,
}

/// A fired record as a consumer gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fired {
    pub(super) id: i64,
    pub(super) due: i64,
    pub(super) value: Bytes,
    pub(super) offset: i64,
}

impl World {
    pub(super) fn new() -> Self {
        let disk = CrashDisk::new();
        disk.create_dir_all(&PathBuf::from("/data")).unwrap();
        Self::open(disk, T0, &[]).unwrap()
    }

    pub(super) fn open(disk: CrashDisk, now: i64, settings: &[(&str, &str)]) -> Option<Self> {
        Self::open_with(disk, now, settings, Arc::new(TempDir::new().unwrap()))
    }

    pub(super) fn open_with(
        disk: CrashDisk,
        now: i64,
        settings: &[(&str, &str)],
        keys: Arc<TempDir>,
    ) -> Option<Self> {
        let clock = Arc::new(ManualClock::at(TimestampMs(now)));
        let broker = Config::new(load(None, &[], &[]).unwrap()).unwrap();
        let own: BTreeMap<String, String> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .chain([("flush.policy".to_owned(), "os".to_owned())])
            .collect();
        let config = Arc::new(TopicConfig::resolve(&own, &broker));
        let (log, _) = Log::open(LogOptions {
            dir: PathBuf::from("/data/t-0"),
            topic_id: TopicId::from_u128(1),
            partition: 0,
            config: config.log_config(),
            disk: Arc::new(disk.clone()),
            syncer: Syncer::start(SyncerOptions::default()).unwrap(),
            now_ms: now,
        })
        .ok()?;
        let mut options = StoreOptions::new("/data/t-0/timers".into(), Arc::new(disk.clone()));
        (options.memtable_max, options.ahead_max) = (64, 16);
        let key = PartitionKey {
            topic: TopicId::from_u128(1),
            index: 0,
        };
        let index = Arc::new(KeyIndex::open(keys.path().join("keys")).unwrap());
        let of = KeysOf {
            index: &index,
            partition: key,
        };
        let pending::Found {
            timers,
            transactional,
        } = pending::open(&log, options, &of, TimestampMs(now)).ok()?;
        let all_metrics = Arc::new(Metrics::new().unwrap());
        let metrics = all_metrics.topic("t");
        let ids = keys.path().join("message-ids");
        let ids = DedupState {
            window: Window::default(),
            index: Arc::new(DedupIndex::open(&ids, Arc::clone(&clock) as _, all_metrics).unwrap()),
        };
        let epoch = LeaderEpoch(0);
        let derived = Derived {
            timers,
            transactional,
            keys: index,
            ids,
        };
        let partition = Partition::new(key, "t".into(), log, epoch, config, metrics, derived);
        let partition = Arc::new(partition);
        let fire = FireHandle::new(1);
        fire.watch(&partition);
        Some(Self {
            disk,
            fire_loop: fire.loops(&(Arc::clone(&clock) as _)).remove(0),
            clock,
            partition,
            fire,
            keys,
        })
    }

    /// The process ends; another one opens the folder.
    pub(super) fn restarted(self, now: i64) -> Self {
        let (disk, keys) = (self.disk.kill(), Arc::clone(&self.keys));
        // RocksDB locks its folder.
        drop(self);
        Self::open_with(disk, now, &[], keys).unwrap()
    }

    /// Produces one batch: each record's headers and value.
    pub(super) fn produce(
        &self,
        records: &[(Vec<(&str, String)>, &str)],
    ) -> Result<AppendedUnit, String> {
        self.produce_as(-1, -1, records)
    }

    /// The same, as an idempotent producer with that id and sequence.
    pub(super) fn produce_as(
        &self,
        producer_id: i64,
        base_sequence: i32,
        records: &[(Vec<(&str, String)>, &str)],
    ) -> Result<AppendedUnit, String> {
        self.produce_with(0, producer_id, base_sequence, records)
    }

    /// The same, in a transaction of that producer.
    pub(super) fn produce_in_transaction(
        &self,
        producer_id: i64,
        base_sequence: i32,
        records: &[(Vec<(&str, String)>, &str)],
    ) -> Result<AppendedUnit, String> {
        self.produce_with(ATTR_TRANSACTIONAL, producer_id, base_sequence, records)
    }

    /// Ends a producer's transaction.
    pub(super) fn end(&self, producer_id: i64, kind: MarkerKind) {
        let producer = Producer {
            id: producer_id,
            epoch: 0,
        };
        let marker = Marker {
            kind,
            coordinator_epoch: 0,
            transaction_version: 0,
        };
        let now = self.now();
        self.partition.append_marker(producer, marker, now).unwrap();
        self.fire.watch(&self.partition);
    }

    fn produce_with(
        &self,
        attributes: i16,
        producer_id: i64,
        base_sequence: i32,
        records: &[(Vec<(&str, String)>, &str)],
    ) -> Result<AppendedUnit, String> {
        let now = scheduler::Clock::wall(&*self.clock);
        let mut body = Vec::new();
        for (delta, (headers, value)) in (0i32..).zip(records) {
            let headers = headers.iter().map(|(name, value)| {
                (
                    Bytes::from((*name).to_owned()),
                    Some(Bytes::from(value.clone())),
                )
            });
            Record {
                offset_delta: delta,
                value: Some(Bytes::from((*value).to_owned())),
                headers: headers.collect(),
                ..Record::default()
            }
            .encode(&mut body);
        }
        let count = i32::try_from(records.len()).unwrap();
        let header = BatchHeader {
            base_offset: 0,
            batch_length: 0,
            leader_epoch: -1,
            magic: 2,
            crc: 0,
            attributes,
            last_offset_delta: count - 1,
            base_timestamp: now.0,
            max_timestamp: now.0,
            producer_id,
            producer_epoch: if producer_id < 0 { -1 } else { 0 },
            base_sequence,
            records_count: count,
        };
        let rules = RecordRules {
            produce_version: 9,
            max_message_bytes: 1 << 20,
            inspect: true,
            message_ids: None,
            aliases: [].into(),
            now_ms: now.0,
            max_delay_ms: 3_660 * DAY,
            log_append_time: false,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: i64::MAX,
            keys_of: None,
            codec: None,
        };
        let checked = records::check_produce(Some(build_batch(header, &body)), &rules)
            .map_err(|refusal| refusal.message)?;
        let appended = {
            let first = FirstBatch {
                producer_id,
                epoch: 0,
                sequence: header.base_sequence,
                epoch_per_transaction: false,
            };
            let log = self.partition.log();
            let guard = header.is_transactional().then(|| log.guard(&first, now.0));
            let guard = guard.flatten();
            self.partition
                .append(accept::accept(checked), Origin::Client { guard }, None, now)
        };
        self.fire.watch(&self.partition);
        appended.map_err(|e| e.to_string())
    }

    /// Holds one record; its schedule id.
    pub(super) fn hold(&self, due: i64) -> i64 {
        let at = ("chronos-deliver-at", due.to_string());
        self.produce(&[(vec![at], "v")]).unwrap().base_offset.0
    }

    pub(super) fn hold_many(&self, dues: &[i64]) -> i64 {
        let records: Vec<_> = dues
            .iter()
            .map(|due| (vec![("chronos-deliver-at", due.to_string())], "v"))
            .collect();
        self.produce(&records).unwrap().base_offset.0
    }

    /// Lets the fire loop work until it has nothing to do at that time.
    pub(super) fn tick(&mut self, now: i64) {
        self.clock.set(TimestampMs(now));
        self.fire.watch(&self.partition);
        let mut idle = 0;
        for _ in 0..2_000 {
            let before = self.partition.offsets().log_end;
            self.fire_loop.turn();
            let moved = self.partition.offsets().log_end != before;
            idle = if moved { 0 } else { idle + 1 };
            // One turn may only learn what the next acts on.
            if idle == 2 {
                return;
            }
        }
        panic!("the fire loop does not come to an end");
    }

    /// All that a consumer gets.
    pub(super) fn consume(&self) -> Vec<Fired> {
        let log = self.partition.log();
        let mut found = Vec::new();
        let mut from = log.offsets().log_start;
        loop {
            let read = log.read(from, 1 << 20, ReadUpTo::Visible, true).unwrap();
            let Some(first) = read.first_offset else {
                return found;
            };
            let mut bytes = Vec::new();
            for chunk in read.chunks {
                match chunk {
                    Chunk::Bytes(b) => bytes.extend_from_slice(&b),
                    Chunk::File(slice) => bytes.extend_from_slice(&slice.read().unwrap()),
                }
            }
            let batch = storage::batch::BatchView::parse(
                Bytes::from(bytes.clone()).slice(..BatchHeader::parse(&bytes).unwrap().total_len()),
            )
            .unwrap();
            for record in records::decode(&batch).unwrap() {
                let header = |name: &str| {
                    let value = record.last_header(name)?.as_ref()?;
                    std::str::from_utf8(value).ok()?.parse::<i64>().ok()
                };
                found.push(Fired {
                    id: header(HEADER_SCHEDULE_ID).unwrap_or(-1),
                    due: header(HEADER_DUE_AT).unwrap_or(-1),
                    value: record.value.clone().unwrap_or_default(),
                    offset: first.0 + i64::from(record.offset_delta),
                });
            }
            from = Offset(batch.header.last_offset() + 1);
        }
    }

    pub(super) fn fired_ids(&self) -> Vec<i64> {
        self.consume().iter().map(|fired| fired.id).collect()
    }

    pub(super) fn pending(&self) -> usize {
        usize::try_from(self.partition.pending_size().records).unwrap()
    }

    pub(super) fn now(&self) -> TimestampMs {
        scheduler::Clock::wall(&*self.clock)
    }
}
