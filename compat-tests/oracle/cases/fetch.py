"""Fetch 4-18 without sessions: bounds, sizes, epochs, ids."""

from __future__ import annotations

import batch
from batch import Record
from cases import case, simple, spoiled
from cases.helpers import fetch_body, filled, some
from talk import UNKNOWN_ID, ZERO_ID, Talk, Topic

API = "Fetch"
NONE = {"SessionEpoch": -1}


def full(t: Talk) -> Topic:
    """The topic that all of these read: batches of 1, 2 and 3 records at 0, 1 and 3; partition 1 is empty."""
    return t.shared("fetch", filled)


def at(name: str, partition: int = 0, offset: int = 0, sizes: dict | None = None, one: dict | None = None, **more: object) -> None:
    """A case: one partition of that topic, `one` for odd fields of the partition."""
    def make(t: Talk) -> dict:
        body = fetch_body((full(t), partition, offset), **(sizes or {}), **{**NONE, **more})
        body["Topics"][0]["Partitions"][0].update(one or {})
        return body
    simple(API, name, make)


at("from-start")
at("inside-a-batch", offset=2)
at("last-batch", offset=5)
at("at-end", offset=6)
at("past-end", offset=7)
at("offset-negative", offset=-1)
at("offset-minus-two", offset=-2)
at("offset-huge", offset=2**62)
at("empty-partition", partition=1)
at("empty-partition-past-end", partition=1, offset=1)
at("read-committed", IsolationLevel=1)
at("read-committed-at-end", offset=6, IsolationLevel=1)
at("isolation-level-unknown", IsolationLevel=9)
at("unknown-partition", partition=9)
at("negative-partition", partition=-1)
at("max-bytes-one", sizes={"max_bytes": 1})
at("max-bytes-zero", sizes={"max_bytes": 0})
at("max-bytes-negative", sizes={"max_bytes": -1})
at("max-bytes-cuts-second-batch", sizes={"max_bytes": 100})
at("max-bytes-first-batch-exactly", sizes={"max_bytes": 71})
at("partition-max-one", sizes={"partition_max": 1})
at("partition-max-zero", sizes={"partition_max": 0})
at("partition-max-negative", sizes={"partition_max": -1})
at("partition-max-cuts-second-batch", sizes={"partition_max": 100})
at("partition-max-between-batches", sizes={"partition_max": 160})
at("both-max-zero", sizes={"max_bytes": 0, "partition_max": 0})
at("min-bytes-too-many-no-wait", MinBytes=1_000_000)
at("min-bytes-too-many-short-wait", MinBytes=1_000_000, MaxWaitMs=50)
at("min-bytes-negative", MinBytes=-1)
at("wait-negative", MaxWaitMs=-1)
at("epoch-right", one={"CurrentLeaderEpoch": 0})
at("epoch-too-new", one={"CurrentLeaderEpoch": 5})
at("epoch-minus-two", one={"CurrentLeaderEpoch": -2})
at("last-fetched-epoch-right", offset=3, one={"LastFetchedEpoch": 0})
at("last-fetched-epoch-too-new", offset=3, one={"LastFetchedEpoch": 4})
at("last-fetched-epoch-past-end", offset=9, one={"LastFetchedEpoch": 0})
at("last-fetched-epoch-minus-two", offset=3, one={"LastFetchedEpoch": -2})
at("log-start-offset-given", one={"LogStartOffset": 3})
at("high-watermark-given", one={"HighWatermark": 1})
at("directory-id-given", one={"ReplicaDirectoryId": UNKNOWN_ID})
at("rack", RackId="rack-1")
at("cluster-id-given", ClusterId="no-such-cluster")
at("as-unknown-replica", ReplicaId=5, ReplicaState={"ReplicaId": 5, "ReplicaEpoch": 1})
at("as-replica-one", ReplicaId=1, ReplicaState={"ReplicaId": 1, "ReplicaEpoch": -1})
at("as-debugging-consumer", ReplicaId=-2, ReplicaState={"ReplicaId": -2, "ReplicaEpoch": -1})

