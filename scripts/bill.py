"""The books of a run for the bill: what they say, and whether a changed byte shows.

usage: bill.py books RUN            compares the books of a run, by key and operation: what clients
                                    were answered, what nodes asked, what the KMS served and billed
       bill.py flip KMS_SIM DATA    changes bytes of copies of a ledger; each has to be found
"""

import collections
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


def history(run):
    """The events of a run, without the header."""
    plain = os.path.join(run, "history.jsonl")
    if os.path.exists(plain):
        with open(plain, encoding="utf-8") as file:
            lines = file.readlines()
    else:
        unpacked = subprocess.run(["zstd", "-dcq", plain + ".zst"], capture_output=True, check=True)
        lines = unpacked.stdout.decode("utf-8").splitlines()
    return [json.loads(line) for line in lines[1:]]


class Client:
    """What clients asked and were answered."""

    def __init__(self, events):
        self.asked = {event["op"]: event["asked"] for event in events if event["event"] == "invoke"}
        ended = {event["op"]: event["outcome"] for event in events if event["event"] == "complete"}
        self.answer = {op: end["answer"] for op, end in ended.items() if end["type"] == "ok"}
        self.succeeded = {op for op, answer in self.answer.items() if answer["is"] != "refused"}
        # Nobody knows of these whether the KMS did its part: no answer, or no answer of the KMS.
        self.unknown = {
            op for op in self.asked
            if ended.get(op, {"type": "info"})["type"] in ("info", "unexpected")
            or ended[op]["type"] == "fail" and ended[op]["code"] == "UNAVAILABLE"
        }
        shown = [self.answer[op] for op in self.succeeded if self.answer[op]["is"] == "secret"]
        self.key_of = {secret["id"]: secret["kms_key"] for secret in shown if "kms_key" in secret}

    def needs(self):
        """Of each operation that cannot have succeeded without the KMS: what it is an attempt of,
        and which use of which key."""
        for op in sorted(self.succeeded):
            asked, call = self.asked[op], self.asked[op]["call"]
            secret, operation = call.get("secret"), None
            if call["f"] == "get_payload":
                operation = "Decrypt"
            elif call["f"] == "add_version":
                operation = "GenerateDataKey"
            elif call["f"] == "create_secret" and "first" in call:
                secret, operation = self.answer[op]["id"], "GenerateDataKey"
            if operation and secret in self.key_of:
                attempt_of = ("op", op)
                if operation == "GenerateDataKey" and "idempotency_key" in asked:
                    attempt_of = ("key", asked["idempotency_key"])
                yield op, attempt_of, (self.key_of[secret], operation)


class Book:
    """What one party says: requests to the KMS, each with its use of a key, and whom it was for."""

    def __init__(self, events, ledger):
        self.lines = collections.Counter()
        self.ops = collections.defaultdict(set)
        for line in events:
            if line["event"] == "ledger" and line["ledger"] == ledger:
                used = line.get("used", {})
                request = (used.get("key"), used.get("operation"), line["request"])
                self.lines[request] += 1
                self.ops[request].update([line["op"]] if "op" in line else [])

    def __contains__(self, request):
        return request in self.lines


COLUMNS = ("clients", "nodes", "served", "billed", "acknowledged", "unknown", "refused later",
           "unexplained")


def reconcile(events, bill):
    """Counts every book by itself, by key and operation. A unit of the bill is explained by the
    other books alone: by whom they say that the request was made for, and what became of that."""
    client = Client(events)
    nodes, served, billed = (Book(events, name) for name in ("node_calls", "kms_served", "kms_billed"))
    rows = collections.defaultdict(collections.Counter)
    explained = {}
    for request in served.lines:
        ops = served.ops[request] | nodes.ops[request]
        if ops & client.succeeded and request in nodes:
            explained[request] = "acknowledged"
        elif ops & client.unknown:
            explained[request] = "unknown"
        elif ops and request in nodes:
            explained[request] = "refused later"
    for request in billed.lines:
        # The KMS was killed before its audit, and perhaps the node before its own.
        ops = billed.ops[request] | nodes.ops[request]
        if request not in served and ops & client.unknown:
            explained[request] = "unknown"
    for request, column in explained.items():
        rows[request[:2]][column] += 1
    for name, book in (("nodes", nodes), ("served", served)):
        for request in book.lines:
            rows[request[:2]][name] += 1
    # Every unit that is not explained, and everything explained that is not billed, or not once.
    for request in billed.lines.keys() | served.lines.keys() | explained.keys():
        difference = abs(billed.lines[request] - (request in explained))
        rows[request[:2]]["unexplained"] += difference or int(request not in explained)
    # What a client has was paid for, with its secret's key.
    paid = set()
    for request in explained:
        for op in nodes.ops[request] | served.ops[request] | billed.ops[request]:
            asked = client.asked.get(op, {})
            paid.add((("op", op), request[:2]))
            if "idempotency_key" in asked:
                paid.add((("key", asked["idempotency_key"]), request[:2]))
    needed = list(client.needs())
    for attempt_of, use in {(attempt_of, use) for _, attempt_of, use in needed}:
        rows[use]["clients"] += 1
        rows[use]["unexplained"] += (attempt_of, use) not in paid
    # The printed bill is made of counters; the ledger has the same by key and operation.
    units, records = collections.Counter(), collections.Counter()
    for line in bill["lines"]:
        units[line["key_id"], line["operation"]] += line["billed"]
    for request, count in billed.lines.items():
        records[request[:2]] += count
    for use in units.keys() | records.keys():
        if units[use] or records[use]:
            rows[use]["billed"] += units[use]
            rows[use]["unexplained"] += abs(units[use] - records[use])
    return rows, len(needed)


def books(run):
    with open(os.path.join(run, "verdict.json"), encoding="utf-8") as file:
        law = next(law for law in json.load(file)["laws"] if law["law"] == "L11")
    with open(os.path.join(run, "bill.json"), encoding="utf-8") as file:
        bill = json.load(file)
    rows, needed = reconcile(history(run), bill)
    print(f"{'key':20} {'operation':15} " + " ".join(f"{name:>13}" for name in COLUMNS))
    for (key, operation), row in sorted(rows.items(), key=str):
        print(f"{key!s:20} {operation!s:15} " + " ".join(f"{row[name]:13}" for name in COLUMNS))
    total = sum(rows.values(), collections.Counter())
    for name in COLUMNS[3:]:
        print(f"{total[name]:9}  {name}")
    repeats = sum(line["not_billed"] for line in bill["lines"])
    print(f"{repeats:9}  not charged: repeats and the system's own")
    print(f"{needed:9}  operations that needed the KMS and succeeded")
    if law["finding"]["is"] != "holds":
        print(f"bill: L11: {law['finding']}")
        return 1
    if total["unexplained"]:
        return 1
    if needed < NEEDED_MIN:
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
