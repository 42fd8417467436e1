#!/usr/bin/env bash
# A cluster of three nodes and a KMS on this machine, each a process of its own.
#   usage: cluster.sh start|stop|status
#          cluster.sh kill-node N [SIGNAL] | start-node N | kill-kms [SIGNAL] | start-kms
#          cluster.sh wait-ready N | env
#          cluster.sh new-node N: starts a node that is no member yet, for lockbox cluster add
# LOCKBOX_BIN    directory of the programs lockbox and kms-sim (required to start)
# LOCKBOX_DIR    where everything is kept; default .lockbox/cluster
# LOCKBOX_NODES  how many nodes; default 3
# LOCKBOX_PORT_BASE  below the ports of a new one, see lockbox local --help; default 8450
# Variables LOCKBOX_CONFIG_… and KMS_CONFIG_… reach the servers.
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(realpath -m "${LOCKBOX_DIR:-.lockbox/cluster}")
nodes=${LOCKBOX_NODES:-3}
run="$dir/run"
# The members' addresses are in the replicated state: a cluster keeps the ports it was formed with.
port_base=$(cat "$run/port-base" 2>/dev/null || echo "${LOCKBOX_PORT_BASE:-8450}")

fail() { echo "cluster.sh: $*" >&2; exit 1; }

bin() {
  [ -n "${LOCKBOX_BIN:-}" ] || LOCKBOX_BIN=$(cat "$run/bin" 2>/dev/null) || fail "LOCKBOX_BIN is not set"
  echo "$LOCKBOX_BIN"
}

