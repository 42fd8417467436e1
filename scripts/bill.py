"""The books of a run for the bill: what they say, and whether a changed byte shows.

usage: bill.py books RUN            compares the ledgers of a run, as its verdict has them
       bill.py flip KMS_SIM DATA    changes bytes of copies of a ledger; each has to be found
"""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

# Operations that needed the KMS: less than that is too little to say anything.
NEEDED_MIN = 10_000
FLIPS = 8


def books(run):
    with open(os.path.join(run, "verdict.json"), encoding="utf-8") as file:
        law = next(law for law in json.load(file)["laws"] if law["law"] == "L11")
    counts = dict(law["counts"])
    for name, count in counts.items():
        print(f"{count:9}  {name}")
    with open(os.path.join(run, "bill.json"), encoding="utf-8") as file:
        bill = json.load(file)
    charged = sum(line["billed"] for line in bill["lines"])
    repeats = sum(line["not_billed"] for line in bill["lines"])
    print(f"{charged:9}  on the bill, {repeats} more not charged: repeats and the system's own")
    explained = sum(count for name, count in counts.items() if name.startswith("billed of "))
    unexplained = abs(charged - counts["billed"]) + abs(counts["billed"] - explained)
    if law["finding"]["is"] != "holds":
        print(f"bill: L11: {law['finding']}")
        return 1
    print(f"{unexplained:9}  unexplained")
    if unexplained:
        return 1
    if counts["operations that needed it"] < NEEDED_MIN:
        print(f"bill: fewer than {NEEDED_MIN} operations needed the KMS")
        return 2
    return 0


def verifies(kms_sim, data):
    done = subprocess.run([kms_sim, "billing", "verify", "--data", data],
                          capture_output=True, text=True, check=False)
    words = (done.stdout + done.stderr).strip().splitlines()
    return done.returncode == 0, words[0] if words else ""


def ledger_files(data):
    """The tables of the ledger: RocksDB writes the name of its column family into each."""
    database = os.path.join(data, "db")
    found = []
    for name in sorted(os.listdir(database)):
        path = os.path.join(database, name)
        if name.endswith(".sst"):
            with open(path, "rb") as file:
                if re.search(rb"name.{0,3}ledger", file.read()[-8192:], re.DOTALL):
                    found.append(name)
    return found


def flip(kms_sim, data):
    good, words = verifies(kms_sim, data)
    print(f"as it is: {words}")
    if not good:
        return 1
    files = ledger_files(data)
    if not files:
        print("bill: no file of the ledger was written")
        return 2
    missed = 0
    for _ in range(FLIPS):
        with tempfile.TemporaryDirectory() as scratch:
            copy = os.path.join(scratch, "kms")
            shutil.copytree(data, copy)
            name = random.choice(files)
            path = os.path.join(copy, "db", name)
            # Records are at the beginning; what describes the file is behind them.
            at, mask = random.randrange(os.path.getsize(path) // 2), 1 << random.randrange(8)
            with open(path, "r+b") as file:
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ mask]))
            good, words = verifies(kms_sim, copy)
            print(f"byte {at} of {name} ^ {mask:#04x}: {'NOT FOUND' if good else 'found'}: {words}")
            missed += good
    return 1 if missed else 0


def main(arguments):
    match arguments:
        case ["books", run]:
            return books(run)
        case ["flip", kms_sim, data]:
            return flip(kms_sim, data)
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
