//! The transactional ids of one partition of `__transaction_state`.

use std::collections::HashMap;

use kafka_compat::protocol::error::ResponseError as Kafka;
use storage::control::MarkerKind;
use tokio::sync::mpsc;

use super::{
    record,
    service::TransactionConfig,
    state::{self, End, EndAsked, Init, InitAsked, Partitions, State, Transaction},
};
use crate::{
    config::LiveConfig,
    coordinator::{Deadlines, Decided, KeyValue, Now, Producer, Shard},
};

/// Records that say what expired, of one look: they are one batch.
const EXPIRED_MAX: usize = 10_000;

/// What a shard waits for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Deadline {
    /// A transaction takes too long.
    Timeout(String),
    /// Ids that nobody uses any more are looked for.
    Expire,
}

/// A transaction whose end is decided: markers are to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// The transactional id.
    pub id: String,
    /// In whose name; the epoch is the markers'.
    pub producer: Producer,
    /// How it ends.
    pub kind: MarkerKind,
    /// Where.
    pub partitions: Partitions,
    /// Of transactions.
    pub version: i16,
}

/// An id, as ListTransactions tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The transactional id.
    pub id: String,
    /// Who has it.
    pub producer_id: i64,
    /// Where it stands.
    pub state: State,
    /// When its transaction began; -1 none.
    pub started_ms: i64,
}

/// Transactional ids.
#[derive(Debug)]
pub struct TransactionShard {
    live: LiveConfig,
    ids: HashMap<String, Transaction>,
    deadlines: Deadlines<Deadline>,
    endings: mpsc::UnboundedSender<Ending>,
}

/// Tell that the end is decided.
#[derive(Debug)]
pub struct Then(Ending);

type Decision<R> = Decided<R, Then>;

/// What is still to be asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wants<T> {
    /// Nothing.
    Done(T),
    /// A producer id that nobody has.
    ProducerId,
}

impl TransactionShard {
    /// Without ids. Transactions whose end is decided go to `endings`.
    pub fn new(live: LiveConfig, endings: mpsc::UnboundedSender<Ending>) -> Self {
        Self {
            live,
            ids: HashMap::new(),
            deadlines: Deadlines::default(),
            endings,
        }
    }

    fn config(&self) -> TransactionConfig {
        self.live.get().transactions
    }

    /// An id.
    pub fn get(&self, id: &str) -> Option<&Transaction> {
        self.ids.get(id)
    }

    /// All ids.
    pub fn list(&self) -> impl Iterator<Item = Listed> {
        self.ids.iter().map(|(id, t)| Listed {
            id: id.clone(),
            producer_id: t.producer_id,
            state: t.state,
            started_ms: t.started_ms,
        })
    }

    /// A producer takes an id.
    pub(super) fn init(
        &mut self,
        id: &str,
        asked: InitAsked,
        now: Now,
    ) -> Decision<Result<Wants<Producer>, Kafka>> {
        match state::init(self.ids.get(id), asked, now.wall.0) {
            Ok(Init::Ready(next)) => {
                let producer = next.producer();
                self.change(id, &next, Ok(Wants::Done(producer)), now)
            }
            // Whoever had it is fenced as soon as this is on the disk.
            Ok(Init::Fenced(next)) => {
                self.change(id, &next, Err(Kafka::ConcurrentTransactions), now)
            }
            Ok(Init::NeedsId) => Decided::reply(Ok(Wants::ProducerId)),
            Err(code) => Decided::reply(Err(code)),
        }
    }

    /// Partitions take part in the producer's transaction.
    pub(super) fn add(
        &mut self,
        id: &str,
        producer: Producer,
        partitions: &Partitions,
        version: i16,
        now: Now,
    ) -> Decision<Result<(), Kafka>> {
        let known = self.ids.get(id).ok_or(Kafka::InvalidProducerIdMapping);
        let added = known.and_then(|t| t.added(producer, partitions, version, now.wall.0));
        match added {
            Ok(Some(next)) => self.change(id, &next, Ok(()), now),
            Ok(None) => Decided::reply(Ok(())),
            Err(code) => Decided::reply(Err(code)),
        }
    }

    /// The producer ends its transaction. The answer is who it is from then on.
    pub(super) fn end(
        &mut self,
        id: &str,
        asked: EndAsked,
        now: Now,
    ) -> Decision<Result<Wants<Producer>, Kafka>> {
        let known = self.ids.get(id).ok_or(Kafka::InvalidProducerIdMapping);
        match known.and_then(|t| Ok((t.producer(), t.end(asked, now.wall.0)?))) {
            Ok((_, End::Prepared(next))) => {
                let producer = next.producer_when_completed();
                self.change(id, &next, Ok(Wants::Done(producer)), now)
            }
            Ok((producer, End::Ended)) => Decided::reply(Ok(Wants::Done(producer))),
            Ok((_, End::NeedsId)) => Decided::reply(Ok(Wants::ProducerId)),
            Err(code) => Decided::reply(Err(code)),
        }
    }

