#!/usr/bin/env bash
# The root file system of the container image: the two programs, the libraries that they are linked
# to, and nothing else; no shell. The Dockerfile runs it, and so does the test that starts it where no
# container engine is.
#   usage: assemble.sh PROGRAMS ROOT
# PROGRAMS has lockbox and kms-sim; ROOT must not be there. As root, the data directory belongs to the
# image's user.
set -euo pipefail
umask 022

# As distroless images have it: not root, and no user of the host's.
readonly USER_ID=65532
fail() { echo "assemble.sh: $*" >&2; exit 2; }

[ $# -eq 2 ] || fail "two arguments are needed: the directory of the programs, and the root"
programs=$1 root=$2
[ ! -e "$root" ] || fail "$root is there already"
mkdir -p "$root"/{usr/bin,etc/lockbox,etc/ssl/certs,proc,sys,dev,run,tmp,var/lib/lockbox}

libraries() { # program: the files that the loader would take, the loader among them
    ldd "$1" | awk '$2 == "=>" && $3 ~ /^\// { print $3 } $1 ~ /^\// { print $1 }'
}

for name in lockbox kms-sim; do
    program=$programs/$name
    [ -x "$program" ] || fail "there is no program $program"
    cp "$program" "$root/usr/bin/$name"
    ! command -v strip >/dev/null || strip "$root/usr/bin/$name"
    chmod 755 "$root/usr/bin/$name"
    while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done < <(libraries "$program")
done

echo "lockbox:x:$USER_ID:$USER_ID:Lockbox:/var/lib/lockbox:/nonexistent" >"$root/etc/passwd"
echo "lockbox:x:$USER_ID:" >"$root/etc/group"
echo "hosts: files dns" >"$root/etc/nsswitch.conf"
# For a KMS of somebody else's.
authorities=/etc/ssl/certs/ca-certificates.crt
[ ! -f "$authorities" ] || cp -L "$authorities" "$root$authorities"
chmod 1777 "$root/tmp"
chmod 700 "$root/var/lib/lockbox"
[ "$(id -u)" -ne 0 ] || chown "$USER_ID:$USER_ID" "$root/var/lib/lockbox"
# The same source and tools give the same image.
find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-0}" {} +
