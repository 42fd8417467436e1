#!/usr/bin/env bash
# Builds the programs of a tag or a commit, once, and prints the directory that they are in.
#   usage: build-tag.sh [TAG]     without one, the last tag before this commit
# LOCKBOX_BUILDS   where builds are kept (~/.cache/lockbox-builds), each under its commit's id
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'build-tag: %s\n' "$*" >&2; }

# The tag of this very commit is no older build.
tag=${1:-$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD^ 2>/dev/null || true)}
[ -n "$tag" ] || { say "there is no tag before this commit: see docs/releasing.md"; exit 2; }
commit=$(git rev-parse --verify --quiet "$tag^{commit}") || { say "there is no $tag"; exit 2; }
directory=${LOCKBOX_BUILDS:-$HOME/.cache/lockbox-builds}/$commit
if [ ! -e "$directory/complete" ]; then
    say "building $tag ($commit); about a quarter of an hour"
    rm -rf "$directory"
    mkdir -p "$directory/source"
    git archive "$commit" | tar -x -C "$directory/source"
    variables=$("$directory/source/scripts/setup.sh")
    eval "$variables"
    cargo build --locked --release --manifest-path "$directory/source/Cargo.toml" \
        --target-dir "$directory/target" -p lockbox-node -p lockbox-kms-sim >&2
    cp "$directory/target/release/lockbox" "$directory/target/release/kms-sim" "$directory/"
    # A gigabyte that nobody needs again.
    rm -r "$directory/target" "$directory/source"
    touch "$directory/complete"
fi
echo "$directory"
