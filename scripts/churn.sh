#!/usr/bin/env bash
# What stays on a node's disk after a million overwrites, as a table in Markdown; fails when it is
# more than three times what is alive (docs/disk.md). Some minutes and about 2 GiB of disk.
#   usage: churn.sh     (make churn)
# CHURN_OVERWRITES     how many (1000000)
# CHURN_HOURS          log time that they take, by moving the clock (48)
# CHURN_RETAINED_MIB   cap on what is kept of operations (256)
# CHURN_VALUE_BYTES    one value (1024)
# CHURN_DIR            where the files are (.lockbox/churn); they are removed at the end
set -euo pipefail
cd "$(dirname "$0")/.."

directory=$(realpath -m "${CHURN_DIR:-.lockbox/churn}")
mkdir -p "$directory"
TMPDIR="$directory" exec cargo run --locked --release --quiet -p lockbox-raft --example churn
