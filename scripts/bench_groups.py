"""Group coordinators, transactions and compaction: ChronosDB and Apache Kafka in turn. Called by bench_groups.sh, which has the words.

The load is `chronosctl bench groups`, `bench txn` and `bench produce`.
"""

import os
import pathlib
import re
import statistics
import subprocess
import time

import bench
from bench import SCALE, say, scaled, settle
from bench_brokers import KAFKA_PEER, Failed, Kafka

COMPACT_GB = float(os.environ.get("COMPACT_GB", "1")) * min(1.0, SCALE * 10)
MEMBERS = 100
# 10,000 groups with 100 offsets each are a million.
LOAD_OFFSETS = 100
MISSING = "does not offer"
LOADED = {"ours": re.compile(r"coordinator loaded.*records=(\d+) took_ms=(\d+)"),
          "peer": re.compile(r"Finished loading of metadata from __consumer_offsets-\d+.* in (\d+) ?ms .*Loaded (\d+) records")}
LOG_OF_LOADING = "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.coordinator.common.runtime.CoordinatorRuntime=info"


def offered(broker, *words, **options):
    """A benchmark's result; None, and a line that says so, where the broker does not know what it needs."""
    try:
        return broker.bench(*words, **options)
    except Failed as error:
        if MISSING not in str(error):
            raise
        say(f"  SKIPPED: {broker.name} {re.search(MISSING + '.*', str(error)).group(0)[:80]}")
        return None


def session_join(broker, _wanted):
    """A hundred members at once; the first rounds compile Kafka's code."""
    for protocol in ("classic", "consumer"):
        words = ("groups join", "--protocol", protocol, "-m", str(MEMBERS), "-p", str(MEMBERS))
        if offered(broker, *words, topic="join", rounds=scaled(10, 2)) is None:
            continue
        run = broker.bench(*words, topic="join", rounds=scaled(20, 3))
        yield f"join_{protocol}", statistics.median(run["stable_ms"]), run
        yield f"join_{protocol}_cpu", run["broker_cpu_seconds"] / len(run["stable_ms"]), run


def commits(broker, suffix, commits):
    """Of one group, and of a thousand, eight connections with four commits on their way each."""
    # Kafka's code is compiled by then.
    broker.bench("groups commit", commits=scaled(60_000, 100), groups=100)
    for name, groups in (("one", 1), ("many", 1_000)):
        run = broker.bench("groups commit", commits=commits, groups=groups)
        yield f"commit_{name}{suffix}", run["per_second"], run
        yield f"commit_{name}_cpu{suffix}", run["cpu_seconds_per_100k"], run
        yield f"commit_{name}_p99{suffix}", run["p99_us"], run
        settle()


def session_commit(broker, _wanted):
    """Acked before the disk has it: Kafka's default."""
    yield from commits(broker, "", scaled(200_000, 200))


def session_commit_ack(broker, _wanted):
    """Each commit synced before its ack."""
    yield from commits(broker, "_ack", scaled(40_000, 100))


def session_txn(broker, _wanted):
    """Ten records over four partitions."""
    if offered(broker, "txn", topic="txn", partitions=4, transactions=scaled(10_000, 20)) is None:
        return
    run = broker.bench("txn", topic="txn", partitions=4, transactions=scaled(20_000, 40))
    yield "txn_rate", run["per_second"], run
    yield "txn_commit_p99", run["commit"]["p99_us"], run
    yield "txn_p99", run["transaction"]["p99_us"], run
    yield "txn_cpu", run["cpu_seconds_per_100k"] / 100, run


def session_load(broker, _wanted):
    """A million committed offsets, then kill -9, and the time until they can be fetched."""
    groups = scaled(10_000, 50)
    broker.bench("groups commit", groups=groups, commits=groups, offsets=LOAD_OFFSETS, partitions=LOAD_OFFSETS)
    settle()
    broker.kill()
    log = broker.folder / "log"
    before = log.stat().st_size
    if isinstance(broker, Kafka):
        os.environ["JAVA_TOOL_OPTIONS"] = LOG_OF_LOADING
    started = time.monotonic()
    broker.spawn()
    os.environ.pop("JAVA_TOOL_OPTIONS", None)
    run = broker.bench("groups ready", groups=groups)
    yield "load_ready", time.monotonic() - started, run
    yield "load_cpu", broker.cpu_seconds(), run
    # The last line may come a little later than the last answer.
    time.sleep(1)
    said = log.read_bytes()[before:].decode(errors="replace")
    found = LOADED["peer" if isinstance(broker, Kafka) else "ours"].findall(said)
    took = [int(ms) for ms, _ in found] if isinstance(broker, Kafka) else [int(ms) for _, ms in found]
    if took:
        yield "load_work", sum(took) / 1e3, run


