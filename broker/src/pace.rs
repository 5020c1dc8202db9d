//! Work in threads of its own that must not take the disk from others: so many bytes a second.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// One that waits looks so often whether the node stops.
const NAP: Duration = Duration::from_millis(50);

/// Bytes that may pass.
#[derive(Debug)]
pub struct Pace {
    bytes_per_second: f64,
    since: Instant,
    bytes: f64,
}

impl Pace {
    /// From now on.
    pub fn new(bytes_per_second: f64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1.0),
            since: now(),
            bytes: 0.0,
        }
    }

    /// These passed: waits where they came too soon; false where the node stops.
    pub fn passed(&mut self, bytes: usize, stopped: &watch::Receiver<bool>) -> bool {
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        let bytes = bytes as f64;
        self.bytes += bytes;
        let due = Duration::try_from_secs_f64(self.bytes / self.bytes_per_second);
        let due = due.unwrap_or(Duration::MAX);
        while !*stopped.borrow() {
            let ahead = due.saturating_sub(self.since.elapsed());
            if ahead.is_zero() {
                if due + NAP < self.since.elapsed() {
                    // What did not pass in time is not made up for in a burst.
                    (self.since, self.bytes) = (now(), 0.0);
                }
                return true;
            }
            nap(ahead.min(NAP));
        }
        false
    }
}

/// Sleeps, in a thread for blocking work.
#[expect(
    clippy::disallowed_methods,
    reason = "a thread for blocking work, which has nothing else to do"
)]
pub fn nap(long: Duration) {
    std::thread::sleep(long);
}

/// For spans that a thread for blocking work measures.
#[expect(
    clippy::disallowed_methods,
    reason = "a thread outside tokio; only measures spans"
)]
pub fn now() -> Instant {
    Instant::now()
}
