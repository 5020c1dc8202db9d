"""AddPartitionsToTxn 0-3 (clients), 4-5 (brokers, which a client may ask too), AddOffsetsToTxn 0-4."""

from __future__ import annotations

from typing import Any

from cases import add, case, simple, spoiled
from cases.txn_helpers import Txn, adding, describe, group, offsets_adding, topics_of, txn
from talk import Talk

PARTITIONS, OFFSETS = "AddPartitionsToTxn", "AddOffsetsToTxn"
CLIENTS, BROKERS = (0, 3), (4, 5)


def parts(label: str, *asked: tuple[str, list[int]]) -> None:
    """A case of partitions: topics `a` and `b` have two, others are not there."""
    def run(t: Talk) -> None:
        x = Txn(t)
        known = {n: t.topic(n, partitions=2).name for n in ("a", "b")}
        names = [(known.get(n, n), some) for n, some in asked]
        t.ask(adding(*x.who, *names))
        describe(t, x.name)
    add(PARTITIONS, label, run, CLIENTS)


parts("one", ("a", [0]))
parts("two-topics", ("b", [0, 1]), ("a", [1]))
parts("partition-unknown", ("a", [9]))
parts("partition-negative", ("a", [-1]))
parts("partition-known-and-unknown", ("a", [0, 9]))
parts("topic-unknown", ("missing-topic", [0]))
parts("topic-known-and-unknown", ("a", [0]), ("missing-topic", [0, 1]), ("b", [1]))
parts("topic-empty", ("", [0]))
parts("topic-invalid", ("a b", [0]))
parts("same-partition-twice", ("a", [0, 0]))
parts("same-topic-twice", ("a", [0]), ("a", [1]))
parts("no-topics")
parts("no-partitions", ("a", []))
parts("topic-of-offsets", ("__consumer_offsets", [0]))
parts("topic-of-transactions", ("__transaction_state", [0]))


def both(t: Talk, who: tuple[str, int, int]) -> None:
    """The same producer, asked by the API and version in question."""
    if t.api == OFFSETS:
        t.ask(offsets_adding(*who, group(t)))
    else:
        t.ask(adding(*who, (t.topic(f"t{len(t.steps)}").name, [0])))


def of_both(label: str, run: Any, alone: bool = False) -> None:
    """A case of both APIs."""
    add(PARTITIONS, label, run, CLIENTS, alone)
    add(OFFSETS, label, run, None, alone)


def again(t: Talk) -> None:
    """Added twice is added."""
    x = Txn(t)
    for _ in range(3):
        both(t, x.who)
    describe(t, x.name)


def somebody_else(t: Talk) -> None:
    """Ids and epochs that are not the producer's: its own are some and 1."""
    x = Txn(t).init()
    for name, pid, epoch in ((x.name, x.pid, 0), (x.name, x.pid, 2), (x.name, x.pid, -1), (x.name, 7_000_000, 1), (x.name, -1, -1),
                             (x.name, -1, 1), (t.name("other"), x.pid, 1), (t.name("other"), -1, -1), ("", x.pid, 1)):
        both(t, (name, pid, epoch))
    describe(t, x.name)


def while_one_is_open(t: Talk) -> None:
    """The same in a transaction that has a partition."""
    x = Txn(t).init()
    x.write(t.topic("open"))
    for pid, epoch in ((x.pid, 0), (x.pid, 2), (7_000_000, 1), (x.pid, 1)):
        both(t, (x.name, pid, epoch))
    describe(t, x.name)


def after_the_end(t: Talk) -> None:
    """The next transaction, by the older protocol: the epoch stays."""
    x = Txn(t)
    for commit in (True, False):
        x.write(t.topic(f"w{commit}")).end(commit)
        both(t, x.who)
        describe(t, x.name)


def after_the_end_by_the_newer_protocol(t: Talk) -> None:
    """The epoch before is fenced, the one that was given is not."""
    x = Txn(t, new=True)
    before = x.who
    x.write(t.topic("w")).end(commit=True)
    both(t, before)
    both(t, x.who)
    describe(t, x.name)


def after_a_timeout(t: Talk) -> None:
    """The broker aborted the transaction."""
    x = Txn(t, timeout=500)
    x.write(t.topic("w")).settle("CompleteAbort")
    both(t, x.who)
    describe(t, x.name)


