//! The node's settings: one table, read once, checked as a whole.
//!
//! Layers, the last wins: defaults, the TOML file, the environment (`CHRONOS_` and the key in capitals with `_` for `.`),
//! `--set key=value`. Names are Kafka's where Kafka has one. An unknown key stops the start.

mod keys;
mod live;
mod load;

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use kafka_compat::record_headers::Alias;

pub use keys::{CODECS, KEYS, Key, Kind};
pub use live::LiveConfig;
pub use load::{Change, ConfigError, Layer, Loaded, Sources, load};

use crate::{
    compaction::CleanerConfig,
    group::{Assignors, ConsumerConfig, GroupConfig, Migration},
    topic_config::{ConfigEntry, Synonym, source},
    transaction::TransactionConfig,
};

/// The node's settings, typed.
#[derive(Clone, Debug)]
pub struct Config {
    /// `grpc.listen`: the admin API.
    pub grpc_listen: SocketAddr,
    /// `log.cleaner.*`
    pub cleaner: CleanerConfig,
    /// `group.*`, `offset.*`, `offsets.*`
    pub groups: GroupConfig,
    /// Of transactions.
    pub transactions: TransactionConfig,
    /// `node.id`
    pub node_id: i32,
    /// `listeners`: where Kafka clients connect.
    pub listen: SocketAddr,
    /// `advertised.listeners`: what clients are told; the bound address where empty.
    pub advertised: Option<(String, u16)>,
    /// `http.listen`: metrics and health.
    pub http_listen: SocketAddr,
    /// `log.dirs`
    pub data_dir: PathBuf,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// `auto.create.topics.enable`
    pub auto_create_topics_enable: bool,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    /// `socket.request.max.bytes`
    pub socket_request_max_bytes: usize,
    /// `max.connections`
    pub max_connections: usize,
    /// `max.connections.per.ip`
    pub max_connections_per_ip: usize,
    /// `max.connections.per.ip.overrides`
    pub max_connections_overrides: HashMap<IpAddr, usize>,
    /// `queued.max.request.bytes`; `None` no bound.
    pub queued_max_request_bytes: Option<usize>,
    /// `socket.listen.backlog.size`
    pub listen_backlog: u32,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_session_slots: usize,
    /// `connections.max.idle.ms`
    pub connections_max_idle: Duration,
    /// `fetch.max.bytes`
    pub fetch_max_bytes: usize,
    /// `max.request.partition.size.limit`
    pub max_request_partition_size_limit: usize,
    /// `log.roll.ms`, else hours
    pub segment_ms: i64,
    /// `log.retention.ms`, else minutes, else hours; -1 for ever
    pub retention_ms: i64,
    /// `log.retention.check.interval.ms`
    pub retention_check_interval: Duration,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration_ms: i64,
    /// `flush.interval.ms`
    pub flush_interval: Duration,
    /// `flush.journal.bytes`
    pub flush_journal_bytes: u64,
    /// `log.flush.offset.checkpoint.interval.ms`
    pub checkpoint_interval: Duration,
    /// `dedup.index.interval.ms`
    pub dedup_index_interval: Duration,
    /// `log.scrub.interval.ms`
    pub scrub_interval: Duration,
    /// `log.scrub.bytes.per.second`
    pub scrub_bytes_per_second: u64,
    /// `schedule.max.delay.ms`
    pub schedule_max_delay_ms: i64,
    /// `schedule.header.aliases`
    pub schedule_header_aliases: Arc<[Alias]>,
    loaded: Loaded,
}

