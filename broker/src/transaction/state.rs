//! A transactional id, and the steps that it takes. Pure: a step returns what is to become of it, or Kafka's code.
//!
//! ```text
//! Empty -> Ongoing -> PrepareCommit -> CompleteCommit -> Ongoing ...
//!                  \> PrepareAbort  -> CompleteAbort  -> Ongoing ...     (InitProducerId makes it Empty from a Complete one)
//! ```
//! Once a Prepare is on the disk the transaction ends that way, whatever happens: markers are written, again after a crash.
//!
//! Two versions of transactions: up to 1 a producer keeps its epoch, from 2 on each transaction's end raises it, so that nothing late
//! can touch the next one (KIP-890). Source: Apache Kafka, `TransactionMetadata`, `TransactionCoordinator`.

use std::collections::{BTreeMap, BTreeSet};

use kafka_compat::protocol::error::ResponseError as Kafka;
use storage::control::MarkerKind;

use crate::coordinator::Producer;

/// Nobody.
pub(super) const NO_ID: i64 = -1;
const NO_EPOCH: i16 = -1;
/// From this version on each transaction has an epoch of its own.
pub(super) const EPOCH_PER_TRANSACTION: i16 = 2;
/// The version that the node itself speaks, where no client asked: see `kafka_compat::features`.
pub(super) const OWN_VERSION: i16 = 2;

/// Where a transactional id stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    missing_docs,
    reason = "Kafka's own names, drawn at the top of this file"
)]
pub enum State {
    #[default]
    Empty,
    Ongoing,
    PrepareCommit,
    PrepareAbort,
    CompleteCommit,
    CompleteAbort,
}

/// All of them.
pub const STATES: [State; 6] = [
    State::Empty,
    State::Ongoing,
    State::PrepareCommit,
    State::PrepareAbort,
    State::CompleteCommit,
    State::CompleteAbort,
];

impl State {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
        }
    }

    fn is_prepared(self) -> bool {
        matches!(self, Self::PrepareCommit | Self::PrepareAbort)
    }

    fn prepare(kind: MarkerKind) -> Self {
        match kind {
            MarkerKind::Commit => Self::PrepareCommit,
            MarkerKind::Abort => Self::PrepareAbort,
        }
    }

    /// How its last transaction ended, or ends.
    fn kind(self) -> Option<MarkerKind> {
        match self {
            Self::PrepareCommit | Self::CompleteCommit => Some(MarkerKind::Commit),
            Self::PrepareAbort | Self::CompleteAbort => Some(MarkerKind::Abort),
            Self::Empty | Self::Ongoing => None,
        }
    }
}

/// Partitions of topics.
pub type Partitions = BTreeMap<String, BTreeSet<i32>>;

/// A transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Who has it now.
    pub producer_id: i64,
    /// Who had it before its last change.
    pub previous_producer_id: i64,
    /// Who has it when its transaction ended: its epochs are used up.
    pub next_producer_id: i64,
    /// Of who has it.
    pub epoch: i16,
    /// The epoch before, where a producer that raised it may ask again; not in the log.
    pub last_epoch: i16,
    /// A transaction that takes longer is aborted.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: State,
    /// What takes part.
    pub partitions: Partitions,
    /// When its transaction began; -1 none.
    pub started_ms: i64,
    /// When it changed last.
    pub updated_ms: i64,
    /// The version of transactions that its client speaks.
    pub client_version: i16,
}

/// The epochs of a producer id that clients may use are used up: the last one is the coordinator's, for fencing.
fn is_exhausted(epoch: i16) -> bool {
    epoch >= i16::MAX - 1
}

/// What InitProducerId leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Init {
    /// The producer has it now.
    Ready(Transaction),
    /// Its transaction is open: it is aborted first, and whoever had it is fenced. The client asks again.
    Fenced(Transaction),
    /// A producer id is wanted.
    NeedsId,
}

/// What EndTxn leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It ends so.
    Prepared(Transaction),
    /// It ended so before: the client asks again.
    Ended,
    /// A producer id is wanted.
    NeedsId,
}

/// Who asks for InitProducerId, and for what.
#[derive(Clone, Copy, Debug)]
pub(super) struct InitAsked {
    pub(super) timeout_ms: i32,
    /// Who it was, where it goes on after an error (KIP-360).
    pub(super) expected: Option<Producer>,
    /// One that nobody has.
    pub(super) fresh_id: Option<i64>,
}

