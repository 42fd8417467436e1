#!/usr/bin/env bash
# Replaces a follower, and then the leader, of three nodes while writers write: nothing that was
# acknowledged may be lost, and all nodes must have the same state afterwards.
#   usage: replace-drill.sh     (make replace-drill)
# LOCKBOX_BIN       directory of the programs lockbox, kms-sim and lockbox-bench (required)
# DRILL_DIR         where the cluster is kept (.lockbox/replace-drill); it is emptied
# DRILL_PORT_BASE   below the cluster's ports (8750)
set -euo pipefail
cd "$(dirname "$0")/.."

[ -n "${LOCKBOX_BIN:-}" ] || { echo "replace-drill: LOCKBOX_BIN is not set" >&2; exit 2; }
export LOCKBOX_BIN
LOCKBOX_DIR=$(realpath -m "${DRILL_DIR:-.lockbox/replace-drill}")
export LOCKBOX_DIR LOCKBOX_PORT_BASE=${DRILL_PORT_BASE:-8750}
# Every writer of one secret adds entries for as long as the drill takes.
export LOCKBOX_CONFIG_LIMITS__VERSIONS_PER_SECRET=1000000
export LOCKBOX_CONFIG_LIMITS__ENTRIES=1000000
export LOCKBOX_CONFIG_LIMITS__KEY_BYTES=67108864 LOCKBOX_CONFIG_LIMITS__VALUE_BYTES=67108864
marker="$LOCKBOX_DIR/.replace-drill"
load_pids=()

say() { printf 'replace-drill: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

clean_up() {
    [ ${#load_pids[@]} -eq 0 ] || kill "${load_pids[@]}" 2>/dev/null || true
    scripts/cluster.sh stop || true
}

# --- Asking the cluster as an operator does ---

port_of() { # node, table
    awk -v table="[$2]" '$0 == table { on = 1; next } /^\[/ { on = 0 }
        on && /^listen/ { sub(/.*:/, ""); sub(/".*/, ""); print }' "$LOCKBOX_DIR/node-$1.toml"
}
member() { echo "$1=localhost:$(port_of "$1" peer),localhost:$(port_of "$1" api)"; }

operator() { # node, command…
    local node=$1 certificates="$LOCKBOX_DIR/certificates"
    shift
    "$LOCKBOX_BIN/lockbox" "$@" --endpoint "localhost:$(port_of "$node" peer)" \
        --server-name "node-$node.lockbox.internal" --ca "$certificates/ca.pem" \
        --certificate "$certificates/operator.pem" --key "$certificates/operator-key.pem" \
        --format json
}

fields() { python3 -c 'import json, sys; seen = json.load(sys.stdin); print(*(seen[name] for name in sys.argv[1:]))' "$@"; }

leader_seen_by() {
    local seen deadline=$((SECONDS + 60))
    while :; do
        seen=$(operator "$1" cluster status | fields leader_id)
        [ "$seen" = 0 ] || { echo "$seen"; return; }
        [ $SECONDS -lt $deadline ] || fail "node $1 sees no leader"
        sleep 0.2
    done
}

# Equal hashes at one index: the nodes are quiet by then, but may still be applying.
compare_states() { # node…
    local node hashes deadline=$((SECONDS + 60))
    while :; do
        hashes=$(for node in "$@"; do operator "$node" admin state-hash | fields index hash; done | sort -u)
        [ "$(wc -l <<<"$hashes")" -gt 1 ] || break
        [ $SECONDS -lt $deadline ] || fail "the states of nodes $* differ: $(xargs <<<"$hashes")"
        sleep 0.5
    done
    say "nodes $*: equal states, index and hash $hashes"
}

replace() { # node, by, asked
    local began ended
    scripts/cluster.sh new-node "$2"
    began=$(date +%s%N)
    operator "$3" cluster replace "$1" "$(member "$2")" >"$LOCKBOX_DIR/replace-$1.json"
    ended=$(date +%s%N)
    say "node $1 replaced by node $2 in $(((ended - began) / 1000000)) ms"
    # What was removed is of no use to anybody, and nothing may depend on it.
    scripts/cluster.sh kill-node "$1"
}

# --- The drill ---

if [ -e "$LOCKBOX_DIR" ]; then
    [ -e "$marker" ] || fail "$LOCKBOX_DIR is there and is not ours"
    scripts/cluster.sh stop
    rm -rf "$LOCKBOX_DIR"
fi
mkdir -p "$LOCKBOX_DIR"
touch "$marker"
trap clean_up EXIT
scripts/cluster.sh start
# shellcheck disable=SC1091
. "$LOCKBOX_DIR/env"

leader=$(leader_seen_by 1)
mapfile -t followers < <(seq 3 | grep -vx "$leader")
kept=${followers[0]} second=${followers[1]}
say "node $leader leads; node $second goes first, then node $leader; node $kept stays"

# Through the node that stays: what the others had accepted, it must still know.
servers=(--endpoint "localhost:$(port_of "$kept" api)" --ca "$LOCKBOX_CA" --folder-id "$LOCKBOX_FOLDER_ID")
"$LOCKBOX_BIN/lockbox-bench" contend "${servers[@]}" --writers 16 --duration 15 --label replace \
    >"$LOCKBOX_DIR/contend.out" 2>&1 &
contend=$!
"$LOCKBOX_BIN/lockbox-bench" load "${servers[@]}" --operation put --clients 16 --members all \
    --duration 15 --warm-up 0.5 --label others >"$LOCKBOX_DIR/load.out" 2>&1 &
load_pids=("$contend" "$!")

sleep 3
replace "$second" 4 "$kept"
sleep 2
replace "$leader" 5 "$kept"
say "node $(leader_seen_by "$kept") leads now"

wait "$contend" || fail "the writers: $(cat "$LOCKBOX_DIR/contend.out")"
wait "${load_pids[1]}" || fail "the other load: $(cat "$LOCKBOX_DIR/load.out")"
load_pids=()
sed 's/^/  /' "$LOCKBOX_DIR/contend.out"
compare_states "$kept" 4 5
operator "$kept" cluster status |
    python3 -c 'import json, sys; print("members:", *(m["node_id"] for m in json.load(sys.stdin)["members"]))'
say "all of it held"
