//! Group commit: one `fdatasync` serves every append that finished before it began.
//!
//! A log asks to be synced and goes on; a few threads serve all logs of the node. A log waits in the queue at most once. What
//! a sync made durable is told through the log's offsets. A sync that fails poisons its log.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};

use super::log::Log;

/// Hears how long each sync took.
pub type OnSync = Arc<dyn Fn(Duration) + Send + Sync>;

/// The threads' queue; cheap to clone. The threads end when the last clone is dropped.
#[derive(Clone)]
pub struct Syncer(Arc<Handle>);

struct Handle {
    queue: Arc<Queue>,
}

struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
    on_sync: Option<OnSync>,
}

/// A log, and the number of its request.
type Request = (Weak<Log>, u64);

#[derive(Default)]
struct Waiting {
    now: VecDeque<Request>,
    /// Logs to be synced after their interval.
    later: Vec<(std::time::Instant, Request)>,
    stop: bool,
}

impl fmt::Debug for Syncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.0.queue.waiting.lock();
        f.debug_struct("Syncer")
            .field("waiting", &waiting.now.len())
            .finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.waiting.lock().stop = true;
        self.queue.bell.notify_all();
    }
}

impl Syncer {
    /// Starts the threads.
    pub fn start(threads: usize, on_sync: Option<OnSync>) -> std::io::Result<Self> {
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            bell: Condvar::new(),
            on_sync,
        });
        for i in 0..threads.max(1) {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name(format!("sync-{i}"))
                .spawn(move || run(&queue))?;
        }
        Ok(Self(Arc::new(Handle { queue })))
    }

    /// Without threads: a test syncs when it wants to.
    #[cfg(test)]
    pub(super) fn idle() -> Self {
        Self(Arc::new(Handle {
            queue: Arc::new(Queue {
                waiting: Mutex::default(),
                bell: Condvar::new(),
                on_sync: None,
            }),
        }))
    }

    /// The log has appends to sync.
    pub(super) fn sync_now(&self, log: Weak<Log>, request: u64) {
        self.0.queue.waiting.lock().now.push_back((log, request));
        self.0.queue.bell.notify_one();
    }

    /// The log wants a sync after `interval`.
    pub(super) fn sync_after(&self, log: Weak<Log>, request: u64, interval: Duration) {
        self.0
            .queue
            .waiting
            .lock()
            .later
            .push((now() + interval, (log, request)));
        self.0.queue.bell.notify_one();
    }
}

fn run(queue: &Queue) {
    while let Some((log, request)) = next(queue) {
        let Some(log) = log.upgrade() else { continue };
        let started = now();
        if log.sync_round(request)
            && let Some(on_sync) = &queue.on_sync
        {
            on_sync(started.elapsed());
        }
    }
}

/// The next log to sync; `None` when the threads end.
fn next(queue: &Queue) -> Option<Request> {
    let mut waiting = queue.waiting.lock();
    loop {
        if waiting.stop {
            return None;
        }
        if let Some(log) = waiting.now.pop_front() {
            return Some(log);
        }
        let now = now();
        if let Some(i) = waiting.later.iter().position(|(at, _)| *at <= now) {
            return Some(waiting.later.swap_remove(i).1);
        }
        match waiting.later.iter().map(|(at, _)| *at).min() {
            Some(at) => {
                queue.bell.wait_until(&mut waiting, at);
            }
            None => queue.bell.wait(&mut waiting),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "threads of their own, outside tokio; only measures spans"
)]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
