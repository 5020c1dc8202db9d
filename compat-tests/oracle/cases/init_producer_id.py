"""InitProducerId 0-5 with a transactional id (KIP-98, KIP-360), and what 6 is answered (KIP-939)."""

from __future__ import annotations

from cases import add, case, simple
from cases.helpers import produce_body
from cases.txn_helpers import Txn, adding, describe, ending, initing, look, offsets_adding, patiently, records, txn
from talk import Talk

API = "InitProducerId"
RECOVERY, TWO_PHASE = (3, 6), (6, 6)
MAX_TIMEOUT = 900_000


@case(API)
def transactional_id_new(t: Talk) -> None:
    """Epoch 0; then one more each time."""
    name = txn(t)
    for _ in range(3):
        t.ask(initing(name))
    describe(t, name)


@case(API)
def transactional_ids_apart(t: Talk) -> None:
    """Each has a producer id of its own."""
    for suffix in ("a", "b", "a", "b"):
        t.ask(initing(txn(t, suffix)))


def timeout(label: str, *values: int) -> None:
    """A case of timeouts."""
    def run(t: Talk) -> None:
        for i, value in enumerate(values):
            t.ask(initing(txn(t, f"x{i}"), value))
            describe(t, txn(t, f"x{i}"))
    add(API, f"transaction-timeout-{label}", run)


timeout("zero", 0)
timeout("negative", -1, -(2**31))
timeout("one", 1)
timeout("largest", MAX_TIMEOUT)
timeout("too-large", MAX_TIMEOUT + 1, 2**31 - 1)


@case(API)
def transaction_timeout_changes(t: Talk) -> None:
    """The last one holds; one that is refused leaves the one before."""
    name = txn(t)
    for value in (60_000, 10_000, MAX_TIMEOUT + 1, 0):
        t.ask(initing(name, value))
        describe(t, name)


simple(API, "transactional-id-empty", lambda t: initing("" if txn(t) else ""))
simple(API, "transactional-id-space", lambda t: initing(f"{txn(t)} b"))
simple(API, "transactional-id-umlaut", lambda t: initing(f"{txn(t)}ä"))
simple(API, "transactional-id-long", lambda t: initing(txn(t) + "x" * 10_000))
simple(API, "no-transactional-id-timeout-zero", lambda t: initing(None, 0))
simple(API, "no-transactional-id-timeout-too-large", lambda t: initing(None, MAX_TIMEOUT + 1))


@case(API, RECOVERY)
def no_transactional_id_but_an_epoch(t: Talk) -> None:
    """An idempotent producer that says what it had is given a new id."""
    pid, epoch = t.producer_id()
    t.ask(initing(None, pid=pid, epoch=epoch))
    t.ask(initing(None, pid=pid))


@case(API, RECOVERY)
def own_epoch_is_bumped(t: Talk) -> None:
    """The producer goes on with the epoch that it had; the same question again has the same answer."""
    x = Txn(t)
    t.ask(initing(x.name, pid=x.pid, epoch=x.epoch))
    t.ask(initing(x.name, pid=x.pid, epoch=x.epoch))
    t.ask(initing(x.name, pid=x.pid, epoch=x.epoch + 1))
    t.ask(initing(x.name, pid=x.pid, epoch=x.epoch))
    describe(t, x.name)


def recovery(label: str, pid: int | None, epoch: int) -> None:
    """A case of an id and an epoch that are not the producer's own, which are some and 2."""
    def run(t: Talk) -> None:
        x = Txn(t).init().init()
        t.ask(initing(x.name, pid=x.pid if pid is None else pid, epoch=epoch))
        t.ask(initing(x.name), label="afterwards")
    add(API, label, run, RECOVERY)


recovery("epoch-before", None, 1)
recovery("epoch-long-before", None, 0)
recovery("epoch-to-come", None, 3)
recovery("epoch-last", None, 32_767)
recovery("epoch-before-last", None, 32_766)
recovery("epoch-negative", None, -2)
recovery("id-without-epoch", None, -1)
recovery("epoch-without-id", -1, 2)
recovery("another-id", 7_000_000, 2)
recovery("another-id-epoch-zero", 7_000_000, 0)
recovery("id-negative", -2, 2)


@case(API, RECOVERY)
def epoch_of_an_unknown_transactional_id(t: Talk) -> None:
    """Nobody has had it: whoever says so may."""
    t.ask(initing(txn(t), pid=7_000_000, epoch=3))
    t.ask(initing(txn(t, "y"), pid=7_000_000, epoch=0))
    describe(t, txn(t), txn(t, "y"))


