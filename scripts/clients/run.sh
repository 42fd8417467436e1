#!/usr/bin/env bash
# Runs every client against one server and prints a verdict for each.
# A cluster's leader is killed on the way, and started again.
# Usage: run.sh ENV_FILE PYTHON: what is running, and an environment as venv.sh makes it
set -euo pipefail
cd "$(dirname "$0")/../.."
env_file=$1 python=$2
passed=0 failed=0 skipped=0 secret_id='' recipe_id='' made_ids='' killed_node=''
work=$(mktemp -d)
umask 077
export PYTHONDONTWRITEBYTECODE=1 PYTHONWARNINGS=ignore::DeprecationWarning
# shellcheck source=scripts/clients/recipes.sh
. scripts/clients/recipes.sh

finish() {
    bring_back || true
    for id in $secret_id $made_ids; do
        sdk --delete "$id" || true
    done
    rm -rf "$work"
}

# A node that a client has killed and not started again.
bring_back() {
    if [ -n "$killed_node" ]; then
        cluster start-node "$killed_node" && killed_node=
    fi
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
        return 0
    fi
}

skip() {
    skipped=$((skipped + 1))
    printf 'skip  %s: %s\n' "$1" "$2"
}

# What a client said besides its steps is worth knowing when all is well, too.
tell() { sed -n "/^$1/s/^ */      /p" "$work/output"; }

# The file is written anew when a node is started again.
read_env() {
    set -a
    # shellcheck disable=SC1090
    . "$env_file"
    set +a
    : "${LOCKBOX_ENDPOINTS:=$LOCKBOX_ENDPOINT}"
    printf 'authorization: Bearer %s\n' "$LOCKBOX_TOKEN" >"$work/authorization"
}

sdk() { "$python" scripts/clients/sdk.py --env "$env_file" "$@"; }

# Looks for what the body must have, white space aside.
body_has() {
    if ! tr -d ' \n' <"$work/body" | grep --fixed-strings --quiet -- "$1"; then
        printf 'the answer does not have %s\n' "$1"
        return 1
    fi
}

discover() {
    rest 1.1 200 /endpoints && body_has '"id":"lockbox-payload"' && body_has '"id":"iam"'
}

create_with_sdk() {
    secret_id=$(sdk) && [ -n "$secret_id" ]
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

read_the_secret() {
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
}

follow_recipes() {
    client 'curl: a JWT for a token' exchange_token
    if [ ! -s "$work/exchanged" ]; then
        skip 'recipes of curl' 'there is no token'
        return
    fi
    client 'curl: create by REST, wait for the operation, repeat it under its key' create_by_rest
    if [ -n "$recipe_id" ]; then
        client 'curl: the payload, and of it one entry' select_entry
        client 'curl: the payload by folder and name' read_by_name
        client 'curl: add versions and follow their pages' follow_pages
        client 'curl: delete, and be told so' delete_by_rest
    fi
    if [ "$LOCKBOX_ENDPOINTS" != "$LOCKBOX_ENDPOINT" ]; then
        client 'curl: the same while the leader is killed, and with it back' survive_leader
        bring_back
        read_env
    else
        skip 'curl with the leader killed' 'this is one process'
    fi
}

trap finish EXIT
read_env
printf 'test-clients: %s, by %s\n' "$LOCKBOX_ENDPOINTS" "$env_file"
client 'curl --http1.1: GET /endpoints' discover
client 'Python SDK: log in with the authorized key, create, read' create_with_sdk
client 'definitions: those of the Python SDK' \
    "$python" scripts/clients/wire.py --env "$env_file"
tell compared
if [ -n "$secret_id" ]; then
    read_the_secret
else
    skip 'clients that read the secret' 'there is none'
fi
follow_recipes
# A judge that lets everything pass shows nothing: first it must find planted mistakes.
client 'the judges find planted mistakes' \
    env PYTHONPATH=scripts/clients "$python" -m unittest --quiet test_clients
client 'Python SDK: every RPC' \
    timeout --kill-after=60 3600 "$python" scripts/clients/every_rpc.py --env "$env_file"
tell '   '
printf '%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
[ "$failed" -eq 0 ]
