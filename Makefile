# What a person or a CI job types. `make demo` needs nothing but a Rust toolchain and a C compiler's
# friends (see `deps`); `make test` also fetches and starts real services under tests/stack.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

# Outside of the repository, so that a fresh clone finds what an older one has compiled.
export EBAP_TARGET_DIR ?= $(HOME)/.cache/ebap/target
export CARGO_TARGET_DIR ?= $(EBAP_TARGET_DIR)
export CARGO_TERM_COLOR ?= auto

EBAP := $(CARGO_TARGET_DIR)/debug/ebap
EBAP_RELEASE := $(CARGO_TARGET_DIR)/release/ebap
# What the end-to-end tests start; MinIO is compiled, so it takes minutes the first time.
SERVICES := redis prometheus alertmanager kafka iceberg-rest trino minio postgres connect schema-registry clients

.PHONY: help deps build demo check fmt lint rustdoc doctest deny advisories unused typos committed unit architecture slt recovery e2e conformance fuzz test test-long nightly bench-build bench bench-peers bench-nexmark bench-backlog stack-install stack-up stack-down

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

deps: ## install what is missing (Debian packages; asks sudo where it is not root)
	@bash tests/deps.sh build

# `--workspace` everywhere: cargo then compiles the dependencies with one set of features, once.
build: deps
	@cargo build --locked --workspace --bin ebap

demo: build ## a server with live data, nothing else needed
	@$(EBAP) demo $(DEMO_ARGS)

fmt:
	cargo fmt --all --check

lint: deps
	cargo clippy --locked --workspace --all-targets -- -D warnings

# Private items too, as nearly all are: a link to what has gone is found where it is read.
rustdoc: deps
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --locked --no-deps --workspace --document-private-items

doctest: deps
	cargo test --quiet --locked --workspace --doc

# Licences, doubles and registries of what is built in.
deny:
	@$(call TOOL,cargo-deny) --log-level error --locked check licenses bans sources

advisories:
	@PATH="$$(bash tests/tools.sh cargo-deny):$$PATH" bash tests/advisories.sh

unused:
	@$(call TOOL,cargo-machete) .

typos:
	@$(call TOOL,typos) --format brief

committed:
	@bash tests/committed.sh

# Installs the tool of this name where it is missing.
TOOL = "$$(bash tests/tools.sh $(1))/$(1)"

# What takes seconds comes first. Clippy shares nothing with a build: the dependencies are checked once more.
check: fmt committed typos unused deny advisories lint rustdoc doctest architecture ## whatever can be said without running anything: formatting, clippy, documentation, dependencies, spelling, what is committed

# Connectors and the server have tests of their own against real services; see tests/with-stack.sh.
INTEGRATION := redis prometheus alertmanager iceberg kafka schema_registry server
unit: build
	bash tests/with-stack.sh "redis redis-cluster redis-tls redis-sentinel prometheus alertmanager minio iceberg-rest schema-registry" -- \
	  cargo test --locked --workspace --lib --bins $(INTEGRATION:%=--test %)

architecture: deps
	cargo test --locked --workspace --test architecture

# Each starts what it needs beside the server: PostgreSQL, Kafka, a registry.
slt recovery e2e: build
	EBAP_BIN=$(EBAP) cargo test --locked --workspace --test $@

conformance: build ## what SQL means, compared with a real PostgreSQL (EBAP_CONFORMANCE_STATEMENT='SELECT …' for one alone)
	EBAP_BIN=$(EBAP) cargo test --locked --workspace --test conformance -- $(CONFORMANCE_ARGS)

fuzz: build ## bytes that nobody should send, a minute for each of three kinds (EBAP_FUZZ_SECONDS, EBAP_FUZZ_SEED)
	EBAP_BIN=$(EBAP) cargo test --locked --workspace --test fuzz

# In one shell, so that the services are fetched and built while cargo compiles.
test: ## everything, fast things first
	@bash tests/run-all.sh

# As `unit` and `recovery`, with more seeds and more kills.
test-long: build ## 1,000 simulated seeds, 20,000 random queries, 200 kills, each kind of view and stream made anew 1,000 times, and 10,000 statements of each kind beside PostgreSQL
	EBAP_SIM_SEEDS=1000 cargo test --locked --workspace --lib -- --nocapture sim::
	EBAP_ORACLE_QUERIES=20000 cargo test --locked --workspace --lib -- --nocapture oracle_tests::
	EBAP_RECOVERY_KILLS=200 EBAP_ANEW_ROUNDS=1000 EBAP_BIN=$(EBAP) cargo test --locked --workspace --test recovery
	EBAP_CONFORMANCE_STATEMENTS=$${EBAP_CONFORMANCE_STATEMENTS:-10000} $(MAKE) --no-print-directory conformance

# The seeds are those of the day, so that each night tries others; they are printed with what is found.
nightly: build ## `test-long` with other seeds each day, 100,000 hostile records per format, and an hour for each fuzzer
	EBAP_CONFORMANCE_SEED=$$(date +%Y%m%d) $(MAKE) --no-print-directory test-long
	EBAP_CONFORMANCE_STATEMENTS=100000 $(MAKE) --no-print-directory conformance CONFORMANCE_ARGS=hostile_records
	EBAP_FUZZ_SECONDS=$${EBAP_FUZZ_SECONDS:-3600} EBAP_FUZZ_SEED=$$(date +%Y%m%d) $(MAKE) --no-print-directory fuzz

# The two programs of every benchmark: the server, and what measures it.
bench-build: deps
	cargo build --locked --release -p ebap-server -p ebap-bench-macro

BENCH_ENV = EBAP_BIN=$(EBAP_RELEASE) BENCH_BIN=$(CARGO_TARGET_DIR)/release/ebap-bench-macro

bench: bench-build ## events/s, latency, recovery… against real Kafka, as JSON lines (BENCH_ARGS='t1 t3')
	@$(BENCH_ENV) $(CARGO_TARGET_DIR)/release/ebap-bench-macro $(BENCH_ARGS)

bench-peers: bench-build ## the same topic and jobs on EBAP, Flink and Spark; table and picture (PEERS_ARGS='t1')
	@$(BENCH_ENV) bash benchmarks/peers/run.sh $(PEERS_ARGS)
	@python3 benchmarks/peers/table.py --write

bench-nexmark: bench-build ## Nexmark on EBAP and Flink, answers compared; table (NEXMARK_ARGS='q1 q5')
	@$(BENCH_ENV) bash benchmarks/peers/nexmark.sh $(NEXMARK_ARGS)
	@python3 benchmarks/peers/nexmark_table.py --write

bench-backlog: bench-build ## every kind of view over 5 M rows of 1, 10 and 1 M keys, answers compared with DuckDB's (BACKLOG_ARGS='--kinds tumble,top')
	@$(BENCH_ENV) bash benchmarks/backlog/run.sh $(BACKLOG_ARGS)

stack-install: ## fetch and build the services of the end-to-end tests
	@bash tests/deps.sh stack
	@for service in $(SERVICES); do bash tests/stack/$$service.sh install; done

stack-up: stack-install ## Redis, MinIO, an Iceberg REST catalog, Kafka, Trino, Prometheus, Alertmanager, PostgreSQL, Kafka Connect and a schema registry on loopback
	@for service in redis minio iceberg-rest kafka trino prometheus alertmanager postgres connect schema-registry; do bash tests/stack/$$service.sh start; done

stack-down: ## stop them; data stays until `tests/stack/NAME.sh clean`
	@for service in schema-registry connect postgres alertmanager prometheus trino kafka iceberg-rest minio redis; do bash tests/stack/$$service.sh stop; done
