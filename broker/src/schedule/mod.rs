//! The life of a held record.
//!
//! ```text
//!  Produce ─> accept: the batch is split into a unit ─> HOLD (hidden) + DATA rest, one append, offsets reserved
//!                                                        │ committed
//!                                                        v
//!                                                   timers (derived, on disk, brought up to the log by `pending`)
//!                                                        │ wall clock >= due
//!                                                        v
//!  consumers <─ committed <─ FIRE (an ordinary batch at the log end) <─ fire_loop: read HOLD, build, append
//! ```
//! - *Never early*: the fire loop compares due times with wall time only, and reads it anew for every tick.
//! - *Never lost*: the producer is answered when the HOLD is committed; timers come from committed HOLDs alone and are rebuilt
//!   from the log at start.
//! - *Exactly once*: pending = holds − fires − cancels, by log order. A fired record carries its schedule id in the same log,
//!   so there is no second place that could disagree. A crash between taking a timer and appending its FIRE leaves the HOLD
//!   unsettled; a crash after leaves it settled.

pub mod accept;
pub mod carry;
pub mod control;
pub mod fire;
pub mod fire_loop;
pub mod firing_order;
pub mod hold_cache;
pub mod key_index;
pub mod pending;
pub mod timer;
pub mod transactional;
mod turns;

#[cfg(test)]
mod tests;

/// Header on a fired record: when it was due, decimal milliseconds.
pub const HEADER_DUE_AT: &str = "chronos-due-at";
/// Header on a fired record: the offset reserved for it when it was produced.
pub const HEADER_SCHEDULE_ID: &str = "chronos-schedule-id";
/// Header on a fired record: the timestamp it was produced with, decimal milliseconds.
pub const HEADER_CREATED_AT: &str = "chronos-created-at";
