#!/usr/bin/env bash
# Asks a cluster of three nodes for ten times what it carries, reads and then writes, and writes what
# came of it to bench/results/overload-<date>-<machine>.md.
#   usage: overload.sh [DIR] [ARGUMENTS OF lockbox-bench overload]     (make overload)
# DIR                 directory of the programs lockbox, kms-sim and lockbox-bench; default LOCKBOX_BIN
# OVERLOAD_DIR        where the cluster is kept (.lockbox/overload); it is emptied
# OVERLOAD_PORT_BASE  below the cluster's ports (8950)
# BENCH_MACHINE       name of the machine in the file's name (from its processor)
# Exits with 0 when every refusal said when to come back, every other call was answered and nobody was
# elected; with 1 when not, with 2 when it could not be tried. Figures are printed, not judged.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'overload: %s\n' "$*" >&2; }
bin=${LOCKBOX_BIN:-}
if [ $# -gt 0 ] && [ -d "$1" ]; then bin=$1; shift; fi
[ -n "$bin" ] || { say "no directory of programs is given"; exit 2; }
bin=$(realpath "$bin")
LOCKBOX_DIR=$(realpath -m "${OVERLOAD_DIR:-.lockbox/overload}")
export LOCKBOX_DIR LOCKBOX_PORT_BASE=${OVERLOAD_PORT_BASE:-8950} LOCKBOX_BIN=$bin LOCKBOX_NODES=3
# Limits that the load does not reach.
export LOCKBOX_CONFIG_LIMITS__VERSIONS_PER_SECRET=100000000
marker="$LOCKBOX_DIR/.overload"

if [ -e "$LOCKBOX_DIR" ]; then
    [ -e "$marker" ] || { say "$LOCKBOX_DIR is there and is not ours"; exit 2; }
    scripts/cluster.sh stop
    rm -rf "$LOCKBOX_DIR"
fi
mkdir -p "$LOCKBOX_DIR"
touch "$marker"
trap 'scripts/cluster.sh stop || true' EXIT
scripts/cluster.sh start >&2 || { say "the cluster does not start"; exit 2; }
# shellcheck disable=SC1091
. "$LOCKBOX_DIR/env"

processor=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1)
short=$(printf '%s' "$processor" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9]\+/-/g' | cut -d- -f1-2)
machine=${BENCH_MACHINE:-$(nproc)-core-${short:-machine}}
result="bench/results/overload-$(date -u +%Y-%m-%d)-$machine.md"
read -ra endpoints <<<"$LOCKBOX_ENDPOINTS"
read -ra pids <<<"$LOCKBOX_PIDS"
arguments=()
for endpoint in "${endpoints[@]}"; do arguments+=(--endpoint "$endpoint"); done
for pid in "${pids[@]}"; do arguments+=(--server-pid "$pid"); done
for number in "${!endpoints[@]}"; do
    port=$(awk '/^\[/ { in_metrics = $0 == "[metrics]" } in_metrics && /^listen/ { sub(/.*:/, ""); sub(/".*/, ""); print }' \
        "$LOCKBOX_DIR/node-$((number + 1)).toml")
    arguments+=(--metrics "127.0.0.1:$port")
done
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
{
    printf '## Overload, %s\n\n' "$(date -u +%Y-%m-%d)"
    printf -- '- Machine: %s cores, %s, kernel %s\n' "$(nproc)" "$processor" "$(uname -r)"
    printf -- '- Commit: %s\n' "$commit"
    printf -- '- Three nodes, the KMS and the load on this machine; TLS, fsync and audit on\n\n'
} >>"$result"
if ! "$bin/lockbox-bench" overload "${arguments[@]}" --ca "$LOCKBOX_CA" \
    --folder-id "$LOCKBOX_FOLDER_ID" --markdown "$result" "$@"; then
    say "it does not hold; the table is in $result"
    exit 1
fi
say "it holds; the table is in $result"
