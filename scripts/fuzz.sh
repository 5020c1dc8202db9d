#!/usr/bin/env bash
# Fuzz targets with libFuzzer, coverage-guided, on the pinned toolchain.
#   scripts/fuzz.sh smoke           each target for SECONDS_EACH (20), from its seeds
#   scripts/fuzz.sh long            each target for RUNS executions (10000000)
#   scripts/fuzz.sh TARGET [ARG...] one, with libFuzzer's own options
# A finding is written to fuzz/artifacts; put it into fuzz/seeds/TARGET when it is mended, so that it stays a test.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=(frame request batch deliver_at derived_files recovery timer_files)
host=$(rustc -vV | sed -n 's/^host: //p')
out=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
build() {
  # What cargo-fuzz passes: a counter at each edge, and comparisons told to the fuzzer. With --target, build scripts go without.
  RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Ccodegen-units=1" \
    cargo build --quiet --release --locked --manifest-path fuzz/Cargo.toml --target "$host" --target-dir "$out"
}
run() { # run TARGET ARG...
  local target=$1 summary; shift
  mkdir -p "$out/corpus/$target" fuzz/artifacts "fuzz/seeds/$target"
  if ! summary=$("$out/$host/release/$target" -artifact_prefix=fuzz/artifacts/"$target"- -rss_limit_mb=2048 -timeout=10 \
      -max_len=4096 -print_final_stats=1 "$@" "$out/corpus/$target" "fuzz/seeds/$target" 2>&1); then
    tail -40 <<< "$summary"
    echo "$target: a finding, see fuzz/artifacts" >&2
    return 1
  fi
  awk -v target="$target" '/number_of_executed_units/ { n = $2 } /average_exec_per_sec/ { s = $2 } /cov: / { c = $4 }
    END { print target ": " n " executions, " s "/s, " c " edges, no finding" }' <<< "$summary"
}
build
case ${1:?smoke, long or a target} in
  smoke) for target in "${targets[@]}"; do run "$target" -max_total_time="${SECONDS_EACH:-20}"; done ;;
  long) for target in "${targets[@]}"; do run "$target" -runs="${RUNS:-10000000}"; done ;;
  *) run "$@" ;;
esac
