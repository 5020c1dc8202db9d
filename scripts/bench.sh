#!/usr/bin/env bash
# ChronosDB beside Apache Kafka on this machine, one after the other, in rounds; docs/benchmarks.md says what each measure means.
#   scripts/bench.sh               all measures
#   scripts/bench.sh MEASURE...    some: produce-os consume small single produce-ack e2e schedule memory restart many
#   scripts/bench.sh table FILE    the table of an earlier run
# ROUNDS (3), SCALE (1; 0.01 tries it out), GB (10; for memory and restart), WARM_MB (3000, of either broker), HEAP (1g, Kafka's),
# RESULTS (bench-results.jsonl beside the build), BENCH_DIR (where data goes; /tmp), SKIP_KAFKA=1 (ours alone),
# CHRONOSDB_BIN and CHRONOSCTL_BIN (the release build). Needs Python 3, Java 17 and Maven.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-target}
export CHRONOSDB_BIN=${CHRONOSDB_BIN:-$target/release/chronosdb} CHRONOSCTL_BIN=${CHRONOSCTL_BIN:-$target/release/chronosctl}
export RESULTS=${RESULTS:-$target/bench-results.jsonl} PYTHONDONTWRITEBYTECODE=1
if [ "${1:-}" = table ]; then exec python3 scripts/bench_table.py "${2:-$RESULTS}"; fi
exec python3 scripts/bench.py "$@"
