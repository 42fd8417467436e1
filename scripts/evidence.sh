#!/usr/bin/env bash
# Writes the evidence of this commit: the records of its runs, judged again, in one directory.
#   usage: evidence.sh [RUN_DIRECTORY...]
# Without a run, a smoke run is made first.
# LOCKBOX_BIN   directory of the programs lockbox, kms-sim and lockbox-jepsen (required)
# MATRIX        the kill matrix that goes in as well; default none
# EVIDENCE_OUT  where the bundle goes; default .lockbox/evidence/<commit>
set -euo pipefail
bin=$(realpath "${LOCKBOX_BIN:?is not set}")
matrix=${MATRIX:+$(realpath "$MATRIX")}
runs=()
for run in "$@"; do runs+=("$(realpath "$run")"); done
cd "$(dirname "$0")/.."
commit=$(git rev-parse HEAD)
if ! git diff --quiet HEAD --; then
  printf 'evidence: there are changes that are not committed, and evidence is of a commit\n' >&2
  exit 1
fi
out=${EVIDENCE_OUT:-.lockbox/evidence/$commit}
if [ -e "$out" ]; then
  printf 'evidence: %s is there already\n' "$out" >&2
  exit 1
fi
if [ $# -eq 0 ]; then
  runs=(".lockbox/jepsen/evidence-$(date +%Y%m%dT%H%M%S)")
  LOCKBOX_BIN=$bin JEPSEN_OUT=${runs[0]} scripts/jepsen-smoke.sh
fi
arguments=()
for run in "${runs[@]}"; do arguments+=(--run "$run"); done
[ -z "$matrix" ] || arguments+=(--matrix "$matrix")
exec "$bin/lockbox-jepsen" evidence "${arguments[@]}" --bin "$bin" --commit "$commit" --out "$out"
