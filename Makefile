# `make dev` and `make test` are all that a newcomer needs; each installs what is missing.
SHELL := bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.PHONY: setup programs dev cluster cluster-stop demo bench test test-clients fuzz supply-chain overload docs docs-test check fix doc fuzz-long drill replace-drill upgrade-drill churn dist bill kill-switch jepsen-smoke jepsen-upgrade evidence verify-evidence mutants deploy-test dashboards-test

# Sets the variables that make the build link the prebuilt RocksDB. Two steps: a failure inside
# the argument of `eval` would go unnoticed.
ROCKSDB = variables=$$(scripts/setup.sh); eval "$$variables"

# Where cargo puts the programs, and which of its profiles.
TARGET = $$(cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
PROFILE = $(or $(LOCKBOX_BUILD),debug)

setup:
	@scripts/setup.sh >/dev/null

# Builds what serves, and prints where it is.
programs:
	@$(ROCKSDB)
	cargo build --locked $(if $(filter release,$(PROFILE)),--release) -p lockbox-node -p lockbox-kms-sim
	echo "$(TARGET)/$(PROFILE)"

# One process with everything in it; `make dev ARGS=--ephemeral` keeps no data.
dev:
	@$(ROCKSDB)
	cargo build --locked $(if $(filter release,$(PROFILE)),--release) -p lockbox-node
	exec "$(TARGET)/$(PROFILE)/lockbox" dev $(ARGS)

# Three nodes and a KMS, each a process; LOCKBOX_BUILD=release for optimised ones.
cluster:
	@$(ROCKSDB)
	cargo build --locked $(if $(filter release,$(PROFILE)),--release) -p lockbox-node -p lockbox-kms-sim
	LOCKBOX_BIN="$(TARGET)/$(PROFILE)" scripts/cluster.sh start

cluster-stop:
	@scripts/cluster.sh stop

# Three nodes, a KMS, the unmodified Python SDK, a killed leader, and the bill.
demo:
	@scripts/demo.sh

# The README's clients against what is running, or against a process and a cluster of their own.
test-clients:
	@scripts/test-clients.sh

test:
	@$(ROCKSDB)
	cargo test --workspace --locked

# The fuzz targets on their corpus, each for as long as it says: `make fuzz SECONDS=600`.
fuzz:
	@$(ROCKSDB)
	FUZZ_SECONDS="$(or $(SECONDS),30)" cargo test --locked -p lockbox-platform -p lockbox-kms-sim -p lockbox-node --lib --test it fuzz_ -- --nocapture

# Each of them for ten minutes, with its log in docs/fuzz; an hour, and goes on where it was stopped.
fuzz-long:
	@scripts/fuzz.sh

# What the programs are made of, and how two builds of them differ; about half an hour.
supply-chain:
	@scripts/supply-chain.sh

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

# Lockbox beside etcd, with optimised programs; about half an hour. See scripts/bench.sh.
bench:
	@$(ROCKSDB)
	scripts/bench.sh

# Ten times the load that three nodes carry: what is accepted, what is refused, and whether anything
# grows or changes hands; some minutes. Appends tables to bench/results.
overload:
	@$(ROCKSDB)
	cargo build --locked --release -p lockbox-node -p lockbox-kms-sim -p lockbox-bench
	scripts/overload.sh "$(TARGET)/release" $(ARGS)

# Writes anew what of the documents is made from the programs.
docs:
	@$(ROCKSDB)
	UPDATE_DOCS=1 cargo test --locked -p lockbox-node -p lockbox-kms-sim --lib the_reference_is

# Every command of the documents, each document against servers of its own.
# `make docs-test ARGS=docs/tutorial.md` runs one.
docs-test:
	@$(ROCKSDB)
	cargo build --locked $(if $(filter release,$(PROFILE)),--release) -p lockbox-node -p lockbox-kms-sim
	scripts/docs-test.py "$(TARGET)/$(PROFILE)" $(ARGS)

# A follower and then the leader of three nodes are replaced while writers write.
replace-drill:
	@$(ROCKSDB)
	cargo build --locked --release -p lockbox-node -p lockbox-kms-sim -p lockbox-bench
	LOCKBOX_BIN="$(TARGET)/release" scripts/replace-drill.sh

# From the programs of the last tag to those of this commit, back, and there again, while writers
# write; `make upgrade-drill OLD=DIR` takes the programs of a directory instead.
upgrade-drill:
	@$(ROCKSDB)
	cargo build --locked --release -p lockbox-node -p lockbox-kms-sim -p lockbox-bench
	old="$(OLD)"
	[ -n "$$old" ] || old=$$(scripts/build-tag.sh)
	scripts/upgrade-drill.sh "$$old" "$(TARGET)/release"

# The life of a cluster under load: upgrade and back, backup, two disks and the quorum lost, restore,
# the KMS's disk and root key lost, a node replaced, certificates rotated (docs/drill.md). Begins
# with the programs of the last tag; `make drill OLD=DIR` takes those of a directory, OLD=none no others.
drill:
	@$(ROCKSDB)
	cargo build --locked --release -p lockbox-node -p lockbox-kms-sim -p lockbox-bench
	old="$(OLD)"
	[ -n "$$old" ] || old=$$(scripts/build-tag.sh)
	[ "$$old" != none ] || old=""
	LOCKBOX_BIN="$(TARGET)/release" LOCKBOX_OLD_BIN="$$old" scripts/drill.sh

# What a release consists of, in dist/: stripped programs, their symbols, checksums, the bill of
# materials. A whole build of its own: about a quarter of an hour.
dist:
	@scripts/dist.sh

# What stays on the disk of a node after a million overwrites; some minutes.
churn:
	@$(ROCKSDB)
	scripts/churn.sh

# 10,000 reads and writes under own keys while nodes and the KMS are killed; then the clients', the
# nodes' and the KMS's books are compared, and the bill is printed. `make bill SEED=7` repeats one.
bill:
	@$(ROCKSDB)
	cargo build --locked --release -p lockbox-node -p lockbox-kms-sim -p lockbox-jepsen
	LOCKBOX_BIN="$(TARGET)/release" scripts/bill.sh $(SEED)

# Who reads on after a key, a binding, a token, an account or a secret is switched off, on three nodes
# of which one is stopped meanwhile; some minutes. `make kill-switch ARGS="--only key-disabled"`.
# `make kill-switch MUTANT=key-status-cached` tries programs with that seeded bug, and has to fail.
MUTANT ?= $(LOCKBOX_MUTANT)
kill-switch:
	@$(ROCKSDB)
	if [ -z "$(MUTANT)" ]; then
	    cargo build --locked --release -p lockbox-node -p lockbox-kms-sim -p lockbox-bench
	    programs="$(TARGET)/release"
	else
	    cargo build --locked --profile mutants --target-dir "$(TARGET)/mutants" \
	        -p lockbox-node -p lockbox-kms-sim -p lockbox-bench \
	        --features lockbox-node/mutants,lockbox-kms-sim/mutants
	    programs="$(TARGET)/mutants/mutants"
	fi
	LOCKBOX_MUTANT="$(MUTANT)" scripts/kill-switch.sh "$$programs" $(ARGS)

# Five minutes of real processes under faults, then the verdict: 0 valid, 1 invalid, 2 unknown.
# `make jepsen-smoke SEED=7` repeats a run.
jepsen-smoke:
	@$(ROCKSDB)
	cargo build --locked --release -p lockbox-node -p lockbox-kms-sim -p lockbox-jepsen
	LOCKBOX_BIN="$(TARGET)/release" scripts/jepsen-smoke.sh $(SEED)

# The same, and each orderly restart takes a node to the programs of the last tag or back from them.
jepsen-upgrade:
	@$(ROCKSDB)
	cargo build --locked --release -p lockbox-node -p lockbox-kms-sim -p lockbox-jepsen
	old="$(OLD)"
	[ -n "$$old" ] || old=$$(scripts/build-tag.sh)
	LOCKBOX_OTHER_BIN="$$old" LOCKBOX_BIN="$(TARGET)/release" scripts/jepsen-smoke.sh $(SEED)

# The evidence of this commit in .lockbox/evidence/<commit>: of a smoke run that is made now, or of
# runs that are there: `make evidence RUNS="dir dir" MATRIX=jepsen/results/kill-matrix.json`.
evidence:
	@$(ROCKSDB)
	cargo build --locked --release -p lockbox-node -p lockbox-kms-sim -p lockbox-jepsen
	LOCKBOX_BIN="$(TARGET)/release" MATRIX="$(MATRIX)" scripts/evidence.sh $(RUNS)

# The dashboards and alert rules against the real Prometheus on a cluster under load; draws them to
# .lockbox/dashboards. About three minutes.
dashboards-test:
	@$(ROCKSDB)
	cargo build --locked $(if $(filter release,$(PROFILE)),--release) -p lockbox-node -p lockbox-kms-sim
	LOCKBOX_BIN="$(TARGET)/$(PROFILE)" scripts/dashboards-test.sh

# Checks a bundle offline; that of this commit, or `make verify-evidence DIR=...`.
verify-evidence:
	@scripts/verify-evidence.sh $(DIR)

# Seeded bugs, each run until a law sees it; about an hour after a long build. The programs with
# bugs are built by a profile of their own, into a folder of their own, and never anywhere else.
# `make mutants ARGS="--only lost-tail"` runs some of them.
mutants:
	@$(ROCKSDB)
	LOCKBOX_TARGET="$(TARGET)/mutants" scripts/mutants.sh $(ARGS)

# Units, manifests and the image of deploy/, which is started in namespaces where there is no container
# engine; some minutes, as root. `make deploy-test ARGS="units manifests"` tries some of it.
deploy-test:
	@$(ROCKSDB)
	cargo build --locked $(if $(filter release,$(PROFILE)),--release) -p lockbox-node -p lockbox-kms-sim
	deploy/test/run.sh "$(TARGET)/$(PROFILE)" $(ARGS)
