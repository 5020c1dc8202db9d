"""The brokers under test: ChronosDB and Apache Kafka, each with its own ports and folder, ended by process id only."""

import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "compat-tests/oracle"))
from batch import Record, batch  # noqa: E402: the path comes first

KAFKA_PEER = ROOT / "compat-tests/peers/kafka-peer"
START_SECONDS = 120


def free_port():
    """A port below the ephemeral ones whose neighbour is free as well (Kafka's controller takes it)."""
    first = 20000 + os.getpid() % 5000
    for port in range(first, 32000, 2):
        try:
            for p in (port, port + 1):
                with socket.socket() as s:
                    s.bind(("127.0.0.1", p))
            return port
        except OSError:
            continue
    raise RuntimeError("no free port")


def produce_request(topic):
    """A frame with Produce version 7, acks all: one record to partition 0."""
    name = topic.encode()
    records = batch([Record()], timestamp=int(time.time() * 1000))
    body = struct.pack(">hhih", 0, 7, 1, -1) + struct.pack(">hhi", -1, -1, 30_000)
    body += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iii", 1, 0, len(records)) + records
    return struct.pack(">i", len(body)) + body


class Failed(Exception):
    """A run that gave no figures; the others go on."""


class Broker:
    """A broker of one node with a folder of its own."""

    name = ""

    def __init__(self, folder, settings):
        self.folder = pathlib.Path(folder)
        self.settings = settings
        self.port = free_port()
        self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self):
        return self.process.pid

    def command(self):
        raise NotImplementedError

    def spawn(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def start(self):
        """Started, and it answers."""
        self.spawn()
        self.wait_for(lambda: self.ctl("topic", "list") is not None, 0.1)

    def wait_for(self, ready, pause):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            if self.accepts() and ready():
                return
            time.sleep(pause)
        tail = (self.folder / "log").read_text(errors="replace")[-2000:]
        raise Failed(f"{self.name} did not start:\n{tail}")

    def accepts(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def seconds_to_first_ack(self, topic):
        """From the start of the process to the ack of a record in a topic that is there."""
        request = produce_request(topic)
        started = time.monotonic()
        self.spawn()
        self.wait_for(lambda: self.acks(request), 0.002)
        return time.monotonic() - started

    def acks(self, request):
        """Whether a produce request is answered without an error: a client of its own costs longer than a start takes."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 10) as client:
                client.sendall(request)
                answer = client.recv(4096)
        except OSError:
            return False
        # Length, correlation id, one topic, its name, one partition, its index, then the error.
        at = 4 + 4 + 4 + 2 + struct.unpack_from(">h", answer, 12)[0] + 4 + 4 if len(answer) > 14 else 0
        return at > 0 and struct.unpack_from(">h", answer, at)[0] == 0

    def kill(self):
        """kill -9."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def stop(self):
        """SIGTERM, and wait."""
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()

    def ctl(self, *args):
        """chronosctl; what it printed, or None where it failed."""
        done = subprocess.run(
            [os.environ["CHRONOSCTL_BIN"], "-b", self.address, "-o", "json", *args],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
        )
        return done.stdout if done.returncode == 0 else None

    def bench(self, what, *args, **options):
        """chronosctl bench, of one word or two; its result. Options of None are left out, underscores are dashes."""
        words = [os.environ["CHRONOSCTL_BIN"], "-b", self.address, "-o", "json", "bench", *what.split()]
        words += ["--broker-pid", str(self.pid), *args]
        for key, value in options.items():
            if value is not None:
                words += ["--" + key.replace("_", "-"), str(value)]
        people = sys.stderr.isatty()
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=None if people else subprocess.PIPE, text=True, timeout=3600,
        )
        if done.returncode != 0:
            said = (done.stderr or "").strip() or done.stdout.strip()
            raise Failed(f"bench {what} {' '.join(words[8:])}: {said[:800]}")
        return json.loads(done.stdout)

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self):
        for line in pathlib.Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise Failed(f"{self.name} has no memory")


class Chronos(Broker):
    """The release build of this repository."""

    name = "ChronosDB"

    def command(self):
        words = [os.environ["CHRONOSDB_BIN"], "--data-dir", str(self.folder / "data")]
        words += ["--listen", self.address, "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]
        for setting in self.settings:
            words += ["--set", setting]
        return words

    @property
    def admin(self):
        """Where the gRPC admin API is, as the node said when it was ready."""
        return re.findall(r"^ready .*grpc=(\S+)", (self.folder / "log").read_text(), re.MULTILINE)[-1]


class Kafka(Broker):
    """Apache Kafka 4.3.1, KRaft, its own defaults."""

    name = "Kafka"

    def command(self):
        heap = os.environ.get("HEAP", "1g")
        return [str(KAFKA_PEER), "start", str(self.folder), str(self.port), heap, *self.settings]