for one in (again, somebody_else, while_one_is_open, after_the_end, after_the_end_by_the_newer_protocol, after_a_timeout):
    of_both(one.__name__.replace("_", "-"), one)


@case(OFFSETS)
def groups(t: Talk) -> None:
    """One, another, one without a name, one with an odd name."""
    x = Txn(t)
    group(t)
    for name in ("g", "h", "", "a b", "ä"):
        t.ask(offsets_adding(*x.who, name))
    describe(t, x.name)


spoiled(OFFSETS, lambda t: offsets_adding(txn(t), 1, 0, "g"))
spoiled(PARTITIONS, lambda t: {**adding(txn(t), 1, 0, ("missing-topic", [0])), **asking(transaction(txn(t), 1, 0, ("missing-topic", [0])))})


def transaction(name: str, pid: int, epoch: int, *some: tuple[str, list[int]], verify: bool = False) -> dict[str, Any]:
    """One of those that a broker asks for at once."""
    return {"TransactionalId": name, "ProducerId": pid, "ProducerEpoch": epoch, "VerifyOnly": verify, "Topics": topics_of(some)}


def asking(*some: dict[str, Any]) -> dict[str, Any]:
    """All at once."""
    return {"Transactions": list(some)}


@case(PARTITIONS, BROKERS)
def transactions_at_once(t: Talk) -> None:
    """One that is there, one that is not, one of another epoch."""
    topic = t.topic(partitions=2)
    x, y, z = Txn(t), Txn(t, "y"), Txn(t, "z")
    t.ask(asking(transaction(*x.who, (topic.name, [0, 1])), transaction(t.name("missing"), 1, 0, (topic.name, [0])),
                 transaction(y.name, y.pid, 5, (topic.name, [0])), transaction(*z.who, (topic.name, [1]))))
    describe(t, x.name, y.name, z.name)


@case(PARTITIONS, BROKERS)
def verified_only(t: Talk) -> None:
    """Nothing is added: a partition that is part of a transaction, and others."""
    topic, x = t.topic(partitions=2), Txn(t)
    t.ask(asking(transaction(*x.who, (topic.name, [0]), verify=True)))
    x.add(topic, 0)
    for some in ([0], [1], [0, 1], [9]):
        t.ask(asking(transaction(*x.who, (topic.name, some), verify=True)))
    t.ask(asking(transaction(x.name, x.pid, 7, (topic.name, [0]), verify=True)))
    t.ask(asking(transaction(x.name, 7_000_000, 0, (topic.name, [0]), verify=True)))
    describe(t, x.name)
    x.end(commit=True)
    t.ask(asking(transaction(*x.who, (topic.name, [0]), verify=True)))


@case(PARTITIONS, BROKERS)
def verified_and_added(t: Talk) -> None:
    """Two in one request."""
    topic, x, y = t.topic(partitions=2), Txn(t).add(t.topic("open")), Txn(t, "y")
    t.ask(asking(transaction(*x.who, (topic.name, [0]), verify=True), transaction(*y.who, (topic.name, [0]))))
    describe(t, x.name, y.name)


def several(label: str, *asked: tuple[str, list[int]]) -> None:
    """A case of partitions of one transaction."""
    def run(t: Talk) -> None:
        x = Txn(t)
        known = {"a": t.topic("a", partitions=2).name}
        t.ask(asking(transaction(*x.who, *[(known.get(n, n), some) for n, some in asked])))
        describe(t, x.name)
    add(PARTITIONS, f"transaction-{label}", run, BROKERS)


several("topic-unknown", ("missing-topic", [0]))
several("topic-known-and-unknown", ("a", [0]), ("missing-topic", [0]))
several("partition-known-and-unknown", ("a", [0, 9]))
several("no-topics")
several("topic-of-transactions", ("__transaction_state", [0]))
simple(PARTITIONS, "no-transactions", lambda t: asking() if txn(t) else {}, BROKERS)
simple(PARTITIONS, "transaction-id-empty", lambda t: asking(transaction("" if txn(t) else "", 1, 0, (t.topic().name, [0]))), BROKERS)


@case(PARTITIONS, BROKERS)
def same_transaction_twice(t: Talk) -> None:
    """With other partitions each time."""
    topic, x = t.topic(partitions=2), Txn(t)
    t.ask(asking(transaction(*x.who, (topic.name, [0])), transaction(*x.who, (topic.name, [1]))))
    describe(t, x.name)
