//! The table of settings: from it come parsing, checking, printing and DescribeConfigs.

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A 32-bit integer in this range.
    Int(i64, i64),
    /// A 64-bit integer in this range.
    Long(i64, i64),
    /// As [`Kind::Long`], or nothing: then another setting says.
    LongOrUnset(i64, i64),
    /// A fraction in this range.
    Double(f64, f64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// Some of these words, separated by commas.
    ListOf(&'static [&'static str]),
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
    /// It can be changed while the node runs.
    pub dynamic: bool,
    /// Nothing acts on another value yet: it is refused.
    pub fixed: bool,
}

impl Kind {
    /// Kafka's number for a config's type, in DescribeConfigs.
    pub fn kafka_type(self) -> i8 {
        match self {
            Self::Bool => 1,
            Self::OneOf(_) | Self::Text => 2,
            Self::Int(..) => 3,
            Self::Long(..) | Self::LongOrUnset(..) => 5,
            Self::Double(..) => 6,
            Self::ListOf(_) => 7,
        }
    }

    /// Why `value` is refused, in Kafka's words. Source: Apache Kafka, `ConfigDef`.
    pub fn refuse(self, value: &str) -> Option<String> {
        let number = |range: (i64, i64), parsed: Option<i64>, name: &str| match parsed {
            None => Some(format!("Not a number of type {name}")),
            Some(n) if n < range.0 => Some(format!("Value must be at least {}", range.0)),
            Some(n) if n > range.1 => Some(format!("Value must be no more than {}", range.1)),
            Some(_) => None,
        };
        match self {
            Self::Bool => (!value.eq_ignore_ascii_case("true")
                && !value.eq_ignore_ascii_case("false"))
            .then(|| "Expected value to be either true or false".into()),
            Self::Int(min, max) => {
                let parsed = value.parse::<i32>().ok().map(i64::from);
                number((min, max), parsed, "INT")
            }
            Self::LongOrUnset(..) if value.is_empty() => None,
            Self::Long(min, max) | Self::LongOrUnset(min, max) => {
                number((min, max), value.parse().ok(), "LONG")
            }
            Self::Double(min, max) => match value.parse::<f64>() {
                Err(_) => Some("Not a number of type DOUBLE".into()),
                Ok(n) if n < min => Some(format!("Value must be at least {min}")),
                Ok(n) if n > max => Some(format!("Value must be no more than {max}")),
                Ok(_) => None,
            },
            Self::OneOf(words) => (!words.contains(&value))
                .then(|| format!("String must be one of: {}", words.join(", "))),
            Self::ListOf(words) => {
                let mut items = value.split(',').map(str::trim);
                let fits =
                    words.is_empty() || value.is_empty() || items.all(|item| words.contains(&item));
                (!fits).then(|| format!("String must be one of: {}", words.join(", ")))
            }
            Self::Text => None,
        }
    }
}

impl Key {
    /// Why `value` cannot be given.
    pub fn refuse(&self, value: &str) -> Option<String> {
        let only = || format!("only {} is supported yet", self.default);
        let refused = self.kind.refuse(value);
        refused.or_else(|| (self.fixed && value != self.default).then(only))
    }
}

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        doc,
        dynamic: false,
        fixed: false,
    }
}

/// A setting that can be changed while the node runs, as in Kafka.
const fn dynamic(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        dynamic: true,
        ..key(name, kind, default, doc)
    }
}

/// A setting on which nothing acts yet.
const fn later(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        fixed: true,
        ..key(name, kind, default, doc)
    }
}

