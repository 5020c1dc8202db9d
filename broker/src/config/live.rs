//! The settings as they are now: some change while the node runs, by what the metadata says, and by what the file says when it is read
//! again.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use super::{Change, Config, ConfigError, Layer, Sources};

/// What clients changed, by the node's id; "" for all.
type Changed = BTreeMap<String, BTreeMap<String, String>>;

/// The settings as they are now; cheap to clone. Whoever reads takes one copy for one task.
#[derive(Clone, Debug)]
pub struct LiveConfig(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    sources: Sources,
    /// What there is without what clients changed, and that.
    parts: Mutex<(Arc<Config>, Changed)>,
    now: RwLock<Arc<Config>>,
    reloads: watch::Sender<u64>,
}

impl LiveConfig {
    /// Nothing was changed yet, and nothing can be read again.
    pub fn new(config: Config) -> Self {
        Self::of(config, Sources::default())
    }

    /// Nothing was changed yet; it was read from there.
    pub fn of(config: Config, sources: Sources) -> Self {
        let start = Arc::new(config);
        Self(Arc::new(Inner {
            sources,
            parts: Mutex::new((Arc::clone(&start), Changed::new())),
            now: RwLock::new(start),
            reloads: watch::Sender::new(0),
        }))
    }

    /// The settings now.
    pub fn get(&self) -> Arc<Config> {
        Arc::clone(&self.0.now.read())
    }

    /// Where they were read from.
    pub fn sources(&self) -> &Sources {
        &self.0.sources
    }

    /// Hears that they were read again.
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.0.reloads.subscribe()
    }

    /// Takes over what clients changed, for all brokers and for this one.
    pub fn follow(&self, changed: &Changed) {
        let mut parts = self.0.parts.lock();
        if parts.1 != *changed {
            parts.1.clone_from(changed);
            match with_changed(&parts.0, changed) {
                Ok(config) => *self.0.now.write() = Arc::new(config),
                Err(error) => tracing::error!(%error, "changed settings are not followed"),
            }
        }
    }

    /// Reads them again, and takes over what can be changed while the node runs, unless it is a `dry_run`. Blocks on the disk.
    ///
    /// # Errors
    /// [`ConfigError`]: something that was read does not hold. Nothing changed.
    pub fn reload(&self, dry_run: bool) -> Result<Vec<Change>, ConfigError> {
        let mut parts = self.0.parts.lock();
        let fresh = self.0.sources.read()?;
        // As a whole: what would not let a node start is not followed in part.
        Config::new(fresh.clone())?;
        let (with, mut changes) = parts.0.effective().reloaded(&fresh);
        let start = Config::new(with)?;
        let now = with_changed(&start, &parts.1)?;
        for change in &mut changes {
            let layer = now.effective().get(change.name).1;
            change.overridden = layer >= Layer::DynamicDefault;
        }
        if dry_run {
            return Ok(changes);
        }
        parts.0 = Arc::new(start);
        *self.0.now.write() = Arc::new(now);
        drop(parts);
        self.0.reloads.send_modify(|count| *count += 1);
        for change in &changes {
            let Change {
                name,
                before,
                after,
                needs_restart,
                overridden,
            } = change;
            tracing::info!(
                name,
                before,
                after,
                needs_restart,
                overridden,
                "a setting was read again"
            );
        }
        Ok(changes)
    }
}

fn with_changed(start: &Config, changed: &Changed) -> Result<Config, ConfigError> {
    let none = BTreeMap::new();
    let all = changed.get("").unwrap_or(&none);
    let this = changed.get(&start.node_id.to_string()).unwrap_or(&none);
    start.with_dynamic(all, this)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(file: &std::path::Path) -> LiveConfig {
        let sources = Sources {
            file: Some(file.to_path_buf()),
            set: vec!["node.id=3".into()],
        };
        LiveConfig::of(Config::new(sources.read().unwrap()).unwrap(), sources)
    }

    #[test]
    fn what_can_change_is_taken_over_and_the_rest_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "log.retention.ms = 1000\n").unwrap();
        let live = live(&file);
        assert_eq!(live.get().retention_ms, 1_000);
        let text = "log.retention.ms = 2000\n\"http.listen\" = \"127.0.0.1:1\"\n";
        std::fs::write(&file, text).unwrap();
        let would = live.reload(true).unwrap();
        assert_eq!(live.get().retention_ms, 1_000, "a dry run");
        let did = live.reload(false).unwrap();
        assert_eq!(would, did);
        let told: Vec<_> = did.iter().map(|c| (c.name, c.needs_restart)).collect();
        assert_eq!(told, [("http.listen", true), ("log.retention.ms", false)]);
        assert_eq!(live.get().retention_ms, 2_000);
        assert_ne!(live.get().http_listen.port(), 1);
        // What needs a restart is told until there is one.
        let again = live.reload(false).unwrap();
        let told: Vec<_> = again.iter().map(|c| c.name).collect();
        assert_eq!(told, ["http.listen"]);
    }

    #[test]
    fn what_does_not_hold_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "").unwrap();
        let live = live(&file);
        let before = live.get().retention_ms;
        let wrong = "log.retention.ms = 5\nlog.cleaner.enable = 7\n";
        std::fs::write(&file, wrong).unwrap();
        live.reload(false).unwrap_err();
        std::fs::write(&file, "no.such.key = 7\n").unwrap();
        live.reload(false).unwrap_err();
        assert_eq!(live.get().retention_ms, before);
    }

    #[test]
    fn what_clients_changed_wins_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.toml");
        std::fs::write(&file, "").unwrap();
        let live = live(&file);
        let own = BTreeMap::from([("log.retention.ms".to_owned(), "7000".to_owned())]);
        live.follow(&Changed::from([("3".to_owned(), own)]));
        std::fs::write(&file, "log.retention.ms = 9000\n").unwrap();
        let changes = live.reload(false).unwrap();
        assert!(changes.iter().all(|c| c.overridden), "{changes:?}");
        assert_eq!(live.get().retention_ms, 7_000);
        live.follow(&Changed::new());
        assert_eq!(live.get().retention_ms, 9_000);
    }
}
