//! The group commit through the journal of the node ([`crate::journal`]): small tails of many logs, one write and one sync.
//!
//! One thread has the journal. It takes all tails that wait, makes them durable together, tells the logs, and takes those
//! that came meanwhile. When a half of the journal is full, a thread that syncs files syncs the logs that the half speaks of,
//! while the other half is filled; if that takes longer, tails are synced as large ones are.
//!
//! The journal is made when it is worth its room: an idle node has none. It grows with what is written to it. After a failed
//! write to it, or where the segments could not be made to have what it has, it is not used any more while the node runs, and
//! is left as it is for the next start.

use std::{
    collections::{HashMap, VecDeque},
    io,
    path::PathBuf,
    sync::{Arc, Weak},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::MutexGuard;
use tracing::{error, info, warn};

use super::{
    commit::TailRound,
    log::Log,
    syncer::{Queue, Request, now},
};
use crate::{
    disk::Disk,
    journal::{Half, Journal, Tail},
};

/// A larger tail is synced in its own file: there a byte is written once.
const TAIL_BYTES_MAX: u64 = 32 << 10;
/// The tails of a round; what waits behind them is in the next one.
const ROUND_BYTES_MAX: u64 = 1 << 20;
/// After so many bytes in the journal a log's segment is synced, so that little is left to do when the half is full: one large
/// write would hold up the journal's small ones.
const EASE_AFTER_BYTES: u64 = 256 << 10;
/// A log's first turn comes that much earlier than the one of the log before it.
const EASE_SPREAD_BYTES: u64 = 17 << 10;
/// So many syncs of small tails make a journal worth its room.
const MAKE_AFTER: u32 = 8;
/// A half when it is made.
const HALF_BYTES_AT_FIRST: u64 = 4 << 20;
/// A half that is filled in less is made twice as large.
const GROW_BELOW: Duration = Duration::from_secs(4);

/// Where the journal is.
#[derive(Debug)]
pub struct JournalOptions {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The node's folder, which those of all its logs are in.
    pub node_dir: PathBuf,
    /// What there is of it, replayed.
    pub journal: Option<Journal>,
    /// What both halves together may take.
    pub bytes_max: u64,
}

/// What becomes of small tails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum State {
    /// They are synced as large ones.
    #[default]
    Off,
    /// So are these, and counted: there may be a journal soon.
    Counted(u32),
    /// They go to the journal.
    On,
    /// What a half has is not in the segments, and cannot be brought there.
    Stuck,
}

/// What waits for the journal's thread, and what others did for it.
#[derive(Default)]
pub(super) struct JournalQueue {
    pub(super) state: State,
    pub(super) tails: VecDeque<Request>,
    pub(super) is_closing: bool,
    pub(super) to_settle: VecDeque<Settle>,
    settling: usize,
    /// Logs whose segments lag far behind. Bounded by the size of a half.
    pub(super) to_ease: VecDeque<Weak<Log>>,
    /// One is synced for that: one at a time leaves the disk to those that are waited for.
    pub(super) is_easing: bool,
    /// The half that may be filled next.
    spare: Option<Half>,
}

impl JournalQueue {
    pub(super) fn takes(&self, bytes: u64) -> bool {
        self.state == State::On && bytes <= TAIL_BYTES_MAX
    }

    /// Counts a small tail that there was no journal for; whether one has to be made now.
    pub(super) fn is_wanted_now(&mut self, bytes: u64) -> bool {
        let State::Counted(small) = &mut self.state else {
            return false;
        };
        *small += u32::from(bytes <= TAIL_BYTES_MAX && *small < MAKE_AFTER);
        *small == MAKE_AFTER
    }

    fn is_wanted(&self) -> bool {
        self.state == State::Counted(MAKE_AFTER)
    }
}

/// A half whose logs are to be synced.
pub(super) struct Settle {
    logs: Vec<Weak<Log>>,
    /// Given back when that is done, with the generation from which on its rounds are not over; `None` where the journal ended.
    half: Option<(Half, u64)>,
    /// The size it should have then.
    bytes: u64,
}

/// Starts the thread that has the journal.
pub(super) fn start(queue: Arc<Queue>, options: JournalOptions) -> io::Result<JoinHandle<()>> {
    if options.journal.is_none() {
        queue.waiting.lock().journal.state = State::Counted(0);
    }
    std::thread::Builder::new()
        .name("journal".into())
        .spawn(move || {
            let half_bytes_max = options.bytes_max / 2;
            if let Some(journal) = journal_of(&queue, options) {
                JournalWriter::new(queue, journal, half_bytes_max).run();
            }
        })
}

