#!/usr/bin/env python3
"""`kill -9` of the broker, again and again, under everything that has to be exact at once.

    chaos_single.py [--rounds 60] [--parts groups,transactions,copier,zombies,late] [--seed N] [--verbose] [--bootstrap HOST:PORT -- COMMAND ...]

groups        8 consumers in 2 groups of the classic protocol, and 8 in 2 groups of the consumer protocol if the broker has it: no
              committed offset ever goes back, nobody starts in front of one, and every record is processed by every group.
transactions  4 producers that abort at random, over 4 partitions: nothing aborted is seen, nothing committed is lost, none is torn or
              seen twice, and each partition has a producer's records in order; a consumer that follows sees what a later one sees.
copier        Kafka's TransactionalMessageCopier, itself killed now and then: its output is its input, once and in order.
zombies       a producer process is stopped past the timeout of its transaction and goes on: its commit fails, its records stay unseen.
late          an EndTxn v5 that an old connection delivers late never touches a later transaction.

COMMAND starts a broker that listens on HOST:PORT, again and again on the same data; without it, the binary of the fault drivers is used.
"""

import argparse
import contextlib
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

from common import (
    QUICK,
    QUIET,
    Process,
    TopicPartition,
    answers,
    consumer,
    create_topic,
    drain,
    own_broker,
    producer,
    skip,
    wait_until,
)
from confluent_kafka import Consumer, KafkaException, Producer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracle"))
import codec  # noqa: E402
import schema  # noqa: E402
from batch import TRANSACTIONAL, Record, batch  # noqa: E402
from broker import Closed, Connection, Silent  # noqa: E402

# What a slow machine may take for anything that must happen.
PATIENCE_S = 90
COMMITTED, ABORTED, UNKNOWN = "committed", "aborted", "unknown"
READ_COMMITTED = {"isolation.level": "read_committed"}
# For what is fatal to a producer, which is counted.
SILENT = logging.getLogger("silent")
SILENT.addHandler(logging.NullHandler())
SILENT.propagate = False


class Part:
    """Something that goes on while the broker is killed; what it finds wrong, and what it counts."""

    name = ""

    def __init__(self, bootstrap, rng):
        self.bootstrap, self.rng = bootstrap, random.Random(rng.random())
        self.anomalies, self.counts = [], Counter()
        self.stop = threading.Event()
        self.threads = []

    def go(self, work, *arguments):
        def guarded():
            try:
                work(*arguments)
            except Exception as error:
                self.wrong(f"{work.__name__}{arguments} ended by {type(error).__name__}: {error}")

        self.threads.append(threading.Thread(target=guarded, daemon=True))
        self.threads[-1].start()

    def wrong(self, what):
        self.anomalies.append(f"{self.name}: {what}")
        print(f"ANOMALY {self.anomalies[-1]}", flush=True)

    def expect(self, what, condition, pause=0.2):
        try:
            wait_until(what, condition, PATIENCE_S, pause)
        except TimeoutError as error:
            self.wrong(error)

    def start(self):
        """Begins."""

    def round(self):
        """The broker is about to be killed."""

    def back(self):
        """It answers again."""

    def halt(self):
        self.stop.set()
        for thread in self.threads:
            thread.join(PATIENCE_S)
            if thread.is_alive():
                self.wrong("a thread does not end")

    def finish(self):
        """Checks, with a broker that stays."""


def read_topic(bootstrap, topic, partitions, **settings):
    """All of a topic in order: {partition: [(offset, value)]}."""
    c = consumer(bootstrap, **settings)
    try:
        found = drain(c, [(topic, p, 0) for p in range(partitions)], PATIENCE_S)
    finally:
        c.close()
    read = {p: [] for p in range(partitions)}
    for p, offset in sorted(found):
        read[p].append((offset, found[p, offset].value().decode()))
    return read


def ends(bootstrap, topic, partitions, isolation="read_uncommitted"):
    c = consumer(bootstrap, **{"isolation.level": isolation})
    try:
        return [c.get_watermark_offsets(TopicPartition(topic, p), timeout=5)[1] for p in range(partitions)]
    finally:
        c.close()


def stable(bootstrap, topic, partitions=1):
    """Whether no transaction is open in a topic."""
    try:
        return ends(bootstrap, topic, partitions, "read_committed") == ends(bootstrap, topic, partitions)
    except KafkaException:
        return False