impl Config {
    /// Types and checks what was loaded.
    pub fn new(loaded: Loaded) -> Result<Self, ConfigError> {
        let l = &loaded;
        let listen = l.listener("listeners")?;
        let advertised = l.advertised()?;
        if listen.ip().is_unspecified() && advertised.is_none() {
            return Err(l.invalid(
                "advertised.listeners",
                "allowed is an address that clients can reach, when listeners binds all addresses",
            ));
        }
        let grpc_listen = l.address("grpc.listen")?;
        let anywhere = l.flag("insecure.listen.anywhere")?;
        // Metrics and health are read only.
        for (key, address) in [("listeners", listen), ("grpc.listen", grpc_listen)] {
            if !(address.ip().is_loopback() || anywhere) {
                return Err(l.invalid(key, "allowed is a loopback address: there is no authentication yet (insecure.listen.anywhere=true overrides)"));
            }
        }
        Ok(Self {
            node_id: l.number("node.id")?,
            listen,
            advertised,
            http_listen: l.address("http.listen")?,
            grpc_listen,
            data_dir: l.text("log.dirs").into(),
            num_partitions: l.number("num.partitions")?,
            default_replication_factor: l.number("default.replication.factor")?,
            auto_create_topics_enable: l.flag("auto.create.topics.enable")?,
            delete_topic_enable: l.flag("delete.topic.enable")?,
            socket_request_max_bytes: l.number("socket.request.max.bytes")?,
            max_connections: l.number("max.connections")?,
            max_connections_per_ip: l.number("max.connections.per.ip")?,
            max_connections_overrides: overrides(l)?,
            queued_max_request_bytes: l.number::<i64>("queued.max.request.bytes")?.try_into().ok(),
            listen_backlog: l.number("socket.listen.backlog.size")?,
            fetch_session_slots: l.number("max.incremental.fetch.session.cache.slots")?,
            connections_max_idle: l.millis("connections.max.idle.ms")?,
            fetch_max_bytes: l.number("fetch.max.bytes")?,
            max_request_partition_size_limit: l.number("max.request.partition.size.limit")?,
            segment_ms: match l.optional("log.roll.ms")? {
                Some(ms) => ms,
                None => l.number::<i64>("log.roll.hours")?.saturating_mul(HOUR_MS),
            },
            retention_ms: retention(l)?,
            retention_check_interval: l.millis("log.retention.check.interval.ms")?,
            producer_id_expiration_ms: l.number("producer.id.expiration.ms")?,
            flush_interval: l.millis("flush.interval.ms")?,
            flush_journal_bytes: journal_bytes(l)?,
            dedup_index_interval: l.millis("dedup.index.interval.ms")?,
            checkpoint_interval: l.millis("log.flush.offset.checkpoint.interval.ms")?,
            scrub_interval: l.millis("log.scrub.interval.ms")?,
            scrub_bytes_per_second: l.number("log.scrub.bytes.per.second")?,
            schedule_max_delay_ms: l.number("schedule.max.delay.ms")?,
            schedule_header_aliases: aliases(l)?,
            groups: groups(l)?,
            transactions: transactions(l)?,
            cleaner: cleaner(l)?,
            loaded,
        })
    }

    /// Every setting, its value and where that came from.
    pub fn effective(&self) -> &Loaded {
        &self.loaded
    }

    /// The same, with what clients changed while the node runs.
    pub fn with_dynamic(
        &self,
        all: &std::collections::BTreeMap<String, String>,
        this: &std::collections::BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        Self::new(self.loaded.with_dynamic(all, this))
    }

    /// Whether every setting has the same value.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.loaded.iter().eq(other.loaded.iter())
    }

    /// Every setting, as DescribeConfigs tells it.
    pub fn describe(&self) -> Vec<ConfigEntry> {
        KEYS.iter().map(|key| self.entry(key)).collect()
    }

    fn entry(&self, key: &Key) -> ConfigEntry {
        let shown = |value: &str| {
            let unset = value.is_empty() && !matches!(key.kind, Kind::Text);
            (!unset).then(|| value.to_owned())
        };
        let (value, layer) = self.loaded.get(key.name);
        let synonyms = self.loaded.layers(key.name).filter_map(|(value, layer)| {
            shown(value).map(|value| Synonym {
                name: key.name.to_owned(),
                value: Some(value),
                source: source_of(layer),
            })
        });
        ConfigEntry {
            name: key.name.to_owned(),
            value: shown(value),
            read_only: !key.dynamic,
            source: source_of(layer),
            sensitive: false,
            synonyms: synonyms.collect(),
            config_type: key.kind.kafka_type(),
            doc: key.doc.to_owned(),
        }
    }

    /// The values of a key by layer, the one that counts first, as DescribeConfigs tells them.
    pub fn synonyms(&self, name: &str) -> Vec<Synonym> {
        let key = KEYS.iter().find(|key| key.name == name);
        key.map_or_else(Vec::new, |key| self.entry(key).synonyms)
    }

    /// The value of a key, as text.
    pub fn text(&self, key: &str) -> (&str, Layer) {
        self.loaded.get(key)
    }
}

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

/// Kafka's number for a layer.
fn source_of(layer: Layer) -> i8 {
    match layer {
        Layer::Default => source::DEFAULT,
        Layer::File | Layer::Env | Layer::Flag => source::STATIC_BROKER,
        Layer::DynamicDefault => source::DYNAMIC_DEFAULT_BROKER,
        Layer::DynamicBroker => source::DYNAMIC_BROKER,
    }
}

/// A journal that is smaller than a few rounds would be full all the time.
fn journal_bytes(l: &Loaded) -> Result<u64, ConfigError> {
    const LEAST: u64 = 8 << 20;
    let bytes = l.number("flush.journal.bytes")?;
    if bytes > 0 && bytes < LEAST {
        let allowed = format!("allowed is 0, or {LEAST} and more");
        return Err(l.invalid("flush.journal.bytes", &allowed));
    }
    Ok(bytes)
}

