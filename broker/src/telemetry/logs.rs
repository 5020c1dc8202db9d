//! Log lines on standard error, and the levels of the parts that write them.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

/// Kafka's names of levels.
pub const LEVELS: [&str; 6] = ["FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"];

/// What writes log lines, with the level it has when nobody says.
const LOGGERS: [(&str, &str); 6] = [
    (Loggers::ROOT, "INFO"),
    ("broker", "INFO"),
    ("kafka_compat", "INFO"),
    ("openraft", "WARN"),
    ("scheduler", "INFO"),
    ("storage", "INFO"),
];

/// The levels; cheap to clone.
#[derive(Clone, Debug)]
pub struct Loggers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    levels: Mutex<BTreeMap<&'static str, String>>,
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Loggers {
    /// The logger of everything that has none of its own.
    pub const ROOT: &str = "root";

    /// Starts log lines on standard error; `RUST_LOG` filters until a level is changed.
    pub fn start(json: bool) -> Self {
        let levels = defaults();
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| filter(&levels));
        let (filter, handle) = reload::Layer::new(filter);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let registry = tracing_subscriber::registry().with(filter);
        if json {
            registry.with(lines.json()).init();
        } else {
            registry.with(lines.with_ansi(false)).init();
        }
        Self(Arc::new(Inner {
            levels: Mutex::new(levels),
            filter: handle,
        }))
    }

    /// Whether there is a logger of that name.
    pub fn is_one(name: &str) -> bool {
        LOGGERS.iter().any(|(known, _)| *known == name)
    }

    /// Every logger with its level, by name.
    pub fn levels(&self) -> Vec<(String, String)> {
        let levels = self.0.levels.lock();
        levels
            .iter()
            .map(|(name, level)| ((*name).to_owned(), level.clone()))
            .collect()
    }

    /// Changes levels; `None` goes back to the default. Names and levels were checked.
    ///
    /// # Errors
    /// The reason, where the lines cannot be filtered so.
    pub fn set<'a>(
        &self,
        changes: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<(), String> {
        let mut levels = self.0.levels.lock();
        for (name, level) in changes {
            let Some((known, default)) = LOGGERS.iter().find(|(known, _)| *known == name) else {
                continue;
            };
            levels.insert(known, level.unwrap_or(default).to_owned());
        }
        self.0
            .filter
            .reload(filter(&levels))
            .map_err(|e| e.to_string())
    }
}

fn defaults() -> BTreeMap<&'static str, String> {
    let levels = LOGGERS.iter();
    levels
        .map(|(name, level)| (*name, (*level).to_owned()))
        .collect()
}

fn filter(levels: &BTreeMap<&'static str, String>) -> EnvFilter {
    let directives = levels.iter().map(|(name, level)| {
        // Nothing here ends the process by logging: what is fatal is an error.
        let level = if level == "FATAL" { "error" } else { level };
        if *name == Loggers::ROOT {
            level.to_lowercase()
        } else {
            format!("{name}={}", level.to_lowercase())
        }
    });
    EnvFilter::new(directives.collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_become_a_filter() {
        let mut levels = defaults();
        levels.insert("storage", "FATAL".into());
        let text = filter(&levels).to_string();
        for directive in ["storage=error", "openraft=warn", "broker=info"] {
            assert!(text.contains(directive), "{text}");
        }
    }
}
