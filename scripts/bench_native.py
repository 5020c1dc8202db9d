"""Message ids and replay on a live node. Called by bench_native.sh.

Message ids: the produce rate of 1 KB records with an id each beside that of the same records with another header of that size, while
the window has IDS_M million ids. Replay: a topic of GB gigabytes; the first record of a minute in its middle, what a stream costs
beside a consumer, and what producers notice of 64 streams.
"""

import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

from bench_brokers import Chronos

SCALE = float(os.environ.get("SCALE", "1"))
IDS_M = float(os.environ.get("IDS_M", "100"))
GB = float(os.environ.get("GB", "20"))
ROUNDS = int(os.environ.get("ROUNDS", "3"))
STREAMS = 64
OTHER = ("-H", "another-message-id=0123456789abcdef0123456789abcdef")


class Node(Chronos):
    """One whose admin API is called, too."""

    def admin_words(self, *args):
        return [os.environ["CHRONOSCTL_BIN"], "-b", self.address, "--admin", self.admin, "-o", "json", *args]

    def admin_ctl(self, *args):
        return subprocess.run(self.admin_words(*args), capture_output=True, text=True, check=True, timeout=600).stdout

    def replay(self, *args):
        return json.loads(self.admin_ctl("bench", "replay", "-t", "much", "--broker-pid", str(self.pid), *args))

    def streams(self, count):
        # Those who read are on this machine, too, and are not what is measured.
        words = ["nice", "-n", "19", *self.admin_words("bench", "replay", "-t", "much", "--streams", str(count))]
        return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def say(text):
    print(time.strftime("%H:%M:%S"), text, flush=True)


def rss_mb(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1e3


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    say(f"{platform.platform()}, {os.cpu_count()} cores of {model}")


def ids(folder):
    with Node(folder, ["flush.policy=os"]) as broker:
        begun = time.time()
        if IDS_M:
            broker.bench("produce", "--message-ids", "--sample-every", "1000", "-p", "4", topic="window", records=int(IDS_M * 1e6), size=10)
        say(f"{IDS_M:g} million ids taken in {time.time() - begun:.0f} s, RSS {rss_mb(broker.pid):.0f} MB")
        ratios, peak = {"os": [], "ack": []}, 0
        for turn in range(ROUNDS):
            for policy in ratios:
                runs = {}
                for kind, extra in (("other", OTHER), ("ids", ("--message-ids",))):
                    topic = f"{kind}-{policy}-{turn}"
                    runs[kind] = broker.bench("produce", *extra, "-p", "4", "--topic-config", f"flush.policy={policy}",
                                              topic=topic, records=int(1_000_000 * SCALE), size=1024)
                    broker.ctl("topic", "delete", topic)
                rate = {kind: run["megabytes_per_second"] for kind, run in runs.items()}
                cpu = {kind: run["cpu_seconds_per_million_records"] for kind, run in runs.items()}
                peak = max(peak, runs["ids"]["rss_peak_bytes"] / 1e6)
                ratios[policy].append(rate["ids"] / rate["other"])
                say(f"  {policy}: {rate['ids']:.0f} MB/s with ids, {rate['other']:.0f} without; {cpu['ids']:.2f} and {cpu['other']:.2f}"
                    f" CPU-s per million")
        for policy, found in ratios.items():
            say(f"rate with ids, flush.policy={policy}: {statistics.median(found):.2f} of that without (goal 0.70), RSS at most {peak:.0f} MB (goal 300)")
        broker.kill()
        seconds = broker.seconds_to_first_ack("window")
        say(f"kill -9 to the first ack with that window: {seconds * 1e3:.0f} ms")
        begun = time.time()
        while not json.loads(broker.admin_ctl("dedup", "stats").splitlines()[-1])["filter_ready"]:
            time.sleep(0.5)
        say(f"its filter is made after {time.time() - begun:.0f} s, in the background; RSS {rss_mb(broker.pid):.0f} MB")


def replay(folder):
    with Node(folder, ["flush.policy=os"]) as broker:
        records = int(GB * 1e9 / 1024)
        begun = time.time()
        broker.bench("produce", "--sample-every", "1000", "-p", "4", topic="much", records=records, size=1024)
        ended = time.time()
        say(f"{GB:g} GB written in {ended - begun:.0f} s")
        middle = (begun + ended) / 2
        minute = ("--from", str(int((middle - 30) * 1e3)), "--to", str(int((middle + 30) * 1e3)))
        firsts = []
        for _ in range(7):
            run = broker.replay(*minute, "-n", "1")
            firsts.append(run["first_record_ms"])
        say(f"a minute of {GB:g} GB: first record after {statistics.median(firsts):.1f} ms ({min(firsts):.1f} to {max(firsts):.1f}; goal 20)")
        some = str(int(min(records, 4_000_000 * SCALE)))
        consumed = broker.bench("consume", "-n", some, topic="much")
        streamed = broker.replay("-n", some)
        ours, theirs = streamed["cpu_seconds_per_gb"], consumed["cpu_seconds_per_gb"]
        say(f"stream: {ours:.2f} CPU-s of the node per GB beside {theirs:.2f} of a consumer ({ours / theirs:.1f} times; goal 2),"
            f" {streamed['megabytes_per_second']:.0f} MB/s beside {consumed['megabytes_per_second']:.0f}")
        both = [run["cpu_seconds_per_gb"] + run["client_cpu_seconds"] * 1e9 / run["value_bytes_total"] for run in (streamed, consumed)]
        say(f"stream, node and client: {both[0]:.2f} CPU-s per GB beside {both[1]:.2f} ({both[0] / both[1]:.1f} times)")
        p99 = {}
        for kind in ("alone", "beside"):
            streams = broker.streams(STREAMS) if kind == "beside" else None
            run = broker.bench("produce", "--rate", "5000", "-s", "10", "-p", "4", "--linger-ms", "0", topic=f"p99-{kind}", size=512)
            p99[kind] = run["p99_us"] / 1e3
            if streams:
                streams.kill()
                streams.wait()
        say(f"produce p99 at 5,000/s: {p99['alone']:.1f} ms alone, {p99['beside']:.1f} beside {STREAMS} streams"
            f" ({p99['beside'] / p99['alone']:.1f} times; goal 2)")


def main():
    machine()
    wanted = sys.argv[1:] or ["ids", "replay"]
    for name in wanted:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
            {"ids": ids, "replay": replay}[name](pathlib.Path(folder))


main()
