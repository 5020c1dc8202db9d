//! Where groups look topics up.

use std::sync::Arc;

use crate::metadata::{Image, Metadata};

/// Gives the metadata of the moment; cheap to clone.
#[derive(Clone)]
pub struct Images(Arc<dyn Fn() -> Arc<Image> + Send + Sync>);

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Images")
    }
}

impl Images {
    /// Of the cluster.
    pub fn of(metadata: Metadata) -> Self {
        Self::new(move || metadata.image())
    }

    /// Of whoever knows them.
    pub fn new(now: impl Fn() -> Arc<Image> + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The metadata now.
    pub fn now(&self) -> Arc<Image> {
        (self.0)()
    }
}
