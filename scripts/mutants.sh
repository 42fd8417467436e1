#!/usr/bin/env bash
# Builds the programs with seeded bugs, runs the kill matrix, and copies it to jepsen/results.
#   usage: mutants.sh [ARGUMENTS OF lockbox-jepsen mutants]
# LOCKBOX_TARGET  where the programs with bugs are built; a directory of their own (required)
# MUTANTS_OUT     where the matrix and the records go; default .lockbox/mutants. Mutants that the
#                 matrix of the same programs there calls killed are not run again.
# Exits 0 when every mutant whose feature exists was killed.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${LOCKBOX_TARGET:?is not set}
out=${MUTANTS_OUT:-.lockbox/mutants}
scripts/jepsen-setup.sh

cargo build --locked --profile mutants --target-dir "$target" \
  -p lockbox-node -p lockbox-kms-sim -p lockbox-jepsen \
  --features lockbox-node/mutants,lockbox-kms-sim/mutants

LOCKBOX_COMMIT=$(git rev-parse HEAD 2>/dev/null || true)
export LOCKBOX_COMMIT
mkdir -p "$out"
status=0
"$target/mutants/lockbox-jepsen" mutants --bin "$target/mutants" --out "$out" "$@" || status=$?
# A part of the matrix does not take the place of a whole one.
if [ -f "$out/whole" ]; then
  mkdir -p jepsen/results
  cp "$out/matrix.md" jepsen/results/kill-matrix.md
  cp "$out/matrix.json" jepsen/results/kill-matrix.json
  printf 'mutants: the matrix is in jepsen/results/kill-matrix.md, the records in %s\n' "$out"
fi
exit $status
