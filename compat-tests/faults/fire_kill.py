#!/usr/bin/env python3
"""SIGKILL at every sync, and at every write, of a fire.

    fire_kill.py [--rounds 200] [--records 40] [--seed N] [--verbose]

In round N, records are held in four partitions; before the first is due, strace is attached and kills the broker as a thread of it enters
its Nth fdatasync or syncfs (even rounds: its Nth pwritev). It is started again on the same data, and all that was held is read.

Promises: every record is there once, with its due time, and none was there before it.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import Broker, create_topic, header, now_ms, producer, read_all, skip, wait_until

TOPIC, PARTITIONS = "fires", 4
# Of one thread: a round has a few dozen.
CALLS_MAX = 40


class Round:
    def __init__(self, broker, number, records):
        self.broker, self.number = broker, number
        # So that what is due spreads over several syncs.
        self.start = now_ms() + 1_500
        self.due = {f"{number}-{i}": self.start + i * 400 // records for i in range(records)}

    def hold(self):
        refused = []
        p = producer(self.broker.kafka)
        for at, (value, due) in enumerate(self.due.items()):
            headers = [("chronos-deliver-at", str(due).encode())]
            p.produce(TOPIC, value.encode(), partition=at % PARTITIONS, headers=headers, on_delivery=lambda e, _: e and refused.append(e))
        assert p.flush(5) == 0 and not refused and now_ms() < self.start, (refused, now_ms() - self.start)

    def kill_in_fire(self, rng):
        """Whether it died."""
        calls = "fdatasync,syncfs" if self.number % 2 else "pwritev"
        nth = (self.number + 1) // 2 if self.number <= 2 * CALLS_MAX else rng.randint(1, CALLS_MAX)
        inject = f"inject={calls}:signal=SIGKILL:when={nth}"
        command = ["strace", "-f", "-p", str(self.broker.pid), "-o", "/dev/null", "-e", f"trace={calls}", "-e", inject]
        strace = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        if "attached" not in (said := strace.stderr.readline()):
            skip(f"strace cannot attach: {said.strip()}")
        over = self.start + 1_200
        while self.broker.running() and now_ms() < over:
            time.sleep(0.01)
        died = not self.broker.running()
        self.broker.kill()
        strace.wait()
        return died


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--records", type=int, default=40)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if not shutil.which("strace"):
        skip("strace is missing")
    seed = options.seed if options.seed is not None else random.randrange(1 << 30)
    rng = random.Random(seed)
    started = time.monotonic()
    deaths, lost, doubled, early, wrong = 0, 0, 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="fire-kill-") as scratch:
        scratch = Path(scratch)
        broker = Broker(scratch / "data", scratch / "log").start()
        create_topic(broker.kafka, TOPIC, PARTITIONS)
        due = {}
        for number in range(1, options.rounds + 1):
            round_ = Round(broker, number, options.records)
            round_.hold()
            due |= round_.due
            deaths += round_.kill_in_fire(rng)
            broker.start()
            try:
                last = list(round_.due)
                wait_until("all fired", lambda: {m.value().decode() for m in read_all(broker.kafka, TOPIC, range(PARTITIONS)).values()} >= set(last), 10, 0.2)
            except TimeoutError:
                pass
            found = list(read_all(broker.kafka, TOPIC, range(PARTITIONS)).values())
            values = [m.value().decode() for m in found]
            lost, doubled = len(set(due) - set(values)), len(values) - len(set(values))
            early = sum(m.timestamp()[1] < due[m.value().decode()] for m in found)
            wrong = sum(header(m, "chronos-due-at") != str(due[m.value().decode()]) for m in found)
            if options.verbose or lost or doubled or early or wrong:
                print(f"round {number}: died {deaths} lost {lost} doubled {doubled} early {early} wrong due {wrong}", flush=True)
            if lost or doubled or early or wrong:
                print(broker.log_tail(20))
                break
        panics = broker.log().count("panicked")
        broker.kill()
    print(f"rounds {number} killed in a fire {deaths} held {len(due)} seed {seed}: lost {lost} doubled {doubled} early {early} wrong due {wrong} panics {panics}, {time.monotonic() - started:.0f} s")
    good = not (lost or doubled or early or wrong or panics) and deaths > options.rounds / 4
    print("ok" if good else "BROKEN")
    sys.exit(not good)


if __name__ == "__main__":
    main()
