"""DeleteRecords 0-2, OffsetForLeaderEpoch 2-4, DescribeLogDirs 1-5, AlterReplicaLogDirs 1-2, ElectLeaders 0-2,
AlterPartitionReassignments 0-1, ListPartitionReassignments 0, DescribeProducers 0."""

from __future__ import annotations

from typing import Any

import batch
from batch import Record
from cases import add, case, simple, spoiled
from cases.helpers import fetch_body, filled, produce_body, some
from talk import Talk, Topic

TRIM, EPOCH, DIRS, MOVE = "DeleteRecords", "OffsetForLeaderEpoch", "DescribeLogDirs", "AlterReplicaLogDirs"
ELECT, REASSIGN, REASSIGNING, PRODUCERS = "ElectLeaders", "AlterPartitionReassignments", "ListPartitionReassignments", "DescribeProducers"


def full(t: Talk) -> Topic:
    """Six records in three batches in partition 0; partition 1 is empty."""
    return t.shared("fetch", filled)


def trim(name: str, offset: int, partition: int = 0) -> dict[str, Any]:
    """One partition."""
    return {"TimeoutMs": 5000, "Topics": [{"Name": name, "Partitions": [{"PartitionIndex": partition, "Offset": offset}]}]}


def trimmed(label: str, *offsets: int, partition: int = 0) -> None:
    """A case: deletions one after another, then what is left."""
    def run(t: Talk) -> None:
        topic = filled(t, t.name())
        for offset in offsets:
            t.ask(trim(topic.name, offset, partition))
        for stamp in (-2, -1):
            t.ask({"ReplicaId": -1, "Topics": [{"Name": topic.name, "Partitions": [{"PartitionIndex": 0, "Timestamp": stamp}]}]},
                  "ListOffsets")
        for offset in (0, offsets[0]):
            t.ask(fetch_body((topic, 0, offset)), "Fetch")
        t.ask(produce_body(topic, some(t)), "Produce")
    add(TRIM, label, run)


trimmed("on-batch-border", 1)
trimmed("inside-batch", 2)
trimmed("all", 6)
trimmed("all-by-minus-one", -1)
trimmed("past-end", 7)
trimmed("minus-two", -2)
trimmed("zero", 0)
trimmed("again-lower", 3, 1)
trimmed("again-same", 3, 3)
trimmed("empty-partition", 0, partition=1)
trimmed("empty-partition-minus-one", -1, partition=1)
trimmed("unknown-partition", 1, partition=9)
simple(TRIM, "unknown-topic", lambda t: trim("missing-topic", 0))
simple(TRIM, "invalid-topic", lambda t: trim("a b", 0))
simple(TRIM, "no-topics", lambda t: {"TimeoutMs": 5000, "Topics": []})
simple(TRIM, "no-partitions", lambda t: {"TimeoutMs": 5000, "Topics": [{"Name": full(t).name, "Partitions": []}]})
simple(TRIM, "compacted", lambda t: trim(t.topic(cleanup_policy="compact").name, 0))
simple(TRIM, "compacted-and-deleted", lambda t: trim(t.topic(cleanup_policy="compact,delete").name, 0))
spoiled(TRIM, lambda t: trim("missing-topic", 0))


def epoch(name: str, asked: int, current: int = -1, partition: int = 0, replica: int = -2) -> dict[str, Any]:
    """One partition."""
    return {"ReplicaId": replica, "Topics": [{"Topic": name, "Partitions": [
        {"Partition": partition, "CurrentLeaderEpoch": current, "LeaderEpoch": asked}]}]}


for number in (0, 1, 99, -1, -2):
    simple(EPOCH, f"epoch-{number}", lambda t, n=number: epoch(full(t).name, n))
    simple(EPOCH, f"epoch-{number}-empty-partition", lambda t, n=number: epoch(full(t).name, n, partition=1))
    simple(EPOCH, f"current-{number}", lambda t, n=number: epoch(full(t).name, 0, current=n))
