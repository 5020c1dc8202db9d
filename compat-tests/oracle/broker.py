"""The two brokers, and raw connections to them.

Why raw: a client library hides what the oracle looks for (a closed connection, a tag too many, an answer that should not come).
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import codec

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WAIT = 60.0
# In memory if possible: thousands of small topics are made, and what is asked here does not hang on the disk.
FOLDERS = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Closed(Exception):
    """The broker closed the connection instead of answering."""


class Silent(Exception):
    """The broker neither answered nor closed within the time."""


class Connection:
    """Frames over one socket."""

    def __init__(self, host: str, port: int, timeout: float = 15.0) -> None:
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, frame: bytes) -> None:
        """One frame, its length in front."""
        self.send_raw(struct.pack(">i", len(frame)) + frame)

    def send_raw(self, data: bytes) -> None:
        """Bytes as they are."""
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Closed(str(error)) from error

    def _take(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                part = self.socket.recv(count - len(data))
            except TimeoutError as error:
                raise Silent from error
            except OSError as error:
                raise Closed(str(error)) from error
            if not part:
                raise Closed(f"after {len(data)} bytes" if data else "")
            data += part
        return bytes(data)

    def receive(self) -> bytes:
        """The next frame, without its length."""
        return self._take(struct.unpack(">i", self._take(4))[0])

    def close(self) -> None:
        """Closes; never fails."""
        with contextlib.suppress(OSError):
            self.socket.close()


class Broker:
    """One broker: an address, the versions it lists, and the process if we started it."""

    def __init__(self, name: str, host: str, port: int, process: subprocess.Popen[bytes] | None = None, folder: str | None = None) -> None:
        self.name, self.host, self.port = name, host, port
        self.process, self.folder = process, folder
        self.versions: dict[str, tuple[int, int]] = {}
        self.lock = threading.Lock()
        self.shared: dict[str, Any] = {}  # what cases that only read have in common

    def connect(self, timeout: float = 15.0) -> Connection:
        """A new connection."""
        return Connection(self.host, self.port, timeout)

    def ask(self, api: str, version: int, body: dict) -> dict:
        """One question on a connection of its own, for our own housekeeping."""
        connection = self.connect()
        try:
            connection.send(codec.request(api, version, body, 1))
            return codec.response(api, version, connection.receive())[1]
        finally:
            connection.close()

    def wait_ready(self, names: dict[int, str]) -> None:
        """Until the broker answers and calls itself alive; then notes the versions that it lists."""
        end = time.monotonic() + WAIT
        while True:
            if self.process and self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended with {self.process.returncode}:\n{self._log()}")
            try:
                listed = self.ask("ApiVersions", 0, {})["ApiKeys"]
                if self.ask("Metadata", 1, {"Topics": []})["Brokers"]:
                    break
            except (OSError, Closed, Silent, codec.Malformed):
                pass
            if time.monotonic() > end:
                raise SystemExit(f"{self.name} is not ready after {WAIT:.0f} s:\n{self._log()}")
            time.sleep(0.05)
        self.versions = {names[k["ApiKey"]]: (k["MinVersion"], k["MaxVersion"]) for k in listed if k["ApiKey"] in names}

    def _log(self) -> str:
        """The end of what it wrote, since its folder goes away."""
        return Path(self.folder, "log").read_text(errors="replace")[-2000:] if self.folder else ""

    def stop(self) -> None:
        """Ends what we started, and removes its folder."""
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def _free_pair() -> int:
    """A port that is free together with the next one, which Kafka's controller takes. Below the range from which the system gives
    ports away: Kafka binds seconds later, and until then nobody else may be given them."""
    while True:
        port = random.randrange(20_000, 32_000, 2)
        with socket.socket() as first, socket.socket() as second, contextlib.suppress(OSError):
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 1))
            return port


def start_kafka(settings: dict[str, str]) -> Broker:
    """A real Kafka, by `peers/kafka-peer`, which becomes the Java process itself (exec)."""
    folder, port = tempfile.mkdtemp(prefix="oracle-kafka-", dir=FOLDERS), _free_pair()
    command = ["nice", "-n", "5", str(ROOT / "compat-tests/peers/kafka-peer"), "start", f"{folder}/d", str(port), "512m"]
    command += [f"{k}={v}" for k, v in settings.items()]
    with open(f"{folder}/log", "wb") as log:
        # The compiler that starts quickly: a run is over before the other one has paid for itself.
        env = {**os.environ, "JAVA_TOOL_OPTIONS": "-XX:TieredStopAtLevel=1"}
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=env)
    return Broker("kafka", "127.0.0.1", port, process, folder)


def start_chronos(settings: dict[str, str]) -> Broker:
    """ChronosDB, from `CHRONOSDB_BIN` or the debug build; it names its port in its ready line."""
    binary = os.environ.get("CHRONOSDB_BIN", str(ROOT / "target/debug/chronosdb"))
    folder = tempfile.mkdtemp(prefix="oracle-chronos-", dir=FOLDERS)
    command = ["nice", "-n", "5", binary, "--data-dir", f"{folder}/d", "--listen", "127.0.0.1:0", "--http-listen", "127.0.0.1:0", "--grpc-listen", "127.0.0.1:0"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    with open(f"{folder}/log", "wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, start_new_session=True)
    lines: queue.Queue[bytes] = queue.Queue()

    def pump() -> None:
        assert process.stdout
        for line in process.stdout:
            lines.put(line)

    threading.Thread(target=pump, daemon=True).start()
    end = time.monotonic() + WAIT
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=0.1).decode()
            if line.startswith("ready "):
                host, port = line.split("kafka=")[1].split()[0].rsplit(":", 1)
                return Broker("chronos", host, int(port), process, folder)
    process.kill()
    raise SystemExit(f"chronosdb does not come up; see {folder}/log")


def at(name: str, address: str) -> Broker:
    """A broker that somebody else runs."""
    host, port = address.rsplit(":", 1)
    return Broker(name, host, int(port))
