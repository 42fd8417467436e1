#!/usr/bin/env bash
# A rolling upgrade of three nodes and the KMS, the way back, and the upgrade again, while writers
# write: nothing that was acknowledged may be lost, mixed clusters included, and all nodes must have
# the same state after each pass. Then the feature level rises, and the old build is refused.
#   usage: upgrade-drill.sh OLD_BIN NEW_BIN     (make upgrade-drill)
# Each is a directory with lockbox and kms-sim; NEW_BIN has lockbox-bench, too.
# DRILL_DIR         where the cluster is kept (.lockbox/upgrade-drill); it is emptied
# DRILL_PORT_BASE   below the cluster's ports (8850)
# DRILL_SECONDS     of load for each pass (60); a pass that takes longer fails, and says so
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# = 2 ] || { sed -n '2,11p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
old=$(realpath "$1") new=$(realpath "$2")
for program in "$old/lockbox" "$old/kms-sim" "$new/lockbox" "$new/kms-sim" "$new/lockbox-bench"; do
    [ -x "$program" ] || { echo "upgrade-drill: $program is not there" >&2; exit 2; }
done
LOCKBOX_DIR=$(realpath -m "${DRILL_DIR:-.lockbox/upgrade-drill}")
export LOCKBOX_DIR LOCKBOX_PORT_BASE=${DRILL_PORT_BASE:-8850} LOCKBOX_BIN=$old
seconds=${DRILL_SECONDS:-60}
# Every writer of one secret adds entries for as long as the drill takes.
export LOCKBOX_CONFIG_LIMITS__VERSIONS_PER_SECRET=1000000
export LOCKBOX_CONFIG_LIMITS__ENTRIES=1000000
export LOCKBOX_CONFIG_LIMITS__KEY_BYTES=67108864 LOCKBOX_CONFIG_LIMITS__VALUE_BYTES=67108864
marker="$LOCKBOX_DIR/.upgrade-drill"
load_pid=""

