"""Requests that several modules build."""

from __future__ import annotations

from typing import Any

from batch import Record, batch
from talk import Talk, Topic


def produce_body(topic: Topic, records: bytes | None, acks: int = -1, partition: int = 0, txn: str | None = None) -> dict[str, Any]:
    """One partition's records."""
    return {"TransactionalId": txn, "Acks": acks, "TimeoutMs": 5000, "TopicData": [
        {"Name": topic.name, "TopicId": topic.id, "PartitionData": [{"Index": partition, "Records": records}]}]}


def fetch_body(*asked: tuple[Topic, int, int], max_bytes: int = 1 << 20, partition_max: int = 1 << 20, **more: Any) -> dict[str, Any]:
    """Partitions as (topic, partition, offset), all answered at once."""
    topics: dict[str, dict[str, Any]] = {}
    for topic, partition, offset in asked:
        one = topics.setdefault(topic.name, {"Topic": topic.name, "TopicId": topic.id, "Partitions": []})
        one["Partitions"].append({"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": partition_max})
    return {"MaxWaitMs": 0, "MinBytes": 0, "MaxBytes": max_bytes, "Topics": list(topics.values()), **more}


def some(t: Talk, count: int = 1, value: bytes = b"v", **more: Any) -> bytes:
    """A good batch, its records a second apart."""
    records = [Record(key=b"k%d" % i, value=value, ts_delta=i * 1000) for i in range(count)]
    return batch(records, timestamp=more.pop("timestamp", t.now - 100_000), **more)


def filled(t: Talk, name: str) -> Topic:
    """A topic of two partitions; partition 0 holds three batches of 1, 2 and 3 records, partition 1 nothing."""
    topic = t.topic(partitions=2, whole_name=name)
    for count in (1, 2, 3):
        t.produce(topic, some(t, count, timestamp=t.now - 100_000 + count * 10_000))
    return topic
