//! What a coordinator keeps: the state of one partition, and what its handlers decide.

use std::time::Duration;

use storage::{control::MarkerKind, units::TimestampMs};

use super::KeyValue;

/// Two clocks: what is written down is dated by the wall's, which may step; what is waited for by one that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall time.
    pub wall: TimestampMs,
    /// Milliseconds since the node started.
    pub steady: i64,
}

/// The state of one partition.
pub trait Shard: Send + 'static {
    /// What is to be done after records are committed, or could not be.
    type Then: Send + 'static;

    /// Takes over what a record says, when it was written or at the start. Never fails: what it does not know, it lets be.
    fn replay(&mut self, record: &KeyValue);
    /// The same, of a record that counts when its producer's transaction is committed.
    fn replay_in_transaction(&mut self, _producer_id: i64, _record: &KeyValue) {}
    /// A producer's transaction ended here.
    fn on_marker(&mut self, _producer_id: i64, _kind: MarkerKind) {}
    /// All records were replayed: deadlines begin now.
    fn loaded(&mut self, now: Now);
    /// How many records were replayed, and how long it took.
    fn told_of_load(&self, _records: u64, _took: Duration) {}
    /// When [`Shard::on_deadline`] wants to be called.
    fn next_deadline(&self) -> Option<i64>;
    /// Acts on one deadline that is over; `None` where there is none.
    fn on_deadline(&mut self, now: Now) -> Option<Decided<(), Self::Then>>;
    /// These topics are gone.
    fn on_topics_gone(&mut self, is_gone: &dyn Fn(&str) -> bool) -> Decided<(), Self::Then>;
    /// Goes on after a write; false where it was not committed.
    fn then(&mut self, then: Self::Then, committed: bool, now: Now) -> Decided<(), Self::Then>;
}

/// What a handler decided.
#[derive(Debug)]
pub struct Decided<R, T> {
    /// To be appended whole, or not at all.
    pub records: Vec<KeyValue>,
    /// They are replayed into the state when they were appended; else the handler changed it already.
    pub replay: bool,
    /// To be told when they are committed.
    pub reply: R,
    /// To be done then.
    pub then: Option<T>,
}

impl<R, T> Decided<R, T> {
    /// Only an answer.
    pub fn reply(reply: R) -> Self {
        Self::write(Vec::new(), reply)
    }

    /// Records that say what changes.
    pub fn write(records: Vec<KeyValue>, reply: R) -> Self {
        Self {
            records,
            replay: true,
            reply,
            then: None,
        }
    }
}
