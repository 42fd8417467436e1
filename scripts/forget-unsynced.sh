#!/usr/bin/env bash
# Compiles the preload library that forgets unsynced bytes (raft/tests/preload/forget_unsynced.c).
#
#   scripts/forget-unsynced.sh OUTPUT.so
#
# `cargo test -p lockbox-raft` calls it. By hand, under any program:
#   LD_PRELOAD=OUTPUT.so FORGET_UNSYNCED_DATA=DIR FORGET_UNSYNCED_DISK=IMAGE PROGRAM
set -euo pipefail

if [ $# -ne 1 ]; then
  echo "usage: $0 OUTPUT.so" >&2
  exit 2
fi
source="$(cd "$(dirname "$0")/.." && pwd)/raft/tests/preload/forget_unsynced.c"
# Made under another name and renamed: a test that runs beside this one may be loading it.
partial="$1.$$"
trap 'rm -f "$partial"' EXIT
"${CC:-cc}" -std=c11 -O2 -Wall -Wextra -Werror -shared -fPIC -o "$partial" "$source" -ldl -pthread
mv "$partial" "$1"