simple(EPOCH, "unknown-topic", lambda t: epoch("missing-topic", 0))
simple(EPOCH, "invalid-topic", lambda t: epoch("a b", 0))
simple(EPOCH, "unknown-partition", lambda t: epoch(full(t).name, 0, partition=9))
simple(EPOCH, "as-replica", lambda t: epoch(full(t).name, 0, replica=1))
simple(EPOCH, "as-consumer", lambda t: epoch(full(t).name, 0, replica=-1))
simple(EPOCH, "no-topics", lambda t: {"Topics": []})
simple(EPOCH, "no-partitions", lambda t: {"Topics": [{"Topic": full(t).name, "Partitions": []}]})
spoiled(EPOCH, lambda t: epoch("missing-topic", 0))


@case(EPOCH)
def after_trim(t: Talk) -> None:
    """The epoch outlives its records."""
    topic = filled(t, t.name())
    t.setup(TRIM, trim(topic.name, -1))
    t.ask(epoch(topic.name, 0))


def dirs(*topics: tuple[str, list[int]]) -> dict[str, Any]:
    """Some partitions."""
    return {"Topics": [{"Topic": n, "Partitions": p} for n, p in topics]}


simple(DIRS, "one-partition", lambda t: dirs((full(t).name, [0])))
simple(DIRS, "empty-partition", lambda t: dirs((full(t).name, [1])))
simple(DIRS, "two-partitions", lambda t: dirs((full(t).name, [0, 1])))
simple(DIRS, "unknown-partition", lambda t: dirs((full(t).name, [9])))
simple(DIRS, "unknown-topic", lambda t: dirs(("missing-topic", [0])))
simple(DIRS, "no-topics", lambda t: dirs())
simple(DIRS, "no-partitions", lambda t: dirs((full(t).name, [])))
spoiled(DIRS, lambda t: dirs(("missing-topic", [0])))


@case(DIRS)
def all_partitions(t: Talk) -> None:
    """Null asks for all; the case's own are compared."""
    topic = t.topic(partitions=2)
    answer = t.setup(DIRS, {"Topics": None}, t.version)
    for folder in answer["Results"]:
        t.note("own", [x for x in folder["Topics"] if x["Name"] == topic.name and [p.pop("PartitionSize") for p in x["Partitions"]]
                       and x.update(Name="~")] or [len(x["Partitions"]) for x in folder["Topics"] if x["Name"] in (topic.name, "~")])


simple(MOVE, "unknown-folder", lambda t: {"Dirs": [
    {"Path": "/no/such/folder", "Topics": [{"Name": full(t).name, "Partitions": [0]}]}]})
simple(MOVE, "relative-folder", lambda t: {"Dirs": [{"Path": "x", "Topics": [{"Name": full(t).name, "Partitions": [0]}]}]})
simple(MOVE, "unknown-topic", lambda t: {"Dirs": [{"Path": "/no/such/folder", "Topics": [{"Name": "missing-topic", "Partitions": [0]}]}]})
simple(MOVE, "unknown-partition", lambda t: {"Dirs": [{"Path": "/no/such/folder", "Topics": [{"Name": full(t).name, "Partitions": [9]}]}]})
simple(MOVE, "nothing", lambda t: {"Dirs": []})
simple(MOVE, "no-topics", lambda t: {"Dirs": [{"Path": "/no/such/folder", "Topics": []}]})
spoiled(MOVE, lambda t: {"Dirs": []})


@case(MOVE)
def to_where_it_is(t: Talk) -> None:
    """The folder that it lies in already."""
    found = t.setup(DIRS, dirs((full(t).name, [0])))["Results"]
    path = next(r["LogDir"] for r in found if r["Topics"])
    t.ask({"Dirs": [{"Path": path, "Topics": [{"Name": full(t).name, "Partitions": [0]}]}]})


def elect(kind: int, *topics: tuple[str, list[int]]) -> dict[str, Any]:
    """Some partitions."""
    return {"ElectionType": kind, "TimeoutMs": 5000, "TopicPartitions": [{"Topic": n, "Partitions": p} for n, p in topics]}


for number in (0, 1):
    simple(ELECT, f"type-{number}-not-needed", lambda t, n=number: elect(n, (full(t).name, [0])))
    simple(ELECT, f"type-{number}-two-partitions", lambda t, n=number: elect(n, (full(t).name, [1, 0])))
    simple(ELECT, f"type-{number}-unknown-partition", lambda t, n=number: elect(n, (full(t).name, [9])))
    simple(ELECT, f"type-{number}-unknown-topic", lambda t, n=number: elect(n, ("missing-topic", [0])))
