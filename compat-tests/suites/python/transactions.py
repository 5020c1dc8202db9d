"""Transactions: what is read of them, their offsets, and how they end."""

import time
import uuid

import confluent_kafka as ck

from checks import PATIENCE_S, check, equal, equal_lists, wait_until
from driver import INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, PRODUCER_FENCED, Record, Refused
from members import Committed
from produce import CODECS, values

# A broker looks for transactions past their timeout every 10 s.
TIMED_OUT_S = 60


def read(driver, topic, committed=True, seconds=PATIENCE_S):
    """All that is there, in order: a record that no transaction holds is written last, and read up to."""
    end = f"end {uuid.uuid4()}".encode()
    driver.write(topic, [end])
    found = []
    with driver.reader(topic, committed=committed) as reader:

        def ended():
            found.extend(reader.poll(0.1))
            return found and found[-1].value == end

        wait_until(f"the last record of {topic} is read", ended, seconds)
    return [a for a in found if not a.value.startswith(b"end ")]


def reads(driver, topic, committed, everything):
    equal_lists("read_committed", [a.value for a in read(driver, topic)], committed)
    equal_lists("read_uncommitted", [a.value for a in read(driver, topic, committed=False)], everything)


def fenced(what, codes, attempt):
    try:
        attempt()
    except Refused as error:
        check(error.code in codes, f"error of {what}: {error}")
    else:
        check(False, f"{what} was not refused")


def begin(producer, topic, some):
    producer.begin()
    producer.send(topic, some)


def committed_once(driver):
    topic = driver.new_topic()
    with driver.transactional() as producer:
        begin(producer, topic, values(100))
        producer.commit()
    equal("offset after the marker", driver.write(topic, [b"end of the first"]), [101])
    reads(driver, topic, values(100), values(100))


def aborted(driver):
    topic = driver.new_topic()
    driver.write(topic, [b"before"])
    with driver.transactional() as producer:
        begin(producer, topic, [b"one", b"two"])
        producer.abort()
    reads(driver, topic, [b"before"], [b"before", b"one", b"two"])


def counts(driver, group, topic, offset):
    """A commit is answered before all that it brings about is done."""
    wait_until(f"committed is {offset}", lambda: driver.offsets(group, topic) == {0: Committed(offset)})


def offsets_count(driver):
    topic, beside, group = driver.new_topic(), driver.new_topic(), driver.new_name()
    driver.write(topic, values(10))
    with driver.transactional() as producer:
        begin(producer, beside, [b"with offsets"])
        producer.offsets(group, topic, 3)
        equal("before the commit", driver.offsets(group, topic), {})
        producer.commit()
        counts(driver, group, topic, 3)
        begin(producer, beside, [b"with offsets"])
        producer.offsets(group, topic, 7)
        producer.abort()
        counts(driver, group, topic, 3)
    with driver.join(topic, group) as member:
        equal_lists("offsets read", [a.offset for a in member.take(7)], list(range(3, 10)))


def worker(driver):
    source, target = driver.new_topic(), driver.new_topic()
    group, name = driver.new_name(), driver.new_name()
    driver.write(source, values(30))

    def transform(producer, member):
        """Takes ten records, writes what it makes of them, and leaves the transaction open."""
        found = member.take(10)
        begin(producer, target, [b"done " + a.value for a in found])
        producer.offsets(group, source, found[-1].offset + 1, member)

    with driver.join(source, group) as member, driver.transactional(name) as producer:
        transform(producer, member)
        producer.commit()
        transform(producer, member)
    with driver.transactional(name) as producer, driver.join(source, group) as member:
        for _ in range(2):
            transform(producer, member)
            producer.commit()
    done = [b"done " + value for value in values(30)]
    reads(driver, target, done, done[:20] + done[10:])
    counts(driver, group, source, 30)


def fencing(driver):
    topic, name = driver.new_topic(), driver.new_name()
    with driver.transactional(name) as first:
        begin(first, topic, [b"first"])
        with driver.transactional(name) as second:
            begin(second, topic, [b"second"])
            second.commit()
        fenced("the first producer's commit", {INVALID_PRODUCER_EPOCH, PRODUCER_FENCED}, first.commit)
    reads(driver, topic, [b"second"], [b"first", b"second"])


def timeout(driver):
    topic, name = driver.new_topic(), driver.new_name()
    with driver.transactional(name, timeout_ms=driver.transaction_timeout_ms) as producer:
        begin(producer, topic, [b"late"])
        equal("read_committed", [a.value for a in read(driver, topic, seconds=TIMED_OUT_S)], [])
        # Kafka may take it for a second end, with another outcome, of the transaction that it has aborted.
        codes = {INVALID_PRODUCER_EPOCH, PRODUCER_FENCED, INVALID_TXN_STATE}
        fenced("a commit after the timeout", codes, producer.commit)
    with driver.transactional(name) as producer:
        begin(producer, topic, [b"in time"])
        producer.commit()
    reads(driver, topic, [b"in time"], [b"late", b"in time"])


