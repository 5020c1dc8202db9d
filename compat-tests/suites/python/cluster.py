"""The broker under test as scenarios see it: new topics, clients, whole partitions read, and checks that say what was wrong."""

import time
import uuid
from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PATIENCE_S = 10
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def now_ms():
    return time.time_ns() // 1_000_000


def check(holds, what):
    if not holds:
        raise AssertionError(what)


def equal(what, actual, expected):
    check(actual == expected, f"{what}: {actual!r}, not {expected!r}")


def equal_lists(what, actual, expected):
    """Names the first difference: whole lists would bury it."""
    for index, (one, other) in enumerate(zip(actual, expected)):
        equal(f"{what}, at {index}", one, other)
    equal(f"{what}, how many", len(actual), len(expected))


def wait_until(what, condition, seconds=PATIENCE_S):
    """Returns the first true answer of `condition`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        check(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return answer


@dataclass
class Arrival:
    """A record, and when the consumer gave it to us."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: list = field(default_factory=list)
    at_ms: int = 0

    def header(self, name):
        """The one value of a header as text, None without such a header."""
        values = [value.decode() for key, value in self.headers if key == name]
        check(len(values) < 2, f"header {name} is there {len(values)} times")
        return values[0] if values else None


class Reader:
    """Reads every partition of a topic from its beginning, or from `offset`. Assigned, so no group has to exist."""

    def __init__(self, bootstrap, topic, partitions, offset=OFFSET_BEGINNING, **config):
        self.partitions = [TopicPartition(topic, index, offset) for index in range(partitions)]
        self.ends = {}
        self.consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                # librdkafka wants a name even where no group is used.
                "group.id": "unused",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error",
                "check.crcs": True,
                "fetch.wait.max.ms": 100,
            }
            | config
        )
        self.consumer.assign(self.partitions)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.consumer.close()

    def take(self, count, seconds=PATIENCE_S):
        """The next `count` records."""
        arrivals = []
        deadline = time.monotonic() + seconds
        while len(arrivals) < count:
            arrival = self._poll(deadline)
            check(arrival or time.monotonic() < deadline, f"{len(arrivals)} of {count} records within {seconds} s")
            arrivals += [arrival] if arrival else []
        return arrivals

    def take_all(self, seconds=PATIENCE_S):
        """Everything up to the ends of all partitions."""
        arrivals = []
        self.ends.clear()
        deadline = time.monotonic() + seconds
        while len(self.ends) < len(self.partitions):
            arrival = self._poll(deadline)
            check(time.monotonic() < deadline, f"no end within {seconds} s, {len(arrivals)} records so far")
            arrivals += [arrival] if arrival else []
        return arrivals

    def position(self):
        return self.consumer.position(self.partitions)[0].offset

    def watermarks(self):
        """Beginning and end of partition 0, asked of the broker."""
        return self.consumer.get_watermark_offsets(self.partitions[0], timeout=PATIENCE_S)

    def _poll(self, deadline):
        message = self.consumer.poll(max(0, deadline - time.monotonic()))
        if message is None:
            return None
        error = message.error()
        if error and error.code() == KafkaError._PARTITION_EOF:
            self.ends[message.partition()] = message.offset()
            return None
        if error:
            raise KafkaException(error)
        self.ends.pop(message.partition(), None)
        return Arrival(
            message.partition(),
            message.offset(),
            message.key(),
            message.value(),
            message.timestamp()[1],
            message.headers() or [],
            now_ms(),
        )


class Writer:
    """Produces to partition 0 and keeps the outcomes in the order of sending."""

    def __init__(self, bootstrap, topic, **config):
        self.topic = topic
        self.outcomes = []
        self.producer = Producer(
            {"bootstrap.servers": bootstrap, "message.timeout.ms": PATIENCE_S * 1000, "linger.ms": 5} | config
        )

    def send(self, value, partition=0, **record):
        """Queues one record; nothing is waited for."""
        index = len(self.outcomes)
        self.outcomes.append(None)

        def delivered(error, message):
            self.outcomes[index] = error or message.offset()

        self.producer.produce(self.topic, value, partition=partition, on_delivery=delivered, **record)
        self.producer.poll(0)

    def outcomes_of_all(self):
        """The offset or KafkaError of everything sent since the last call."""
        left = self.producer.flush(PATIENCE_S)
        check(left == 0, f"{left} records without an outcome")
        outcomes, self.outcomes = self.outcomes, []
        return outcomes

    def offsets(self):
        """The offsets of everything sent since the last call; an error raises."""
        outcomes = self.outcomes_of_all()
        for outcome in outcomes:
            if isinstance(outcome, KafkaError):
                raise KafkaException(outcome)
        return outcomes


class Cluster:
    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        self._run = uuid.uuid4().hex[:8]
        self._topics = 0

    def new_name(self):
        """A topic name that no other run uses."""
        self._topics += 1
        return f"py-{self._run}-{self._topics}"

    def new_topic(self, partitions=1):
        topic = self.new_name()
        self.create(topic, partitions)
        return topic

    def create(self, topic, partitions):
        created = self.admin.create_topics([NewTopic(topic, partitions, 1)], request_timeout=PATIENCE_S)
        created[topic].result(PATIENCE_S)
        wait_until(f"{topic} has {partitions} partitions", lambda: self.partitions(topic) == partitions)

    def partitions(self, topic):
        """How many partitions a topic has, by metadata of all topics: asking for one by name could create it."""
        known = self.admin.list_topics(timeout=PATIENCE_S).topics.get(topic)
        return len(known.partitions) if known else 0

    def writer(self, topic, **config):
        return Writer(self.bootstrap, topic, **config)

    def reader(self, topic, partitions=1, **options):
        return Reader(self.bootstrap, topic, partitions, **options)

    def read_all(self, topic, partitions=1):
        with self.reader(topic, partitions) as reader:
            return reader.take_all()
