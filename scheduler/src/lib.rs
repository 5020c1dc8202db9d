//! Held records by due time.
//!
//! A [`TimerStore`] is what a partition knows of its pending records: keys and places, never payloads. It is derived
//! from the partition's log, which alone decides; losing it costs a scan, not a record. Time comes in through [`Clock`].
//!
//! *Invariant*: nothing here awaits, opens a socket or reads a clock of its own.

pub mod clock;
pub mod store;
pub mod timer_key;

pub use clock::{Clock, ManualClock, SystemClock};
pub use store::{
    Checkpoint, Marks, Place, Snapshot, StoreError, StoreOptions, TimerEntry, TimerStore,
};
pub use timer_key::TimerKey;