/// Who asks for EndTxn, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndAsked {
    pub(super) producer: Producer,
    pub(super) kind: MarkerKind,
    pub(super) version: i16,
    pub(super) fresh_id: Option<i64>,
}

/// InitProducerId of an id that is there, or is not yet.
pub(super) fn init(
    known: Option<&Transaction>,
    asked: InitAsked,
    now_ms: i64,
) -> Result<Init, Kafka> {
    let Some(known) = known else {
        let Some(producer_id) = asked.fresh_id else {
            return Ok(Init::NeedsId);
        };
        return Ok(Init::Ready(Transaction {
            producer_id,
            previous_producer_id: producer_id,
            next_producer_id: NO_ID,
            epoch: 0,
            last_epoch: NO_EPOCH,
            timeout_ms: asked.timeout_ms,
            state: State::Empty,
            partitions: Partitions::new(),
            started_ms: -1,
            updated_ms: now_ms,
            client_version: 0,
        }));
    };
    // Who asks with an id of before may be somebody whose answer was lost when the epochs were used up.
    let is_valid = |expected: Producer| {
        expected.id == known.producer_id
            || (expected.id == known.previous_producer_id && is_exhausted(expected.epoch))
    };
    if !asked.expected.is_none_or(is_valid) {
        return Err(Kafka::ProducerFenced);
    }
    match known.state {
        State::PrepareCommit | State::PrepareAbort => Err(Kafka::ConcurrentTransactions),
        State::Ongoing => Ok(Init::Fenced(known.fenced(now_ms))),
        State::Empty | State::CompleteCommit | State::CompleteAbort => {
            known.reinitialized(asked, now_ms)
        }
    }
}

impl Transaction {
    /// Who has it.
    pub fn producer(&self) -> Producer {
        Producer {
            id: self.producer_id,
            epoch: self.epoch,
        }
    }

    /// When its open transaction is aborted.
    pub(super) fn times_out_at(&self) -> Option<i64> {
        let is_open = self.state == State::Ongoing && self.timeout_ms < i32::MAX;
        is_open.then(|| self.started_ms.saturating_add(self.timeout_ms.into()))
    }

    /// How it ends, where that is decided.
    pub(super) fn ending(&self) -> Option<MarkerKind> {
        self.state.kind().filter(|_| self.state.is_prepared())
    }

    /// The same id for who comes next.
    fn reinitialized(&self, asked: InitAsked, now_ms: i64) -> Result<Init, Kafka> {
        let expected = asked.expected.map(|expected| expected.epoch);
        let next = Self {
            previous_producer_id: self.producer_id,
            timeout_ms: asked.timeout_ms,
            state: State::Empty,
            partitions: Partitions::new(),
            started_ms: -1,
            updated_ms: now_ms,
            ..self.clone()
        };
        if is_exhausted(self.epoch) && expected.is_none_or(|epoch| epoch == self.epoch) {
            let Some(producer_id) = asked.fresh_id else {
                return Ok(Init::NeedsId);
            };
            return Ok(Init::Ready(Self {
                producer_id,
                epoch: 0,
                last_epoch: expected.map_or(NO_EPOCH, |_| self.epoch),
                ..next
            }));
        }
        let raised = self.epoch.saturating_add(1);
        Ok(Init::Ready(match expected {
            // A new producer: nobody may go on with what was before.
            None => Self {
                epoch: raised,
                last_epoch: NO_EPOCH,
                ..next
            },
            Some(expected) if expected == self.epoch => Self {
                epoch: raised,
                last_epoch: self.epoch,
                ..next
            },
            // Its answer was lost.
            Some(expected) if expected == self.last_epoch => next,
            Some(_) => return Err(Kafka::ProducerFenced),
        }))
    }

    /// Its open transaction is aborted, and its producer fenced by the epoch that follows.
    pub(super) fn fenced(&self, now_ms: i64) -> Self {
        Self {
            previous_producer_id: self.producer_id,
            next_producer_id: NO_ID,
            epoch: self.epoch.saturating_add(1),
            last_epoch: self.epoch,
            state: State::PrepareAbort,
            updated_ms: now_ms,
            client_version: OWN_VERSION,
            ..self.clone()
        }
    }

