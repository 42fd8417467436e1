# shellcheck shell=bash
# Nodes that are lost, and those that take their places (docs/quorum-loss.md,
# docs/how-to/replace-a-node.md). Read by drill.sh.

recover_quorum() { # node, more…
    local node=$1
    shift
    "$new/lockbox" cluster recover-quorum --config "$LOCKBOX_DIR/node-$node.toml" --format json "$@"
}

# A follower loses its power, the others write on, and then lose their disks for good. So the
# survivor's log ends before the last acknowledged write, and something has to be missing: exactly
# what the command announces.
lose_quorum() {
    local survivor node last newest lost found silent_from
    begin "two disks lost and the quorum with them, recovered"
    last=$(leader)
    survivor=$(others "$last" | sed -n 1p)
    kill_node "$survivor"
    load_stop
    mapfile -t members < <(others "$survivor")
    load_start "${members[@]}"
    writes_go_on 100
    # A majority is there: with this node there would be three.
    refused "the quorum is not lost" recover_quorum "$survivor"
    began=$(now_ms)
    for node in "${members[@]}"; do lose_node "$node"; done
    load_stop
    recover_quorum "$survivor" >"$place/announced.json"
    last=$(fields last_entry <"$place/announced.json")
    newest=$(awk '$4 > newest { newest = $4 } END { print newest + 0 }' "$ledger")
    say "acknowledged up to entry $newest; what is behind entry $last is announced as lost"
    [ "$newest" -gt "$last" ] || fail "nothing was lost: the step shows nothing"
    refused "look again" recover_quorum "$survivor" --accept-loss-after "$newest"
    recover_quorum "$survivor" --accept-loss-after "$last" >"$place/recovered.json"
    [ "$(fields new_epoch <"$place/recovered.json")" = 1 ] || fail "there is no new epoch"
    start_node "$survivor" "$new"
    members=("$survivor")
    # Numbers of the log are used again from here on: what is written now has another ledger, of
    # which the writes that are kept are the beginning.
    mv "$ledger" "$place/ledger-before"
    awk -v last="$last" '$4 <= last' "$place/ledger-before" >"$ledger"
    lost=$(($(wc -l <"$place/ledger-before") - $(acknowledged)))
    # The silence is in neither ledger alone: it lasts from the last answer to the first one now.
    silent_from=$(sort -n "$place/ledger-before" | awk 'END { print $1 }')
    load_start "$survivor"
    ended=$(now_ms)
    gap=$(awk -v from="$silent_from" '$1 > from && (!first || $1 < first) { first = $1 }
        END { print first - from }' "$ledger")
    found=$(check_ledger "$place/ledger-before" "$last" "$survivor") || fail "$found"
    say "after the loss: $found"
    values_are_read
    finish "$lost, as announced"
}

# Three nodes again, under ids that were never used.
grow_again() {
    local node first=${members[0]}
    begin "two new nodes, three members again"
    for node in 4 5; do
        scripts/cluster.sh new-node "$node"
        operator "$first" cluster add "$(member "$node")" >"$place/add-$node.json"
        operator "$first" cluster promote "$node" >"$place/promote-$node.json"
        scripts/cluster.sh wait-ready "$node"
    done
    served
    members=("$first" 4 5)
    values_are_read
    finish
}

# The one that has been there since the beginning goes.
replace_node() {
    local gone=${members[0]}
    begin "a node replaced"
    load_stop
    # Clients of the node that leaves are sent elsewhere before.
    load_start 4 5
    scripts/cluster.sh new-node 6
    operator 4 cluster replace "$gone" "$(member 6)" >"$place/replace.json"
    # What was removed is of no use to anybody, and nothing may depend on it.
    lose_node "$gone"
    members=(4 5 6)
    scripts/cluster.sh wait-ready 6
    served
    values_are_read
    finish
}
