#!/usr/bin/env bash
# Checks a bundle of evidence offline, and changes nothing of it.
#   usage: verify-evidence.sh [DIRECTORY]
# DIRECTORY    the bundle; default that of this commit below .lockbox/evidence
# LOCKBOX_BIN  directory of the program lockbox-jepsen; built when not set
# Exits 0 when everything in it is unchanged and follows from its histories; else 1, with why.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
bundle=${1:-$root/.lockbox/evidence/$(git -C "$root" rev-parse HEAD)}
if [ -n "${LOCKBOX_BIN:-}" ]; then
  exec "$LOCKBOX_BIN/lockbox-jepsen" verify-evidence "$bundle"
fi
# The suite links no RocksDB, so nothing has to be set up for it.
exec cargo run --quiet --locked --release --manifest-path "$root/Cargo.toml" -p lockbox-jepsen -- \
  verify-evidence "$bundle"
