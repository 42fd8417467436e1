#!/usr/bin/env bash
# Runs the clients of the README against a server and prints a verdict for each.
#
# Which server: the one whose env file is given; else `lockbox dev` or the cluster, whichever is
# running; else a cluster that is started for this and stopped again.
# Usage: scripts/test-clients.sh [ENV_FILE]
set -euo pipefail
cd "$(dirname "$0")/.."

passed=0 failed=0 skipped=0 secret_id=
work=$(mktemp -d)
own_cluster=no

finish() {
    if [ -n "$secret_id" ]; then
        sdk --delete "$secret_id" || true
    fi
    rm -rf "$work"
    if [ "$own_cluster" = yes ]; then
        make --no-print-directory cluster-stop >/dev/null || true
    fi
}

answers() {
    (
        # shellcheck disable=SC1090
        . "$1" 2>/dev/null
        curl --silent --fail --max-time 5 --cacert "$LOCKBOX_CA" \
            "https://$LOCKBOX_ENDPOINT/endpoints"
    ) >/dev/null 2>&1
}

find_server() {
    for env_file in .lockbox/dev/env .lockbox/cluster/env; do
        if [ -f "$env_file" ] && answers "$env_file"; then
            return
        fi
    done
    own_cluster=yes
    env_file=.lockbox/cluster/env
    make --no-print-directory cluster
}

# Runs one client; what it prints is shown only when it fails.
client() {
    local title=$1
    shift
    if "$@" >"$work/output" 2>&1; then
        passed=$((passed + 1))
        printf 'ok    %s\n' "$title"
    else
        failed=$((failed + 1))
        printf 'FAIL  %s\n' "$title"
        sed 's/^/      /' "$work/output"
    fi
}

skip() {
    skipped=$((skipped + 1))
    printf 'skip  %s: %s\n' "$1" "$2"
}

sdk() {
    PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore::DeprecationWarning \
        "$python" scripts/clients/sdk.py --env "$env_file" "$@"
}

# curl, failing on every status that is not expected; the body goes to $work/body.
# Usage: rest VERSION STATUS PATH [OPTION...]
rest() {
    local version=$1 status=$2 path=$3 got
    shift 3
    : >"$work/body"
    got=$(curl --silent --show-error --max-time 15 "--http$version" --cacert "$LOCKBOX_CA" \
        --output "$work/body" --write-out '%{http_version} %{http_code}' "$@" \
        "https://$LOCKBOX_ENDPOINT$path")
    if [ "$got" != "$version $status" ]; then
        printf 'HTTP version and status are %s, not %s %s: ' "$got" "$version" "$status"
        cat "$work/body"
        return 1
    fi
}

# Looks for what the body must have, white space aside.
body_has() {
    if ! tr -d ' \n' <"$work/body" | grep --fixed-strings --quiet -- "$1"; then
        printf 'the answer does not have %s: ' "$1"
        cat "$work/body"
        return 1
    fi
}

discover() {
    rest 1.1 200 /endpoints && body_has '"id":"lockbox-payload"' && body_has '"id":"iam"'
}

create_with_sdk() {
    secret_id=$(sdk) && [ -n "$secret_id" ]
}

compare_definitions() {
    PYTHONDONTWRITEBYTECODE=1 "$python" scripts/clients/wire.py --env "$env_file"
}

payload_path() { printf '/lockbox/v1/secrets/%s/payload' "$secret_id"; }

# The token is given to curl in a file: arguments are seen by everybody on the machine.
read_payload() {
    rest "$1" 200 "$(payload_path)" --header "@$work/authorization" &&
        body_has '"textValue":"user"' && body_has '"binaryValue":"AP/+"'
}

refuse_stranger() { rest 1.1 401 "$(payload_path)"; }

read_with_grpcurl() {
    # shellcheck disable=SC2016 # grpcurl puts the token in: arguments are seen by everybody
    grpcurl -cacert "$LOCKBOX_CA" -expand-headers \
        -H 'authorization: Bearer ${LOCKBOX_TOKEN}' -d "{\"secret_id\": \"$secret_id\"}" \
        "$LOCKBOX_ENDPOINT" yandex.cloud.lockbox.v1.PayloadService/Get >"$work/body" &&
        body_has '"textValue":"user"'
}

# The binary that the env file names, or the one on the path.
find_lockbox() {
    if [ -n "${LOCKBOX_BIN:-}" ]; then
        lockbox=$LOCKBOX_BIN/lockbox
    else
        lockbox=$(command -v lockbox || true)
    fi
    [ -x "$lockbox" ]
}

# A value is written as it is: without a newline at its end.
read_with_cli() {
    "$lockbox" payload get --id "$secret_id" --key login >"$work/body" &&
        printf 'user' | cmp - "$work/body" &&
        "$lockbox" payload get --id "$secret_id" --key certificate >"$work/body" &&
        printf '\000\377\376' | cmp - "$work/body"
}

trap finish EXIT
command -v curl >/dev/null || { printf 'test-clients: please install curl\n' >&2; exit 1; }
python=$(scripts/clients/venv.sh)
if [ $# -gt 0 ]; then env_file=$1; else find_server; fi
set -a
# shellcheck disable=SC1090
. "$env_file"
set +a
(umask 077 && printf 'authorization: Bearer %s\n' "$LOCKBOX_TOKEN" >"$work/authorization")
printf 'test-clients: %s, by %s\n' "$LOCKBOX_ENDPOINT" "$env_file"

client 'curl --http1.1: GET /endpoints' discover
client 'Python SDK: log in with the authorized key, create, read' create_with_sdk
client 'definitions: those of the Python SDK' compare_definitions
# How much that was is worth knowing when all is well, too.
sed -n 's/^compared/      &/p' "$work/output"
if [ -n "$secret_id" ]; then
    client 'curl --http1.1: read the payload with a bearer token' read_payload 1.1
    if curl --version | grep --quiet HTTP2; then
        client 'curl --http2: read the payload with a bearer token' read_payload 2
    else
        skip 'curl --http2' 'this curl cannot do it'
    fi
    client 'curl without a token is refused with 401' refuse_stranger
    if find_lockbox; then
        client 'lockbox: read each value, byte for byte' read_with_cli
    else
        skip 'lockbox' 'the binary is neither where the env file says nor on the path'
    fi
    if command -v grpcurl >/dev/null; then
        client 'grpcurl, by reflection: read the payload' read_with_grpcurl
    else
        skip 'grpcurl' 'it is not installed, and neither Debian nor PyPI has it'
    fi
else
    skip 'clients that read the secret' 'there is none'
fi
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
