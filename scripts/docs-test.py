#!/usr/bin/env python3
"""Runs every command of the documents, each document against servers of its own.

    usage: docs-test.py BIN [DOCUMENT...]     (make docs-test)

BIN is the directory of the programs lockbox and kms-sim. Without documents, all that are in docs/,
and README.md, are run. Exits with 0 when all of it held, with 1 when not.

A document with commands begins with a comment that says what they are run against:

    <!-- docs-test: dev -->       `lockbox dev`, which is ready; its file is .lockbox/dev/env
    <!-- docs-test: cluster -->   three nodes and a KMS, by scripts/cluster.sh; .lockbox/cluster/env
    <!-- docs-test: none -->      nothing: the programs are on the PATH

Further lines of that comment are run before the first block, for what a reader has done already.
Blocks fenced as `sh` are run in their order, in one shell, which stops at the first command that
fails. The directory is empty but for `scripts` and `docs`. A comment on the line above a block says
what is special about it:

    <!-- not run: REASON -->      it is not, for this reason
    <!-- exits with N -->         its last command is refused with this code
    <!-- shows: TEXT -->          what it prints holds this text; there may be several

A block of another kind has to say which (text, toml, json, ...): one without a kind is refused, so
that no command is left out by mistake.
"""

import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
# How long the commands of one document may take, and its servers until they are ready, in seconds.
DOCUMENT_SECONDS = 600
READY_SECONDS = 120
# Fenced blocks that are no commands.
SILENT = {"text", "toml", "json", "yaml", "ini", "hcl", "python", "go", "http", "promql", "clj"}

KIND = re.compile(r"^<!-- docs-test: (dev|cluster|none)\s*$|^<!-- docs-test: (dev|cluster|none) -->$")
FENCE = re.compile(r"^(\s*)```(\S*)\s*$")
SPECIAL = re.compile(r"^\s*<!-- (not run|exits with|shows):? (.*?) -->\s*$")


class Refused(Exception):
    """A document that cannot be run as it is written."""


class Block:
    """Commands of a document, and what is special about them."""

    def __init__(self, line, text, specials):
        self.line, self.text = line, text
        self.not_run = next((value for name, value in specials if name == "not run"), None)
        codes = [value for name, value in specials if name == "exits with"]
        self.exits_with = int(codes[0]) if codes else None
        self.shows = [value for name, value in specials if name == "shows"]


class Document:
    """A document: what its commands are run against, what comes before them, and the blocks."""

    def __init__(self, path):
        self.path = path
        self.name = str(path.relative_to(ROOT))
        lines = path.read_text(encoding="utf-8").splitlines()
        self.kind, self.before, begin = self.head(lines)
        self.blocks = self.fenced(lines, begin)
        if self.blocks and self.kind is None:
            raise Refused(f"{self.name}:1: it has commands and does not say what they run against")

    @staticmethod
    def head(lines):
        match = KIND.match(lines[0]) if lines else None
        if match is None:
            return None, [], 0
        if match.group(2):
            return match.group(2), [], 1
        end = lines.index("-->")
        return match.group(1), lines[1:end], end + 1

    def fenced(self, lines, begin):
        blocks, specials, at = [], [], begin
        while at < len(lines):
            special, fence = SPECIAL.match(lines[at]), FENCE.match(lines[at])
            if special:
                specials.append((special.group(1), special.group(2)))
            elif fence:
                end = at + 1
                while not (FENCE.match(lines[end]) and FENCE.match(lines[end]).group(2) == ""):
                    end += 1
                    if end == len(lines):
                        raise Refused(f"{self.name}:{at + 1}: the block does not end")
                indent = len(fence.group(1))
                text = "\n".join(line[indent:] for line in lines[at + 1 : end])
                kind = fence.group(2)
                if kind == "sh":
                    blocks.append(Block(at + 1, text, specials))
                elif kind not in SILENT:
                    raise Refused(f"{self.name}:{at + 1}: the block does not say what it is")
                specials, at = [], end
            elif lines[at].strip():
                specials = []
            at += 1
        return blocks

    def script(self, outputs):
        """The commands of all blocks, in one shell. What each prints goes to a file of its own."""
        parts = ["set -euo pipefail", "{", *(self.before or [":"]), f"}} >{outputs}/before 2>&1"]
        for number, block in enumerate(self.blocks):
            if block.not_run is not None:
                continue
            output = f"{outputs}/{number}"
            parts.append(f"echo {number} >>{outputs}/begun")
            if block.exits_with is None:
                parts += ["{", block.text, f"}} >{output} 2>&1"]
            else:
                # A shell of its own: the failure must not end the document.
                parts += ["set +e", "(", "set -e", block.text, f") >{output} 2>&1", "ended=$?"]
                parts += ["set -e", f'[ "$ended" -eq {block.exits_with} ]']
            parts.append(f"echo {number} >>{outputs}/done")
        return "\n".join(parts) + "\n"


