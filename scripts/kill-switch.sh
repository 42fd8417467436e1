#!/usr/bin/env bash
# Switches reading off in every way that there is, with one node stopped each time, while readers
# read through all nodes: nothing that begins after the answer may succeed.
#   usage: kill-switch.sh [DIR] [ARGUMENTS OF lockbox-bench kill-switch]     (make kill-switch)
# DIR                   directory of the programs lockbox, kms-sim and lockbox-bench; default LOCKBOX_BIN
# KILL_SWITCH_DIR       where the cluster is kept (.lockbox/kill-switch); it is emptied
# KILL_SWITCH_PORT_BASE below the cluster's ports (8850)
# LOCKBOX_MUTANT        a seeded bug, of programs that have it: then this has to exit with 1
# Exits with 0 when nothing was read and enough was refused; with 1 when a read that began after an
# answer succeeded, with a seeded bug after what that bug shows after; with 2 when it could not be
# tried, when too little was seen, or when the seeded bug was not.
set -euo pipefail
# Whatever ends this before the end has decided nothing.
verdict=2
trap 'exit $verdict' EXIT
cd "$(dirname "$0")/.."

bin=${LOCKBOX_BIN:-}
if [ $# -gt 0 ] && [ -d "$1" ]; then bin=$1; shift; fi
[ -n "$bin" ] || { echo "kill-switch: no directory of programs is given" >&2; exit 2; }
bin=$(realpath "$bin")
LOCKBOX_DIR=$(realpath -m "${KILL_SWITCH_DIR:-.lockbox/kill-switch}")
export LOCKBOX_DIR LOCKBOX_PORT_BASE=${KILL_SWITCH_PORT_BASE:-8850} LOCKBOX_BIN=$bin LOCKBOX_NODES=3
marker="$LOCKBOX_DIR/.kill-switch"
say() { printf 'kill-switch: %s\n' "$*" >&2; }
mutant=${LOCKBOX_MUTANT:-}
unset LOCKBOX_MUTANT
late_after=()
case "$mutant" in
    '') ;;
    key-status-cached) late_after=(--late-after key-disabled) ;;
    bindings-cached) late_after=(--late-after secret-binding-removed) ;;
    revoked-token-cached) late_after=(--late-after token-revoked) ;;
    deactivate-in-cache) late_after=(--late-after secret-deactivated) ;;
    *) say "nothing that is switched off here shows the mutant $mutant"; exit 2 ;;
esac

if [ -e "$LOCKBOX_DIR" ]; then
    [ -e "$marker" ] || { say "$LOCKBOX_DIR is there and is not ours"; exit 2; }
    scripts/cluster.sh stop
    rm -rf "$LOCKBOX_DIR"
fi
mkdir -p "$LOCKBOX_DIR"
touch "$marker"

# A mutant is of one program, and the other one refuses its name.
if [ -n "$mutant" ]; then
    mkdir "$LOCKBOX_DIR/programs"
    is_there=no
    for program in lockbox kms-sim; do
        # All of the list is read: whoever prints it must not find that nobody listens.
        mutants=$("$bin/$program" mutants 2>/dev/null | cut -d' ' -f1) || mutants=
        if grep -qxF -- "$mutant" <<<"$mutants"; then
            is_there=yes
            printf '#!/bin/sh\nexport LOCKBOX_MUTANT=%q\nexec %q "$@"\n' "$mutant" "$bin/$program" \
                >"$LOCKBOX_DIR/programs/$program"
            chmod +x "$LOCKBOX_DIR/programs/$program"
        else
            ln -s "$bin/$program" "$LOCKBOX_DIR/programs/$program"
        fi
    done
    [ $is_there = yes ] || { say "the programs in $bin have no mutant $mutant"; exit 2; }
    LOCKBOX_BIN="$LOCKBOX_DIR/programs"
    say "with the mutant $mutant this has to fail"
fi

# Nodes that a failure has left stopped could not end.
pids=()
clean_up() {
    for pid in "${pids[@]}"; do
        # One process each, and never a group.
        if [[ $pid =~ ^[1-9][0-9]*$ ]] && [ "$pid" -gt 1 ]; then kill -s CONT "$pid" 2>/dev/null || true; fi
    done
    scripts/cluster.sh stop || true
    exit $verdict
}
trap clean_up EXIT
scripts/cluster.sh start || { say "the cluster does not start"; exit 2; }
programs=$LOCKBOX_BIN
# shellcheck disable=SC1091
. "$LOCKBOX_DIR/env"
export LOCKBOX_BIN=$programs
read -ra endpoints <<<"$LOCKBOX_ENDPOINTS"
read -ra pids <<<"$LOCKBOX_PIDS"
endpoint_arguments=() pid_arguments=()
for endpoint in "${endpoints[@]}"; do endpoint_arguments+=(--endpoint "$endpoint"); done
for pid in "${pids[@]}"; do pid_arguments+=(--node-pid "$pid"); done
tried=0
"$bin/lockbox-bench" kill-switch "${endpoint_arguments[@]}" "${pid_arguments[@]}" \
    --ca "$LOCKBOX_CA" --folder-id "$LOCKBOX_FOLDER_ID" --kms-endpoint "$KMS_ENDPOINT" \
    "${late_after[@]}" "$@" || tried=$?
case "${mutant:-none} $tried" in
    'none 0') verdict=0 && say "it holds" ;;
    'none 1') verdict=1 && say "it does not hold" ;;
    *' 1') verdict=1 && say "the mutant $mutant is seen" ;;
    *) say "nothing is shown: it could not be tried, or too little was seen" ;;
esac
