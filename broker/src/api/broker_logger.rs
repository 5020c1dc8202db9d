//! The levels of this node's loggers, as Kafka's broker loggers (KIP-412): described and changed, kept until the next start.

use super::{auto_create::Refused, config_change::Changes, error_code::Kafka};
use crate::{
    telemetry::{LEVELS, Loggers},
    topic_config::{ConfigEntry, source},
};

/// Every logger with its level.
pub(super) fn describe(loggers: &Loggers) -> Vec<ConfigEntry> {
    let levels = loggers.levels().into_iter();
    levels
        .map(|(name, level, _)| ConfigEntry {
            name: name.to_owned(),
            value: Some(level),
            read_only: false,
            source: source::BROKER_LOGGER,
            sensitive: false,
            synonyms: Vec::new(),
            config_type: 2,
            doc: String::new(),
        })
        .collect()
}

/// Whether the changes name loggers and levels that there are.
pub(super) fn check(changes: &Changes) -> Result<(), Refused> {
    for (name, level) in changes {
        if !Loggers::is_one(name) {
            let why = format!("Logger {name} does not exist!");
            return Err((Kafka::InvalidConfig, why));
        }
        match level {
            Some(level) if !LEVELS.contains(&level.as_str()) => {
                let why = format!(
                    "Cannot set the log level of {name} to {level} as it is not a supported log level. Valid log levels are {}",
                    LEVELS.join(", ")
                );
                return Err((Kafka::InvalidConfig, why));
            }
            None if name == Loggers::ROOT => {
                let why = "Removing the log level of the ROOT logger is not allowed";
                return Err((Kafka::InvalidRequest, why.into()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Takes over what was checked.
pub(super) fn set(loggers: &Loggers, changes: &Changes) -> Result<(), Refused> {
    let set = loggers.set(changes.iter().map(|(k, v)| (k.as_str(), v.as_deref())));
    set.map_err(|why| (Kafka::InvalidConfig, why))
}