fn cleaner(l: &Loaded) -> Result<CleanerConfig, ConfigError> {
    Ok(CleanerConfig {
        enabled: l.flag("log.cleaner.enable")?,
        backoff: l.millis("log.cleaner.backoff.ms")?,
        dedupe_buffer_bytes: l.number("log.cleaner.dedupe.buffer.size")?,
        bytes_per_second: l.number("log.cleaner.io.max.bytes.per.second")?,
    })
}

fn groups(l: &Loaded) -> Result<GroupConfig, ConfigError> {
    let minutes: i64 = l.number("offsets.retention.minutes")?;
    Ok(GroupConfig {
        initial_rebalance_delay_ms: l.number("group.initial.rebalance.delay.ms")?,
        min_session_timeout_ms: l.number("group.min.session.timeout.ms")?,
        max_session_timeout_ms: l.number("group.max.session.timeout.ms")?,
        max_size: l.number("group.max.size")?,
        metadata_max_length: l.number("offset.metadata.max.bytes")?,
        offsets_retention_ms: minutes.saturating_mul(60_000),
        offsets_check_interval_ms: l.number("offsets.retention.check.interval.ms")?,
        topic_partitions: l.number("offsets.topic.num.partitions")?,
        topic_segment_bytes: l.number("offsets.topic.segment.bytes")?,
        consumer: consumer_groups(l)?,
    })
}

fn consumer_groups(l: &Loaded) -> Result<ConsumerConfig, ConfigError> {
    const PREFIX: &str = "group.consumer";
    // Of the three settings of each interval, the middle one counts.
    let within = |what: &str| -> Result<i32, ConfigError> {
        let key = |least_or_most: &str| format!("{PREFIX}.{least_or_most}{what}");
        let (min, max): (i32, i32) = (l.number(&key("min."))?, l.number(&key("max."))?);
        let value: i32 = l.number(&key(""))?;
        if min > max {
            let why = format!("must be greater than or equal to {}", key("min."));
            return Err(l.invalid(&key("max."), &why));
        }
        if value < min || value > max {
            let why = format!("must be between {} and {}", key("min."), key("max."));
            return Err(l.invalid(&key(""), &why));
        }
        Ok(value)
    };
    let session_timeout_ms = within("session.timeout.ms")?;
    let heartbeat_interval_ms = within("heartbeat.interval.ms")?;
    if heartbeat_interval_ms >= session_timeout_ms {
        let why = "must be less than group.consumer.session.timeout.ms";
        return Err(l.invalid("group.consumer.heartbeat.interval.ms", why));
    }
    let assignors = "group.consumer.assignors";
    let migration = "group.consumer.migration.policy";
    Ok(ConsumerConfig {
        session_timeout_ms,
        heartbeat_interval_ms,
        assignment_interval_ms: within("assignment.interval.ms")?.into(),
        regex_refresh_interval_ms: l.number("group.consumer.regex.refresh.interval.ms")?,
        max_size: l.number("group.consumer.max.size")?,
        assignors: Assignors::parse(l.text(assignors))
            .ok_or_else(|| l.invalid(assignors, "allowed are uniform and range"))?,
        migration: Migration::find(l.text(migration)).ok_or_else(|| {
            l.invalid(
                migration,
                "allowed are bidirectional, upgrade, downgrade, disabled",
            )
        })?,
    })
}

fn transactions(l: &Loaded) -> Result<TransactionConfig, ConfigError> {
    Ok(TransactionConfig {
        max_timeout_ms: l.number("transaction.max.timeout.ms")?,
        id_expiration_ms: l.number("transactional.id.expiration.ms")?,
        id_check_interval_ms: l
            .number("transaction.remove.expired.transaction.cleanup.interval.ms")?,
        verifies: l.flag("transaction.partition.verification.enable")?,
        topic_partitions: l.number("transaction.state.log.num.partitions")?,
        topic_segment_bytes: l.number("transaction.state.log.segment.bytes")?,
    })
}

fn retention(l: &Loaded) -> Result<i64, ConfigError> {
    let in_ms = |n: i64, unit: i64| if n < 0 { -1 } else { n.saturating_mul(unit) };
    if let Some(ms) = l.optional("log.retention.ms")? {
        return Ok(ms);
    }
    if let Some(minutes) = l.optional("log.retention.minutes")? {
        return Ok(in_ms(minutes, MINUTE_MS));
    }
    Ok(in_ms(l.number("log.retention.hours")?, HOUR_MS))
}

fn aliases(l: &Loaded) -> Result<Arc<[Alias]>, ConfigError> {
    let key = "schedule.header.aliases";
    let list = Alias::list(l.text(key)).map_err(|why| l.invalid(key, &why))?;
    Ok(list.into())
}

