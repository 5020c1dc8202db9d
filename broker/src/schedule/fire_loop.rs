//! The tasks that fire held records; each has its share of the partitions of the node, by their keys.
//!
//! A loop owns nothing but deadlines. Partitions that got a hold, or came online with some, are told to theirs by
//! [`FireHandle::watch`]; it waits for their holds to be committed, sleeps until the first is due, and appends FIRE frames.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;
use scheduler::Clock;
use storage::{
    log::AppendError,
    units::{DueTime, TimestampMs},
};
use tokio::sync::{Notify, watch};
use tracing::{error, warn};

use super::{
    fire::{self, FIRE_BYTES_MAX, FireRules},
    hold_cache::HoldCache,
    pending::PendingError,
    timer::WallTimer,
    turns::Turns,
};
use crate::partition::{Partition, PartitionKey};

/// Records that one partition fires in its turn: bounds what a herd holds in memory, and lets other partitions in between.
const RECORDS_PER_TURN_MAX: usize = 2_000;
/// Every sleep ends after this, and wall time is read anew: a missed clock step, a suspended machine.
const SLEEP_MS_MAX: i64 = 1_000;
/// A partition that could not append (disk full) is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Bytes that a turn appends, about: then others of the runtime's tasks have theirs.
const BYTES_PER_TURN: usize = 2 * FIRE_BYTES_MAX;
/// What all loops keep of HOLD frames.
const HOLDS_BYTES_MAX: usize = 8 << 20;

/// Tells the fire loops about partitions; cheap to clone.
#[derive(Clone, Debug)]
pub struct FireHandle(Arc<[Inbox]>);

#[derive(Debug, Default)]
struct Inbox {
    /// Bounded by the number of partitions.
    told: Mutex<HashMap<PartitionKey, Arc<Partition>>>,
    bell: Notify,
}

impl FireHandle {
    /// For so many loops, one at least.
    pub fn new(loops: usize) -> Self {
        Self((0..loops.max(1)).map(|_| Inbox::default()).collect())
    }

    /// The partition has holds, committed or about to be.
    pub fn watch(&self, partition: &Arc<Partition>) {
        let key = partition.key;
        let (_, low) = key.topic.as_u64_pair();
        // Partitions of a topic, which come due together, go around.
        let number = low.wrapping_add(u64::from(key.index.cast_unsigned()));
        let at = usize::try_from(number % self.0.len() as u64).unwrap_or(0);
        if let Some(inbox) = self.0.get(at) {
            inbox.told.lock().insert(key, Arc::clone(partition));
            inbox.bell.notify_one();
        }
    }

    /// A loop for each share.
    pub fn loops(&self, clock: &Arc<dyn Clock>) -> Vec<FireLoop> {
        (0..self.0.len())
            .map(|share| FireLoop::new(self.clone(), share, Arc::clone(clock)))
            .collect()
    }
}

impl Inbox {
    fn take(&self) -> Vec<Arc<Partition>> {
        let mut told = self.told.lock();
        told.drain().map(|(_, partition)| partition).collect()
    }
}

/// What the loop waits for besides time.
enum Event {
    /// The oldest uncommitted hold of a partition is committed, or never will be.
    Committed(Arc<Partition>, bool),
    /// A FIRE frame is committed: its records became visible.
    Fired {
        partition: Arc<Partition>,
        dues: Vec<DueTime>,
        committed: bool,
    },
    /// Time to try a partition again.
    Retry(Arc<Partition>),
}

/// What became of a partition's turn.
enum Fired {
    /// A frame of so many bytes; its commit will be heard of.
    Appended(usize),
    /// There was nothing to append.
    Nothing,
    /// Something else will tell when to try again.
    Later,
}

