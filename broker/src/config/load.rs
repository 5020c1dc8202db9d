//! From layers of text to one value per key.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use thiserror::Error;

use super::keys::{KEYS, Key};

const ENV_PREFIX: &str = "CHRONOS_";

/// Where a value came from; later ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Nobody said.
    Default,
    /// The TOML file.
    File,
    /// The environment.
    Env,
    /// The command line.
    Flag,
    /// Changed by a client, for all brokers.
    DynamicDefault,
    /// Changed by a client, for this broker.
    DynamicBroker,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Env => "environment",
            Self::Flag => "--set",
            Self::DynamicDefault => "changed for all brokers",
            Self::DynamicBroker => "changed for this broker",
        })
    }
}

/// Why the settings do not hold; the start stops.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// No such key.
    #[error("unknown setting {key} (from {layer}); did you mean {suggestion}?")]
    Unknown {
        /// What was given.
        key: String,
        /// Where.
        layer: Layer,
        /// The nearest key.
        suggestion: &'static str,
    },
    /// A value out of range.
    #[error("{key}={value} (from {layer}): {why}")]
    Invalid {
        /// Which.
        key: String,
        /// What was given.
        value: String,
        /// Where.
        layer: Layer,
        /// What is wrong with it.
        why: String,
    },
    /// Not KEY=VALUE.
    #[error("--set {0}: allowed is KEY=VALUE")]
    Set(String),
    /// The file cannot be read.
    #[error("{path}: {why}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

/// Where the layers are that the node is started with.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// KEY=VALUE texts of the command line.
    pub set: Vec<String>,
}

impl Sources {
    /// Reads them, and the environment of the process.
    pub fn read(&self) -> Result<Loaded, ConfigError> {
        let env: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)))
            .collect();
        load(self.file.as_deref(), &env, &self.set)
    }
}

/// A setting that is another one in what was read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub name: &'static str,
    /// What it was.
    pub before: String,
    /// What was read.
    pub after: String,
    /// It does not change while the node runs.
    pub needs_restart: bool,
    /// A client changed it while the node ran: that counts.
    pub overridden: bool,
}

/// Values of every key, by layer: the last one counts. The first is always [`Layer::Default`].
#[derive(Clone, Debug)]
pub struct Loaded(BTreeMap<&'static str, Vec<(String, Layer)>>);

/// Reads all layers; `env` is the environment, `set` are KEY=VALUE texts.
pub fn load(
    file: Option<&Path>,
    env: &[(String, String)],
    set: &[String],
) -> Result<Loaded, ConfigError> {
    let mut loaded = Loaded(
        KEYS.iter()
            .map(|k| (k.name, vec![(k.default.to_owned(), Layer::Default)]))
            .collect(),
    );
    if let Some(path) = file {
        let unreadable = |why: String| ConfigError::File {
            path: path.to_path_buf(),
            why,
        };
        let text = std::fs::read_to_string(path).map_err(|e| unreadable(e.to_string()))?;
        let table: toml::Table = text
            .parse()
            .map_err(|e: toml::de::Error| unreadable(e.to_string()))?;
        let mut flat = Vec::new();
        flatten("", &table, &mut flat);
        for (key, value) in flat {
            loaded.put(&key, value, Layer::File)?;
        }
    }
    for (name, value) in env {
        if let Some(key) = env_key(name) {
            loaded.put(key.name, value.clone(), Layer::Env)?;
        }
    }
    for text in set {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| ConfigError::Set(text.clone()))?;
        loaded.put(key.trim(), value.trim().to_owned(), Layer::Flag)?;
    }
    Ok(loaded)
}

/// The key of `CHRONOS_NODE_ID`; other variables with that prefix (of tools around us) are nobody's.
fn env_key(name: &str) -> Option<&'static Key> {
    let rest = name.strip_prefix(ENV_PREFIX)?;
    KEYS.iter()
        .find(|key| key.name.replace('.', "_").eq_ignore_ascii_case(rest))
}

/// `a.b = 1`, `"a.b" = 1` and `[a] b = 1` are the same key.
fn flatten(prefix: &str, table: &toml::Table, out: &mut Vec<(String, String)>) {
    for (name, value) in table {
        let key = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, out),
            toml::Value::String(text) => out.push((key, text.clone())),
            other => out.push((key, other.to_string())),
        }
    }
}

