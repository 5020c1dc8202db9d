#!/usr/bin/env python3
"""Power loss: a broker on a file system of its own, whose power is cut at a random moment, again and again.

    power_loss.py [--cycles 200] [--seed N] [--policy ack|interval|os] [--no-control] [--verbose]

Each cycle idempotent producers with acks=all write plain and held records to four partitions, and a consumer follows. At a random
moment every thread of the broker is stopped (a shutdown beside a running fdatasync lets it return success falsely: ext4 2 of 30
cycles), the file system is shut down without a flush of its journal (FS_IOC_SHUTDOWN, NOLOGFLUSH), the broker is killed, the file
system mounted again (its journal is replayed), the broker started. Sometimes the power goes again while it starts. The producer and
the consumer live through it. The ledger is in this process, outside the volume.

Promises, for flush.policy=ack:
  lost      an acked record is at its offset, with its value          (held: it arrives, after its due time)
  doubled   no record is there twice, whether or not the client retried
  changed   what the consumer read is there, the same
  early     no held record is read before its due time
  topics    an acked creation or deletion of a topic stands
interval: nothing acked or read longer ago than flush.interval.ms (and some) is lost or changed; its producers are not idempotent, for a
lost batch is a fatal gap to those, so nothing is said of doubles. os: the negative control; it has to lose something, or this test
could not see a loss. Without --no-control a short one runs before the others.

What it does not model: a disk that loses or reorders writes which it has taken; sectors torn within a write.
"""

import argparse
import bisect
import collections
import os
import random
import sys
import tempfile
import threading
import time

from common import (
    Broker,
    DidNotStart,
    KafkaError,
    NewTopic,
    ReadFailed,
    TopicPartition,
    Volume,
    admin,
    consumer,
    crc,
    drain,
    header,
    now_ms,
    producer,
    skip,
)

TOPIC = "power"
PARTITIONS = 4
SEGMENT_BYTES = 1 << 20
# Of a cycle at full speed: the volume holds 1,000 cycles.
RECORDS_MAX = 1_500
HELD_SHARE = 0.15
HELD_MS = (50, 2_500)
INTERVAL_MS = 200
# Beyond the interval, until a sync that began within it is over.
INTERVAL_SLACK_MS = 700
# What a fire may be late at the very end, when nothing is cut any more.
LATE_S = 10


class Sent:
    """One record that was given to the producer."""

    __slots__ = ("partition", "crc", "due", "offset", "acked_ms", "cycle")

    def __init__(self, partition, checksum, due, cycle):
        self.partition, self.crc, self.due, self.cycle = partition, checksum, due, cycle
        self.offset = self.acked_ms = None


class Ledger:
    def __init__(self):
        self.sent = {}
        self.cuts_ms = []
        self.refused = collections.Counter()

    def acked(self):
        return {key: s for key, s in self.sent.items() if s.acked_ms is not None}

    def next_cut_ms(self, moment):
        at = bisect.bisect_left(self.cuts_ms, moment)
        return self.cuts_ms[at] if at < len(self.cuts_ms) else None


class Follower(threading.Thread):
    """Reads the topic from its start while everything happens, and keeps what it read."""

    def __init__(self, kafka, lossy):
        super().__init__(daemon=True)
        self.consumer = consumer(kafka, **({"auto.offset.reset": "earliest"} if lossy else {}))
        self.consumer.assign([TopicPartition(TOPIC, p, 0) for p in range(PARTITIONS)])
        self.read, self.errors, self.stopping = {}, collections.Counter(), False

    def run(self):
        while not self.stopping:
            for m in self.consumer.consume(2_000, 0.02):
                at = now_ms()
                if m.error() is None:
                    self.read.setdefault((m.partition(), m.offset()), (crc(m.value()), at, header(m, "chronos-due-at")))
                elif m.error().code() != KafkaError._PARTITION_EOF:
                    self.errors[m.error().name()] += 1
                    if m.error().code() == KafkaError._AUTO_OFFSET_RESET:
                        return
        self.consumer.close()


