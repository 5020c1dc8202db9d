"""Compacted topics: what is left has holes between offsets."""

import time

from checks import check, equal, equal_lists, wait_until
from driver import Record

# In round r keys from r on are written; of each but the last ones an earlier round keeps the last record.
ROUNDS, KEYS = 4, 10
LEFT = [0, 10, 19, *range(27, 34)]
# Kafka's cleaner looks each 15 s.
CLEANED_S = 60


def to_the_end(driver, topic, start="earliest"):
    end = driver.offset(topic, "latest")
    with driver.reader(topic, start=start) as reader:
        found = reader.take(1)
        while found[-1].offset < end - 1:
            found += reader.take(1)
    offsets = [a.offset for a in found]
    equal_lists("offsets ascend", offsets, sorted(set(offsets)))
    return [a for a in found if a.key != b"tick"]


def last_values(driver):
    topic = driver.new_topic(configs={"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.01"})
    for r in range(ROUNDS):
        keyed = [Record(b"round %d of k%d" % (r, k), key=b"k%d" % k) for k in range(r, KEYS)]
        driver.write(topic, keyed, codec=("none", "gzip")[r % 2])

    def is_clean():
        # A segment is closed by what is written after its time, and the last record of all stays.
        time.sleep(0.2)
        driver.write(topic, [Record(b"tick", key=b"tick")])
        return [a.offset for a in to_the_end(driver, topic)] == LEFT

    wait_until("only the last record of each key is left", is_clean, CLEANED_S)
    found = to_the_end(driver, topic)
    rounds = [min(k, ROUNDS - 1) for k in range(KEYS)]
    equal_lists("values", [(a.key, a.value) for a in found], [(b"k%d" % k, b"round %d of k%d" % (r, k)) for k, r in enumerate(rounds)])
    for start, first in ((1, 10), (11, 19), (30, 30)):
        equal(f"the first offset from {start} on", to_the_end(driver, topic, start)[0].offset, first)
    check(driver.offset(topic, "earliest") == 0, "the log begins where it began")


SCENARIOS = {"a compacted topic reads as its last values": last_values}
