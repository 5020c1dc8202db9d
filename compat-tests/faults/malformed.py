#!/usr/bin/env python3
"""Malformed frames against the live socket, while a good client produces and consumes.

    malformed.py [--frames 1000000] [--workers 2] [--seed N] [--verbose]

Requests of a real client (recorded by a proxy in front of a first broker) are bent: bits flipped, numbers and lengths replaced, cut,
spliced, filled with noise, the frame's own length lied about; and frames are made up for every API key and version. Several
processes send them, 1 to 30 on a connection without waiting for answers, and then read to the end. A frame counts when it was
answered, or the connection was closed on it; what lies behind that in the same connection does not count.

Promises: the process lives and logs no panic; its memory, after a warm-up, grows by less than 10 %; every record of the good client
is acked and read back once, and its connection is never closed; the log grows by less than 50 MB for a million frames.
"""

import argparse
import collections
import multiprocessing
import os
import random
import socket
import struct
import sys
import tempfile
import threading
import time
from pathlib import Path

from recorder import Recorder

from common import (
    AlterConfigOpType,
    Broker,
    ConfigEntry,
    ConfigResource,
    Consumer,
    KafkaError,
    NewPartitions,
    NewTopic,
    Producer,
    TopicPartition,
    admin,
    consumer,
    create_topic,
    drain,
    now_ms,
    producer,
    send_all,
    wait_until,
)

GOOD = "good"
WARM_UP_FRAMES = 20_000
GROWTH_MAX = 0.10
LOG_BYTES_MAX = 50 << 20
ANSWER_S = 5
# Topics that bent CreateTopics requests make are removed: what they cost is not a leak.
SWEEP_S = 5


def record(scratch):
    """Requests of librdkafka, all that it can be made to send."""
    recorder = Recorder(0)
    settings = [f"advertised.listeners=PLAINTEXT://127.0.0.1:{recorder.port}"]
    broker = Broker(scratch / "recorded", scratch / "recorded.log", settings).start()
    try:
        recorder.target = broker.port
        recorder.start()
        kafka = f"127.0.0.1:{recorder.port}"
        create_topic(kafka, "seed", 2)
        # Bent, a creation with effect would make thousands of partitions: that is no malformed frame.
        recorder.frames.clear()
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
            send_all(kafka, "seed", [b"value %d" % i for i in range(10)], **{"compression.type": codec})
        held = [("chronos-deliver-at", str(now_ms() + 300).encode()), ("mine", b"x")]
        send_all(kafka, "seed", [b"held"] * 3, headers=held)
        send_all(kafka, "seed", [b"acks 1"], acks=1, **{"enable.idempotence": False})
        c = consumer(kafka)
        drain(c, [("seed", 0, 0), ("seed", 1, 0)])
        c.offsets_for_times([TopicPartition("seed", 0, now_ms() - 1_000)], timeout=5)
        c.get_watermark_offsets(TopicPartition("seed", 0), timeout=5)
        c.close()
        grouped = Consumer({"bootstrap.servers": kafka, "group.id": "g", "log_level": 0, "error_cb": lambda _: None})
        grouped.subscribe(["seed"])
        grouped.poll(1)
        a = admin(kafka)
        topic, node = ConfigResource(ConfigResource.Type.TOPIC, "seed"), ConfigResource(ConfigResource.Type.BROKER, "1")
        change = ConfigResource(ConfigResource.Type.TOPIC, "seed", incremental_configs=[ConfigEntry("no.such.key", "1", incremental_operation=AlterConfigOpType.SET)])
        calls = [
            lambda: a.describe_configs([topic])[topic].result(5),
            lambda: a.describe_configs([node])[node].result(5),
            lambda: a.describe_cluster().result(5),
            lambda: a.list_topics(timeout=5),
            lambda: a.list_consumer_groups().result(5),
            lambda: a.delete_records([TopicPartition("seed", 0, 1)])[TopicPartition("seed", 0, 1)].result(5),
            lambda: a.create_topics([NewTopic("other", 2, 1, config={"max.message.bytes": "9"})], validate_only=True)["other"].result(5),
            lambda: a.create_partitions([NewPartitions("seed", 4)], validate_only=True)["seed"].result(5),
            lambda: a.incremental_alter_configs([change])[change].result(5),
            lambda: a.delete_topics(["other"])["other"].result(5),
        ]
        for call in calls:
            try:
                call()
            except Exception:
                pass  # The request is what counts.
        transactional = Producer({"bootstrap.servers": kafka, "transactional.id": "t", "log_level": 0, "error_cb": lambda _: None})
        try:
            transactional.init_transactions(1)
        except Exception:
            pass
    finally:
        broker.kill()
    return {key: frames for key, frames in recorder.frames.items() if frames}


NUMBERS = [0, 1, -1, -2, 127, 128, 255, 2**15 - 1, -(2**15), 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**24, 10**9]