def all_or_nothing(driver):
    one, other = driver.new_topic(3), driver.new_topic()
    with driver.transactional() as producer:
        for value in [b"aborted", b"committed", b"aborted too"]:
            begin(producer, one, [Record(value, partition=p) for p in range(3)])
            producer.send(other, [value])
            producer.commit() if value == b"committed" else producer.abort()
    reads(driver, other, [b"committed"], [b"aborted", b"committed", b"aborted too"])
    driver.write(one, [Record(b"end", partition=p) for p in range(3)])
    with driver.reader(one, partitions=3, committed=True) as reader:
        found = reader.take(6)
    for p in range(3):
        equal(f"partition {p}", [a.value for a in found if a.partition == p], [b"committed", b"end"])


def last_stable(driver):
    topic = driver.new_topic(2)
    with driver.transactional() as producer, driver.reader(topic, partitions=2, committed=True) as reader:
        begin(producer, topic, [b"open"])
        driver.write(topic, [b"after"])
        with driver.reader(topic) as everything:
            equal_lists("read_uncommitted", [a.value for a in everything.take(2)], [b"open", b"after"])
        # The other partition's record comes by the fetches that ask for both.
        driver.write(topic, [Record(b"beside", partition=1)])
        equal_lists("read before the end", [a.value for a in reader.take(1)], [b"beside"])
        producer.commit()
        equal_lists("read after the end", [a.value for a in reader.take(2)], [b"open", b"after"])


def interleaved(driver):
    topic = driver.new_topic()
    with (
        driver.transactional() as one,
        driver.transactional() as other,
        driver.reader(topic, committed=True) as reader,
    ):
        begin(one, topic, [b"one 1"])
        begin(other, topic, [b"other 1"])
        one.send(topic, [b"one 2"])
        driver.write(topic, [b"plain"])
        other.send(topic, [b"other 2"])
        one.commit()
        equal_lists("before the other's end", [a.value for a in reader.take(1)], [b"one 1"])
        other.abort()
    reads(driver, topic, [b"one 1", b"one 2", b"plain"], [b"one 1", b"other 1", b"one 2", b"plain", b"other 2"])


def goes_on(driver):
    topic = driver.new_topic()
    kept, everything = [], []
    with driver.transactional() as producer:
        for value in values(3):
            begin(producer, topic, [b"aborted " + value])
            producer.abort()
            begin(producer, topic, [value])
            producer.commit()
            kept.append(value)
            everything += [b"aborted " + value, value]
    reads(driver, topic, kept, everything)


def empty(driver):
    topic = driver.new_topic()
    with driver.transactional() as producer:
        producer.begin()
        producer.commit()
        producer.begin()
        producer.abort()
        begin(producer, topic, [b"first"])
        producer.commit()
    [first] = read(driver, topic)
    equal("after empty transactions", (first.offset, first.value), (0, b"first"))


def fields(driver):
    for codec in CODECS:
        topic = driver.new_topic()
        sent = {
            kind: [
                Record(
                    f"{kind} {i}".encode(),
                    f"key {i}".encode(),
                    None if "timestamp" in driver.cannot else 1_700_000_000_000 + i,
                    [("number", str(i).encode())],
                )
                for i in range(50)
            ]
            for kind in ["aborted", "committed"]
        }
        with driver.transactional(codec=codec) as producer:
            begin(producer, topic, sent["aborted"])
            producer.abort()
            begin(producer, topic, sent["committed"])
            producer.commit()
        found = read(driver, topic)
        equal_lists(f"offsets with {codec}", [a.offset for a in found], list(range(51, 101)))
        for record, arrival in zip(sent["committed"], found):
            for name in ["value", "key", "headers"] + (["timestamp"] if record.timestamp else []):
                equal(f"{name} with {codec}", getattr(arrival, name), getattr(record, name))


SCENARIOS = {
    "a committed transaction is read once": committed_once,
    "an aborted transaction is never read as committed": aborted,
    "offsets in a transaction count when it commits": offsets_count,
    "a worker that restarts transforms each record once": worker,
    "a producer of the same transactional id fences the first": fencing,
    "a transaction past its timeout is aborted": timeout,
    "a transaction over topics is all or nothing": all_or_nothing,
    "an open transaction holds back what follows": last_stable,
    "transactions interleave in a partition": interleaved,
    "a producer goes on after an abort": goes_on,
    "an empty transaction commits": empty,
    "fields and codecs inside a transaction": fields,
}


def transactional(driver):
    topic = driver.new_topic()
    producer = ck.Producer({"bootstrap.servers": driver.bootstrap, "transactional.id": topic, "log_level": 3})
    started = time.monotonic()
    try:
        producer.init_transactions(3)
    except ck.KafkaException as exception:
        took = time.monotonic() - started
        error = exception.args[0]
        check(error.retriable() and not error.fatal(), f"init failed for good: {error}")
        check(took < 6, f"init took {took:.1f} s to fail within 3 s")
        return
    # A broker that grants the init must keep its word.
    producer.begin_transaction()
    producer.produce(topic, b"committed", partition=0)
    producer.commit_transaction(PATIENCE_S)
    with driver.reader(topic, committed=True) as reader:
        equal_lists("values", [a.value for a in reader.take(1)], [b"committed"])


# confluent-kafka only.
OWN = {"a transactional producer works or fails in time": transactional}
