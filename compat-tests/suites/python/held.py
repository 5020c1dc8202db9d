"""Held records: produced with a deliver-at or deliver-after header, readable when due."""

from checks import check, equal, equal_lists, now_ms, wait_until
from driver import Record, Refused
from produce import CODECS

INVALID_RECORD = 87
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


def check_at_end(driver, reader, end):
    """The reader is at the end that the broker tells, and nothing more comes."""

    def arrived():
        equal_lists("records at the end", reader.poll(0.05), [])
        return reader.position() == end

    wait_until(f"position {end}", arrived)
    equal("end offset", driver.offset(reader.partitions[0].topic, "latest"), end)


def one_held_record(driver):
    topic = driver.new_topic()
    created = now_ms() - 1_000
    due = now_ms() + DELAY_MS
    with driver.reader(topic) as reader:
        held = Record(b"held", b"key", created, [("mine", b"kept"), *deliver_at(due)])
        [schedule_id] = driver.write(topic, [held])
        equal("schedule id", schedule_id, 0)
        equal_lists("records before it is due", reader.poll(0.3), [])
        check(now_ms() < due, "this machine is too slow to look before it is due")
        [fired] = reader.take(1)
        check_fired(fired, due, schedule_id)
        equal("key, value", (fired.key, fired.value), (b"key", b"held"))
        equal("the producer's own header", fired.header("mine"), "kept")
        equal("chronos-created-at", fired.header("chronos-created-at"), str(created))
        equal("timestamp", fired.timestamp, due)
        check_at_end(driver, reader, fired.offset + 1)


def mixed_batch(driver):
    topic = driver.new_topic()
    start = now_ms() + DELAY_MS
    # Later records are due earlier, and each due time has several records.
    dues = {i: start + 100 * (3 - i // 10) for i in range(30) if i % 3}
    records = [Record(b"%d" % i, headers=deliver_at(dues[i]) if i in dues else []) for i in range(30)]
    with driver.reader(topic) as reader:
        equal_lists("offsets", driver.write(topic, records, one_batch=True), list(range(30)))
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
        check_at_end(driver, reader, fired[-1].offset + 1)


def every_codec(driver):
    topic = driver.new_topic()
    due = now_ms() + DELAY_MS + 1_000
    schedule_ids = {}
    plain = []
    for codec in CODECS:
        values = [f"{codec} {i} ".encode() * 20 for i in range(20)]
        records = [Record(value, headers=deliver_at(due) if i % 2 else []) for i, value in enumerate(values)]
        offsets = driver.write(topic, records, codec=codec)
        plain += values[::2]
        schedule_ids |= dict(zip(values[1::2], offsets[1::2]))
    with driver.reader(topic) as reader:
        equal_lists("plain records", [a.value for a in reader.take(len(plain))], plain)
        fired = reader.take(len(schedule_ids))
    equal_lists("fired records", [a.value for a in fired], list(schedule_ids))
    for arrival in fired:
        check_fired(arrival, due, schedule_ids[arrival.value])


def deliver_after(driver):
    topic = driver.new_topic()
    spellings = [b"1s", b"1000", b"PT1S"]
    with driver.reader(topic) as reader:
        before = now_ms()
        records = [Record(spelling, headers=[("chronos-deliver-after", spelling)]) for spelling in spellings]
        schedule_ids = driver.write(topic, records)
        after = now_ms()
        fired = {arrival.value: arrival for arrival in reader.take(3)}
    for spelling, schedule_id in zip(spellings, schedule_ids):
        arrival = fired[spelling]
        check(arrival.header("chronos-due-at"), f"{spelling} was not held")
        due = int(arrival.header("chronos-due-at"))
        check(before + 1_000 <= due <= after + 1_000, f"{spelling} was resolved to {due - before} ms after sending")
        check_fired(arrival, due, schedule_id)


def malformed(driver):
    topic = driver.new_topic()
    [outcome] = driver.produce(topic, [Record(b"refused", headers=[("chronos-deliver-at", b"tomorrow")])])
    check(isinstance(outcome, Refused), f"it was accepted at offset {outcome}")
    equal("error", outcome.code, INVALID_RECORD)
    equal("offset of the next record", driver.write(topic, [b"accepted"]), [0])
    equal_lists("values", [a.value for a in driver.read_all(topic)], [b"accepted"])


def no_lag(driver):
    topic = driver.new_topic()
    far = deliver_at(now_ms() + HOUR_MS)
    driver.write(topic, [Record(b"plain")] * 5 + [Record(b"held", headers=far)] * 3)
    with driver.reader(topic) as reader:
        equal_lists("offsets", [a.offset for a in reader.take(5)], list(range(5)))
        check_at_end(driver, reader, 5)
        # The hole that the held records left is behind the consumer now.
        equal("offset after the held records", driver.write(topic, [b"plain"]), [8])
        equal_lists("offsets", [a.offset for a in reader.take(1)], [8])
        check_at_end(driver, reader, 9)


SCENARIOS = {
    "a held record arrives when due and not before": one_held_record,
    "a batch of plain and held records is split": mixed_batch,
    "records are held with every codec": every_codec,
    "deliver-after takes a duration in each spelling": deliver_after,
    "a malformed deliver-at is refused": malformed,
    "a consumer at the end has no lag though records are held": no_lag,
}
