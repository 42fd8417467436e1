#!/usr/bin/env bash
# Runs a program as a container engine would: with a read-only root, files and directories mounted into
# it, a /proc and a /dev of its own, as the image's user, without capabilities and without a way to get
# any. As root; only the mounts are its own, the rest is for who calls it.
#   usage: container.sh ROOT [--mount SOURCE:TARGET[:rw]]... [--env NAME=VALUE]... -- PROGRAM [ARGUMENT]...
# The places in ROOT that things are mounted at must be there.
set -euo pipefail

readonly USER_ID=65532
if [ "${1:-}" != --inside ]; then
    exec unshare --mount --propagation private -- "$0" --inside "$@"
fi
shift
root=$1
shift
mounts=() variables=()
while [ "$1" != -- ]; do
    case $1 in
        --mount) mounts+=("$2") ;;
        --env) variables+=("$2") ;;
        *) echo "container.sh: $1 is not known" >&2; exit 125 ;;
    esac
    shift 2
done
shift

mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
for mount in "${mounts[@]}"; do
    IFS=: read -r source target mode <<<"$mount"
    mount --bind "$source" "$root$target"
    [ "$mode" = rw ] || mount -o remount,bind,ro "$root$target"
done
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755,size=64k tmpfs "$root/dev"
for device in null zero random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
# From here to the program the process stays the same one: whoever started it has its id.
setpriv=$(command -v setpriv) chroot=$(command -v chroot)
exec env -i "${variables[@]}" "$setpriv" --no-new-privs \
    --bounding-set=-all,+setuid,+setgid,+sys_chroot \
    "$chroot" --userspec="$USER_ID:$USER_ID" --groups= "$root" "$@"
