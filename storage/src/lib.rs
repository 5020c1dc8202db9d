//! The ChronosDB WAL: one log per partition, which alone decides; and the folder that all of a node's state lies in.
//!
//! Nothing here knows what a topic means, opens a socket or reads a clock. [`batch`], [`record`] and [`frame`] are the formats;
//! [`log`] keeps them; [`disk`] is passed in, so that a test owns it.

pub mod batch;
pub mod checkpoint;
pub mod control;
pub mod data_dir;
pub mod disk;
pub mod frame;
pub mod journal;
pub mod kv;
pub mod log;
pub mod record;
pub mod sealed;
pub mod units;
