"""Produce 3-13: what is taken, what is refused and with which words."""

from __future__ import annotations

import random
from collections.abc import Callable

import batch
from batch import Record
from cases import add, case, simple, spoiled
from cases.helpers import fetch_body, produce_body, some
from talk import ZERO_ID, Talk, Topic

API = "Produce"


def records(name: str, make: Callable[[Talk], bytes | None], acks: int = -1, fetch: bool = False, **configs: str) -> None:
    """A case: these records to a new topic; then, if asked for, what a consumer sees."""
    def run(t: Talk) -> None:
        topic = t.topic(**configs)
        t.patience = 2.0 if name == "records-null" else t.patience  # Kafka's handler fails, and nobody answers
        t.reconnect()
        t.ask(produce_body(topic, make(t), acks))
        if fetch:
            t.ask({**fetch_body((topic, 0, 0)), "MinBytes": int(acks == 1), "MaxWaitMs": 5000 * (acks == 1)}, "Fetch")
    add(API, name, run)


R = [Record()]
TWO = [Record(b"a", b"1"), Record(b"b", b"2", ts_delta=5)]

# Taken
records("one-record", some, fetch=True)
records("acks-one", some, acks=1, fetch=True)
records("two-records", lambda t: batch.batch(TWO, timestamp=t.now), fetch=True)
records("gzip", lambda t: batch.batch(TWO, timestamp=t.now, codec=batch.GZIP), fetch=True)
records("headers", lambda t: batch.batch(
    [Record(headers=((b"a", b"1"), (b"a", b"2"), (b"b", None), (b"", b"")))], timestamp=t.now), fetch=True)
records("null-key-and-value", lambda t: batch.batch([Record(None, None)], timestamp=t.now), fetch=True)
records("base-offset-not-zero", lambda t: batch.batch(R, timestamp=t.now, base_offset=77), fetch=True)
records("leader-epoch-given", lambda t: batch.batch(R, timestamp=t.now, leader_epoch=9), fetch=True)
records("max-timestamp-wrong", lambda t: batch.batch(TWO, timestamp=t.now - 1000, max_timestamp=t.now - 5000), fetch=True)
records("max-timestamp-too-high", lambda t: batch.batch(TWO, timestamp=t.now - 1000, max_timestamp=t.now), fetch=True)
records("log-append-time-bit-from-client", lambda t: batch.batch(R, timestamp=t.now, flags=batch.LOG_APPEND_TIME), fetch=True)
records("log-append-time", some, fetch=True, message_timestamp_type="LogAppendTime")
records("log-append-time-gzip", lambda t: batch.batch(TWO, timestamp=t.now, codec=batch.GZIP), fetch=True,
        message_timestamp_type="LogAppendTime")
records("record-attributes-set", lambda t: batch.batch([Record(attributes=0xFF)], timestamp=t.now))
records("timestamp-minus-one", lambda t: batch.batch(R, timestamp=-1), fetch=True)
records("timestamp-negative", lambda t: batch.batch(R, timestamp=-2))
records("timestamp-zero", lambda t: batch.batch(R, timestamp=0))
records("unused-attribute-bits", lambda t: batch.batch(R, timestamp=t.now, flags=0x4000))
records("delete-horizon-bit", lambda t: batch.batch(R, timestamp=t.now, flags=batch.DELETE_HORIZON))
records("topic-compresses-gzip", some, compression_type="gzip")
records("topic-uncompressed", lambda t: batch.batch(TWO, timestamp=t.now, codec=batch.GZIP), fetch=True, compression_type="uncompressed")

