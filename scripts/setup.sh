#!/usr/bin/env bash
# Installs what a build needs beside Rust, once, and says what it does:
#   - libclang (bindgen of RocksDB), a C++ compiler and git, by apt where there is apt;
#   - a static RocksDB, built once per machine into ~/.cache/rocksdb-static (about 4 minutes on 2 cores).
# Prints nothing when all is there. Source the output of scripts/build-rocksdb.sh afterwards.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

if ! command -v cargo >/dev/null; then
    say "Rust is missing: install it from https://rustup.rs (1.95 or newer), then run this again"
    exit 1
fi

missing=()
command -v c++ >/dev/null || missing+=(g++)
command -v python3 >/dev/null || missing+=(python3)
# Not libclang-cpp, which is another library. A name that is not there makes `ls` fail, so look for
# whatever is printed.
if [ -z "$(ls -d /usr/lib/{llvm-*/lib,*-linux-*}/libclang{,-[0-9]*}.so* 2>/dev/null || true)" ]; then
    # The compiler's own headers come in a package of their own.
    missing+=(libclang1-14 libclang-common-14-dev)
fi
if [ "${#missing[@]}" -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        say "please install: a C++ compiler, python3 and libclang with its headers (LIBCLANG_PATH if unusual)"
        exit 1
    fi
    sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    say "installing ${missing[*]} by apt"
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

cargo fetch --locked --quiet
say "RocksDB: building it once, or taking the one in the cache"
scripts/build-rocksdb.sh "$PWD"
