#!/usr/bin/env bash
# A little of everything that the dashboards show, by the command line, until it is told to stop:
# writes, reads, secrets under own keys, and calls that are refused.
#   usage: load.sh DIR     with the variables of a cluster's file `env`
set -euo pipefail
bin=$LOCKBOX_BIN/lockbox
id_of() { sed -n '/"id":/{s/.*"id": *"\([^"]*\)".*/\1/p;q}'; }
payload='[{key: password, text_value: "drawn by nobody"}]'

common=$("$bin" secret create --name load-common --payload "$payload" --format json | id_of)
key=$("$bin" kms symmetric-key create --name load-key --default-algorithm aes-256 --format json | id_of)
own=$("$bin" secret create --name load-own --kms-key-id "$key" --payload "$payload" --format json | id_of)
[ -n "$common" ] && [ -n "$key" ] && [ -n "$own" ] || { echo "load.sh: no ids" >&2; exit 1; }

workers=()
trap 'kill "${workers[@]}" 2>/dev/null || true' EXIT
each() { while true; do "$@" >/dev/null 2>&1 || true; done; }
for endpoint in $LOCKBOX_ENDPOINTS; do
  LOCKBOX_ENDPOINT=$endpoint each "$bin" payload get --id "$common" &
  workers+=($!)
  LOCKBOX_ENDPOINT=$endpoint each "$bin" payload get --id "$own" &
  workers+=($!)
done
each "$bin" secret add-version --id "$common" --payload "$payload" &
workers+=($!)
# What callers do wrong.
each "$bin" payload get --id e6q00000000000000000 &
workers+=($!)
wait
