#!/usr/bin/env python3
"""Disk faults, one line each: what the client got, what the log said, what came back.

    disk.py [SCENARIO ...] [--seed N] [--flips 40] [--client-checks] [--cuts 0] [--keep] [--verbose]

full       the disk fills up: produce is refused by name, reads and fires go on, room brings everything back without a restart
eio        fdatasync fails (strace): no ack after it, readiness says so, a restart has all that was acked
slow       fdatasync takes 300 ms (strace): acks wait, memory stays bounded
readonly   the file system turns read-only by an error of its own: produce is refused, reads go on, a restart brings all back
torn       every length of the last batch is cut off: exactly the batches before it come back, and it goes on from there
flips      one bit, anywhere in the data folder: no wrong record is ever served, none is silently left out below another
missing    files and folders removed while it is stopped: nothing acked vanishes without a word

Exit 1 if a promise is broken. A scenario that this machine cannot run prints SKIPPED.
"""

import argparse
import collections
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.error
import urllib.request
from pathlib import Path

from common import (
    REQUIRED,
    Broker,
    DidNotStart,
    KafkaError,
    NewTopic,
    ReadFailed,
    Volume,
    admin,
    create_topic,
    now_ms,
    producer,
    read_all,
    read_from,
    run,
    send_all,
    wait_until,
)

TOPIC = "disk"
# What a client without patience does: it shows the broker's own answer.
HASTY = {"enable.idempotence": False, "retries": 0, "acks": "all"}


class Skip(Exception):
    pass


class Report:
    def __init__(self, name):
        self.name, self.broken, self.cells = name, [], {"client": [], "log": [], "back": []}

    def client(self, text):
        self.cells["client"].append(text)

    def log(self, lines):
        for line in lines[:2]:
            self.cells["log"].append(line.split("Z ", 1)[-1].strip()[:160])

    def back(self, text):
        self.cells["back"].append(text)

    def promise(self, holds, what):
        if not holds:
            self.broken.append(what)

    def print(self):
        cells = " | ".join("; ".join(cell) or "-" for cell in self.cells.values())
        print(f"| {self.name} | {f'BROKEN, {len(self.broken)} times: ' + '; '.join(self.broken[:4]) if self.broken else 'ok'} | {cells} |", flush=True)


def values(prefix, count, size=0):
    return [f"{prefix} {i} ".encode() + b"x" * size for i in range(count)]


def in_log(kafka, topic=TOPIC, **settings):
    return [m.value() for _, m in sorted(read_all(kafka, topic, **settings).items())]


def holds_all(found, acked):
    """Every acked value, each once."""
    counts = collections.Counter(found)
    return all(counts[value] == 1 for value in acked)


