#!/usr/bin/env bash
# What a release consists of, in dist/: an archive with stripped programs, manual, completions, docs,
# and what it takes to deploy them; an archive with their debug symbols; the bill of materials; and
# the SHA-256 of each file. The same commit, compiler and tools give the same programs.
#   usage: dist.sh [DIRECTORY]     (make dist)
# DIST_TARGET   cargo's target directory (.lockbox/dist-target), kept for the next time
# DIST_DIRTY=1  builds a work tree with changes, too; the version says so
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'dist: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

out=$(realpath -m "${1:-dist}")
target=$(realpath -m "${DIST_TARGET:-.lockbox/dist-target}")
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$version" ] || fail "Cargo.toml names no version"
if ! git diff --quiet HEAD || [ -n "$(git status --porcelain --untracked-files=normal)" ]; then
    [ "${DIST_DIRTY:-}" = 1 ] || fail "the work tree has changes: commit them, or set DIST_DIRTY=1"
    version="$version+$(git rev-parse --short=12 HEAD).dirty"
elif [ "$(git rev-parse --verify --quiet "v$version^{commit}" || true)" != "$(git rev-parse HEAD)" ]; then
    # Only the commit that the tag is on is that version.
    version="$version+$(git rev-parse --short=12 HEAD)"
fi
grep -q "^## \[\?${version%%+*}" CHANGELOG.md || fail "CHANGELOG.md does not name ${version%%+*}"
machine=$(rustc -vV | sed -n 's/^host: //p')
name="lockbox-$version-$machine"
# The time of everything in the archives.
when=$(git log -1 --format=%ct)

variables=$(scripts/setup.sh)
eval "$variables"
say "building $version for $machine"
# Paths get into programs, also by the C in some dependencies: what is built counts, not where.
CARGO_TARGET_DIR=$target RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$target=/build --remap-path-prefix=$PWD=/source" \
    CFLAGS="${CFLAGS:-} -ffile-prefix-map=$target=/build" \
    CXXFLAGS="${CXXFLAGS:-} -ffile-prefix-map=$target=/build" \
    cargo build --locked --release -p lockbox-node -p lockbox-kms-sim >&2

stage=$(mktemp -d -t lockbox-dist.XXXXXX)
trap 'rm -rf "$stage"' EXIT
mkdir -p "$stage/$name/bin" "$stage/$name-debug" "$stage/$name/share/man/man1" \
    "$stage/$name/share/completions" "$out"
for program in lockbox kms-sim; do
    built="$target/release/$program"
    objcopy --only-keep-debug "$built" "$stage/$name-debug/$program.debug"
    objcopy --strip-all --add-gnu-debuglink="$stage/$name-debug/$program.debug" \
        "$built" "$stage/$name/bin/$program"
done
lockbox="$stage/$name/bin/lockbox"
"$lockbox" man --dir "$stage/$name/share/man/man1"
for shell in bash zsh fish; do "$lockbox" completion "$shell" >"$stage/$name/share/completions/lockbox.$shell"; done
"$lockbox" version --formats >"$stage/$name/FORMATS"
"$stage/$name/bin/kms-sim" version --formats >>"$stage/$name/FORMATS"
cp LICENSE README.md CHANGELOG.md "$stage/$name/"
cp -r docs "$stage/$name/docs"
if [ -d deploy ]; then cp -r deploy "$stage/$name/deploy"; fi
scripts/bill-of-materials.py "$stage/materials" >&2
cp "$stage/materials/bom.cdx.json" "$stage/$name/"

rm -f "$out/$name".* "$out/$name-debug".* "$out/SHA256SUMS"
pack() { # directory
    # gzip keeps a time of its own unless it is told not to.
    tar --create --use-compress-program='gzip -n' --file "$out/$1.tar.gz" \
        --directory "$stage" --sort=name --owner=0 --group=0 --numeric-owner \
        --mtime="@$when" --mode='u=rwX,go=rX' "$1"
}
pack "$name"
pack "$name-debug"
cp "$stage/materials/bom.cdx.json" "$out/$name.cdx.json"
(cd "$out" && sha256sum -- *.tar.gz *.cdx.json >SHA256SUMS)
say "made $out:"
cat "$out/SHA256SUMS"