    /// Partitions take part, as a client of that version asks; `None` where they do already.
    pub(super) fn added(
        &self,
        producer: Producer,
        partitions: &Partitions,
        version: i16,
        now_ms: i64,
    ) -> Result<Option<Self>, Kafka> {
        self.belongs_to(producer)?;
        if self.state.is_prepared() {
            return Err(Kafka::ConcurrentTransactions);
        }
        let is_open = self.state == State::Ongoing;
        if is_open && self.has_all(partitions) {
            return Ok(None);
        }
        let mut all = if is_open {
            self.partitions.clone()
        } else {
            Partitions::new()
        };
        for (topic, indexes) in partitions {
            let of_topic = all.entry(topic.clone()).or_default();
            of_topic.extend(indexes);
        }
        Ok(Some(Self {
            previous_producer_id: self.producer_id,
            state: State::Ongoing,
            partitions: all,
            started_ms: if is_open { self.started_ms } else { now_ms },
            updated_ms: now_ms,
            client_version: version,
            ..self.clone()
        }))
    }

    /// Whether a partition takes part.
    pub(super) fn verify(
        &self,
        producer: Producer,
        topic: &str,
        partition: i32,
    ) -> Result<(), Kafka> {
        self.belongs_to(producer)?;
        if self.state.is_prepared() {
            return Err(Kafka::ConcurrentTransactions);
        }
        let of_topic = self.partitions.get(topic);
        let takes_part = of_topic.is_some_and(|of_topic| of_topic.contains(&partition));
        takes_part.then_some(()).ok_or(Kafka::TransactionAbortable)
    }

    fn belongs_to(&self, producer: Producer) -> Result<(), Kafka> {
        if producer.id != self.producer_id {
            return Err(Kafka::InvalidProducerIdMapping);
        }
        if producer.epoch != self.epoch {
            return Err(Kafka::ProducerFenced);
        }
        Ok(())
    }

    fn has_all(&self, partitions: &Partitions) -> bool {
        partitions.iter().all(|(topic, indexes)| {
            let of_topic = self.partitions.get(topic);
            of_topic.is_some_and(|of_topic| indexes.is_subset(of_topic))
        })
    }

    /// EndTxn.
    pub(super) fn end(&self, asked: EndAsked, now_ms: i64) -> Result<End, Kafka> {
        if asked.version >= EPOCH_PER_TRANSACTION {
            self.end_and_raise(asked, now_ms)
        } else {
            self.end_as_before(asked, now_ms)
        }
    }

    /// A client that keeps its epoch.
    fn end_as_before(&self, asked: EndAsked, now_ms: i64) -> Result<End, Kafka> {
        self.belongs_to(asked.producer)?;
        let same = self.state.kind() == Some(asked.kind);
        match self.state {
            State::Ongoing => Ok(End::Prepared(Self {
                previous_producer_id: self.producer_id,
                next_producer_id: NO_ID,
                state: State::prepare(asked.kind),
                updated_ms: now_ms,
                client_version: 0,
                ..self.clone()
            })),
            State::CompleteCommit | State::CompleteAbort if same => Ok(End::Ended),
            State::PrepareCommit | State::PrepareAbort if same => {
                Err(Kafka::ConcurrentTransactions)
            }
            _ => Err(Kafka::InvalidTxnState),
        }
    }

    /// A client whose epoch is raised with each transaction. It asks again with the epoch of before.
    fn end_and_raise(&self, asked: EndAsked, now_ms: i64) -> Result<End, Kafka> {
        let EndAsked { producer, kind, .. } = asked;
        let after_overflow = self.previous_producer_id == producer.id
            && producer.epoch == i16::MAX - 1
            && self.epoch == 0;
        let after_raise = self.epoch == producer.epoch.saturating_add(1);
        if producer.id != self.producer_id && !after_overflow {
            return Err(Kafka::InvalidProducerIdMapping);
        }
        let is_current = producer.epoch == self.epoch;
        let is_valid = match self.state {
            State::Ongoing | State::Empty => is_current,
            State::PrepareCommit | State::PrepareAbort => after_raise,
            State::CompleteCommit | State::CompleteAbort => {
                is_current || after_raise || after_overflow
            }
        };
        if !is_valid {
            return Err(Kafka::ProducerFenced);
        }
        let is_retry = after_raise || after_overflow;
        let same = self.state.kind() == Some(kind);
        match self.state {
            State::Ongoing => Ok(self.raised(asked, now_ms)),
            State::PrepareCommit | State::PrepareAbort if same => {
                Err(Kafka::ConcurrentTransactions)
            }
            State::CompleteCommit | State::CompleteAbort if is_retry && same => Ok(End::Ended),
            // An abort of nothing raises the epoch, too: a batch that is on its way is fenced.
            State::Empty | State::CompleteCommit | State::CompleteAbort
                if kind == MarkerKind::Abort && !is_retry =>
            {
                let nothing = Self {
                    partitions: Partitions::new(),
                    started_ms: now_ms,
                    ..self.clone()
                };
                Ok(nothing.raised(asked, now_ms))
            }
            _ => Err(Kafka::InvalidTxnState),
        }
    }

