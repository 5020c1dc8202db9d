"""What the fault drivers share: a broker process, a file system of its own on a loop device, clients, and a table of outcomes.

The binary is CHRONOSDB_BIN, or /tmp/bin/chronosdb, or target/debug/chronosdb of this repository.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

VENV = Path.home() / ".cache/chronosdb/clients/python/bin/python"
try:
    import confluent_kafka
except ImportError:
    if not VENV.exists() or os.environ.get("CHRONOS_FAULTS_IN_VENV"):
        sys.exit("confluent-kafka is missing: pip install confluent-kafka==2.16.1")
    os.environ["CHRONOS_FAULTS_IN_VENV"] = "1"
    os.execv(VENV, [str(VENV), *sys.argv])

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition  # noqa: E402
from confluent_kafka.admin import (  # noqa: E402, F401
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

# Told to end: mounts and brokers are cleaned up as after an exception.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

REPOSITORY = Path(__file__).resolve().parents[2]
READY_S = 30
# Set in CI: there, what a test needs must be there.
REQUIRED = "CHRONOS_FAULTS_REQUIRED"


def now_ms():
    return time.time_ns() // 1_000_000


def skip(why):
    """Ends the program: success, unless the tests are required to run here."""
    print(f"SKIPPED: {why}")
    sys.exit(1 if os.environ.get(REQUIRED) else 0)


def crc(value):
    return zlib.crc32(value or b"")


def binary():
    named = os.environ.get("CHRONOSDB_BIN")
    for path in [named] if named else [REPOSITORY / "target/debug/chronosdb"]:
        if Path(path).exists():
            return str(path)
    sys.exit("no chronosdb: set CHRONOSDB_BIN")


def wait_until(what, condition, seconds=10, pause=0.02):
    """The first true answer of `condition`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s: {what}")
        time.sleep(pause)
    return answer


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class DidNotStart(Exception):
    pass


class Broker:
    """A chronosdb process on fixed ports; its log lies outside its data."""

    def __init__(self, data, log, settings=(), wrapper=()):
        self.data, self.log_path = Path(data), Path(log)
        self.settings, self.wrapper = list(settings), list(wrapper)
        self.port, self.http_port = free_port(), free_port()
        self.kafka = f"127.0.0.1:{self.port}"
        self.process = None

    def launch(self):
        """Starts it and waits for nothing."""
        command = [*self.wrapper, binary(), "--data-dir", str(self.data), "--listen", self.kafka]
        command += ["--http-listen", f"127.0.0.1:{self.http_port}"]
        command += ["--grpc-listen", "127.0.0.1:0"]
        for setting in self.settings:
            command += ["--set", setting]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, process_group=0
            )
        return self

    def start(self):
        self.launch()
        timer = threading.Timer(READY_S, self.process.kill)
        timer.start()
        line = self.process.stdout.readline().decode()
        timer.cancel()
        if not line.startswith("ready "):
            status = self.process.wait()
            raise DidNotStart(f"status {status}, said {line!r}\n{self.log_tail()}")
        return self

    @property
    def pid(self):
        """The broker itself, not what wraps it."""
        if not self.wrapper:
            return self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        if self.running():
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process:
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def stop(self, seconds=20):
        """SIGTERM; the exit status."""
        os.kill(self.pid, signal.SIGTERM)
        status = self.process.wait(seconds)
        self.process.stdout.close()
        self.process = None
        return status

    def freeze(self):
        """SIGSTOP, and wait until every thread stands still."""
        pid = self.pid
        os.kill(pid, signal.SIGSTOP)

        def stands():
            for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
                if stat.read_text().rpartition(")")[2].split()[0] not in "TZ":
                    return False
            return True

        wait_until("every thread is stopped", stands, pause=0.001)

    def rss(self):
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096

    def log(self):
        text = self.log_path.read_bytes().decode(errors="replace") if self.log_path.exists() else ""
        return re.sub(r"\x1b\[[0-9;]*m", "", text)

    def log_tail(self, lines=12):
        return "\n".join(self.log().splitlines()[-lines:])

    def log_since(self, mark, pattern="WARN|ERROR|panic"):
        """Lines behind the first `mark` characters that match."""
        return [line for line in self.log()[mark:].splitlines() if re.search(pattern, line)]

    def partition_dir(self, topic, partition=0):
        return self.data / "1/partitions" / f"{topic}-{partition}"


