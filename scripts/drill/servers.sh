# shellcheck shell=bash
# Ending and starting servers. Read by drill.sh.

wait_gone() { # name, seconds
    local seen deadline=$((SECONDS + $2))
    while :; do
        seen=$(scripts/cluster.sh status)
        ! grep -q "^$1 does not run" <<<"$seen" || return 0
        [ $SECONDS -lt $deadline ] || fail "$1 does not end in $2 s"
        sleep 0.1
    done
}

# For good, as a machine that fails, with its disk or without.
kill_node() {
    scripts/cluster.sh kill-node "$1" KILL
    wait_gone "node-$1" 10
}
lose_node() {
    kill_node "$1"
    rm -rf "${LOCKBOX_DIR:?}/node-$1"
}

# Not start-node and start-kms, which log in anew and ask nodes that may be gone.
start_node() { # node, programs
    LOCKBOX_BIN=$2 scripts/cluster.sh launch-node "$1"
    LOCKBOX_BIN=$2 scripts/cluster.sh wait-ready "$1"
    runs "node-$1" "$2/lockbox"
}
start_kms() { # programs
    LOCKBOX_BIN=$1 scripts/cluster.sh launch-kms
    local port deadline=$((SECONDS + 60))
    port=$(kms_port metrics)
    until curl -fsS -o /dev/null "http://127.0.0.1:$port/readyz" 2>/dev/null; do
        [ $SECONDS -lt $deadline ] ||
            fail "the KMS is not ready after 60 s: $(tail -1 "$LOCKBOX_DIR/kms.log")"
        sleep 0.1
    done
    runs kms "$1/kms-sim"
}

runs() { # name, program
    local pid
    pid=$(cut -d' ' -f1 "$LOCKBOX_DIR/run/$1.pid")
    [ "$(readlink "/proc/$pid/exe")" = "$2" ] || fail "$1 does not run $2"
}

swap_node() { # node, programs
    scripts/cluster.sh kill-node "$1" TERM
    wait_gone "node-$1" 30
    start_node "$1" "$2"
}
swap_kms() { # programs
    scripts/cluster.sh kill-kms TERM
    wait_gone kms 30
    start_kms "$1"
}

# The cluster bears witness for its KMS: from then on a backup of the one serves the other.
wait_witnessed() {
    local port deadline=$((SECONDS + 60))
    port=$(kms_port metrics)
    until curl -fsS "http://127.0.0.1:$port/metrics" 2>/dev/null |
        awk '$1 == "kms_commits_reserved" && $2 > 0 { found = 1 } END { exit !found }'; do
        [ $SECONDS -lt $deadline ] || fail "the cluster bears no witness for its KMS"
        sleep 0.2
    done
}

# Secrets of both kinds by name, through every member: what is under the KMS's keys, too.
values_are_read() {
    local node name value seen deadline=$((SECONDS + 60))
    for node in "${members[@]}"; do
        for name in kept own; do
            value=kept
            [ "$name" = kept ] || value=owned
            until seen=$("$new/lockbox" payload get --name "$name" --key k --endpoint "$(api "$node")" \
                --ca "$certificates/ca.pem" 2>&1) && [ "$seen" = "$value" ]; do
                [ $SECONDS -lt $deadline ] || fail "node $node does not give out \"$name\": $seen"
                sleep 0.2
            done
        done
    done
}
