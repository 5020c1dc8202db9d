"""ListOffsets 1-11."""

from __future__ import annotations

import batch
from batch import Record
from cases import case, simple, spoiled
from cases.helpers import some
from talk import Talk, Topic

API = "ListOffsets"


def dated(t: Talk, name: str) -> Topic:
    """Records at 1000, 2000, 3000 / 2500, 2600 (gzip) / 1500, with timestamps relative to the run; partition 1 is empty."""
    topic = t.topic(partitions=2, whole_name=name)
    base = t.now - 1_000_000
    t.produce(topic, some(t, 3, timestamp=base + 1000))
    t.produce(topic, batch.batch([Record(), Record(ts_delta=100)], timestamp=base + 2500, codec=batch.GZIP))
    t.produce(topic, batch.batch([Record()], timestamp=base + 1500))
    return topic


def ask(name: str, timestamp: int, partition: int = 0, relative: bool = False, isolation: int = 0, epoch: int = -1, replica: int = -1) -> None:
    """A case of one partition."""
    def make(t: Talk) -> dict:
        moment = t.now - 1_000_000 + timestamp if relative else timestamp
        return {"ReplicaId": replica, "IsolationLevel": isolation, "TimeoutMs": 1000, "Topics": [{
            "Name": t.shared("dated", dated).name,
            "Partitions": [{"PartitionIndex": partition, "Timestamp": moment, "CurrentLeaderEpoch": epoch}]}]}
    simple(API, name, make)


for label, special in {"latest": -1, "earliest": -2, "max-timestamp": -3, "earliest-local": -4, "latest-tiered": -5,
                       "earliest-pending-upload": -6, "minus-seven": -7, "minus-hundred": -100}.items():
    ask(label, special)
    ask(f"{label}-empty-partition", special, partition=1)
for label, isolation in {"read-committed": 1, "isolation-unknown": 7, "isolation-negative": -1}.items():
    ask(f"latest-{label}", -1, isolation=isolation)
    ask(f"earliest-{label}", -2, isolation=isolation)
ask("max-timestamp-read-committed", -3, isolation=1)
for moment in (0, 1000, 1001, 1500, 2000, 2001, 2500, 2550, 2600, 2601, 3000, 3001):
    ask(f"at-{moment}", moment, relative=True)
ask("at-zero", 0)
ask("at-far-future", 2**62)
ask("at-any-empty-partition", 5, partition=1)
ask("at-1500-read-committed", 1500, relative=True, isolation=1)
ask("epoch-right", -1, epoch=0)
ask("epoch-too-new", -1, epoch=3)
ask("epoch-minus-two", -1, epoch=-2)
ask("unknown-partition", -1, partition=9)
ask("negative-partition", -1, partition=-1)
ask("as-replica", -1, replica=1)
ask("as-unknown-replica", -1, replica=7)
ask("as-debugging-consumer", -1, replica=-2)
simple(API, "no-topics", lambda t: {"ReplicaId": -1, "Topics": []})
simple(API, "topic-without-partitions", lambda t: {"ReplicaId": -1, "Topics": [{"Name": t.shared("dated", dated).name, "Partitions": []}]})
for label, name in {"unknown": "missing-topic", "empty": "", "invalid": "a b"}.items():
    simple(API, f"topic-{label}", lambda t, n=name: {"ReplicaId": -1, "Topics": [
        {"Name": n, "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}]})
simple(API, "same-partition-twice", lambda t: {"ReplicaId": -1, "Topics": [{"Name": t.shared("dated", dated).name, "Partitions": [
    {"PartitionIndex": 0, "Timestamp": -1}, {"PartitionIndex": 0, "Timestamp": -2}]}]})
simple(API, "two-partitions", lambda t: {"ReplicaId": -1, "Topics": [{"Name": t.shared("dated", dated).name, "Partitions": [
    {"PartitionIndex": 1, "Timestamp": -1}, {"PartitionIndex": 0, "Timestamp": -1}]}]})


@case(API)
def log_append_time(t: Talk) -> None:
    """The time is the broker's: far in the past all is found, far in the future nothing."""
    def make(t: Talk, name: str) -> Topic:
        topic = t.topic(whole_name=name, message_timestamp_type="LogAppendTime")
        t.produce(topic, some(t, 2, timestamp=1000))
        return topic
    name = t.shared("dated-by-broker", make).name
    for moment in (5000, t.now + 10**9):
        t.ask({"ReplicaId": -1, "Topics": [{"Name": name, "Partitions": [{"PartitionIndex": 0, "Timestamp": moment}]}]})


spoiled(API, lambda t: {"ReplicaId": -1, "Topics": [{"Name": "missing-topic", "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}]})