    fn raised(&self, asked: EndAsked, now_ms: i64) -> End {
        let next_producer_id = match (is_exhausted(self.epoch), asked.fresh_id) {
            (false, _) => NO_ID,
            (true, Some(id)) => id,
            (true, None) => return End::NeedsId,
        };
        End::Prepared(Self {
            previous_producer_id: self.producer_id,
            next_producer_id,
            epoch: self.epoch.saturating_add(1),
            last_epoch: self.epoch,
            state: State::prepare(asked.kind),
            updated_ms: now_ms,
            client_version: asked.version,
            ..self.clone()
        })
    }

    /// All markers are written; `None` where nothing is prepared.
    pub(super) fn completed(&self, now_ms: i64) -> Option<Self> {
        let state = match self.ending()? {
            MarkerKind::Commit => State::CompleteCommit,
            MarkerKind::Abort => State::CompleteAbort,
        };
        let Producer { id, epoch } = self.producer_when_completed();
        Some(Self {
            producer_id: id,
            previous_producer_id: self.producer_id,
            next_producer_id: NO_ID,
            epoch,
            state,
            partitions: Partitions::new(),
            updated_ms: now_ms,
            ..self.clone()
        })
    }

    /// Who has it when its transaction ended.
    pub(super) fn producer_when_completed(&self) -> Producer {
        let raises = self.client_version >= EPOCH_PER_TRANSACTION;
        if raises && self.next_producer_id != NO_ID {
            Producer {
                id: self.next_producer_id,
                epoch: 0,
            }
        } else {
            self.producer()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Transaction {
        let asked = InitAsked {
            timeout_ms: 1_000,
            expected: None,
            fresh_id: Some(7),
        };
        match init(None, asked, 5).unwrap() {
            Init::Ready(t) => t,
            other => panic!("{other:?}"),
        }
    }

    fn at(state: State, epoch: i16) -> Transaction {
        Transaction {
            epoch,
            state,
            ..fresh()
        }
    }

    fn ask(epoch: i16, kind: MarkerKind, version: i16) -> EndAsked {
        EndAsked {
            producer: Producer { id: 7, epoch },
            kind,
            version,
            fresh_id: Some(8),
        }
    }

    fn told(end: Result<End, Kafka>) -> String {
        match end {
            Ok(End::Prepared(t)) => format!("{:?} {}", t.state, t.epoch),
            Ok(other) => format!("{other:?}"),
            Err(code) => format!("{code:?}"),
        }
    }

    /// The table in Kafka's `TransactionCoordinator`.
    #[test]
    fn ends_are_judged_as_kafka_does() {
        use MarkerKind::{Abort, Commit};
        use State::*;
        let table = [
            (Empty, Abort, 4, "ProducerFenced"),
            (Empty, Abort, 5, "PrepareAbort 6"),
            (Empty, Commit, 4, "ProducerFenced"),
            (Empty, Commit, 5, "InvalidTxnState"),
            (Ongoing, Abort, 5, "PrepareAbort 6"),
            (Ongoing, Commit, 5, "PrepareCommit 6"),
            (Ongoing, Commit, 4, "ProducerFenced"),
            (PrepareCommit, Commit, 4, "ConcurrentTransactions"),
            (PrepareCommit, Abort, 4, "InvalidTxnState"),
            (PrepareCommit, Commit, 5, "ProducerFenced"),
            (PrepareAbort, Abort, 4, "ConcurrentTransactions"),
            (CompleteAbort, Abort, 4, "Ended"),
            (CompleteAbort, Abort, 5, "PrepareAbort 6"),
            (CompleteAbort, Commit, 4, "InvalidTxnState"),
            (CompleteAbort, Commit, 5, "InvalidTxnState"),
            (CompleteCommit, Abort, 4, "InvalidTxnState"),
            (CompleteCommit, Abort, 5, "PrepareAbort 6"),
            (CompleteCommit, Commit, 4, "Ended"),
            (CompleteCommit, Commit, 5, "InvalidTxnState"),
            (CompleteCommit, Commit, 6, "ProducerFenced"),
        ];
        for (state, kind, epoch, expected) in table {
            let end = at(state, 5).end(ask(epoch, kind, 2), 9);
            assert_eq!(told(end), expected, "{state:?} {kind:?} {epoch}");
        }
        let table = [
            (Empty, Abort, 5, "InvalidTxnState"),
            (Ongoing, Commit, 5, "PrepareCommit 5"),
            (Ongoing, Commit, 4, "ProducerFenced"),
            (Ongoing, Commit, 6, "ProducerFenced"),
            (PrepareCommit, Commit, 5, "ConcurrentTransactions"),
            (PrepareAbort, Commit, 5, "InvalidTxnState"),
            (CompleteCommit, Commit, 5, "Ended"),
            (CompleteCommit, Abort, 5, "InvalidTxnState"),
            (CompleteAbort, Abort, 5, "Ended"),
        ];
        for (state, kind, epoch, expected) in table {
            let end = at(state, 5).end(ask(epoch, kind, 0), 9);
            assert_eq!(told(end), expected, "{state:?} {kind:?} {epoch} before");
        }
        let other = EndAsked {
            producer: Producer { id: 6, epoch: 5 },
            ..ask(5, Commit, 2)
        };
        assert_eq!(
            told(at(Ongoing, 5).end(other, 9)),
            "InvalidProducerIdMapping"
        );
    }

    #[test]
    fn epochs_that_are_used_up_take_a_new_id() {
        let last = i16::MAX - 1;
        let open = at(State::Ongoing, last);
        let Ok(End::Prepared(prepared)) = open.end(ask(last, MarkerKind::Commit, 2), 9) else {
            panic!("not prepared");
        };
        assert_eq!((prepared.producer_id, prepared.epoch), (7, i16::MAX));
        let next = prepared.completed(10).unwrap();
        assert_eq!((next.producer_id, next.epoch), (8, 0));
        // Its answer was lost: it asks again as who it was.
        assert_eq!(
            next.end(ask(last, MarkerKind::Commit, 2), 11),
            Ok(End::Ended)
        );
        let without = EndAsked {
            fresh_id: None,
            ..ask(last, MarkerKind::Commit, 2)
        };
        assert_eq!(open.end(without, 9), Ok(End::NeedsId));
    }

    #[test]
    fn who_comes_again_is_told_from_who_was_fenced() {
        let asked = |expected: Option<(i64, i16)>| InitAsked {
            timeout_ms: 1_000,
            expected: expected.map(|(id, epoch)| Producer { id, epoch }),
            fresh_id: Some(99),
        };
        let ready = |t: &Transaction, expected| match init(Some(t), asked(expected), 9) {
            Ok(Init::Ready(t)) => format!("{} {} {}", t.producer_id, t.epoch, t.last_epoch),
            Ok(Init::Fenced(t)) => format!("{:?} {}", t.state, t.epoch),
            other => format!("{other:?}"),
        };
        let idle = Transaction {
            last_epoch: 3,
            ..at(State::CompleteCommit, 4)
        };
        assert_eq!(ready(&idle, None), "7 5 -1");
        assert_eq!(ready(&idle, Some((7, 4))), "7 5 4");
        assert_eq!(ready(&idle, Some((7, 3))), "7 4 3");
        assert_eq!(ready(&idle, Some((7, 2))), "Err(ProducerFenced)");
        assert_eq!(ready(&idle, Some((6, 4))), "Err(ProducerFenced)");
        assert_eq!(ready(&at(State::Ongoing, 4), None), "PrepareAbort 5");
        let prepared = at(State::PrepareAbort, 4);
        assert_eq!(ready(&prepared, None), "Err(ConcurrentTransactions)");
        let used_up = at(State::Empty, i16::MAX - 1);
        assert_eq!(ready(&used_up, None), "99 0 -1");
        let again = Some((7, i16::MAX - 1));
        assert_eq!(ready(&used_up, again), format!("99 0 {}", i16::MAX - 1));
    }
}