# A process is known by its pid and when it began: pids are used again.
alive() { # name
  local pid began
  # The braces: what the shell says of a missing file is no news here.
  { read -r pid began <"$run/$1.pid"; } 2>/dev/null || return 1
  # One that had ended before its beginning was noted has none, as whoever is not there.
  [ -n "$began" ] && [ "$(began "$pid")" = "$began" ]
}
began() { cut -d')' -f2- "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }
# What every call of `lockbox local` is told.
cluster_local() { "$(bin)/lockbox" local --dir "$dir" --nodes "$nodes" --port-base "$port_base" "$@"; }
pid_of() { cut -d' ' -f1 "$run/$1.pid"; }

launch() { # name, command…
  local name=$1; shift
  ! alive "$name" || fail "$name runs already"
  # A session of its own: ctrl-C in the terminal is not for the servers.
  setsid "$@" >>"$dir/$name.log" 2>&1 </dev/null &
  local pid=$!
  disown "$pid"
  echo "$pid $(began "$pid")" >"$run/$name.pid"
}
start_node() { launch "node-$1" "$(bin)/lockbox" serve --config "$dir/node-$1.toml"; }
start_kms() { launch kms "$(bin)/kms-sim" serve --config "$dir/kms.toml"; }

port_of() { # file, table: the port that the table's `listen` names
  awk -v t="[$2]" '$0 == t { in_table = 1; next } /^\[/ { in_table = 0 }
    in_table && /^listen/ { sub(/.*:/, ""); sub(/".*/, ""); print }' "$1"
}

# Waits until a server says so itself, or has ended.
wait_ready() { # name, seconds
  local port deadline=$((SECONDS + $2))
  port=$(port_of "$dir/$1.toml" metrics)
  until curl -fsS -o "$run/$1.ready" "http://127.0.0.1:$port/readyz" 2>/dev/null; do
    alive "$1" || { tail -3 "$dir/$1.log" >&2; fail "$1 has ended; its log is $dir/$1.log"; }
    [ $SECONDS -lt $deadline ] || {
      curl -sS "http://127.0.0.1:$port/readyz" >&2 || true
      fail "$1 is not ready after $2 s; its log is $dir/$1.log"
    }
    sleep 0.1
  done
}

# A node that ends by a wrong configuration says so itself; who calls it could only say that
# nobody is there.
wait_listening() { # name port seconds
  local deadline=$((SECONDS + $3))
  until (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; do
    alive "$1" || { tail -3 "$dir/$1.log" >&2; fail "$1 has ended; its log is $dir/$1.log"; }
    [ $SECONDS -lt $deadline ] || fail "$1 does not listen after $3 s; its log is $dir/$1.log"
    sleep 0.1
  done
}

stop_one() { # name
  alive "$1" || return 0
  local pid; pid=$(pid_of "$1")
  kill -TERM "$pid"
  for _ in $(seq 100); do alive "$1" || return 0; sleep 0.1; done
  echo "cluster.sh: $1 does not end in 10 s and is killed" >&2
  kill -KILL "$pid"
}

# No signal but to the process that was started: its pid may be another one's by now.
signal_one() { # name signal
  alive "$1" || fail "$1 does not run"
  kill -s "$2" "$(pid_of "$1")"
}

write_env() {
  local pids=""
  for n in $(seq "$nodes"); do pids="$pids $(pid_of "node-$n")"; done
  cluster_local env --pids "${pids# }" --kms-pid "$(pid_of kms)" --bin "$(bin)"
}

initialise() {
  local members=() cert="$dir/certificates"
  for n in $(seq "$nodes"); do
    wait_listening "node-$n" "$(port_of "$dir/node-$n.toml" peer)" 60
    members+=(--member "$n=localhost:$(port_of "$dir/node-$n.toml" peer),localhost:$(port_of "$dir/node-$n.toml" api)")
  done
  id() { sed -n "s/.*\"$1\": \"\(.*\)\".*/\1/p" "$dir/ids.json"; }
  "$(bin)/lockbox" cluster init --endpoint "localhost:$(port_of "$dir/node-1.toml" peer)" \
    --ca "$cert/ca.pem" --certificate "$cert/admin.pem" --key "$cert/admin-key.pem" \
    --server-name node-1.lockbox.internal --admin-key "$dir/admin-key.json" \
    --cloud-id "$(id cloud_id)" --folder-id "$(id folder_id)" "${members[@]}" >"$dir/init.log"
}

may_start() {
  mkdir -p "$run"
  bin >/dev/null
  for name in kms $(seq -f 'node-%g' "$nodes"); do
    ! alive "$name" || fail "a cluster runs in $dir; make cluster-stop ends it"
  done
  [ "$port_base" = "${LOCKBOX_PORT_BASE:-$port_base}" ] ||
    fail "the cluster in $dir was formed with LOCKBOX_PORT_BASE=$port_base"
}

start() {
  rm -f "$dir/env"
  bin >"$run/bin"
  cluster_local prepare
  echo "$port_base" >"$run/port-base"
  start_kms
  for n in $(seq "$nodes"); do start_node "$n"; done
  wait_ready kms 60
  [ -f "$dir/admin-key.json" ] || initialise
  for n in $(seq "$nodes"); do wait_ready "node-$n" 60; done
  write_env
  echo "$nodes nodes and a KMS are ready; to connect: . ${dir#"$PWD"/}/env"
}

# Nodes may have come since the cluster was formed.
node_names() { { seq -f 'node-%g' "$nodes"; cd "$run" && ls; } | sed -n 's/^\(node-[0-9]*\)\(\.pid\)\?$/\1/p' | sort -u; }

stop() {
  rm -f "$dir/env"
  for name in $(node_names); do stop_one "$name" & done
  wait
  stop_one kms
}

new_node() { # N
  [ ! -e "$dir/node-$1" ] || fail "node $1 has a directory already; ids are never used again"
  # The ports and certificates of all nodes up to this one; those of the others stay.
  "$(bin)/lockbox" local --dir "$dir" --nodes "$1" --port-base "$port_base" prepare
  start_node "$1"
  wait_listening "node-$1" "$(port_of "$dir/node-$1.toml" peer)" 60
}

case "${1:-}" in
  start)
    may_start
    # What did not start whole is stopped whole.
    started=no
    trap '[ $started = yes ] || stop' EXIT
    start
    started=yes ;;
  stop) stop ;;
  status)
    for name in kms $(node_names); do
      if alive "$name"; then echo "$name runs as $(pid_of "$name")"; else echo "$name does not run"; fi
    done ;;
  kill-node) signal_one "node-$2" "${3:-KILL}" ;;
  start-node) start_node "$2"; wait_ready "node-$2" 60; write_env ;;
  launch-node) start_node "$2" ;;
  new-node) new_node "$2" ;;
  kill-kms) signal_one kms "${2:-KILL}" ;;
  start-kms) start_kms; wait_ready kms 60; write_env ;;
  launch-kms) start_kms ;;
  wait-ready) wait_ready "node-$2" 60 ;;
  env) write_env ;;
  *) sed -n '2,12p' "$0" | sed 's/^# \{0,1\}//'; exit 2 ;;
esac