/// What there is, or a new one once it is wanted.
fn journal_of(queue: &Queue, options: JournalOptions) -> Option<Journal> {
    if options.journal.is_some() {
        return options.journal;
    }
    {
        let mut waiting = queue.waiting.lock();
        while !waiting.journal.is_wanted() {
            if waiting.stop || waiting.journal.is_closing {
                return None;
            }
            queue.journal_bell.wait(&mut waiting);
        }
    }
    let half_bytes = HALF_BYTES_AT_FIRST.min(options.bytes_max / 2);
    match Journal::make(&*options.disk, &options.node_dir, half_bytes) {
        Ok(journal) => Some(journal),
        Err(error) => {
            warn!(%error, "no journal could be made: small appends are synced log by log");
            queue.waiting.lock().journal.state = State::Off;
            None
        }
    }
}

/// Syncs the logs of a half, and gives it back.
pub(super) fn settle(queue: &Queue, settle: Settle) {
    let is_settled = settle_all(settle.logs.iter());
    let half = settle.half.filter(|_| is_settled);
    let given_back = half.map(|(half, generation)| give_back(half, generation, settle.bytes));
    let mut waiting = queue.waiting.lock();
    waiting.journal.settling -= 1;
    match given_back {
        Some(Ok(half)) => waiting.journal.spare = Some(half),
        Some(Err(error)) => {
            error!(%error, "a half of the journal cannot be used again");
            waiting.journal.state = State::Stuck;
        }
        None if !is_settled => waiting.journal.state = State::Stuck,
        None => {}
    }
    queue.journal_bell.notify_all();
}

/// A half of which the segments have all.
fn give_back(mut half: Half, generation: u64, bytes: u64) -> io::Result<Half> {
    // Before its first round is written: if that is torn, what is behind it must not look like the rest of it.
    half.begin_at(generation)?;
    let before = half.bytes();
    if before < bytes
        && let Err(error) = half.grow(bytes)
    {
        info!(%error, bytes = before, "the journal does not grow");
    }
    Ok(half)
}

/// Whether the segments have what the journal has; a log that is gone was deleted.
fn settle_all<'a>(logs: impl Iterator<Item = &'a Weak<Log>>) -> bool {
    // All of them, also behind one that failed.
    let failed = logs.filter_map(Weak::upgrade).filter(|log| !log.settle());
    failed.count() == 0
}

/// The thread's own.
pub(super) struct JournalWriter {
    queue: Arc<Queue>,
    journal: Journal,
    /// The logs that the half speaks of, by address; each with the bytes of it since it was last synced.
    members: HashMap<usize, (Weak<Log>, u64)>,
    /// When the half was begun.
    since: Instant,
    half_bytes_max: u64,
}

/// A log whose tail is in a round.
struct Served<'a> {
    round: TailRound<'a>,
    request: (&'a Arc<Log>, u64),
}

fn weak((log, request): (&Arc<Log>, u64)) -> Request {
    (Arc::downgrade(log), request)
}

