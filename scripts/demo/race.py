"""A writer and readers at work while a node is killed, and the judge of what they see.

The writer adds one version after another and repeats each under one idempotency key until it is
acknowledged: versions are numbered, and there is never more than one whose fate is open. What may
be read is therefore known exactly: nothing older than what was acknowledged, or read by anybody,
before the read began, and nothing that was not asked for before it ended.
"""

import hashlib
import threading
import time
import uuid

import grpc
from yandex.cloud.lockbox.v1.payload_service_pb2 import GetPayloadRequest
from yandex.cloud.lockbox.v1.secret_service_pb2 import (
    AddVersionMetadata,
    AddVersionRequest,
    GetSecretRequest,
    PayloadEntryChange,
)

from connection import GONE, Wrong, ask, told

# A secret has at most 1,000 versions, and the demo makes a few of its own.
WRITES_MAX = 800
# Pauses keep the demo polite on a laptop; they are no part of what it shows.
WRITE_PAUSE_SECONDS = 0.03
READ_PAUSE_SECONDS = 0.01
# Longest time that a thread may be without an answer from any node.
SILENCE_SECONDS = 30.0
# How long a thread waits before it turns to the next node.
TURN_SECONDS = 0.05


def digest(number):
    """A binary value that only the version of this number has."""
    return hashlib.sha256(b"version %d of the demo" % number).digest()


class History:
    """Which versions were asked for, acknowledged and seen, in order.

    Promises that every observation is judged: at once when its version is known, else by `settle`.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._asked = 0
        self._floor = 0
        self._ids = {}
        self._numbers = {}
        self._open = []

    def ask(self, number):
        """The writer is about to ask for this version."""
        with self._lock:
            self._asked = number

    def acknowledge(self, number, version_id):
        """The writer was told that this version is current."""
        with self._lock:
            self._name(number, version_id)
            self._numbers[version_id] = number
            self._floor = max(self._floor, number)

    def floor(self):
        """The oldest version that a read beginning now may see."""
        with self._lock:
            return self._floor

    def acknowledged(self):
        """Every acknowledged version's id, oldest first."""
        with self._lock:
            return sorted(self._numbers, key=self._numbers.get)

    def saw(self, floor, number, version_id):
        """A reader ended a read that began at `floor` and saw this version's payload."""
        with self._lock:
            self._judge(floor, self._asked, number)
            self._name(number, version_id)
            self._floor = max(self._floor, number)

    def saw_id(self, floor, version_id):
        """As `saw`, of the secret's metadata, which do not tell the number."""
        with self._lock:
            number = self._numbers.get(version_id)
            if number is None:
                self._open.append((floor, self._asked, version_id))
            else:
                self._judge(floor, self._asked, number)

    def settle(self):
        """Judges what had to wait; the writer must have ended."""
        with self._lock:
            for floor, ceiling, version_id in self._open:
                number = self._numbers.get(version_id)
                if number is None:
                    raise Wrong(f"version {version_id} was current, but nobody was told so")
                self._judge(floor, ceiling, number)
            self._open.clear()

    def _judge(self, floor, ceiling, number):
        if number < floor:
            raise Wrong(f"stale read: version {number} after {floor} was acknowledged or seen")
        if number > ceiling:
            raise Wrong(f"version {number} was read before it was asked for (last: {ceiling})")

    def _name(self, number, version_id):
        known = self._ids.setdefault(number, version_id)
        if known != version_id:
            raise Wrong(f"version {number} is {known} for one client and {version_id} for another")


