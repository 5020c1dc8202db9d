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

java="$cache/java-$(cat "$suites/java/pom.xml" "$suites"/java/src/*.java 2> /dev/null | sha256sum | cut -c1-16)"
if [ ! -f "$java/.done" ]; then
  mkdir -p "$java"
  mvn -q -B -f "$suites/java/pom.xml" -DoutputDirectory="$java/deps" dependency:copy-dependencies
  javac -d "$java/classes" -cp "$java/deps/*" $(find "$suites/java" -name '*.java')
  touch "$java/.done"
fi
ln -sfn "$python" "$cache/python"
ln -sfn "$java" "$cache/java"