class Bender:
    def __init__(self, corpus, rng):
        self.rng = rng
        self.keys = sorted(corpus)
        self.corpus = corpus
        self.kinds = collections.Counter()

    def frame(self):
        """Bytes for the wire, and whether what follows them on the connection is still in step."""
        rng = self.rng
        body = bytearray(rng.choice(self.corpus[rng.choice(self.keys)]))
        kind = rng.choice(["valid", "bits", "bits", "bits", "number", "number", "cut", "insert", "splice", "noise", "made up", "version", "length"])
        self.kinds[kind] += 1
        if kind == "bits":
            for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
                body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        elif kind == "number":
            size = rng.choice([1, 2, 4, 8])
            at = rng.randrange(len(body))
            number = rng.choice(NUMBERS) % (1 << 8 * size)
            body[at : at + size] = number.to_bytes(size, "big")
        elif kind == "cut":
            del body[rng.randrange(len(body)) :]
        elif kind == "insert":
            at = rng.randrange(len(body))
            body[at:at] = rng.randbytes(rng.choice([1, 2, 4, 100]))
        elif kind == "splice":
            other = rng.choice(self.corpus[rng.choice(self.keys)])
            body = body[: rng.randrange(len(body))] + other[rng.randrange(len(other)) :]
        elif kind == "noise":
            body = bytearray(rng.randbytes(rng.choice([0, 1, 4, 7, 8, 9, 50, 1_000])))
        elif kind == "made up":
            client = b"\x00\x01c"
            body = struct.pack(">hhi", rng.randrange(-1, 95), rng.randrange(-1, 20), rng.getrandbits(31))
            body = bytearray(body + client + rng.randbytes(rng.choice([0, 1, 10, 60])))
        elif kind == "version":
            body[2:4] = struct.pack(">h", rng.randrange(0, 20))
        length = len(body)
        if kind == "length":
            length = rng.choice([length + 1, length - 1, length + 1_000, 0, 1, -1, -(2**31), 2**31 - 1, 100 << 20, rng.getrandbits(31)])
        return struct.pack(">i", length) + bytes(body), kind != "length"


def count_answers(data):
    count, at = 0, 0
    while at + 4 <= len(data):
        at += 4 + struct.unpack_from(">i", data, at)[0]
        count += at <= len(data)
    return count


def worker(index, port, corpus, seed, goal, counted, results):
    bender = Bender(corpus, random.Random(f"{seed} {index}"))
    rng, stats = bender.rng, collections.Counter()
    while counted.value < goal:
        frames = []
        for _ in range(rng.choice([1, 1, 2, 5, 10, 30])):
            frame, in_step = bender.frame()
            frames.append(frame)
            if not in_step:
                break
        data, answer, hung = b"".join(frames), bytearray(), False
        with socket.socket() as s:
            s.settimeout(ANSWER_S)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                s.connect(("127.0.0.1", port))
            except OSError as error:
                stats[f"connect: {error.__class__.__name__}"] += 1
                time.sleep(0.2)
                continue
            try:
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
                while part := s.recv(65536):
                    answer += part
            except TimeoutError:
                hung = True
            except OSError:
                stats["reset"] += 1
        answered = count_answers(answer)
        # The one on which it was closed, unless all were answered.
        used = min(len(frames), answered + 1)
        stats["sent"] += len(frames)
        stats["answered"] += answered
        stats["connections"] += 1
        stats["no end"] += hung
        with counted.get_lock():
            counted.value += used
    results.put((stats, bender.kinds))


class GoodClient(threading.Thread):
    """Produces a record every few milliseconds and follows; everything must come back."""

    def __init__(self, kafka):
        super().__init__(daemon=True)
        self.errors, self.latencies, self.stopping, self.n = collections.Counter(), [], False, 0
        self.producer = producer(kafka, **{"message.timeout.ms": 30_000, "linger.ms": 0, "error_cb": self.failed})
        self.consumer = consumer(kafka, **{"error_cb": self.failed})
        self.consumer.assign([TopicPartition(GOOD, 0, 0)])
        self.read = collections.Counter()

    def failed(self, error):
        self.errors[f"client: {error.name()}"] += 1

    def run(self):
        while not self.stopping:
            sent = time.monotonic()

            def answered(error, _, sent=sent):
                self.latencies.append(time.monotonic() - sent) if error is None else self.errors.update([error.name()])

            self.producer.produce(GOOD, str(self.n).encode(), partition=0, on_delivery=answered)
            self.n += 1
            self.producer.poll(0.005)
            for message in self.consumer.consume(100, 0.005):
                if message.error() is None:
                    self.read[int(message.value())] += 1
                elif message.error().code() != KafkaError._PARTITION_EOF:
                    self.errors[message.error().name()] += 1

    def finish(self):
        self.stopping = True
        self.join()
        self.producer.flush(30)
        deadline = time.monotonic() + 10
        while len(self.read) < self.n and time.monotonic() < deadline:
            for message in self.consumer.consume(1_000, 0.1):
                if message.error() is None:
                    self.read[int(message.value())] += 1