def session_compact(broker, _wanted):
    """A topic that is not compacted while it is written, then is."""
    topic, hour = "compact", 3_600_000
    broker.ctl("topic", "create", topic, "-p", "1", "-c", "cleanup.policy=compact", "-c", f"segment.bytes={64 << 20}",
               "-c", "min.cleanable.dirty.ratio=0.01", "-c", f"min.compaction.lag.ms={hour}")
    size, keys = 200, scaled(1_000_000, 10_000)
    records = int(COMPACT_GB * 1e9 / (size + 22))
    broker.bench("produce", topic=topic, records=records, size=size, keys=keys)
    settle(5)
    before = log_bytes(broker, topic)
    idle = idle_cpu(broker)
    cpu, started, rss = broker.cpu_seconds(), time.monotonic(), broker.rss_bytes()
    alter(broker, topic, "min.compaction.lag.ms=0")
    peak, last, changed = rss, before, time.monotonic()
    looked, used = started, cpu
    # Done when files and CPU have been quiet for six seconds: a pass may read for long before files change.
    while time.monotonic() < changed + 6 or last > before * 0.7:
        if time.monotonic() > started + 600 * max(1, COMPACT_GB):
            raise Failed(f"{broker.name} compacted {before / 1e6:.0f} MB to {last / 1e6:.0f} MB only")
        time.sleep(0.1)
        peak = max(peak, broker.rss_bytes())
        now = log_bytes(broker, topic)
        if now != last:
            last, changed = now, time.monotonic()
        if time.monotonic() > looked + 1:
            rate = (broker.cpu_seconds() - used) / (time.monotonic() - looked)
            looked, used = time.monotonic(), broker.cpu_seconds()
            if rate > idle + 0.1:
                changed = looked
    cpu = broker.cpu_seconds() - cpu - idle * (time.monotonic() - started)
    run = {"records": records, "keys": keys, "bytes_before": before, "bytes_after": last, "seconds": changed - started}
    yield "compact_cpu", cpu, run
    yield "compact_peak", peak, run
    yield "compact_growth", max(0, peak - rss), run


def log_bytes(broker, topic):
    """Of segments; Kafka keeps those that are gone for a minute under another name."""
    total = 0
    for path in pathlib.Path(broker.folder).glob(f"**/{topic}-0/**/*.log"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:
            pass
    return total


def idle_cpu(broker):
    """CPU seconds a second."""
    before = broker.cpu_seconds()
    time.sleep(5)
    return (broker.cpu_seconds() - before) / 5


def alter(broker, topic, setting):
    """By Kafka's own tool, which either broker understands."""
    words = [str(KAFKA_PEER), "run", "kafka.admin.ConfigCommand", "--bootstrap-server", broker.address, "--alter"]
    words += ["--entity-type", "topics", "--entity-name", topic, "--add-config", setting]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise Failed(f"{setting} of {topic}: {(done.stderr or done.stdout)[-300:]}")


GROUPS = ["offsets.topic.num.partitions=50", "group.initial.rebalance.delay.ms=0"]
OS, ACK = ["flush.policy=os"], ["flush.policy=ack"]
CLEANER = ["log.cleaner.backoff.ms=1000"]
# A new assignment a second at most: Kafka 4.3 has such a setting, for the consumer protocol.
AT_ONCE = ["group.consumer.assignment.interval.ms=0"]

# Session: its measures, ChronosDB's settings, Kafka's settings.
bench.SESSIONS = {
    session_join: ({"join"}, GROUPS + OS, GROUPS + AT_ONCE),
    session_commit: ({"commit"}, GROUPS + OS, GROUPS),
    session_commit_ack: ({"commit-ack"}, GROUPS + ACK, GROUPS + ["log.flush.interval.messages=1"]),
    session_txn: ({"txn"}, GROUPS + OS, GROUPS),
    session_load: ({"load"}, GROUPS + OS, GROUPS),
    session_compact: ({"compact"}, OS + CLEANER, CLEANER),
}
bench.MEASURES = set().union(*(session[0] for session in bench.SESSIONS.values()))

if __name__ == "__main__":
    bench.main()
