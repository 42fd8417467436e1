#!/usr/bin/env bash
# Measures Lockbox and etcd side by side on this machine, and a bare gRPC echo as the ceiling.
#   usage: bench.sh     (make bench)
# Writes bench/results/<date>-<machine>.md, and the measurements beside it as lines of JSON.
#
# Both are three members on loopback on the same disk, with fsync on, TLS to clients and mutual TLS
# between members. They take turns within each round. The one that is not measured is idle, not
# stopped: restarting it each time would measure caches, and pausing its processes would end in
# elections. An idle cluster uses one or two hundredths of a core; every cell waits until the
# machine is quiet, so that nobody's compaction runs in the other's window, and the report drops
# pairs during which all other processes together used more than 0.35 cores.
#
# etcd's timeouts are 300 and 3000 ms: with two cores under full load its defaults cost it
# elections. Both keep versions and revisions: our limit on versions is raised, etcd's quota too.
#
# BENCH_PARTS        rounds contend memory
# BENCH_ROUNDS       rounds (3)
# BENCH_CLIENTS      clients (1 16 64 256)
# BENCH_READ_BYTES   lengths of values that are read (1024)
# BENCH_WRITE_BYTES  lengths of values that are written (256 1024)
# BENCH_SECONDS      measured seconds of a cell (4), after BENCH_WARM_UP (1)
# BENCH_QUIET        longest wait for a quiet machine before a cell, in seconds (10)
# BENCH_DIR          scratch directory on the disk to measure (.lockbox/bench); it is emptied
# BENCH_MACHINE      name of the machine in the file's name (from its processor)
# BENCH_NICE         priority of the build (0)
set -euo pipefail
cd "$(dirname "$0")/.."

parts=${BENCH_PARTS:-rounds contend memory}
rounds=${BENCH_ROUNDS:-3}
client_counts=${BENCH_CLIENTS:-1 16 64 256}
read_bytes=${BENCH_READ_BYTES:-1024}
write_bytes=${BENCH_WRITE_BYTES:-256 1024}
dir=$(realpath -m "${BENCH_DIR:-.lockbox/bench}")
etcd_data="$dir/etcd" certificates="$dir/certificates" facts="$dir/facts"
results="$dir/rounds.jsonl" others="$dir/others.jsonl"
etcd_pids=() etcd_endpoints=() etcd_metrics=()