# Refused for their form
records("records-null", lambda t: None)
records("records-empty", lambda t: b"")
records("no-records-in-batch", lambda t: batch.batch([], timestamp=t.now))
records("no-records-but-last-offset", lambda t: batch.batch([], timestamp=t.now, last_offset_delta=0, count=1))
records("no-records-count-zero", lambda t: batch.batch([], timestamp=t.now, last_offset_delta=0, count=0))
records("crc-wrong", lambda t: batch.batch(R, timestamp=t.now, crc=1))
records("magic-0", lambda t: batch.legacy(0, t.now))
records("magic-1", lambda t: batch.legacy(1, t.now))
records("magic-3", lambda t: batch.batch(R, timestamp=t.now, magic=3))
records("magic-negative", lambda t: batch.batch(R, timestamp=t.now, magic=-1))
records("count-too-high", lambda t: batch.batch(TWO, timestamp=t.now, count=3, last_offset_delta=2))
records("count-too-low", lambda t: batch.batch(TWO, timestamp=t.now, count=1, last_offset_delta=0))
records("count-negative", lambda t: batch.batch(R, timestamp=t.now, count=-1))
records("count-not-last-offset", lambda t: batch.batch(TWO, timestamp=t.now, last_offset_delta=5))
records("last-offset-negative", lambda t: batch.batch(R, timestamp=t.now, last_offset_delta=-1))
records("offset-deltas-all-zero", lambda t: batch.batch([Record(delta=0), Record(delta=0)], timestamp=t.now))
records("offset-deltas-reversed", lambda t: batch.batch([Record(delta=1), Record(delta=0)], timestamp=t.now))
records("offset-deltas-with-gap", lambda t: batch.batch([Record(delta=0), Record(delta=2)], timestamp=t.now, last_offset_delta=2, count=2))
records("length-too-high", lambda t: batch.batch(R, timestamp=t.now, length=10_000))
records("length-too-low", lambda t: batch.batch(R, timestamp=t.now, length=50))
records("length-below-header", lambda t: batch.batch(R, timestamp=t.now, length=10))
records("length-zero", lambda t: batch.batch(R, timestamp=t.now, length=0))
records("length-negative", lambda t: batch.batch(R, timestamp=t.now, length=-5))
records("cut-in-header", lambda t: batch.batch(R, timestamp=t.now)[:40])
records("cut-in-length", lambda t: batch.batch(R, timestamp=t.now)[:10])
records("cut-in-records", lambda t: batch.batch(TWO, timestamp=t.now)[:-3])
records("bytes-after-records", lambda t: batch.batch(R, timestamp=t.now, tail=b"\0\0\0"))
records("bytes-after-batch", lambda t: batch.batch(R, timestamp=t.now) + b"\0\0\0")
records("two-batches", lambda t: batch.batch(R, timestamp=t.now) + batch.batch(R, timestamp=t.now, base_offset=1))
records("record-size-too-high", lambda t: batch.batch([Record(size=100)], timestamp=t.now))
records("record-size-too-low", lambda t: batch.batch([Record(size=3)], timestamp=t.now))
records("record-size-negative", lambda t: batch.batch([Record(size=-1)], timestamp=t.now))
records("header-key-null", lambda t: batch.batch(R, timestamp=t.now, payload=b"\x14\0\0\0\x02k\x02v\x02\x01\0"))
records("control-bit", lambda t: batch.batch(R, timestamp=t.now, flags=batch.CONTROL))
for number in (5, 6, 7):
    records(f"codec-{number}", lambda t, n=number: batch.batch(R, timestamp=t.now, codec=n))
records("gzip-broken", lambda t: batch.batch(R, timestamp=t.now, codec=batch.GZIP, payload=b"no gzip"))
records("snappy-broken", lambda t: batch.batch(R, timestamp=t.now, codec=batch.SNAPPY, payload=b"no snappy"))
records("lz4-broken", lambda t: batch.batch(R, timestamp=t.now, codec=batch.LZ4, payload=b"no lz4"))
records("zstd-broken", lambda t: batch.batch(R, timestamp=t.now, codec=batch.ZSTD, payload=b"no zstd"))
records("garbage", lambda t: bytes(random.Random(1).randbytes(200)))

# Refused for the topic's settings
records("too-large", lambda t: some(t, value=b"x" * 500), max_message_bytes="300")
records("just-not-too-large", lambda t: batch.batch([Record(b"", b"x" * 100)], timestamp=t.now), max_message_bytes="171")
records("just-too-large", lambda t: batch.batch([Record(b"", b"x" * 100)], timestamp=t.now), max_message_bytes="170")
records("too-large-compressible", lambda t: some(t, value=b"x" * 500, codec=batch.GZIP), max_message_bytes="300")
records("larger-than-segment", lambda t: some(t, value=b"x" * 2000), segment_bytes="1048576")
records("timestamp-too-old", lambda t: batch.batch(TWO, timestamp=t.now - 100_000), message_timestamp_before_max_ms="1000")
records("timestamp-too-new", lambda t: batch.batch(TWO, timestamp=t.now + 500_000), message_timestamp_after_max_ms="1000")
records("timestamp-too-new-by-default", lambda t: batch.batch(TWO, timestamp=t.now + 7_200_000))
records("timestamp-of-second-too-new", lambda t: batch.batch([Record(), Record(ts_delta=7_200_000)], timestamp=t.now))
records("timestamp-too-new-but-append-time", lambda t: batch.batch(TWO, timestamp=t.now + 7_200_000), message_timestamp_type="LogAppendTime")
records("compacted-with-key", some, cleanup_policy="compact")
records("compacted-null-key", lambda t: batch.batch([Record(None)], timestamp=t.now), cleanup_policy="compact")
records("compacted-one-null-key-of-three", lambda t: batch.batch([Record(), Record(None), Record()], timestamp=t.now), cleanup_policy="compact")
records("compacted-null-key-gzip", lambda t: batch.batch([Record(None)], timestamp=t.now, codec=batch.GZIP), cleanup_policy="compact,delete")
records("compacted-null-keys-and-old", lambda t: batch.batch(
    [Record(None), Record(None)], timestamp=t.now - 100_000), cleanup_policy="compact", message_timestamp_before_max_ms="1000")