say() { printf 'upgrade-drill: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

clean_up() {
    [ -z "$load_pid" ] || kill "$load_pid" 2>/dev/null || true
    LOCKBOX_BIN=$new scripts/cluster.sh stop || true
}

# --- Asking the cluster as an operator does: by the new program, whatever the nodes run ---

port_of() { # node, table
    awk -v table="[$2]" '$0 == table { on = 1; next } /^\[/ { on = 0 }
        on && /^listen/ { sub(/.*:/, ""); sub(/".*/, ""); print }' "$LOCKBOX_DIR/node-$1.toml"
}

operator() { # node, command…
    local node=$1 certificates="$LOCKBOX_DIR/certificates"
    shift
    "$new/lockbox" "$@" --endpoint "localhost:$(port_of "$node" peer)" \
        --server-name "node-$node.lockbox.internal" --ca "$certificates/ca.pem" \
        --certificate "$certificates/operator.pem" --key "$certificates/operator-key.pem" \
        --format json
}

fields() { python3 -c 'import json, sys; seen = json.load(sys.stdin); print(*(seen.get(name) for name in sys.argv[1:]))' "$@"; }

leader() {
    local seen deadline=$((SECONDS + 60))
    while :; do
        seen=$(operator 1 cluster status | fields leader_id || echo 0)
        case "$seen" in 0 | None | "") ;; *) echo "$seen"; return ;; esac
        [ $SECONDS -lt $deadline ] || fail "node 1 sees no leader"
        sleep 0.2
    done
}

# Equal hashes at one index: the nodes are quiet by then, but may still be applying.
compare_states() {
    local node hashes deadline=$((SECONDS + 60))
    while :; do
        hashes=$(for node in 1 2 3; do operator "$node" admin state-hash | fields index hash; done | sort -u)
        [ "$(wc -l <<<"$hashes")" -gt 1 ] || break
        [ $SECONDS -lt $deadline ] || fail "the states differ: $(xargs <<<"$hashes")"
        sleep 0.5
    done
    say "equal states, index and hash $hashes"
}

# --- One process after another ---

wait_gone() { # name, seconds
    local deadline=$((SECONDS + $2))
    until scripts/cluster.sh status | grep -q "^$1 does not run"; do
        [ $SECONDS -lt $deadline ] || fail "$1 does not end in $2 s"
        sleep 0.1
    done
}

runs() { # name, program
    local pid
    pid=$(cut -d' ' -f1 "$LOCKBOX_DIR/run/$1.pid")
    [ "$(readlink "/proc/$pid/exe")" = "$2" ] || fail "$1 does not run $2"
}

swap_node() { # node, programs
    local began ended
    began=$(date +%s%N)
    scripts/cluster.sh kill-node "$1" TERM
    wait_gone "node-$1" 30
    LOCKBOX_BIN=$2 scripts/cluster.sh launch-node "$1"
    LOCKBOX_BIN=$2 scripts/cluster.sh wait-ready "$1"
    ended=$(date +%s%N)
    runs "node-$1" "$2/lockbox"
    say "node $1 was away for $(((ended - began) / 1000000)) ms"
}

swap_kms() { # programs
    scripts/cluster.sh kill-kms TERM
    wait_gone kms 30
    # Not start-kms: that waits, too, but writes the file env anew.
    LOCKBOX_BIN=$1 scripts/cluster.sh launch-kms
    local deadline=$((SECONDS + 60)) port
    port=$(awk '$0 == "[metrics]" { on = 1; next } /^\[/ { on = 0 }
        on && /^listen/ { sub(/.*:/, ""); sub(/".*/, ""); print }' "$LOCKBOX_DIR/kms.toml")
    until curl -fsS -o /dev/null "http://127.0.0.1:$port/readyz" 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || fail "the KMS is not ready after 60 s"
        sleep 0.1
    done
    runs kms "$1/kms-sim"
}

# All members on other programs, the leader last, while 16 writers add entries through all of them.
pass() { # name, programs
    local name=$1 programs=$2 last node
    "$new/lockbox-bench" contend --ca "$LOCKBOX_CA" --folder-id "$LOCKBOX_FOLDER_ID" \
        --endpoint "localhost:$(port_of 1 api)" --endpoint "localhost:$(port_of 2 api)" \
        --endpoint "localhost:$(port_of 3 api)" --writers 16 --duration "$seconds" \
        --label "$name" >"$LOCKBOX_DIR/$name.out" 2>&1 &
    load_pid=$!
    sleep 2
    last=$(leader)
    say "$name: node $last leads and goes last"
    for node in 1 2 3; do
        [ "$node" = "$last" ] || swap_node "$node" "$programs"
    done
    swap_node "$last" "$programs"
    swap_kms "$programs"
    kill -0 "$load_pid" 2>/dev/null || fail "$name: the load ended first: $(cat "$LOCKBOX_DIR/$name.out")"
    wait "$load_pid" || { load_pid=""; fail "$name: $(cat "$LOCKBOX_DIR/$name.out")"; }
    load_pid=""
    sed 's/^/  /' "$LOCKBOX_DIR/$name.out"
    compare_states
    [ "$("$programs/lockbox" payload get --name before --key k)" = kept ] ||
        fail "$name: what was written before is not there"
}

# The highest feature level that programs understand; 0 for those that know of none.
level_of() { # programs
    "$1/lockbox" version --formats --format json 2>/dev/null | python3 -c '
import json, sys
formats = json.load(sys.stdin)["formats"]
print(next(f["writes"] for f in formats if f["name"] == "feature-level"))' 2>/dev/null || echo none
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
say "from $("$old/lockbox" --version) in $old to $("$new/lockbox" --version) in $new"
scripts/cluster.sh start
# shellcheck disable=SC1091
. "$LOCKBOX_DIR/env"
"$old/lockbox" secret create --name before --payload '[{key: k, text_value: kept}]' >/dev/null

pass upgrade "$new"
pass roll-back "$old"
pass upgrade-again "$new"

raised=$(operator 1 cluster raise-feature-level | fields level)
say "the cluster is at feature level $raised"
compare_states
[ "$("$new/lockbox" payload get --name before --key k)" = kept ] || fail "the secret is gone"

old_level=$(level_of "$old")
if [ "$old_level" = none ]; then
    say "the old build knows of no feature levels, and so cannot tell that it is too old"
elif [ "$old_level" -lt "$raised" ]; then
    follower=$(for node in 1 2 3; do [ "$node" = "$(leader)" ] || echo "$node"; done | head -1)
    scripts/cluster.sh kill-node "$follower" TERM
    wait_gone "node-$follower" 30
    LOCKBOX_BIN=$old scripts/cluster.sh launch-node "$follower"
    wait_gone "node-$follower" 30
    tail -5 "$LOCKBOX_DIR/node-$follower.log" | grep -q "use the newer build again" ||
        fail "the old build does not say why it ended: $(tail -5 "$LOCKBOX_DIR/node-$follower.log")"
    LOCKBOX_BIN=$new scripts/cluster.sh launch-node "$follower"
    LOCKBOX_BIN=$new scripts/cluster.sh wait-ready "$follower"
    say "the old build does not open the data any more; the new one does"
fi
say "all of it held"
