"""Fetch: from where, how much, how long."""

import threading
import time

from checks import PATIENCE_S, check, equal, equal_lists, now_ms
from driver import Record
from produce import values

WAIT_MS = 5_000


def middle_of_batch(driver):
    topic = driver.new_topic()
    driver.write(topic, values(100), codec="lz4", one_batch=True)
    with driver.reader(topic, start=57) as reader:
        found = reader.take(43)
    equal_lists("offsets", [a.offset for a in found], list(range(57, 100)))
    equal_lists("values", [a.value for a in found], values(100)[57:])


def large_record(driver):
    topic = driver.new_topic()
    sent = [b"small", b"x" * 500_000, b"after"]
    for value in sent:
        driver.write(topic, [value])
    equal_lists("values", [a.value for a in driver.read_all(topic, fetch_max=1_000)], sent)


def waits(driver):
    topic = driver.new_topic()
    produced = []

    def later():
        time.sleep(0.7)
        produced.append(now_ms())
        driver.write(topic, [b"later"])

    with driver.reader(topic, wait_ms=WAIT_MS) as reader:
        writer = threading.Thread(target=later)
        writer.start()
        try:
            [found] = reader.take(1)
        finally:
            writer.join()
    equal("value", found.value, b"later")
    took = found.at_ms - produced[0]
    check(took < WAIT_MS // 2, f"it was read {took} ms after it was produced")


def out_of_range(driver):
    topic = driver.new_topic()
    driver.write(topic, values(10))
    with driver.reader(topic, start=(1_000_000, "earliest")) as reader:
        equal_lists("values from the earliest", [a.value for a in reader.take(10)], values(10))
    with driver.reader(topic, start=(1_000_000, "latest")) as reader:
        found, sent = [], 10
        deadline = time.monotonic() + PATIENCE_S
        while not found:
            check(time.monotonic() < deadline, f"nothing of {sent - 10} new records")
            driver.write(topic, [b"new %d" % sent])
            sent += 1
            found = reader.poll(0.3)
    check(found[0].offset >= 10, f"the latest gave offset {found[0].offset}, older than the reader")
    equal("value", found[0].value, b"new %d" % found[0].offset)


def many_partitions(driver):
    topic = driver.new_topic(partitions=16)
    sent = [Record(b"%d " % i + b"x" * 500, partition=p) for p in range(16) for i in range(100)]
    driver.write(topic, sent)
    with driver.reader(topic, partitions=16, fetch_max=20_000) as reader:
        found = reader.take(1_600)
    for p in range(16):
        offsets = [a.offset for a in found if a.partition == p]
        equal_lists(f"offsets of partition {p}", offsets, list(range(100)))
        numbers = [int(a.value.split()[0]) for a in found if a.partition == p]
        equal_lists(f"values of partition {p}", numbers, list(range(100)))


def read_committed(driver):
    topic = driver.new_topic()
    driver.write(topic, values(10))
    equal_lists("values", [a.value for a in driver.read_all(topic, committed=True)], values(10))


SCENARIOS = {
    "fetch from the middle of a batch": middle_of_batch,
    "large record through a small fetch": large_record,
    "fetch waits for a record": waits,
    "offset out of range": out_of_range,
    "many partitions are all read": many_partitions,
    "read committed sees plain records": read_committed,
}
