#!/usr/bin/env python3
"""Writes what the two programs are made of into a directory.

bom.cdx.json   a CycloneDX 1.5 bill of materials: every crate that lockbox or kms-sim links, with
               version, licence, hash and what it depends on
unsafe.txt     lines with the word `unsafe` in each of those crates, ours first

Asks cargo alone, offline; the same tree gives the same files.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOTS = ("lockbox-node", "lockbox-kms-sim")
UNSAFE = re.compile(r"\bunsafe\b")


def metadata():
    command = ["cargo", "metadata", "--locked", "--offline", "--format-version", "1"]
    command += ["--filter-platform", "x86_64-unknown-linux-gnu"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def hashes(lock):
    """The hashes of the registry's archives, by name and version."""
    found = {}
    for package in lock.split("[[package]]\n")[1:]:
        fields = dict(re.findall(r'^(name|version|checksum) = "(.*)"$', package, re.MULTILINE))
        found[fields["name"], fields["version"]] = fields.get("checksum")
    return found


def linked(nodes, roots):
    """The crates that the roots need to run: neither for tests nor for building."""
    seen, open_ids = set(), list(roots)
    while open_ids:
        package = open_ids.pop()
        if package in seen:
            continue
        seen.add(package)
        for dependency in nodes[package]["deps"]:
            if any(kind["kind"] is None for kind in dependency["dep_kinds"]):
                open_ids.append(dependency["pkg"])
    return seen


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksum):
    found = {
        "type": "library",
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package.get("license"):
        found["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum:
        found["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return found


def unsafe_lines(package):
    sources = Path(package["manifest_path"]).parent.rglob("*.rs")
    lines = 0
    for source in sources:
        for line in source.read_text(errors="replace").splitlines():
            lines += bool(UNSAFE.search(line.split("//")[0]))
    return lines


def main():
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    told = metadata()
    packages = {package["id"]: package for package in told["packages"]}
    nodes = {node["id"]: node for node in told["resolve"]["nodes"]}
    roots = [package["id"] for package in told["packages"] if package["name"] in ROOTS]
    ids = linked(nodes, roots)
    chosen = sorted((packages[i] for i in ids), key=lambda p: (p["name"], p["version"]))
    checksums = hashes((Path(told["workspace_root"]) / "Cargo.lock").read_text())

    def needs(package):
        dependencies = (d["pkg"] for d in nodes[package["id"]]["deps"] if d["pkg"] in ids)
        return sorted(reference(packages[i]) for i in dependencies)

    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "lockbox"}},
        "components": [component(p, checksums.get((p["name"], p["version"]))) for p in chosen],
        "dependencies": [{"ref": reference(p), "dependsOn": needs(p)} for p in chosen],
    }
    (out / "bom.cdx.json").write_text(json.dumps(bill, indent=2) + "\n")

    counted = [(unsafe_lines(p), reference(p), p["source"] is None) for p in chosen]
    counted.sort(key=lambda row: (not row[2], -row[0], row[1]))
    text = "".join(f"{lines:6} {name}{' (ours)' if own else ''}\n" for lines, name, own in counted)
    (out / "unsafe.txt").write_text(text)
    ours = sum(lines for lines, _, own in counted if own)
    print(f"{len(chosen)} crates, {ours} lines of unsafe code in ours: {out}")


if __name__ == "__main__":
    main()
