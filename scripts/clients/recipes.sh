# shellcheck shell=bash disable=SC2154,SC2034
# What the documentation does with plain curl: each function is one recipe. Sourced by run.sh, which
# has `work`, `env_file`, `python` and `killed_node`. Values, tokens and keys go through files that only their
# owner reads: arguments are seen by everybody on the machine.

# How long anything may take, an election on a busy machine included.
readonly PATIENCE=180

# A body in JSON: "${json[@]}" "@FILE". (--json is not in every curl yet.)
readonly json=(--header 'content-type: application/json' --data)

# One request; prints the HTTP version and the status. The body goes to $work/body, the headers to
# $work/headers. Usage: send ENDPOINT VERSION PATH [OPTION...]
send() {
    local endpoint=$1 version=$2 path=$3
    shift 3
    : >"$work/body"
    curl --silent --show-error --max-time 15 "--http$version" --cacert "$LOCKBOX_CA" \
        --output "$work/body" --dump-header "$work/headers" \
        --write-out '%{http_version} %{http_code}' "$@" "https://$endpoint$path"
}

# A request that must be answered with that status, by one node.
# Usage: rest VERSION STATUS PATH [OPTION...]
rest() {
    local version=$1 status=$2 path=$3 got
    shift 3
    got=$(send "${endpoint:-$LOCKBOX_ENDPOINT}" "$version" "$path" "$@") || true
    if [ "$got" != "$version $status" ]; then
        printf 'HTTP version and status are %s, not %s %s: ' "$got" "$version" "$status"
        reason "${got#* }"
        return 1
    fi
}

# What a refusal says. Of what was answered instead nothing is shown: it may hold values.
reason() {
    case $1 in
        2*) echo 'it was answered' ;;
        *) cat "$work/body" && echo ;;
    esac
}

# The same by whichever node answers, tried until one does. Changes need an idempotency key.
# Usage: anywhere STATUS PATH [OPTION...]
anywhere() {
    local status=$1 path=$2 got node deadline=$((SECONDS + PATIENCE))
    shift 2
    while [ $SECONDS -lt $deadline ]; do
        for node in $LOCKBOX_ENDPOINTS; do
            got=$(send "$node" 1.1 "$path" "$@" 2>/dev/null) || true
            case ${got#* } in
                "$status") return 0 ;;
                # Nobody is there, or nobody leads: the next one.
                000 | 503 | 504) ;;
                *)
                    printf '%s answers %s, not %s: ' "$node" "${got#* }" "$status"
                    reason "${got#* }"
                    return 1
                    ;;
            esac
        done
        sleep 0.2
    done
    printf 'no node answers within %d s\n' "$PATIENCE"
    return 1
}

# A field of the answer, by its path: `pick metadata.secretId`.
# One entry's value: `entry login textValue`. By jq, as GitLab's guide has it, where it is installed.
if command -v jq >/dev/null; then
    pick() { jq --raw-output --arg path "$1" 'getpath($path / ".")' "$work/body"; }
    entry() {
        jq --join-output --arg key "$1" --arg field "$2" \
            '.entries[] | select(.key == $key)[$field]' "$work/body"
    }
else
    pick() {
        python3 -c '
import functools, json, sys
value = functools.reduce(lambda v, k: (v or {}).get(k), sys.argv[1].split("."), json.load(sys.stdin))
print(value if isinstance(value, str) else json.dumps(value))' "$1" <"$work/body"
    }
    entry() {
        python3 -c '
import json, sys
for entry in json.load(sys.stdin)["entries"]:
    if entry["key"] == sys.argv[1]:
        sys.stdout.write(entry[sys.argv[2]])' "$1" "$2" <"$work/body"
    }
fi

# Whether two texts are the same. Usage: same WHAT FOUND WANTED
same() {
    if [ "$2" != "$3" ]; then
        printf '%s is "%s", not "%s"\n' "$1" "$2" "$3"
        return 1
    fi
}

