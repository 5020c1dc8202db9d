//! Transactions: who has a transactional id, what takes part in its transaction, and how that ends.
//!
//! [`state`] decides, [`shard`] keeps it in `__transaction_state`, [`service`] is asked by the APIs and writes ends:
//! ```text
//! EndTxn -> Prepare on the disk -> markers in all partitions, on the disk -> Complete on the disk -> answer
//! ```
//! A start writes the markers of whatever is prepared again. What a partition makes of a transaction is `storage::log`'s, held
//! records in it are [`crate::partition`]'s, offsets in it [`crate::group`]'s. Source: Apache Kafka, `TransactionCoordinator`; KIP-98,
//! KIP-360, KIP-890.

pub mod markers;
mod record;
mod service;
mod shard;
mod state;

pub use service::{Around, TOPIC, TransactionConfig, Transactions};
pub use shard::{Ending, Listed, TransactionShard};
pub use state::{Partitions, STATES, State, Transaction};