fn requests_of(served: &[Served<'_>]) -> Vec<Request> {
    served.iter().map(|served| weak(served.request)).collect()
}

/// Why the thread ends.
enum Ended {
    /// The node stops, or is gone.
    Asked,
    /// The journal cannot be used any more.
    Broken,
}

impl JournalWriter {
    /// From here on small tails are its own.
    pub(super) fn new(queue: Arc<Queue>, journal: Journal, half_bytes_max: u64) -> Self {
        {
            let mut waiting = queue.waiting.lock();
            waiting.journal.spare = journal.other_half();
            waiting.journal.state = State::On;
        }
        Self {
            queue,
            journal,
            members: HashMap::new(),
            since: now(),
            half_bytes_max,
        }
    }

    fn run(mut self) {
        let ended = loop {
            let requests = match self.gather() {
                Ok(requests) => requests,
                Err(ended) => break ended,
            };
            if let Err(error) = self.round(requests) {
                error!(%error, "writing the journal failed: from now on each log is synced alone; the next start reads the journal");
                break Ended::Broken;
            }
        };
        self.end(&ended);
    }

    /// Waits for tails, and takes all.
    fn gather(&self) -> Result<Vec<Request>, Ended> {
        let mut waiting = self.queue.waiting.lock();
        loop {
            if waiting.stop || waiting.journal.is_closing {
                return Err(Ended::Asked);
            }
            if waiting.journal.state == State::Stuck {
                error!(
                    "a log could not be synced: the journal is kept for the next start, and not used any more"
                );
                return Err(Ended::Broken);
            }
            if !waiting.journal.tails.is_empty() {
                return Ok(waiting.journal.tails.drain(..).collect());
            }
            self.queue.journal_bell.wait(&mut waiting);
        }
    }

    /// Makes the tails durable, and tells their logs.
    pub(super) fn round(&mut self, requests: Vec<Request>) -> io::Result<()> {
        let logs: Vec<(Arc<Log>, u64)> = requests
            .into_iter()
            .filter_map(|(log, request)| Some((log.upgrade()?, request)))
            .collect();
        let mut served = Vec::with_capacity(logs.len());
        let mut left_out = Vec::new();
        let mut bytes = 0;
        for (log, request) in &logs {
            let request = (log, *request);
            let Some(round) = log.begin_tail() else {
                continue;
            };
            let tail = round.tail();
            if tail.is_empty() {
                // Another round was faster.
                round.end(request.1);
                continue;
            }
            if bytes + tail.len() <= ROUND_BYTES_MAX && self.journal.is_of_this_node(tail.folder) {
                bytes += tail.len();
                served.push(Served { round, request });
            } else {
                left_out.push(weak(request));
            }
        }
        if !left_out.is_empty() {
            self.queue.sync_files(left_out);
        }
        let tails: Vec<Tail<'_>> = served.iter().map(|served| served.round.tail()).collect();
        if !self.journal.has_room(&tails) && !self.switch(&tails) {
            self.queue.sync_files(requests_of(&served));
            return Ok(());
        }
        let started = now();
        let written = self.journal.write(&tails);
        if written.is_err() {
            self.queue.sync_files(requests_of(&served));
        }
        self.queue.told(started.elapsed(), written?);
        let mut lagging = Vec::new();
        for Served {
            round,
            request: (log, request),
        } in served
        {
            let address = Arc::as_ptr(log).addr();
            // Logs of one topic grow alike: their turns are spread.
            let at_first = self.members.len() as u64 * EASE_SPREAD_BYTES % EASE_AFTER_BYTES;
            let member = self.members.entry(address);
            let (_, bytes) = member.or_insert_with(|| (Arc::downgrade(log), at_first));
            *bytes += round.tail().len();
            if *bytes >= EASE_AFTER_BYTES {
                *bytes = 0;
                lagging.push(Arc::downgrade(log));
            }
            round.end(request);
        }
        if !lagging.is_empty() {
            self.queue.waiting.lock().journal.to_ease.extend(lagging);
            self.queue.bell.notify_one();
        }
        Ok(())
    }

    /// Goes on in the other half; false where that is not free, or too small.
    fn switch(&mut self, tails: &[Tail<'_>]) -> bool {
        let mut waiting = self.queue.waiting.lock();
        let Some(spare) = waiting.journal.spare.take() else {
            return false;
        };
        let half = self.journal.switch(spare);
        let is_busy = self.since.elapsed() < GROW_BELOW;
        self.since = now();
        let bytes = half.as_ref().map_or(0, |(half, _)| half.bytes());
        let wanted = if is_busy { bytes * 2 } else { bytes };
        waiting.journal.settling += 1;
        waiting.journal.to_settle.push_back(Settle {
            logs: self.members.drain().map(|(_, (log, _))| log).collect(),
            half,
            bytes: wanted.min(self.half_bytes_max),
        });
        drop(waiting);
        self.queue.bell.notify_one();
        self.journal.has_room(tails)
    }

    /// What waits is synced otherwise. After a clean end the segments have all that was acked.
    fn end(self, ended: &Ended) {
        let mut waiting = self.queue.waiting.lock();
        waiting.journal.state = State::Off;
        let tails: Vec<Request> = waiting.journal.tails.drain(..).collect();
        if waiting.stop {
            return;
        }
        if matches!(ended, Ended::Broken) {
            // As soon as the segments have all of it, only a part of the logs can be harmed by what is wrong with the journal.
            let logs = self.members.into_values().map(|(log, _)| log).collect();
            waiting.journal.settling += 1;
            waiting.journal.to_settle.push_back(Settle {
                logs,
                half: None,
                bytes: 0,
            });
            drop(waiting);
            self.queue.sync_files(tails);
            return;
        }
        MutexGuard::unlocked(&mut waiting, || self.queue.sync_files(tails));
        while waiting.journal.settling > 0 && !waiting.stop {
            self.queue.journal_bell.wait(&mut waiting);
        }
        let is_stuck = waiting.journal.state == State::Stuck;
        drop(waiting);
        if is_stuck || !settle_all(self.members.values().map(|(log, _)| log)) {
            return;
        }
        if let Err(error) = self.journal.end() {
            info!(%error, "the journal could not be emptied: the next start reads it");
        }
    }
}
