"""Records written and read back, nothing held."""

import time
from functools import partial

from confluent_kafka import OFFSET_END, KafkaException, Producer, TopicPartition

from cluster import CODECS, PATIENCE_S, check, equal, equal_lists, now_ms


def in_order(cluster):
    topic = cluster.new_topic()
    values = [f"value {i}".encode() for i in range(1_000)]
    writer = cluster.writer(topic)
    for value in values:
        writer.send(value)
    equal_lists("offsets", writer.offsets(), list(range(1_000)))
    found = cluster.read_all(topic)
    equal_lists("values", [a.value for a in found], values)
    equal_lists("offsets read", [a.offset for a in found], list(range(1_000)))


def codec_round_trips(cluster, codec):
    topic = cluster.new_topic()
    values = [f"value {i} ".encode() * 20 for i in range(200)]
    writer = cluster.writer(topic, **{"compression.type": codec})
    for value in values:
        writer.send(value)
    writer.offsets()
    equal_lists("values", [a.value for a in cluster.read_all(topic)], values)


def every_field_round_trips(cluster):
    topic = cluster.new_topic()
    base = now_ms() - 60_000
    # A header may be repeated, empty or null, and its value need not be text.
    headers = [("h", b"1"), ("h", b"2"), ("empty", b""), ("null", None), ("bytes", bytes(range(256)))]
    records = [
        {"value": b"value", "key": b"key", "timestamp": base, "headers": headers},
        {"value": None, "key": b"tombstone", "timestamp": base + 1, "headers": []},
        {"value": b"", "key": b"", "timestamp": base + 2, "headers": []},
        {"value": bytes(range(256)), "key": None, "timestamp": base + 3, "headers": []},
    ]
    writer = cluster.writer(topic)
    for record in records:
        writer.send(**record)
    writer.offsets()
    found = [
        {"value": a.value, "key": a.key, "timestamp": a.timestamp, "headers": a.headers}
        for a in cluster.read_all(topic)
    ]
    equal_lists("records", found, records)


def time_finds_offset(cluster):
    topic = cluster.new_topic()
    base = now_ms() - 60_000
    # One compressed batch whose times are not sorted: the broker has to look inside.
    writer = cluster.writer(topic, **{"compression.type": "lz4"})
    for later in [100, 300, 200, 400]:
        writer.send(b"value", timestamp=base + later)
    writer.offsets()
    expected = {0: 0, 100: 0, 150: 1, 250: 1, 300: 1, 301: 3, 400: 3, 401: OFFSET_END}
    with cluster.reader(topic) as reader:
        for later, offset in expected.items():
            [found] = reader.consumer.offsets_for_times([TopicPartition(topic, 0, base + later)], PATIENCE_S)
            equal(f"offset for time +{later}", found.offset, offset)


def watermarks(cluster):
    topic = cluster.new_topic()
    with cluster.reader(topic) as reader:
        equal("watermarks of an empty topic", reader.watermarks(), (0, 0))
        writer = cluster.writer(topic)
        for _ in range(7):
            writer.send(b"value")
        writer.offsets()
        equal("watermarks after 7 records", reader.watermarks(), (0, 7))


def acks(cluster, acks):
    topic = cluster.new_topic()
    values = [f"value {i}".encode() for i in range(50)]
    writer = cluster.writer(topic, acks=acks)
    for value in values:
        writer.send(value)
    writer.offsets()
    with cluster.reader(topic) as reader:
        equal_lists("values", [a.value for a in reader.take(50)], values)


def idempotent(cluster):
    topic = cluster.new_topic()
    values = [f"value {i}".encode() for i in range(2_000)]
    # Small batches: many sequence numbers, several requests in flight.
    writer = cluster.writer(topic, **{"enable.idempotence": True, "batch.num.messages": 20})
    for value in values:
        writer.send(value)
    equal_lists("offsets", writer.offsets(), list(range(2_000)))
    equal_lists("values", [a.value for a in cluster.read_all(topic)], values)


def out_of_range(cluster):
    topic = cluster.new_topic()
    writer = cluster.writer(topic)
    for i in range(10):
        writer.send(b"%d" % i)
    writer.offsets()
    with cluster.reader(topic, offset=1_000_000, **{"auto.offset.reset": "earliest"}) as reader:
        equal_lists("offsets", [a.offset for a in reader.take(10)], list(range(10)))


def transactional(cluster):
    topic = cluster.new_topic()
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "transactional.id": topic})
    started = time.monotonic()
    try:
        producer.init_transactions(3)
    except KafkaException as exception:
        took = time.monotonic() - started
        error = exception.args[0]
        check(error.retriable() and not error.fatal(), f"init failed for good: {error}")
        check(took < 6, f"init took {took:.1f} s to fail within 3 s")
        return
    # A broker that grants the init must keep its word.
    producer.begin_transaction()
    producer.produce(topic, b"committed", partition=0)
    producer.commit_transaction(PATIENCE_S)
    with cluster.reader(topic, **{"isolation.level": "read_committed"}) as reader:
        equal_lists("values", [a.value for a in reader.take(1)], [b"committed"])


SCENARIOS = {
    "1000 records come back in order": in_order,
    **{f"codec {codec} round trips": partial(codec_round_trips, codec=codec) for codec in CODECS},
    "key, headers, null and empty value, timestamp round trip": every_field_round_trips,
    "a time finds the first record at or after it": time_finds_offset,
    "watermarks tell beginning and end": watermarks,
    **{f"acks {name} is served": partial(acks, acks=name) for name in ["0", "1", "all"]},
    "an idempotent producer keeps order": idempotent,
    "an offset out of range is reset to the earliest": out_of_range,
    "a transactional producer works or fails in time": transactional,
}
