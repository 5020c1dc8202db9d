#!/usr/bin/env bash
# Builds librocksdb.a once, as a unity build of the sources that `cargo fetch` brings, and prints the folder it is in.
#
# Why: the stock build of librocksdb-sys compiles 343 C++ files (about 14 minutes on two cores); the same sources in a few
# large units take about 3. The result lives outside the checkout and is keyed by crate version and compiler flags, so every
# checkout of this project shares it. Plain `cargo build` works without it, only slower.
#
#   ROCKSDB_CACHE   where to keep builds (default: ${XDG_CACHE_HOME:-$HOME/.cache}/chronosdb/rocksdb)
#   ROCKSDB_JOBS    compilers to run at once (default: the number of cores, at most 4; each takes up to 3.5 GB)
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fetch --locked --quiet >&2
version=$(sed -n '/^name = "librocksdb-sys"$/{n;s/^version = "\(.*\)"$/\1/p}' Cargo.lock)
src=$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/librocksdb-sys-"$version" | head -n 1)

flags="-std=c++20 -O2 -ffunction-sections -fdata-sections -fPIC -m64 -w -DNDEBUG=1 -DHAVE_ALIGNED_NEW
 -DHAVE_UINT128_EXTENSION -DOS_LINUX -DROCKSDB_PLATFORM_POSIX -DROCKSDB_LIB_IO_POSIX -DROCKSDB_SCHED_GETCPU_PRESENT
 -DROCKSDB_AUXV_GETAUXVAL_PRESENT -DROCKSDB_FALLOCATE_PRESENT -DROCKSDB_RANGESYNC_PRESENT -include cstdint -msse4.2 -mpclmul"
flags=$(echo $flags)
key=$(printf '%s\n%s\n%s\n' "$version" "$flags" "$(g++ --version | head -n 1)" | sha256sum | cut -c1-16)
out="${ROCKSDB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/chronosdb/rocksdb}/$version-$key"
if [ -f "$out/librocksdb.a" ]; then echo "$out"; exit 0; fi

mkdir -p "$out"
exec 9> "$out/.lock"; flock 9                       # two checkouts at once build it once
if [ -f "$out/librocksdb.a" ]; then echo "$out"; exit 0; fi
cores=$(nproc); jobs=${ROCKSDB_JOBS:-$(( cores < 4 ? cores : 4 ))}
work=$(mktemp -d "$out/build.XXXXXX"); trap 'rm -rf "$work"' EXIT
echo "building RocksDB $version once (about 3 minutes on 2 cores) into $out" >&2
started=$SECONDS
grep -v 'util/build_version.cc' "$src/rocksdb_lib_sources.txt" > "$work/list"
(cd "$work" && split -n "r/$jobs" list part.)
for part in "$work"/part.*; do sed "s|^|#include \"$src/rocksdb/|; s|\$|\"|" "$part" > "$work/unity_${part##*.}.cc"; done
include="-I $src/rocksdb/include -I $src/rocksdb -I $src"
ls "$work"/unity_*.cc "$src/build_version.cc" \
  | xargs -P "$jobs" -I{} sh -c "g++ $flags $include -c '{}' -o '$work'/\$(basename '{}' .cc).o"
ar crs "$work/librocksdb.a" "$work"/*.o
mv "$work/librocksdb.a" "$out/librocksdb.a"         # appears whole or not at all
echo "built RocksDB in $(( SECONDS - started )) s" >&2
echo "$out"
