#!/usr/bin/env bash
# The same crash and fault tests as `make test`, with long rounds, against the release binary. Prints counts and seeds.
#   SEED   the first seed (default: from the clock, printed)
set -euo pipefail
export CHRONOS_SEED=${SEED:-$(date +%s)}
export CHRONOSDB_BIN="$PWD/${CARGO_TARGET_DIR:-target}/release/chronosdb"
[ -n "${CARGO_TARGET_DIR:-}" ] && export CHRONOSDB_BIN="$CARGO_TARGET_DIR/release/chronosdb"
echo "seed $CHRONOS_SEED"
soak() { cargo-nextest nextest run --locked --package compat-tests --no-capture "$@"; }
CHRONOS_HELD_RECORDS=10000 CHRONOS_HELD_SECONDS=20 soak --test held_crash
CHRONOS_ROUNDS=100 soak --test produce_crash
CHRONOS_METADATA_ROUNDS=100 soak --test metadata_crash
CHRONOS_DEDUP_ROUNDS=100 soak --test dedup_crash
CHRONOS_REPLAY_ROUNDS=34 soak --test replay_jobs
CHRONOS_REBALANCE_SECONDS=180 soak --test rebalance
for _ in $(seq 10); do soak --test disk_full --test sync_failure; done
PROPTEST_CASES=20000 cargo-nextest nextest run --locked --package storage --package kafka-compat --package scheduler --package broker
python3 -B compat-tests/faults/power_loss.py --cycles 200 --seed "$CHRONOS_SEED"
python3 -B compat-tests/faults/disk.py --seed "$CHRONOS_SEED"
python3 -B compat-tests/faults/malformed.py --seed "$CHRONOS_SEED"
python3 -B compat-tests/faults/connections.py
python3 -B compat-tests/faults/fire_kill.py --seed "$CHRONOS_SEED"
python3 -B compat-tests/streams/word_count.py --rounds 10 --seed "$CHRONOS_SEED"
python3 -B compat-tests/streams/word_count.py --rounds 10 --seed "$CHRONOS_SEED" --store memory
python3 -B compat-tests/faults/chaos_single.py --rounds 100 --seed "$CHRONOS_SEED"
