"""Transactional producers, and the requests that the modules about transactions build.

A step is compared in the API that a case is about; the steps that only lead there are `setup`. The two protocols differ: in the older one
(`NEW` is false) a client adds partitions itself and keeps its epoch; in the newer one (KIP-890) Produce 12 and TxnOffsetCommit 5 add what
they touch, and EndTxn 5 gives the next epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import batch
from batch import Record
from cases.group_helpers import await_coordinator
from cases.helpers import fetch_body, produce_body
from talk import Stop, Talk, Topic

NOT_YET = (14, 15, 16, 51)  # as for groups; and CONCURRENT_TRANSACTIONS: the markers of the last one are on their way
# The last versions of the older protocol.
OLD = {"AddPartitionsToTxn": 3, "Produce": 11, "EndTxn": 4, "TxnOffsetCommit": 4, "InitProducerId": 5}
ENDED = ("Empty", "CompleteCommit", "CompleteAbort")
COMMITTED, UNCOMMITTED = {"IsolationLevel": 1}, {"IsolationLevel": 0}


def old(t: Talk, api: str) -> int:
    """The highest version of the older protocol that both brokers answer."""
    if api not in t.common:
        raise Stop(f"{api} is missing")
    return min(OLD[api], t.common[api])


def patiently(t: Talk, api: str, body: dict[str, Any], version: int | None = None,
              code: Callable[[dict[str, Any]], int] = lambda a: a["ErrorCode"]) -> dict[str, Any]:
    """A preparation that is asked again while its coordinator is busy, and must succeed then."""
    end = time.monotonic() + 30
    while (found := code(answer := t.setup(api, body, version))) in NOT_YET and time.monotonic() < end:
        time.sleep(0.01)
    if found:
        raise Stop(f"setup: {api}: {found}")
    return answer


def await_transactions(t: Talk, _: str) -> tuple[()]:
    """Kafka makes its topic of transactions when it is first asked for a coordinator. So many names that each partition has one."""
    names = [f"warm-{i}" for i in range(64)]
    end = time.monotonic() + 30
    while time.monotonic() < end:
        found = t.setup("FindCoordinator", {"Key": "warm", "KeyType": 1, "CoordinatorKeys": ["warm"]}).get("Coordinators", [])
        seen = t.setup("DescribeTransactions", {"TransactionalIds": names})["TransactionStates"]
        if not any(x["ErrorCode"] in NOT_YET for x in found + seen):
            return ()
        time.sleep(0.05)
    raise Stop("setup: no coordinator")


def txn(t: Talk, suffix: str = "x") -> str:
    """A transactional id of this case and version, at a broker that answers for transactions."""
    t.shared("transactions", await_transactions)
    return t.name(suffix)


def group(t: Talk, suffix: str = "g") -> str:
    """The name of a group, at a broker that answers for groups."""
    t.shared("coordinator", await_coordinator)
    return t.name(suffix)


def initing(name: str | None, timeout: int = 60_000, pid: int = -1, epoch: int = -1, **more: Any) -> dict[str, Any]:
    """An id for a producer."""
    return {"TransactionalId": name, "TransactionTimeoutMs": timeout, "ProducerId": pid, "ProducerEpoch": epoch, **more}


def topics_of(parts: Iterable[tuple[str, list[int]]]) -> list[dict[str, Any]]:
    """Partitions by topic."""
    return [{"Name": name, "Partitions": list(some)} for name, some in parts]


def adding(name: str, pid: int, epoch: int, *parts: tuple[str, list[int]]) -> dict[str, Any]:
    """Partitions of a transaction, as clients add them."""
    return {"V3AndBelowTransactionalId": name, "V3AndBelowProducerId": pid, "V3AndBelowProducerEpoch": epoch,
            "V3AndBelowTopics": topics_of(parts)}


def ending(name: str, pid: int, epoch: int, commit: bool) -> dict[str, Any]:
    """The end of a transaction."""
    return {"TransactionalId": name, "ProducerId": pid, "ProducerEpoch": epoch, "Committed": commit}


def offsets_adding(name: str, pid: int, epoch: int, to: str) -> dict[str, Any]:
    """A group whose offsets will be part of a transaction."""
    return {"TransactionalId": name, "ProducerId": pid, "ProducerEpoch": epoch, "GroupId": to}


def offsets_committing(name: str, pid: int, epoch: int, to: str, *parts: tuple[str, list[dict[str, Any]]], **more: Any) -> dict[str, Any]:
    """Offsets as part of a transaction."""
    return {"TransactionalId": name, "GroupId": to, "ProducerId": pid, "ProducerEpoch": epoch,
            "Topics": [{"Name": topic, "Partitions": some} for topic, some in parts], **more}


def at(partition: int = 0, offset: int = 7, metadata: str | None = "m", epoch: int = -1) -> dict[str, Any]:
    """An offset in a transaction."""
    return {"PartitionIndex": partition, "CommittedOffset": offset, "CommittedLeaderEpoch": epoch, "CommittedMetadata": metadata}


class Txn:
    """A transactional producer. What its methods do prepares, and must succeed; its attributes are for the questions of a case."""

    def __init__(self, t: Talk, suffix: str = "x", new: bool = False, timeout: int = 60_000) -> None:
        self.t, self.name, self.new, self.timeout = t, txn(t, suffix), new, timeout
        self.label = suffix
        self.pid, self.epoch = -1, -1
        self.next: dict[tuple[str, int], int] = {}
        self.init()

    @property
    def who(self) -> tuple[str, int, int]:
        """What every request of its says first."""
        return self.name, self.pid, self.epoch

    def init(self, suffix: str | None = None) -> Txn:
        """A new epoch; what was open is aborted."""
        answer = patiently(self.t, "InitProducerId", initing(self.name, self.timeout), old(self.t, "InitProducerId"))
        return self.now(answer)

    def now(self, answer: dict[str, Any]) -> Txn:
        """Takes its id and epoch from an answer."""
        if answer["ProducerId"] >= 0:
            self.pid, self.epoch = answer["ProducerId"], answer["ProducerEpoch"]
            self.t.producers.setdefault(self.pid, f"<pid {len(self.t.producers) + 1}>")
            self.next = {}
        return self

    def add(self, topic: Topic, *partitions: int) -> Txn:
        """Adds partitions."""
        body = adding(*self.who, (topic.name, list(partitions) or [0]))
        first = lambda a: a["ResultsByTopicV3AndBelow"][0]["ResultsByPartition"][0]["PartitionErrorCode"]  # noqa: E731
        patiently(self.t, "AddPartitionsToTxn", body, old(self.t, "AddPartitionsToTxn"), first)
        return self

    def batch(self, topic: Topic, partition: int = 0, count: int = 1, value: bytes = b"", epoch: int | None = None, **more: Any) -> bytes:
        """Its next batch for a partition."""
        sequence = self.next.get((topic.name, partition), 0)
        self.next[topic.name, partition] = sequence + count
        return records(self.t, self.pid, self.epoch if epoch is None else epoch, more.pop("sequence", sequence), count,
                       value or self.label.encode(), **more)

    def body(self, topic: Topic, partition: int = 0, **more: Any) -> dict[str, Any]:
        """The request with it."""
        return produce_body(topic, self.batch(topic, partition, **more), partition=partition, txn=self.name)

    def write(self, topic: Topic, partition: int = 0, count: int = 1, **more: Any) -> Txn:
        """Records, in the transaction that is open or that they open."""
        if not self.new:
            self.add(topic, partition)
        version = None if self.new else old(self.t, "Produce")
        body = self.body(topic, partition, count=count, **more)
        patiently(self.t, "Produce", body, version, lambda a: a["Responses"][0]["PartitionResponses"][0]["ErrorCode"])
        return self

    def commit_offsets(self, to: str, topic: Topic, *offsets: dict[str, Any]) -> Txn:
        """Offsets of a group, in the transaction."""
        if not self.new:
            patiently(self.t, "AddOffsetsToTxn", offsets_adding(*self.who, to))
        version = None if self.new else old(self.t, "TxnOffsetCommit")
        first = lambda a: a["Topics"][0]["Partitions"][0]["ErrorCode"]  # noqa: E731
        body = offsets_committing(*self.who, to, (topic.name, list(offsets) or [at()]))
        patiently(self.t, "TxnOffsetCommit", body, version, first)
        return self

    def end(self, commit: bool) -> Txn:
        """Ends it, and waits until the markers are written."""
        version = None if self.new else old(self.t, "EndTxn")
        answer = patiently(self.t, "EndTxn", ending(*self.who, commit), version)
        self.settle()
        return self.now(answer) if self.new else self

    def settle(self, *states: str) -> Txn:
        """Until the coordinator is done with what it was asked."""
        end = time.monotonic() + 30
        while True:
            [seen] = self.t.setup("DescribeTransactions", {"TransactionalIds": [self.name]})["TransactionStates"]
            if seen["TransactionState"] in (states or ENDED):
                return self
            if time.monotonic() > end:
                raise Stop(f"setup: transaction stays {seen['TransactionState']}, {seen['ErrorCode']}")
            time.sleep(0.01)


def records(t: Talk, pid: int, epoch: int, sequence: int, count: int = 1, value: bytes = b"v", flags: int = batch.TRANSACTIONAL,
            timestamp: int | None = None) -> bytes:
    """A batch of a transaction."""
    return batch.batch([Record(value=value + b"%d" % i) for i in range(count)], timestamp=timestamp or t.now, producer_id=pid,
                       producer_epoch=epoch, sequence=sequence, flags=flags)


def plain(t: Talk, topic: Topic, partition: int = 0, value: bytes = b"plain") -> None:
    """A record of no transaction, as a preparation."""
    t.produce(topic, batch.batch([Record(value=value)], timestamp=t.now), partition)


def look(t: Talk, topic: Topic, partition: int = 0, offset: int = 0, label: str | None = None) -> None:
    """Compares what a partition gives: everything, and what is committed."""
    for word, level in (("all", UNCOMMITTED), ("committed", COMMITTED)):
        t.ask(fetch_body((topic, partition, offset), **level), "Fetch", label=f"{label or 'log'} {word} {len(t.steps) + 1}")


def describe(t: Talk, *names: str, label: str | None = None) -> None:
    """Compares what the coordinator says. Its partitions are a set."""
    answer = t.ask({"TransactionalIds": list(names)}, "DescribeTransactions", label=label)
    for state in (answer or {}).get("TransactionStates", []):
        for topic in state["Topics"]:
            topic["Partitions"].sort()