/// The loop's own state.
pub struct FireLoop {
    handle: FireHandle,
    /// Which inbox is its own.
    share: usize,
    clock: Arc<dyn Clock>,
    deadlines: BTreeSet<(DueTime, PartitionKey)>,
    tracked: HashMap<PartitionKey, (Arc<Partition>, DueTime)>,
    awaited: HashSet<PartitionKey>,
    /// Partitions with a FIRE on its way to be committed. What comes due meanwhile goes into the next one: under load, frames
    /// grow instead of becoming more, as in a group commit.
    firing: HashSet<PartitionKey>,
    /// Partitions that could not fire just now, each with a `Retry` on its way.
    retrying: HashSet<PartitionKey>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
    holds: HoldCache,
    turns: Turns,
    /// Bytes of a fired record, lately: what does not fit a frame is not taken out.
    record_bytes: usize,
}

impl std::fmt::Debug for FireLoop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FireLoop")
            .field("deadlines", &self.deadlines.len())
            .finish_non_exhaustive()
    }
}

impl FireLoop {
    fn new(handle: FireHandle, share: usize, clock: Arc<dyn Clock>) -> Self {
        let holds = HoldCache::new(HOLDS_BYTES_MAX / handle.0.len());
        Self {
            handle,
            share,
            clock,
            deadlines: BTreeSet::new(),
            tracked: HashMap::new(),
            awaited: HashSet::new(),
            firing: HashSet::new(),
            retrying: HashSet::new(),
            events: FuturesUnordered::new(),
            holds,
            turns: Turns::default(),
            record_bytes: 0,
        }
    }