def page(broker, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{broker.http_port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Strace:
    """Attached to a running broker until left."""

    def __init__(self, broker, inject):
        self.command = ["strace", "-f", "-p", str(broker.pid), "-e", "trace=fdatasync,fsync", "-o", "/dev/null"]
        for part in inject:
            self.command += ["-e", f"inject={part}"]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        said = self.process.stderr.readline()
        if "attached" not in said:
            raise Skip(f"strace cannot attach: {said.strip()}")
        time.sleep(0.3)
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()


def need_strace():
    if not shutil.which("strace"):
        raise Skip("strace is missing")


def need_volume():
    if why := Volume.missing():
        raise Skip(f"needs {why}")


def full(report, scratch, options):
    need_volume()
    with Volume(scratch, 96) as volume:
        broker = Broker(volume.path / "data", scratch / "log", ["log.segment.bytes=4194304"])
        try:
            full_on(report, volume, broker.start())
        finally:
            broker.kill()


def full_on(report, volume, broker):
    create_topic(broker.kafka, TOPIC)
    create_topic(broker.kafka, "later")
    due = now_ms() + 3_000
    held = [("chronos-deliver-at", str(due).encode())]
    send_all(broker.kafka, "later", values("held", 50), headers=held)
    mark = len(broker.log())
    # All but some, then the client takes the rest.
    ballast = volume.fill(leave=12 << 20)
    big = values("big", 400, 100_000)
    answers = send_all(broker.kafka, TOPIC, big, timeout_s=20, **HASTY)
    acked = [v for v, a in zip(big, answers) if isinstance(a, int)]
    refused = collections.Counter(a for a in answers if not isinstance(a, int))
    report.client(f"{len(acked)} acked, then {dict(refused)}")
    report.promise(refused, "nothing was refused")
    report.promise(not refused or set(refused) == {"KAFKA_STORAGE_ERROR"}, f"other errors than KAFKA_STORAGE_ERROR: {dict(refused)}")
    report.promise(acked and holds_all(in_log(broker.kafka), acked), "reads while full do not give what was acked")
    report.client("reads go on")
    client = admin(broker.kafka)
    try:
        client.create_topics([NewTopic("no-room", 1, 1)], operation_timeout=5)["no-room"].result(8)
        report.client("create topic: success")
        created = True
    except Exception as error:
        report.client(f"create topic: {error.args[0].name()}")
        created = False
    time.sleep(max(0, due + 500 - now_ms()) / 1000)
    fired = len(in_log(broker.kafka, "later"))
    report.client(f"{fired} of 50 fires while full")
    lines = broker.log_since(mark)
    report.log(lines)
    report.promise(len(lines) < 200, f"{len(lines)} log lines")
    report.promise(broker.running(), "the broker ended")
    # Killed and started while full: it has to come up and let readers read.
    broker.kill()
    try:
        broker.start()
        report.promise(holds_all(in_log(broker.kafka), acked), "a start while full lost something")
        report.back("starts while full, reads go on")
    except DidNotStart as error:
        report.back("does not start while full: " + str(error).strip().splitlines()[-1][:120])
        report.promise(False, "does not start on a full disk")
        ballast.unlink()
        broker.start()
    ballast.unlink(missing_ok=True)
    begun = time.monotonic()
    [after] = send_all(broker.kafka, TOPIC, [b"after"], timeout_s=15)
    seconds = time.monotonic() - begun
    report.promise(isinstance(after, int) and seconds < 5, f"with room again: {after} after {seconds:.1f} s")
    report.back(f"produce {seconds:.2f} s after there was room, without a restart")
    try:
        wait_until("all fired", lambda: len(in_log(broker.kafka, "later")) >= 50)
    except TimeoutError:
        report.promise(False, "held records are missing")
    found = in_log(broker.kafka, "later")
    report.promise(len(found) == 50 == len(set(found)), f"{len(found)} fires, {len(set(found))} different, of 50")
    broker.kill()
    broker.start()
    found = in_log(broker.kafka)
    report.promise(holds_all(found, [*acked, b"after"]), "lost after a kill")
    listed = admin(broker.kafka).list_topics(timeout=5).topics
    report.promise(("no-room" in listed) or not created, "an acked topic is gone")
    report.back(f"{len(acked) + 1} acked, lost 0, held {len(in_log(broker.kafka, 'later'))} of 50")


def eio(report, scratch, options):
    need_strace()
    for name, inject in [("every sync", ["fdatasync:error=EIO", "fsync:error=EIO"]), ("one sync", ["fdatasync:error=EIO:when=1"])]:
        broker = Broker(scratch / f"data {name}", scratch / f"log {name}").start()
        try:
            create_topic(broker.kafka, TOPIC)
            before = values("before", 50)
            report.promise(all(isinstance(a, int) for a in send_all(broker.kafka, TOPIC, before)), "not even before")
            mark = len(broker.log())
            with Strace(broker, inject):
                during = send_all(broker.kafka, TOPIC, values("during", 5), timeout_s=3, **HASTY)
            after = send_all(broker.kafka, TOPIC, values("after", 5), timeout_s=3, **HASTY) if broker.running() else ["ended"]
            report.client(f"{name}: {dict(collections.Counter(map(str, during)))}, afterwards {dict(collections.Counter(map(str, after)))}")
            report.promise(not any(isinstance(a, int) for a in during + after), f"{name}: an ack after a failed sync: {during} {after}")
            if broker.running():
                ready, why = page(broker, "/readyz")
                report.client(f"readyz {ready}")
                report.promise(ready == 503, f"{name}: readyz {ready}")
            else:
                report.client("the broker ended")
            report.log(broker.log_since(mark))
            broker.kill()
            broker.start()
            found = in_log(broker.kafka)
            report.promise(found[:50] == before, f"{name}: acked records lost")
            again = send_all(broker.kafka, TOPIC, [b"again"])
            report.promise(isinstance(again[0], int), f"{name}: no ack after a restart: {again}")
            report.back(f"{name}: 50 of 50 acked, {len(found) - 50} unacked kept, writes go on")
        finally:
            broker.kill()


def slow(report, scratch, options):
    need_strace()
    wrapper = ["strace", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:delay_enter=300000"]
    broker = Broker(scratch / "data", scratch / "log", wrapper=wrapper).start()
    try:
        create_topic(broker.kafka, TOPIC, 4)
        [first] = send_all(broker.kafka, TOPIC, [b"first"])
        report.promise(first == 0, f"first answer {first}")
        rss, highest, latencies, failures, stopping = broker.rss(), [0], [], collections.Counter(), threading.Event()

        def flood(partition):
            p = producer(broker.kafka, **{"queue.buffering.max.kbytes": 16_384, "compression.type": "none", "message.timeout.ms": 60_000})
            value = os.urandom(50_000)
            while not stopping.is_set():
                sent = time.monotonic()

                def answered(error, _, sent=sent):
                    latencies.append(time.monotonic() - sent) if error is None else failures.update([error.name()])

                try:
                    p.produce(TOPIC, value, partition=partition, on_delivery=answered)
                except BufferError:
                    pass
                p.poll(0.005)
            p.flush(60)

        floods = [threading.Thread(target=flood, args=[i % 4]) for i in range(8)]
        for thread in floods:
            thread.start()
        end = time.monotonic() + 10
        while time.monotonic() < end:
            highest[0] = max(highest[0], broker.rss())
            time.sleep(0.1)
        # One partition's small writer beside the flood.
        begun = time.monotonic()
        [small] = send_all(broker.kafka, TOPIC, [b"small"], partition=1, timeout_s=30)
        single = time.monotonic() - begun
        stopping.set()
        for thread in floods:
            thread.join()
        latencies.sort()
        grown = (highest[0] - rss) / 2**20
        report.client(f"{len(latencies)} acks of 50 KB, p50 {latencies[len(latencies) // 2]:.2f} s, min {latencies[0]:.2f} s, "
                      f"max {latencies[-1]:.2f} s, refused {dict(failures)}; a small one took {single:.2f} s")
        report.promise(latencies[0] > 0.25, f"an ack after {latencies[0]:.3f} s: before its sync")
        report.promise(isinstance(small, int), f"small: {small}")
        report.promise(not failures, f"refused {dict(failures)}")
        report.promise(grown < 200, f"memory grew by {grown:.0f} MiB")
        report.back(f"memory {rss / 2**20:.0f} MiB, at most {grown:.0f} MiB more under 8 producers")
        report.log(broker.log_since(0))
    finally:
        broker.kill()


def readonly(report, scratch, options):
    need_volume()
    with Volume(scratch, 96) as volume:
        run("mount", "-o", "remount,errors=remount-ro", volume.path)
        broker = Broker(volume.path / "data", scratch / "log").start()
        try:
            create_topic(broker.kafka, TOPIC)
            before = values("before", 50)
            send_all(broker.kafka, TOPIC, before)
            due = now_ms() + 1_500
            create_topic(broker.kafka, "later")
            send_all(broker.kafka, "later", values("held", 20), headers=[("chronos-deliver-at", str(due).encode())])
            mark = len(broker.log())
            trigger = Path(f"/sys/fs/ext4/{Path(volume.loop).name}/trigger_fs_error")
            if not trigger.exists():
                raise Skip(f"no {trigger}")
            trigger.write_text("test")
            answers = send_all(broker.kafka, TOPIC, values("during", 5), timeout_s=5, **HASTY)
            report.client(f"produce {dict(collections.Counter(map(str, answers)))}")
            report.promise(not any(isinstance(a, int) for a in answers), f"acked on a read-only disk: {answers}")
            try:
                found = in_log(broker.kafka)
                report.promise(found[:50] == before, "reads do not go on")
                report.client("reads go on")
            except ReadFailed as error:
                report.promise(False, f"reads do not go on: {error}")
            report.client(f"readyz {page(broker, '/readyz')[0]}")
            time.sleep(max(0, due + 1_000 - now_ms()) / 1000)
            lines = broker.log_since(mark)
            report.log(lines)
            report.promise(len(lines) < 200, f"{len(lines)} log lines in 3 s")
            report.promise(broker.running(), "the broker ended")
            broker.kill()
            volume.unmount()
            subprocess.run(["fsck.ext4", "-p", volume.loop], capture_output=True)
            volume.mount()
            broker.start()
            found = in_log(broker.kafka)
            report.promise(found[:50] == before, "lost after the restart")
            [again] = send_all(broker.kafka, TOPIC, [b"again"])
            report.promise(isinstance(again, int), f"no ack after the restart: {again}")
            wait_until("fires", lambda: len(in_log(broker.kafka, "later")) >= 20)
            held = in_log(broker.kafka, "later")
            report.promise(len(held) == 20, f"{len(held)} fires of 20")
            report.back(f"50 of 50 acked, held {len(held)} of 20, writes go on")
        finally:
            broker.kill()


def restore(pristine, data):
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(pristine, data)


def torn(report, scratch, options):
    """Each way the tail can be short after a kill; and some of them after a clean stop, where the broker knows how long it was."""
    data, pristine = scratch / "data", scratch / "pristine"
    for stop in ["kill", "stop"]:
        shutil.rmtree(data, ignore_errors=True)
        shutil.rmtree(pristine, ignore_errors=True)
        broker = Broker(data, scratch / f"log-{stop}").start()
        try:
            create_topic(broker.kafka, TOPIC)
            sent = []
            for batch in range(5):
                part = values(f"batch {batch}", 4)
                sent += part
                send_all(broker.kafka, TOPIC, part, **{"linger.ms": 100, "compression.type": "none"})
            broker.kill() if stop == "kill" else broker.stop()
            shutil.copytree(data, pristine)
            [segment] = sorted(broker.partition_dir(TOPIC).glob("segments/*.log"))
            size = segment.stat().st_size
            # 61 bytes of header and 4 records; the batches are equally long.
            last = (size - 64) // 5
            lengths = list(range(1, last + 1))
            if options.cuts:
                lengths = sorted(random.Random(options.seed).sample(lengths, min(options.cuts, last)))
            if stop == "stop":
                lengths = lengths[:: max(1, len(lengths) // 12)]
            outcomes = collections.Counter()
            for cut in lengths:
                restore(pristine, data)
                os.truncate(segment, size - cut)
                mark = len(broker.log())
                try:
                    broker.start()
                    found = in_log(broker.kafka)
                    [offset] = send_all(broker.kafka, TOPIC, [b"next"], timeout_s=3)
                    again = in_log(broker.kafka)
                    exact = found == sent[:16] and offset == 16 and again == [*sent[:16], b"next"]
                    outcomes["exact prefix" if exact else "WRONG"] += 1
                    report.promise(exact, f"{stop}, {cut} bytes cut: {len(found)} records, next offset {offset}")
                    report.promise(broker.log_since(mark, "cut|torn|shorter"), f"{stop}, {cut} bytes cut: not a word in the log")
                except (DidNotStart, ReadFailed) as error:
                    outcomes[f"refused: {str(error)[:50]}"] += 1
                    # After a clean stop the end is known: a shorter file is damage, and refusing it is right.
                    report.promise(stop == "stop", f"{cut} bytes cut: {error}")
                broker.kill()
                if cut == lengths[-1]:
                    report.log(broker.log_since(mark))
            report.back(f"after {'kill -9' if stop == 'kill' else 'a clean stop'}: {len(lengths)} of {last} lengths, {dict(outcomes)}")
        finally:
            broker.kill()


def rotten_data(broker, stop):
    """A topic with plain and fired records over several segments; what a reader sees; and the broker stopped."""
    broker.start()
    create_topic(broker.kafka, TOPIC)
    for round_ in range(3):
        send_all(broker.kafka, TOPIC, values(f"plain {round_}", 150, 8_000), **{"batch.num.messages": 20})
        due = str(now_ms() + 150).encode()
        send_all(broker.kafka, TOPIC, values(f"held {round_}", 20, 4_000), headers=[("chronos-deliver-at", due)])
        wait_until("fired", lambda r=round_: len(in_log(broker.kafka)) == 170 * (r + 1))
    truth = {place: m.value() for place, m in read_all(broker.kafka, TOPIC).items()}
    broker.kill() if stop == "kill" else broker.stop()
    return truth


FILE_CLASSES = ["segments", "segments", "segments", "index", "meta", "raft", "kv", "node.json"]


def flips(report, scratch, options):
    rng = random.Random(options.seed)
    for stop in ["kill", "stop"]:
        data, pristine = scratch / f"data-{stop}", scratch / f"pristine-{stop}"
        settings = ["log.segment.bytes=1048576"]
        broker = Broker(data, scratch / f"log-{stop}", settings)
        try:
            truth = rotten_data(broker, stop)
            shutil.copytree(data, pristine)
            by_class = collections.defaultdict(list)
            for path in sorted(p for p in data.rglob("*") if p.is_file() and p.stat().st_size):
                for kind in set(FILE_CLASSES):
                    if kind in path.relative_to(data).parts:
                        by_class[kind].append(path)
            outcomes = collections.defaultdict(collections.Counter)
            for n in range(options.flips):
                kind = FILE_CLASSES[n % len(FILE_CLASSES)]
                if not by_class[kind]:
                    continue
                restore(pristine, data)
                path = rng.choice(by_class[kind])
                at, bit = rng.randrange(path.stat().st_size), rng.randrange(8)
                with open(path, "r+b") as f:
                    f.seek(at)
                    byte = f.read(1)[0]
                    f.seek(at)
                    f.write(bytes([byte ^ 1 << bit]))
                outcome = judge_flip(broker, truth, options.client_checks)
                where = f"{path.relative_to(data)} byte {at} bit {bit} after {stop}"
                outcomes[kind][outcome.split(":")[0]] += 1
                if options.verbose:
                    print(f"  {where}: {outcome}", flush=True)
                if is_broken(outcome):
                    report.promise(False, f"{where}: {outcome}")
            report.promise(outcomes, "no file was found to flip")
            for kind, counts in outcomes.items():
                report.back(f"{stop} {kind}: {dict(counts)}")
        finally:
            broker.kill()


def is_broken(outcome):
    return any(word.isupper() and len(word) > 1 for word in outcome.split(":")[0].split())


def judge_flip(broker, truth, checks=False):
    """Capitals: a promise is broken."""
    mark = len(broker.log())
    try:
        broker.start()
    except DidNotStart as error:
        said = [line for line in str(error).splitlines() if line.strip()]
        if "panicked" in str(error):
            return f"PANIC AT START: {said[-1][:200]}"
        return f"refused to start: {said[-1][:200]}"
    try:
        return judge_served(broker, truth, mark, checks)
    finally:
        broker.kill()


def judge_served(broker, truth, mark, checks):
    # What lies below the checkpoint is read by the first scrub, not by the start.
    wait_until("the first scrub", lambda: "chronos_log_scrubs_total 0" not in page(broker, "/metrics")[1])
    status, why = page(broker, "/readyz")
    # There is no other topic.
    offline = status == 503 and "-0: " in why
    found, errors = {}, []
    # A client that does not check checksums sees what the broker sent. Behind a batch that cannot be read it goes on.
    start = 0
    for _ in range(1 if offline else 3):
        try:
            settings = {"check.crcs": checks, "auto.offset.reset": "earliest"}
            found |= {p: m.value() for p, m in read_from(broker.kafka, [(TOPIC, 0, start)], 1.5 if offline else 4, **settings).items()}
            break
        except ReadFailed as error:
            errors.append(error.error.name() if isinstance(error.error, KafkaError) else "nothing comes")
            found |= {p: m.value() for p, m in error.found.items()}
            start = max((o for _, o in found), default=-1) + 25
    if "panicked" in broker.log()[mark:]:
        return "PANIC"
    wrong = [p for p, value in found.items() if truth.get(p) != value]
    if wrong:
        return f"SERVED WRONG: {len(wrong)} records, first at {wrong[0][1]}"
    if TOPIC not in admin(broker.kafka).list_topics(timeout=5).topics:
        return f"TOPIC GONE: {errors}"
    lost = sorted(o for p, o in truth if (p, o) not in found)
    if not lost:
        return "all served"
    if offline:
        return f"offline: {json.loads(why)['reasons'][0][:200]}"
    offsets = [o for _, o in found]
    if errors:
        behind = "the rest served" if offsets and max(offsets) > lost[0] else "nothing behind"
        return f"error there, {behind}: {errors[0]}, {len(lost)} not served"
    said = [line.split("Z ", 1)[-1].strip() for line in broker.log_since(mark)]
    if not said:
        return f"SILENTLY MISSING: {len(lost)} records from {lost[0]}"
    if not offsets:
        return f"all gone with a warning: {said[-1]}"
    side = "tail" if lost[0] > max(offsets) else "front" if lost[-1] < min(offsets) else "MIDDLE"
    return f"{side} gone with a warning: {len(lost)} records: {said[-1]}"


def missing(report, scratch, options):
    data, pristine = scratch / "data", scratch / "pristine"
    broker = Broker(data, scratch / "log", ["log.segment.bytes=1048576"])
    try:
        truth = rotten_data(broker, "stop")
        shutil.copytree(data, pristine)
        part = broker.partition_dir(TOPIC)
        segments = sorted(part.glob("segments/*.log"))
        report.promise(len(segments) > 2, f"only {len(segments)} segments")
        node = data / "1"
        cases = {
            "partition folder": [part],
            "segments folder": [part / "segments"],
            "first segment": segments[:1],
            "middle segment": segments[1:2],
            "last segment": segments[-1:],
            "index folder": [part / "index"],
            "meta folder": [part / "meta"],
            "kv": [node / "kv"],
            "raft": [node / "raft"],
            "kv and raft": [node / "kv", node / "raft"],
            "node.json": [node / "node.json"],
            "all partitions": [node / "partitions"],
        }
        for name, victims in cases.items():
            restore(pristine, data)
            for victim in victims:
                shutil.rmtree(victim) if victim.is_dir() else victim.unlink()
            outcome = judge_flip(broker, truth)
            if options.verbose:
                print(f"  {name}: {outcome}\n{broker.log_tail(4)}", flush=True)
            report.back(f"{name}: {outcome[:110]}")
            report.promise(not is_broken(outcome), f"{name}: {outcome}")
    finally:
        broker.kill()


SCENARIOS = {f.__name__: f for f in [full, eio, slow, readonly, torn, flips, missing]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], help="all, if none is named")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--flips", type=int, default=40, help="for each way to stop")
    parser.add_argument("--client-checks", action="store_true", help="flips: the client checks checksums, as Java's does by default")
    parser.add_argument("--cuts", type=int, default=0, help="lengths of the last batch; 0: all")
    parser.add_argument("--keep", action="store_true", help="keep the folders")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = int.from_bytes(os.urandom(3))
    print(f"seed {options.seed}\n| fault | verdict | the client got | the log said | what came back |\n|---|---|---|---|---|")
    broken = skipped = 0
    for name in options.scenarios or SCENARIOS:
        report = Report(name)
        scratch = Path(tempfile.mkdtemp(prefix=f"disk-{name}-"))
        try:
            SCENARIOS[name](report, scratch, options)
        except Skip as why:
            print(f"| {name} | SKIPPED: {why} | | | |", flush=True)
            skipped += 1
            continue
        except Exception as error:
            traceback.print_exc()
            report.broken.append(f"{type(error).__name__}: {error}"[:300])
        finally:
            if not options.keep:
                shutil.rmtree(scratch, ignore_errors=True)
        report.print()
        broken += bool(report.broken)
    return 1 if broken or (skipped and os.environ.get(REQUIRED)) else 0


if __name__ == "__main__":
    sys.exit(main())