simple(API, "two-partitions", lambda t: fetch_body((full(t), 0, 0), (full(t), 1, 0), **NONE))
simple(API, "two-partitions-other-order", lambda t: fetch_body((full(t), 1, 0), (full(t), 0, 0), **NONE))
simple(API, "same-partition-twice", lambda t: fetch_body((full(t), 0, 0), (full(t), 0, 3), **NONE))
simple(API, "no-topics", lambda t: fetch_body(**NONE))
simple(API, "topic-without-partitions", lambda t: {
    **fetch_body(**NONE), "Topics": [{"Topic": full(t).name, "TopicId": full(t).id, "Partitions": []}]})
simple(API, "unknown-topic", lambda t: fetch_body((t.missing(), 0, 0), **NONE))
simple(API, "unknown-and-known-topic", lambda t: fetch_body((t.missing(), 0, 0), (full(t), 0, 5), **NONE))
simple(API, "zero-id-or-empty-name", lambda t: fetch_body((Topic("", ZERO_ID), 0, 0), **NONE))
simple(API, "invalid-name", lambda t: fetch_body((Topic("a b", UNKNOWN_ID), 0, 0), **NONE))
simple(API, "unknown-topic-does-not-wait", lambda t: fetch_body((t.missing(), 0, 0), **{**NONE, "MinBytes": 1, "MaxWaitMs": 3000}))
simple(API, "out-of-range-does-not-wait", lambda t: fetch_body((full(t), 0, 99), **{**NONE, "MinBytes": 1, "MaxWaitMs": 3000}))
simple(API, "forgotten-without-session", lambda t: {**fetch_body((full(t), 0, 5), **NONE), "ForgottenTopicsData": [
    {"Topic": full(t).name, "TopicId": full(t).id, "Partitions": [0]}]})


@case(API)
def two_topics_share_max_bytes(t: Talk) -> None:
    """The first has its batch whole; the second gets what is left, which is nothing."""
    first, second = t.shared("fetch", filled), t.shared("fetch-other", filled)
    t.ask(fetch_body((first, 0, 0), (second, 0, 0), max_bytes=80, **NONE))
    t.ask(fetch_body((first, 0, 0), (second, 0, 0), max_bytes=1, **NONE))


@case(API)
def gzip_batch_from_inside(t: Talk) -> None:
    """Batches are returned whole, so the first may begin below the offset."""
    def make(t: Talk, name: str) -> Topic:
        topic = t.topic(whole_name=name)
        t.produce(topic, some(t, 5, codec=batch.GZIP))
        return topic
    t.ask(fetch_body((t.shared("fetch-gzip", make), 0, 3), **NONE))


@case(API)
def records_are_as_produced(t: Talk) -> None:
    """Headers, nulls and order come back as they were."""
    def make(t: Talk, name: str) -> Topic:
        topic = t.topic(whole_name=name)
        t.produce(topic, batch.batch([
            Record(None, b""), Record(b"", None), Record(headers=((b"h", b"1"), (b"h", None))), Record(b"\xff", b"\0", ts_delta=-50),
        ], timestamp=t.now, leader_epoch=3, base_offset=0))
        return topic
    t.ask(fetch_body((t.shared("fetch-odd", make), 0, 0), **NONE))


@case(API, versions=(13, 18))
def id_of_a_deleted_topic(t: Talk) -> None:
    """A stale id."""
    topic = t.topic()
    t.setup("DeleteTopics", {"Topics": [{"Name": topic.name}], "TimeoutMs": 5000})
    for _ in range(500):
        if t.setup("Metadata", {"Topics": [{"Name": topic.name}], "AllowAutoTopicCreation": False})["Topics"][0]["ErrorCode"] == 3:
            break
    t.ask(fetch_body((topic, 0, 0), **NONE))


spoiled(API, lambda t: fetch_body((t.missing(), 0, 0), **NONE))
