# shellcheck shell=bash
# The writers, what they have been told, and the rows of the table. Read by drill.sh.

# What is there before any step: secrets that are looked at by name, and the writers' own key.
prepare_secrets() {
    local endpoint
    endpoint=$(api 1)
    "$new/lockbox" kms symmetric-key create --name drill --default-algorithm aes-256 >/dev/null
    own_key=$("$new/lockbox" kms symmetric-key get drill --format json | ids | sed -n 1p)
    [ -n "$own_key" ] || fail "the key of the drill has no id"
    "$new/lockbox" secret create --name kept --payload '[{key: k, text_value: kept}]' \
        --endpoint "$endpoint" >/dev/null
    "$new/lockbox" secret create --name own --kms-key-id "$own_key" \
        --payload '[{key: k, text_value: owned}]' --endpoint "$endpoint" >/dev/null
    "$new/lockbox" secret create --name doomed --payload '[{key: k, text_value: gone}]' \
        --endpoint "$endpoint" >/dev/null
}
ids() { grep -o '"id": *"[^"]*"' | cut -d'"' -f4; }

load_start() { # node…
    local node endpoints=()
    for node in "$@"; do endpoints+=(--endpoint "$(api "$node")"); done
    "$new/lockbox-bench" ledger write "${endpoints[@]}" --ca "$certificates/ca.pem" --deadline 5 \
        --ledger "$ledger" --kms-key-id "$own_key" >>"$place/load.out" 2>&1 &
    load_pid=$!
    writes_go_on 20
}

load_stop() {
    local pid=$load_pid
    [ -n "$pid" ] || return 0
    load_pid=""
    kill -TERM "$pid" 2>/dev/null || true
    wait "$pid" || fail "a writer was told what it must not be: $(tail -1 "$place/load.out")"
}

acknowledged() { wc -l <"$ledger"; }

# Waits until more writes are acknowledged.
writes_go_on() { # how many
    local from deadline=$((SECONDS + 90))
    from=$(acknowledged)
    until [ "$(acknowledged)" -ge $((from + $1)) ]; do
        kill -0 "$load_pid" 2>/dev/null ||
            fail "a writer was told what it must not be: $(tail -1 "$place/load.out")"
        [ $SECONDS -lt $deadline ] || fail "no writes are acknowledged any more"
        sleep 0.1
    done
}

# Every acknowledged write through every one of these, and what was found.
check_ledger() { # file, index that the cluster went on from or "", node…
    local file=$1 last=$2 node arguments=()
    shift 2
    [ -z "$last" ] || arguments+=(--lost-after "$last")
    for node in "$@"; do arguments+=(--endpoint "$(api "$node")"); done
    "$new/lockbox-bench" ledger check "${arguments[@]}" --ca "$certificates/ca.pem" \
        --ledger "$file" 2>&1
}

# The longest time without an acknowledgement within a span, in milliseconds.
longest_gap() { # from, to
    sort -n "$ledger" | awk -v from="$1" -v to="$2" 'BEGIN { last = from }
        $1 >= from && $1 <= to { if ($1 - last > gap) gap = $1 - last; last = $1 }
        END { if (to - last > gap) gap = to - last; print gap + 0 }'
}

begin() { # step
    step=$1
    say "$step"
    began=$(now_ms)
}

# What the step was for has happened: writes go on, and how long it took is known.
served() {
    writes_go_on 20
    ended=$(now_ms)
    gap=$(longest_gap "$began" "$ended")
}

# The step's promise, looked at while nobody writes; then its row, and the load again.
finish() { # what is missing
    local found
    load_stop
    found=$(check_ledger "$ledger" "" "${members[@]}") || fail "$found"
    say "$found"
    compare_states
    row "${1:-0}"
    load_start "${members[@]}"
}

row() { # what is missing
    local total
    total=$(acknowledged)
    rows+=("$step|$(seconds $((ended - began)))|$(seconds "$gap")|$total|$1")
}
seconds() { printf '%d.%02d' $(($1 / 1000)) $(($1 % 1000 / 10)); }

print_table() {
    {
        printf '| %-58s | %8s | %12s | %9s | %-30s |\n' step "took, s" "no writes, s" checked missing
        printf '|%s|%s:|%s:|%s:|%s|\n' "$(dashes 60)" "$(dashes 9)" "$(dashes 13)" "$(dashes 10)" \
            "$(dashes 32)"
        local name took silent checked missing line
        for line in "${rows[@]}"; do
            IFS='|' read -r name took silent checked missing <<<"$line"
            printf '| %-58s | %8s | %12s | %9s | %-30s |\n' "$name" "$took" "$silent" "$checked" \
                "$missing"
        done
    } | tee "$place/table.md"
    say "took: until writes were acknowledged again after the step; no writes: the longest time of it"
    say "without an acknowledgement; checked: acknowledged writes that were read through each member"
}
dashes() { printf '%*s' "$1" '' | tr ' ' -; }
