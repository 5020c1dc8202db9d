"""Runs ChronosDB and Apache Kafka one after the other, in rounds, and prints a table. Called by bench.sh, which has the words."""

import json
import os
import platform
import shutil
import socket
import struct
import sys
import tempfile
import time

import bench_table
from bench_brokers import Chronos, Failed, Kafka

ROUNDS = int(os.environ.get("ROUNDS", "3"))
SCALE = float(os.environ.get("SCALE", "1"))
GB = float(os.environ.get("GB", "10")) * SCALE
WARM_MB = float(os.environ.get("WARM_MB", "3000")) * min(1.0, SCALE * 10)
RESULTS = os.environ["RESULTS"]
KB = 1024


def scaled(number, least=1):
    return max(least, int(number * SCALE))


def say(text):
    print(time.strftime("%H:%M:%S"), text, file=sys.stderr, flush=True)


def settle(seconds=2.0):
    """What one run left to write shall not slow the next."""
    os.sync()
    time.sleep(max(0.5, seconds * min(1.0, SCALE * 5)))


def warm_up(broker):
    """Thrown away: code is compiled (Kafka's cost of a GB halves twice over its first 2 GB), files and connections are there."""
    records = max(1000, int(WARM_MB * 1e6 / KB))
    broker.bench("produce", topic="warm", records=records)
    broker.bench("consume", topic="warm")
    broker.ctl("topic", "delete", "warm")
    settle()


# A session is what one started broker is used for. Each yields (row, value, the whole result).

def session_os(broker, wanted):
    """Acked before the disk has it: Kafka's default."""
    warm_up(broker)
    if wanted & {"produce-os", "consume"}:
        run = broker.bench("produce", topic="kb", records=scaled(2_000_000), size=KB, batch_bytes=65536)
        yield "produce_os_cpu", run["cpu_seconds_per_gb"], run
        yield "produce_os_rate", run["megabytes_per_second"], run
        settle()
    if "consume" in wanted:
        run = broker.bench("consume", topic="kb")
        yield "consume_cpu", run["cpu_seconds_per_gb"], run
        yield "consume_rate", run["megabytes_per_second"], run
    if "small" in wanted:
        run = broker.bench("produce", topic="small", records=scaled(5_000_000), size=100, batch_bytes=16384)
        yield "small_cpu", run["cpu_seconds_per_million_records"], run
        settle()
    if "single" in wanted:
        run = broker.bench("produce", "--set", "batch.num.messages=1", topic="single", size=100,
                           rate=10_000, seconds=max(2, 20 * SCALE), linger_ms=0)
        yield "single_cpu", run["cpu_seconds_per_million_records"], run
    if "e2e" in wanted:
        run = e2e(broker)
        yield "e2e_os_p50", run["p50_us"], run
        yield "e2e_os_p99", run["p99_us"], run


def session_ack(broker, wanted):
    """Each batch synced before its ack."""
    warm_up(broker)
    if "produce-ack" in wanted:
        run = broker.bench("produce", topic="kb", records=scaled(500_000), size=KB, batch_bytes=65536)
        yield "produce_ack_cpu", run["cpu_seconds_per_gb"], run
        yield "produce_ack_rate", run["megabytes_per_second"], run
        settle()
    if "e2e" in wanted:
        run = e2e(broker)
        yield "e2e_ack_p99", run["p99_us"], run


def e2e(broker):
    settle()
    return broker.bench("e2e", topic="e2e", rate=20_000, seconds=max(2, 20 * SCALE), warmup_seconds=2)


def session_schedule(broker, _wanted):
    """What looking for scheduling headers in compressed batches costs: our own two rates. `peer` is off."""
    warm_up(broker)
    turn = broker.round % 2
    for codec in ("lz4", "zstd"):
        for enabled in ("true", "false") if turn else ("false", "true"):
            run = broker.bench("produce", "--topic-config", f"chronos.schedule.enable={enabled}",
                               topic=f"{codec}-{enabled}", records=scaled(1_000_000), size=KB,
                               batch_bytes=65536, codec=codec, payload="text")
            side = "ours" if enabled == "true" else "peer"
            yield f"schedule_{codec}_rate", run["megabytes_per_second"], run, side
            yield f"schedule_{codec}_cpu", run["cpu_seconds_per_gb"], run, side
            settle()


def session_big(broker, wanted):
    """Many GB through it, then kill -9."""
    free = shutil.disk_usage(broker.folder).free
    if free < GB * 1.1e9 + 5e9:
        raise Failed(f"{GB:.0f} GB and 5 spare do not fit in {broker.folder}: {free / 1e9:.0f} GB are free; set GB or BENCH_DIR")
    # The first start makes the folder: Kafka's formatting of it is no part of a start.
    broker.ctl("topic", "create", "first", "-p", "4")
    broker.stop()
    seconds = broker.seconds_to_first_ack("first")
    if "restart" in wanted:
        yield "start_empty", seconds, {}
    time.sleep(max(2, 10 * SCALE))
    if "memory" in wanted:
        yield "rss_idle", broker.rss_bytes(), {}
    run = broker.bench("produce", topic="big", records=int(GB * 1e9 / KB), size=KB, batch_bytes=65536)
    if "memory" in wanted:
        yield "rss_after", run["rss_end_bytes"], run
    if "restart" in wanted:
        broker.kill()
        yield "start_killed", broker.seconds_to_first_ack("big"), {}


