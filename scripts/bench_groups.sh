#!/usr/bin/env bash
# Groups, transactions and compaction: ChronosDB beside Apache Kafka on this machine, one after the other, in rounds.
#   scripts/bench_groups.sh               all measures
#   scripts/bench_groups.sh MEASURE...    some: join commit commit-ack txn load compact
#   scripts/bench_groups.sh table FILE    the table of an earlier run
# ROUNDS (3), SCALE (1; 0.01 tries it out), COMPACT_GB (1; 10 for the whole measure), HEAP (1g, Kafka's), RESULTS
# (bench-groups-results.jsonl beside the build), BENCH_DIR (where data goes; /tmp), SKIP_KAFKA=1 (ours alone), CHRONOSDB_BIN and
# CHRONOSCTL_BIN (the release build). Needs Python 3, Java 17 and Maven. What a broker does not offer is skipped, and said.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
export CHRONOSDB_BIN=${CHRONOSDB_BIN:-$target/release/chronosdb} CHRONOSCTL_BIN=${CHRONOSCTL_BIN:-$target/release/chronosctl}
export RESULTS=${RESULTS:-$target/bench-groups-results.jsonl} PYTHONDONTWRITEBYTECODE=1
if [ "${1:-}" = table ]; then exec python3 scripts/bench_table.py "${2:-$RESULTS}"; fi
exec python3 scripts/bench_groups.py "$@"