class Writer(threading.Thread):
    """Produces until told to stop; `finish` waits for every answer."""

    def __init__(self, kafka, ledger, cycle, rng, lossy):
        super().__init__(daemon=True)
        self.ledger, self.cycle, self.rng, self.stopping = ledger, cycle, rng, False
        self.first_ack = threading.Event()
        codec = rng.choice(["none", "none", "none", "lz4", "zstd", "gzip", "snappy"])
        linger = rng.choice([0, 1, 5, 20])
        settings = {"compression.type": codec, "linger.ms": linger, "message.timeout.ms": 25_000}
        self.producer = producer(kafka, **settings, **({"enable.idempotence": False} if lossy else {}))
        self.pace = rng.choice([0.0, 0.0005, 0.002, 0.01])
        self.burst = rng.choice([1, 5, 40])

    def send(self, n):
        key = f"{self.cycle}-{n}"
        size = self.rng.choice([10, 10, 100, 100, 100, 1_000, 1_000, 4_000])
        # The key is in the value: a record in a wrong place shows.
        value = f"{key} ".encode() + self.rng.randbytes(size)
        partition = self.rng.randrange(PARTITIONS)
        due = now_ms() + self.rng.randint(*HELD_MS) if self.rng.random() < HELD_SHARE else None
        sent = self.ledger.sent[key] = Sent(partition, crc(value), due, self.cycle)

        def answered(error, message):
            if error is None:
                sent.offset, sent.acked_ms = message.offset(), now_ms()
                self.first_ack.set()
            else:
                self.ledger.refused[error.name()] += 1

        headers = [("chronos-deliver-at", str(due).encode())] if due else None
        self.producer.produce(TOPIC, value, key.encode(), partition=partition, headers=headers, on_delivery=answered)

    def run(self):
        n = 0
        while not self.stopping:
            # At the cut something is always under way.
            spent = n >= RECORDS_MAX
            for _ in range(1 if spent else self.burst):
                self.send(n)
                n += 1
            self.producer.poll(0.01 if spent else self.pace)

    def finish(self, seconds=30):
        self.stopping = True
        self.join()
        return self.producer.flush(seconds)


class Findings:
    """Violations, each kind counted and some shown."""

    KINDS = ["lost", "doubled", "changed", "early", "topics", "starts", "held_lost", "held_doubled", "misplaced"]

    def __init__(self, shown=12):
        self.counts, self.shown = collections.Counter(), shown

    def add(self, kind, what):
        self.counts[kind] += 1
        if self.shown > 0:
            self.shown -= 1
            print(f"  ! {kind}: {what}", flush=True)

    def line(self):
        return " ".join(f"{kind} {self.counts[kind]}" for kind in self.KINDS)


