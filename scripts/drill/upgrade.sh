# shellcheck shell=bash
# The rolling upgrade, and the way back. Read by drill.sh.
# It comes first: what a cluster writes once its feature level is raised, no older build reads, and a
# cluster that the new build has formed begins at the new level.

# All members on other programs one after the other, the leader last, and then the KMS.
roll() { # step, programs
    local last node
    begin "$1"
    last=$(leader)
    for node in $(others "$last") "$last"; do swap_node "$node" "$2"; done
    swap_kms "$2"
    served
    values_are_read
    finish
}

raise_level() {
    begin "feature level raised"
    operator 1 cluster raise-feature-level >"$place/level.json"
    say "the cluster is at feature level $(fields level <"$place/level.json")"
    # The old build has written the configurations; each server reads the new ones when it is
    # started next.
    "$new/lockbox" local --dir "$LOCKBOX_DIR" --nodes 3 --port-base "$port_base" prepare
    served
    finish
}