fn overrides(l: &Loaded) -> Result<HashMap<IpAddr, usize>, ConfigError> {
    let key = "max.connections.per.ip.overrides";
    let pairs = l
        .text(key)
        .split(',')
        .filter(|pair| !pair.trim().is_empty());
    pairs
        .map(|pair| {
            let parsed = pair.trim().rsplit_once(':');
            parsed
                .and_then(|(ip, count)| Some((ip.parse().ok()?, count.parse().ok()?)))
                .ok_or_else(|| l.invalid(key, "allowed is ADDRESS:COUNT, separated by commas"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(set: &[&str]) -> Result<Config, String> {
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        load(None, &[], &set)
            .and_then(Config::new)
            .map_err(|e| e.to_string())
    }

    #[test]
    fn the_defaults_are_kafkas_and_valid() {
        let c = config(&[]).unwrap();
        assert_eq!((c.retention_ms, c.segment_ms), (604_800_000, 604_800_000));
        assert_eq!(c.listen.to_string(), "127.0.0.1:9092");
        assert_eq!(c.describe().len(), KEYS.len());
    }

    #[test]
    fn an_unusual_value_of_each_number_is_seen() {
        let c = config(&[
            "node.id=7",
            "num.partitions=9",
            "max.connections.per.ip.overrides=127.0.0.2:5,127.0.0.3:6",
            "log.retention.minutes=2",
            "log.roll.ms=8",
            "flush.interval.ms=12",
            "schedule.max.delay.ms=5",
            "auto.create.topics.enable=false",
        ])
        .unwrap();
        assert_eq!((c.node_id, c.num_partitions), (7, 9));
        assert_eq!(c.flush_interval, Duration::from_millis(12));
        assert_eq!(
            (c.schedule_max_delay_ms, c.segment_ms, c.retention_ms),
            (5, 8, 120_000)
        );
        assert_eq!(
            c.max_connections_overrides[&"127.0.0.3".parse().unwrap()],
            6
        );
        assert!(!c.auto_create_topics_enable);
    }

    #[test]
    fn a_bad_setting_is_named_with_its_value_and_range() {
        let cases = [
            (
                "log.segment.byte=5",
                "unknown setting log.segment.byte (from --set); did you mean log.segment.bytes?",
            ),
            (
                "num.partitions=0",
                "num.partitions=0 (from --set): Value must be at least 1",
            ),
            (
                "num.partitions=x",
                "num.partitions=x (from --set): Not a number of type INT",
            ),
            (
                "flush.policy=never",
                "flush.policy=never (from --set): String must be one of: ack, interval, os",
            ),
            (
                "auto.create.topics.enable=yes",
                "auto.create.topics.enable=yes (from --set): Expected value to be either true or false",
            ),
            (
                "listeners=PLAINTEXT://8.8.8.8:1",
                "listeners=PLAINTEXT://8.8.8.8:1 (from --set): allowed is a loopback address",
            ),
            (
                "listeners=x",
                "listeners=x (from --set): allowed is PLAINTEXT://ADDRESS:PORT",
            ),
            ("nonsense", "--set nonsense: allowed is KEY=VALUE"),
        ];
        for (set, expected) in cases {
            let error = config(&[set]).unwrap_err();
            assert!(error.starts_with(expected), "{set}: {error}");
        }
    }

    #[test]
    fn what_clients_change_counts_before_the_rest_and_is_shown_by_layer() {
        let start = config(&["message.max.bytes=5"]).unwrap();
        let map = |value: &str| [("message.max.bytes".to_owned(), value.to_owned())].into();
        let changed = start.with_dynamic(&map("6"), &map("7")).unwrap();
        assert_eq!(
            changed.text("message.max.bytes"),
            ("7", Layer::DynamicBroker)
        );
        let sources = |c: &Config| {
            c.synonyms("message.max.bytes")
                .iter()
                .map(|s| s.source)
                .collect::<Vec<_>>()
        };
        assert_eq!(sources(&changed), [2, 3, 4, 5]);
        let back = changed.with_dynamic(&map("6"), &[].into()).unwrap();
        assert_eq!(back.text("message.max.bytes"), ("6", Layer::DynamicDefault));
    }

    #[test]
    fn later_layers_win() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("c.toml");
        std::fs::write(
            &file,
            "num.partitions = 2\n\"node.id\" = 3\n[message]\nmax.bytes = 44\n",
        )
        .unwrap();
        let env = [("CHRONOS_NUM_PARTITIONS".to_owned(), "5".to_owned())];
        let c = Config::new(load(Some(&file), &env, &["node.id=8".into()]).unwrap()).unwrap();
        assert_eq!((c.num_partitions, c.node_id), (5, 8));
        assert_eq!(c.text("message.max.bytes"), ("44", Layer::File));
        std::fs::write(&file, "nope = 1").unwrap();
        assert!(
            load(Some(&file), &[], &[])
                .unwrap_err()
                .to_string()
                .contains("unknown setting nope")
        );
    }
}