class Run:
    def __init__(self, volume, scratch, policy, seed, verbose):
        self.volume, self.policy, self.verbose = volume, policy, verbose
        self.rng, self.lossy = random.Random(seed), policy != "ack"
        settings = [f"flush.policy={policy}", f"log.segment.bytes={SEGMENT_BYTES}", "auto.create.topics.enable=false"]
        settings += ["log.flush.offset.checkpoint.interval.ms=2000"]
        if policy == "interval":
            settings.append(f"flush.interval.ms={INTERVAL_MS}")
        self.broker = Broker(volume.path / "data", os.path.join(scratch, f"broker-{policy}.log"), settings)
        self.ledger, self.findings = Ledger(), Findings(0 if policy == "os" else 12)
        self.verified = {}
        self.seen_from = dict.fromkeys(range(PARTITIONS), 0)
        self.topics, self.gone = set(), set()
        self.start_ms, self.cuts, self.start_cuts, self.at_risk = [], 0, 0, 0
        self.producer_failures = 0

    def cut(self):
        self.volume.lose_power(self.broker)
        # Now, not before: acks that were on their way when it went are taken down a moment later.
        self.ledger.cuts_ms.append(now_ms())
        self.cuts += 1

    def restart(self):
        while self.rng.random() < 0.12:
            self.broker.launch()
            time.sleep(self.rng.uniform(0, 0.25))
            if self.broker.running():
                self.start_cuts += 1
                self.cut()
            else:
                self.findings.add("starts", f"ended by itself:\n{self.broker.log_tail()}")
                self.broker.kill()
        begun = time.monotonic()
        self.broker.start()
        self.start_ms.append((time.monotonic() - begun) * 1000)

    def change_topics(self):
        """One acked creation, perhaps one acked deletion; checked after the cut."""
        a = admin(self.broker.kafka)
        name = f"t{len(self.topics) + len(self.gone)}"
        a.create_topics([NewTopic(name, 1, 1)])[name].result(10)
        self.topics.add(name)
        if len(self.topics) > 3:
            victim = self.rng.choice(sorted(self.topics))
            self.topics.discard(victim)
            a.delete_topics([victim])[victim].result(10)
            self.gone.add(victim)

    def check_topics(self):
        listed = set(admin(self.broker.kafka).list_topics(timeout=10).topics)
        for name in self.topics - listed:
            self.findings.add("topics", f"{name} was created and is gone")
        for name in self.gone & listed:
            self.findings.add("topics", f"{name} was deleted and is there")

    def cycle(self, n):
        writer = Writer(self.broker.kafka, self.ledger, n, self.rng, self.lossy)
        begun = self.seen_from.copy()
        writer.start()
        changes = self.rng.random() < 0.3
        # Mostly in the midst of acks: a cut before any proves little.
        if self.rng.random() < 0.9:
            writer.first_ack.wait(5)
        time.sleep(self.rng.uniform(0, 0.4))
        if changes:
            self.change_topics()
        self.cut()
        self.at_risk += sum(1 for s in list(self.ledger.sent.values()) if s.cycle == n and s.acked_ms is not None)
        self.restart()
        left = writer.finish()
        if left:
            self.producer_failures += 1
        if changes:
            self.check_topics()
        self.verify(begun)

    def verify(self, starts):
        """Reads from `starts` to the end and compares with the ledger and with what was read before."""
        try:
            found = drain(self.reader, [(TOPIC, p, o) for p, o in starts.items()])
        except ReadFailed as error:
            if not self.lossy or not any(starts.values()):
                self.findings.add("changed", f"cannot read from {starts}: {error}")
                return
            # The log may have become shorter: then the records are missed from its start on.
            self.verify(dict.fromkeys(starts, 0))
            return
        here, read_ms = {}, now_ms()
        for place, m in found.items():
            fired = header(m, "chronos-schedule-id")
            here[place] = (crc(m.value()), m.key().decode(), fired, read_ms)
            due = header(m, "chronos-due-at")
            if due and (m.timestamp()[1] < int(due) or now_ms() < int(due)):
                self.findings.add("early", f"{place} due {due}, timestamp {m.timestamp()[1]}")
        for place, (checksum, key, _, at) in self.verified.items():
            if place[1] < starts[place[0]]:
                continue
            if place not in here or here[place][:2] != (checksum, key):
                self.changed(at, f"{key} at {place} was read after an earlier start, now {here.get(place)}")
        for place, (checksum, at, due) in list(self.follower.read.items()):
            if place[1] < starts[place[0]]:
                continue
            if due and at < int(due):
                self.findings.add("early", f"{place}: {int(due) - at} ms early")
            if place not in here:
                # It may have come after our read ended.
                if place[1] <= max((o for p, o in here if p == place[0]), default=-1):
                    self.changed(at, f"a consumer read {place}, and it is gone")
            elif here[place][0] != checksum:
                self.changed(at, f"a consumer read {place}, and it is another record")
        # Where a loss was allowed, what is there now counts from here on.
        for kept in (self.verified, self.follower.read) if self.lossy else ():
            for place in [place for place in list(kept) if place[1] >= starts[place[0]] and place not in here]:
                kept.pop(place, None)
        if self.lossy:
            self.follower.read.update({place: (h[0], read_ms, None) for place, h in here.items() if place in self.follower.read})
        self.verified.update(here)
        for p, o in here:
            self.seen_from[p] = max(self.seen_from[p], o + 1)
        for key, s in self.ledger.sent.items():
            if s.acked_ms is None or s.due or s.offset < starts[s.partition]:
                continue
            place = (s.partition, s.offset)
            if here.get(place, (None,))[0] != s.crc:
                self.lost(key, s, f"at {place} is {here.get(place)}")

    def allowed(self, since_ms):
        """Whether what happened then may be undone by the cut that followed."""
        cut = self.ledger.next_cut_ms(since_ms) if self.policy == "interval" else None
        soon = cut is not None and cut - since_ms < INTERVAL_MS + INTERVAL_SLACK_MS
        self.findings.counts["allowed"] += soon
        return soon

    def changed(self, since_ms, what):
        if not self.allowed(since_ms):
            self.findings.add("changed", what)

    def lost(self, key, s, what, kind="lost"):
        if self.allowed(s.acked_ms):
            return
        self.findings.add(kind, f"{key} acked at {s.offset} of {s.partition}: {what}")

    def last_check(self):
        """Everything, after all held records came due."""
        last_due = max((s.due or 0 for s in self.ledger.sent.values()), default=0)
        deadline = time.monotonic() + max(0, last_due - now_ms()) / 1000 + LATE_S
        held = {key for key, s in self.ledger.acked().items() if s.due}
        while True:
            found = drain(self.reader, [(TOPIC, p, 0) for p in range(PARTITIONS)], 60)
            if held <= {m.key().decode() for m in found.values()} or time.monotonic() > deadline:
                break
            time.sleep(0.2)
        time.sleep(1)
        self.verified_all(dict.fromkeys(range(PARTITIONS), 0))

    def verified_all(self, starts):
        self.verify(starts)
        places = collections.defaultdict(list)
        for place, (checksum, key, fired, _) in self.verified.items():
            places[key].append((place, checksum, fired))
        for key, at in places.items():
            s = self.ledger.sent.get(key)
            if s is None or any(p != s.partition or checksum != s.crc for (p, _), checksum, _ in at):
                self.findings.add("misplaced", f"{key} {at}")
            elif self.lossy:
                continue
            elif len(at) > 1:
                self.findings.add("held_doubled" if s.due else "doubled", f"{key} {at}")
            # Without a due time in the future it is an ordinary record, and says no schedule id.
            elif s.due and s.acked_ms and at[0][2] and int(at[0][2]) != s.offset:
                self.findings.add("misplaced", f"{key} acked as {s.offset} arrived with schedule id {at[0][2]}")
        for key, s in self.ledger.acked().items():
            if s.due and key not in places:
                self.lost(key, s, f"never arrived, due {s.due}", "held_lost")

    def all(self, cycles):
        begun = time.monotonic()
        self.broker.start()
        a = admin(self.broker.kafka)
        a.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])[TOPIC].result(10)
        self.reader = consumer(self.broker.kafka)
        self.follower = Follower(self.broker.kafka, self.lossy)
        self.follower.start()
        done = 0
        try:
            for n in range(cycles):
                self.cycle(n)
                done += 1
                if self.verbose or done % 25 == 0:
                    print(f"  {self.policy} cycle {done}: acked {len(self.ledger.acked())} {self.findings.line()}", flush=True)
                if self.policy == "os" and self.findings.counts["lost"]:
                    break
            if self.policy != "os":
                self.last_check()
        except DidNotStart as error:
            self.findings.add("starts", f"the broker did not start again: {error}")
        self.follower.stopping = True
        self.follower.join(5)
        self.broker.kill()
        if code := self.follower.errors.get("_AUTO_OFFSET_RESET"):
            self.findings.add("changed", f"the follower's offset is out of range, {code} times")
        acked = self.ledger.acked()
        starts = sorted(self.start_ms) or [0]
        log = self.broker.log()
        print(
            f"policy {self.policy} cycles {done} seed {SEED} cuts {self.cuts} ({self.start_cuts} while starting) "
            f"acked {len(acked)} ({self.at_risk} before the cut of their cycle) held {sum(1 for s in acked.values() if s.due)} unacked {len(self.ledger.sent) - len(acked)} "
            f"read {len(self.verified)} followed {len(self.follower.read)}: {self.findings.line()} "
            + (f"allowed {self.findings.counts['allowed']} " if self.policy == "interval" else "")
            + f"start p50 {starts[len(starts) // 2]:.0f} ms max {starts[-1]:.0f} ms, {time.monotonic() - begun:.0f} s"
        )
        print(f"  refused {dict(self.ledger.refused)} unfinished producers {self.producer_failures} "
              f"torn tails cut {log.count('torn')} panics {log.count('panicked')} client errors {dict(self.follower.errors)}")
        return self.findings


