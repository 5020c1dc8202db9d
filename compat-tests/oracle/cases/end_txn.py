"""EndTxn 0-4 (the epoch stays) and 5 (KIP-890: it gives the next one), and what the log holds then."""

from __future__ import annotations

from cases import add, case, simple, spoiled
from cases.txn_helpers import Txn, describe, ending, initing, look, plain, txn
from talk import Talk

API = "EndTxn"
OLDER, NEWER = (0, 4), (5, 5)


def newer(t: Talk) -> bool:
    """Whether the version in question is that of the newer protocol."""
    return t.version >= NEWER[0]


def begun(t: Talk, suffix: str = "x") -> Txn:
    """A transaction with one record."""
    x = Txn(t, suffix, new=newer(t))
    return x.write(t.topic(f"t{suffix}"))


def after(t: Talk, x: Txn, commit: bool) -> None:
    """Asks, waits for the markers and takes the epoch that was given."""
    answer = t.ask(ending(*x.who, commit))
    x.settle()
    if newer(t) and answer and not answer["ErrorCode"]:
        x.now(answer)


def once(label: str, commit: bool) -> None:
    """A case of one transaction of two partitions."""
    def run(t: Talk) -> None:
        topic = t.topic(partitions=3)
        x = Txn(t, new=newer(t))
        x.write(topic, 0, 2).write(topic, 1).write(topic, 0)
        after(t, x, commit)
        describe(t, x.name)
        for partition in (0, 1, 2):
            look(t, topic, partition)
    add(API, label, run)


once("commit", True)
once("abort", False)


def nothing(label: str, *ends: bool) -> None:
    """A case of the ends of a transaction that has nothing in it: a new producer's, and one after another."""
    def run(t: Talk) -> None:
        x = Txn(t, new=newer(t))
        for commit in ends:
            after(t, x, commit)
            describe(t, x.name)
        x.write(t.topic()).end(commit=True)
        for commit in ends:
            after(t, x, commit)
            describe(t, x.name)
    add(API, label, run)


nothing("commit-of-nothing", True)
nothing("abort-of-nothing", False)
nothing("aborts-of-nothing", False, False, False)


def repeated(label: str, first: bool, *then: bool) -> None:
    """A case of a question that is asked again with the epoch of the first time, as after a lost answer."""
    def run(t: Talk) -> None:
        x = begun(t)
        before = x.who
        after(t, x, first)
        for commit in then:
            t.ask(ending(*before, commit))
            x.settle()
        describe(t, x.name)
    add(API, label, run)


repeated("commit-again", True, True, True)
repeated("abort-again", False, False, False)
repeated("commit-then-abort", True, False, True)
repeated("abort-then-commit", False, True, False)


@case(API)
def one_after_another(t: Talk) -> None:
    """Committed, aborted, committed."""
    topic, x = t.topic(), Txn(t, new=newer(t))
    for commit in (True, False, True):
        x.write(topic)
        after(t, x, commit)
    describe(t, x.name)
    look(t, topic)


@case(API)
def somebody_else(t: Talk) -> None:
    """Ids and epochs that are not the producer's, whose epoch is 1: the transaction stays open."""
    x = Txn(t, new=newer(t)).init()
    x.write(t.topic())
    for commit in (True, False):
        for name, pid, epoch in ((x.name, x.pid, 0), (x.name, x.pid, 2), (x.name, x.pid, -1), (x.name, 7_000_000, 1), (x.name, -1, -1),
                                 (t.name("other"), x.pid, 1), ("", x.pid, 1)):
            t.ask(ending(name, pid, epoch, commit))
    describe(t, x.name)


@case(API)
def of_a_producer_that_was_fenced(t: Talk) -> None:
    """By another of the same name: with nothing open, and with a transaction of the other's."""
    x = begun(t)
    zombie = x.who
    x.init()
    for commit in (True, False):
        t.ask(ending(*zombie, commit))
    x.write(t.topic("more"))
    for commit in (True, False):
        t.ask(ending(*zombie, commit))
    describe(t, x.name)


@case(API)
def after_a_timeout(t: Talk) -> None:
    """The broker aborted it. Commit, then abort."""
    for commit in (True, False):
        x = Txn(t, f"x{commit}", new=newer(t), timeout=500)
        x.write(t.topic(f"t{commit}")).settle("CompleteAbort")
        t.ask(ending(*x.who, commit))
        x.settle()
        describe(t, x.name)


@case(API, NEWER)
def a_delayed_end_does_not_end_the_next(t: Talk) -> None:
    """KAFKA-17754: the request of a transaction before, on another connection, finds the epoch gone."""
    topic, x = t.topic(), Txn(t, new=True)
    x.write(topic)
    old = x.who
    after(t, x, True)
    x.write(topic)
    t.reconnect()
    for commit in (True, False):
        t.ask(ending(*old, commit))
    describe(t, x.name)
    x.end(commit=False)
    t.ask(ending(*old, True))
    look(t, topic)


@case(API)
def in_the_other_protocol(t: Talk) -> None:
    """Records of one protocol, the end of the other."""
    topic, x = t.topic(), Txn(t, new=not newer(t))
    for commit in (True, False):
        x.write(topic)
        after(t, x, commit)
        describe(t, x.name)
    look(t, topic)


@case(API)
def interleaved_in_one_partition(t: Talk) -> None:
    """Two producers and a record of none: each end lets the readers on as far as the other allows."""
    topic = t.topic()
    x, y = Txn(t, new=newer(t)), Txn(t, "y", new=newer(t))
    x.write(topic)
    y.write(topic)
    plain(t, topic)
    x.write(topic)
    look(t, topic, label="both open")
    after(t, x, False)
    look(t, topic, label="one open")
    after(t, y, True)
    look(t, topic, label="none open")


@case(API)
def after_init(t: Talk) -> None:
    """A producer's last epoch may not end what the next began; nor may its own epoch after KIP-360's bump."""
    x = begun(t)
    before = x.who
    t.setup("InitProducerId", initing(x.name, pid=x.pid, epoch=x.epoch), 5)
    x.settle()
    for commit in (False, True):
        t.ask(ending(*before, commit))
    x.init()
    t.ask(ending(*before, False))


simple(API, "transactional-id-unknown", lambda t: ending(txn(t), 1, 0, True))
spoiled(API, lambda t: ending(txn(t), 1, 0, True))
