"""What the common scenarios ask of a client; `drivers/` has one of these for each."""

import time
import uuid
from dataclasses import dataclass, field
from functools import cached_property

import mortal
from checks import PATIENCE_S, check, equal, equal_lists, wait_until

OFFSET_OUT_OF_RANGE = 1
UNKNOWN_TOPIC_OR_PARTITION = 3
MESSAGE_TOO_LARGE = 10
OFFSET_METADATA_TOO_LARGE = 12
INVALID_TOPIC_EXCEPTION = 17
ILLEGAL_GENERATION = 22
UNKNOWN_MEMBER_ID = 25
TOPIC_ALREADY_EXISTS = 36
INVALID_PARTITIONS = 37
INVALID_CONFIG = 40
INVALID_PRODUCER_EPOCH = 47
INVALID_TXN_STATE = 48
NON_EMPTY_GROUP = 68
GROUP_ID_NOT_FOUND = 69
FENCED_INSTANCE_ID = 82
GROUP_SUBSCRIBED_TO_TOPIC = 86
PRODUCER_FENCED = 90

# Where a config's value comes from.
DYNAMIC_TOPIC_CONFIG = 1
DEFAULT_CONFIG = 5


class Refused(Exception):
    """The broker's error, by its code: clients do not agree on names."""

    def __init__(self, code, text=""):
        super().__init__(f"error {code} {text}")
        self.code = code


def refused(what, code, attempt):
    try:
        attempt()
    except Refused as error:
        equal(f"error of {what}", error.code, code)
    else:
        check(False, f"{what} was not refused")


@dataclass
class Record:
    value: bytes | None
    key: bytes | None = None
    timestamp: int | None = None
    headers: list = field(default_factory=list)
    partition: int = 0


@dataclass
class Arrival(Record):
    """A record, and when the client gave it to us."""

    offset: int = -1
    at_ms: int = 0

    def header(self, name):
        """The one value of a header as text, None without such a header."""
        values = [value.decode() for key, value in self.headers if key == name]
        check(len(values) < 2, f"header {name} is there {len(values)} times")
        return values[0] if values else None


class Reader:
    """Reads partitions that were assigned, so no group has to exist. A subclass has `poll(seconds)` and `close()`."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @cached_property
    def _left(self):
        """What a poll gave beyond what was asked for."""
        return []

    def take(self, count, seconds=PATIENCE_S):
        """The next `count` records."""
        left = self._left
        deadline = time.monotonic() + seconds
        while len(left) < count:
            check(time.monotonic() < deadline, f"{len(left)} of {count} records within {seconds} s")
            left += self.poll(0.1)
        taken, left[:] = left[:count], left[count:]
        return taken


class Transactional:
    """
    A producer with a transactional id, ready to begin. A subclass has `begin()`, `commit()`, `abort()`,
    `offsets(group, topic, offset, member)`, which adds the offset of partition 0 as the member or as none, and `close()`, which
    leaves an open transaction open. `write(topic, records)` waits until all are taken. All raise `Refused`.
    """

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, topic, records):
        self.write(topic, [r if isinstance(r, Record) else Record(r) for r in records])


class Driver:
    """
    A subclass has, all raising `Refused` with the broker's error:
      create(topic, partitions, configs)  delete(topic)  grow(topic, count)  delete_records(topic, before)
      topics()                  names
      describe(topic)           [(leader, replicas, in-sync replicas)], without creating it
      cluster()                 (cluster id, controller's id, [(node id, host, port)])
      configs(topic)            {name: (value, source)}
      alter(topic, configs, dropped)   the topic's own configs after it; `dropped` lost their value by it
      offset(topic, at)         of partition 0: at "earliest", "latest", "max" or a time in ms; None where there is none
      produce(topic, records, codec, acks, idempotent, one_batch, batch_max, request_max)
                                [offset or Refused]; acks 0 has no offsets; batch_max is a number of records
      reader(topic, partitions, start, committed, fetch_max, wait_ms)
                                start: "earliest", "latest" or an offset; (offset, "earliest" or "latest") resets where out of range
    and, with what `members` has:
      groups()                  names
      describe_group(group)     Group
      delete_group(group)
      offsets(group, topic)     {partition: Committed} where something is committed
      commit(group, topic, {partition: Committed})              by no member of the group
      alter_offsets(group, topic, {partition: Committed})       the same, as the client's admin does it
      commit_as(group, topic, {partition: Committed}, member, generation)
      delete_offsets(group, topic, partitions)
      join(topic, group, reset, instance, strategy, session_ms) a Member whose client id is the group's name
      producer(name, timeout_ms, codec)   a Transactional
    """

    # Scenario: why this client has no way to do it.
    lacks = {}
    # What it cannot set or show, left out of scenarios that prove more: "timestamp", "null header", "binary header", "cluster id",
    # "alter a group with members".
    cannot = set()
    # What shares the partitions among members unless a scenario says otherwise.
    strategy = "range"
    # The shortest that its transactions may have.
    transaction_timeout_ms = 1_000
    # Scenarios of this client alone.
    own = {}
    # Scenarios of groups whose partitions the broker assigns; while one runs, `join` joins that way.
    by_consumer_protocol = {}
    consumer_protocol = False

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self._run = uuid.uuid4().hex[:8]
        self._topics = 0

    def close(self):
        pass

    def new_name(self):
        """A name of a topic or a group that no other run uses."""
        self._topics += 1
        return f"{self.name}-{self._run}-{self._topics}"

    def new_topic(self, partitions=1, configs=None):
        topic = self.new_name()
        self.create_and_wait(topic, partitions, configs)
        return topic

    def create_and_wait(self, topic, partitions=1, configs=None):
        self.create(topic, partitions, configs or {})
        wait_until(f"{topic} has {partitions} partitions", lambda: self.partitions(topic) == partitions)

    def partitions(self, topic):
        """How many partitions a topic has, 0 where there is none."""
        try:
            return len(self.describe(topic))
        except Refused as error:
            equal("error of describing", error.code, UNKNOWN_TOPIC_OR_PARTITION)
            return 0

    def write(self, topic, records, **options):
        """Offsets; an error raises."""
        outcomes = self.produce(topic, [r if isinstance(r, Record) else Record(r) for r in records], **options)
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        return outcomes

    def transactional(self, name=None, timeout_ms=60_000, codec="none"):
        return self.producer(name or self.new_name(), timeout_ms, codec)

    def alter_offsets(self, group, topic, offsets):
        """For clients whose admin has no other way."""
        return self.commit(group, topic, offsets)

    def mortal(self, topic, group):
        """A member whose `kill()` leaves it no time to leave."""
        return mortal.start(self, topic, group)

    def read_all(self, topic, **options):
        """Partition 0 from its beginning to its end, every offset once."""
        begin, end = self.offset(topic, "earliest"), self.offset(topic, "latest")
        with self.reader(topic, **options) as reader:
            found = reader.take(end - begin)
        equal_lists("offsets read", [a.offset for a in found], list(range(begin, end)))
        return found