    /// Runs until told to stop. Records due later stay in the log and fire after the next start.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> std::io::Result<()> {
        let timer = WallTimer::new()?;
        let handle = self.handle.clone();
        let Some(inbox) = handle.0.get(self.share) else {
            return Ok(());
        };
        loop {
            let now = self.clock.wall();
            let next = self.deadlines.first().map_or(i64::MAX, |(due, _)| due.0);
            let wake_at = TimestampMs(next.min(now.0 + SLEEP_MS_MAX));
            if next > now.0 {
                tokio::select! {
                    biased;
                    _ = shutdown.wait_for(|stop| *stop) => return Ok(()),
                    () = inbox.bell.notified() => {}
                    Some(event) = self.events.next() => self.on_event(event),
                    slept = timer.sleep_until(wake_at) => slept?,
                }
            } else if *shutdown.borrow() {
                return Ok(());
            } else {
                // A herd: what was produced meanwhile goes first.
                tokio::task::yield_now().await;
            }
            self.turn();
        }
    }

    /// A turn for partitions that have something due now.
    pub(super) fn turn(&mut self) {
        while let Some(Some(event)) = self.events.next().now_or_never() {
            self.on_event(event);
        }
        let told = self.handle.0.get(self.share).map(Inbox::take);
        for partition in told.into_iter().flatten() {
            self.track(&partition);
        }
        self.fire_due();
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Committed(partition, committed) => {
                self.awaited.remove(&partition.key);
                if committed {
                    self.track(&partition);
                }
            }
            Event::Fired {
                partition,
                dues,
                committed,
            } => {
                self.firing.remove(&partition.key);
                self.track(&partition);
                if committed {
                    let now = self.clock.wall();
                    partition
                        .metrics
                        .fired(dues.iter().map(|due| now.0 - due.0));
                }
            }
            Event::Retry(partition) => {
                self.retrying.remove(&partition.key);
                self.track(&partition);
            }
        }
    }

    /// Learns a partition's next deadline, and waits for the commit of its holds that are not.
    fn track(&mut self, partition: &Arc<Partition>) {
        let key = partition.key;
        if let Some((_, due)) = self.tracked.remove(&key) {
            self.deadlines.remove(&(due, key));
        }
        let next = match partition.promote_committed(self.clock.wall()) {
            Ok(next) => next,
            Err(error) => {
                self.retry_after(partition, &error);
                None
            }
        };
        let waits = self.firing.contains(&key) || self.retrying.contains(&key);
        if let Some(due) = next.filter(|_| !waits) {
            self.deadlines.insert((due, key));
            self.tracked.insert(key, (Arc::clone(partition), due));
        }
        if let Some(at) = partition.uncommitted_front()
            && self.awaited.insert(key)
        {
            let partition = Arc::clone(partition);
            self.events.push(
                async move {
                    let committed = partition.committed(at).await;
                    Event::Committed(partition, committed)
                }
                .boxed(),
            );
        }
    }

    fn fire_due(&mut self) {
        let now = self.clock.wall();
        let due: Vec<_> = self
            .deadlines
            .iter()
            .take_while(|(due, _)| due.0 <= now.0)
            .map(|(_, key)| *key)
            .collect();
        if due.is_empty() {
            self.turns.forget();
        }
        let mut bytes = 0;
        for key in self.turns.order(due) {
            if bytes >= BYTES_PER_TURN {
                // Those that wait are due at the next turn as well.
                return;
            }
            self.turns.give(key);
            let Some((partition, due)) = self.tracked.remove(&key) else {
                continue;
            };
            self.deadlines.remove(&(due, key));
            match self.fire(&partition, now) {
                Fired::Appended(frame) => bytes += frame,
                Fired::Nothing => self.track(&partition),
                Fired::Later => {}
            }
        }
    }

    /// Fires what is due in a partition.
    fn fire(&mut self, partition: &Arc<Partition>, now: TimestampMs) -> Fired {
        // One more than fits, so that frames are full.
        let fit = FIRE_BYTES_MAX / self.record_bytes.max(1) + 1;
        let due = match partition.pop_due(now, fit.min(RECORDS_PER_TURN_MAX)) {
            Ok(due) => due,
            Err(error) => {
                self.retry_after(partition, &error);
                return Fired::Later;
            }
        };
        let config = partition.config();
        let rules = FireRules {
            now,
            log_append_time: config.log_append_time,
            codec: config.codec,
        };
        let mut fire = fire::build(partition, &mut self.holds, due, rules);
        let mut unread = false;
        for (entry, error) in fire.failed {
            if error.is_passing() {
                warn!(topic = %partition.topic, partition = partition.key.index,
                      schedule_id = entry.key.id.0, %error, "a held record cannot be read now");
                fire.left.push(entry);
                unread = true;
                continue;
            }
            // Its HOLD stays in the log, pending: nothing is settled by a guess.
            error!(topic = %partition.topic, partition = partition.key.index,
                   schedule_id = entry.key.id.0, %error, "a held record cannot be fired");
            partition.metrics.fire_failed();
        }
        if unread {
            self.retry(partition);
        }
        let Some(frame) = fire.frame else {
            partition.hand_emptied(fire.left);
            return Fired::Nothing;
        };
        let bytes = frame.header.total_len();
        self.record_bytes = fire.plain_bytes / fire.fired.len().max(1);
        match partition.append_fire(frame, now) {
            Ok(appended) => {
                partition.hand_emptied(fire.left);
                partition.forget_keys(&fire.keys);
                let dues = fire.fired.iter().map(|entry| entry.key.due).collect();
                self.firing.insert(partition.key);
                let partition = Arc::clone(partition);
                self.events.push(
                    async move {
                        let committed = partition.committed(appended.committed_at).await;
                        Event::Fired {
                            partition,
                            dues,
                            committed,
                        }
                    }
                    .boxed(),
                );
                Fired::Appended(bytes)
            }
            Err(error) => {
                let retry = !matches!(error, AppendError::Poisoned | AppendError::Closed);
                warn!(topic = %partition.topic, partition = partition.key.index, %error, retry,
                      records = fire.fired.len(), "due records could not be appended");
                partition.hand_emptied(fire.left.into_iter().chain(fire.fired));
                if retry {
                    self.retry(partition);
                }
                Fired::Later
            }
        }
    }

    fn retry_after(&mut self, partition: &Arc<Partition>, error: &PendingError) {
        error!(topic = %partition.topic, partition = partition.key.index, %error,
               "what is pending cannot be told now");
        self.retry(partition);
    }

    /// Leaves a partition alone for a while.
    fn retry(&mut self, partition: &Arc<Partition>) {
        if self.retrying.insert(partition.key) {
            let partition = Arc::clone(partition);
            self.events.push(
                async move {
                    tokio::time::sleep(RETRY_AFTER).await;
                    Event::Retry(partition)
                }
                .boxed(),
            );
        }
    }
}
