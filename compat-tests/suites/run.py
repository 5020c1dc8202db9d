#!/usr/bin/env python3
"""Every client's suite against a broker, and a table of what passed.

    run.py BOOTSTRAP [--only common|groups|transactions|consumer-protocol|own|PART] [CLIENT ...]

`scripts/clients.sh` makes the clients ready. Exit 1 if a scenario fails, 3 if a client named on the command line is not there.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chronosdb/clients"
PYTHON = [str(CACHE / "python/bin/python"), "-B", str(HERE / "python/suite.py")]
GO = [str(CACHE / "go/suite")]
# What it is called here: what has to be there, and the command, which the bootstrap address follows.
CLIENTS = {
    "confluent-kafka": ("python", [*PYTHON, "confluent"]),
    "kafka-python": ("python", [*PYTHON, "kafka_python"]),
    "aiokafka": ("python", [*PYTHON, "aiokafka"]),
    "kcat": ("python", [*PYTHON, "kcat"]),
    "kafkajs": ("node", [*PYTHON, "kafkajs"]),
    "kafka-clients": ("java", ["java", "-cp", f"{CACHE}/java/classes:{CACHE}/java/deps/*", "Suite"]),
    "franz-go": ("go", [*GO, "franz"]),
    "sarama": ("go", [*GO, "sarama"]),
}
OUTCOME = re.compile(r"(ok|FAIL|SKIP) ([^:]+)")


def run(client, bootstrap, only):
    """{scenario: outcome}; its lines are passed on."""
    command = [*CLIENTS[client][1], bootstrap, *([only] if only else [])]
    env = {**os.environ, "NODE_PATH": str(CACHE / "node/node_modules")}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=env, timeout=400)
    for line in done.stdout.splitlines():
        print(f"{client}: {line}", flush=True)
    if done.stderr.strip():
        print(done.stderr, file=sys.stderr)
    outcomes = {m[2]: m[1] for m in map(OUTCOME.match, done.stdout.splitlines()) if m}
    if done.returncode != 0 and "FAIL" not in outcomes.values():
        outcomes["the suite itself"] = "FAIL"
    return outcomes


def table(results):
    scenarios = list(dict.fromkeys(name for outcomes in results.values() for name in outcomes))
    print("| scenario | " + " | ".join(results) + " |")
    print("|---|" + "---|" * len(results))
    marks = {"ok": "ok", "FAIL": "FAIL", "SKIP": "-", None: ""}
    for name in scenarios:
        print(f"| {name} | " + " | ".join(marks[outcomes.get(name)] for outcomes in results.values()) + " |")
    counts = [[list(o.values()).count(kind) for kind in ("ok", "FAIL", "SKIP")] for o in results.values()]
    print("| passed | " + " | ".join(str(c[0]) for c in counts) + " |")
    passed, failed, skipped = map(sum, zip(*counts))
    print(f"{passed} passed, {failed} failed, {skipped} not possible with the client")
    return failed == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bootstrap")
    parser.add_argument("--only", default="")
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help=", ".join(CLIENTS))
    options = parser.parse_intermixed_args()
    for client in options.clients:
        if client not in CLIENTS:
            parser.error(f"no such client: {client}")
    results = {}
    for client in options.clients or CLIENTS:
        if not (CACHE / CLIENTS[client][0] / ".done").exists():
            print(f"skipped: {client} is not there: see scripts/clients.sh")
            if options.clients:
                return 3
            continue
        results[client] = run(client, options.bootstrap, options.only)
    return 0 if results and table(results) else 1


if __name__ == "__main__":
    sys.exit(main())