@case(API)
def ongoing_transaction_is_aborted(t: Talk) -> None:
    """CONCURRENT_TRANSACTIONS until the markers are written; then an epoch beyond the one that fenced the transaction."""
    topic, x = t.topic(), Txn(t)
    x.write(topic)
    t.ask(initing(x.name))
    x.settle()
    describe(t, x.name, label="aborted")
    t.ask(initing(x.name))
    look(t, topic)


@case(API)
def ongoing_transaction_of_the_newer_protocol_is_aborted(t: Talk) -> None:
    """The same with partitions that Produce added."""
    topic, x = t.topic(), Txn(t, new=True)
    x.write(topic)
    t.ask(initing(x.name))
    x.settle()
    describe(t, x.name, label="aborted")
    t.ask(initing(x.name))
    look(t, topic)


@case(API, RECOVERY)
def ongoing_transaction_of_its_own_is_aborted(t: Talk) -> None:
    """By the producer itself, after an error that only an abort mends."""
    topic, x = t.topic(), Txn(t)
    x.write(topic)
    t.ask(initing(x.name, pid=x.pid, epoch=x.epoch))
    x.settle()
    t.ask(initing(x.name, pid=x.pid, epoch=x.epoch))
    describe(t, x.name)
    look(t, topic)


@case(API)
def after_a_commit(t: Talk) -> None:
    """The next epoch, in both protocols."""
    topic = t.topic()
    for new in (False, True):
        x = Txn(t, f"x{new}", new=new)
        x.write(topic).end(commit=True)
        t.ask(initing(x.name))
        describe(t, x.name)


@case(API)
def after_an_abort(t: Talk) -> None:
    """The same."""
    topic = t.topic()
    for new in (False, True):
        x = Txn(t, f"x{new}", new=new)
        x.write(topic).end(commit=False)
        t.ask(initing(x.name))


@case(API)
def after_a_transaction_timed_out(t: Talk) -> None:
    """The broker aborted it and fenced its producer."""
    topic, x = t.topic(), Txn(t, timeout=500)
    x.write(topic).settle("CompleteAbort")
    describe(t, x.name, label="timed out")
    t.ask(initing(x.name))
    look(t, topic)


@case(API, (0, 5))
def the_producer_before_is_fenced(t: Talk) -> None:
    """What a zombie is told, by each API in its highest version."""
    topic, x = t.topic(), Txn(t)
    zombie = x.who
    x.init()
    t.ask(adding(*zombie, (topic.name, [0])), "AddPartitionsToTxn", 3)
    t.ask(offsets_adding(*zombie, t.name("g")), "AddOffsetsToTxn")
    t.ask(ending(*zombie, True), "EndTxn", 4)
    t.ask(ending(*zombie, True), "EndTxn", 5)
    for version in (11, 12):
        body = produce_body(topic, records(t, zombie[1], zombie[2], 0), txn=x.name)
        t.ask(body, "Produce", version)
    t.ask(initing(x.name, pid=zombie[1], epoch=zombie[2]), "InitProducerId", 5)
    look(t, topic)


@case(API, (0, 5))
def a_zombie_after_the_next_producer_wrote(t: Talk) -> None:
    """Also the partition knows the newer epoch."""
    topic, x = t.topic(), Txn(t)
    x.write(topic)
    zombie = x.who
    x.init().write(topic)
    t.ask(ending(*zombie, False), "EndTxn", 4)
    t.ask(produce_body(topic, records(t, zombie[1], zombie[2], 1), txn=x.name), "Produce", 11)
    t.ask(adding(*zombie, (topic.name, [0])), "AddPartitionsToTxn", 2)
    t.ask(adding(*zombie, (topic.name, [0])), "AddPartitionsToTxn", 0)
    x.end(commit=True)
    look(t, topic)


@case(API, (5, 5))
def version_6_with_two_phases(t: Talk) -> None:
    """Not listed by Kafka 4.3.1: how it is refused."""
    t.ask(initing(txn(t), Enable2Pc=True), version=6)
    t.reconnect()
    t.ask(initing(txn(t)), version=6)


def two_phase(label: str, **more: bool) -> None:
    """Where a broker lists 6: with no transaction, and with one."""
    def run(t: Talk) -> None:
        t.ask(initing(txn(t), **more))
        x = Txn(t, "y")
        x.write(t.topic())
        t.ask(initing(x.name, pid=x.pid, epoch=x.epoch, **more))
    add(API, label, run, TWO_PHASE)


two_phase("two-phase-commit", Enable2Pc=True)
two_phase("keep-prepared", KeepPreparedTxn=True)
two_phase("two-phase-commit-keep-prepared", Enable2Pc=True, KeepPreparedTxn=True)
