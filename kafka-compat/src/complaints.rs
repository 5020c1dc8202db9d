//! What is wrong with connections, in the log: a few lines a second, then a count. A peer must not fill the disk with its errors.

use std::{net::SocketAddr, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::warn;

const LINES_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_secs(1);

/// Shared by all connections of a listener.
#[derive(Debug)]
pub(crate) struct Complaints(Mutex<Window>);

#[derive(Debug)]
struct Window {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Complaints {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Window {
            since: Instant::now(),
            lines: 0,
            left_out: 0,
        }))
    }

    /// The connection is closed for something that its client did.
    pub(crate) fn closed(&self, peer: SocketAddr, why: &str) {
        if let Some(left_out) = self.0.lock().next(Instant::now()) {
            warn!(%peer, why, left_out, "connection closed");
        }
    }
}

impl Window {
    /// Whether there is room for a line, and how many were left out before it.
    fn next(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.lines = 0;
        }
        if self.lines == LINES_MAX {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted() {
        let start = Instant::now();
        let mut window = Window {
            since: start,
            lines: 0,
            left_out: 0,
        };
        let told = (0..100).filter(|_| window.next(start).is_some()).count();
        assert_eq!(told, 10);
        assert_eq!(window.next(start + WINDOW), Some(90));
        assert_eq!(window.next(start + WINDOW), Some(0));
    }
}
