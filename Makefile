# The interface of this repository: people and CI run the same targets.
# Every target that builds calls `setup` first, so a clean clone needs nothing else.
#
# Builds always say --workspace: with -p, Cargo unifies features differently and compiles
# half a dozen shared crates a second time.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo up test check gen bench faults k8s-check setup clean \
	fmt-check proto-check typescript clippy tests docs licences

SHELL := /bin/bash
STEP := scripts/step
BUF := tests/node/node_modules/.bin/buf
IN_TYPESCRIPT := env -C clients/typescript
BUF_HERE := ../../$(BUF)
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
# CI builds exactly what is committed; at a desk a new dependency may extend the lock file.
LOCKED := $(if $(CI),--locked)
# Extra words for the program behind demo, up, bench and faults: make demo ARGS=--full
ARGS ?=

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: setup ## build, then run the demonstration on a fresh private suite (ARGS=--full for all rows)
	@$(STEP) "build (release; the first time takes minutes)" \
		cargo build --release --workspace --bin rapport $(LOCKED)
	@$(TARGET_DIR)/release/rapport demo $(ARGS)

up: setup ## build, then run the whole suite on a private Postgres and Redis until Ctrl-C
	@$(STEP) "build (release; the first time takes minutes)" \
		cargo build --release --workspace --bin rapport $(LOCKED)
	@exec $(TARGET_DIR)/release/rapport up $(ARGS)

test: setup fmt-check proto-check typescript clippy tests ## everything that must be green: format, lints, contracts, all tests

check: setup fmt-check proto-check typescript clippy docs licences ## format, lints, contracts and documentation, without running tests

gen: setup ## write the Rust code of the contracts anew from proto/
	@# With -p on purpose: the other crates may not compile before the new code is there.
	@$(STEP) "generate libs/contracts" env UPDATE_CONTRACTS=1 cargo test -p contracts --test generated
	@$(STEP) "generate clients/typescript/src/gen" $(IN_TYPESCRIPT) $(BUF_HERE) generate
	@$(STEP) "generate docs/errors.md and docs/config.md" env UPDATE_DOCS=1 cargo test -p contracts --test docs
	@$(STEP) "generate docs/bi.md" env UPDATE_DOCS=1 cargo test --workspace --test it -- bi::documentation
	@$(STEP) "generate docs/openapi.json" env UPDATE_DOCS=1 cargo test --workspace --lib -- openapi::tests

bench: setup ## measure, each figure beside its floor in the same run (takes minutes, wants a quiet machine)
	@scripts/bench $(ARGS)

faults: setup ## kill, restart and flush the running suite with full durability (takes minutes)
	@scripts/faults $(ARGS)

k8s-check: ## render the Kubernetes overlays and check them, the image, the alerts and the dashboard (no cluster)
	@scripts/k8s-check

setup: ## install what is missing (a no-op of a blink when nothing is)
	@scripts/setup

clean: ## remove what was built or installed here; keeps the data of `make up`
	@cargo clean
	@rm -rf tests/node/node_modules tests/sdks/node_modules clients/typescript/node_modules clients/typescript/dist tests/python/.venv

# -- the steps of test and check, the cheapest first --

fmt-check:
	@$(STEP) "format" cargo fmt --all --check

proto-check:
	@$(STEP) "contracts: lint" $(BUF) lint proto
	@$(STEP) "contracts: format" $(BUF) format --diff --exit-code proto
	@$(STEP) "contracts: TypeScript (make gen writes it)" $(IN_TYPESCRIPT) sh -c \
		'$(BUF_HERE) generate -o dist/again && diff -r dist/again/src/gen src/gen'

typescript:
	@$(STEP) "TypeScript client" $(IN_TYPESCRIPT) sh -c \
		'node_modules/.bin/tsc && node --test dist/test/*.test.js'

clippy:
	@$(STEP) "clippy" cargo clippy --workspace --all-targets $(LOCKED) -- -D warnings

tests:
	@scripts/tests $(LOCKED)

docs:
	@$(STEP) "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps $(LOCKED)

licences:
	@if cargo deny --version >/dev/null 2>&1; then \
		$(STEP) "dependencies: bans, licences, sources" cargo deny check bans licenses sources; \
	else \
		printf '\n==> dependencies: skipped, cargo-deny is not installed (cargo install --locked cargo-deny)\n'; \
	fi
