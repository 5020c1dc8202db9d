//! The table of topic settings: Kafka 4.3's names, types, bounds and defaults, and ours.

use crate::config::{CODECS, Kind};

/// A setting of a topic.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Fallback,
    pub(super) doc: &'static str,
    /// Nothing acts on another value yet: it is refused.
    pub(super) fixed: bool,
}

/// What a setting is when the topic does not say.
#[derive(Clone, Copy)]
pub(super) enum Fallback {
    /// The broker's setting of that name.
    Broker(&'static str),
    /// The broker's setting of that name where it is set, else what other settings of the broker make of it.
    BrokerOr(&'static str, fn(&crate::config::Config) -> String),
    /// This.
    Value(&'static str),
}

use Fallback::{Broker, BrokerOr, Value};

const fn acts(name: &'static str, kind: Kind, default: Fallback, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        doc,
        fixed: false,
    }
}

const fn later(name: &'static str, kind: Kind, default: Fallback, doc: &'static str) -> Key {
    Key {
        fixed: true,
        ..acts(name, kind, default, doc)
    }
}

const I32: i64 = i32::MAX as i64;
const I64: i64 = i64::MAX;

/// In the order of their names.
pub(super) const TOPIC_KEYS: [Key; 38] = [
    acts(
        "chronos.dedup.window.ms",
        Kind::Long(0, I64),
        Broker("dedup.window.ms"),
        "For how long a record with the chronos-message-id of an earlier one of its partition is taken for a copy, and not appended, in milliseconds; 0 never.",
    ),
    acts(
        "chronos.schedule.enable",
        Kind::Bool,
        Value("true"),
        "Hold records that carry a deliver-at header.",
    ),
    acts(
        "chronos.schedule.max.pending.bytes",
        Kind::Int(-1, I64),
        Value("-1"),
        "What the topic's held records may take together; a batch with more to hold is refused. -1: no limit.",
    ),
    acts(
        "chronos.schedule.max.pending.records",
        Kind::Int(-1, I64),
        Value("-1"),
        "How many of the topic's records may be held at once; a batch with more to hold is refused. -1: no limit.",
    ),
    acts(
        "cleanup.policy",
        Kind::ListOf(&["compact", "delete"]),
        Broker("log.cleanup.policy"),
        "How old segments go: delete takes them whole, compact keeps the last record of each key; both, or neither.",
    ),
    acts(
        "compression.gzip.level",
        Kind::Int(-1, 9),
        Broker("compression.gzip.level"),
        "The level of gzip, where compression.type is gzip.",
    ),
    acts(
        "compression.lz4.level",
        Kind::Int(1, 17),
        Broker("compression.lz4.level"),
        "The level of lz4, where compression.type is lz4.",
    ),
    acts(
        "compression.type",
        Kind::OneOf(&CODECS),
        Broker("compression.type"),
        "The codec that batches are kept in; producer keeps what was sent.",
    ),
    acts(
        "compression.zstd.level",
        Kind::Int(-131_072, 22),
        Broker("compression.zstd.level"),
        "The level of zstd, where compression.type is zstd.",
    ),
    acts(
        "delete.retention.ms",
        Kind::Long(0, I64),
        Broker("log.cleaner.delete.retention.ms"),
        "How long tombstones are kept, in milliseconds.",
    ),
    acts(
        "file.delete.delay.ms",
        Kind::Long(0, I64),
        Broker("log.segment.delete.delay.ms"),
        "How long a removed file stays on the disk, in milliseconds.",
    ),
    acts(
        "flush.messages",
        Kind::Long(1, I64),
        Broker("log.flush.interval.messages"),
        "A sync after so many messages; the last of them is answered by it.",
    ),
    acts(
        "flush.ms",
        Kind::Long(0, I64),
        BrokerOr("log.flush.interval.ms", |_| I64.to_string()),
        "A sync after so long, in milliseconds.",
    ),
    acts(
        "flush.policy",
        Kind::OneOf(&["ack", "interval", "os"]),
        Broker("flush.policy"),
        "When an append is committed: synced, at once with a sync every flush.interval.ms, or at once.",
    ),
    later(
        "follower.replication.throttled.replicas",
        Kind::ListOf(&[]),
        Value(""),
        "Replicas whose replication is throttled on the follower's side.",
    ),
    acts(
        "index.interval.bytes",
        Kind::Int(0, I32),
        Broker("log.index.interval.bytes"),
        "An index entry at least every so many bytes.",
    ),
    later(
        "leader.replication.throttled.replicas",
        Kind::ListOf(&[]),
        Value(""),
        "Replicas whose replication is throttled on the leader's side.",
    ),
    later(
        "local.retention.bytes",
        Kind::Long(-2, I64),
        Broker("log.local.retention.bytes"),
        "Tiered storage: local bytes kept.",
    ),
    later(
        "local.retention.ms",
        Kind::Long(-2, I64),
        Broker("log.local.retention.ms"),
        "Tiered storage: local time kept.",
    ),
    acts(
        "max.compaction.lag.ms",
        Kind::Long(1, I64),
        Broker("log.cleaner.max.compaction.lag.ms"),
        "A record is compacted after this at the latest, in milliseconds.",
    ),
    acts(
        "max.message.bytes",
        Kind::Int(0, I32),
        Broker("message.max.bytes"),
        "The largest record batch, in bytes.",
    ),
    acts(
        "message.timestamp.after.max.ms",
        Kind::Long(0, I64),
        Broker("log.message.timestamp.after.max.ms"),
        "How far ahead a timestamp may be, in milliseconds.",
    ),
    acts(
        "message.timestamp.before.max.ms",
        Kind::Long(0, I64),
        Broker("log.message.timestamp.before.max.ms"),
        "How old a timestamp may be, in milliseconds.",
    ),
    acts(
        "message.timestamp.type",
        Kind::OneOf(&["CreateTime", "LogAppendTime"]),
        Broker("log.message.timestamp.type"),
        "Whose clock stamps records.",
    ),
    acts(
        "min.cleanable.dirty.ratio",
        Kind::Double(0.0, 1.0),
        Broker("log.cleaner.min.cleanable.ratio"),
        "How dirty a log is before it is compacted.",
    ),
    acts(
        "min.compaction.lag.ms",
        Kind::Long(0, I64),
        Broker("log.cleaner.min.compaction.lag.ms"),
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
        Broker("log.preallocate"),
        "Take a segment's space at once.",
    ),
    later(
        "remote.log.copy.disable",
        Kind::Bool,
        Value("false"),
        "Tiered storage: copy no more.",
    ),
    later(
        "remote.log.delete.on.disable",
        Kind::Bool,
        Value("false"),
        "Tiered storage: delete what was copied when it is disabled.",
    ),
    later(
        "remote.storage.enable",
        Kind::Bool,
        Value("false"),
        "Tiered storage.",
    ),
    acts(
        "retention.bytes",
        Kind::Long(i64::MIN, I64),
        Broker("log.retention.bytes"),
        "A partition's size limit, in bytes; -1 none.",
    ),
    acts(
        "retention.ms",
        Kind::Long(-1, I64),
        BrokerOr("log.retention.ms", |b| b.retention_ms.to_string()),
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
        Broker("log.index.size.max.bytes"),
        "The size of an index, in bytes.",
    ),
    later(
        "segment.jitter.ms",
        Kind::Long(0, I64),
        Value("0"),
        "Random time taken off segment.ms.",
    ),
    acts(
        "segment.ms",
        Kind::Long(1, I64),
        BrokerOr("log.roll.ms", |b| b.segment_ms.to_string()),
        "A segment is closed at this age, in milliseconds.",
    ),
    later(
        "unclean.leader.election.enable",
        Kind::Bool,
        Broker("unclean.leader.election.enable"),
        "Elect a replica that lacks records.",
    ),
];
