//! The settings as they are now: some change while the node runs, by what the metadata says.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::RwLock;

use super::Config;

/// The settings as they are now; cheap to clone. Whoever reads takes one copy for one task.
#[derive(Clone, Debug)]
pub struct LiveConfig(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// As read at the start.
    start: Arc<Config>,
    now: RwLock<Arc<Config>>,
}

impl LiveConfig {
    /// Nothing was changed yet.
    pub fn new(config: Config) -> Self {
        let start = Arc::new(config);
        Self(Arc::new(Inner {
            now: RwLock::new(Arc::clone(&start)),
            start,
        }))
    }

    /// The settings now.
    pub fn get(&self) -> Arc<Config> {
        Arc::clone(&self.0.now.read())
    }

    /// Takes over what clients changed, for all brokers and for this one.
    pub fn follow(&self, changed: &BTreeMap<String, BTreeMap<String, String>>) {
        let none = BTreeMap::new();
        let all = changed.get("").unwrap_or(&none);
        let this = changed.get(&self.0.start.node_id.to_string());
        match self.0.start.with_dynamic(all, this.unwrap_or(&none)) {
            Ok(config) => *self.0.now.write() = Arc::new(config),
            Err(error) => tracing::error!(%error, "changed settings are not followed"),
        }
    }
}
