#!/usr/bin/env bash
# Runs the clients of the README against servers and prints a verdict for each.
#
# Which servers: the one whose env file is given; else `lockbox dev` and the cluster of `make
# cluster`, whichever are running; else one of each, started for this on free ports, each met from a
# Python environment that is made for it, and stopped again. A cluster's leader is killed on the way.
# LOCKBOX_BIN  directory of the programs to start; they are built when it is not set
# Usage: scripts/test-clients.sh [ENV_FILE]
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
# Neither the caller's own profiles decide anything here, nor is one left among them.
export LOCKBOX_CONFIG=$work/config.toml
logs=.lockbox/test-clients
status=0 dev_pid='' own_cluster=no
# How long a server may take until it is ready, on a busy machine.
readonly START_SECONDS=180

finish() {
    stop_dev
    stop_cluster
    rm -rf "$work"
}

answers() {
    (
        # shellcheck disable=SC1090
        . "$1" 2>/dev/null
        curl --silent --fail --max-time 5 --cacert "$LOCKBOX_CA" \
            "https://$LOCKBOX_ENDPOINT/endpoints"
    ) >/dev/null 2>&1
}

# The env files of the servers that are running.
running() {
    local env_file
    for env_file in .lockbox/dev/env .lockbox/cluster/env; do
        if [ -f "$env_file" ] && answers "$env_file"; then
            echo "$env_file"
        fi
    done
}

start_dev() {
    local deadline=$((SECONDS + START_SECONDS))
    mkdir "$work/dev"
    "$LOCKBOX_BIN/lockbox" dev --no-profile --dir "$work/dev" --api-port 0 --kms-port 0 --peer-port 0 \
        --metrics-port 0 --kms-metrics-port 0 >"$work/dev.log" 2>&1 &
    dev_pid=$!
    # The file is there only while everything is ready.
    until [ -f "$work/dev/env" ]; do
        if ! kill -0 "$dev_pid" 2>/dev/null || [ $SECONDS -ge $deadline ]; then
            printf 'test-clients: lockbox dev does not start:\n' >&2
            tail -3 "$work/dev.log" >&2
            return 1
        fi
        sleep 0.1
    done
}

stop_dev() {
    if [ -n "$dev_pid" ]; then
        kill -TERM "$dev_pid" 2>/dev/null || true
        wait "$dev_pid" || true
        dev_pid=
    fi
}

# A base below which no port of a cluster is taken; see `lockbox local --help`.
free_port_base() {
    python3 - <<'PYTHON'
import random, socket, sys

def free(port):
    try:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True

# Below the ports that the kernel gives to whoever asks for any.
for base in random.sample(range(20000, 31000, 50), 200):
    if all(free(base + table + n) for table in (0, 1000) for n in range(1, 25)):
        print(base)
        sys.exit()
sys.exit("test-clients: no ports are free for a cluster")
PYTHON
}

start_cluster() {
    local base
    base=$(free_port_base) || return 1
    own_cluster=yes
    LOCKBOX_DIR=$work/cluster LOCKBOX_PORT_BASE=$base LOCKBOX_NODES=3 scripts/cluster.sh start
}

stop_cluster() {
    if [ $own_cluster = yes ]; then
        LOCKBOX_DIR=$work/cluster LOCKBOX_NODES=3 scripts/cluster.sh stop >/dev/null || true
        own_cluster=no
    fi
}

# Runs the clients against one server of our own, from an environment of its own.
# Usage: try_own NAME
try_own() {
    local python
    if python=$(scripts/clients/venv.sh "$work/venv-$1") && "start_$1" &&
        scripts/clients/run.sh "$work/$1/env" "$python"; then
        "stop_$1"
    else
        status=1
        "stop_$1"
        mkdir -p "$logs"
        find "$work" -maxdepth 2 -name '*.log' -exec cp {} "$logs" \;
        printf 'test-clients: what the servers said is in %s\n' "$logs" >&2
    fi
    rm -rf "$work/venv-$1"
}

trap finish EXIT
command -v curl >/dev/null || { printf 'test-clients: please install curl\n' >&2; exit 1; }
if [ $# -gt 0 ]; then env_files=("$1"); else mapfile -t env_files < <(running); fi
if [ ${#env_files[@]} -gt 0 ]; then
    python=$(scripts/clients/venv.sh)
    for env_file in "${env_files[@]}"; do
        scripts/clients/run.sh "$env_file" "$python" || status=1
    done
else
    LOCKBOX_BIN=${LOCKBOX_BIN:-$(make --no-print-directory programs)}
    export LOCKBOX_BIN
    try_own dev
    try_own cluster
    if [ -e "$LOCKBOX_CONFIG" ]; then
        printf 'test-clients: a server has left a profile behind\n' >&2
        status=1
    fi
fi
exit $status
