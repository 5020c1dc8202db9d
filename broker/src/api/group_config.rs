//! Settings of a consumer group (resource type 32), which stand over the broker's `group.consumer.…`. Source: Apache Kafka,
//! `GroupConfig`, `GroupConfigManager`.
//!
//! Not done: those of share groups and streams groups, which are not there.

use std::collections::BTreeMap;

use super::{auto_create::Refused, config_change::Changes, error_code::Kafka};
use crate::{
    config::Config,
    group::{ASSIGNMENT_INTERVAL, HEARTBEAT_INTERVAL, SESSION_TIMEOUT},
    topic_config::{ConfigEntry, Synonym, source},
};

/// In the order of their names.
const NAMES: [&str; 3] = [ASSIGNMENT_INTERVAL, HEARTBEAT_INTERVAL, SESSION_TIMEOUT];
const INT: i8 = 3;

/// The broker's setting, its least and its most value: `consumer.x` is `group.consumer.x`.
fn of_broker(name: &str, which: &str) -> String {
    let what = name.strip_prefix("consumer.").unwrap_or(name);
    format!("group.consumer.{which}{what}")
}

/// All settings of a group, with where they come from.
pub(super) fn describe(own: &BTreeMap<String, String>, config: &Config) -> Vec<ConfigEntry> {
    let of_brokers = config.describe();
    let entries = NAMES.iter().filter_map(|name| {
        let broker = of_broker(name, "");
        let mut entry = of_brokers.iter().find(|e| e.name == broker)?.clone();
        (*name).clone_into(&mut entry.name);
        entry.read_only = false;
        entry.config_type = INT;
        if let Some(value) = own.get(*name) {
            let synonym = Synonym {
                name: (*name).to_owned(),
                value: Some(value.clone()),
                source: source::GROUP,
            };
            entry.synonyms.insert(0, synonym);
            entry.value = Some(value.clone());
            entry.source = source::GROUP;
        }
        Some(entry)
    });
    entries.collect()
}

/// Refuses what no group can have.
pub(super) fn check(
    own: &BTreeMap<String, String>,
    changes: &Changes,
    config: &Config,
) -> Result<(), Refused> {
    let invalid = |why: String| Err((Kafka::InvalidConfig, why));
    let mut after = BTreeMap::new();
    let given = changes.iter().map(|(name, value)| (name, value.as_ref()));
    let kept = own.iter().filter(|(name, _)| !changes.contains_key(*name));
    for (name, value) in given.chain(kept.map(|(name, value)| (name, Some(value)))) {
        if !NAMES.contains(&name.as_str()) {
            return invalid(format!("Unknown group config name: {name}"));
        }
        let Some(value) = value else {
            continue;
        };
        let Ok(number) = value.trim().parse::<i32>() else {
            return invalid(format!(
                "Invalid value {value} for configuration {name}: Not a number of type INT"
            ));
        };
        let limit = |which: &str| config.text(&of_broker(name, which)).0.parse::<i32>().ok();
        let words = |how: &str, which: &str| {
            let limit = of_broker(name, which);
            format!("{name} must be {how} than or equal to {limit}")
        };
        if limit("min.").is_some_and(|min| number < min) {
            return invalid(words("greater", "min."));
        }
        if limit("max.").is_some_and(|max| number > max) {
            return invalid(words("less", "max."));
        }
        after.insert(name.as_str(), number);
    }
    let of = |name: &str| {
        let of_broker = || config.text(&of_broker(name, "")).0.parse().unwrap_or(0);
        after.get(name).copied().unwrap_or_else(of_broker)
    };
    if of(SESSION_TIMEOUT) <= of(HEARTBEAT_INTERVAL) {
        return invalid(format!(
            "{SESSION_TIMEOUT} must be greater than {HEARTBEAT_INTERVAL}"
        ));
    }
    Ok(())
}
