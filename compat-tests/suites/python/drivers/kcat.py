"""kcat, a program: one process for each write and each reader. confluent-kafka makes the topics, which kcat cannot."""

import json
import queue
import re
import subprocess
import tempfile
import threading
from itertools import groupby

import driver
import members
from checks import PATIENCE_S, check, now_ms
from driver import Arrival, Refused
from drivers import confluent
from mortal import SESSION_MS

BETWEEN_RECORDS = b"|~|"
BEHIND_KEY = b"|:|"
ERRORS = {
    "Broker: Unknown topic or partition": driver.UNKNOWN_TOPIC_OR_PARTITION,
    "Broker: Message size too large": driver.MESSAGE_TOO_LARGE,
}


def kcat(*args, stdin=b"", settings=None):
    # Not a pipe: of one that fills slowly, kcat 1.7.1 makes two records of one where a read ends within the delimiter.
    with tempfile.TemporaryFile() as file:
        file.write(stdin)
        file.seek(0)
        return subprocess.run(["kcat", *args, *options_of(settings or {})], stdin=file, capture_output=True, timeout=2 * PATIENCE_S)


def kcat_of_file(args, value, settings):
    """One record from a file, whose value kcat does not look into: of a large one on standard input it now and then makes two."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(value)
        file.flush()
        command = ["kcat", *args, *options_of(settings or {}), file.name]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=2 * PATIENCE_S)


def options_of(settings):
    return [option for name, value in settings.items() for option in ("-X", f"{name}={value}")]


class Process:
    """A kcat that prints what it reads."""

    def __init__(self, args, stderr):
        # Numbers first: they say how long the key and the value are, which may be any bytes.
        how = ["-u", "-f", r"%p %o %T %K %S\n%k%s%h\n"]
        self.process = subprocess.Popen(["kcat", *how, *args], stdout=subprocess.PIPE, stderr=stderr)
        self.arrivals = queue.Queue()
        threading.Thread(target=self._parse, args=(self.process.stdout,), daemon=True).start()

    def _parse(self, stdout):
        while line := stdout.readline():
            partition, offset, timestamp, key, value = map(int, line.split())
            key = stdout.read(key) if key >= 0 else None
            value = stdout.read(value) if value >= 0 else None
            pairs = [pair.split("=", 1) for pair in stdout.readline().decode().strip().split(",") if pair]
            headers = [(name, None if text == "NULL" else text.encode()) for name, text in pairs]
            self.arrivals.put(Arrival(value, key, timestamp, headers, partition, offset, now_ms()))

    def close(self):
        self.process.kill()
        self.process.wait()

    def poll(self, seconds):
        found = []
        try:
            found.append(self.arrivals.get(timeout=seconds))
            while True:
                found.append(self.arrivals.get_nowait())
        except queue.Empty:
            return found


class Reader(Process, driver.Reader):
    def __init__(self, bootstrap, topic, partitions=1, start="earliest", committed=False, fetch_max=None, wait_ms=100):
        start, reset = start if isinstance(start, tuple) else (start, "error")
        args = ["-o", {"earliest": "beginning", "latest": "end"}.get(start, str(start))]
        args += ["-p", "0"] if partitions == 1 else []
        settings = {
            "auto.offset.reset": reset,
            "check.crcs": "true",
            "fetch.wait.max.ms": wait_ms,
            "isolation.level": "read_committed" if committed else "read_uncommitted",
        } | ({"max.partition.fetch.bytes": fetch_max} if fetch_max else {})
        args += options_of(settings)
        super().__init__(["-C", "-q", "-b", bootstrap, "-t", topic, *args], subprocess.DEVNULL)


class Member(Process, members.Member):
    def __init__(self, bootstrap, topic, group, reset="earliest", instance=None, strategy="range", session_ms=members.SESSION_MS):
        members.Member.__init__(self)
        settings = {
            "client.id": group,
            "auto.offset.reset": reset,
            "partition.assignment.strategy": strategy,
            "session.timeout.ms": session_ms,
            "heartbeat.interval.ms": members.HEARTBEAT_MS,
            "topic.metadata.refresh.interval.ms": members.METADATA_MS,
            "fetch.wait.max.ms": 100,
        } | ({"group.instance.id": instance} if instance else {})
        super().__init__(["-b", bootstrap, *options_of(settings), "-G", group, topic], subprocess.PIPE)
        threading.Thread(target=self._follow, args=(self.process.stderr,), daemon=True).start()

    def _follow(self, stderr):
        """
        Each rebalance is a line, by the strategy:
          % Group G rebalanced (memberid M): assigned: topic [0], topic [1]
          % Group G rebalanced: incremental assignment of 1 partition(s) (memberid M, COOPERATIVE rebalance protocol): topic [0]
        """
        for line in stderr:
            if match := re.match(rb"% Group \S+ rebalanced.*: (?:incremental )?(assign|revoke)", line):
                event = {b"assign": self.gave, b"revoke": self.took}[match[1]]
                event(int(number) for number in re.findall(rb" \[(\d+)\]", line))

    def commit(self, offsets):
        """It commits what it has printed, at the latest when it leaves."""

    def kill(self):
        self.process.kill()

    def close(self):
        self.process.terminate()
        self.process.wait(PATIENCE_S)


class Driver(confluent.Driver):
    name = "kcat"
    cannot = {"timestamp", "binary header", "cluster id"}
    own = {}
    by_consumer_protocol = {}  # librdkafka 2.0.2 does not know it
    lacks = {
        "log append time": "kcat sets no timestamps, so the broker's would not stand out",
        "offset for a time": "kcat sets no timestamps",
        "offset of the max timestamp": "librdkafka 2.0.2 asks by ListOffsets versions older than KIP-734",
        **dict.fromkeys(
            [
                "delete records",
                "topic created with partitions and configs",
                "topic creation refused",
                "partitions grow and never shrink",
                "topic deleted and created again",
                "configs described",
                "config altered",
                "group listed and described",
                "group deleted only when empty",
                "offsets of an empty group altered",
                "offsets of a group deleted",
            ],
            "kcat administers nothing",
        ),
        "a worker that restarts transforms each record once": "kcat commits what it has read by itself, in no transaction",
        **dict.fromkeys(
            [
                "a replaced static member is fenced",
                "a commit's metadata comes back",
                "a group without commits starts where its reset says",
                "offsets committed without a subscription",
                "a commit by no member is refused",
            ],
            "kcat commits what it has read, and is not told to",
        ),
    }

    def _metadata(self, *args):
        # By librdkafka's default, metadata of a topic would create it.
        settings = {"allow.auto.create.topics": "false"}
        return json.loads(kcat("-L", "-J", "-b", self.bootstrap, *args, settings=settings).stdout)

    def topics(self):
        return [t["topic"] for t in self._metadata()["topics"]]

    def describe(self, topic):
        [found] = self._metadata("-t", topic)["topics"]
        if "error" in found:
            raise Refused(ERRORS.get(found["error"], -1), found["error"])
        return [
            (p["leader"], [r["id"] for r in p["replicas"]], [r["id"] for r in p["isrs"]]) for p in found["partitions"]
        ]

    def cluster(self):
        found = self._metadata()
        nodes = [(b["id"], *b["name"].split(":")) for b in found["brokers"]]
        return None, found["controllerid"], nodes

    def offset(self, topic, at):
        at = {"earliest": -2, "latest": -1}.get(at, at)
        done = kcat("-Q", "-b", self.bootstrap, "-t", f"{topic}:0:{at}")
        check(done.returncode == 0, done.stderr.decode())
        return int(done.stdout.split()[-1])

    def produce(
        self, topic, records, codec="none", acks="all", idempotent=False, one_batch=False, batch_max=None, request_max=None
    ):
        settings = {
            "acks": acks,
            "enable.idempotence": str(idempotent).lower(),
            "compression.codec": codec,
            "linger.ms": 300 if one_batch else 5,
            "message.timeout.ms": PATIENCE_S * 1000,
        }
        if batch_max:
            settings["batch.num.messages"] = batch_max
        if request_max:
            settings["message.max.bytes"] = request_max

        # What a call of kcat can have only once for all its records.
        def shared(r):
            return r.partition, r.headers, r.key is None, r.value is None

        outcomes = []
        for (partition, headers, no_key, no_value), group in groupby(records, shared):
            args = ["-p", str(partition), "-D", BETWEEN_RECORDS.decode(), "-vvv"]
            args += [] if no_key else ["-K", BEHIND_KEY.decode()]
            args += ["-Z"] if no_value else []
            for name, value in headers:
                args += ["-H", name if value is None else f"{name}={value.decode()}"]
            lines = [(b"" if no_key else r.key + BEHIND_KEY) + (r.value or b"") for r in group]
            args = ["-P", "-b", self.bootstrap, "-t", topic, *args]
            if no_key and not no_value and len(lines) == 1:
                done = kcat_of_file(args, lines[0], settings)
            else:
                done = kcat(*args, stdin=BETWEEN_RECORDS.join(lines), settings=settings)
            outcomes += self._outcomes(done.stderr.decode(), len(lines))
        return outcomes

    def _outcomes(self, said, count):
        delivered = r"^% Message delivered to partition \d+ \(offset (-?\d+)\)"
        told = re.findall(delivered + "|^% Delivery failed for message: (.*)", said, re.M)
        check(len(told) == count, f"{count} records and {len(told)} outcomes: {said}")
        return [Refused(ERRORS.get(failed, -1), failed) if failed else int(offset) for offset, failed in told]

    def reader(self, topic, **options):
        return Reader(self.bootstrap, topic, **options)

    def join(self, topic, group, **options):
        return Member(self.bootstrap, topic, group, **options)

    def mortal(self, topic, group):
        return self.join(topic, group, session_ms=SESSION_MS)
