#!/usr/bin/env python3
"""Kafka Streams under exactly_once_v2 against `kill -9` of itself and of the broker.

    word_count.py [--rounds 1] [--lines 1500] [--store rocksdb|memory] [--seed N] [--verbose] [--bootstrap HOST:PORT -- COMMAND ...]

Lines are written all the while. In each round, once new totals are seen, Streams and the broker are killed, in random order and with
random pauses, and started again. COMMAND starts a broker that listens on HOST:PORT, again and again on the same data; without it, the
binary that the fault drivers take is used.

Promises: the input has what was sent, once; a read_committed consumer sees of every word the totals 1, 2, 3 ... up to the number of its
occurrences, each once and in order; no transaction stays open.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "faults"))
from common import Process, TopicPartition, answers, consumer, create_topic, drain, own_broker, producer, skip, wait_until  # noqa: E402

INPUT, OUTPUT, PARTITIONS = "lines", "totals", 4
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chronosdb/clients/streams"
WORDS = [a + b for a in ("al", "be", "ga", "de", "ep") for b in ("pha", "ta", "mma", "lta", "silon", "mega")]
# What a slow machine may take for anything that must happen.
PATIENCE_S = 90
# And for totals to go on: Streams asks a minute for a committed offset, then again.
STANDSTILL_S = 200


class Lines(threading.Thread):
    """Writes lines at an even pace, through every restart of the broker; `sent` are the words of those that are acknowledged."""

    def __init__(self, bootstrap, rng):
        super().__init__(daemon=True)
        self.rng, self.left, self.per_second = rng, 0, 1
        self.sent, self.refused, self.lines = Counter(), [], 0
        self.producer = producer(bootstrap, **{"message.timeout.ms": 0, "linger.ms": 5})
        self.over = threading.Event()

    def more(self, lines, seconds):
        self.per_second = lines / seconds
        self.left += lines

    def answered(self, words):
        def callback(error, _):
            if error is not None:
                self.refused.append(error)
            else:
                self.lines += 1
                self.sent.update(words)

        return callback

    def run(self):
        while not self.over.is_set():
            if self.left > 0:
                self.left -= 1
                words = self.rng.choices(WORDS, k=self.rng.randint(1, 6))
                self.producer.produce(INPUT, " ".join(words), partition=self.rng.randrange(PARTITIONS), on_delivery=self.answered(words))
            self.producer.poll(1 / self.per_second)

    def finish(self):
        wait_until("every line is sent", lambda: self.left <= 0, PATIENCE_S)
        self.over.set()
        self.join()
        left = self.producer.flush(PATIENCE_S)
        assert left == 0 and not self.refused, (left, self.refused[:3])


class Totals(threading.Thread):
    """Follows the committed totals, all in one consumer through every restart."""

    def __init__(self, bootstrap):
        super().__init__(daemon=True)
        self.consumer = consumer(bootstrap, **{"isolation.level": "read_committed", "enable.partition.eof": False})
        self.consumer.assign([TopicPartition(OUTPUT, p, 0) for p in range(PARTITIONS)])
        self.seen = defaultdict(list)
        self.count = 0
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            for message in self.consumer.consume(1000, 0.1):
                if message.error() is None:
                    self.seen[message.key().decode()].append(int(message.value()))
                    self.count += 1
        self.consumer.close()


def read_again(bootstrap, topic, isolation="read_committed"):
    """All of a topic, from a consumer that saw nothing before, in order per partition."""
    c = consumer(bootstrap, **{"isolation.level": isolation})
    try:
        found = drain(c, [(topic, p, 0) for p in range(PARTITIONS)], PATIENCE_S)
    finally:
        c.close()
    return [found[at] for at in sorted(found)]


def stable(bootstrap, topic):
    """Whether no transaction is open in a topic: its last stable offsets are its ends."""
    ends = []
    for isolation in ("read_committed", "read_uncommitted"):
        c = consumer(bootstrap, **{"isolation.level": isolation})
        ends.append([c.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in range(PARTITIONS)])
        c.close()
    return ends[0] == ends[1]


def differences(seen, expected):
    """Words whose totals are not 1, 2, 3 ... n."""
    found = []
    for word in sorted(set(seen) | set(expected)):
        counts, n = seen.get(word, []), expected.get(word, 0)
        if counts != list(range(1, n + 1)):
            at = next((i for i, c in enumerate(counts) if c != i + 1), len(counts))
            found.append(f"{word}: {n} occurrences, {len(counts)} totals, the last {counts[-1:]}, around the first difference {counts[max(0, at - 2):at + 3]}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--lines", type=int, default=1500, help="in each round")
    parser.add_argument("--store", choices=["rocksdb", "memory"], default="rocksdb")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--bootstrap")
    parser.add_argument("command", nargs="*")
    options = parser.parse_args()
    if not (CACHE / "classes/WordCount.class").exists():
        skip("no Kafka Streams: run scripts/clients.sh, with Java and Maven")
    seed = options.seed if options.seed is not None else random.randrange(1 << 30)
    rng = random.Random(seed)
    print(f"seed {seed} rounds {options.rounds} lines {options.lines} a round, store {options.store}", flush=True)
    started = time.monotonic()

    with tempfile.TemporaryDirectory(prefix="word-count-") as scratch:
        scratch = Path(scratch)
        command, bootstrap = options.command, options.bootstrap
        if not command:
            command, bootstrap = own_broker(scratch / "data")
        broker = Process("broker", command, scratch / "broker.log")
        state, java = scratch / "state", ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
        java += ["-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS"]
        streams = Process("streams", [*java, "-cp", f"{CACHE}/classes:{CACHE}/deps/*", "WordCount", bootstrap, str(state), options.store, INPUT, OUTPUT], scratch / "streams.log")
        try:
            good = run(options, rng, bootstrap, broker, streams, started)
        except Exception as error:
            print(f"{type(error).__name__}: {error}\nstreams:\n{streams.tail(40)}\nbroker:\n{broker.tail()}", flush=True)
            good = False
        finally:
            streams.kill()
            broker.kill()
    print("ok" if good else f"BROKEN seed {seed}")
    sys.exit(not good)


def run(options, rng, bootstrap, broker, streams, started):
    broker.start()
    answers(bootstrap, PATIENCE_S)
    for topic in (INPUT, OUTPUT):
        create_topic(bootstrap, topic, PARTITIONS)
    streams.start()
    lines, totals = Lines(bootstrap, random.Random(rng.random())), Totals(bootstrap)
    lines.start()
    totals.start()
    kills, by_themselves, rounds = Counter(), Counter(), []
    for number in range(1, options.rounds + 1):
        began, before = time.monotonic(), totals.count
        lines.more(options.lines, 8)
        wait_until("new totals", lambda: totals.count > before, PATIENCE_S)
        time.sleep(rng.uniform(0, 2))
        victims = rng.sample([broker, streams], 2)
        for victim in victims:
            (kills if victim.kill() else by_themselves)[victim.name] += 1
            time.sleep(rng.choice([0, rng.uniform(0, 0.3), rng.uniform(0, 2)]))
            if rng.random() < 0.5:
                victim.start()
        for victim in victims:
            if victim.process.poll() is not None:
                victim.start()
        rounds.append(time.monotonic() - began)
        if options.verbose:
            print(f"round {number}: {rounds[-1]:.0f} s, first {victims[0].name}, lines {lines.lines}, totals {totals.count}", flush=True)

    answers(bootstrap, PATIENCE_S)
    lines.finish()
    expected = sum(lines.sent.values())
    try:
        while (before := totals.count) < expected:
            wait_until("more totals", lambda b=before: totals.count > b, STANDSTILL_S)
    except TimeoutError as error:
        print(f"{error}: {totals.count} of {expected}\n{streams.tail(40)}")
    time.sleep(1)  # For what would be too much.
    by_themselves["streams"] += not streams.kill()
    totals.over.set()
    totals.join()

    # Its open transactions end by their timeout.
    opened = []
    internal = [f"word-count-{topic}" for topic in ("words-repartition", "counts-changelog")]
    for topic in [OUTPUT, *internal]:
        try:
            wait_until("stable", lambda t=topic: stable(bootstrap, t), PATIENCE_S, 0.5)
        except TimeoutError:
            opened.append(topic)
    written = Counter(word for m in read_again(bootstrap, INPUT) for word in m.value().decode().split())
    again = defaultdict(list)
    for message in read_again(bootstrap, OUTPUT):
        again[message.key().decode()].append(int(message.value()))
    wrong = {"input": [] if written == lines.sent else [f"sent {lines.sent - written} more, {written - lines.sent} less than written"]}
    wrong |= {"followed": differences(totals.seen, lines.sent), "read again": differences(again, lines.sent)}
    wrong |= {"transaction open": opened}
    wrong["panics"] = [line for line in broker.log.read_text(errors="replace").splitlines() if "panicked" in line]
    for what, found in wrong.items():
        for line in found[:5]:
            print(f"{what}: {line}")
    # Streams deletes what it has taken from its repartition topic.
    c = consumer(bootstrap)
    purged = sum(c.get_watermark_offsets(TopicPartition(internal[0], p), timeout=10)[0] for p in range(PARTITIONS))
    c.close()
    replaced = streams.log.read_text(errors="replace").count("replaced: ")
    print(
        f"rounds {options.rounds} kills: streams {kills['streams']} broker {kills['broker']}, ended by itself: streams {by_themselves['streams']} "
        f"broker {by_themselves['broker']}, threads replaced {replaced}, slowest round {max(rounds, default=0):.0f} s"
    )
    print(
        f"lines {lines.lines} words {expected} totals {sum(map(len, again.values()))} words that differ {len(wrong['read again'])} "
        f"open {len(opened)} purged {purged}, {time.monotonic() - started:.0f} s"
    )
    return not any(wrong.values()) and not by_themselves["broker"]


if __name__ == "__main__":
    main()