# Transactional and idempotent batches without what they need
records("transactional-bit-without-producer", lambda t: batch.batch(R, timestamp=t.now, flags=batch.TRANSACTIONAL))
records("producer-without-sequence", lambda t: batch.batch(R, timestamp=t.now, producer_id=5_000_001, producer_epoch=0))
records("producer-without-epoch", lambda t: batch.batch(R, timestamp=t.now, producer_id=5_000_002, sequence=0))
records("producer-id-minus-two", lambda t: batch.batch(R, timestamp=t.now, producer_id=-2, producer_epoch=0, sequence=0))
records("sequence-without-producer", lambda t: batch.batch(R, timestamp=t.now, sequence=4), fetch=True)

# Where to
for number in (2, -2, 127):
    records(f"acks-{number}", some, acks=number)


def to(name: str, body: Callable[[Talk], dict]) -> None:
    """A case of one odd request."""
    simple(API, name, body)


to("no-topics", lambda t: {"Acks": -1, "TimeoutMs": 1000, "TopicData": []})
to("unknown-topic", lambda t: produce_body(t.missing(), some(t)))
to("unknown-partition", lambda t: produce_body(t.topic(), some(t), partition=7))
to("negative-partition", lambda t: produce_body(t.topic(), some(t), partition=-1))
to("invalid-topic-name", lambda t: produce_body(Topic("a b", ZERO_ID), some(t)))
to("empty-topic-name", lambda t: produce_body(Topic("", ZERO_ID), some(t)))
to("unknown-partition-and-bad-records", lambda t: produce_body(t.topic(), b"x", partition=7))
to("timeout-negative", lambda t: {**produce_body(t.topic(), some(t)), "TimeoutMs": -1})
to("timeout-zero", lambda t: {**produce_body(t.topic(), some(t)), "TimeoutMs": 0})
to("transactional-id-plain-batch", lambda t: produce_body(t.topic(), some(t), txn="tx"))
to("one-good-one-bad-partition", lambda t: {"Acks": -1, "TimeoutMs": 1000, "TopicData": [
    {"Name": (x := t.topic(partitions=2)).name, "TopicId": x.id, "PartitionData": [
        {"Index": 0, "Records": some(t)}, {"Index": 1, "Records": batch.batch(R, timestamp=t.now, crc=1)}]}]})
to("same-partition-twice", lambda t: {"Acks": -1, "TimeoutMs": 1000, "TopicData": [
    {"Name": (x := t.topic()).name, "TopicId": x.id, "PartitionData": [{"Index": 0, "Records": some(t)}] * 2}]})
to("topic-without-partitions", lambda t: {"Acks": -1, "TimeoutMs": 1000, "TopicData": [
    {"Name": (x := t.topic()).name, "TopicId": x.id, "PartitionData": []}]})


@case(API)
def acks_zero_then_a_question(t: Talk) -> None:
    """No answer to acks 0; the next answer is that of the next question, and the record is there."""
    topic = t.topic()
    t.send(produce_body(topic, some(t), acks=0))
    t.ask(produce_body(topic, some(t)))


@case(API)
def acks_zero_that_fails(t: Talk) -> None:
    """Kafka has no other way to tell than to close."""
    t.send(produce_body(t.topic(), some(t), acks=0, partition=7))
    t.ask({"Acks": -1, "TimeoutMs": 1000, "TopicData": []}, label="after")


@case(API)
def acks_zero_bad_crc(t: Talk) -> None:
    """As above, with a batch that is refused."""
    t.send(produce_body(t.topic(), batch.batch(R, timestamp=t.now, crc=1), acks=0))
    t.ask({"Acks": -1, "TimeoutMs": 1000, "TopicData": []}, label="after")


@case(API)
def offsets_go_up(t: Talk) -> None:
    """Three appends."""
    topic = t.topic()
    for count in (1, 2, 3):
        t.ask(produce_body(topic, some(t, count)))


@case(API)
def not_enough_replicas(t: Talk) -> None:
    """min.insync.replicas above what there is; acks 1 does not care."""
    topic = t.topic(min_insync_replicas="2")
    t.ask(produce_body(topic, some(t)))
    t.ask(produce_body(topic, some(t), acks=1))


spoiled(API, lambda t: produce_body(t.missing(), b""))
