#!/usr/bin/env bash
# The dashboards and rules against a real Prometheus and a running cluster under load.
#   usage: dashboards-test.sh     (make dashboards-test)
# Fails when an expression of a panel or a rule does not parse, is empty, or names a series that is
# not in docs/reference/metrics.md; when an alert's own unit tests fail; when a dashboard is not what
# generate.py writes. Draws every dashboard to $DASHBOARDS_DIR/<name>.png.
# LOCKBOX_BIN         directory of the programs lockbox and kms-sim (required)
# DASHBOARDS_DIR      where everything is kept; default .lockbox/dashboards. It is emptied.
# DASHBOARDS_SECONDS  how long there is load before anything is evaluated; default 75
# DASHBOARDS_PORT     the port of Prometheus; default 9599
# LOCKBOX_PORT_BASE   below the ports of the cluster; default 8950
set -euo pipefail
cd "$(dirname "$0")/.."
dir=$(realpath -m "${DASHBOARDS_DIR:-.lockbox/dashboards}")
seconds=${DASHBOARDS_SECONDS:-75} port=${DASHBOARDS_PORT:-9599}
export LOCKBOX_DIR="$dir/cluster" LOCKBOX_PORT_BASE=${LOCKBOX_PORT_BASE:-8950}
: "${LOCKBOX_BIN:?is not set: the directory of the programs}"

say() { printf 'dashboards-test: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

install() { # the packages that are missing, by apt
  local missing=()
  command -v prometheus >/dev/null && command -v promtool >/dev/null || missing+=(prometheus)
  command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "please install: ${missing[*]}"
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  say "installing ${missing[*]} by apt"
  "${sudo[@]}" apt-get update -qq
  # No service of it: this script starts one of its own.
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

pids=()
stop_all() {
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  scripts/cluster.sh stop >/dev/null 2>&1 || true
}

write_config() {
  {
    echo 'global: {scrape_interval: 2s, evaluation_interval: 2s}'
    echo 'rule_files:'
    echo "  - $PWD/deploy/prometheus/rules/*.yml"
    echo 'scrape_configs:'
    job lockbox /metrics $LOCKBOX_METRICS
    job lockbox-kms /metrics $KMS_METRICS
    job lockbox-secrets /metrics/secrets $LOCKBOX_METRICS
    job lockbox-keys /metrics/keys $KMS_METRICS
  } >"$dir/prometheus.yml"
}
job() { # name path urls…
  local name=$1 path=$2 url
  shift 2
  printf '  - job_name: %s\n    metrics_path: %s\n    static_configs:\n      - targets: [' "$name" "$path"
  for url in "$@"; do
    url=${url#http://}
    printf '"%s", ' "${url%%/*}"
  done
  echo ']'
}

install
deploy/dashboards/generate.py --check
promtool check rules deploy/prometheus/rules/*.yml
promtool test rules deploy/prometheus/tests/*.yml
rm -rf "$dir"
mkdir -p "$dir"
trap stop_all EXIT
scripts/cluster.sh start
# shellcheck disable=SC1091
. "$LOCKBOX_DIR/env"
write_config
prometheus --config.file="$dir/prometheus.yml" --storage.tsdb.path="$dir/tsdb" \
  --web.listen-address="127.0.0.1:$port" >"$dir/prometheus.log" 2>&1 &
pids+=($!)
scripts/dashboards/load.sh "$dir" >"$dir/load.log" 2>&1 &
pids+=($!)
say "load for $seconds seconds"
sleep "$seconds"
kill -0 "${pids[1]}" 2>/dev/null || { tail -3 "$dir/load.log" >&2; fail "the load has ended"; }
python3 scripts/dashboards/evaluate.py --prometheus "http://127.0.0.1:$port" --out "$dir"
for page in "$dir"/*.html; do
  png="${page%.html}.png"
  chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size=1600,2200 \
    --virtual-time-budget=4000 --screenshot="$png" "file://$page" >"$dir/chromium.log" 2>&1
  [ -s "$png" ] || { tail -3 "$dir/chromium.log" >&2; fail "$(basename "$png") is not drawn"; }
done
say "drawn: $(ls "$dir"/*.png | tr '\n' ' ')"
