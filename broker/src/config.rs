//! The node's settings: one table, read once, checked as a whole.
//!
//! Layers, the last wins: defaults, the TOML file, the environment (`CHRONOS_` and the key in capitals with `_` for `.`),
//! `--set key=value`. Names are Kafka's where Kafka has one. An unknown key stops the start.

mod keys;
mod load;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use storage::log::FlushPolicy;

pub use keys::{KEYS, Key, Kind};
pub use load::{ConfigError, Layer, Loaded, load};

use crate::topic_config::ConfigEntry;

/// The node's settings, typed.
#[derive(Clone, Debug)]
pub struct Config {
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
    /// `connections.max.idle.ms`
    pub connections_max_idle: Duration,
    /// `fetch.max.bytes`
    pub fetch_max_bytes: usize,
    /// `max.request.partition.size.limit`
    pub max_request_partition_size_limit: usize,
    /// `message.max.bytes`
    pub message_max_bytes: usize,
    /// `log.segment.bytes`
    pub segment_bytes: u32,
    /// `log.roll.ms`
    pub segment_ms: i64,
    /// `log.index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `log.message.timestamp.type` is LogAppendTime.
    pub log_append_time: bool,
    /// `log.message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `log.message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `min.insync.replicas`
    pub min_insync_replicas: i32,
    /// `producer.id.expiration.ms`
    pub producer_id_expiration_ms: i64,
    /// `flush.policy` and `flush.interval.ms`
    pub flush_policy: FlushPolicy,
    /// `log.flush.offset.checkpoint.interval.ms`
    pub checkpoint_interval: Duration,
    /// `schedule.max.delay.ms`
    pub schedule_max_delay_ms: i64,
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
                "an address that clients can reach, when listeners binds all addresses",
            ));
        }
        if !listen.ip().is_loopback() && !l.flag("insecure.listen.anywhere")? {
            return Err(l.invalid("listeners", "a loopback address: there is no authentication yet (insecure.listen.anywhere=true overrides)"));
        }
        let flush_policy = match l.text("flush.policy") {
            "ack" => FlushPolicy::Ack,
            "interval" => FlushPolicy::Interval(l.millis("flush.interval.ms")?),
            _ => FlushPolicy::Os,
        };
        Ok(Self {
            node_id: l.number("node.id")?,
            listen,
            advertised,
            http_listen: l.address("http.listen")?,
            data_dir: l.text("log.dirs").into(),
            num_partitions: l.number("num.partitions")?,
            default_replication_factor: l.number("default.replication.factor")?,
            auto_create_topics_enable: l.flag("auto.create.topics.enable")?,
            delete_topic_enable: l.flag("delete.topic.enable")?,
            socket_request_max_bytes: l.number("socket.request.max.bytes")?,
            max_connections: l.number("max.connections")?,
            connections_max_idle: l.millis("connections.max.idle.ms")?,
            fetch_max_bytes: l.number("fetch.max.bytes")?,
            max_request_partition_size_limit: l.number("max.request.partition.size.limit")?,
            message_max_bytes: l.number("message.max.bytes")?,
            segment_bytes: l.number("log.segment.bytes")?,
            segment_ms: l.number("log.roll.ms")?,
            index_interval_bytes: l.number("log.index.interval.bytes")?,
            log_append_time: l.text("log.message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: l.number("log.message.timestamp.before.max.ms")?,
            timestamp_after_max_ms: l.number("log.message.timestamp.after.max.ms")?,
            min_insync_replicas: l.number("min.insync.replicas")?,
            producer_id_expiration_ms: l.number("producer.id.expiration.ms")?,
            flush_policy,
            checkpoint_interval: l.millis("log.flush.offset.checkpoint.interval.ms")?,
            schedule_max_delay_ms: l.number("schedule.max.delay.ms")?,
            loaded,
        })
    }

    /// Every setting, its value and where that came from.
    pub fn effective(&self) -> &Loaded {
        &self.loaded
    }

    /// Every setting, as DescribeConfigs tells it.
    pub fn describe(&self) -> Vec<ConfigEntry> {
        KEYS.iter()
            .map(|key| {
                let (value, layer) = self.loaded.get(key.name);
                ConfigEntry {
                    name: key.name.to_owned(),
                    value: Some(value.to_owned()),
                    read_only: true,
                    source: if layer == Layer::Default { 5 } else { 4 },
                    sensitive: false,
                    synonyms: Vec::new(),
                    config_type: key.kind.kafka_type(),
                    doc: key.doc.to_owned(),
                }
            })
            .collect()
    }

    /// The value of a key, as text.
    pub fn text(&self, key: &str) -> (&str, Layer) {
        self.loaded.get(key)
    }
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
        assert_eq!((c.message_max_bytes, c.segment_bytes), (1_048_588, 1 << 30));
        assert_eq!(c.flush_policy, FlushPolicy::Ack);
        assert_eq!(c.listen.to_string(), "127.0.0.1:9092");
        assert_eq!(c.describe().len(), KEYS.len());
    }

    #[test]
    fn an_unusual_value_of_each_number_is_seen() {
        let c = config(&[
            "node.id=7",
            "num.partitions=9",
            "message.max.bytes=77",
            "log.segment.bytes=1048577",
            "flush.policy=interval",
            "flush.interval.ms=12",
            "schedule.max.delay.ms=5",
            "log.message.timestamp.type=LogAppendTime",
            "auto.create.topics.enable=false",
        ])
        .unwrap();
        assert_eq!(
            (c.node_id, c.num_partitions, c.message_max_bytes),
            (7, 9, 77)
        );
        assert_eq!(
            c.flush_policy,
            FlushPolicy::Interval(Duration::from_millis(12))
        );
        assert_eq!((c.schedule_max_delay_ms, c.segment_bytes), (5, 1_048_577));
        assert!(c.log_append_time && !c.auto_create_topics_enable);
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
                "num.partitions=0 (from --set): allowed is 1 to 10000",
            ),
            (
                "num.partitions=x",
                "num.partitions=x (from --set): allowed is 1 to 10000",
            ),
            (
                "flush.policy=never",
                "flush.policy=never (from --set): allowed is ack, interval, os",
            ),
            (
                "auto.create.topics.enable=yes",
                "auto.create.topics.enable=yes (from --set): allowed is true, false",
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
        assert_eq!(
            (c.num_partitions, c.node_id, c.message_max_bytes),
            (5, 8, 44)
        );
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
