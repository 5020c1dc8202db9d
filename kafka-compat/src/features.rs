//! Cluster features (KIP-584): what this release supports.
//!
//! A feature is listed when this node does what it says: `metadata.version` stands for Kafka 4.3's protocol, `kraft.version` for
//! voters that are named, `group.version` for the consumer protocol (KIP-848), `transaction.version` 2 for an epoch per transaction
//! (KIP-890).

/// A feature.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Kafka's name.
    pub name: &'static str,
    /// The lowest level supported.
    pub min: i16,
    /// The highest level supported, and the one that is finalized.
    pub max: i16,
    /// The cluster has decided on a level.
    pub finalized: bool,
}

/// In the order of their names.
pub const FEATURES: [Feature; 4] = [
    Feature {
        name: "group.version",
        min: 0,
        max: 1,
        finalized: true,
    },
    Feature {
        name: "kraft.version",
        min: 0,
        max: 1,
        finalized: false,
    },
    Feature {
        name: "metadata.version",
        min: 7,
        max: 30,
        finalized: true,
    },
    Feature {
        name: "transaction.version",
        min: 0,
        max: 2,
        finalized: true,
    },
];