class Process:
    """A command in a process group of its own, that can be killed and started again."""

    def __init__(self, name, command, log):
        self.name, self.command, self.log = name, command, Path(log)
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0)

    def kill(self):
        """Whether it was still there."""
        there = self.process is not None and self.process.poll() is None
        if there:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait()
        return there

    def tail(self, lines=15):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def own_broker(data):
    """The command that starts our broker on a port of its own, and its address: for drivers that can as well be given another."""
    kafka = f"127.0.0.1:{free_port()}"
    command = [binary(), "--data-dir", str(data), "--listen", kafka, "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]
    return [*command, "--set", "group.initial.rebalance.delay.ms=0"], kafka


class Volume:
    """An ext4 file system in a sparse file, on a loop device. Detached whatever happens, if used as a context."""

    IOC_SHUTDOWN, NO_LOG_FLUSH = 0x8004587D, 2

    def __init__(self, scratch, mib=512, label="volume"):
        self.image, self.path = Path(scratch) / f"{label}.img", Path(scratch) / label
        self.mib, self.loop = mib, None

    @staticmethod
    def missing():
        """What this machine lacks for it, or None."""
        if os.geteuid() != 0:
            return "root, for mounts on loop devices"
        for tool in ["mkfs.ext4", "losetup", "mount", "umount"]:
            if not shutil.which(tool):
                return tool
        try:
            with tempfile.TemporaryDirectory() as scratch, Volume(scratch, 16):
                return None
        except (OSError, subprocess.CalledProcessError) as error:
            return f"mounts on loop devices: {error}"

    def __enter__(self):
        self.path.mkdir()
        with open(self.image, "wb") as f:
            f.truncate(self.mib << 20)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)
        self.loop = run("losetup", "--find", "--show", self.image).strip()
        try:
            self.mount()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if os.path.ismount(self.path):
            subprocess.run(["umount", self.path], check=False, capture_output=True)
        if os.path.ismount(self.path):
            subprocess.run(["umount", "-l", self.path], check=False)
        if self.loop:
            subprocess.run(["losetup", "--detach", self.loop], check=False)
        self.image.unlink(missing_ok=True)

    def mount(self):
        run("mount", "-t", "ext4", self.loop, self.path)

    def unmount(self):
        # A process that was killed a moment ago may still hold files.
        wait_until("unmounted", lambda: subprocess.run(["umount", self.path], capture_output=True).returncode == 0)

    def power_off(self):
        """From here on nothing reaches the disk, not even the journal."""
        import fcntl

        fd = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, self.IOC_SHUTDOWN, self.NO_LOG_FLUSH.to_bytes(4, sys.byteorder))
        finally:
            os.close(fd)

    def lose_power(self, broker):
        """Freezes the broker first: a shutdown beside a running fdatasync lets it return success falsely."""
        broker.freeze()
        self.power_off()
        broker.kill()
        self.unmount()
        self.mount()

    def fill(self, leave=0):
        """Takes what is left with one file, and returns the file."""
        ballast = self.path / "ballast"
        with open(ballast, "ab") as f:
            for size in [64 << 20, 8 << 20, 1 << 20, 64 << 10, 4096]:
                try:
                    while True:
                        os.posix_fallocate(f.fileno(), f.tell(), size)
                        f.seek(0, os.SEEK_END)
                except OSError:
                    f.seek(0, os.SEEK_END)
        if leave:
            os.truncate(ballast, ballast.stat().st_size - leave)
        os.sync()
        return ballast


def run(*command):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout


QUIET = {"log_level": 0, "error_cb": lambda _: None}
QUICK = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 100, "topic.metadata.refresh.fast.interval.ms": 20}


def producer(kafka, **settings):
    base = {"bootstrap.servers": kafka, "enable.idempotence": True, "linger.ms": 2, "retry.backoff.ms": 20, "retry.backoff.max.ms": 100}
    return Producer({**base, "topic.metadata.refresh.interval.ms": 1000, **QUICK, **QUIET, **settings})


def consumer(kafka, **settings):
    base = {"bootstrap.servers": kafka, "group.id": "unused", "enable.auto.commit": False, "check.crcs": True}
    base |= {"enable.partition.eof": True, "auto.offset.reset": "error", "fetch.wait.max.ms": 20}
    return Consumer({**base, "fetch.error.backoff.ms": 20, **QUICK, **QUIET, **settings})


def admin(kafka):
    return AdminClient({"bootstrap.servers": kafka, **QUICK, **QUIET})


def answers(bootstrap, seconds=READY_S):
    """Waits until a broker answers."""

    def asked():
        try:
            return admin(bootstrap).list_topics(timeout=2)
        except Exception:
            return None

    wait_until("the broker answers", asked, seconds, 0.1)


def create_topic(kafka, topic, partitions=1, config=None):
    a = admin(kafka)
    a.create_topics([NewTopic(topic, partitions, 1, config=config or {})])[topic].result(10)


def send_all(kafka, topic, values, partition=0, timeout_s=10, headers=None, **settings):
    """Produces; per value the offset, or the error's name."""
    p = producer(kafka, **{"message.timeout.ms": int(timeout_s * 1000), **settings})
    answers = [None] * len(values)

    def answered(index):
        def callback(error, message):
            answers[index] = message.offset() if error is None else error.name()

        return callback

    for index, value in enumerate(values):
        p.produce(topic, value, partition=partition, headers=headers, on_delivery=answered(index))
        p.poll(0)
    p.flush(timeout_s + 5)
    return answers


def read_from(kafka, starts, seconds=10, **settings):
    """Reads [(topic, partition, offset)] to the end: {(partition, offset): message}; errors other than the end are raised."""
    c = consumer(kafka, **settings)
    try:
        return drain(c, starts, seconds)
    finally:
        c.close()


class ReadFailed(Exception):
    def __init__(self, error, found):
        super().__init__(str(error))
        self.error, self.found = error, found


RETRIED = {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE}


def drain(c, starts, seconds=10):
    """As `read_from`, with a consumer that is there."""
    c.assign([TopicPartition(t, p, o) for t, p, o in starts])
    found, open_ends = {}, {p for _, p, _ in starts}
    deadline = time.monotonic() + seconds
    while open_ends:
        if time.monotonic() > deadline:
            raise ReadFailed(f"no end within {seconds} s of partitions {sorted(open_ends)}", found)
        for message in c.consume(5_000, 0.05):
            error = message.error()
            if error is None:
                found[message.partition(), message.offset()] = message
            elif error.code() == KafkaError._PARTITION_EOF:
                open_ends.discard(message.partition())
            elif error.code() not in RETRIED:
                raise ReadFailed(error, found)
    return found


def read_all(kafka, topic, partitions=(0,), seconds=10, **settings):
    # Looking the beginning up costs librdkafka half a second; no topic here begins elsewhere.
    return read_from(kafka, [(topic, p, 0) for p in partitions], seconds, **settings)


def header(message, name):
    values = [v for k, v in message.headers() or [] if k == name]
    return values[-1].decode() if values else None
