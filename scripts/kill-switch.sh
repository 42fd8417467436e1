#!/usr/bin/env bash
# Switches reading off in every way that there is, with one node stopped each time, while readers
# read through all nodes: nothing that begins after the answer may succeed.
#   usage: kill-switch.sh [DIR] [ARGUMENTS OF lockbox-bench kill-switch]     (make kill-switch)
# DIR                   directory of the programs lockbox, kms-sim and lockbox-bench; default LOCKBOX_BIN
# KILL_SWITCH_DIR       where the cluster is kept (.lockbox/kill-switch); it is emptied
# KILL_SWITCH_PORT_BASE below the cluster's ports (8850)
# LOCKBOX_MUTANT        a seeded bug, of programs that have it: then this has to exit with 1
set -euo pipefail
cd "$(dirname "$0")/.."

bin=${LOCKBOX_BIN:-}
if [ $# -gt 0 ] && [ -d "$1" ]; then bin=$1; shift; fi
[ -n "$bin" ] || { echo "kill-switch: no directory of programs is given" >&2; exit 2; }
bin=$(realpath "$bin")
LOCKBOX_DIR=$(realpath -m "${KILL_SWITCH_DIR:-.lockbox/kill-switch}")
export LOCKBOX_DIR LOCKBOX_PORT_BASE=${KILL_SWITCH_PORT_BASE:-8850} LOCKBOX_BIN=$bin
marker="$LOCKBOX_DIR/.kill-switch"
fail() { printf 'kill-switch: %s\n' "$*" >&2; exit 1; }

if [ -e "$LOCKBOX_DIR" ]; then
    [ -e "$marker" ] || fail "$LOCKBOX_DIR is there and is not ours"
    scripts/cluster.sh stop
    rm -rf "$LOCKBOX_DIR"
fi
mkdir -p "$LOCKBOX_DIR"
touch "$marker"

# A mutant is of one program, and the other one refuses its name.
if [ -n "${LOCKBOX_MUTANT:-}" ]; then
    mkdir "$LOCKBOX_DIR/programs"
    for program in lockbox kms-sim; do
        if "$bin/$program" mutants | grep -q "$LOCKBOX_MUTANT"; then
            printf '#!/bin/sh\nexport LOCKBOX_MUTANT=%q\nexec %q "$@"\n' "$LOCKBOX_MUTANT" "$bin/$program" \
                >"$LOCKBOX_DIR/programs/$program"
            chmod +x "$LOCKBOX_DIR/programs/$program"
        else
            ln -s "$bin/$program" "$LOCKBOX_DIR/programs/$program"
        fi
    done
    LOCKBOX_BIN="$LOCKBOX_DIR/programs"
    unset LOCKBOX_MUTANT
fi

# Nodes that a failure has left stopped could not end.
clean_up() {
    # shellcheck disable=SC2086
    [ -z "${LOCKBOX_PIDS:-}" ] || kill -s CONT $LOCKBOX_PIDS 2>/dev/null || true
    scripts/cluster.sh stop || true
}
trap clean_up EXIT
scripts/cluster.sh start
programs=$LOCKBOX_BIN
# shellcheck disable=SC1091
. "$LOCKBOX_DIR/env"
export LOCKBOX_BIN=$programs
read -ra endpoints <<<"$LOCKBOX_ENDPOINTS"
read -ra pids <<<"$LOCKBOX_PIDS"
endpoint_arguments=() pid_arguments=()
for endpoint in "${endpoints[@]}"; do endpoint_arguments+=(--endpoint "$endpoint"); done
for pid in "${pids[@]}"; do pid_arguments+=(--node-pid "$pid"); done
"$bin/lockbox-bench" kill-switch "${endpoint_arguments[@]}" "${pid_arguments[@]}" \
    --ca "$LOCKBOX_CA" --folder-id "$LOCKBOX_FOLDER_ID" --kms-endpoint "$KMS_ENDPOINT" "$@" ||
    fail "it does not hold"
