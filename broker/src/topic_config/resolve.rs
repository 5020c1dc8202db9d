//! A topic's settings, typed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kafka_compat::{compress::Codec, records::RecordRules};
use storage::log::{CompactionRules, FlushPolicy, LogConfig, RetentionRules};

use crate::config::Config;

/// A topic's settings, typed.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicConfig {
    /// `chronos.schedule.enable`
    pub schedule_enable: bool,
    /// `chronos.dedup.window.ms`; 0 also where nothing is inspected.
    pub dedup_window_ms: i64,
    /// `chronos.schedule.max.pending.records`
    pub max_pending_records: Option<u64>,
    /// `chronos.schedule.max.pending.bytes`
    pub max_pending_bytes: Option<u64>,
    /// `max.message.bytes`
    pub max_message_bytes: usize,
    /// `message.timestamp.type` is LogAppendTime.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `min.insync.replicas`
    pub min_insync_replicas: i32,
    /// `compression.type` and its level; `None` keeps what the producer sent.
    pub codec: Option<Codec>,
    /// `retention.ms`, `retention.bytes`, `file.delete.delay.ms`
    pub retention: RetentionRules,
    /// `cleanup.policy` has delete.
    pub deletes: bool,
    /// `cleanup.policy` has compact: how; and then every record needs a key.
    pub compaction: Option<CompactionRules>,
    log: LogConfig,
}

impl TopicConfig {
    /// Settings of a topic, whose own were checked when they were set.
    pub fn resolve(own: &BTreeMap<String, String>, broker: &Config) -> Self {
        let text = |key: &str| super::value(key, own, broker).trim().to_owned();
        let number = |key: &str| text(key).parse::<i64>().unwrap_or(0);
        let narrow = |key: &str| u32::try_from(number(key)).unwrap_or(u32::MAX);
        let at_least_0 = |key: &str| u64::try_from(number(key)).ok();
        let policy = text("cleanup.policy");
        let (deletes, compacts) = (policy.contains("delete"), policy.contains("compact"));
        let compaction = CompactionRules {
            min_dirty_ratio: text("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
            min_lag_ms: number("min.compaction.lag.ms"),
            max_lag_ms: number("max.compaction.lag.ms"),
            delete_retention_ms: number("delete.retention.ms"),
            segment_bytes: narrow("segment.bytes"),
            index_interval_bytes: narrow("index.interval.bytes"),
            file_delete_delay_ms: number("file.delete.delay.ms"),
            keys_max: broker.cleaner.keys_max(),
        };
        let schedule_enable = is_true(&text("chronos.schedule.enable"));
        Self {
            schedule_enable,
            dedup_window_ms: if schedule_enable {
                number("chronos.dedup.window.ms")
            } else {
                0
            },
            max_pending_records: at_least_0("chronos.schedule.max.pending.records"),
            max_pending_bytes: at_least_0("chronos.schedule.max.pending.bytes"),
            max_message_bytes: usize::try_from(number("max.message.bytes")).unwrap_or(0),
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            min_insync_replicas: i32::try_from(number("min.insync.replicas")).unwrap_or(i32::MAX),
            codec: codec(&text("compression.type"), |name| {
                i32::try_from(number(name)).unwrap_or(0)
            }),
            retention: RetentionRules {
                retention_ms: Some(number("retention.ms")).filter(|ms| deletes && *ms >= 0),
                retention_bytes: at_least_0("retention.bytes").filter(|_| deletes),
                file_delete_delay_ms: number("file.delete.delay.ms"),
            },
            deletes,
            compaction: compacts.then_some(compaction),
            log: LogConfig {
                segment_bytes: narrow("segment.bytes"),
                segment_ms: number("segment.ms"),
                index_interval_bytes: narrow("index.interval.bytes"),
                flush_policy: flush_policy(&text("flush.policy"), number("flush.ms"), broker),
                flush_messages: number("flush.messages"),
                producer_id_expiration_ms: broker.producer_id_expiration_ms,
            },
        }
    }

    /// What a batch for partition `index` of `topic` is held against, whoever it comes from: any version, no aliases, no message ids.
    pub fn record_rules(
        &self,
        topic: &str,
        index: i32,
        now_ms: i64,
        max_delay_ms: i64,
    ) -> RecordRules {
        RecordRules {
            produce_version: i16::MAX,
            max_message_bytes: self.max_message_bytes,
            inspect: self.schedule_enable,
            message_ids: None,
            aliases: Arc::default(),
            now_ms,
            max_delay_ms,
            log_append_time: self.log_append_time,
            timestamp_before_max_ms: self.timestamp_before_max_ms,
            timestamp_after_max_ms: self.timestamp_after_max_ms,
            keys_of: self.compaction.map(|_| format!("{topic}-{index}")),
            codec: self.codec,
        }
    }

    /// What the log takes of them.
    pub fn log_config(&self) -> LogConfig {
        self.log
    }
}

fn is_true(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

/// `flush.ms` is an interval of its own, whatever the policy; the shorter one counts.
fn flush_policy(policy: &str, flush_ms: i64, broker: &Config) -> FlushPolicy {
    let flush_ms = u64::try_from(flush_ms).unwrap_or(0);
    let own = (flush_ms < i64::MAX.unsigned_abs()).then(|| Duration::from_millis(flush_ms));
    match policy {
        "ack" => FlushPolicy::Ack,
        "interval" => {
            let interval = broker.flush_interval;
            FlushPolicy::Interval(own.map_or(interval, |ms| ms.min(interval)))
        }
        _ => own.map_or(FlushPolicy::Os, FlushPolicy::Interval),
    }
}

fn codec(name: &str, level: impl Fn(&str) -> i32) -> Option<Codec> {
    Some(match name {
        "uncompressed" => Codec::None,
        "gzip" => Codec::Gzip(level("compression.gzip.level")),
        "snappy" => Codec::Snappy,
        "lz4" => Codec::Lz4(level("compression.lz4.level")),
        "zstd" => Codec::Zstd(level("compression.zstd.level")),
        _ => return None,
    })
}
