#!/usr/bin/env bash
# Installs, by apt and only as root, what faults need beside a compiler: nft for the second
# implementation of partitions, ip for namespaces. Without them `doctor` says what is left out.
set -euo pipefail
missing=()
command -v ip >/dev/null || missing+=(iproute2)
command -v nft >/dev/null || missing+=(nftables)
if [ "${#missing[@]}" -eq 0 ] || [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  exit 0
fi
printf 'jepsen: installing %s by apt\n' "${missing[*]}" >&2
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
