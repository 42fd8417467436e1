#!/usr/bin/env bash
# Runs the smoke profile of the jepsen suite, with all faults that this machine can do.
#   usage: jepsen-smoke.sh [SEED]
# LOCKBOX_BIN  directory of the programs lockbox, kms-sim and lockbox-jepsen (required)
# JEPSEN_OUT   where the record goes; default .lockbox/jepsen/smoke-<time>
# Exits 0 when the run is valid, 1 when it is invalid, 2 when too little was seen.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${LOCKBOX_BIN:?is not set}
out=${JEPSEN_OUT:-.lockbox/jepsen/smoke-$(date +%Y%m%dT%H%M%S)}
mkdir -p "$(dirname "$out")"
scripts/jepsen-setup.sh

# The doctor's own exit code says whether anything is left out; here that is no failure.
findings=$("$bin/lockbox-jepsen" doctor --bin "$bin") || [ $? -eq 2 ]
printf '%s\n' "$findings"
profile=$(sed -n 's/^profile: //p' <<<"$findings")
if [ "$profile" != smoke ]; then
  printf 'jepsen-smoke: this machine has no root or no TUN: running %s, without the classes above\n' \
    "$profile"
fi
seed=()
[ $# -eq 0 ] || seed=(--seed "$1")
LOCKBOX_COMMIT=$(git rev-parse HEAD 2>/dev/null || true)
export LOCKBOX_COMMIT
status=0
"$bin/lockbox-jepsen" run --profile "$profile" "${seed[@]}" --bin "$bin" --out "$out" || status=$?
printf 'jepsen-smoke: the record is in %s\n' "$out"
exit $status
