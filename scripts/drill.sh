#!/usr/bin/env bash
# The life of a cluster of three nodes and a KMS, while writers write: a rolling upgrade and back, a
# backup, two disks and the quorum lost, recovery, the backup restored elsewhere, the KMS's disk
# destroyed, its root key recovered from shares alone, a node replaced, all certificates rotated.
# After each step every acknowledged write is read through every member, and the members' states
# are compared. Ends at the first promise that is not kept and says which; prints a table of steps.
#   usage: drill.sh     (make drill)
# LOCKBOX_BIN       directory of the programs lockbox, kms-sim and lockbox-bench (required)
# LOCKBOX_OLD_BIN   directory of an older lockbox and kms-sim, which the cluster is formed with.
#                   Without it the upgrade is a rolling restart, and the table says so
# DRILL_DIR         where everything is kept (.lockbox/drill); it is emptied
# DRILL_PORT_BASE   below the ports (9050): of the cluster, and a hundred higher of the restored one
# Exits with 0 when all of it held, 1 when not, 2 when it cannot begin, 130 after ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'drill: %s\n' "$*"; }
cannot() { say "$*" >&2; exit 2; }

[ $# = 0 ] || { sed -n '2,13p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
[ -n "${LOCKBOX_BIN:-}" ] || cannot "LOCKBOX_BIN is not set"
new=$(realpath "$LOCKBOX_BIN")
old=$(realpath "${LOCKBOX_OLD_BIN:-$LOCKBOX_BIN}")
for program in "$new/lockbox" "$new/kms-sim" "$new/lockbox-bench" "$old/lockbox" "$old/kms-sim"; do
    [ -x "$program" ] || cannot "$program is not there"
done
for program in curl python3; do
    command -v "$program" >/dev/null || cannot "$program is needed"
done
place=$(realpath -m "${DRILL_DIR:-.lockbox/drill}")
port_base=${DRILL_PORT_BASE:-9050}
export LOCKBOX_BIN=$new LOCKBOX_DIR=$place/cluster LOCKBOX_PORT_BASE=$port_base
elsewhere=$place/elsewhere elsewhere_base=$((port_base + 100))
# What an operator keeps apart from the servers: backups, the key that opens them, shares.
kept=$place/kept
ledger=$place/ledger
certificates=$LOCKBOX_DIR/certificates
marker=$place/.drill
members=(1 2 3)
step="" load_pid="" own_key=""
# Of the step: when it began, when writes were acknowledged again, the longest time without.
began=0 ended=0 gap=0
rows=()

# Called in a subshell it ends that alone; its caller ends by set -e, and clean_up names the step.
fail() { say "$*" >&2; exit 1; }

there() { LOCKBOX_DIR=$elsewhere LOCKBOX_PORT_BASE=$elsewhere_base scripts/cluster.sh "$@"; }

# shellcheck disable=SC2329  # by trap
clean_up() {
    local status=$?
    trap - EXIT
    # A second ctrl-C must not leave servers behind.
    trap '' INT TERM
    if [ -n "$load_pid" ]; then
        kill -TERM "$load_pid" 2>/dev/null || true
        wait "$load_pid" 2>/dev/null || true
    fi
    [ ! -d "$elsewhere/run" ] || there stop >/dev/null || true
    [ ! -d "$LOCKBOX_DIR/run" ] || scripts/cluster.sh stop >/dev/null || true
    [ ${#rows[@]} -eq 0 ] || print_table
    case "$status" in
        0) say "all of it held" ;;
        130) say "stopped at: $step" >&2 ;;
        *)
            say "NOT HELD ($status): $step; logs and ledgers are in $place" >&2
            status=1 ;;
    esac
    exit "$status"
}

# shellcheck source=scripts/drill/ask.sh
. scripts/drill/ask.sh
# shellcheck source=scripts/drill/ledger.sh
. scripts/drill/ledger.sh
# shellcheck source=scripts/drill/servers.sh
. scripts/drill/servers.sh
# shellcheck source=scripts/drill/upgrade.sh
. scripts/drill/upgrade.sh
# shellcheck source=scripts/drill/nodes.sh
. scripts/drill/nodes.sh
# shellcheck source=scripts/drill/backups.sh
. scripts/drill/backups.sh
# shellcheck source=scripts/drill/certificates.sh
. scripts/drill/certificates.sh

if [ -e "$place" ]; then
    [ -e "$marker" ] || cannot "$place is there and is not ours"
    [ ! -d "$LOCKBOX_DIR/run" ] || scripts/cluster.sh stop
    [ ! -d "$elsewhere/run" ] || there stop
    rm -rf "$place"
fi
mkdir -p "$place"
touch "$marker" "$ledger"
(umask 077 && mkdir "$kept")
trap clean_up EXIT
trap 'exit 130' INT TERM

step="the cluster is formed"
say "$("$new/lockbox" --version) in $new; formed by $("$old/lockbox" --version) in $old"
LOCKBOX_BIN=$old scripts/cluster.sh start
# shellcheck disable=SC1091
. "$LOCKBOX_DIR/env"
# The file names the programs that it was written by.
export LOCKBOX_BIN=$new
prepare_secrets
load_start "${members[@]}"

if [ -n "${LOCKBOX_OLD_BIN:-}" ]; then
    roll "rolling upgrade" "$new"
    roll "and back" "$old"
    roll "upgraded again" "$new"
    raise_level
else
    roll "rolling restart (no older build was given)" "$new"
fi
back_up
lose_quorum
grow_again
restore_elsewhere
lose_kms_disk
lose_root_key
replace_node
rotate_certificates
load_stop
