# shellcheck shell=bash
# Backups of the cluster and of its KMS, and what is made of them (docs/backup.md,
# docs/kms-backup.md). Read by drill.sh.

back_up() {
    local recipient first newest number=0 share from
    wait_witnessed
    begin "backup of the cluster and of the KMS"
    from=$(leader)
    # By a follower: any member can.
    from=$(others "$from" | sed -n 1p)
    recipient=$("$new/lockbox" admin backup keygen --to "$kept/backup.key")
    newest=$(awk '$4 > newest { newest = $4 } END { print newest + 0 }' "$ledger")
    operator "$from" admin backup --to "$kept/cluster.backup" --recipient "$recipient" \
        >"$place/made.json"
    read -r backup_index signer first < <(fields index signer destroyed <"$place/made.json")
    [ "$newest" -le "$backup_index" ] ||
        fail "entry $newest was acknowledged before the backup began, which ends at $backup_index"
    kms_operator backup --to "$kept/kms.backup" >/dev/null
    # Of the root key there are five shares, of which three are needed.
    cp -p "$LOCKBOX_DIR/kms-root.key" "$kept/root.key"
    "$new/kms-sim" root shares --config "$LOCKBOX_DIR/kms.toml" --of 5 --need 3 >"$kept/shares"
    while read -r share; do
        number=$((number + 1))
        (umask 077 && printf '%s\n' "$share" >"$kept/share-$number")
    done <"$kept/shares"
    rm "$kept/shares"
    [ "$number" = 5 ] || fail "there are $number shares"
    served
    # Later than the backup, and in the list beside it.
    destroy_doomed
    operator "$from" admin backup destroyed --after "$first" --to "$kept" >/dev/null
    "$new/lockbox" admin backup verify "$kept/cluster.backup" \
        --recipient-key "$kept/backup.key" --signer "$signer" >"$place/verified.txt"
    "$new/kms-sim" backup verify --config "$LOCKBOX_DIR/kms.toml" "$kept/kms.backup" \
        >"$place/kms-verified.txt"
    finish
}

destroy_doomed() {
    local version endpoint seen deadline=$((SECONDS + 60))
    endpoint=$(api "${members[0]}")
    version=$("$new/lockbox" secret get doomed --format json --endpoint "$endpoint" | ids | sed -n 2p)
    "$new/lockbox" secret schedule-version-destruction doomed --version-id "$version" \
        --pending-period 1s --endpoint "$endpoint" >/dev/null
    while :; do
        seen=$("$new/lockbox" secret list-versions doomed --format json --endpoint "$endpoint")
        ! grep -q DESTROYED <<<"$seen" || return 0
        [ $SECONDS -lt $deadline ] || fail "a version is not destroyed: $seen"
        sleep 0.2
    done
}

# Another cluster with a KMS of its own, of the two backups and what else was kept. Nothing of the
# first one is asked: it runs on, and knows nothing of this.
restore_elsewhere() {
    local config=$elsewhere/node-4.toml endpoint="localhost:$((elsewhere_base + 4))" token found ca
    local restore later
    begin "the backup restored elsewhere"
    "$new/lockbox" local --dir "$elsewhere" --nodes 4 --port-base "$elsewhere_base" prepare
    ca=$elsewhere/certificates/ca.pem
    cp -p "$kept/root.key" "$elsewhere/kms-root.key"
    # Accounts log in with the keys that they have.
    cp -p "$LOCKBOX_DIR/admin-key.json" "$elsewhere/admin-key.json"
    mkdir "$elsewhere/run"
    echo "$elsewhere_base" >"$elsewhere/run/port-base"
    restore=(admin restore "$kept/cluster.backup" --config "$config"
        --recipient-key "$kept/backup.key" --signer "$signer" --format json)
    "$new/lockbox" "${restore[@]}" --dry-run >"$place/dry-run.json" 2>"$place/restore.out"
    "$new/lockbox" "${restore[@]}" >"$place/restored.json" 2>>"$place/restore.out"
    [ "$(fields destroyed_again <"$place/restored.json")" -ge 1 ] ||
        fail "what was destroyed after the backup is not destroyed again"
    "$new/kms-sim" restore --config "$elsewhere/kms.toml" "$kept/kms.backup" >>"$place/restore.out"
    there launch-kms
    there launch-node 4
    there wait-ready 4
    ended=$(now_ms)
    # The administrator logs in: the only node of a layout that begins three ports higher is node 4.
    "$new/lockbox" local --dir "$elsewhere" --nodes 1 --port-base $((elsewhere_base + 3)) env \
        --pids "$(cut -d' ' -f1 "$elsewhere/run/node-4.pid")" \
        --kms-pid "$(cut -d' ' -f1 "$elsewhere/run/kms.pid")" --bin "$new"
    # shellcheck disable=SC1091
    token=$(. "$elsewhere/env" && echo "$LOCKBOX_TOKEN")
    # All that the first cluster had acknowledged up to the backup is there, and nothing later.
    found=$(LOCKBOX_TOKEN=$token "$new/lockbox-bench" ledger check --endpoint "$endpoint" \
        --ca "$ca" --ledger "$place/ledger-before" --lost-after "$backup_index" 2>&1) || fail "$found"
    say "elsewhere: $found"
    LOCKBOX_TOKEN=$token refused FAILED_PRECONDITION "$new/lockbox" payload get --name doomed \
        --key k --endpoint "$endpoint" --ca "$ca"
    LOCKBOX_TOKEN=$token "$new/lockbox" secret create --name elsewhere \
        --payload '[{key: k, text_value: v}]' --endpoint "$endpoint" --ca "$ca" >/dev/null
    there stop
    # Clients of the first cluster have noticed nothing.
    gap=$(longest_gap "$began" "$ended")
    later=$(awk -v last="$backup_index" '$4 > last' "$place/ledger-before" | wc -l)
    finish "0; elsewhere the $later since"
}

lose_kms_disk() {
    begin "the KMS's disk destroyed, restored from its backup"
    scripts/cluster.sh kill-kms KILL
    wait_gone kms 10
    rm -rf "${LOCKBOX_DIR:?}/kms"
    restore_kms "$kept/kms.backup"
    values_are_read
    served
    verify_bill
    kms_operator backup --to "$kept/kms-2.backup" >/dev/null
    finish
}

# The root key is in nobody's hands any more but in those of five who have a share each.
lose_root_key() {
    local root=$LOCKBOX_DIR/kms-root.key recover
    begin "the KMS's disk and root key destroyed, the key from shares"
    scripts/cluster.sh kill-kms KILL
    wait_gone kms 10
    rm -rf "${LOCKBOX_DIR:?}/kms"
    mv "$kept/root.key" "$kept/root.key.to-compare"
    rm "$root"
    recover=("$new/kms-sim" root recover --backup "$kept/kms-2.backup" --file "$root")
    refused "3 recovery shares are needed" "${recover[@]}" "$kept/share-1" "$kept/share-2"
    "${recover[@]}" "$kept/share-1" "$kept/share-4" "$kept/share-5" >/dev/null
    cmp -s "$root" "$kept/root.key.to-compare" || fail "the shares give another root key"
    restore_kms "$kept/kms-2.backup"
    values_are_read
    served
    verify_bill
    finish
}

restore_kms() { # backup
    "$new/kms-sim" restore --config "$LOCKBOX_DIR/kms.toml" "$1" >>"$place/restore.out"
    start_kms "$new"
}

verify_bill() {
    local said
    said=$("$new/kms-sim" billing verify --config "$LOCKBOX_DIR/kms.toml" 2>&1) ||
        fail "the ledger of the KMS is not whole: $said"
}