def session_many(broker, _wanted):
    """What lies idle."""
    settle(5)
    before = broker.rss_bytes()
    if broker.ctl("topic", "create", "many", "-p", str(scaled(2_000, 10))) is None:
        raise Failed("the partitions were not created")
    connections = [connection(broker.port) for _ in range(scaled(1_000, 10))]
    settle(10)
    cpu = broker.cpu_seconds()
    time.sleep(10)
    cpu = broker.cpu_seconds() - cpu
    yield "many_rss", broker.rss_bytes() - before, {"connections": len(connections)}
    yield "many_cpu", cpu, {}
    for each in connections:
        each.close()


def connection(port):
    """One that has said ApiVersions (version 0), as each client does first."""
    client = socket.create_connection(("127.0.0.1", port), 10)
    client.settimeout(30)
    client.sendall(struct.pack(">ihhih", 10, 18, 0, 1, -1))
    if len(client.recv(4)) == 0:
        raise Failed("a connection was closed")
    return client


# Session: its measures, ChronosDB's settings, Kafka's settings (None: ours alone).
SESSIONS = {
    session_os: ({"produce-os", "consume", "small", "single", "e2e"}, ["flush.policy=os"], []),
    session_ack: ({"produce-ack", "e2e"}, ["flush.policy=ack"], ["log.flush.interval.messages=1"]),
    session_schedule: ({"schedule"}, ["flush.policy=os"], None),
    session_big: ({"memory", "restart"}, ["flush.policy=os"], []),
    session_many: ({"many"}, ["flush.policy=os"], []),
}
MEASURES = set().union(*(session[0] for session in SESSIONS.values()))
# Rows of a run that is made for the sake of another measure are kept out.
ROW_MEASURE = {"produce_os_cpu": "produce-os", "produce_os_rate": "produce-os"}


def run_session(session, broker_class, settings, number, wanted, folder, write):
    name, side = session.__name__.removeprefix("session_"), "ours" if broker_class is Chronos else "peer"
    say(f"round {number}: {name} of {broker_class.name}")
    try:
        broker = broker_class(os.path.join(folder, side), settings)
        broker.round = number
        with broker:
            for row, value, run, *own_side in session(broker, wanted):
                if ROW_MEASURE.get(row, "") in wanted | {""} and value is not None:
                    label, unit, factor, *_ = bench_table.ROWS[row]
                    at = own_side[0] if own_side else side
                    say(f"  {label}: {bench_table.figure(value * factor)} {unit}"
                        + (f" ({'off' if at == 'peer' else 'on'})" if own_side else ""))
                    write({"round": number, "session": name, "side": at, "row": row, "value": value, "run": run})
    except Failed as error:
        say(f"  FAILED: {error}")
        write({"round": number, "session": name, "side": side, "failed": str(error)})
    settle()


def machine():
    model = [line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")]
    return {"machine": platform.machine(), "kernel": platform.release(), "cpus": os.cpu_count(),
            "cpu": model[0] if model else None, "load": os.getloadavg(), "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "rounds": ROUNDS, "scale": SCALE, "gb": GB, "warm_mb": WARM_MB, "heap": os.environ.get("HEAP", "1g")}


def main():
    wanted = set(sys.argv[1:]) or MEASURES
    if wanted - MEASURES:
        sys.exit(f"no such measure: {' '.join(wanted - MEASURES)}; there are: {' '.join(sorted(MEASURES))}")
    for binary in ("CHRONOSDB_BIN", "CHRONOSCTL_BIN"):
        if not os.access(os.environ[binary], os.X_OK):
            sys.exit(f"{os.environ[binary]} is not there: make build, or set {binary}")
    if os.getloadavg()[0] > 1:
        say(f"the machine is not idle (load {os.getloadavg()[0]:.1f}): expect wide spreads")
    folder = tempfile.mkdtemp(prefix="chronos-bench-", dir=os.environ.get("BENCH_DIR", "/tmp"))
    lines = []
    try:
        with open(RESULTS, "w", encoding="utf-8") as results:
            def write(line):
                lines.append(line)
                results.write(json.dumps(line) + "\n")
                results.flush()

            write({"about": machine()})
            for number in range(1, ROUNDS + 1):
                for session, (measures, ours, kafkas) in SESSIONS.items():
                    if not measures & wanted:
                        continue
                    sides = [(Chronos, ours)]
                    if kafkas is not None and not os.environ.get("SKIP_KAFKA"):
                        # Who goes first changes with each round.
                        sides.insert(number % 2, (Kafka, kafkas))
                    for broker_class, settings in sides:
                        run_session(session, broker_class, settings, number, wanted, folder, write)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(bench_table.table(lines))
    say(f"all results: {RESULTS}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
