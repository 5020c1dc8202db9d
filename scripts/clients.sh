#!/usr/bin/env bash
# Makes the client suites ready to run: a Python environment and Java's jars, outside the checkout, by what they pin.
set -euo pipefail
cd "$(dirname "$0")/.."
cache="${XDG_CACHE_HOME:-$HOME/.cache}/chronosdb/clients"
suites=compat-tests/suites

python="$cache/python-$(sha256sum "$suites/python/requirements.txt" | cut -c1-16)"
if [ ! -f "$python/.done" ]; then
  python3 -m venv "$python"
  "$python/bin/pip" install -q --disable-pip-version-check -r "$suites/python/requirements.txt"
  touch "$python/.done"
fi

java="$cache/java-$(find "$suites/java/pom.xml" "$suites/java/src" -type f -print0 | sort -z | xargs -0 cat | sha256sum | cut -c1-16)"
if [ ! -f "$java/.done" ]; then
  mkdir -p "$java"
  mvn -q -B -f "$suites/java/pom.xml" -DoutputDirectory="$java/deps" dependency:copy-dependencies
  find "$suites/java/src" -name "*.java" -print0 | xargs -0 javac -d "$java/classes" -cp "$java/deps/*"
  touch "$java/.done"
fi
ln -sfn "$python" "$cache/python"
ln -sfn "$java" "$cache/java"