def free_port_base():
    """A base below which no port of a cluster is taken; see `lockbox local --help`."""
    for base in range(12450, 30000, 50):
        ports = [base + at for at in (*range(1, 8), *range(11, 18), 20)]
        ports += [port + 1000 for port in (*range(base + 1, base + 8), base + 20)]
        if all(is_free(port) for port in ports):
            return base
    raise Refused("no ports are free")


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Servers:
    """What a document runs against, in a directory of its own."""

    def __init__(self, kind, work, environment):
        self.kind, self.work, self.environment = kind, work, environment
        self.dev = None

    def __enter__(self):
        if self.kind == "dev":
            self.start_dev()
        elif self.kind == "cluster":
            self.cluster("start")
        return self

    def __exit__(self, *_):
        if self.dev is not None:
            self.dev.send_signal(signal.SIGTERM)
            self.dev.wait(timeout=60)
        elif self.kind == "cluster":
            self.cluster("stop")

    def start_dev(self):
        arguments = ["lockbox", "dev", "--no-profile"]
        for port in ("api", "kms", "peer", "metrics", "kms-metrics"):
            arguments += [f"--{port}-port", "0"]
        with open(self.work / "servers.log", "ab") as log:
            # pylint: disable=consider-using-with
            self.dev = subprocess.Popen(
                arguments, cwd=self.work, env=self.environment, stdout=log, stderr=log
            )
        until = time.monotonic() + READY_SECONDS
        # The file is there only while everything is ready.
        while not (self.work / ".lockbox/dev/env").exists():
            if self.dev.poll() is not None or time.monotonic() > until:
                raise Refused("lockbox dev does not start: " + self.log())
            time.sleep(0.1)

    def cluster(self, command):
        with open(self.work / "servers.log", "ab") as log:
            done = subprocess.run(
                ["scripts/cluster.sh", command],
                cwd=self.work, env=self.environment, stdout=log, stderr=log, check=False,
            )
        if done.returncode != 0:
            raise Refused(f"the cluster does not {command}: " + self.log())

    def log(self):
        return (self.work / "servers.log").read_text(errors="replace")[-2000:]


def run(document, bin_directory):
    """Runs a document; what does not hold, or nothing."""
    with tempfile.TemporaryDirectory(prefix="lockbox-docs-") as directory:
        work = pathlib.Path(directory)
        outputs = work / ".outputs"
        outputs.mkdir()
        (work / "home").mkdir()
        (work / "scripts").symlink_to(ROOT / "scripts")
        (work / "docs").symlink_to(ROOT / "docs")
        environment = {
            "PATH": f"{bin_directory}:{os.environ['PATH']}",
            "HOME": str(work / "home"),
            "LANG": "C.UTF-8",
            "LOCKBOX_BIN": str(bin_directory),
            "LOCKBOX_PORT_BASE": str(free_port_base()),
        }
        script = work / ".commands"
        script.write_text(document.script(outputs), encoding="utf-8")
        with Servers(document.kind, work, environment):
            return judged(document, outputs, commands(script, work, environment))


def commands(script, work, environment):
    """Runs a script in a session of its own; why it failed, or nothing."""
    with open(work / ".shell", "wb") as shell:
        # pylint: disable=consider-using-with
        process = subprocess.Popen(
            ["bash", str(script)],
            cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=shell, stderr=shell,
            start_new_session=True,
        )
    try:
        status = process.wait(timeout=DOCUMENT_SECONDS)
        why = None if status == 0 else f"ended with {status}"
    except subprocess.TimeoutExpired:
        why = f"did not end in {DOCUMENT_SECONDS} s"
    # What it left running in the background. The session is ours alone.
    try:
        os.killpg(process.pid, signal.SIGTERM)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    said = (work / ".shell").read_text(errors="replace").strip()
    return f"{why}: {said[-500:]}" if why and said else why


def judged(document, outputs, why):
    """What does not hold of a document that was run."""
    def numbers(name):
        path = outputs / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def said(number):
        path = outputs / str(number)
        return path.read_text(errors="replace") if path.exists() else ""

    begun, done = numbers("begun"), numbers("done")
    problems = []
    for number in done:
        block = document.blocks[number]
        for text in block.shows:
            if text not in said(number):
                problems.append(f"line {block.line} does not show {text!r} but: {said(number)[-500:]}")
    if why is not None:
        broken = [number for number in begun if number not in done]
        where = f"line {document.blocks[broken[0]].line}" if broken else "the beginning"
        problems.append(f"{where} {why}\n{said(broken[0] if broken else 'before')[-2000:]}")
    return problems


def documents(named):
    if named:
        return [pathlib.Path(name).resolve() for name in named]
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def main(arguments):
    if not arguments or not (pathlib.Path(arguments[0]) / "lockbox").exists():
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 2
    bin_directory = pathlib.Path(arguments[0]).resolve()
    failed, ran, left_out = 0, 0, 0
    for path in documents(arguments[1:]):
        try:
            document = Document(path)
            problems = run(document, bin_directory) if document.blocks else []
        except Refused as refused:
            problems, document = [str(refused)], None
        for problem in problems:
            print(f"docs-test: {path.relative_to(ROOT)}: {problem}", file=sys.stderr)
        failed += bool(problems)
        if document is not None and document.blocks:
            skipped = [block for block in document.blocks if block.not_run is not None]
            ran += len(document.blocks) - len(skipped)
            left_out += len(skipped)
            for block in skipped:
                print(f"{document.name}:{block.line}: not run: {block.not_run}")
            print(f"{document.name}: {'failed' if problems else 'holds'}")
    print(f"{ran} blocks were run, {left_out} were not; {failed} documents failed")
    return 1 if failed else 0


if __name__ == "__main__":
    if shutil.which("bash") is None:
        sys.exit("docs-test: bash is needed")
    sys.exit(main(sys.argv[1:]))