count_operations() { grep --only-matching '"createdBy"' "$work/body" | wc -l; }

new_uuid() { cat /proc/sys/kernel/random/uuid; }

# A JWT of the authorized key becomes a token; what follows uses it.
exchange_token() {
    "$python" scripts/clients/jwt_login.py --env "$env_file" >"$work/jwt" || return 1
    { printf '{"jwt": "' && tr -d '\n' <"$work/jwt" && printf '"}'; } >"$work/login.json"
    rest 1.1 200 /iam/v1/tokens "${json[@]}" "@$work/login.json" || return 1
    { printf 'authorization: Bearer ' && pick iamToken; } >"$work/exchanged"
    # It is a token, it says when it ends, and nobody keeps the answer.
    [[ $(pick expiresAt) == *Z ]] || { echo 'the token does not say when it ends' && return 1; }
    : >"$work/body"
    rest 1.1 200 "/lockbox/v1/secrets?folderId=$LOCKBOX_FOLDER_ID&pageSize=1" \
        --header "@$work/exchanged"
}

# Asks until the operation is done. Usage: poll OPERATION
poll() {
    local deadline=$((SECONDS + PATIENCE))
    while anywhere 200 "/operations/$1" --header "@$work/exchanged"; do
        if [ "$(pick "done")" = true ]; then
            return 0
        fi
        [ $SECONDS -lt $deadline ] || { echo 'the operation is never done' && return 1; }
        sleep 0.2
    done
    return 1
}

# The value of binary entries in base64, and as bytes.
readonly BINARY_BASE64='AP/+'
binary() { printf '\000\377\376'; }

write_secret() { # NAME
    printf '{"folderId": "%s", "name": "%s", "versionPayloadEntries": [
        {"key": "login", "textValue": "user"},
        {"key": "certificate", "binaryValue": "%s"}]}' \
        "$LOCKBOX_FOLDER_ID" "$1" "$BINARY_BASE64" >"$work/secret.json"
}

# A secret is made, its operation waited for, and the same request under the same key is the same
# operation.
create_by_rest() {
    recipe_name=test-clients-curl-$(new_uuid)
    local key operation
    key=$(new_uuid)
    write_secret "$recipe_name"
    anywhere 200 /lockbox/v1/secrets "${json[@]}" "@$work/secret.json" \
        --header "@$work/exchanged" --header "Idempotency-Key: $key" || return 1
    operation=$(pick id) recipe_id=$(pick metadata.secretId)
    made_ids+=" $recipe_id"
    poll "$operation" || return 1
    same 'the new secret' "$(pick response.id)" "$recipe_id" || return 1
    anywhere 200 /lockbox/v1/secrets "${json[@]}" "@$work/secret.json" \
        --header "@$work/exchanged" --header "Idempotency-Key: $key" || return 1
    same 'the operation of the repeat' "$(pick id)" "$operation" || return 1
    anywhere 200 "/lockbox/v1/secrets/$recipe_id/operations" --header "@$work/exchanged" &&
        same 'the number of operations' "$(count_operations)" 1
}

# GitLab's recipe: the payload, and of it one entry.
select_entry() {
    anywhere 200 "/lockbox/v1/secrets/$recipe_id/payload" --header "@$work/exchanged" || return 1
    entry login textValue | cmp - <(printf 'user') || return 1
    entry certificate binaryValue | base64 --decode | cmp - <(binary)
}

# By folder and name: every value is bytes there.
read_by_name() {
    anywhere 200 /lockbox/v1/secrets:getEx --get --header "@$work/exchanged" \
        --data-urlencode "folderAndName.folderId=$LOCKBOX_FOLDER_ID" \
        --data-urlencode "folderAndName.secretName=$recipe_name" || return 1
    same 'the secret of that name' "$(pick secretId)" "$recipe_id" || return 1
    pick entries.login | base64 --decode | cmp - <(printf 'user')
}

