# `make dev` and `make test` are all that a newcomer needs; each installs what is missing.
SHELL := bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.PHONY: setup test check fix doc

# Sets the variables that make the build link the prebuilt RocksDB. Two steps: a failure inside
# the argument of `eval` would go unnoticed.
ROCKSDB = variables=$$(scripts/setup.sh); eval "$$variables"

setup:
	@scripts/setup.sh >/dev/null

test:
	@$(ROCKSDB)
	cargo test --workspace --locked

check:
	@$(ROCKSDB)
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked
	command -v cargo-deny >/dev/null || cargo install cargo-deny --locked --quiet
	cargo deny --offline check bans licenses sources

fix:
	@$(ROCKSDB)
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

doc:
	@$(ROCKSDB)
	cargo doc --workspace --no-deps --locked
