#!/usr/bin/env bash
# 10,000 reads and writes of secrets with a KMS key of their own, while nodes, the leader and the KMS
# are killed and clients die and try again under their idempotency keys; then the books are compared:
# what clients were answered, what nodes say that they asked, what the KMS served and what it billed.
#   usage: bill.sh [SEED]     (make bill)
# LOCKBOX_BIN  directory of the programs lockbox, kms-sim and lockbox-jepsen (required)
# BILL_OUT     where the record goes; default .lockbox/bill/<time>
# BILL_PRICES  the price list of the bill; default docs/prices.example.toml
# Exits 0 when every unit is explained, every audit whole and every changed byte found, 1 when not, 2
# when too little was asked.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${LOCKBOX_BIN:?is not set}
out=${BILL_OUT:-.lockbox/bill/$(date +%Y%m%dT%H%M%S)}
command -v zstd >/dev/null || { echo "bill: zstd is missing: histories are kept compressed" >&2; exit 2; }
mkdir -p "$(dirname "$out")"
say() { printf '\nbill: %s\n' "$*"; }

LOCKBOX_COMMIT=$(git rev-parse HEAD 2>/dev/null || true)
export LOCKBOX_COMMIT
prices=${BILL_PRICES:-docs/prices.example.toml}
seed=()
[ $# -eq 0 ] || seed=(--seed "$1")
status=0
"$bin/lockbox-jepsen" run --profile bill "${seed[@]}" --bin "$bin" --out "$out" || status=$?
[ -d "$out/kms" ] || { say "the run came to no ledger"; exit 1; }

say "the audits"
cat "$out/audits.txt" || status=1
say "the books"
compared=0
python3 scripts/bill.py books "$out" || compared=$?
say "the bill"
"$bin/kms-sim" billing report --data "$out/kms" --prices "$prices"
say "billing verify, of the ledger and of copies with one changed bit"
flipped=0
python3 scripts/bill.py flip "$bin/kms-sim" "$out/kms" || flipped=$?
say "the audits of that run, the nodes' against the heads that the cluster had of them"
audited=0
for node in "$out"/audit/node-*; do
    "$bin/lockbox" audit verify "$node" --heads "$out/audit/heads.json" --node "${node##*-}" || audited=1
done
"$bin/lockbox" audit verify "$out/kms" || audited=1
say "the record is in $out"
for code in "$status" "$compared" "$flipped" "$audited"; do [ "$code" -ne 1 ] || exit 1; done
for code in "$status" "$compared" "$flipped" "$audited"; do [ "$code" -eq 0 ] || exit "$code"; done
