# Sourced by make: where RocksDB's prebuilt library is, and where a CI machine keeps its build.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
cache="${XDG_CACHE_HOME:-$HOME/.cache}/chronosdb"
rocksdb=$(scripts/rocksdb-prebuild.sh) || exit 1
export ROCKSDB_LIB_DIR="$rocksdb" ROCKSDB_STATIC=1
# Debian's libclang1 comes without clang's own headers; gcc's serve bindgen as well.
export BINDGEN_EXTRA_CLANG_ARGS="${BINDGEN_EXTRA_CLANG_ARGS:--I$(gcc -print-file-name=include)}"
export PATH="$cache/tools/bin:$PATH"
if [ -n "${CI:-}" ] && [ -z "${CARGO_TARGET_DIR:-}" ]; then export CARGO_TARGET_DIR="$cache/target"; fi