say() { printf 'bench: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
fact() { printf '%s\n' "$*" >>"$facts"; say "$*"; }

install_etcd() {
    command -v etcd >/dev/null && return
    command -v apt-get >/dev/null || fail "please install etcd (Debian: etcd-server)"
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    say "installing etcd-server by apt"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends etcd-server >/dev/null
}

build() {
    say "building the optimised programs"
    local target
    nice -n "${BENCH_NICE:-0}" cargo build --release --locked \
        -p lockbox-bench -p lockbox-node -p lockbox-kms-sim
    target=$(cargo metadata --format-version 1 --no-deps --offline |
        sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
    export LOCKBOX_BIN="$target/release"
    bench="$LOCKBOX_BIN/lockbox-bench"
}

# An empty scratch directory. One that we did not make is left alone.
prepare_directory() {
    if [ -e "$dir" ]; then
        [ -e "$dir/.lockbox-bench" ] || fail "$dir is there and is not ours"
        LOCKBOX_DIR="$dir/cluster" scripts/cluster.sh stop 2>/dev/null || true
        rm -rf "$dir"
    fi
    mkdir -p "$dir"
    touch "$dir/.lockbox-bench" "$results" "$facts"
    "$bench" certificates --directory "$certificates"
}

# --- The systems ---

start_etcd() {
    local n client peer cluster=""
    for n in 1 2 3; do cluster="$cluster,n$n=https://localhost:2${n}380"; done
    local tls=("$certificates/server.pem" "$certificates/server-key.pem" "$certificates/ca.pem")
    for n in 1 2 3; do
        client=localhost:2${n}379 peer=https://localhost:2${n}380
        etcd --name "n$n" --data-dir "$etcd_data/n$n" \
            --listen-client-urls "https://127.0.0.1:2${n}379" \
            --advertise-client-urls "https://$client" \
            --listen-peer-urls "https://127.0.0.1:2${n}380" --initial-advertise-peer-urls "$peer" \
            --listen-metrics-urls "http://127.0.0.1:2${n}381" \
            --cert-file "${tls[0]}" --key-file "${tls[1]}" \
            --peer-cert-file "${tls[0]}" --peer-key-file "${tls[1]}" \
            --peer-trusted-ca-file "${tls[2]}" --peer-client-cert-auth \
            --initial-cluster "${cluster#,}" --initial-cluster-state new \
            --heartbeat-interval 300 --election-timeout 3000 --quota-backend-bytes 8589934592 \
            --logger zap --log-level error >"$dir/etcd-$n.log" 2>&1 &
        etcd_pids+=($!) etcd_endpoints+=("$client") etcd_metrics+=("127.0.0.1:2${n}381")
    done
    for n in 1 2 3; do
        local deadline=$((SECONDS + 30))
        until curl -fsS -o /dev/null "http://127.0.0.1:2${n}381/health" 2>/dev/null; do
            kill -0 "${etcd_pids[n - 1]}" 2>/dev/null || fail "etcd has ended: $dir/etcd-$n.log"
            [ $SECONDS -lt $deadline ] || fail "etcd is not ready: $dir/etcd-$n.log"
            sleep 0.2
        done
    done
}

stop_etcd() {
    [ ${#etcd_pids[@]} -gt 0 ] || return 0
    kill "${etcd_pids[@]}" 2>/dev/null || true
    wait "${etcd_pids[@]}" 2>/dev/null || true
    etcd_pids=() etcd_endpoints=() etcd_metrics=()
}

# A cluster of ours without data, with limits that a load does not reach.
start_lockbox() {
    rm -rf "$dir/cluster"
    export LOCKBOX_DIR="$dir/cluster"
    export LOCKBOX_CONFIG_LIMITS__SECRETS_PER_CLOUD=1000000
    export LOCKBOX_CONFIG_LIMITS__VERSIONS_PER_SECRET=100000000
    export LOCKBOX_CONFIG_LIMITS__ENTRIES=1000000
    export LOCKBOX_CONFIG_LIMITS__KEY_BYTES=67108864
    export LOCKBOX_CONFIG_LIMITS__VALUE_BYTES=67108864
    scripts/cluster.sh start >&2
    connect_lockbox
}

connect_lockbox() {
    # shellcheck disable=SC1091
    . "$dir/cluster/env"
    # shellcheck disable=SC2206
    ours=(--endpoint $LOCKBOX_ENDPOINTS --ca "$LOCKBOX_CA" --folder-id "$LOCKBOX_FOLDER_ID")
    # shellcheck disable=SC2206
    ours_watched=(--server-pid $LOCKBOX_PIDS $KMS_PID --metrics $LOCKBOX_METRICS $KMS_METRICS
        --sync-counter lockbox_log_sync_duration_seconds_count
        lockbox_audit_sync_duration_seconds_count kms_ledger_sync_duration_seconds_count)
}

stop_lockbox() {
    [ -d "$dir/cluster" ] || return 0
    LOCKBOX_DIR="$dir/cluster" scripts/cluster.sh stop || true
}

trap 'stop_etcd; stop_lockbox' EXIT

# --- The parts ---

busy_ticks() { awk '/^cpu /{print $2 + $3 + $4 + $7 + $8}' /proc/stat; }

# Waits until less than a fifth of a core was used for half a second.
wait_quiet() {
    local before deadline=$((SECONDS + ${BENCH_QUIET:-10}))
    while [ $SECONDS -lt $deadline ]; do
        before=$(busy_ticks)
        sleep 0.5
        [ $(($(busy_ticks) - before)) -gt 10 ] || return 0
    done
}

# label, operation, clients, length of a value, then what is measured
cell() {
    local label=$1 operation=$2 clients=$3 bytes=$4
    shift 4
    wait_quiet
    say "round $round: $label $operation, $clients clients, $bytes bytes"
    "$bench" "$@" --operation "$operation" --clients "$clients" --value-bytes "$bytes" \
        --duration "${BENCH_SECONDS:-4}" --warm-up "${BENCH_WARM_UP:-1}" \
        --label "$label" --round "$round" --json "$results" >&2
}

measure_rounds() {
    local theirs
    start_etcd
    start_lockbox
    theirs=(--endpoint "${etcd_endpoints[@]}" --ca "$certificates/ca.pem"
        --server-pid "${etcd_pids[@]}" --metrics "${etcd_metrics[@]}"
        --sync-counter etcd_disk_wal_fsync_duration_seconds_count
        etcd_disk_backend_commit_duration_seconds_count)
    local load=(load "${ours[@]}" "${ours_watched[@]}") etcd=(etcd "${theirs[@]}")
    local echo=(echo --certificates "$certificates")
    for round in $(seq "$rounds"); do
        for clients in $client_counts; do
            for bytes in $read_bytes; do
                cell echo get "$clients" "$bytes" "${echo[@]}"
                cell lockbox-leader get "$clients" "$bytes" "${load[@]}" --members leader
                cell etcd-leader get "$clients" "$bytes" "${etcd[@]}" --members leader
                cell lockbox-own-key get "$clients" "$bytes" "${load[@]}" --members leader --own-key
                cell lockbox-all get "$clients" "$bytes" "${load[@]}" --members all --connections 9
                cell etcd-all get "$clients" "$bytes" "${etcd[@]}" --members all --connections 9
            done
            for bytes in $write_bytes; do
                cell echo put "$clients" "$bytes" "${echo[@]}"
                cell lockbox-leader put "$clients" "$bytes" "${load[@]}" --members leader
                cell etcd-leader put "$clients" "$bytes" "${etcd[@]}" --members leader
            done
        done
    done
    stop_etcd
    # shellcheck disable=SC2086
    fact "Bytes on disk for each node after the rounds: $(du -sb $LOCKBOX_DATA | cut -f1 | xargs)"
    stop_lockbox
}

measure_contention() {
    start_lockbox
    wait_quiet
    # Assigned first, here and below: a failure inside the argument of a command goes unnoticed.
    local told
    told=$("$bench" contend "${ours[@]}" --writers 64 --duration 30 \
        --label contend --json "$others" | paste -sd';')
    fact "One secret: $told"
    stop_lockbox
}

# RSS and its peak of each node, in MB.
memory() {
    local pid
    for pid in $LOCKBOX_PIDS; do
        awk '/^VmHWM|^VmRSS/{kb[$1] = $2}
            END{printf "%d (peak %d) ", kb["VmRSS:"] / 1024, kb["VmHWM:"] / 1024}' \
            "/proc/$pid/status"
    done
}

wait_dead() { # pid…
    local pid
    for pid in "$@"; do while [ -e "/proc/$pid" ]; do sleep 0.05; done; done
}

drop_caches() {
    sync
    if echo 3 2>/dev/null >/proc/sys/vm/drop_caches; then caches="page cache dropped"
    else caches="page cache warm"; fi
}

measure_memory() {
    local endpoints milliseconds told
    start_lockbox
    told=$("$bench" fill "${ours[@]}" --secrets 10000 --versions 10 --label fill --json "$others")
    fact "Filled: $told"
    fact "RSS of the nodes after that, MB (must ≤ 300): $(memory)"
    wait_quiet
    fact "RSS of the nodes when idle, MB: $(memory)"
    read -ra endpoints <<<"$LOCKBOX_ENDPOINTS"
    read -ra pids <<<"$LOCKBOX_PIDS"

    scripts/cluster.sh kill-node 2
    wait_dead "${pids[1]}"
    drop_caches
    scripts/cluster.sh launch-node 2
    milliseconds=$(first_read "${endpoints[1]}")
    fact "Cold start of node 2 after SIGKILL until it answers a read ($caches, must ≤ 5 s):" \
        "$milliseconds"

    scripts/cluster.sh wait-ready 2
    scripts/cluster.sh env
    connect_lockbox
    # shellcheck disable=SC2086
    { for n in 1 2 3; do scripts/cluster.sh kill-node "$n"; done; scripts/cluster.sh kill-kms
      wait_dead $LOCKBOX_PIDS $KMS_PID; }
    drop_caches
    scripts/cluster.sh launch-kms
    for n in 1 2 3; do scripts/cluster.sh launch-node "$n"; done
    milliseconds=$(first_read "${endpoints[@]}")
    fact "Cold start of all four after SIGKILL until each node answers a read ($caches):" \
        "$milliseconds"
    scripts/cluster.sh env
    connect_lockbox
    fact "RSS of the nodes after the cold start, MB: $(memory)"
    stop_lockbox
}

first_read() { # endpoint…
    "$bench" first-read --endpoint "$@" --ca "$LOCKBOX_CA" --folder-id "$LOCKBOX_FOLDER_ID" \
        --label cold-start --json "$others" | paste -sd' '
}

# --- The report ---

name_machine() {
    awk -F': ' -v cores="$(nproc)" '/^model name/{
        name = tolower($2); gsub(/[^a-z0-9]+/, "-", name); sub(/-$/, "", name)
        print cores "-core-" substr(name, 1, 24); exit }' /proc/cpuinfo | sed 's/-$//'
}

describe() {
    fact "Machine: $(nproc) cores, $(awk -F': ' '/^model name/{print $2; exit}' /proc/cpuinfo)," \
        "$(awk '/^MemTotal/{printf "%.0f GB", $2 / 1e6}' /proc/meminfo), kernel $(uname -r)"
    fact "Commit: $(git describe --always --dirty)"
    fact "etcd: $(etcd --version | sed -n 's/^etcd Version: //p'), three members"
    fact "Rounds: $rounds; ${BENCH_SECONDS:-4} s a cell after ${BENCH_WARM_UP:-1} s of load;" \
        "1000 secrets or keys; TLS everywhere; fsync on; audit on (batched); clients, servers and" \
        "all members on this machine"
}

measure_fsync() { # when
    local told
    told=$("$bench" fsync --file "$dir/fsync" --label fsync --json "$others")
    fact "Disk $1: $told"
}

# The rounds' results and the facts as a report. One of the same day and machine is kept.
write_report() {
    local name number=1 base
    base="bench/results/$(date -u +%F)-${BENCH_MACHINE:-$(name_machine)}"
    name=$base
    while [ -e "$name.md" ]; do number=$((number + 1)) name="$base-$number"; done
    mkdir -p bench/results
    "$bench" report --results "$results" --facts "$facts" --output "$name.md" \
        --title "Lockbox and etcd, $(date -u +%F)"
    cat "$results" "$others" >"$name.jsonl"
    say "the report is $name.md"
}

install_etcd
build
prepare_directory
describe
measure_fsync "before"
for part in $parts; do
    case "$part" in
        rounds) measure_rounds ;;
        contend) measure_contention ;;
        memory) measure_memory ;;
        *) fail "there is no part $part" ;;
    esac
done
measure_fsync "after"
write_report