impl Loaded {
    fn put(&mut self, name: &str, value: String, layer: Layer) -> Result<(), ConfigError> {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return Err(ConfigError::Unknown {
                key: name.to_owned(),
                layer,
                suggestion: nearest(name),
            });
        };
        if let Some(why) = key.refuse(&value) {
            return Err(ConfigError::Invalid {
                key: name.to_owned(),
                value,
                layer,
                why,
            });
        }
        if let Some(layers) = self.0.get_mut(key.name) {
            layers.retain(|(_, there)| *there != layer);
            layers.push((value, layer));
        }
        Ok(())
    }

    /// A key's value and where it came from.
    pub fn get(&self, key: &str) -> (&str, Layer) {
        let last = self.0.get(key).and_then(|layers| layers.last());
        last.map_or(("", Layer::Default), |(value, layer)| (value, *layer))
    }

    /// All values of a key, the one that counts first.
    pub fn layers(&self, key: &str) -> impl Iterator<Item = (&str, Layer)> {
        let layers = self.0.get(key).map_or(&[][..], Vec::as_slice);
        layers
            .iter()
            .rev()
            .map(|(value, layer)| (value.as_str(), *layer))
    }

    /// The same, with what clients changed while the node runs. What this release does not know or allow any more is left
    /// out: it was checked when it was changed.
    #[must_use]
    pub fn with_dynamic(
        &self,
        all: &BTreeMap<String, String>,
        this: &BTreeMap<String, String>,
    ) -> Self {
        let mut with = self.clone();
        for layers in with.0.values_mut() {
            layers.retain(|(_, layer)| *layer < Layer::DynamicDefault);
        }
        let all = all.iter().map(|change| (change, Layer::DynamicDefault));
        let this = this.iter().map(|change| (change, Layer::DynamicBroker));
        for ((key, value), layer) in all.chain(this) {
            if let Err(error) = with.put(key, value.clone(), layer) {
                tracing::warn!(%error, "a changed setting is not followed");
            }
        }
        with
    }

    /// The same with what was read again, where a setting can be changed while the node runs; and what differs. What clients changed
    /// is not looked at.
    #[must_use]
    pub fn reloaded(&self, fresh: &Self) -> (Self, Vec<Change>) {
        let mut with = self.clone();
        let mut changes = Vec::new();
        for key in KEYS {
            let (before, after) = (self.get(key.name).0, fresh.get(key.name).0);
            if before != after {
                changes.push(Change {
                    name: key.name,
                    before: before.to_owned(),
                    after: after.to_owned(),
                    needs_restart: !key.dynamic,
                    overridden: false,
                });
            }
            if let (true, Some(layers)) = (key.dynamic, fresh.0.get(key.name)) {
                with.0.insert(key.name, layers.clone());
            }
        }
        (with, changes)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str, Layer)> {
        self.0
            .keys()
            .map(|key| (*key, self.get(key).0, self.get(key).1))
    }

    pub(super) fn text(&self, key: &str) -> &str {
        self.get(key).0
    }

    pub(super) fn invalid(&self, key: &str, why: &str) -> ConfigError {
        let (value, layer) = self.get(key);
        ConfigError::Invalid {
            key: key.to_owned(),
            value: value.to_owned(),
            layer,
            why: why.to_owned(),
        }
    }

    pub(super) fn number<T: FromStr>(&self, key: &str) -> Result<T, ConfigError> {
        self.text(key)
            .parse()
            .map_err(|_| self.invalid(key, "Not a number"))
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool, ConfigError> {
        self.text(key)
            .to_ascii_lowercase()
            .parse()
            .map_err(|_| self.invalid(key, "Expected value to be either true or false"))
    }

    pub(super) fn millis(&self, key: &str) -> Result<Duration, ConfigError> {
        self.number(key).map(Duration::from_millis)
    }

    /// A number, or nothing where it is unset.
    pub(super) fn optional(&self, key: &str) -> Result<Option<i64>, ConfigError> {
        if self.text(key).is_empty() {
            return Ok(None);
        }
        self.number(key).map(Some)
    }

    pub(super) fn address(&self, key: &str) -> Result<SocketAddr, ConfigError> {
        self.text(key)
            .parse()
            .map_err(|_| self.invalid(key, "allowed is ADDRESS:PORT"))
    }

    pub(super) fn listener(&self, key: &str) -> Result<SocketAddr, ConfigError> {
        let text = self.text(key);
        let address = text
            .strip_prefix("PLAINTEXT://")
            .unwrap_or(text)
            .replace("localhost", "127.0.0.1");
        address
            .parse()
            .map_err(|_| self.invalid(key, "allowed is PLAINTEXT://ADDRESS:PORT"))
    }

    pub(super) fn advertised(&self) -> Result<Option<(String, u16)>, ConfigError> {
        let key = "advertised.listeners";
        let text = self.text(key);
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = text
            .strip_prefix("PLAINTEXT://")
            .unwrap_or(text)
            .rsplit_once(':');
        let parsed = parsed.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
        match parsed {
            Some((host, port)) if !host.is_empty() => Ok(Some((host, port))),
            _ => Err(self.invalid(key, "allowed is PLAINTEXT://HOST:PORT")),
        }
    }
}

/// The key that takes the fewest edits to get to.
fn nearest(name: &str) -> &'static str {
    KEYS.iter()
        .map(|key| key.name)
        .min_by_key(|key| distance(name, key))
        .unwrap_or("node.id")
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.bytes().zip(row.iter().skip(1)) {
            let cost = diagonal + usize::from(x != y);
            diagonal = *above;
            left = cost.min(left + 1).min(above + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}
