#!/usr/bin/env bash
# Every fuzz target for ten minutes, two at a time, while nobody looks: `scripts/fuzz.sh [DIRECTORY]`.
# SECONDS_EACH and JOBS say otherwise. Inputs with a new answer go into the corpus of the target's
# crate. A target that has ended well has a log in DIRECTORY; begun again, after a stop or a failure,
# the script goes on with those that have none. To run all of them anew, remove the logs.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-docs/fuzz}
seconds=${SECONDS_EACH:-600}
jobs=${JOBS:-2}
mkdir -p "$out"
variables=$(scripts/setup.sh)
eval "$variables"

# `package selector test`, one a line; none of them runs.
list() {
    local package selector targets
    while read -r package selector; do
        # A substitution does not inherit `set -e`, and a crate that does not compile is not one without
        # targets.
        # shellcheck disable=SC2086
        if ! targets=$(cargo test --locked -q -p "$package" $selector fuzz_ -- --list </dev/null); then
            echo "the targets of $package $selector cannot be listed" >&2
            return 1
        fi
        targets=$(sed -n "s/: test\$//p" <<<"$targets")
        if [ -z "$targets" ]; then
            echo "$package $selector has no target" >&2
            return 1
        fi
        sed "s/^/$package $selector /" <<<"$targets"
    done <<'UNITS'
lockbox-platform --lib
lockbox-platform --test it
lockbox-kms-sim --test it
lockbox-node --test it
UNITS
}

run() {
    local package=$1 test=${*: -1}
    local selector=("${@:2:$#-2}")
    local name=${test##*::}
    local log=$out/$name.log
    if [ -s "$log" ]; then
        return
    fi
    {
        echo "# $package $test, $seconds s"
        echo "# commit $(git rev-parse HEAD), begun $(date -u +%FT%TZ), $(nproc) cores"
        FUZZ_SECONDS=$seconds FUZZ_KEEP=1 cargo test --locked -q -p "$package" "${selector[@]}" \
            "$test" -- --exact --nocapture 2>&1 && echo "# ended $(date -u +%FT%TZ)"
    } >"$log.part" || true
    # Only a run that fuzzed and passed has a log; the input of another one stays to be looked at.
    if grep -q '^# ended' "$log.part" && grep -q ' inputs, ' "$log.part"; then
        mv "$log.part" "$log"
        grep ' inputs, ' "$log"
    else
        mv "$log.part" "$out/$name.failed"
        echo "$test failed: see $out/$name.failed" >&2
    fi
}

# `cargo test` holds a lock while it builds: all is built before two of them run beside each other.
targets=$(list)
if [ -z "$targets" ]; then
    echo "there is no fuzz target" >&2
    exit 1
fi
rm -f "$out"/*.failed
while read -r -a target; do
    while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do
        wait -n || true
    done
    run "${target[@]}" </dev/null &
done <<<"$targets"
wait
# Not by the jobs' own exit: what counts is what is there.
failed=$(find "$out" -name '*.failed' | wc -l)
exit $((failed > 0))
