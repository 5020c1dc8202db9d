//! Settings of a topic: Kafka's names, defaults from the broker's settings, and what this release acts on.
//!
//! A setting that would change what happens to data, but that nothing acts on yet, is refused: silence would be a promise.

mod keys;
mod resolve;

use std::collections::BTreeMap;

pub use resolve::TopicConfig;

use self::keys::{Fallback, Key, TOPIC_KEYS};
use crate::config::{Config, Kind};

/// Kafka's numbers for where a value came from.
pub mod source {
    /// The topic's own.
    pub const TOPIC: i8 = 1;
    /// Changed by a client, for one broker.
    pub const DYNAMIC_BROKER: i8 = 2;
    /// Changed by a client, for all brokers.
    pub const DYNAMIC_DEFAULT_BROKER: i8 = 3;
    /// The broker's file, environment or command line.
    pub const STATIC_BROKER: i8 = 4;
    /// Nobody said.
    pub const DEFAULT: i8 = 5;
    /// The level of a logger.
    pub const BROKER_LOGGER: i8 = 6;
    /// The group's own.
    pub const GROUP: i8 = 8;
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

/// Why a setting cannot be given, in Kafka's words where it has some.
pub fn validate(name: &str, value: &str) -> Result<(), String> {
    // As Kafka parses it; what is shown is what was given.
    let value = value.trim();
    let key = find(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
    if let Some(why) = key.kind.refuse(value) {
        return Err(format!(
            "Invalid value {value} for configuration {name}: {why}"
        ));
    }
    if let Some(default) = key.fixed.then(|| key.built_in()).filter(|d| value != *d) {
        return Err(format!(
            "Configuration {name} is known, but only {default} is supported yet"
        ));
    }
    Ok(())
}

/// The value of a setting that is a list; `None` for any other.
pub fn list_value(name: &str, own: &BTreeMap<String, String>, broker: &Config) -> Option<String> {
    let key = find(name)?;
    matches!(key.kind, Kind::ListOf(_)).then(|| value(name, own, broker))
}

/// Every setting of a topic.
pub fn describe(own: &BTreeMap<String, String>, broker: &Config) -> Vec<ConfigEntry> {
    TOPIC_KEYS
        .iter()
        .map(|key| key.entry(own, broker))
        .collect()
}

/// A row of the table, for people.
#[derive(Clone, Debug)]
pub struct TableRow {
    /// The setting.
    pub name: &'static str,
    /// What it may be.
    pub kind: Kind,
    /// What it is when the topic does not say.
    pub default: String,
    /// What it does.
    pub doc: &'static str,
    /// Nothing acts on another value yet: it is refused.
    pub fixed: bool,
}

/// The table of all settings, by name.
pub fn table() -> impl Iterator<Item = TableRow> {
    TOPIC_KEYS.iter().map(|key| TableRow {
        name: key.name,
        kind: key.kind,
        default: match key.default {
            Fallback::Value("") => "none".into(),
            Fallback::Value(value) => format!("`{value}`"),
            Fallback::Broker(name) | Fallback::BrokerOr(name, _) => {
                format!("the node's [`{name}`](configuration.md)")
            }
        },
        doc: key.doc,
        fixed: key.fixed,
    })
}

/// The value of a setting as it counts; empty for a setting that is not one.
fn value(name: &str, own: &BTreeMap<String, String>, broker: &Config) -> String {
    own.get(name).cloned().unwrap_or_else(|| {
        let key = find(name);
        key.map_or_else(String::new, |key| key.default_of(broker))
    })
}

fn find(name: &str) -> Option<&'static Key> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

impl Key {
    fn default_of(&self, broker: &Config) -> String {
        match self.default {
            Fallback::Value(value) => value.to_owned(),
            Fallback::Broker(name) => broker.text(name).0.to_owned(),
            Fallback::BrokerOr(name, or) => match broker.text(name).0 {
                "" => or(broker),
                value => value.to_owned(),
            },
        }
    }

    /// The default of a broker that was told nothing.
    fn built_in(&self) -> &'static str {
        match self.default {
            Fallback::Value(value) => value,
            Fallback::Broker(name) | Fallback::BrokerOr(name, _) => {
                let keys = crate::config::KEYS.iter();
                keys.filter(|key| key.name == name)
                    .map(|key| key.default)
                    .next()
                    .unwrap_or("")
            }
        }
    }

    fn entry(&self, own: &BTreeMap<String, String>, broker: &Config) -> ConfigEntry {
        let mine = own.get(self.name);
        let mut synonyms: Vec<Synonym> = mine
            .map(|value| Synonym {
                name: self.name.to_owned(),
                value: Some(value.clone()),
                source: source::TOPIC,
            })
            .into_iter()
            .collect();
        if let Fallback::Broker(name) | Fallback::BrokerOr(name, _) = self.default {
            synonyms.extend(broker.synonyms(name));
        }
        let source = synonyms.first().map_or(source::DEFAULT, |s| s.source);
        ConfigEntry {
            name: self.name.to_owned(),
            value: Some(value(self.name, own, broker)),
            read_only: false,
            source,
            sensitive: false,
            synonyms,
            config_type: self.kind.kafka_type(),
            doc: self.doc.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use storage::log::FlushPolicy;

    fn broker(set: &[&str]) -> Config {
        let set: Vec<String> = set.iter().map(|s| (*s).to_owned()).collect();
        Config::new(config::load(None, &[], &set).unwrap()).unwrap()
    }

    #[test]
    fn every_default_is_allowed_and_every_key_described() {
        let broker = broker(&[]);
        for entry in describe(&BTreeMap::new(), &broker) {
            assert_eq!(
                validate(&entry.name, &entry.value.unwrap()),
                Ok(()),
                "{}",
                entry.name
            );
            assert_eq!(entry.source, source::DEFAULT);
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
            [
                ("max.message.bytes", 1),
                ("message.max.bytes", 4),
                ("message.max.bytes", 5)
            ]
        );
    }

    #[test]
    fn what_nothing_acts_on_yet_is_refused_not_ignored() {
        assert_eq!(validate("cleanup.policy", "compact,delete"), Ok(()));
        assert!(
            validate("nope", "1")
                .unwrap_err()
                .contains("Unknown topic config name")
        );
        assert!(validate("segment.bytes", "x").is_err());
    }
}
