//! Sleeping until a wall-clock time, woken when somebody sets the clock.

use std::{io, os::fd::OwnedFd};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use storage::units::TimestampMs;
use tokio::io::unix::AsyncFd;

/// A `timerfd` on the real-time clock. `TFD_TIMER_CANCEL_ON_SET` makes a read fail with `ECANCELED` when the clock is
/// stepped (`timerfd_create(2)`), which wakes the sleeper just as the expiry does.
#[derive(Debug)]
pub struct WallTimer(AsyncFd<OwnedFd>);

impl WallTimer {
    /// A disarmed timer. Must be called inside the tokio runtime.
    pub fn new() -> io::Result<Self> {
        let fd = timerfd_create(
            TimerfdClockId::Realtime,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; an OwnedFd keeps the promise that one asks for"
        )]
        let registered = AsyncFd::new(fd)?;
        Ok(Self(registered))
    }

    /// Returns at `at` or a little later, or when the clock was set; the caller reads the clock again.
    pub async fn sleep_until(&self, at: TimestampMs) -> io::Result<()> {
        let expiry = Timespec {
            tv_sec: at.0.div_euclid(1_000),
            // An all-zero value would disarm the timer.
            tv_nsec: (at.0.rem_euclid(1_000) * 1_000_000).max(1),
        };
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: expiry,
        };
        timerfd_settime(
            self.0.get_ref(),
            TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET,
            &once,
        )?;
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|fd| {
                let mut expirations = [0; 8];
                Ok(rustix::io::read(fd.get_ref(), &mut expirations)?)
            });
            match read {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(e))
                    if e.raw_os_error() == Some(rustix::io::Errno::CANCELED.raw_os_error()) =>
                {
                    return Ok(());
                }
                Ok(Err(e)) => return Err(e),
                Err(_would_block) => {}
            }
        }
    }
}
