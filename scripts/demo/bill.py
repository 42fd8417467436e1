"""What the accesses of the own-key secret must cost, and what `kms-sim` says they did.

The units are those of the KMS: a payload read is one Decrypt; a version that is made is one
GenerateDataKey, and one Decrypt for the base that it is merged with.
"""

import json
import subprocess
from collections import Counter
from pathlib import Path

from connection import Wrong

# The report reads files on this machine; longer than this it is stuck.
REPORT_SECONDS = 60


class Expected:
    """Counts each access as it is made."""

    def __init__(self):
        self.operations = Counter()

    def read_payload(self):
        self.operations["Decrypt"] += 1

    def create_with_version(self):
        self.operations["GenerateDataKey"] += 1

    def add_version(self):
        """With a base, as every AddVersion of the demo has one."""
        self.operations["GenerateDataKey"] += 1
        self.operations["Decrypt"] += 1


def check(environment, key_id, expected):
    """Compares the bill of one key with what was counted; returns the bill by operation."""
    lines = [line for line in _report(environment)["lines"] if line["key_id"] == key_id]
    billed, unbilled = Counter(), Counter()
    subject = f"serviceAccount:{environment.service_account()}"
    for line in lines:
        billed[line["operation"]] += line["billed"]
        unbilled[line["operation"]] += line["not_billed"]
        if line["subject"] != subject:
            raise Wrong(f"{line['operation']} is billed to {line['subject']}, not to {subject}")
    if +billed != +expected.operations:
        raise Wrong(f"the bill is {_told(billed)}; the accesses were {_told(expected.operations)}")
    if +unbilled:
        raise Wrong(f"no call was repeated, but the ledger has repeats: {_told(unbilled)}")
    return _told(billed)


def verify(environment):
    """Has the counters checked against the ledger's records; returns what it says."""
    return _run(environment, "verify").strip()


def _report(environment):
    return json.loads(_run(environment, "report", "--format", "json"))


def _run(environment, command, *options):
    program = str(Path(environment["LOCKBOX_BIN"]) / "kms-sim")
    line = [program, "billing", command, "--config", environment["KMS_CONFIG"], *options]
    try:
        done = subprocess.run(
            line, capture_output=True, text=True, timeout=REPORT_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Wrong(f"kms-sim billing {command} cannot be run: {error}") from error
    if done.returncode != 0:
        raise Wrong(f"kms-sim billing {command} failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _told(operations):
    return ", ".join(f"{count} {name}" for name, count in sorted((+operations).items())) or "empty"