class Groups(Part):
    name = "groups"
    TOPIC, PARTITIONS, GROUPS, MEMBERS = "fed", 8, 2, 4
    # The consumer protocol has its timings on the broker.
    PROTOCOLS = {"classic": {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}, "consumer": {"group.protocol": "consumer"}}

    def __init__(self, bootstrap, rng, apis):
        super().__init__(bootstrap, rng)
        self.protocols = [p for p in self.PROTOCOLS if p == "classic" or 68 in apis]
        if len(self.protocols) < len(self.PROTOCOLS):
            print("left out: consumers of the consumer protocol, the broker has no API 68")
        self.lock = threading.Lock()
        self.acked = defaultdict(lambda: [0] * self.PARTITIONS)  # by group
        self.processed = defaultdict(lambda: [set() for _ in range(self.PARTITIONS)])
        self.sent, self.refused, self.fed = 0, [], threading.Event()
        # Held while the broker is down: who leaves a group of the consumer protocol unheard is missed by it for 45 s.
        self.leaving = threading.Lock()

    def round(self):
        self.leaving.acquire()

    def back(self):
        self.leaving.release()

    def start(self):
        create_topic(self.bootstrap, self.TOPIC, self.PARTITIONS)
        self.go(self.feed)
        for protocol in self.protocols:
            for number in range(self.GROUPS):
                group = f"{protocol}-{number}"
                self.go(self.observe, group)
                for _ in range(self.MEMBERS):
                    self.go(self.consume, group, self.PROTOCOLS[protocol], random.Random(self.rng.random()))

    def feed(self):
        p = producer(self.bootstrap, **{"message.timeout.ms": 0})

        def answered(error, _):
            if error:
                self.refused.append(error)
            self.sent += not error

        while not self.fed.is_set():
            p.produce(self.TOPIC, b"x", partition=self.rng.randrange(self.PARTITIONS), on_delivery=answered)
            p.poll(0.004)
        left = p.flush(PATIENCE_S)
        if left or self.refused:
            self.wrong(f"{left} records are not answered, refused {self.refused[:3]}")

    def consume(self, group, settings, rng):
        """Members one after the other."""
        while not self.stop.is_set():
            self.member(group, settings, time.monotonic() + rng.uniform(3, 15))

    def member(self, group, settings, until):
        base = {"bootstrap.servers": self.bootstrap, "group.id": group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        c = Consumer({**base, "fetch.wait.max.ms": 50, "fetch.error.backoff.ms": 20, **QUICK, **QUIET, **settings})
        self.counts["members"] += 1
        floors, pending = {}, {}

        def assigned(_, partitions):
            self.counts["assignments"] += 1
            with self.lock:
                floors.update({p.partition: self.acked[group][p.partition] for p in partitions})

        def revoked(_, partitions):
            for p in partitions:
                pending.pop(p.partition, None)
                floors.pop(p.partition, None)

        c.subscribe([self.TOPIC], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
        committed = time.monotonic()
        while not self.stop.is_set() and (time.monotonic() < until or self.fed.is_set()):
            message = c.poll(0.05)
            if message is not None and message.error() is None:
                p, offset = message.partition(), message.offset()
                floor = floors.pop(p, None)
                if floor is not None and offset < floor:
                    self.wrong(f"{group} starts partition {p} at {offset}, {floor} was committed")
                self.processed[group][p].add(offset)
                pending[p] = offset + 1
            if pending and time.monotonic() > committed + 0.1:
                self.commit(c, group, pending)
                pending.clear()
                committed = time.monotonic()
        with self.leaving if "group.protocol" in settings else contextlib.nullcontext():
            c.close()

    def commit(self, c, group, pending):
        with self.lock:
            before = list(self.acked[group])
        try:
            done = c.commit(offsets=[TopicPartition(self.TOPIC, p, o) for p, o in pending.items()], asynchronous=False)
        except KafkaException as error:
            self.counts["commits failed"] += 1
            self.counts[f"({error.args[0].name()})"] += 1
            return
        self.counts["commits"] += 1
        for answer in done:
            p, offset = answer.partition, answer.offset
            if answer.error:
                continue
            if offset < before[p]:
                self.wrong(f"{group} took a commit of {offset} in partition {p} behind {before[p]}")
            with self.lock:
                self.acked[group][p] = max(self.acked[group][p], offset)

    def committed(self, c):
        answer = c.committed([TopicPartition(self.TOPIC, p) for p in range(self.PARTITIONS)], timeout=5)
        if any(a.error for a in answer):
            raise KafkaException(next(a.error for a in answer if a.error))
        return [max(a.offset, 0) for a in answer]

    def observe(self, group):
        """What is committed, as somebody outside the group sees it."""
        c = consumer(self.bootstrap, **{"group.id": group})
        last = [0] * self.PARTITIONS
        while not self.stop.wait(0.1):
            with self.lock:
                floor = [max(a, b) for a, b in zip(last, self.acked[group], strict=True)]
            try:
                now = self.committed(c)
            except KafkaException:
                continue
            self.counts["observed"] += 1
            for p, (offset, least) in enumerate(zip(now, floor, strict=True)):
                if offset < least:
                    self.wrong(f"{group} has {offset} committed in partition {p}, before {least}")
            last = [max(a, b) for a, b in zip(last, now, strict=True)]
        c.close()

    def halt(self):
        """Lets the groups come to the end first."""
        self.fed.set()
        self.threads[0].join(PATIENCE_S)
        end = ends(self.bootstrap, self.TOPIC, self.PARTITIONS)
        if sum(end) != self.sent:
            self.wrong(f"{self.sent} records acknowledged, {sum(end)} in the topic")
        for group in list(self.acked):
            self.expect(f"{group} at {end}", lambda g=group: self.acked[g] == end)
        super().halt()
        for group, processed in self.processed.items():
            missing = sum(e - len(p) for p, e in zip(processed, end, strict=True))
            if missing:
                self.wrong(f"{group} did not process {missing} records")
        self.counts["records"] = self.sent


class Ledger:
    """What is known of transactions, by who and number, and what each wrote into which partition."""

    def __init__(self):
        self.outcome, self.wrote = {}, {}

    def open(self, who, number):
        self.outcome[who, number], self.wrote[who, number] = UNKNOWN, set()

    def check(self, read):
        """What read-committed `read` has against it."""
        wrong, seen, last = [], defaultdict(list), {}
        for partition, records in read.items():
            for offset, value in records:
                who, number, index = value.split()
                at = (int(number), int(index))
                if at <= last.get((partition, who), (-1, -1)):
                    wrong.append(f"order: {value} at {partition}/{offset} after {last[partition, who]}")
                last[partition, who] = at
                seen[who, int(number)].append((partition, int(index)))
        for key in seen.keys() - self.outcome.keys():
            wrong.append(f"unheard of: {key}")
        for key, outcome in self.outcome.items():
            found, wrote = seen.get(key, []), self.wrote[key]
            if len(found) != len(set(found)):
                wrong.append(f"doubled: {key}")
            if outcome == ABORTED and found:
                wrong.append(f"aborted but seen: {key} {found}")
            elif outcome == COMMITTED and set(found) != wrote:
                wrong.append(f"committed but lost: {key} has {sorted(found)} of {sorted(wrote)}")
            elif outcome == UNKNOWN and found and set(found) != wrote:
                wrong.append(f"torn: {key} has {sorted(found)} of {sorted(wrote)}")
        return wrong

    def counts(self):
        return Counter(self.outcome.values())


def transactional(bootstrap, name, timeout_ms):
    base = {"bootstrap.servers": bootstrap, "transactional.id": name, "transaction.timeout.ms": timeout_ms, "linger.ms": 1}
    return Producer({**base, "retry.backoff.ms": 20, "retry.backoff.max.ms": 100, **QUICK, **QUIET}, logger=SILENT)


def retried(step):
    """Until it succeeds, or can never."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return step(5)
        except KafkaException as error:
            if not error.args[0].retriable():
                raise
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {PATIENCE_S} s: {error}") from error
            time.sleep(0.02)


class Transactions(Part):
    name = "transactions"
    TOPIC, PARTITIONS, PRODUCERS = "transfers", 4, 4

    def start(self):
        create_topic(self.bootstrap, self.TOPIC, self.PARTITIONS)
        self.kills, self.killed = 0, False
        self.ledger, self.followed = Ledger(), {p: [] for p in range(self.PARTITIONS)}
        for number in range(self.PRODUCERS):
            self.go(self.produce, f"producer-{number}", random.Random(self.rng.random()))
        self.followed_all = threading.Event()
        self.go(self.follow)

    def round(self):
        self.kills, self.killed = self.kills + 1, True

    def back(self):
        self.killed = False

    def produce(self, who, rng):
        number = 0
        while not self.stop.is_set():
            p = transactional(self.bootstrap, who, 10_000)
            try:
                retried(p.init_transactions)
                while not self.stop.is_set():
                    number += 1
                    kills = self.kills
                    self.transaction(p, who, number, rng)
                    # librdkafka takes records that it sent, without an answer, and purges in an abort, for records that it never sent: it
                    # gives their sequence numbers to others, which the broker then takes for the same again. A new epoch has new ones.
                    if self.ledger.outcome[who, number] == ABORTED and (self.killed or self.kills != kills):
                        self.counts["producers renewed"] += 1
                        break
            except KafkaException as error:
                self.counts["producers replaced"] += 1
                self.counts[f"({error.args[0].name()})"] += 1

    def transaction(self, p, who, number, rng):
        key = who, number
        p.begin_transaction()
        self.ledger.open(who, number)
        try:
            for partition in range(self.PARTITIONS):
                for index in range(rng.randint(1, 3)):
                    self.ledger.wrote[key].add((partition, index))
                    p.produce(self.TOPIC, f"{who} {number} {index}".encode(), partition=partition)
                p.poll(rng.choice([0, 0, 0.02]))
            if rng.random() < 0.3:
                retried(p.abort_transaction)
                self.ledger.outcome[key] = ABORTED
                return
            retried(p.commit_transaction)
            self.ledger.outcome[key] = COMMITTED
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            retried(p.abort_transaction)
            self.ledger.outcome[key] = ABORTED
            self.counts["had to abort"] += 1

    def follow(self):
        c = consumer(self.bootstrap, **READ_COMMITTED, **{"enable.partition.eof": False})
        c.assign([TopicPartition(self.TOPIC, p, 0) for p in range(self.PARTITIONS)])
        while not self.followed_all.is_set():
            for message in c.consume(500, 0.1):
                if message.error() is None:
                    self.followed[message.partition()].append((message.offset(), message.value().decode()))
        c.close()

    def explain(self, wrong):
        everything = read_topic(self.bootstrap, self.TOPIC, self.PARTITIONS)
        for key in [k for k in self.ledger.outcome if any(str(k) in w for w in wrong)][:5]:
            prefix = f"{key[0]} {key[1]} "
            there = {p: [(o, v.split()[2]) for o, v in records if v.startswith(prefix)] for p, records in everything.items()}
            print(f"{key}: by partition, offsets and numbers of all that was written: {there}")

    def halt(self):
        self.stop.set()
        for thread in self.threads[: self.PRODUCERS]:
            thread.join(PATIENCE_S)
        # The last transaction of one that was replaced ends by its timeout.
        self.expect("no transaction is open", lambda: stable(self.bootstrap, self.TOPIC, self.PARTITIONS))
        read = read_topic(self.bootstrap, self.TOPIC, self.PARTITIONS, **READ_COMMITTED)
        with contextlib.suppress(TimeoutError):
            wait_until("followed", lambda: all(len(self.followed[p]) >= len(read[p]) for p in read), 15)
        self.followed_all.set()
        super().halt()
        wrong = self.ledger.check(read)
        for what in wrong:
            self.wrong(what)
        if wrong:
            # Whether what is missing was written at all.
            self.explain(wrong)
        if self.followed != read:
            p = next(p for p in read if self.followed[p] != read[p])
            self.wrong(f"followed otherwise than read later, partition {p}: {set(self.followed[p]) ^ set(read[p])}"[:400])
        self.counts |= self.ledger.counts()
        self.counts["records"] = sum(map(len, read.values()))


class Copier(Part):
    name = "copier"
    INPUT, OUTPUT = "copied", "copies"

    def __init__(self, bootstrap, rng, scratch):
        super().__init__(bootstrap, rng)
        tool = ["java", "-Xmx192m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
        tool += ["-cp", f"{schema.libs()}/*", "org.apache.kafka.tools.TransactionalMessageCopier", "--broker-list", bootstrap]
        tool += ["--input-topic", self.INPUT, "--input-partition", "0", "--output-topic", self.OUTPUT, "--consumer-group", "copier"]
        tool += ["--transactional-id", "copier", "--transaction-size", "20", "--transaction-timeout", "10000"]
        self.process = Process("copier", [*tool, "--enable-random-aborts", "--use-group-metadata"], scratch / "copier.log")
        self.sent, self.fed, self.flushed, self.done = [], threading.Event(), threading.Event(), threading.Event()

    def start(self):
        for topic in (self.INPUT, self.OUTPUT):
            create_topic(self.bootstrap, topic)
        self.go(self.feed)
        self.go(self.copy)

    def feed(self):
        p = producer(self.bootstrap, **{"message.timeout.ms": 0})
        number = 0
        while not self.fed.is_set():
            value = f"{number}"
            p.produce(self.INPUT, value.encode(), partition=0, on_delivery=lambda e, m: e or self.sent.append(m.value().decode()))
            number += 1
            p.poll(0.02)
        if p.flush(PATIENCE_S) or len(self.sent) != number:
            self.wrong(f"{number} records sent, {len(self.sent)} acknowledged")
        self.flushed.set()

    def copy(self):
        """It copies to the end that the input has as it starts, so it is started until one that began after the last record comes through."""
        while not self.done.is_set():
            last = self.flushed.is_set()
            self.process.start()
            deadline = time.monotonic() + 2 * PATIENCE_S
            while self.process.process.poll() is None and not self.done.is_set():
                if time.monotonic() > deadline:
                    self.wrong(f"a copier does not end: {self.process.tail(3)}")
                    self.process.kill()
                time.sleep(0.05)
            status = self.process.process.returncode
            self.counts["runs through" if status == 0 else "ended by kill" if status == -signal.SIGKILL else "ended by an error"] += 1
            if last and status == 0:
                self.done.set()

    def round(self):
        if self.rng.random() < 0.25:
            self.process.kill()

    def halt(self):
        self.fed.set()
        if not self.done.wait(2 * PATIENCE_S):
            self.wrong(f"the copier does not come to the end: {self.process.tail(5)}")
            self.done.set()
        self.process.kill()
        super().halt()
        self.expect("no transaction is open", lambda: stable(self.bootstrap, self.OUTPUT))
        given, copied = ([v for _, v in read_topic(self.bootstrap, t, 1, **READ_COMMITTED)[0]] for t in (self.INPUT, self.OUTPUT))
        if given != self.sent:
            self.wrong(f"the input has {len(given)} records, {len(self.sent)} were acknowledged")
        if copied != given:
            more, less = Counter(copied) - Counter(given), Counter(given) - Counter(copied)
            self.wrong(f"{len(copied)} copies of {len(given)}: doubled {list(more)[:5]}, lost {list(less)[:5]}")
        self.counts["copies"] = len(copied)
        attempts = sum(ends(self.bootstrap, self.OUTPUT, 1))
        self.counts["offsets of the output"] = attempts


class Zombies(Part):
    name = "zombies"
    TOPIC, TIMEOUT_MS = "undead", 2_000

    def start(self):
        create_topic(self.bootstrap, self.TOPIC)
        self.ledger = Ledger()
        self.go(self.again)

    def again(self):
        number = 0
        while not self.stop.is_set() or not number:
            number += 1
            self.one(f"zombie-{number}", self.rng.random() < 0.5)

    def one(self, who, succeeded):
        command = [sys.executable, "-B", __file__, "--zombie", who, "--bootstrap", self.bootstrap]
        zombie = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0)
        try:
            if zombie.stdout.readline() != "open\n":
                self.counts["not opened"] += 1
                return
            os.kill(zombie.pid, signal.SIGSTOP)
            self.ledger.open(who, 0)
            self.ledger.outcome[who, 0] = ABORTED
            time.sleep(self.TIMEOUT_MS / 1000)
            self.expect(f"the transaction of {who} ends by its timeout", lambda: stable(self.bootstrap, self.TOPIC))
            if succeeded:
                # Another with its name, which has a transaction open as it goes on.
                heir = transactional(self.bootstrap, who, 30_000)
                retried(heir.init_transactions)
                heir.begin_transaction()
                heir.produce(self.TOPIC, f"{who} 1 0".encode(), partition=0)
                heir.flush(1)
            os.kill(zombie.pid, signal.SIGCONT)
            said = zombie.communicate(self.rng.choice(["commit\n", "write\n"]), timeout=2 * PATIENCE_S)[0].strip()
            if not said.startswith("failed"):
                self.wrong(f"{who} went on after its timeout and says: {said}")
            self.counts[said] += 1
            if succeeded:
                self.ledger.open(who, 1)
                self.ledger.wrote[who, 1].add((0, 0))
                try:
                    retried(heir.commit_transaction)
                    self.ledger.outcome[who, 1] = COMMITTED
                    self.counts["heirs committed"] += 1
                except KafkaException as error:
                    self.counts[f"heirs (\N{MULTIPLICATION SIGN}) {error.args[0].name()}"] += 1
        finally:
            zombie.kill()
            zombie.wait()

    def halt(self):
        super().halt()
        self.expect("no transaction is open", lambda: stable(self.bootstrap, self.TOPIC))
        for what in self.ledger.check(read_topic(self.bootstrap, self.TOPIC, 1, **READ_COMMITTED)):
            self.wrong(what)


def be_zombie(bootstrap, who):
    """The process that is stopped in its transaction."""
    p = transactional(bootstrap, who, Zombies.TIMEOUT_MS)
    retried(p.init_transactions)
    p.begin_transaction()
    lost = []
    p.produce(Zombies.TOPIC, f"{who} 0 0".encode(), partition=0, on_delivery=lambda e, _: lost.append(e))
    if p.flush(1) or lost != [None]:
        print("not open")
        return
    print("open", flush=True)
    asked = sys.stdin.readline().strip()
    try:
        if asked == "write":
            p.produce(Zombies.TOPIC, f"{who} 0 1".encode(), partition=0)
        retried(p.commit_transaction)
        print("committed")
    except KafkaException as error:
        print(f"failed to {asked} ({error.args[0].name()})")


class Late(Part):
    """Raw requests: a client would not send them."""

    name = "late"
    TOPIC = "belated"
    # COORDINATOR_LOAD_IN_PROGRESS, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS, NOT_LEADER_OR_FOLLOWER, UNKNOWN_TOPIC_OR_PARTITION, ...
    LATER = {3, 5, 6, 14, 15, 16, 51}

    def __init__(self, bootstrap, rng, apis):
        super().__init__(bootstrap, rng)
        host, port = bootstrap.rsplit(":", 1)
        self.address = host, int(port)
        self.versions = {name: apis[key] for key, name in schema.keys().items() if key in apis}
        self.ledger = Ledger()

    def start(self):
        create_topic(self.bootstrap, self.TOPIC)
        self.go(self.again)

    def again(self):
        number = 0
        while not self.stop.is_set() or not self.counts["late EndTxn"]:
            number += 1
            who, connections = f"late-{number}", []
            try:
                connections += [Connection(*self.address) for _ in range(2)]
                self.one(who, *connections)
            except (Closed, Silent, OSError):
                self.counts["cut off"] += 1
                self.settle(who)
            finally:
                for connection in connections:
                    connection.close()

    def ask(self, connection, api, body, version=None):
        version = self.versions[api] if version is None else version
        connection.send(codec.request(api, version, body, 1))
        return codec.response(api, version, connection.receive())[1]

    def ask_until(self, connection, api, body, code=lambda answer: answer["ErrorCode"]):
        """Asks again while the answer is to ask again."""
        deadline = time.monotonic() + PATIENCE_S
        while (answer := self.ask(connection, api, body)) and code(answer) in self.LATER:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{api}: {answer}")
            time.sleep(0.02)
        return answer

    def init(self, connection, who):
        body = {"TransactionalId": who, "TransactionTimeoutMs": 10_000, "ProducerId": -1, "ProducerEpoch": -1}
        made = self.ask_until(connection, "InitProducerId", body)
        if made["ErrorCode"]:
            raise RuntimeError(f"InitProducerId: {made}")
        return made["ProducerId"], made["ProducerEpoch"]

    def settle(self, who):
        """Ends what is open of one that was cut off."""
        while True:
            with contextlib.suppress(Closed, Silent, OSError):
                connection = Connection(*self.address)
                try:
                    self.init(connection, who)
                    return
                finally:
                    connection.close()
            time.sleep(0.05)

    def produce(self, connection, who, number, producer_id, epoch):
        records = batch(
            [Record(None, f"{who} {number} 0".encode())], timestamp=time.time_ns() // 1_000_000, flags=TRANSACTIONAL,
            producer_id=producer_id, producer_epoch=epoch, sequence=0,
        )
        self.ledger.open(who, number)
        self.ledger.wrote[who, number].add((0, 0))
        asked = {"Topics": [{"Name": self.TOPIC}], "AllowAutoTopicCreation": False}
        topic = self.ask(connection, "Metadata", asked)["Topics"][0]["TopicId"]
        body = {"TransactionalId": who, "Acks": -1, "TimeoutMs": 5000, "TopicData": [
            {"Name": self.TOPIC, "TopicId": topic, "PartitionData": [{"Index": 0, "Records": records}]}]}
        first = lambda a: a["Responses"][0]["PartitionResponses"][0]["ErrorCode"]  # noqa: E731
        answer = self.ask_until(connection, "Produce", body, first)
        if first(answer):
            self.wrong(f"{who} cannot produce its transaction {number}: {answer}")

    def end(self, connection, who, number, producer_id, epoch, commit):
        """The id and the epoch to go on with."""
        body = {"TransactionalId": who, "ProducerId": producer_id, "ProducerEpoch": epoch, "Committed": commit}
        answer = self.ask_until(connection, "EndTxn", body)
        if answer["ErrorCode"]:
            self.wrong(f"{who} cannot end its transaction {number}: {answer}")
            return producer_id, epoch
        self.ledger.outcome[who, number] = COMMITTED if commit else ABORTED
        return answer["ProducerId"], answer["ProducerEpoch"]

    def is_open(self, connection):
        found = []
        for isolation in (0, 1):
            body = {"ReplicaId": -1, "IsolationLevel": isolation, "Topics": [{"Name": self.TOPIC, "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}]}
            of = lambda a: a["Topics"][0]["Partitions"][0]["ErrorCode"]  # noqa: E731
            found.append(self.ask_until(connection, "ListOffsets", body, of)["Topics"][0]["Partitions"][0]["Offset"])
        return found[1] < found[0]

    def one(self, who, connection, old):
        rng = self.rng
        first = self.init(connection, who)
        commit, late = rng.random() < 0.5, rng.random() < 0.5
        self.produce(connection, who, 1, *first)
        second = self.end(connection, who, 1, *first, commit)
        if second == first:
            self.wrong(f"{who} has {first} after EndTxn v5 as before")
        body = {"TransactionalId": who, "ProducerId": first[0], "ProducerEpoch": first[1], "Committed": late}
        when = rng.choice(["before", "during", "during", "behind"])
        if when == "before":
            # The first EndTxn may be sent again; the opposite may not.
            answer = self.ask_until(old, "EndTxn", body)
            if answer["ErrorCode"] == 0 and (late != commit or (answer["ProducerId"], answer["ProducerEpoch"]) != second):
                self.wrong(f"{who}: {body} again, before a second transaction, got {answer}; {second} before")
        self.produce(connection, who, 2, *second)
        if when == "during":
            answer = self.ask_until(old, "EndTxn", body)
            if answer["ErrorCode"] == 0:
                self.wrong(f"{who}: {body} is taken in a second transaction of {second}: {answer}")
        if not self.is_open(connection):
            self.wrong(f"{who}: the second transaction is not open after a late EndTxn {when}")
        third = self.end(connection, who, 2, *second, rng.random() < 0.5)
        if when == "behind":
            answer = self.ask_until(old, "EndTxn", body)
            if answer["ErrorCode"] == 0:
                self.wrong(f"{who}: {body} is taken after a second transaction, {third}: {answer}")
        self.counts["late EndTxn"] += 1
        self.counts[f"{when} ({answer['ErrorCode']})"] += 1
        self.produce(connection, who, 3, *third)
        self.end(connection, who, 3, *third, rng.random() < 0.5)

    def halt(self):
        super().halt()
        self.expect("no transaction is open", lambda: stable(self.bootstrap, self.TOPIC))
        for what in self.ledger.check(read_topic(self.bootstrap, self.TOPIC, 1, **READ_COMMITTED)):
            self.wrong(what)
        self.counts |= self.ledger.counts()


def highest_versions(bootstrap):
    """{API key: the highest version}."""
    host, port = bootstrap.rsplit(":", 1)
    connection = Connection(host, int(port))
    try:
        connection.send(codec.request("ApiVersions", 0, {}, 1))
        return {k["ApiKey"]: k["MaxVersion"] for k in codec.response("ApiVersions", 0, connection.receive())[1]["ApiKeys"]}
    finally:
        connection.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--parts", default="groups,transactions,copier,zombies,late")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--bootstrap")
    parser.add_argument("--zombie", help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    if options.zombie:
        be_zombie(options.bootstrap, options.zombie)
        return
    if not shutil.which("java") or not list(schema.libs().glob("kafka-tools-*.jar")):
        skip("Java or Kafka's jars are missing: run compat-tests/peers/kafka-peer libs")
    seed = options.seed if options.seed is not None else random.randrange(1 << 30)
    rng = random.Random(seed)
    print(f"seed {seed} rounds {options.rounds} parts {options.parts}", flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="chaos-single-") as scratch:
        scratch = Path(scratch)
        command, bootstrap = options.command, options.bootstrap
        if not command:
            command, bootstrap = own_broker(scratch / "data")
        broker = Process("broker", command, scratch / "broker.log")
        anomalies = []
        try:
            broker.start()
            answers(bootstrap, PATIENCE_S)
            apis = highest_versions(bootstrap)
            parts = []
            for name in options.parts.split(","):
                if name == "groups":
                    parts.append(Groups(bootstrap, rng, apis))
                elif name == "transactions":
                    parts.append(Transactions(bootstrap, rng))
                elif name == "copier":
                    parts.append(Copier(bootstrap, rng, scratch))
                elif name == "zombies":
                    parts.append(Zombies(bootstrap, rng))
                elif name == "late" and apis.get(26, -1) >= 5:
                    parts.append(Late(bootstrap, rng, apis))
                elif name == "late":
                    print("left out: late EndTxn, the broker has no EndTxn v5")
                else:
                    sys.exit(f"no part {name}")
            for part in parts:
                part.start()
            kills = 0
            for number in range(1, options.rounds + 1):
                # Now and then it lives long enough for members to come and go.
                time.sleep(rng.choice([rng.uniform(0.05, 0.5), rng.uniform(0.5, 3), rng.uniform(0.5, 3), rng.uniform(3, 6)]))
                for part in parts:
                    part.round()
                if not broker.kill():
                    anomalies.append("the broker ended by itself")
                    break
                kills += 1
                time.sleep(rng.choice([0, rng.uniform(0, 0.5)]))
                broker.start()
                answers(bootstrap, PATIENCE_S)
                for part in parts:
                    part.back()
                if options.verbose:
                    print(f"round {number}: {time.monotonic() - started:.0f} s, anomalies {sum(len(p.anomalies) for p in parts)}", flush=True)
            if not anomalies:
                for part in parts:
                    try:
                        part.halt()
                        if options.verbose:
                            print(f"{part.name} at its end: {time.monotonic() - started:.0f} s", flush=True)
                    except Exception as error:
                        part.wrong(f"{type(error).__name__}: {error}")
            for part in parts:
                anomalies += part.anomalies
                print(f"{part.name}: {', '.join(f'{what} {n}' for what, n in sorted(part.counts.items()))}")
            anomalies += [line for line in broker.log.read_text(errors="replace").splitlines() if "panicked" in line]
            if anomalies:
                print(broker.tail(20))
        finally:
            broker.kill()
            for part in locals().get("parts", []):
                if part.name == "copier":
                    part.done.set()
                    part.process.kill()
    for anomaly in anomalies[:20]:
        print(anomaly)
    print(f"rounds {options.rounds} kills {kills} seed {seed}, {time.monotonic() - started:.0f} s\nanomalies = {len(anomalies)}", flush=True)
    # Threads of a part that failed may hang in a client.
    os._exit(bool(anomalies))


if __name__ == "__main__":
    main()
