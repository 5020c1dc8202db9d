//! Group commit: one sync serves every append that finished before it began.
//!
//! A log asks to be synced and goes on; a few threads serve all logs of the node. A log waits in the queue at most once. What
//! a sync made durable is told through the log's offsets. A sync that fails poisons its log.
//!
//! Where several logs wait, and it costs less, the whole file system is synced instead of each log's file ([`SyncTogether`]). If
//! that fails, nobody knows whose write it was: each file of the round is synced alone, whose own `fdatasync` tells, and the
//! whole is not trusted again while the node runs (a log that was not in the round would not hear of it).

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tracing::error;

use super::{commit::Round, log::Log};
use crate::disk::together::SyncTogether;

/// Fewer logs are synced one by one, whatever was measured.
const TOGETHER_LEAST: usize = 3;
/// What was measured once does not hold for ever.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

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
    together: Option<Arc<dyn SyncTogether>>,
}

/// A log, and the number of its request.
type Request = (Weak<Log>, u64);

#[derive(Default)]
struct Waiting {
    now: VecDeque<Request>,
    /// Logs to be synced after their interval.
    later: Vec<(Instant, Request)>,
    /// A sync of all is under way.
    together: bool,
    costs: Costs,
    stop: bool,
}

/// How long syncs take, so that the cheaper way is taken.
#[derive(Debug, Default)]
struct Costs {
    /// Of one log, a moving average in seconds; 0 where unknown.
    one: f64,
    /// Of all at once.
    all: f64,
    all_at: Option<Instant>,
    /// It failed once.
    distrusted: bool,
}

impl Costs {
    fn add(average: &mut f64, took: Duration) {
        let took = took.as_secs_f64();
        *average = if *average == 0.0 {
            took
        } else {
            *average + (took - *average) / 8.0
        };
    }

    /// Whether `logs` are synced together for less than one by one.
    fn prefers_all(&self, logs: usize, now: Instant) -> bool {
        let is_stale = self.all_at.is_none_or(|at| now > at + TRY_AGAIN_AFTER);
        let logs_cost = self.one * f64::from(u32::try_from(logs).unwrap_or(u32::MAX));
        !self.distrusted && logs >= TOGETHER_LEAST && (is_stale || self.all < logs_cost)
    }
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
    /// Starts the threads; `together`, where given, syncs all logs of the node at once.
    pub fn start(
        threads: usize,
        on_sync: Option<OnSync>,
        together: Option<Arc<dyn SyncTogether>>,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue {
            waiting: Mutex::default(),
            bell: Condvar::new(),
            on_sync,
            together,
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
                together: None,
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

/// What a thread does next.
enum Work {
    One(Request),
    /// Together; [`Waiting::together`] is set until that is done, whatever became of the logs meanwhile.
    All(Vec<Request>, Arc<dyn SyncTogether>),
}

fn run(queue: &Queue) {
    let upgraded = |(log, request): Request| Some((log.upgrade()?, request));
    while let Some(work) = next(queue) {
        match work {
            Work::One(request) => {
                if let Some((log, request)) = upgraded(request) {
                    sync_one(queue, &log, request);
                }
            }
            Work::All(requests, together) => {
                let logs: Vec<_> = requests.into_iter().filter_map(upgraded).collect();
                sync_all(queue, &logs, &*together);
            }
        }
    }
}

fn sync_one(queue: &Queue, log: &Log, request: u64) {
    let started = now();
    if log.sync_round(request) {
        let took = started.elapsed();
        Costs::add(&mut queue.waiting.lock().costs.one, took);
        queue.told(took);
    }
}

/// One round for several logs. No other thread has rounds of these logs and waits for more: a log is in the queue once.
fn sync_all(queue: &Queue, logs: &[(Arc<Log>, u64)], together: &dyn SyncTogether) {
    let rounds: Vec<(Round<'_>, u64)> = logs
        .iter()
        .filter_map(|(log, request)| Some((log.begin_round()?, *request)))
        .collect();
    let started = now();
    let synced = together.sync();
    let took = started.elapsed();
    {
        let mut waiting = queue.waiting.lock();
        waiting.together = false;
        waiting.costs.all_at = Some(now());
        Costs::add(&mut waiting.costs.all, took);
        waiting.costs.distrusted |= synced.is_err();
    }
    queue.bell.notify_all();
    if let Err(error) = &synced {
        error!(%error, "syncing the file system failed: from now on each log is synced alone");
    }
    for (round, request) in rounds {
        let synced = match &synced {
            Ok(()) => Ok(()),
            Err(_) => round.sync(),
        };
        round.end(synced, request);
    }
    queue.told(took);
}

impl Queue {
    fn told(&self, took: Duration) {
        if let Some(on_sync) = &self.on_sync {
            on_sync(took);
        }
    }
}

/// What is to be synced next; `None` when the threads end.
fn next(queue: &Queue) -> Option<Work> {
    let mut waiting = queue.waiting.lock();
    loop {
        if waiting.stop {
            return None;
        }
        let now = now();
        while let Some(i) = waiting.later.iter().position(|(at, _)| *at <= now) {
            let (_, request) = waiting.later.swap_remove(i);
            waiting.now.push_back(request);
        }
        let is_cheaper = waiting.costs.prefers_all(waiting.now.len(), now);
        let together = queue.together.as_ref();
        match together.filter(|all| is_cheaper && all.is_quiet()) {
            // The next round gathers.
            Some(_) if waiting.together => {}
            Some(all) => {
                waiting.together = true;
                let requests = waiting.now.drain(..).collect();
                return Some(Work::All(requests, Arc::clone(all)));
            }
            None => {
                if let Some(request) = waiting.now.pop_front() {
                    return Some(Work::One(request));
                }
            }
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
fn now() -> Instant {
    Instant::now()
}
