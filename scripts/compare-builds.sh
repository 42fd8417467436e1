#!/usr/bin/env bash
# How the programs of two builds differ: `scripts/compare-builds.sh FIRST SECOND`, two directories.
# Reports; a difference is no failure, a program that only one of them has is.
set -euo pipefail
first=$1
second=$2
for path in "$first"/*; do
    name=$(basename "$path")
    other=$second/$name
    if [ ! -e "$other" ]; then
        echo "$name: there is none in $second" >&2
        exit 1
    fi
    hashes=$(sha256sum "$path" "$other" | cut -d' ' -f1 | sort -u)
    if [ "$(wc -l <<<"$hashes")" = 1 ]; then
        echo "$name: the same, sha256 $hashes"
        continue
    fi
    sizes=$(stat -c %s "$path" "$other" | paste -sd' ')
    # cmp says 1 where there is a difference, which is what it is asked for.
    bytes=$({ cmp -l "$path" "$other" 2>/dev/null || true; } | wc -l)
    echo "$name: $bytes bytes differ, sizes $sizes, sha256 $(paste -sd' ' <<<"$hashes")"
done
