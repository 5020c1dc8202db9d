"""Produce: what is written comes back."""

import os
from functools import partial

from checks import check, equal, equal_lists, now_ms, wait_until
from driver import MESSAGE_TOO_LARGE, Record, Refused

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def values(count):
    return [b"value %d" % i for i in range(count)]


def in_order(driver):
    topic = driver.new_topic()
    equal_lists("offsets", driver.write(topic, values(1_000)), list(range(1_000)))
    equal_lists("values", [a.value for a in driver.read_all(topic)], values(1_000))


def codec(driver, codec):
    topic = driver.new_topic()
    sent = [value * 20 for value in values(200)]
    driver.write(topic, sent, codec=codec)
    equal_lists("values", [a.value for a in driver.read_all(topic)], sent)


def every_field(driver):
    topic = driver.new_topic()
    base = now_ms() - 60_000
    headers = [("h", b"1"), ("h", b"2"), ("empty", b"")]
    headers += [] if "null header" in driver.cannot else [("null", None)]
    headers += [] if "binary header" in driver.cannot else [("bytes", bytes(range(256)))]
    records = [
        Record(b"value", b"key", base, headers),
        Record(None, b"tombstone", base + 1),
        Record(b"", b"", base + 2),
        Record(bytes(range(256)), None, base + 3),
    ]
    driver.write(topic, records)
    found = [Record(a.value, a.key, a.timestamp, list(a.headers)) for a in driver.read_all(topic)]
    if "timestamp" in driver.cannot:
        for record in records + found:
            record.timestamp = None
    equal_lists("records", found, records)


def acks(driver):
    for acks in ["0", "1", "all"]:
        topic = driver.new_topic()
        driver.write(topic, values(50), acks=acks)
        with driver.reader(topic) as reader:
            equal_lists(f"values of acks {acks}", [a.value for a in reader.take(50)], values(50))


def idempotent(driver):
    topic = driver.new_topic()
    offsets = driver.write(topic, values(2_000), idempotent=True, batch_max=20)
    equal_lists("offsets", offsets, list(range(2_000)))
    equal_lists("values", [a.value for a in driver.read_all(topic)], values(2_000))


def too_large(driver):
    topic = driver.new_topic()
    [outcome] = driver.produce(topic, [Record(os.urandom(2_000_000).replace(b"\n", b"x"))], request_max=4_000_000)
    check(isinstance(outcome, Refused), f"2 MB were accepted at offset {outcome}")
    equal("error", outcome.code, MESSAGE_TOO_LARGE)
    equal("offset of the next record", driver.write(topic, [b"accepted"]), [0])
    equal_lists("values", [a.value for a in driver.read_all(topic)], [b"accepted"])


def creates_topic(driver):
    topic = driver.new_name()
    equal("offset", driver.write(topic, [b"first"]), [0])
    wait_until("the topic is listed", lambda: topic in driver.topics())
    check(driver.partitions(topic) >= 1, "it has no partitions")
    equal_lists("values", [a.value for a in driver.read_all(topic)], [b"first"])


def log_append_time(driver):
    topic = driver.new_topic(configs={"message.timestamp.type": "LogAppendTime"})
    before = now_ms()
    driver.write(topic, [Record(b"value", timestamp=before - 3_600_000)], codec="gzip")
    [found] = driver.read_all(topic)
    check(before <= found.timestamp <= now_ms(), f"timestamp {found.timestamp - before} ms after sending")


SCENARIOS = {
    "records come back in order": in_order,
    **{f"codec {name}": partial(codec, codec=name) for name in CODECS},
    "every field round trips": every_field,
    "acks 0, 1 and all": acks,
    "idempotent producer keeps order": idempotent,
    "record too large is refused": too_large,
    "producing creates a topic": creates_topic,
    "log append time": log_append_time,
}