class Race:
    """The threads, and what they have done so far."""

    def __init__(self, nodes, secret_id, carried):
        """`carried`: the entries that every version takes over from the one before."""
        self.history = History()
        self._nodes = nodes
        self._secret_id = secret_id
        self._carried = carried
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._wrong = []
        self._written = []
        self._reads = []
        self._turns = 0
        self._threads = []

    def start(self):
        """Writes the first version, then sets everybody to work: two readers on each node."""
        self._write(self._nodes[0:1], 1)
        self._spawn(self._writer)
        for home in range(len(self._nodes)):
            for read in (self._read_payload, self._read_metadata):
                self._reads.append(0)
                self._spawn(self._reader, len(self._reads) - 1, home, read)

    def progress(self):
        """Versions acknowledged, reads of the slowest reader."""
        self.check()
        with self._lock:
            return len(self._written), min(self._reads)

    def wait_for(self, writes, reads, seconds):
        """Waits until that many more versions and, by each reader, reads are done."""
        begin = self.progress()
        deadline = time.monotonic() + seconds
        while True:
            now = self.progress()
            if now[0] - begin[0] >= writes and now[1] - begin[1] >= reads:
                return
            if time.monotonic() > deadline:
                raise Wrong(
                    f"within {seconds:.0f} s the writer came only {now[0] - begin[0]} versions"
                    f" and the slowest reader {now[1] - begin[1]} reads further"
                )
            self._stop.wait(0.02)

    def check(self):
        """Raises what a thread found wrong."""
        with self._lock:
            if self._wrong:
                raise Wrong(self._wrong[0])

    def stop(self):
        """Ends the threads, each after the call that it is in."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def end(self):
        """Stops, then judges what was left open."""
        self.stop()
        self.check()
        self.history.settle()

    def totals(self):
        """Versions written, reads, calls that had to turn to another node."""
        with self._lock:
            return len(self._written), sum(self._reads), self._turns

    def longest_gap(self):
        """Longest time between two acknowledged versions, in seconds."""
        with self._lock:
            pairs = zip(self._written, self._written[1:])
            return max((late - early for early, late in pairs), default=0.0)

    def _spawn(self, work, *arguments):
        name = work.__name__.strip("_")

        def run():
            try:
                work(*arguments)
            # Whatever it is, the demo must end and say it.
            except Exception as error:  # noqa: BLE001
                text = told(error) if isinstance(error, grpc.RpcError) else str(error)
                with self._lock:
                    self._wrong.append(f"the {name}: {text or type(error).__name__}")
                self._stop.set()

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _writer(self):
        for number in range(2, WRITES_MAX):
            if self._stop.wait(WRITE_PAUSE_SECONDS):
                return
            self._write(self._nodes, number)

    def _write(self, nodes, number):
        request = AddVersionRequest(
            secret_id=self._secret_id,
            payload_entries=[
                PayloadEntryChange(key="number", text_value=str(number)),
                PayloadEntryChange(key="digest", binary_value=digest(number)),
            ],
        )
        # One key for all tries: a try that was committed but not answered must not count twice.
        metadata = (("idempotency-key", str(uuid.uuid4())),)
        self.history.ask(number)
        # Every version begins at another node: two of three are forwarded to the leader.
        operation = self._on_some_node(
            number, lambda node: ask(node.secrets.AddVersion, request, metadata=metadata), nodes
        )
        made = AddVersionMetadata()
        if not operation.done or not operation.metadata.Unpack(made):
            raise Wrong(f"AddVersion {number} answered with an operation that is not done")
        self.history.acknowledge(number, made.version_id)
        with self._lock:
            self._written.append(time.monotonic())

    def _reader(self, reader, home, read):
        while not self._stop.wait(READ_PAUSE_SECONDS):
            floor = self.history.floor()
            home = read(home, floor)
            with self._lock:
                self._reads[reader] += 1

    def _read_payload(self, home, floor):
        request = GetPayloadRequest(secret_id=self._secret_id)

        def read(node):
            return node, ask(node.payloads.Get, request)

        node, payload = self._on_some_node(home, read)
        number = check_payload(payload, self._carried)
        self.history.saw(floor, number, payload.version_id)
        return self._nodes.index(node)

    def _read_metadata(self, home, floor):
        request = GetSecretRequest(secret_id=self._secret_id)

        def read(node):
            return node, ask(node.secrets.Get, request)

        node, secret = self._on_some_node(home, read)
        self.history.saw_id(floor, secret.current_version.id)
        return self._nodes.index(node)

    def _on_some_node(self, first, call, nodes=None):
        """The answer of the first node, from `first` on, that has one."""
        nodes = nodes or self._nodes
        deadline = time.monotonic() + SILENCE_SECONDS
        turn = first
        while True:
            try:
                return call(nodes[turn % len(nodes)])
            except grpc.RpcError as error:
                # A wrong answer is wrong whatever happens around it; only silence is excused.
                if error.code() not in GONE:
                    raise
                if time.monotonic() > deadline:
                    raise Wrong(f"no node answers any more: {told(error)}") from error
                with self._lock:
                    self._turns += 1
                turn += 1
                time.sleep(TURN_SECONDS)


def check_payload(payload, carried):
    """The number of the version that the payload belongs to; every entry must be that version's."""
    entries = {}
    for entry in payload.entries:
        entries[entry.key] = getattr(entry, entry.WhichOneof("value"))
    number = int(entries.get("number", "0"))
    expected = dict(carried, number=str(number), digest=digest(number))
    if entries != expected:
        keys = [key for key in {**entries, **expected} if entries.get(key) != expected.get(key)]
        raise Wrong(f"the payload of version {number} has a wrong {', '.join(sorted(keys))}")
    return number
