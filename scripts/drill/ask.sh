# shellcheck shell=bash
# Asking the cluster as its operator and its users do. Read by drill.sh.

port_in() { # file, table: the port that the table's `listen` names
    awk -v table="[$2]" '$0 == table { on = 1; next } /^\[/ { on = 0 }
        on && /^listen/ { sub(/.*:/, ""); sub(/".*/, ""); print }' "$1"
}
port_of() { port_in "$LOCKBOX_DIR/node-$1.toml" "$2"; }
kms_port() { port_in "$LOCKBOX_DIR/kms.toml" "$1"; }
member() { echo "$1=localhost:$(port_of "$1" peer),localhost:$(port_of "$1" api)"; }
api() { echo "localhost:$(port_of "$1" api)"; }

# By the new program, whatever the nodes run.
operator() { # node, command…
    local node=$1
    shift
    "$new/lockbox" "$@" --endpoint "localhost:$(port_of "$node" peer)" \
        --server-name "node-$node.lockbox.internal" --ca "$certificates/ca.pem" \
        --certificate "$certificates/operator.pem" --key "$certificates/operator-key.pem" \
        --format json
}

kms_operator() { # command…
    "$new/kms-sim" admin "$@" --endpoint "localhost:$(kms_port api)" \
        --ca "$certificates/ca.pem" --certificate "$certificates/operator.pem" \
        --key "$certificates/operator-key.pem"
}

# A field that is not there has its default, which is 0.
fields() { python3 -c 'import json, sys; seen = json.load(sys.stdin); print(*(seen.get(name, 0) for name in sys.argv[1:]))' "$@"; }

leader() {
    local seen deadline=$((SECONDS + 60))
    while :; do
        seen=$(operator "${members[0]}" cluster status 2>/dev/null | fields leader_id 2>/dev/null) ||
            seen=0
        [ "$seen" = 0 ] || { echo "$seen"; return; }
        [ $SECONDS -lt $deadline ] || fail "node ${members[0]} sees no leader"
        sleep 0.2
    done
}

# All members but one.
others() { # node
    local node
    for node in "${members[@]}"; do [ "$node" = "$1" ] || echo "$node"; done
}

# Equal hashes at one index: nobody writes by then, but the nodes may still be applying.
compare_states() {
    local node seen hashes deadline=$((SECONDS + 60))
    while :; do
        hashes=""
        for node in "${members[@]}"; do
            seen=$(operator "$node" admin state-hash 2>/dev/null | fields index hash 2>/dev/null) ||
                seen="none-of-node-$node"
            hashes+="$seen"$'\n'
        done
        hashes=$(sort -u <<<"${hashes%$'\n'}")
        case "$hashes" in *none-of-node* | *$'\n'*) ;; *) break ;; esac
        [ $SECONDS -lt $deadline ] ||
            fail "the states of nodes ${members[*]} differ: $(xargs <<<"$hashes")"
        sleep 0.5
    done
}

# A command that has to be refused, with a sentence that has some words in it.
refused() { # words, command…
    local words=$1 said
    shift
    if said=$("$@" 2>&1); then fail "this was not refused: $*"; fi
    grep -qF -- "$words" <<<"$said" || fail "this was refused, but not by \"$words\": $*: $said"
}

# Milliseconds since the machine was started: the clock of the ledger.
now_ms() {
    local up
    read -r up _ </proc/uptime
    echo $((10#${up/./} * 10))
}
