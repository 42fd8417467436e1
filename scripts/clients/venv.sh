#!/usr/bin/env bash
# Makes a Python environment with the pinned SDK and nothing else, once, and prints its python.
# Made anew when scripts/clients/requirements.txt has changed; says what it does on standard error.
# Usage: venv.sh [DIR], default .lockbox/venv
set -euo pipefail
venv=$(realpath -m "${1:-$(dirname "$0")/../../.lockbox/venv}")
cd "$(dirname "$0")/../.."

wanted=scripts/clients/requirements.txt
# Copied last: an installation that was cut short is not taken for a finished one.
stamp=$venv/installed.txt

say() { printf 'clients: %s\n' "$*" >&2; }

if ! cmp -s "$wanted" "$stamp"; then
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        if ! command -v apt-get >/dev/null; then
            say "please install Python 3 with its venv module"
            exit 1
        fi
        sudo=()
        [ "$(id -u)" -eq 0 ] || sudo=(sudo)
        say "installing python3 and python3-venv by apt"
        "${sudo[@]}" apt-get update -qq
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null
    fi
    say "installing the yandexcloud SDK into $venv"
    rm -rf "$venv"
    mkdir -p "$(dirname "$venv")"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" >&2
    cp "$wanted" "$stamp"
fi
printf '%s\n' "$venv/bin/python"
