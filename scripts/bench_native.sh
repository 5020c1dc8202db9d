#!/usr/bin/env bash
# Message ids and replay on this machine.
#   scripts/bench_native.sh [ids|replay]...
# IDS_M (100; millions of ids in the window), GB (20; of the topic that is replayed), ROUNDS (3), SCALE (1; 0.1 tries it out), BENCH_DIR
# (where data goes: 25 GB and more), CHRONOSDB_BIN and CHRONOSCTL_BIN (the release build). Needs Python 3.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
export CHRONOSDB_BIN=${CHRONOSDB_BIN:-$target/release/chronosdb} CHRONOSCTL_BIN=${CHRONOSCTL_BIN:-$target/release/chronosctl}
export PYTHONDONTWRITEBYTECODE=1
exec python3 scripts/bench_native.py "$@"
