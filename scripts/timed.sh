#!/usr/bin/env bash
# timed.sh NAME COMMAND...: runs a step and says how long it took.
set -euo pipefail
name=$1; shift
echo "== $name" >&2
started=$SECONDS
"$@"
echo "== $name: $(( SECONDS - started )) s" >&2