for number in (2, -1):
    simple(ELECT, f"type-{number}", lambda t, n=number: elect(n, (full(t).name, [0])))
@case(ELECT)
def all_partitions_of_all_topics(t: Talk) -> None:
    """Null asks for all; what is said of the case's own topic is compared."""
    t.topic(partitions=2)
    for kind in (0, 1):
        answer = t.setup(ELECT, {"ElectionType": kind, "TimeoutMs": 5000, "TopicPartitions": None}, t.version)
        t.note(f"type {kind}", [answer.get("ErrorCode"), [r for r in answer["ReplicaElectionResults"] if r["Topic"] == t.name()]])


simple(ELECT, "no-topics", lambda t: elect(0))
simple(ELECT, "no-partitions", lambda t: elect(0, (full(t).name, [])))
simple(ELECT, "invalid-name", lambda t: elect(0, ("a b", [0])))
spoiled(ELECT, lambda t: elect(0, ("missing-topic", [0])))


def reassign(name: str, replicas: list[int] | None, partition: int = 0) -> dict[str, Any]:
    """One partition."""
    return {"TimeoutMs": 5000, "Topics": [{"Name": name, "Partitions": [{"PartitionIndex": partition, "Replicas": replicas}]}]}


for label, replicas in {"same": [1], "cancel": None, "unknown-broker": [9], "empty": [], "twice-same": [1, 1], "negative": [-1],
                        "two": [1, 2]}.items():
    simple(REASSIGN, label, lambda t, r=replicas: reassign(full(t).name, r))
simple(REASSIGN, "unknown-partition", lambda t: reassign(full(t).name, [1], 9))
simple(REASSIGN, "unknown-topic", lambda t: reassign("missing-topic", [1]))
simple(REASSIGN, "unknown-topic-cancel", lambda t: reassign("missing-topic", None))
simple(REASSIGN, "no-factor-change", lambda t: {**reassign(full(t).name, [1]), "AllowReplicationFactorChange": False})
simple(REASSIGN, "no-topics", lambda t: {"TimeoutMs": 5000, "Topics": []})
simple(REASSIGN, "no-partitions", lambda t: {"TimeoutMs": 5000, "Topics": [{"Name": full(t).name, "Partitions": []}]})
spoiled(REASSIGN, lambda t: reassign("missing-topic", [1]))
simple(REASSIGNING, "all", lambda t: {"TimeoutMs": 5000, "Topics": None})
simple(REASSIGNING, "one", lambda t: {"TimeoutMs": 5000, "Topics": [{"Name": full(t).name, "PartitionIndexes": [0]}]})
simple(REASSIGNING, "unknown-topic", lambda t: {"TimeoutMs": 5000, "Topics": [{"Name": "missing-topic", "PartitionIndexes": [0]}]})
simple(REASSIGNING, "none", lambda t: {"TimeoutMs": 5000, "Topics": []})
spoiled(REASSIGNING, lambda t: {"TimeoutMs": 5000, "Topics": []})


def producers(name: str, *partitions: int) -> dict[str, Any]:
    """Some partitions of one topic."""
    return {"Topics": [{"Name": name, "PartitionIndexes": list(partitions)}]}


simple(PRODUCERS, "none", lambda t: producers(full(t).name, 0, 1))
simple(PRODUCERS, "unknown-partition", lambda t: producers(full(t).name, 9))
simple(PRODUCERS, "unknown-topic", lambda t: producers("missing-topic", 0))
simple(PRODUCERS, "invalid-topic", lambda t: producers("a b", 0))
simple(PRODUCERS, "no-topics", lambda t: {"Topics": []})
simple(PRODUCERS, "no-partitions", lambda t: producers(full(t).name))
spoiled(PRODUCERS, lambda t: producers("missing-topic", 0))


@case(PRODUCERS)
def two_producers(t: Talk) -> None:
    """Two idempotent producers, one of them in its second epoch."""
    topic = t.topic()
    for label, (sequence, pepoch) in {"a": (0, 0), "b": (3, 1)}.items():
        pid, _ = t.producer_id(label)
        t.produce(topic, batch.batch([Record(), Record()], timestamp=t.now, producer_id=pid, producer_epoch=pepoch, sequence=sequence))
    t.ask(producers(topic.name, 0))