def one(policy, cycles, verbose, keep):
    with tempfile.TemporaryDirectory(prefix="power-loss-", ignore_cleanup_errors=True) as scratch:
        with Volume(scratch, 2048) as volume:
            run = Run(volume, scratch, policy, f"{SEED} {policy}", verbose)
            try:
                findings = run.all(cycles)
            finally:
                run.broker.kill()
            if keep and findings.counts - collections.Counter(allowed=findings.counts["allowed"]):
                kept = f"/tmp/power-loss-{policy}-{SEED}"
                os.system(f"rm -rf {kept}; cp -a {volume.path} {kept}; cp {run.broker.log_path} {kept}.log")
                print(f"  kept: {kept} {kept}.log")
        return findings


def main():
    global SEED
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--policy", choices=["ack", "interval", "os"], default="ack")
    parser.add_argument("--no-control", action="store_true", help="without the negative control")
    parser.add_argument("--keep", action="store_true", help="after a violation keep the data folder and the log in /tmp")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    SEED = options.seed if options.seed is not None else int.from_bytes(os.urandom(3))
    if why := Volume.missing():
        skip(f"power loss needs {why}")
    sound = True
    if options.policy != "os" and not options.no_control:
        lost = one("os", 20, options.verbose, False).counts["lost"]
        print(f"negative control: {lost} acked records lost without syncs" + ("" if lost else ": THIS TEST SEES NO LOSS"))
        sound = lost > 0
    findings = one(options.policy, options.cycles, options.verbose, options.keep)
    if options.policy == "os":
        sound = findings.counts["lost"] > 0
    else:
        sound = sound and not any(findings.counts[kind] for kind in Findings.KINDS)
    print("ok" if sound else "FAIL")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
