#!/usr/bin/env python3
"""Many idle connections: what each costs, that a good client still works, and what comes over the limit.

    connections.py [--connections 15000] [--over 200]

The connections come from several loopback addresses; each has sent ApiVersions and read the answer, so it is a connection that the
broker serves. The broker's limit (max.connections) is --connections.

Promises: as many as the limit allows are held (a few less: the good client's count, too); one costs less than 20 KiB of the broker's
memory; a good client produces and consumes meanwhile; over the limit new ones get no answer and are closed, or wait; the old ones all
still answer; when some leave, new ones are served.
"""

import argparse
import resource
import selectors
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path

from common import Broker, consumer, create_topic, drain, producer, skip, wait_until

TOPIC = "good"
KIB_MAX = 20
# Ports of one address that are surely free.
PER_ADDRESS = 5_000
# Below the backlog of a listening socket (50): over it, a connect waits a second for its next try.
AT_ONCE = 40
# For both sides' own files.
SPARE_FILES = 600
API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 7, -1)


def opened(port, number):
    s = socket.socket()
    s.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    s.bind((f"127.0.0.{2 + number // PER_ADDRESS}", 0))
    s.settimeout(5)
    s.connect(("127.0.0.1", port))
    return s


def ask(sockets, seconds=10):
    """Sends ApiVersions on each; who answered, who was closed, who neither."""
    selector = selectors.DefaultSelector()
    answered, closed = [], []
    for s in sockets:
        try:
            s.sendall(API_VERSIONS)
            selector.register(s, selectors.EVENT_READ)
        except OSError:
            closed.append(s)
    waiting = len(sockets) - len(closed)
    deadline = time.monotonic() + seconds
    while waiting and time.monotonic() < deadline:
        for key, _ in selector.select(0.2):
            try:
                data = key.fileobj.recv(65536)
            except OSError:
                data = b""
            (answered if data else closed).append(key.fileobj)
            selector.unregister(key.fileobj)
            waiting -= 1
    selector.close()
    return answered, closed, waiting


class Good:
    """A client that was there first and stays."""

    def __init__(self, kafka):
        self.producer, self.consumer, self.n = producer(kafka, **{"message.timeout.ms": 20_000}), consumer(kafka), 0

    def works(self, what):
        errors, begun = [], time.monotonic()
        for _ in range(200):
            self.producer.produce(TOPIC, b"%d" % self.n, partition=0, on_delivery=lambda e, _: errors.append(e.name()) if e else None)
            self.n += 1
        left = self.producer.flush(20)
        found = drain(self.consumer, [(TOPIC, 0, 0)], 20)
        whole = [int(m.value()) for _, m in sorted(found.items())] == list(range(self.n))
        print(f"good client, {what}: 200 acked and {len(found)} read in {time.monotonic() - begun:.2f} s", flush=True)
        return whole and not errors and not left


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=15_000)
    parser.add_argument("--over", type=int, default=200)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = options.connections + options.over + SPARE_FILES
    if hard != resource.RLIM_INFINITY and hard < need:
        skip(f"{options.connections} connections need {need} files, ulimit -Hn is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="connections-") as scratch:
        settings = [f"max.connections={options.connections}", "connections.max.idle.ms=600000"]
        broker = Broker(Path(scratch) / "data", Path(scratch) / "log", settings).start()
        try:
            wrong = hold(broker, options)
        finally:
            broker.kill()
    print("ok" if not wrong else "FAIL: " + "; ".join(wrong))
    return 1 if wrong else 0


def hold(broker, options):
    wrong = []
    create_topic(broker.kafka, TOPIC)
    good = Good(broker.kafka)
    if not good.works("alone"):
        wrong.append("the good client does not even work alone")
    before, begun, held = broker.rss(), time.monotonic(), []
    refused = 0
    while len(held) < options.connections and not refused:
        more = [opened(broker.port, len(held) + i) for i in range(min(AT_ONCE, options.connections - len(held)))]
        answered, closed, waiting = ask(more, 5)
        held += answered
        refused = len(closed) + waiting
        for s in set(more) - set(answered):
            s.close()
    seconds = time.monotonic() - begun
    time.sleep(1)
    each = (broker.rss() - before) / len(held) / 1024
    print(f"held {len(held)} of {options.connections} in {seconds:.1f} s, {each:.1f} KiB each, broker {before >> 20} to {broker.rss() >> 20} MiB", flush=True)
    if len(held) < options.connections - 20:
        wrong.append(f"only {len(held)} are held")
    if each > KIB_MAX:
        wrong.append(f"{each:.1f} KiB each")
    if not good.works(f"beside {len(held)}"):
        wrong.append("the good client is harmed")
    extra, failed = [], 0
    for i in range(options.over):
        try:
            extra.append(opened(broker.port, len(held) + i))
        except OSError:
            failed += 1
    answered, closed, waiting = ask(extra, 2)
    print(f"{options.over} over the limit: {failed} not connected, {len(closed)} closed, {waiting} wait, {len(answered)} served", flush=True)
    # Some room is left where the last ones were refused together.
    if len(held) + len(answered) > options.connections:
        wrong.append(f"{len(held) + len(answered)} served, over a limit of {options.connections}")
    for s in extra:
        s.close()
    begun = time.monotonic()
    still, gone, silent = ask(held, 20)
    print(f"of the old ones {len(still)} answer, {len(gone)} are closed, {silent} silent ({time.monotonic() - begun:.1f} s)", flush=True)
    if gone or silent:
        wrong.append(f"{len(gone)} old ones closed, {silent} silent")
    if not good.works("after the rush"):
        wrong.append("the good client is harmed by the rush")
    for s in held[:100]:
        s.close()

    def served():
        with opened(broker.port, 0) as s:
            return bool(ask([s], 1)[0])

    try:
        wait_until("a new one is served after 100 left", served, 10, 0.2)
    except (TimeoutError, OSError) as error:
        wrong.append(f"after 100 left: {error}")
    lines = broker.log_since(0)
    print(f"log: {len(lines)} warnings" + (f", the last: {lines[-1][:160]}" if lines else ""), flush=True)
    if len(lines) > 1_000:
        wrong.append(f"{len(lines)} log lines")
    for s in held[100:]:
        s.close()
    files = Path(f"/proc/{broker.pid}/fd")
    try:
        wait_until("the connections' files are closed", lambda: len(list(files.iterdir())) < 100, 10)
    except TimeoutError:
        wrong.append(f"{len(list(files.iterdir()))} files stay open")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