# Versions are added and listed one by one, following the tokens.
follow_pages() {
    local wanted=() found=() token='' deadline=$((SECONDS + PATIENCE)) _
    printf '{"payloadEntries": [{"key": "login", "textValue": "user"}]}' >"$work/version.json"
    for _ in 1 2 3; do
        anywhere 200 "/lockbox/v1/secrets/$recipe_id:addVersion" "${json[@]}" "@$work/version.json" \
            --header "@$work/exchanged" --header "Idempotency-Key: $(new_uuid)" || return 1
        wanted=("$(pick metadata.versionId)" "${wanted[@]}")
    done
    while :; do
        anywhere 200 "/lockbox/v1/secrets/$recipe_id/versions" --get --header "@$work/exchanged" \
            --data-urlencode pageSize=1 --data-urlencode "pageToken=$token" || return 1
        found+=("$(grep --only-matching '"id": *"[^"]*"' "$work/body" | cut -d'"' -f4)")
        token=$(pick nextPageToken)
        case $token in '' | null) break ;; esac
        [ $SECONDS -lt $deadline ] || { echo 'the pages do not end' && return 1; }
    done
    # The first version is the one that the secret was made with.
    same 'the number of versions' "${#found[@]}" 4 || return 1
    same 'the versions' "${found[*]:0:3}" "${wanted[*]}"
}

delete_by_rest() {
    anywhere 200 "/lockbox/v1/secrets/$recipe_id" --request DELETE \
        --header "@$work/exchanged" --header "Idempotency-Key: $(new_uuid)" || return 1
    anywhere 404 "/lockbox/v1/secrets/$recipe_id" --header "@$work/exchanged" || return 1
    made_ids=${made_ids// $recipe_id/}
    same 'the code' "$(pick code)" 5 && grep --quiet '"requestId"' "$work/body"
}

# --- With a cluster ---

cluster() { LOCKBOX_DIR=$(dirname "$env_file") scripts/cluster.sh "$@"; }

# The number of the node that leads, as node 1, 2 or 3 says.
leader() {
    local leader number=0 node deadline=$((SECONDS + PATIENCE))
    while [ $SECONDS -lt $deadline ]; do
        anywhere 200 "/lockbox/v1/secrets?folderId=$LOCKBOX_FOLDER_ID&pageSize=1" \
            --header "@$work/exchanged" >&2 || return 1
        leader=$(tr -d '\r' <"$work/headers" | sed -n 's/^lockbox-leader: //Ip')
        for node in $LOCKBOX_ENDPOINTS; do
            number=$((number + 1))
            if [ "$node" = "$leader" ]; then
                echo "$number"
                return 0
            fi
        done
        number=0
        sleep 0.2
    done
    echo 'no node says who leads' >&2
    return 1
}

# Made before the leader is killed, made while it is dead: both are there on every node, once.
survive_leader() {
    local number node deadline=$((SECONDS + PATIENCE)) before
    create_by_rest || return 1
    before=$recipe_id
    number=$(leader) || return 1
    cluster kill-node "$number" || return 1
    # Not by a pipe into grep: it stops reading at the line that it looks for, and who writes on
    # fails the pipe.
    until [[ $(cluster status || true) == *"node-$number does not run"* ]]; do
        [ $SECONDS -lt $deadline ] || { echo "node $number outlives SIGKILL" && return 1; }
        sleep 0.1
    done
    killed_node=$number
    create_by_rest && select_entry && read_by_name && follow_pages || return 1
    cluster start-node "$number" || return 1
    killed_node=
    for node in $LOCKBOX_ENDPOINTS; do
        endpoint=$node rest 1.1 200 "/lockbox/v1/secrets/$before/payload" \
            --header "@$work/exchanged" || return 1
        entry login textValue | cmp - <(printf 'user') || return 1
        endpoint=$node rest 1.1 200 "/lockbox/v1/secrets/$recipe_id/operations" \
            --header "@$work/exchanged" || return 1
        same "the number of operations on $node" "$(count_operations)" 4 || return 1
    done
    delete_by_rest && recipe_id=$before && delete_by_rest
}