const I32: i64 = i32::MAX as i64;
const I64: i64 = i64::MAX;
/// `compression.type`'s words, in Kafka's order.
pub const CODECS: [&str; 6] = ["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

/// Every setting of the node.
pub const KEYS: [Key; 96] = [
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
    key(
        "grpc.listen",
        Kind::Text,
        "127.0.0.1:9095",
        "Where the gRPC admin API is served.",
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
        Kind::Int(1, I32),
        "1",
        "Partitions of a topic that does not say.",
    ),
    key(
        "default.replication.factor",
        Kind::Int(1, I32),
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
    dynamic(
        "max.connections",
        Kind::Int(0, I32),
        "2147483647",
        "Connections open at once.",
    ),
    key(
        "connections.max.idle.ms",
        Kind::Long(1, I64),
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
    dynamic(
        "message.max.bytes",
        Kind::Int(0, I32),
        "1048588",
        "The largest record batch, in bytes.",
    ),
    dynamic(
        "log.segment.bytes",
        Kind::Int(1024 * 1024, I32),
        "1073741824",
        "A segment is closed at this size, in bytes.",
    ),
    dynamic(
        "log.roll.ms",
        Kind::LongOrUnset(1, I64),
        "",
        "A segment is closed at this age, in milliseconds; log.roll.hours where unset.",
    ),
    key(
        "log.roll.hours",
        Kind::Int(1, I32),
        "168",
        "A segment is closed at this age, in hours.",
    ),
    dynamic(
        "log.index.interval.bytes",
        Kind::Int(0, I32),
        "4096",
        "An index entry at least every so many bytes.",
    ),
    dynamic(
        "log.message.timestamp.type",
        Kind::OneOf(&["CreateTime", "LogAppendTime"]),
        "CreateTime",
        "Whose clock stamps records.",
    ),
    dynamic(
        "log.message.timestamp.before.max.ms",
        Kind::Long(0, I64),
        "9223372036854775807",
        "How old a record's timestamp may be, in milliseconds.",
    ),
    dynamic(
        "log.message.timestamp.after.max.ms",
        Kind::Long(0, I64),
        "3600000",
        "How far ahead a record's timestamp may be, in milliseconds.",
    ),
    dynamic(
        "min.insync.replicas",
        Kind::Int(1, I32),
        "1",
        "Replicas that must have a record before acks=all is answered.",
    ),
    dynamic(
        "producer.id.expiration.ms",
        Kind::Int(1, I32),
        "86400000",
        "A silent idempotent producer is forgotten after this, in milliseconds.",
    ),
    dynamic(
        "flush.policy",
        Kind::OneOf(&["ack", "interval", "os"]),
        "ack",
        "When an append is committed: synced, at once with a sync every flush.interval.ms, or at once.",
    ),
    dynamic(
        "flush.interval.ms",
        Kind::Int(1, I32),
        "1000",
        "With flush.policy=interval, the time between syncs, in milliseconds.",
    ),
    key(
        "flush.journal.bytes",
        Kind::Long(0, I64),
        "67108864",
        "With flush.policy=ack, small appends to many partitions are made durable together in a journal of this size at most (8388608 at least); 0: each log by itself.",
    ),
    key(
        "log.flush.offset.checkpoint.interval.ms",
        Kind::Int(1, I32),
        "60000",
        "Logs are checkpointed this often, in milliseconds: bounds recovery.",
    ),
    key(
        "log.scrub.bytes.per.second",
        Kind::Long(0, I64),
        "20971520",
        "How fast logs are read again in search of damage; 0: never.",
    ),
    key(
        "log.scrub.interval.ms",
        Kind::Long(1_000, I64),
        "604800000",
        "All logs are read again this often, and once after the start, in search of damage (7 days).",
    ),
    key(
        "dedup.index.interval.ms",
        Kind::Int(1, I32),
        "10000",
        "Message ids go from memory to their index this often at least, in milliseconds: bounds what a start reads again.",
    ),
    key(
        "dedup.window.ms",
        Kind::Long(0, I64),
        "604800000",
        "For how long a record with the chronos-message-id of an earlier one is taken for a copy, in milliseconds (7 days); 0 never.",
    ),
    key(
        "schedule.max.delay.ms",
        Kind::Long(0, I64),
        "31622400000",
        "How far ahead a record may be held, in milliseconds (366 days).",
    ),
    key(
        "schedule.header.aliases",
        Kind::Text,
        "",
        "Headers of other schedulers that hold a record as well: name:unit, with unit s or ms (epoch), after-s or after-ms; by commas.",
    ),
    dynamic(
        "max.connections.per.ip",
        Kind::Int(0, I32),
        "2147483647",
        "Connections open at once from one address.",
    ),
    dynamic(
        "max.connections.per.ip.overrides",
        Kind::Text,
        "",
        "ADDRESS:COUNT, separated by commas: other bounds for these addresses.",
    ),
    key(
        "queued.max.request.bytes",
        Kind::Long(-1, I64),
        "-1",
        "Bytes of requests being received or answered, of all connections; no more are read meanwhile. -1 none.",
    ),
    key(
        "max.incremental.fetch.session.cache.slots",
        Kind::Int(0, I32),
        "1000",
        "Fetch sessions kept at once (KIP-227).",
    ),
    dynamic(
        "compression.type",
        Kind::OneOf(&CODECS),
        "producer",
        "The codec that batches are kept in; producer keeps what was sent.",
    ),
    dynamic(
        "compression.gzip.level",
        Kind::Int(-1, 9),
        "-1",
        "The level of gzip, where compression.type is gzip.",
    ),
    dynamic(
        "compression.lz4.level",
        Kind::Int(1, 17),
        "9",
        "The level of lz4, where compression.type is lz4.",
    ),
    dynamic(
        "compression.zstd.level",
        Kind::Int(-131_072, 22),
        "3",
        "The level of zstd, where compression.type is zstd.",
    ),
    key(
        "group.initial.rebalance.delay.ms",
        Kind::Int(0, I32),
        "3000",
        "How long the first members of a group are waited for, in milliseconds.",
    ),
    key(
        "group.min.session.timeout.ms",
        Kind::Int(0, I32),
        "6000",
        "The shortest session that a member of a group may ask for, in milliseconds.",
    ),
    key(
        "group.max.session.timeout.ms",
        Kind::Int(0, I32),
        "1800000",
        "The longest session that a member of a group may ask for, in milliseconds.",
    ),
    key(
        "group.max.size",
        Kind::Int(1, I32),
        "2147483647",
        "Members that a group may have.",
    ),
    key(
        "group.consumer.session.timeout.ms",
        Kind::Int(1, I32),
        "45000",
        "A member of a consumer group is gone when it sends no heartbeat for so long, in milliseconds.",
    ),
    key(
        "group.consumer.min.session.timeout.ms",
        Kind::Int(1, I32),
        "45000",
        "The least that group.consumer.session.timeout.ms may be, in milliseconds.",
    ),
    key(
        "group.consumer.max.session.timeout.ms",
        Kind::Int(1, I32),
        "60000",
        "The most that group.consumer.session.timeout.ms may be, in milliseconds.",
    ),
    key(
        "group.consumer.heartbeat.interval.ms",
        Kind::Int(1, I32),
        "5000",
        "How often members of consumer groups send a heartbeat, in milliseconds.",
    ),
    key(
        "group.consumer.min.heartbeat.interval.ms",
        Kind::Int(1, I32),
        "5000",
        "The least that group.consumer.heartbeat.interval.ms may be, in milliseconds.",
    ),
    key(
        "group.consumer.max.heartbeat.interval.ms",
        Kind::Int(1, I32),
        "15000",
        "The most that group.consumer.heartbeat.interval.ms may be, in milliseconds.",
    ),
    key(
        "group.consumer.assignment.interval.ms",
        Kind::Int(0, I32),
        "1000",
        "How long a consumer group waits before it assigns again, in milliseconds.",
    ),
    key(
        "group.consumer.min.assignment.interval.ms",
        Kind::Int(0, I32),
        "0",
        "The least that group.consumer.assignment.interval.ms may be, in milliseconds.",
    ),
    key(
        "group.consumer.max.assignment.interval.ms",
        Kind::Int(0, I32),
        "15000",
        "The most that group.consumer.assignment.interval.ms may be, in milliseconds.",
    ),
    key(
        "group.consumer.regex.refresh.interval.ms",
        Kind::Int(10_000, I32),
        "600000",
        "How often the topics are looked up that regular expressions of consumer groups mean, in milliseconds.",
    ),
    key(
        "group.consumer.max.size",
        Kind::Int(1, I32),
        "2147483647",
        "Members that a consumer group may have.",
    ),
    key(
        "group.consumer.assignors",
        Kind::ListOf(&["uniform", "range"]),
        "uniform,range",
        "Who assigns partitions in consumer groups; the first one where members do not say.",
    ),
    key(
        "group.consumer.migration.policy",
        Kind::Text,
        "bidirectional",
        "Whether groups with members may change their protocol: bidirectional, upgrade, downgrade or disabled.",
    ),
    key(
        "offset.metadata.max.bytes",
        Kind::Int(0, I32),
        "4096",
        "Bytes that a client may keep with a committed offset.",
    ),
    key(
        "offsets.retention.minutes",
        Kind::Int(1, I32),
        "10080",
        "How long offsets of a group are kept that nobody is in, in minutes.",
    ),
    key(
        "offsets.retention.check.interval.ms",
        Kind::Long(1, I64),
        "600000",
        "How often offsets are looked for that were kept long enough, in milliseconds.",
    ),
    key(
        "offsets.topic.num.partitions",
        Kind::Int(1, I32),
        "50",
        "Partitions of the topic that groups are kept in, when it is made.",
    ),
    key(
        "offsets.topic.segment.bytes",
        Kind::Int(1, I32),
        "104857600",
        "Segment size of the topic that groups are kept in, when it is made.",
    ),
    key(
        "transaction.max.timeout.ms",
        Kind::Int(1, I32),
        "900000",
        "The longest time that a transaction may ask to be open for, in milliseconds.",
    ),
    key(
        "transactional.id.expiration.ms",
        Kind::Int(1, I32),
        "604800000",
        "How long a transactional id is kept that nobody uses, in milliseconds.",
    ),
    key(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        Kind::Int(1, I32),
        "3600000",
        "How often transactional ids are looked for that nobody uses, in milliseconds.",
    ),
    dynamic(
        "transaction.partition.verification.enable",
        Kind::Bool,
        "true",
        "Whether a batch of a transaction is refused where its coordinator does not know that the partition takes part.",
    ),
    key(
        "transaction.state.log.num.partitions",
        Kind::Int(1, I32),
        "50",
        "Partitions of the topic that transactions are kept in, when it is made.",
    ),
    key(
        "transaction.state.log.segment.bytes",
        Kind::Int(1, I32),
        "104857600",
        "Segment size of the topic that transactions are kept in, when it is made.",
    ),
    dynamic(
        "log.cleanup.policy",
        Kind::ListOf(&["compact", "delete"]),
        "delete",
        "How old segments go.",
    ),
    dynamic(
        "log.retention.ms",
        Kind::LongOrUnset(-1, I64),
        "",
        "How long records are kept, in milliseconds; -1 for ever; log.retention.minutes, then hours, where unset.",
    ),
    key(
        "log.retention.minutes",
        Kind::LongOrUnset(-1, I32),
        "",
        "How long records are kept, in minutes.",
    ),
    key(
        "log.retention.hours",
        Kind::Int(-1, I32),
        "168",
        "How long records are kept, in hours.",
    ),
    dynamic(
        "log.retention.bytes",
        Kind::Long(-1, I64),
        "-1",
        "A partition's size limit, in bytes; -1 none.",
    ),
    key(
        "log.retention.check.interval.ms",
        Kind::Long(1, I64),
        "300000",
        "Logs are looked through for what may go this often, in milliseconds.",
    ),
    dynamic(
        "log.segment.delete.delay.ms",
        Kind::Long(0, I64),
        "60000",
        "How long a removed file stays on the disk, in milliseconds.",
    ),
    dynamic(
        "log.flush.interval.messages",
        Kind::Long(1, I64),
        "9223372036854775807",
        "A sync after so many messages; the last of them is answered by it.",
    ),
    dynamic(
        "log.flush.interval.ms",
        Kind::LongOrUnset(0, I64),
        "",
        "A sync after so long, in milliseconds.",
    ),
    key(
        "log.cleaner.enable",
        Kind::Bool,
        "true",
        "Whether logs are compacted.",
    ),
    dynamic(
        "log.cleaner.backoff.ms",
        Kind::Long(0, I64),
        "15000",
        "How long the cleaner rests where no log is dirty enough, in milliseconds.",
    ),
    dynamic(
        "log.cleaner.dedupe.buffer.size",
        Kind::Long(0, I64),
        "134217728",
        "Memory that the cleaner may take for keys, in bytes, 21 each.",
    ),
    dynamic(
        "log.cleaner.io.max.bytes.per.second",
        Kind::Double(0.0, f64::MAX),
        "1.7976931348623157E308",
        "What the cleaner reads and writes a second, in bytes.",
    ),
    dynamic(
        "log.cleaner.delete.retention.ms",
        Kind::Long(0, I64),
        "86400000",
        "How long tombstones are kept, in milliseconds.",
    ),
    dynamic(
        "log.cleaner.min.cleanable.ratio",
        Kind::Double(0.0, 1.0),
        "0.5",
        "How dirty a log is before it is compacted.",
    ),
    dynamic(
        "log.cleaner.min.compaction.lag.ms",
        Kind::Long(0, I64),
        "0",
        "A record is compacted after this at the earliest, in milliseconds.",
    ),
    dynamic(
        "log.cleaner.max.compaction.lag.ms",
        Kind::Long(1, I64),
        "9223372036854775807",
        "A record is compacted after this at the latest, in milliseconds.",
    ),
    later(
        "log.index.size.max.bytes",
        Kind::Int(4, I32),
        "10485760",
        "The size of an index, in bytes.",
    ),
    later(
        "log.preallocate",
        Kind::Bool,
        "false",
        "Take a segment's space at once.",
    ),
    later(
        "log.local.retention.bytes",
        Kind::Long(-2, I64),
        "-2",
        "Tiered storage: local bytes kept.",
    ),
    later(
        "log.local.retention.ms",
        Kind::Long(-2, I64),
        "-2",
        "Tiered storage: local time kept.",
    ),
    later(
        "unclean.leader.election.enable",
        Kind::Bool,
        "false",
        "Elect a replica that lacks records.",
    ),
    key(
        "socket.listen.backlog.size",
        Kind::Int(1, I32),
        "50",
        "Connections that wait to be accepted.",
    ),
];
