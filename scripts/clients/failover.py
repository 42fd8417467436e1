"""The leader is killed while changes are under way, and comes back.

Each writer changes a resource of its own, one change after another, and repeats a change that was
not answered under the same idempotency key until it is. Their changes are in the ledger like all
others, so that what is lost or doubled is found there. One caller more has only the node that was
killed, and waits for it by the SDK's own retry layer.
"""

import threading
import time
import uuid

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from yandex.cloud.kms.v1.symmetric_key_pb2 import SymmetricAlgorithm
from yandex.cloud.lockbox.v1 import secret_service_pb2 as wire
from yandex.cloud.lockbox.v1.payload_service_pb2 import GetPayloadRequest
from yandex.cloud.lockbox.v1.secret_pb2 import Secret, Version
from yandex.cloud.lockbox.v1.secret_service_pb2_grpc import SecretServiceStub
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest
from yandexcloud import RetryInterceptor

import cluster
from chapters import kms, secrets
from connection import CALL_SECONDS, GONE, Wrong, ask_with_headers, told
from fleet import SILENCE_SECONDS
from ledger import Change
from world import binding, equal, must, update_bindings

# How many changes of each writer are acknowledged before the kill and after it, at least.
CHANGES = 12
# A secret has at most 1,000 versions.
CHANGES_MAX = 500
# A pause keeps the writers polite; it is no part of what is shown.
PAUSE_SECONDS = 0.02
# How long writers may take for their share, an election on a busy machine included.
WRITERS_SECONDS = 300.0
# How long the caller of the dead node waits for it; gRPC itself tries again after two minutes.
PATIENCE_SECONDS = 900.0


