//! Group commit: one sync serves every append that finished before it began.
//!
//! A log asks to be synced and goes on; a few threads serve all logs of the node. A log waits in the queue at most once. What
//! a sync made durable is told through the log's offsets. A sync that fails poisons its log.
//!
//! There are three ways, for what they cost:
//! - the small tails of any number of logs are written to the journal of the node together ([`super::journaling`]);
//! - else, where several logs wait, and it costs less, the whole file system is synced ([`SyncTogether`]). If that fails, nobody
//!   knows whose write it was: each file of the round is synced alone, whose own `fdatasync` tells, and the whole is not trusted
//!   again while the node runs (a log that was not in the round would not hear of it);
//! - else each log's file is synced.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Weak},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tracing::error;

use super::{
    commit::Round,
    journaling::{self, JournalOptions, JournalQueue, Settle},
    log::Log,
};
use crate::disk::together::SyncTogether;

/// Fewer logs are synced one by one, whatever was measured.
const TOGETHER_LEAST: usize = 3;
/// What was measured once does not hold for ever.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// A sync that was done.
#[derive(Clone, Copy, Debug)]
pub struct Synced {
    /// How long it took.
    pub took: Duration,
    /// What was written to the journal for it; 0 where files of logs were synced.
    pub journal_bytes: u64,
}

/// Hears of each sync.
pub type OnSync = Arc<dyn Fn(Synced) + Send + Sync>;

/// What a group commit needs.
#[derive(Default)]
pub struct SyncerOptions {
    /// Threads that sync files; one at least.
    pub threads: usize,
    /// Told of each sync.
    pub on_sync: Option<OnSync>,
    /// Syncs all logs of the node at once.
    pub together: Option<Arc<dyn SyncTogether>>,
    /// Takes the small tails.
    pub journal: Option<JournalOptions>,
}

/// The threads' queue; cheap to clone. The threads end when the last clone is dropped.
#[derive(Clone)]
pub struct Syncer(Arc<Handle>);

struct Handle {
    queue: Arc<Queue>,
    journal: Mutex<Option<JoinHandle<()>>>,
}

pub(super) struct Queue {
    pub(super) waiting: Mutex<Waiting>,
    pub(super) bell: Condvar,
    /// The journal's thread hears this one.
    pub(super) journal_bell: Condvar,
    on_sync: Option<OnSync>,
    together: Option<Arc<dyn SyncTogether>>,
}

/// A log, and the number of its request.
pub(super) type Request = (Weak<Log>, u64);

#[derive(Default)]
pub(super) struct Waiting {
    pub(super) now: VecDeque<Request>,
    /// Logs to be synced after their interval.
    later: Vec<(Instant, Request)>,
    /// A sync of all is under way.
    together: bool,
    costs: Costs,
    pub(super) journal: JournalQueue,
    pub(super) stop: bool,
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

impl fmt::Debug for SyncerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncerOptions")
            .field("threads", &self.threads)
            .field("together", &self.together)
            .field("journal", &self.journal)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Syncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.0.queue.waiting.lock();
        f.debug_struct("Syncer")
            .field("waiting", &waiting.now.len())
            .field("journal", &waiting.journal.state)
            .finish_non_exhaustive()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.queue.waiting.lock().stop = true;
        self.queue.bell.notify_all();
        self.queue.journal_bell.notify_all();
    }
}

impl Syncer {
    /// Starts the threads.
    pub fn start(options: SyncerOptions) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(options.on_sync, options.together));
        for i in 0..options.threads.max(1) {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new()
                .name(format!("sync-{i}"))
                .spawn(move || run(&queue))?;
        }
        let journal = match options.journal {
            Some(options) => Some(journaling::start(Arc::clone(&queue), options)?),
            None => None,
        };
        Ok(Self(Arc::new(Handle {
            queue,
            journal: Mutex::new(journal),
        })))
    }

    /// Without threads: a test syncs when it wants to.
    #[cfg(test)]
    pub(super) fn idle() -> Self {
        Self(Arc::new(Handle {
            queue: Arc::new(Queue::new(None, None)),
            journal: Mutex::default(),
        }))
    }

    /// Empties the journal, for a clean end: after the logs are closed, so that the next start need not read it.
    pub fn close_journal(&self) {
        let thread = self.0.journal.lock().take();
        self.0.queue.waiting.lock().journal.is_closing = true;
        self.0.queue.journal_bell.notify_all();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            error!("the journal's thread panicked: the next start reads the journal");
        }
    }

    /// The log has appends to sync, of so many bytes.
    pub(super) fn sync_now(&self, request: Request, bytes: u64) {
        self.0.queue.sync_now(request, bytes);
    }

    /// The log wants a sync after `interval`.
    pub(super) fn sync_after(&self, request: Request, interval: Duration) {
        let at = now() + interval;
        self.0.queue.waiting.lock().later.push((at, request));
        self.0.queue.bell.notify_one();
    }
}

/// What a thread does next.
enum Work {
    One(Request),
    /// Together; [`Waiting::together`] is set until that is done, whatever became of the logs meanwhile.
    All(Vec<Request>, Arc<dyn SyncTogether>),
    /// Makes the segments have what a half of the journal has.
    Settle(Settle),
    /// Syncs what the journal has of a log.
    Ease(Weak<Log>),
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
            Work::Settle(settle) => journaling::settle(queue, settle),
            Work::Ease(log) => {
                // Where it fails the log is poisoned, and says so; the half then cannot be settled.
                log.upgrade().map(|log| log.settle());
                queue.waiting.lock().journal.is_easing = false;
            }
        }
    }
}

fn sync_one(queue: &Queue, log: &Log, request: u64) {
    let started = now();
    if log.sync_round(request) {
        let took = started.elapsed();
        Costs::add(&mut queue.waiting.lock().costs.one, took);
        queue.told(took, 0);
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
    queue.told(took, 0);
}

impl Queue {
    pub(super) fn new(on_sync: Option<OnSync>, together: Option<Arc<dyn SyncTogether>>) -> Self {
        Self {
            waiting: Mutex::default(),
            bell: Condvar::new(),
            journal_bell: Condvar::new(),
            on_sync,
            together,
        }
    }

    fn sync_now(&self, request: Request, bytes: u64) {
        let mut waiting = self.waiting.lock();
        if waiting.journal.takes(bytes) {
            waiting.journal.tails.push_back(request);
            self.journal_bell.notify_one();
        } else {
            if waiting.journal.is_wanted_now(bytes) {
                self.journal_bell.notify_one();
            }
            waiting.now.push_back(request);
            self.bell.notify_one();
        }
    }

    /// Logs whose own files are synced.
    pub(super) fn sync_files(&self, requests: impl IntoIterator<Item = Request>) {
        self.waiting.lock().now.extend(requests);
        self.bell.notify_all();
    }

    pub(super) fn told(&self, took: Duration, journal_bytes: u64) {
        if let Some(on_sync) = &self.on_sync {
            on_sync(Synced {
                took,
                journal_bytes,
            });
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
        if waiting.now.is_empty() {
            if let Some(settle) = waiting.journal.to_settle.pop_front() {
                return Some(Work::Settle(settle));
            }
            if !waiting.journal.is_easing
                && let Some(log) = waiting.journal.to_ease.pop_front()
            {
                waiting.journal.is_easing = true;
                return Some(Work::Ease(log));
            }
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
pub(super) fn now() -> Instant {
    Instant::now()
}
