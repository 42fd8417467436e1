#!/usr/bin/env bash
# Runs the demo: on the cluster that is running, or on one that it starts and stops again.
# Exits 0 when all of it held, 1 with the failing step's sentence when not.
set -euo pipefail
cd "$(dirname "$0")/.."

env_file=.lockbox/cluster/env

# Whether a whole cluster runs: every node and the KMS.
is_running() {
    [ -f "$env_file" ] && [[ $(scripts/cluster.sh status || echo 'does not run') != *'does not run'* ]]
}

python=$(scripts/clients/venv.sh)
export PYTHONPATH=scripts/clients:scripts/demo
# The SDK uses calls of the standard library that newer Pythons warn about.
export PYTHONWARNINGS=ignore::DeprecationWarning PYTHONDONTWRITEBYTECODE=1

# A judge that lets everything pass shows nothing: first it must find planted mistakes.
if ! found=$("$python" -m unittest --quiet test_judges 2>&1); then
    printf '%s\n' "$found" >&2
    exit 1
fi

if is_running; then
    printf 'demo: using the cluster that is running\n'
else
    trap 'make --no-print-directory cluster-stop >/dev/null || true' EXIT
    # One of which a part is left must go first: two cannot share their ports.
    make --no-print-directory cluster-stop
    make --no-print-directory cluster
fi
if ! "$python" scripts/demo/demo.py --env "$env_file"; then
    printf 'demo: what the servers say is in .lockbox/cluster/*.log\n' >&2
    exit 1
fi
