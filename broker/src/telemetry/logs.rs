//! Log lines on standard error, and the levels of the parts that write them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{task::AbortHandle, time::Instant};
use tracing_subscriber::{
    EnvFilter, Registry, layer::SubscriberExt, reload, util::SubscriberInitExt,
};

use super::recent_lines::RecentLines;

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
    levels: Mutex<BTreeMap<&'static str, Level>>,
    filter: reload::Handle<EnvFilter, Registry>,
    /// Waits for the first level that goes back.
    expiring: Mutex<Option<AbortHandle>>,
    recent: RecentLines,
}

/// A level, and until when.
#[derive(Clone, Debug)]
struct Level {
    name: String,
    /// When it goes back, and to what.
    until: Option<(Instant, String)>,
}

impl Level {
    fn of(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            until: None,
        }
    }
}

impl Loggers {
    /// The logger of everything that has none of its own.
    pub const ROOT: &str = "root";

    /// Starts log lines on standard error, from the levels on that `RUST_LOG` says. Of parts that are none of ours, it is asked as
    /// long as no level was changed.
    pub fn start(json: bool) -> Self {
        let said = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
        let levels = said_by(&said);
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| filter(&levels));
        let (filter, handle) = reload::Layer::new(filter);
        let recent = RecentLines::default();
        let lines = tracing_subscriber::fmt::layer().with_writer(recent.clone());
        let registry = tracing_subscriber::registry().with(filter);
        if json {
            registry.with(lines.json()).init();
        } else {
            registry.with(lines.with_ansi(false)).init();
        }
        Self(Arc::new(Inner {
            levels: Mutex::new(levels),
            filter: handle,
            expiring: Mutex::default(),
            recent,
        }))
    }

    /// The last lines that were written.
    pub fn recent_lines(&self) -> Vec<u8> {
        self.0.recent.text()
    }

    /// Whether there is a logger of that name.
    pub fn is_one(name: &str) -> bool {
        LOGGERS.iter().any(|(known, _)| *known == name)
    }

    /// Every logger with its level, by name, and how long it is to stay so where it goes back.
    pub fn levels(&self) -> Vec<(&'static str, String, Option<Duration>)> {
        let now = Instant::now();
        let levels = self.0.levels.lock();
        let told = levels.iter().map(|(name, level)| {
            let until = level.until.as_ref();
            let left = until.map(|(at, _)| at.saturating_duration_since(now));
            (*name, level.name.clone(), left)
        });
        told.collect()
    }

    /// Changes a level for a while; `None` is the default. What was checked and changed before counts again then, unless somebody
    /// changes it meanwhile.
    ///
    /// # Errors
    /// The reason, where the lines cannot be filtered so.
    pub fn set_for(&self, name: &str, level: Option<&str>, stays: Duration) -> Result<(), String> {
        let at = Instant::now() + stays;
        {
            let mut levels = self.0.levels.lock();
            let before = levels.get(name).map(|level| match &level.until {
                Some((_, before)) => before.clone(),
                None => level.name.clone(),
            });
            change(&mut levels, name, level);
            if let (Some(level), Some(before)) = (levels.get_mut(name), before) {
                level.until = Some((at, before));
            }
            self.filter(&levels)?;
        }
        self.wait_for_expiry();
        Ok(())
    }

    /// One task waits, for the first of all.
    fn wait_for_expiry(&self) {
        let first = {
            let levels = self.0.levels.lock();
            let ends = levels.values().filter_map(|level| level.until.as_ref());
            ends.map(|(at, _)| *at).min()
        };
        let loggers = self.clone();
        let task = first.map(|at| {
            tokio::spawn(async move {
                tokio::time::sleep_until(at).await;
                loggers.expire();
                loggers.wait_for_expiry();
            })
        });
        let before = std::mem::replace(
            &mut *self.0.expiring.lock(),
            task.map(|task| task.abort_handle()),
        );
        if let Some(before) = before {
            before.abort();
        }
    }

    /// Levels whose time is over go back.
    fn expire(&self) {
        let now = Instant::now();
        let mut levels = self.0.levels.lock();
        for level in levels.values_mut() {
            if let Some((_, before)) = level.until.take_if(|(at, _)| *at <= now) {
                level.name = before;
            }
        }
        if let Err(error) = self.filter(&levels) {
            tracing::error!(error, "levels of log lines could not go back");
        }
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
            change(&mut levels, name, level);
        }
        self.filter(&levels)
    }

    fn filter(&self, levels: &BTreeMap<&'static str, Level>) -> Result<(), String> {
        let reloaded = self.0.filter.reload(filter(levels));
        reloaded.map_err(|e| e.to_string())
    }
}

fn change(levels: &mut BTreeMap<&'static str, Level>, name: &str, level: Option<&str>) {
    if let Some((known, default)) = LOGGERS.iter().find(|(known, _)| *known == name) {
        levels.insert(known, Level::of(level.unwrap_or(default)));
    }
}

/// The levels that `RUST_LOG` says, as far as they are those of our parts.
fn said_by(text: &str) -> BTreeMap<&'static str, Level> {
    let mut levels = defaults();
    for directive in text.split(',').map(str::trim) {
        let (part, level) = directive
            .split_once('=')
            .unwrap_or((Loggers::ROOT, directive));
        let level = level.to_ascii_uppercase();
        if !LEVELS.contains(&level.as_str()) {
            continue;
        }
        if part == Loggers::ROOT {
            // Whoever is not named has it.
            let all = levels.values_mut();
            all.for_each(|known| known.name.clone_from(&level));
        } else if let Some(known) = levels.get_mut(part) {
            known.name = level;
        }
    }
    levels
}

fn defaults() -> BTreeMap<&'static str, Level> {
    let levels = LOGGERS.iter();
    levels
        .map(|(name, level)| (*name, Level::of(level)))
        .collect()
}

fn filter(levels: &BTreeMap<&'static str, Level>) -> EnvFilter {
    let directives = levels.iter().map(|(name, Level { name: level, .. })| {
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
    fn levels_are_those_that_the_environment_says() {
        let levels = said_by("warn, storage=trace,hyper=debug,broker=loud");
        let told: Vec<_> = levels.iter().map(|(n, l)| (*n, l.name.as_str())).collect();
        assert!(told.contains(&("root", "WARN")) && told.contains(&("storage", "TRACE")));
        assert!(told.contains(&("broker", "WARN")), "{told:?}");
        let none = said_by("");
        assert_eq!(none.get("openraft").unwrap().name, "WARN");
        assert_eq!(none.get("broker").unwrap().name, "INFO");
    }

    #[test]
    fn levels_become_a_filter() {
        let mut levels = defaults();
        levels.insert("storage", Level::of("FATAL"));
        let text = filter(&levels).to_string();
        for directive in ["storage=error", "openraft=warn", "broker=info"] {
            assert!(text.contains(directive), "{text}");
        }
    }
}