    /// All markers of an ending are written.
    pub(super) fn complete(&mut self, ending: &Ending, now: Now) -> Decision<()> {
        let known = self.ids.get(&ending.id);
        let known = known.filter(|t| t.producer() == ending.producer);
        match known.and_then(|t| t.completed(now.wall.0)) {
            Some(next) => self.change(&ending.id, &next, (), now),
            None => Decided::reply(()),
        }
    }

    /// Writes down what an id becomes.
    fn change<R>(&mut self, id: &str, next: &Transaction, reply: R, now: Now) -> Decision<R> {
        let timeout = Deadline::Timeout(id.to_owned());
        match next.times_out_at() {
            // It is set where the transaction begins, and not put off.
            Some(at) => {
                let left = at.saturating_sub(now.wall.0).max(0);
                self.deadlines.set(timeout, now.steady.saturating_add(left));
            }
            None => self.deadlines.cancel(&timeout),
        }
        // The log does not have it: only a producer that asks again wants it.
        if let Some(known) = self.ids.get_mut(id) {
            known.last_epoch = next.last_epoch;
        }
        let then = ending_of(id, next).map(Then);
        Decided {
            records: vec![record::of(id, Some(next))],
            replay: true,
            reply,
            then,
        }
    }

    fn timed_out(&mut self, id: &str, now: Now) -> Decision<()> {
        let Some(open) = self.ids.get(id) else {
            return Decided::reply(());
        };
        match open.times_out_at() {
            Some(at) if at <= now.wall.0 => {
                tracing::info!(
                    transactional_id = id,
                    "a transaction took too long: it is aborted"
                );
                let fenced = open.fenced(now.wall.0);
                self.change(id, &fenced, (), now)
            }
            // The wall's clock went back.
            Some(at) => {
                let left = at.saturating_sub(now.wall.0);
                let deadline = Deadline::Timeout(id.to_owned());
                self.deadlines
                    .set(deadline, now.steady.saturating_add(left));
                Decided::reply(())
            }
            None => Decided::reply(()),
        }
    }

    /// Ids that were not used for long enough.
    fn expire(&mut self, now: Now) -> Decision<()> {
        let config = self.config();
        let is_over = |t: &&Transaction| {
            let is_idle = matches!(
                t.state,
                State::Empty | State::CompleteCommit | State::CompleteAbort
            );
            is_idle && now.wall.0.saturating_sub(t.updated_ms) >= config.id_expiration_ms
        };
        let over = self.ids.iter().filter(|(_, t)| is_over(t));
        let mut records: Vec<_> = over.map(|(id, _)| record::of(id, None)).collect();
        let every = if records.len() > EXPIRED_MAX {
            config.id_check_interval_ms.min(1_000)
        } else {
            config.id_check_interval_ms
        };
        records.truncate(EXPIRED_MAX);
        self.deadlines
            .set(Deadline::Expire, now.steady.saturating_add(every));
        Decided::write(records, ())
    }
}

fn ending_of(id: &str, t: &Transaction) -> Option<Ending> {
    Some(Ending {
        id: id.to_owned(),
        producer: t.producer(),
        kind: t.ending()?,
        partitions: t.partitions.clone(),
        version: t.client_version,
    })
}

impl Shard for TransactionShard {
    type Then = Then;

    fn replay(&mut self, record: &KeyValue) {
        match record::read(record) {
            Some((id, Some(next))) => {
                let last_epoch = self.ids.get(&id).map_or(-1, |known| known.last_epoch);
                self.ids.insert(id, Transaction { last_epoch, ..next });
            }
            Some((id, None)) => {
                self.ids.remove(&id);
            }
            None => {}
        }
    }

    fn loaded(&mut self, now: Now) {
        let mut endings = Vec::new();
        for (id, t) in &self.ids {
            endings.extend(ending_of(id, t));
            if let Some(at) = t.times_out_at() {
                let left = at.saturating_sub(now.wall.0).max(0);
                let deadline = Deadline::Timeout(id.clone());
                self.deadlines
                    .set(deadline, now.steady.saturating_add(left));
            }
        }
        for ending in endings {
            // Nobody listens where the node stops.
            drop(self.endings.send(ending));
        }
        let every = self.config().id_check_interval_ms;
        self.deadlines
            .set(Deadline::Expire, now.steady.saturating_add(every));
    }

    fn next_deadline(&self) -> Option<i64> {
        self.deadlines.next()
    }

    fn on_deadline(&mut self, now: Now) -> Option<Decision<()>> {
        Some(match self.deadlines.pop(now.steady)? {
            Deadline::Timeout(id) => self.timed_out(&id, now),
            Deadline::Expire => self.expire(now),
        })
    }

    fn on_topics_gone(&mut self, _is_gone: &dyn Fn(&str) -> bool) -> Decision<()> {
        // Markers for them are left out when the transaction ends.
        Decided::reply(())
    }

    fn then(&mut self, Then(ending): Then, committed: bool, _now: Now) -> Decision<()> {
        if committed {
            drop(self.endings.send(ending));
        }
        Decided::reply(())
    }
}
