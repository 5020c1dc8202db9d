//! Time that only goes forward, for measuring.

use std::time::Duration;

use tokio::time::Instant;

/// Counts from its start; copies agree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    pub(super) fn nanos(self) -> u64 {
        u64::try_from(self.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn seconds(self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

/// When records of a steady rate are to be sent, in nanoseconds of the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    first_nanos: u64,
    per_second: u64,
}

impl Pace {
    pub(super) fn from(first_nanos: u64, per_second: u64) -> Self {
        Self {
            first_nanos,
            per_second: per_second.max(1),
        }
    }

    pub(super) fn due_nanos(self, number: u64) -> u64 {
        let after = u128::from(number) * 1_000_000_000 / u128::from(self.per_second);
        self.first_nanos + u64::try_from(after).unwrap_or(u64::MAX / 2)
    }
}

/// Waits until then, or not at all; the time it was. Oversleeps by some 50 us, as the kernel has it.
pub(super) fn wait_until(clock: Clock, nanos: u64) -> u64 {
    loop {
        let now = clock.nanos();
        if now >= nanos {
            return now;
        }
        std::thread::park_timeout(Duration::from_nanos(nanos - now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_does_not_drift() {
        let pace = Pace::from(500, 20_000);
        assert_eq!(pace.due_nanos(0), 500);
        assert_eq!(pace.due_nanos(1), 50_500);
        assert_eq!(pace.due_nanos(20_000 * 3_600), 3_600 * 1_000_000_000 + 500);
        let odd = Pace::from(0, 3);
        assert_eq!(odd.due_nanos(3), 1_000_000_000);
    }

    #[test]
    fn waiting_ends_no_sooner() {
        let clock = Clock::start();
        let then = clock.nanos() + 300_000;
        assert!(wait_until(clock, then) >= then);
        assert!(wait_until(clock, 0) > 0);
    }
}
