//! Settings of a topic: Kafka's names, defaults from the broker's settings, and what this release acts on.
//!
//! A setting that would change what happens to data, but that nothing acts on yet, is refused: silence would be a promise.

use std::collections::BTreeMap;

use storage::log::{FlushPolicy, LogConfig};

use crate::config::{Config, KEYS, Kind, Layer};

/// A setting of a topic.
struct Key {
    name: &'static str,
    kind: Kind,
    /// The broker's setting that is its default, or the default itself.
    default: Default,
    doc: &'static str,
    /// Nothing acts on another value yet.
    fixed: bool,
}

enum Default {
    Broker(&'static str),
    Value(&'static str),
}

use Default::{Broker, Value};

const fn acts(name: &'static str, kind: Kind, default: Default, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        doc,
        fixed: false,
    }
}

const fn later(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default: Value(default),
        doc,
        fixed: true,
    }
}

const I32: i64 = i32::MAX as i64;
const MAX: i64 = i64::MAX;

/// All of Kafka 4.3's topic settings that have a meaning here, and ours.
const TOPIC_KEYS: [Key; 28] = [
    acts(
        "chronos.schedule.enable",
        Kind::Bool,
        Value("true"),
        "Hold records that carry a deliver-at header.",
    ),
    later(
        "cleanup.policy",
        Kind::OneOf(&["delete", "compact", "compact,delete"]),
        "delete",
        "How old segments go: delete or compact.",
    ),
    later(
        "compression.type",
        Kind::OneOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"]),
        "producer",
        "The codec that records are kept in.",
    ),
    later(
        "delete.retention.ms",
        Kind::Int(0, MAX),
        "86400000",
        "How long tombstones are kept, in milliseconds.",
    ),
    later(
        "file.delete.delay.ms",
        Kind::Int(0, MAX),
        "60000",
        "How long a removed file stays on the disk, in milliseconds.",
    ),
    later(
        "flush.messages",
        Kind::Int(1, MAX),
        "9223372036854775807",
        "A sync after so many messages.",
    ),
    later(
        "flush.ms",
        Kind::Int(0, MAX),
        "9223372036854775807",
        "A sync after so long, in milliseconds.",
    ),
    acts(
        "flush.policy",
        Kind::OneOf(&["ack", "interval", "os"]),
        Broker("flush.policy"),
        "When an append is committed.",
    ),
    acts(
        "index.interval.bytes",
        Kind::Int(0, I32),
        Broker("log.index.interval.bytes"),
        "An index entry at least every so many bytes.",
    ),
    later(
        "local.retention.bytes",
        Kind::Int(-2, MAX),
        "-2",
        "Tiered storage: local bytes kept.",
    ),
    later(
        "local.retention.ms",
        Kind::Int(-2, MAX),
        "-2",
        "Tiered storage: local time kept.",
    ),
    acts(
        "max.message.bytes",
        Kind::Int(0, I32),
        Broker("message.max.bytes"),
        "The largest record batch, in bytes.",
    ),
    acts(
        "message.timestamp.after.max.ms",
        Kind::Int(0, MAX),
        Broker("log.message.timestamp.after.max.ms"),
        "How far ahead a timestamp may be, in milliseconds.",
    ),
    acts(
        "message.timestamp.before.max.ms",
        Kind::Int(0, MAX),
        Broker("log.message.timestamp.before.max.ms"),
        "How old a timestamp may be, in milliseconds.",
    ),
    acts(
        "message.timestamp.type",
        Kind::OneOf(&["CreateTime", "LogAppendTime"]),
        Broker("log.message.timestamp.type"),
        "Whose clock stamps records.",
    ),
    later(
        "max.compaction.lag.ms",
        Kind::Int(1, MAX),
        "9223372036854775807",
        "A record is compacted after this at the latest, in milliseconds.",
    ),
    later(
        "min.cleanable.dirty.ratio",
        Kind::Text,
        "0.5",
        "How dirty a log is before it is compacted.",
    ),
    later(
        "min.compaction.lag.ms",
        Kind::Int(0, MAX),
        "0",
        "A record is compacted after this at the earliest, in milliseconds.",
    ),
    acts(
        "min.insync.replicas",
        Kind::Int(1, I32),
        Broker("min.insync.replicas"),
        "Replicas that must have a record before acks=all is answered.",
    ),
    later(
        "preallocate",
        Kind::Bool,
        "false",
        "Take a segment's space at once.",
    ),
    later(
        "remote.storage.enable",
        Kind::Bool,
        "false",
        "Tiered storage.",
    ),
    later(
        "retention.bytes",
        Kind::Int(-1, MAX),
        "-1",
        "A partition's size limit, in bytes; -1 none.",
    ),
    later(
        "retention.ms",
        Kind::Int(-1, MAX),
        "604800000",
        "How long records are kept, in milliseconds; -1 for ever.",
    ),
    acts(
        "segment.bytes",
        Kind::Int(1024 * 1024, I32),
        Broker("log.segment.bytes"),
        "A segment is closed at this size, in bytes.",
    ),
    later(
        "segment.index.bytes",
        Kind::Int(4, I32),
        "10485760",
        "The size of an index, in bytes.",
    ),
    later(
        "segment.jitter.ms",
        Kind::Int(0, MAX),
        "0",
        "Random time taken off segment.ms.",
    ),
    acts(
        "segment.ms",
        Kind::Int(1, MAX),
        Broker("log.roll.ms"),
        "A segment is closed at this age, in milliseconds.",
    ),
    later(
        "unclean.leader.election.enable",
        Kind::Bool,
        "false",
        "Elect a replica that lacks records.",
    ),
];

