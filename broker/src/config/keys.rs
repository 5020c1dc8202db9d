//! The table of settings: from it come parsing, checking, printing and DescribeConfigs.

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// An integer in this range.
    Int(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Any text; what is allowed is checked where it is used.
    Text,
}

/// A setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Kafka's name where Kafka has one.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it is when nobody says.
    pub default: &'static str,
    /// What it does, with its unit.
    pub doc: &'static str,
}

impl Kind {
    /// Kafka's number for a config's type, in DescribeConfigs.
    pub fn kafka_type(self) -> i8 {
        match self {
            Self::Bool => 1,
            Self::OneOf(_) | Self::Text => 2,
            Self::Int(..) => 5,
        }
    }

    /// What is allowed, where `value` is not.
    pub fn refuse(self, value: &str) -> Option<String> {
        match self {
            Self::Bool if value == "true" || value == "false" => None,
            Self::Bool => Some("true, false".into()),
            Self::Int(min, max) if value.parse().is_ok_and(|n: i64| (min..=max).contains(&n)) => {
                None
            }
            Self::Int(min, max) => Some(format!("{min} to {max}")),
            Self::OneOf(words) if words.contains(&value) => None,
            Self::OneOf(words) => Some(words.join(", ")),
            Self::Text => None,
        }
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        doc,
    }
}

const I32: i64 = i32::MAX as i64;

/// Every setting of the node.
pub const KEYS: [Key; 29] = [
    key(
        "node.id",
        Kind::Int(0, I32),
        "1",
        "This node's id in the cluster.",
    ),
    key(
        "listeners",
        Kind::Text,
        "PLAINTEXT://127.0.0.1:9092",
        "Where Kafka clients connect; port 0 takes a free one.",
    ),
    key(
        "advertised.listeners",
        Kind::Text,
        "",
        "The address that clients are told; empty means the bound one.",
    ),
    key(
        "insecure.listen.anywhere",
        Kind::Bool,
        "false",
        "Listen on other than loopback addresses without authentication.",
    ),
    key(
        "http.listen",
        Kind::Text,
        "127.0.0.1:9644",
        "Where /metrics, /healthz and /readyz are served.",
    ),
    key("log.dirs", Kind::Text, "./data", "The data folder."),
    key(
        "log.format",
        Kind::OneOf(&["text", "json"]),
        "text",
        "How log lines are written.",
    ),
    key(
        "num.partitions",
        Kind::Int(1, 10_000),
        "1",
        "Partitions of a topic that does not say.",
    ),
    key(
        "default.replication.factor",
        Kind::Int(1, 100),
        "1",
        "Replicas of a topic that does not say.",
    ),
    key(
        "auto.create.topics.enable",
        Kind::Bool,
        "true",
        "Create a topic that a client asks about.",
    ),
    key(
        "delete.topic.enable",
        Kind::Bool,
        "true",
        "Allow topics to be deleted.",
    ),
    key(
        "socket.request.max.bytes",
        Kind::Int(1, I32),
        "104857600",
        "The largest request, in bytes.",
    ),
    key(
        "max.connections",
        Kind::Int(1, I32),
        "15000",
        "Connections open at once.",
    ),
    key(
        "connections.max.idle.ms",
        Kind::Int(1, i64::MAX),
        "600000",
        "An idle connection is closed after this, in milliseconds.",
    ),
    key(
        "fetch.max.bytes",
        Kind::Int(1024, I32),
        "57671680",
        "The most that one fetch answers, in bytes.",
    ),
    key(
        "max.request.partition.size.limit",
        Kind::Int(1, I32),
        "2000",
        "Partitions in one DescribeTopicPartitions answer.",
    ),
    key(
        "message.max.bytes",
        Kind::Int(0, I32),
        "1048588",
        "The largest record batch, in bytes.",
    ),
    key(
        "log.segment.bytes",
        Kind::Int(1024 * 1024, I32),
        "1073741824",
        "A segment is closed at this size, in bytes.",
    ),
    key(
        "log.roll.ms",
        Kind::Int(1, i64::MAX),
        "604800000",
        "A segment is closed at this age, in milliseconds.",
    ),
    key(
        "log.index.interval.bytes",
        Kind::Int(0, I32),
        "4096",
        "An index entry at least every so many bytes.",
    ),
    key(
        "log.message.timestamp.type",
        Kind::OneOf(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "Whose clock stamps records.",
    ),
    key(
        "log.message.timestamp.before.max.ms",
        Kind::Int(0, i64::MAX),
        "9223372036854775807",
        "How old a record's timestamp may be, in milliseconds.",
    ),
    key(
        "log.message.timestamp.after.max.ms",
        Kind::Int(0, i64::MAX),
        "3600000",
        "How far ahead a record's timestamp may be, in milliseconds.",
    ),
    key(
        "min.insync.replicas",
        Kind::Int(1, 100),
        "1",
        "Replicas that must have a record before acks=all is answered.",
    ),
    key(
        "producer.id.expiration.ms",
        Kind::Int(1, I32),
        "86400000",
        "A silent idempotent producer is forgotten after this, in milliseconds.",
    ),
    key(
        "flush.policy",
        Kind::OneOf(&["ack", "interval", "os"]),
        "ack",
        "When an append is committed: synced, at once with a sync every flush.interval.ms, or at once.",
    ),
    key(
        "flush.interval.ms",
        Kind::Int(1, I32),
        "1000",
        "With flush.policy=interval, the time between syncs, in milliseconds.",
    ),
    key(
        "log.flush.offset.checkpoint.interval.ms",
        Kind::Int(1, I32),
        "60000",
        "Logs are checkpointed this often, in milliseconds: bounds recovery.",
    ),
    key(
        "schedule.max.delay.ms",
        Kind::Int(0, i64::MAX),
        "31622400000",
        "How far ahead a record may be held, in milliseconds (366 days).",
    ),
];
