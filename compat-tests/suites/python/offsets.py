"""Offsets: beginning, end, by time, and moved by deleting."""

from checks import equal, equal_lists, now_ms
from driver import OFFSET_OUT_OF_RANGE, Record, refused
from produce import values


def beginning_and_end(driver):
    topic = driver.new_topic()
    equal("when empty", (driver.offset(topic, "earliest"), driver.offset(topic, "latest")), (0, 0))
    driver.write(topic, values(7))
    equal("after 7 records", (driver.offset(topic, "earliest"), driver.offset(topic, "latest")), (0, 7))


def for_a_time(driver):
    topic = driver.new_topic()
    base = now_ms() - 60_000
    records = [Record(b"value", timestamp=base + later) for later in [100, 300, 200, 400]]
    driver.write(topic, records, codec="lz4", one_batch=True)
    for later, offset in {0: 0, 100: 0, 150: 1, 250: 1, 300: 1, 301: 3, 400: 3, 401: None}.items():
        equal(f"offset for time +{later}", driver.offset(topic, base + later), offset)


def of_max_timestamp(driver):
    topic = driver.new_topic()
    base = now_ms() - 60_000
    driver.write(topic, [Record(b"value", timestamp=base + later) for later in [100, 300, 200]], one_batch=True)
    driver.write(topic, [Record(b"value", timestamp=base + 150)])
    equal("offset", driver.offset(topic, "max"), 1)


def delete_records(driver):
    topic = driver.new_topic()
    driver.write(topic, values(10))
    driver.delete_records(topic, 4)
    equal("beginning and end", (driver.offset(topic, "earliest"), driver.offset(topic, "latest")), (4, 10))
    equal_lists("values", [a.value for a in driver.read_all(topic)], values(10)[4:])
    refused("deleting beyond the end", OFFSET_OUT_OF_RANGE, lambda: driver.delete_records(topic, 11))


SCENARIOS = {
    "beginning and end": beginning_and_end,
    "offset for a time": for_a_time,
    "offset of the max timestamp": of_max_timestamp,
    "delete records": delete_records,
}
