#!/usr/bin/env bash
# What the programs are made of (peers.md S25): what cargo-deny says offline, the bill of materials,
# the lines of unsafe code in each dependency, and how two builds of the same source differ.
# `scripts/supply-chain.sh [DIRECTORY]`; PROFILE is cargo's, release by default. The build happens
# twice, each into an empty directory: half an hour on a small machine.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-.lockbox/supply-chain}
profile=${PROFILE:-release}
mkdir -p "$out"

# As `make check` does. Without it there is nothing to say, and 2 says so.
if ! command -v cargo-deny >/dev/null && ! cargo install cargo-deny --locked --quiet; then
    echo "supply-chain: cargo-deny is not there and cannot be installed" >&2
    exit 2
fi
cargo deny --offline check bans licenses sources 2>&1 | tee "$out/deny.txt"
scripts/bill-of-materials.py "$out"

variables=$(scripts/setup.sh)
eval "$variables"
for build in first second; do
    target=$(mktemp -d -t lockbox-build.XXXXXX)
    # Paths get into programs, also by the C in some dependencies; what is compared is the source and
    # the tools, not the directory.
    CARGO_TARGET_DIR=$target RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$target=/build" \
        CFLAGS="${CFLAGS:-} -ffile-prefix-map=$target=/build" \
        CXXFLAGS="${CXXFLAGS:-} -ffile-prefix-map=$target=/build" \
        cargo build --locked --offline --profile "$profile" -p lockbox-node -p lockbox-kms-sim
    directory=$target/${profile/#dev/debug}
    mkdir -p "$out/$build"
    cp "$directory/lockbox" "$directory/kms-sim" "$out/$build/"
    rm -r "$target"
done
scripts/compare-builds.sh "$out/first" "$out/second" | tee "$out/builds.txt"
