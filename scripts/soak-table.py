#!/usr/bin/env python3
"""Prints the summary of a recorded run as Markdown, for jepsen/results/soak.md.

Usage: scripts/soak-table.py RUN_DIRECTORY
"""

import json
import sys
from pathlib import Path


def read(run, name):
    return json.loads((run / name).read_text(encoding="utf-8"))


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        cells = (f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row)
        yield "| " + " | ".join(cells) + " |"
    yield ""


def reached(coverage, prefix):
    """The rows of the coverage that begin so, without that beginning."""
    for row in coverage:
        if row["what"].startswith(prefix):
            yield row["what"].removeprefix(prefix), row["required"], row["reached"]


def summary(run):
    verdict, facts, plan = (read(run, f"{name}.json") for name in ("verdict", "facts", "plan"))
    coverage = verdict["coverage"]
    yield "# The hour of soak\n"
    yield (
        f"The judgement is **{verdict['judgement']}**. Profile {plan['profile']}, seed"
        f" {plan['seed']}, {plan['nodes']} nodes, at `{facts['commit'][:12]}`. The record is"
        " not kept here; the seed repeats the plan.\n"
    )
    if facts["left_out"]:
        yield f"Left out on that machine: {facts['left_out']}.\n"
    grouped = ("faults of class ", "successful ", "law ")
    whole = [("operations begun", "", verdict["ops"])]
    whole += [row for row in reached(coverage, "") if not row[0].startswith(grouped)]
    yield from table(("", "required", "reached"), whole)
    yield "## Faults that took effect, by class\n"
    yield from table(("class", "required", "reached"), reached(coverage, "faults of class "))
    yield "## Operations that succeeded, by call\n"
    yield from table(("call", "required", "reached"), reached(coverage, "successful "))
    yield "## Laws\n"
    laws = (
        (
            law["law"],
            law["finding"]["is"].replace("_", " "),
            ", ".join(f"{name} {count:,}" for name, count in law["counts"]),
        )
        for law in verdict["laws"]
    )
    yield from table(("law", "finding", "looked at"), laws)
    search = verdict["search"]
    yield (
        f"The search that believes no index: {search['ops']:,} operations on"
        f" {search['secrets']:,} secrets, {len(search['illegal'])} illegal,"
        f" {len(search['unknown'])} undecided.\n"
    )
    yield "What such hours and the simulation found, and which test guards it: [bugs.md](bugs.md)."


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print("\n".join(summary(Path(sys.argv[1]))))