def sweep(kafka, made):
    """Removes the topics that bent requests made."""
    a = admin(kafka)
    others = [t for t in a.list_topics(timeout=10).topics if t != GOOD and not t.startswith("__")]
    made[0] += len(others)
    if others:
        for future in a.delete_topics(others, operation_timeout=10).values():
            try:
                future.result(15)
            except Exception:
                pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int.from_bytes(os.urandom(3))
    with tempfile.TemporaryDirectory(prefix="malformed-") as scratch:
        scratch = Path(scratch)
        corpus = record(scratch)
        apis = ", ".join(f"{key}v{version}" for key, version in sorted(corpus))
        print(f"seed {seed}, {sum(map(len, corpus.values()))} recorded requests (API key and version): {apis}", flush=True)
        broker = Broker(scratch / "data", scratch / "log", ["auto.create.topics.enable=false", "log.segment.bytes=16777216"]).start()
        try:
            return bombard(broker, corpus, seed, options)
        finally:
            broker.kill()


def bombard(broker, corpus, seed, options):
    create_topic(broker.kafka, GOOD)
    counted = multiprocessing.Value("q", 0)
    results = multiprocessing.Queue()
    arguments = [(i, broker.port, corpus, seed, options.frames, counted, results) for i in range(options.workers)]
    workers = [multiprocessing.Process(target=worker, args=a, daemon=True) for a in arguments]
    begun = time.monotonic()
    for process in workers:
        process.start()
    good = GoodClient(broker.kafka)
    good.start()
    base, highest, made, swept, told = None, 0, [0], time.monotonic(), 0
    while any(p.is_alive() for p in workers) and results.qsize() < len(workers):
        time.sleep(0.1)
        if not broker.running():
            break
        highest = max(highest, broker.rss())
        if base is None and counted.value >= min(WARM_UP_FRAMES, options.frames // 10):
            sweep(broker.kafka, made)
            base = broker.rss()
        if time.monotonic() - swept > SWEEP_S:
            sweep(broker.kafka, made)
            swept = time.monotonic()
        if options.verbose and counted.value - told > 50_000:
            told = counted.value
            print(f"  {told} frames, {broker.rss() >> 20} MiB, {time.monotonic() - begun:.0f} s", flush=True)
    seconds = time.monotonic() - begun
    wrong = []
    if not broker.running():
        print(f"seed {seed}: the broker ended after {counted.value} frames, status {broker.process.wait()}\n{broker.log_tail(20)}")
        return 1
    stats, kinds = collections.Counter(), collections.Counter()
    for _ in workers:
        s, k = results.get(timeout=10)
        stats += s
        kinds += k
    good.finish()
    sweep(broker.kafka, made)
    time.sleep(1)
    after = broker.rss()
    log = broker.log()
    log_bytes = broker.log_path.stat().st_size
    growth = after / base - 1
    latencies = sorted(good.latencies)
    doubled = sum(n - 1 for n in good.read.values())
    if log.count("panicked"):
        wrong.append(f"{log.count('panicked')} panics: {[line for line in log.splitlines() if 'panicked' in line][:2]}")
    if growth > GROWTH_MAX:
        wrong.append(f"memory grew by {growth:.0%}")
    if good.errors or len(good.read) != good.n or doubled or len(latencies) != good.n:
        wrong.append(f"good client: sent {good.n} acked {len(latencies)} read {len(good.read)} doubled {doubled} errors {dict(good.errors)}")
    if log_bytes > max(1 << 20, LOG_BYTES_MAX * options.frames // 1_000_000):
        wrong.append(f"the log has {log_bytes >> 20} MiB")
    connects = {k: v for k, v in stats.items() if k.startswith("connect:")}
    if connects:
        wrong.append(f"connections failed: {connects}")
    try:
        wait_until("an open file fewer", lambda: len(list(Path(f"/proc/{broker.pid}/fd").iterdir())) < 200, 10)
    except TimeoutError:
        wrong.append(f"{len(list(Path(f'/proc/{broker.pid}/fd').iterdir()))} files stay open")
    p = lambda q: latencies[int(q * (len(latencies) - 1))] * 1000 if latencies else -1  # noqa: E731
    print(f"frames {counted.value} (sent {stats['sent']}, answered {stats['answered']}, connections {stats['connections']}, "
          f"no end within {ANSWER_S} s {stats['no end']}, resets {stats['reset']}) seed {seed} in {seconds:.0f} s: "
          f"memory {base >> 20} MiB after warm-up, {highest >> 20} at most, {after >> 20} at the end ({growth:+.1%}); "
          f"good client sent {good.n} read {len(good.read)} doubled {doubled}, ack p50 {p(0.5):.1f} p99 {p(0.99):.1f} max {p(1):.0f} ms; "
          f"topics made by bent requests {made[0]}; log {log_bytes / 2**20:.1f} MiB")
    print(f"  kinds {dict(kinds)}")
    print("ok" if not wrong else "FAIL: " + "; ".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
