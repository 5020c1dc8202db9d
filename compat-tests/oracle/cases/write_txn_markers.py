"""WriteTxnMarkers 1-2: a coordinator's order to the leader of a partition, which Kafka's Admin.abortTransaction sends, too."""

from __future__ import annotations

from typing import Any

from cases import add, case, simple, spoiled
from cases.helpers import fetch_body, produce_body
from cases.txn_helpers import COMMITTED, Txn, look, plain, records, txn
from talk import Talk, Topic

API = "WriteTxnMarkers"
PRODUCERS = "DescribeProducers"


def marker(pid: int, epoch: int, commit: bool, *parts: tuple[str, list[int]], coordinator: int = 0, **more: int) -> dict[str, Any]:
    """One marker."""
    return {"ProducerId": pid, "ProducerEpoch": epoch, "TransactionResult": commit, "CoordinatorEpoch": coordinator,
            "Topics": [{"Name": name, "PartitionIndexes": some} for name, some in parts], **more}


def writing(*markers: dict[str, Any]) -> dict[str, Any]:
    """Some at once."""
    return {"Markers": list(markers)}


def opened(t: Talk) -> tuple[Topic, Txn]:
    """A transaction of the older protocol with a record, of epoch 1, and a record of none behind it."""
    topic, x = t.topic(partitions=2), Txn(t).init()
    x.write(topic)
    plain(t, topic)
    return topic, x


def after(t: Talk, topic: Topic) -> None:
    """What the partition gives and knows then."""
    look(t, topic)
    t.ask({"Topics": [{"Name": topic.name, "PartitionIndexes": [0]}]}, PRODUCERS)


def one(label: str, epoch: int = 0, commit: bool = True, coordinator: int = 0, versions: tuple[int, int] | None = None, **more: int) -> None:
    """A case of one marker in a partition with an open transaction; `epoch` is relative to its."""
    def run(t: Talk) -> None:
        topic, x = opened(t)
        t.ask(writing(marker(x.pid, x.epoch + epoch, commit, (topic.name, [0]), coordinator=coordinator, **more)))
        after(t, topic)
    add(API, label, run, versions)


one("commit")
one("abort", commit=False)
one("epoch-before", -1)
one("epoch-to-come", 1)
one("epoch-long-before", -2)
one("epoch-negative", -3)
one("coordinator-epoch-negative", coordinator=-1)
one("coordinator-epoch-to-come", coordinator=5)
for number in (-1, 0, 1, 2, 3):
    for ahead in (0, 1):
        one(f"transaction-version-{number}-epoch-{'to-come' if ahead else 'same'}", ahead, versions=(2, 2), TransactionVersion=number)


@case(API)
def coordinator_epoch_goes_back(t: Talk) -> None:
    """A coordinator that was replaced is fenced."""
    topic, x = opened(t)
    t.ask(writing(marker(x.pid, x.epoch, False, (topic.name, [0]), coordinator=3)))
    t.setup("Produce", produce_body(topic, records(t, x.pid, x.epoch, 1), txn=x.name), 11)
    t.ask(writing(marker(x.pid, x.epoch, True, (topic.name, [0]), coordinator=2)))
    t.ask(writing(marker(x.pid, x.epoch, True, (topic.name, [0]), coordinator=3)))
    after(t, topic)


@case(API)
def nothing_open(t: Talk) -> None:
    """A producer that the partition does not know, and one whose transaction is over."""
    topic, x = opened(t)
    t.ask(writing(marker(x.pid, x.epoch, True, (topic.name, [1]))))
    t.ask(writing(marker(x.pid, x.epoch, True, (topic.name, [0]))))
    t.ask(writing(marker(x.pid, x.epoch, True, (topic.name, [0]))))
    t.ask(writing(marker(x.pid, x.epoch, False, (topic.name, [0]))))
    after(t, topic)
    look(t, topic, 1)


@case(API)
def producer_ids_out_of_the_ordinary(t: Talk) -> None:
    """One that nobody was given, and one that is none."""
    topic = t.topic()
    t.ask(writing(marker(7_000_000, 0, True, (topic.name, [0]))))
    t.ask(writing(marker(-1, 0, True, (topic.name, [0]))))
    after(t, topic)


def parts(label: str, *asked: tuple[str, list[int]]) -> None:
    """A case of partitions: `a` has two, others are not there."""
    def run(t: Talk) -> None:
        topic, x = opened(t)
        t.ask(writing(marker(x.pid, x.epoch, True, *[(topic.name if n == "a" else n, some) for n, some in asked])))
    add(API, label, run)


parts("two-partitions", ("a", [0, 1]))
parts("partition-unknown", ("a", [9]))
parts("partition-known-and-unknown", ("a", [0, 9]))
parts("partition-negative", ("a", [-1]))
parts("topic-unknown", ("missing-topic", [0]))
parts("topic-known-and-unknown", ("a", [0]), ("missing-topic", [0]))
parts("topic-empty", ("", [0]))
parts("same-partition-twice", ("a", [0, 0]))
parts("same-topic-twice", ("a", [0]), ("a", [1]))
parts("no-topics")
parts("no-partitions", ("a", []))


@case(API)
def two_markers(t: Talk) -> None:
    """Of two producers, one committed and one aborted."""
    topic, x = opened(t)
    y = Txn(t, "y")
    y.write(topic)
    t.ask(writing(marker(x.pid, x.epoch, True, (topic.name, [0])), marker(y.pid, y.epoch, False, (topic.name, [0]))))
    after(t, topic)


@case(API)
def two_markers_of_one_producer(t: Talk) -> None:
    """In two partitions; one of them is wrong, or both are of the same partition."""
    topic, x = opened(t)
    x.write(topic, 1)
    t.ask(writing(marker(x.pid, x.epoch, True, (topic.name, [0])), marker(x.pid, x.epoch, False, (topic.name, [1]))))
    t.ask(writing(marker(x.pid, x.epoch, True, (topic.name, [0, 9])), marker(x.pid, x.epoch - 1, False, (topic.name, [1, 0]))))
    after(t, topic)
    look(t, topic, 1)


@case(API)
def wakes_a_fetch_that_waits(t: Talk) -> None:
    """What was held back is read."""
    topic, x = opened(t)
    answer = t.ask_later(fetch_body((topic, 0, 0), MaxWaitMs=9_000, MinBytes=1, **COMMITTED) | {"MaxWaitMs": 9_000, "MinBytes": 1}, "Fetch")
    t.ask(writing(marker(x.pid, x.epoch, True, (topic.name, [0]))))
    answer()


simple(API, "no-markers", lambda t: writing() if txn(t) else {})
spoiled(API, lambda t: writing(marker(7_000_000, 0, True, ("missing-topic", [0]))))
