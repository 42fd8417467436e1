#!/usr/bin/env bash
# Tries what is in deploy/: the systemd units, the Kubernetes manifests and the image, which is started
# in namespaces where there is no container engine. Some minutes, as root for the image.
#   usage: run.sh PROGRAMS [units|manifests|terraform|image|engine]...    (make deploy-test)
# PROGRAMS is the directory of lockbox and kms-sim. Without names, all of them.
set -euo pipefail
cd "$(dirname "$0")/../.."

say() { printf 'deploy-test: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

needs() { # command, package
    [ -n "$(type -P "$1")" ] || install "$2"
}

install() { # package
    command -v apt-get >/dev/null || fail "please install $1"
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    say "installing $1 by apt"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$1" >/dev/null
}

# An environment with the schemas, made once and again when what it holds has changed.
python() {
    local venv=.lockbox/deploy-venv wanted=deploy/test/requirements.txt
    if ! cmp -s "$wanted" "$venv/installed.txt"; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || install python3-venv
        rm -rf "$venv"
        mkdir -p "$(dirname "$venv")"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" >&2
        cp "$wanted" "$venv/installed.txt"
    fi
    PYTHONDONTWRITEBYTECODE=1 "$venv/bin/python" "$@"
}

units() {
    needs systemd-analyze systemd
    python deploy/test/units.py "$programs"
}

manifests() {
    needs openssl openssl
    deploy/kubernetes/secrets.sh "$work/manifest-secrets" >"$work/secrets.yaml"
    deploy/kubernetes/secrets.sh "$work/manifest-secrets" admin >>"$work/secrets.yaml"
    python deploy/test/manifests.py "$work/secrets.yaml"
}

terraform() {
    if [ -z "$(type -P terraform)" ]; then
        say "deploy/terraform is not looked at: there is no terraform"
        return
    fi
    command terraform fmt -check -diff deploy/terraform || fail "deploy/terraform is not formatted"
    say "deploy/terraform reads"
}

image() {
    needs openssl openssl
    needs ip iproute2
    needs setpriv util-linux
    needs strip binutils
    [ "$(id -u)" -eq 0 ] || fail "the image is tried as root: mounts and another user need it"
    deploy/image/assemble.sh "$programs" "$work/root"
    say "the image has $(du -sm "$work/root" | cut -f1) MiB in $(find "$work/root" -type f | wc -l) files"
    mkdir "$work/image"
    # Whatever happens inside, nothing outlives the first process of its namespace.
    unshare --net --mount --uts --ipc --pid --fork --kill-child --mount-proc \
        "$venv_python" deploy/test/image.py "$work/root" "$work/image"
}

# Where there is an engine, the image itself.
engine() {
    # This asks no engine.
    ! docker compose version >/dev/null 2>&1 ||
        docker compose -f deploy/compose/compose.yaml --profile init config -q
    if ! docker info >/dev/null 2>&1; then
        say "no container engine runs: the image is not built"
        return
    fi
    docker build -q -f deploy/image/Dockerfile -t lockbox:deploy-test .
    docker run --rm --read-only --cap-drop=ALL lockbox:deploy-test --version
    docker run --rm --read-only --cap-drop=ALL --entrypoint /usr/bin/kms-sim lockbox:deploy-test --version
    say "the image is built, and starts"
}

[ $# -ge 1 ] || { sed -n '2,5p' "$0" | sed 's/^# \{0,1\}//' >&2; exit 2; }
programs=$(realpath "$1")
shift
[ $# -gt 0 ] || set -- units manifests terraform image engine
work=$(mktemp -d -t lockbox-deploy.XXXXXX)
clean_up() { # exit code
    # Kept when something fails, for whoever looks into it.
    if [ "$1" -eq 0 ]; then rm -rf "$work"; else say "what there was is in $work" >&2; fi
}
trap 'clean_up $?' EXIT
# Made before anything is run in a namespace without a network.
python -c ''
venv_python=$(realpath .lockbox/deploy-venv/bin)/python
export PYTHONDONTWRITEBYTECODE=1
for part in "$@"; do
    case $part in
        units | manifests | terraform | image | engine) "$part" ;;
        *) fail "there is no part $part" ;;
    esac
done
say "all of it held"