/// A topic's settings, typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// `chronos.schedule.enable`
    pub schedule_enable: bool,
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
    log: LogConfig,
}

impl TopicConfig {
    /// Settings of a topic, whose own were checked when they were set.
    pub fn resolve(own: &BTreeMap<String, String>, broker: &Config) -> Self {
        let number = |key: &str, default: i64| {
            own.get(key)
                .and_then(|value| value.parse().ok())
                .unwrap_or(default)
        };
        let text =
            |key: &str, default: &str| own.get(key).map_or(default, String::as_str).to_owned();
        let append_time = if broker.log_append_time {
            "LogAppendTime"
        } else {
            "CreateTime"
        };
        let flush_policy = match own.get("flush.policy").map(String::as_str) {
            None => broker.flush_policy,
            Some("ack") => FlushPolicy::Ack,
            Some("interval") => FlushPolicy::Interval(flush_interval(broker)),
            Some(_) => FlushPolicy::Os,
        };
        let max_message_bytes = number(
            "max.message.bytes",
            i64::try_from(broker.message_max_bytes).unwrap_or(MAX),
        );
        let narrow = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            schedule_enable: text("chronos.schedule.enable", "true") == "true",
            max_message_bytes: usize::try_from(max_message_bytes).unwrap_or(0),
            log_append_time: text("message.timestamp.type", append_time) == "LogAppendTime",
            timestamp_before_max_ms: number(
                "message.timestamp.before.max.ms",
                broker.timestamp_before_max_ms,
            ),
            timestamp_after_max_ms: number(
                "message.timestamp.after.max.ms",
                broker.timestamp_after_max_ms,
            ),
            min_insync_replicas: i32::try_from(number(
                "min.insync.replicas",
                broker.min_insync_replicas.into(),
            ))
            .unwrap_or(i32::MAX),
            log: LogConfig {
                segment_bytes: narrow(number("segment.bytes", broker.segment_bytes.into())),
                segment_ms: number("segment.ms", broker.segment_ms),
                index_interval_bytes: narrow(number(
                    "index.interval.bytes",
                    broker.index_interval_bytes.into(),
                )),
                flush_policy,
                producer_id_expiration_ms: broker.producer_id_expiration_ms,
            },
        }
    }

    /// What the log takes of them.
    pub fn log_config(&self) -> LogConfig {
        self.log
    }
}

fn flush_interval(broker: &Config) -> std::time::Duration {
    let (text, _) = broker.text("flush.interval.ms");
    std::time::Duration::from_millis(text.parse().unwrap_or(1_000))
}

/// A setting, as DescribeConfigs tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// It cannot be changed.
    pub read_only: bool,
    /// 1 the topic's own, 4 the broker's file, 5 default.
    pub source: i8,
    /// Its value is secret.
    pub sensitive: bool,
    /// Where the value came from, and what it would be without.
    pub synonyms: Vec<Synonym>,
    /// Kafka's number for its type.
    pub config_type: i8,
    /// What it does.
    pub doc: String,
}

/// A layer of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// Its name in that layer.
    pub name: String,
    /// Its value there.
    pub value: Option<String>,
    /// As [`ConfigEntry::source`].
    pub source: i8,
}

/// The one setting that is a list.
const CLEANUP_POLICY: &str = "cleanup.policy";
const SOURCE_TOPIC: i8 = 1;
const SOURCE_BROKER: i8 = 4;
const SOURCE_DEFAULT: i8 = 5;

