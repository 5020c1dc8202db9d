"""Held records: produced with a deliver-at or deliver-after header, readable when due."""

from confluent_kafka import KafkaError

from cluster import CODECS, check, equal, equal_lists, now_ms

# Long enough for plain records to be produced and read on a busy machine before it is over.
DELAY_MS = 1_500
# What may lie between a due time and the record's arrival here.
LATE_MS = 2_000
HOUR_MS = 3_600_000


def deliver_at(due):
    return [("chronos-deliver-at", str(due).encode())]


def check_fired(arrival, due, schedule_id):
    """What holds for every fired record, whatever it carries."""
    equal("chronos-due-at", arrival.header("chronos-due-at"), str(due))
    equal("chronos-schedule-id", arrival.header("chronos-schedule-id"), str(schedule_id))
    check(arrival.header("chronos-created-at"), "no chronos-created-at")
    equal("chronos-deliver-at", arrival.header("chronos-deliver-at"), None)
    equal("chronos-deliver-after", arrival.header("chronos-deliver-after"), None)
    check(arrival.offset > schedule_id, f"offset {arrival.offset} is not after schedule id {schedule_id}")
    check(arrival.at_ms >= due, f"{due - arrival.at_ms} ms early")
    check(arrival.at_ms < due + LATE_MS, f"{arrival.at_ms - due} ms late")


def check_plain(arrival):
    names = [name for name, _ in arrival.headers if name.startswith("chronos-")]
    equal("headers of a plain record", names, [])


def one_held_record(cluster):
    topic = cluster.new_topic()
    created = now_ms() - 1_000
    due = now_ms() + DELAY_MS
    writer = cluster.writer(topic)
    with cluster.reader(topic) as reader:
        writer.send(b"held", key=b"key", timestamp=created, headers=[("mine", b"kept"), *deliver_at(due)])
        [schedule_id] = writer.offsets()
        equal("schedule id", schedule_id, 0)
        equal_lists("records before it is due", cluster.read_all(topic), [])
        check(now_ms() < due, "this machine is too slow to look before it is due")
        [fired] = reader.take(1)
        check_fired(fired, due, schedule_id)
        equal("key, value", (fired.key, fired.value), (b"key", b"held"))
        equal("the producer's own header", fired.header("mine"), "kept")
        equal("chronos-created-at", fired.header("chronos-created-at"), str(created))
        equal("timestamp", fired.timestamp, due)
    equal("records in the end", len(cluster.read_all(topic)), 1)


def mixed_batch(cluster):
    topic = cluster.new_topic()
    start = now_ms() + DELAY_MS
    # Nothing is flushed before the last send, so the linger makes one batch of all.
    writer = cluster.writer(topic, **{"linger.ms": 1_000})
    dues = {}
    with cluster.reader(topic) as reader:
        for i in range(30):
            if i % 3 == 0:
                writer.send(b"%d" % i)
            else:
                # Later records are due earlier, and each due time has several records.
                dues[i] = start + 100 * (3 - i // 10)
                writer.send(b"%d" % i, headers=deliver_at(dues[i]))
        equal_lists("offsets", writer.offsets(), list(range(30)))
        plain = reader.take(10)
        equal_lists("plain records", [(a.offset, a.value) for a in plain], [(i, b"%d" % i) for i in range(0, 30, 3)])
        check(plain[-1].at_ms < start, "plain records came only when held ones were due")
        fired = reader.take(20)
    for arrival in plain:
        check_plain(arrival)
    by_due_and_id = sorted(dues, key=lambda i: (dues[i], i))
    equal_lists("fired records", [int(a.value) for a in fired], by_due_and_id)
    for arrival, i in zip(fired, by_due_and_id):
        check_fired(arrival, dues[i], i)
    equal("records in the end", len(cluster.read_all(topic)), 30)


def every_codec(cluster):
    topic = cluster.new_topic()
    due = now_ms() + DELAY_MS
    schedule_ids = {}
    plain = []
    for codec in CODECS:
        writer = cluster.writer(topic, **{"compression.type": codec, "linger.ms": 1_000})
        values = [f"{codec} {i} ".encode() * 20 for i in range(20)]
        for i, value in enumerate(values):
            writer.send(value, headers=deliver_at(due) if i % 2 else [])
        offsets = writer.offsets()
        plain += values[::2]
        schedule_ids |= dict(zip(values[1::2], offsets[1::2]))
    with cluster.reader(topic) as reader:
        equal_lists("plain records", [a.value for a in reader.take(len(plain))], plain)
        fired = reader.take(len(schedule_ids))
    equal_lists("fired records", [a.value for a in fired], list(schedule_ids))
    for arrival in fired:
        check_fired(arrival, due, schedule_ids[arrival.value])


def deliver_after(cluster):
    topic = cluster.new_topic()
    writer = cluster.writer(topic)
    spellings = [b"1s", b"1000", b"PT1S"]
    with cluster.reader(topic) as reader:
        before = now_ms()
        for spelling in spellings:
            writer.send(spelling, headers=[("chronos-deliver-after", spelling)])
        schedule_ids = writer.offsets()
        after = now_ms()
        fired = {arrival.value: arrival for arrival in reader.take(3)}
    for spelling, schedule_id in zip(spellings, schedule_ids):
        arrival = fired[spelling]
        check(arrival.header("chronos-due-at"), f"{spelling} was not held")
        due = int(arrival.header("chronos-due-at"))
        check(before + 1_000 <= due <= after + 1_000, f"{spelling} was resolved to {due - before} ms after sending")
        check_fired(arrival, due, schedule_id)


def malformed(cluster):
    topic = cluster.new_topic()
    writer = cluster.writer(topic)
    writer.send(b"refused", headers=[("chronos-deliver-at", b"tomorrow")])
    [outcome] = writer.outcomes_of_all()
    check(isinstance(outcome, KafkaError), f"it was accepted at offset {outcome}")
    equal("error", outcome.name(), "INVALID_RECORD")
    writer.send(b"accepted")
    equal("offset of the next record", writer.offsets(), [0])
    equal_lists("values", [a.value for a in cluster.read_all(topic)], [b"accepted"])


def no_lag(cluster):
    topic = cluster.new_topic()
    writer = cluster.writer(topic)
    far = deliver_at(now_ms() + HOUR_MS)
    for value, headers in [(b"plain", [])] * 5 + [(b"held", far)] * 3:
        writer.send(value, headers=headers)
    writer.offsets()
    with cluster.reader(topic) as reader:
        equal("records", len(reader.take_all()), 5)
        check_at_end(reader, 5)
        # The hole that the held records left is behind the consumer now.
        writer.send(b"plain")
        equal("offset after the held records", writer.offsets(), [8])
        equal_lists("offsets", [a.offset for a in reader.take(1)], [8])
        equal_lists("records", reader.take_all(), [])
        check_at_end(reader, 9)


def check_at_end(reader, end):
    equal("position", reader.position(), end)
    equal("end reached", reader.ends, {0: end})
    equal("end offset", reader.watermarks(), (0, end))


SCENARIOS = {
    "a held record arrives when due and not before": one_held_record,
    "a batch of plain and held records is split": mixed_batch,
    "records are held with every codec": every_codec,
    "deliver-after takes a duration in each spelling": deliver_after,
    "a malformed deliver-at is refused": malformed,
    "a consumer at the end has no lag though records are held": no_lag,
}
