#!/usr/bin/env bash
# Makes the client suites ready to run, outside the checkout: a Python environment, Java's and Kafka Streams' classes and jars, the Go
# program, Node's modules, buf, and tools that watch a Kafka, each under a hash of what it is made of. A toolchain that is missing is
# named: a desk skips what needs it, CI fails.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/chronosdb/clients"
suites=$PWD/compat-tests/suites
streams=$PWD/compat-tests/streams
exporters=$PWD/compat-tests/exporters
# Where Go's own archive is unpacked.
PATH="$PATH:/usr/local/go/bin"
missing=()

python_of() { # python_of REQUIREMENTS MADE
  python3 -m venv "$2"
  "$2/bin/pip" install -q --disable-pip-version-check -r "$1"
}
make_python() { python_of "$suites/python/requirements.txt" "$1"; }
make_exporters() { python_of "$exporters/requirements.txt" "$1"; }
jars_and_classes() { # jars_and_classes PROJECT MADE
  mvn -q -B -f "$1/pom.xml" -DoutputDirectory="$2/deps" dependency:copy-dependencies
  find "$1/src" -name "*.java" -print0 | xargs -0 javac -d "$2/classes" -cp "$2/deps/*"
}
make_java() { jars_and_classes "$suites/java" "$1"; }
make_streams() { jars_and_classes "$streams" "$1"; }
make_go() { go build -C "$suites/go" -o "$1/suite" .; }
make_buf() {
  cp "$suites"/buf/package*.json "$1"
  npm ci --prefix "$1" --silent --no-audit --no-fund
}
make_node() {
  cp "$suites"/node/package*.json "$1"
  npm ci --prefix "$1" --silent --no-audit --no-fund
}

prepare() { # prepare NAME TOOLS FILE...: what make_NAME makes of these files
  local name=$1 tools=$2 tool made; shift 2
  for tool in $tools; do
    command -v "$tool" > /dev/null || { missing+=("$name: there is no $tool"); return; }
  done
  made="$cache/$name-$(find "$@" -type f -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-16)"
  if [ ! -f "$made/.done" ]; then
    rm -rf "$made" && mkdir -p "$made"
    "make_$name" "$made"
    touch "$made/.done"
  fi
  ln -sfn "$made" "$cache/$name"
}

prepare python python3 "$suites/python/requirements.txt"
prepare exporters python3 "$exporters/requirements.txt"
prepare java "javac mvn" "$suites/java/pom.xml" "$suites/java/src"
prepare streams "javac mvn" "$streams/pom.xml" "$streams/src"
prepare go go "$suites/go"
prepare buf "node npm" "$suites/buf/package-lock.json"
prepare node "node npm" "$suites/node/package-lock.json"
# The oracle speaks by Kafka's own classes.
if command -v javac > /dev/null && command -v mvn > /dev/null; then compat-tests/peers/kafka-peer libs > /dev/null; fi
command -v kcat > /dev/null || missing+=("kcat: there is no kcat")

(( ${#missing[@]} )) || exit 0
printf 'client suite skipped: %s\n' "${missing[@]}" >&2
[ -z "${CI:-}" ]
