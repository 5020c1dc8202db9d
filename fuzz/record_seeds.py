#!/usr/bin/env python3
"""Seeds of real clients for the fuzz targets: record_seeds.py [CLIENT]...

Runs the clients' suites through a proxy against a node, and keeps one request of each client, API and version in seeds/request, some with
their length in seeds/frame, and batches as they came to lie in the log in seeds/batch. CHRONOSDB_BIN names the node's binary.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "compat-tests/faults"))

from common import Broker  # noqa: E402
from recorder import Recorder  # noqa: E402

SEED_MAX = 4_096
CLIENTS = ["confluent-kafka", "kafka-python", "aiokafka", "kcat", "kafka-clients", "franz-go", "sarama", "kafkajs"]


def batches(folder):
    """Of all segments; each codec and kind a few."""
    kept = {}
    for segment in sorted(folder.rglob("segments/*.log")):
        data, at = segment.read_bytes(), 64
        while at + 61 <= len(data):
            size = 12 + int.from_bytes(data[at + 8:at + 12], "big")
            attributes = int.from_bytes(data[at + 21:at + 23], "big")
            if size < 61 or at + size > len(data):
                break
            # Hidden frames and fires are our own.
            if attributes & 0x6000 == 0 and size <= SEED_MAX:
                kept.setdefault((attributes, size // 256), data[at:at + size])
            at += size
    return list(kept.values())


def main(clients):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        for client in clients:
            recorder = Recorder(0)
            settings = [f"advertised.listeners=PLAINTEXT://127.0.0.1:{recorder.port}"]
            broker = Broker(scratch / client, scratch / f"{client}.log", settings).start()
            try:
                recorder.target = broker.port
                recorder.start()
                suite = [sys.executable, "-B", str(HERE.parent / "compat-tests/suites/run.py"), f"127.0.0.1:{recorder.port}", client]
                said = subprocess.run(suite, capture_output=True, text=True, timeout=300)
                last = (said.stdout.strip().splitlines() or ["nothing said"])[-1]
            finally:
                broker.kill()
            requests = 0
            for (key, version), frames in sorted(recorder.frames.items()):
                frame = min(frames, key=len)
                if len(frame) > SEED_MAX:
                    continue
                requests += 1
                (HERE / f"seeds/request/{client}-{key}v{version}").write_bytes(frame)
                if key in (0, 18):
                    with_length = b"\x07" + len(frame).to_bytes(4, "big") + frame
                    (HERE / f"seeds/frame/{client}-{key}v{version}").write_bytes(with_length)
            found = batches(scratch / client)
            for n, batch in enumerate(found):
                (HERE / f"seeds/batch/{client}-{n}").write_bytes(batch)
            print(f"{client}: {requests} requests, {len(found)} batches; {last}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or CLIENTS)