/// Why a setting cannot be given, in Kafka's words where it has some.
pub fn validate(name: &str, value: &str, broker: &Config) -> Result<(), String> {
    let key = TOPIC_KEYS
        .iter()
        .find(|key| key.name == name)
        .ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    if let Some(allowed) = key.kind.refuse(value) {
        return Err(format!(
            "Invalid value {value} for configuration {name}: allowed is {allowed}"
        ));
    }
    let (default, _) = default_of(key, broker);
    if key.fixed && value != default {
        return Err(format!(
            "Configuration {name} is known, but only {default} is supported yet"
        ));
    }
    Ok(())
}

/// The value of a setting that is a list; `None` for any other.
pub fn list_value(name: &str, own: &BTreeMap<String, String>, broker: &Config) -> Option<String> {
    let key = TOPIC_KEYS.iter().find(|key| key.name == name)?;
    (name == CLEANUP_POLICY).then(|| {
        own.get(name)
            .cloned()
            .unwrap_or_else(|| default_of(key, broker).0)
    })
}

/// Every setting of a topic.
pub fn describe(own: &BTreeMap<String, String>, broker: &Config) -> Vec<ConfigEntry> {
    TOPIC_KEYS
        .iter()
        .map(|key| {
            let (default, below) = default_of(key, broker);
            let mine = own.get(key.name);
            let mut synonyms = Vec::new();
            if let Some(value) = mine {
                synonyms.push(Synonym {
                    name: key.name.to_owned(),
                    value: Some(value.clone()),
                    source: SOURCE_TOPIC,
                });
            }
            if let Broker(name) = key.default {
                synonyms.push(Synonym {
                    name: name.to_owned(),
                    value: Some(default.clone()),
                    source: below,
                });
            }
            ConfigEntry {
                name: key.name.to_owned(),
                value: Some(mine.cloned().unwrap_or(default)),
                read_only: false,
                source: if mine.is_some() { SOURCE_TOPIC } else { below },
                sensitive: false,
                synonyms,
                config_type: if key.name == CLEANUP_POLICY {
                    7
                } else {
                    key.kind.kafka_type()
                },
                doc: key.doc.to_owned(),
            }
        })
        .collect()
}

fn default_of(key: &Key, broker: &Config) -> (String, i8) {
    match key.default {
        Value(value) => (value.to_owned(), SOURCE_DEFAULT),
        Broker(name) => {
            debug_assert!(
                KEYS.iter().any(|k| k.name == name),
                "{name} is a broker setting"
            );
            let (value, layer) = broker.text(name);
            let source = if layer == Layer::Default {
                SOURCE_DEFAULT
            } else {
                SOURCE_BROKER
            };
            (value.to_owned(), source)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn broker(set: &[&str]) -> Config {
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        Config::new(config::load(None, &[], &set).unwrap()).unwrap()
    }

    #[test]
    fn every_default_is_allowed_and_every_key_described() {
        let broker = broker(&[]);
        for entry in describe(&BTreeMap::new(), &broker) {
            assert_eq!(
                validate(&entry.name, &entry.value.unwrap(), &broker),
                Ok(()),
                "{}",
                entry.name
            );
            assert_eq!(entry.source, SOURCE_DEFAULT);
        }
    }

    #[test]
    fn a_topics_own_value_wins_over_the_brokers() {
        let broker = broker(&["message.max.bytes=5000", "flush.policy=os"]);
        let own = BTreeMap::from([
            ("max.message.bytes".to_owned(), "77".to_owned()),
            ("chronos.schedule.enable".to_owned(), "false".to_owned()),
        ]);
        let config = TopicConfig::resolve(&own, &broker);
        assert_eq!(config.max_message_bytes, 77);
        assert!(!config.schedule_enable);
        assert_eq!(config.log_config().flush_policy, FlushPolicy::Os);
        let described = describe(&own, &broker);
        let entry = described
            .iter()
            .find(|e| e.name == "max.message.bytes")
            .unwrap();
        let synonyms: Vec<_> = entry
            .synonyms
            .iter()
            .map(|s| (s.name.as_str(), s.source))
            .collect();
        assert_eq!(
            synonyms,
            [("max.message.bytes", 1), ("message.max.bytes", 4)]
        );
    }

    #[test]
    fn what_nothing_acts_on_yet_is_refused_not_ignored() {
        let broker = broker(&[]);
        assert!(
            validate("cleanup.policy", "compact", &broker)
                .unwrap_err()
                .contains("only delete")
        );
        assert!(
            validate("nope", "1", &broker)
                .unwrap_err()
                .contains("Unknown topic config name")
        );
        assert!(validate("segment.bytes", "x", &broker).is_err());
    }
}