class Writers:
    """Threads that change things until they are told to end."""

    def __init__(self, world):
        self._world = world
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._wrong = []
        self._done = {}
        self._threads = []
        self._checks = []

    def start(self, kms_key_id):
        """Five writers; the resources are made before any of them begins."""
        world = self._world
        common = secrets.create(world, "written", [("number", "0")])
        own = secrets.create(world, "written-own", [("number", "0")], kms_key_id=kms_key_id)
        described = secrets.create(world, "described")
        bound = secrets.create(world, "bound-often")
        jobs = {
            "versions": lambda number: self._add_version(common.id, number),
            "versions under an own key": lambda number: self._add_version(own.id, number),
            "descriptions": lambda number: self._describe(described.id, number),
            "bindings": lambda number: self._bind(bound.id, number),
            "secrets": self._create_and_delete,
        }
        for name, job in jobs.items():
            self._done[name] = 0
            thread = threading.Thread(target=self._run, args=(name, job), daemon=True)
            self._threads.append(thread)
        for thread in self._threads:
            thread.start()

    def wait_for(self, changes, also=lambda: True):
        """Waits until each writer has that many more acknowledged, and `also` is so."""
        begin = self._progress()
        deadline = time.monotonic() + WRITERS_SECONDS
        while True:
            now = self._progress()
            if all(now[name] - begin[name] >= changes for name in now) and also():
                return sum(now.values())
            if time.monotonic() > deadline:
                least = min(now, key=lambda name: now[name] - begin[name])
                raise Wrong(f"the writer of {least} came only {now[least] - begin[least]} further")
            self._stop.wait(0.02)

    def end(self):
        """Ends each after the change that it is in; gives the number of all changes."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        return sum(self._progress().values())

    def _progress(self):
        with self._lock:
            if self._wrong:
                raise Wrong(self._wrong[0])
            return dict(self._done)

    def _run(self, name, job):
        try:
            for number in range(1, CHANGES_MAX):
                if self._stop.wait(PAUSE_SECONDS):
                    return
                operation = job(number)
                get = GetOperationRequest(operation_id=operation.id)
                found = self._world.services.operations.read("Get", get)
                equal(found, operation, "an operation that was just acknowledged")
                with self._lock:
                    self._done[name] = number
        # Whatever it is, the run must end and say it.
        except Exception as error:  # noqa: BLE001
            text = told(error) if isinstance(error, grpc.RpcError) else str(error)
            with self._lock:
                self._wrong.append(f"the writer of {name}: {text or type(error).__name__}")

    def _change(self, method, request, meta, response):
        service = self._world.services.secrets
        return service.change(method, request, meta, response, "secret_id", wait=False)

    def _add_version(self, secret_id, number):
        done = self._change(
            "AddVersion", number_version(secret_id, number), wire.AddVersionMetadata, Version
        )
        # What was acknowledged is read, on whichever node.
        payload = self._world.services.payloads.read("Get", GetPayloadRequest(secret_id=secret_id))
        must(payload.entries[0].text_value == str(number), "an acknowledged version is not read")
        equal(payload.version_id, done.meta.version_id, "the current version")
        return done.operation

    def _describe(self, secret_id, number):
        request = wire.UpdateSecretRequest(
            secret_id=secret_id,
            update_mask=FieldMask(paths=["description"]),
            description=f"change {number}",
        )
        return self._change("Update", request, wire.UpdateSecretMetadata, Secret).operation

    def _bind(self, secret_id, number):
        """One binding comes and the one before goes, in one change."""
        of = [binding("lockbox.viewer", f"nobody-{each}") for each in (number, number - 1)]
        service = self._world.services.secrets
        changed = update_bindings(service, secret_id, Empty, of[:1], of[1:], wait=False)
        return changed.operation

    def _create_and_delete(self, number):
        entries = [("number", str(number))]
        made = secrets.create(self._world, f"short-lived-{number}", entries, wait=False)
        get = wire.GetSecretRequest(secret_id=made.id)
        equal(self._world.services.secrets.read("Get", get), made, "a secret that was just made")
        self._world.ledger.gone(made.id)
        request = wire.DeleteSecretRequest(secret_id=made.id)
        operation = self._change("Delete", request, wire.DeleteSecretMetadata, Secret).operation
        self._world.services.secrets.refuse("Get", get, grpc.StatusCode.NOT_FOUND)
        return operation


class Patient:
    """A caller that knows one node only, while it is dead: the SDK tries until it is back."""

    def __init__(self, world, sdk, secret_id):
        self._world, self._sdk = world, sdk
        self._request = number_version(secret_id, 0)
        self._key = str(uuid.uuid4())
        self._failed = None
        self.tries = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self):
        """Waits until it has been answered; says what was wrong when it was not."""
        self._thread.join()
        if self._failed is not None:
            raise Wrong(f"the caller that waits for the dead node: {self._failed}")
        must(self.tries > 0, "a dead node has answered at once")

    def _run(self):
        retry = RetryInterceptor(
            max_retry_count=-1,
            back_off_func=self._pause,
            per_call_timeout=CALL_SECONDS,
            add_retry_count_to_header=True,
        )
        metadata = (("idempotency-key", self._key),)
        try:
            client = self._sdk.client(SecretServiceStub, interceptor=retry)
            operation = client.AddVersion(
                self._request, timeout=PATIENCE_SECONDS, metadata=metadata
            )
        except grpc.RpcError as error:
            self._failed = told(error)
            return
        service = self._world.services.secrets
        change = Change(service, "AddVersion", self._request, self._key, operation.id)
        self._world.ledger.acknowledged(change, [self._request.secret_id])

    def _pause(self, _):
        self.tries += 1
        return 0.5


class Failover:
    """The kill and the return, as steps of the run."""

    def __init__(self, world):
        self._world = world
        self._killed = None
        self._patient = None

    def kill(self):
        """Kills the leader under the writers; they must go on without it."""
        world = self._world
        key = kms.create(world, "of-writers", SymmetricAlgorithm.AES_256).response
        waited_for = secrets.create(world, "waited-for", [("number", "0")])
        writers = Writers(world)
        writers.start(key.id)
        before = writers.wait_for(CHANGES)
        self._killed = self._leader()
        endpoint = world.environment.endpoints()[self._killed]
        turned = world.fleet.turned
        cluster.kill(world.environment, self._killed)
        self._patient = Patient(world, world.fleet.nodes[self._killed][0].sdk, waited_for.id)
        # Something must have been under way, or nothing is shown.
        writers.wait_for(CHANGES, also=lambda: world.fleet.turned > turned)
        every = writers.end()
        successor = self._leader(but=self._killed)
        return (
            f"killed the leader {endpoint} with SIGKILL after {before} changes by 5 writers;"
            f" {every} acknowledged in all, {world.fleet.turned - turned} calls turned to another"
            f" node; {world.environment.endpoints()[successor]} leads"
        )

    def bring_back(self):
        """Starts the node again; who waited for it is answered."""
        world = self._world
        index = self._killed
        self.restore()
        world.fleet.renew(world.environment, index)
        self._patient.end()
        return (
            f"started node {index + 1} again; the SDK's own retries reached it"
            f" at try {self._patient.tries + 1}"
        )

    def restore(self):
        """Starts what was killed, if it is not there again; also when the run ends early."""
        if self._killed is not None:
            self._world.environment = cluster.restart(self._world.environment, self._killed)
            self._killed = None

    def _leader(self, but=None):
        """Which node leads, as soon as all that are there say the same."""
        endpoints = self._world.environment.endpoints()
        asked = [index for index in range(len(endpoints)) if index != but]
        request = wire.ListSecretsRequest(folder_id=self._world.folder_id, page_size=1)
        deadline = time.monotonic() + SILENCE_SECONDS
        while True:
            named = set()
            for index in asked:
                try:
                    secret_service = self._world.fleet.nodes[index][0].secrets
                    _, headers = ask_with_headers(secret_service.List, request)
                    named.add(headers.get("lockbox-leader"))
                except grpc.RpcError as error:
                    if error.code() not in GONE:
                        raise
                    named.add(None)
            led = [index for index in asked if named == {endpoints[index]}]
            if led:
                return led[0]
            must(time.monotonic() < deadline, f"the nodes name no one leader: {named}")
            time.sleep(0.2)


def number_version(secret_id, number):
    """The version of this number."""
    entry = secrets.change("number", str(number))
    return wire.AddVersionRequest(secret_id=secret_id, payload_entries=[entry])
