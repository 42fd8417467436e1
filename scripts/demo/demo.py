"""`make demo`: the product in its smallest honest form, shown by the unmodified Python SDK.

Prints each step; exits 0 when every one of them held, and 1 with one sentence when one did not.
Needs a cluster of three nodes and a KMS as `make cluster` starts them, and leaves it as it was,
but for the bill and a KMS key.
"""

import argparse
import sys
import time
import uuid

import grpc
from yandex.cloud.kms.v1.symmetric_key_pb2 import SymmetricAlgorithm, SymmetricKey
from yandex.cloud.kms.v1.symmetric_key_service_pb2 import CreateSymmetricKeyRequest
from yandex.cloud.lockbox.v1.payload_service_pb2 import GetExRequest, GetPayloadRequest
from yandex.cloud.lockbox.v1.secret_pb2 import Secret, Version
from yandex.cloud.lockbox.v1.secret_service_pb2 import (
    AddVersionMetadata,
    AddVersionRequest,
    CreateSecretMetadata,
    CreateSecretRequest,
    DeleteSecretRequest,
    GetSecretRequest,
    ListSecretsRequest,
    ListVersionsRequest,
    PayloadEntryChange,
    SetCurrentVersionMetadata,
    SetCurrentVersionRequest,
)
from yandexcloud.operations import OperationError

import bill
import cluster
from connection import GONE, Environment, Unusable, Wrong, ask, ask_with_headers, told
from race import Race, check_payload

NODES = 3
# A value that is no UTF-8, so that nobody can have taken it for a text on its way.
CERTIFICATE = bytes(range(256)) + b"\xff\xfe\x00"
# What is done before and after the kill, at least; and how long it may take, an election included.
WRITES, READS, RACE_SECONDS = 40, 40, 60.0
# A node that returns reads its log, is told what it missed, and is unsealed by the KMS.
RETURN_SECONDS = 60.0


class Demo:
    """The steps, in order, and what one hands to the next."""

    def __init__(self, environment):
        self.environment = environment
        self.folder = environment["LOCKBOX_FOLDER_ID"]
        self.run = uuid.uuid4().hex[:8]
        self.nodes = []
        self.alive = []
        self.expected = bill.Expected()
        self.made = []
        self.key_id = ""
        self.common = self.own = ""
        self.carried = {}
        self.own_current = ("", {})
        self.race = None
        self.killed = None

    def steps(self):
        return [
            ("log in with the authorized key through each node", self.log_in),
            ("create a secret under the common key and one under an own KMS key", self.create),
            ("add versions, then move the current pointer back", self.add_and_move_back),
            ("kill the leader while a writer and readers run", self.kill_the_leader),
            ("every node left has the last acknowledged version", self.ask_those_left),
            ("the killed node returns and answers the same", self.bring_it_back),
            ("the bill has one operation for each access of the own-key secret", self.bill),
        ]

    def log_in(self):
        endpoints = self.environment.endpoints()
        if len(endpoints) != NODES:
            raise Wrong(f"the cluster has {len(endpoints)} nodes instead of {NODES}")
        self.nodes = [self.environment.connect(endpoint) for endpoint in endpoints]
        self.alive = list(self.nodes)
        served = set()
        for node in self.nodes:
            request = ListSecretsRequest(folder_id=self.folder)
            _, headers = ask_with_headers(node.secrets.List, request)
            served.add(headers.get("lockbox-served-by"))
            say(f"{node.endpoint}: logged in, served by node {headers.get('lockbox-served-by')}")
        if len(served) != NODES:
            raise Wrong("the endpoints do not lead to three different nodes")

    def create(self):
        first, second, third = self.nodes
        request = CreateSymmetricKeyRequest(
            folder_id=self.folder,
            name=f"demo-{self.run}",
            default_algorithm=SymmetricAlgorithm.AES_256,
        )
        operation = ask(first.keys.Create, request)
        key = SymmetricKey()
        if not operation.done or not operation.response.Unpack(key):
            raise Wrong("the KMS made no key")
        self.key_id = key.id
        say(f"KMS key {key.id}")

        self.carried = {"login": "demo", "certificate": CERTIFICATE}
        self.common = self._create_secret(second, "common", self.carried)
        entries = {"token": "own-0", "certificate": CERTIFICATE}
        self.own = self._create_secret(third, "own", entries, self.key_id)
        self.expected.create_with_version()
        for node in self.nodes:
            self._read(node, self.common, None, self.carried)
            self._read_own(node, None, entries)
        say("text and binary values read back through each node, byte for byte")

    def add_and_move_back(self):
        first, second, third = self.nodes
        was = ask(first.secrets.Get, GetSecretRequest(secret_id=self.common)).current_version.id
        change = [PayloadEntryChange(key="password", text_value="one")]
        one = self._add_version(second, self.common, change)
        change = [
            PayloadEntryChange(key="password", text_value="two"),
            PayloadEntryChange(key="login"),
        ]
        two = self._add_version(third, self.common, change)
        self._read(first, self.common, two, {"certificate": CERTIFICATE, "password": "two"})
        self._move_back(first, self.common, one)
        self.carried = dict(self.carried, password="one")
        for node in self.nodes:
            self._read(node, self.common, one, self.carried)
        listed = self._versions(second, self.common)
        if listed != [two, one, was]:
            raise Wrong(f"the common secret has the versions {listed}, not {[two, one, was]}")
        say(f"common secret: {two} was current, {one} is again, at each node")
        self._add_to_own()

    def _add_to_own(self):
        """The same with the own key; each access is counted for the bill."""
        first, second, third = self.nodes
        was = ask(first.secrets.Get, GetSecretRequest(secret_id=self.own)).current_version.id
        change = [PayloadEntryChange(key="token", text_value="own-1")]
        repeat = (("idempotency-key", str(uuid.uuid4())),)
        one = self._add_version(first, self.own, change, metadata=repeat)
        self.expected.add_version()
        if self._add_version(third, self.own, change, metadata=repeat) != one:
            raise Wrong("a repeat under the same idempotency key made another version")
        say("own-key secret: a repeat at another node made nothing new (and must cost nothing)")
        now = {"token": "own-1", "certificate": CERTIFICATE}
        before = dict(now, token="own-0")
        self._read_own(second, one, now)
        two = self._add_version(second, self.own, [], base_version_id=was)
        self.expected.add_version()
        self._read_own(third, two, before)
        self._move_back(third, self.own, one)
        self.own_current = (one, now)
        for node in self.nodes:
            self._read_own(node, *self.own_current)
        self._read_own(first, was, before, version_id=was)
        answer = ask(first.payloads.GetEx, GetExRequest(secret_id=self.own))
        self.expected.read_payload()
        wanted = {"token": b"own-1", "certificate": CERTIFICATE}
        if answer.version_id != one or dict(answer.entries) != wanted:
            raise Wrong("GetEx of the own-key secret answers otherwise than Get")
        say(f"own-key secret: {two} was current, {one} is again, at each node")

    def kill_the_leader(self):
        self.race = Race(self.nodes, self.common, self.carried)
        self.race.start()
        self.race.wait_for(WRITES, READS, RACE_SECONDS)
        leader = self._leader()
        self.killed = self.nodes[leader]
        writes, reads = self.race.progress()
        say(f"{writes} versions written, each of 6 readers past {reads} reads")
        pid = cluster.kill(self.environment, leader)
        say(f"leader {self.killed.endpoint} (process {pid}) killed with SIGKILL")
        self.alive = [node for node in self.nodes if node is not self.killed]
        self.race.wait_for(WRITES, READS, RACE_SECONDS)
        self.race.end()
        written, read, turns = self.race.totals()
        say(f"{written} versions acknowledged and {read} reads in all, none stale, none mixed up")
        gap = self.race.longest_gap()
        say(f"{turns} calls turned to another node; longest pause between writes: {gap:.1f} s")

    def ask_those_left(self):
        successors = {self._leader_by(node) for node in self.alive}
        if len(successors) != 1 or self.killed.endpoint in successors:
            raise Wrong(f"the nodes left name as their leader: {sorted(map(str, successors))}")
        say(f"leader is {successors.pop()}")
        for node in self.alive:
            self._answers_the_same(node)

    def bring_it_back(self):
        index = self.nodes.index(self.killed)
        self.environment = cluster.restart(self.environment, index)
        pid = self.environment.words("LOCKBOX_PIDS")[index]
        say(f"node {index + 1} started again with its data (process {pid})")
        # A new SDK: what the old one remembers of the dead process is not the demo's subject.
        node = self.environment.connect(self.killed.endpoint)
        begin = time.monotonic()
        while True:
            try:
                ask(node.secrets.Get, GetSecretRequest(secret_id=self.common))
                break
            except grpc.RpcError as error:
                if error.code() not in GONE or time.monotonic() - begin > RETURN_SECONDS:
                    raise
                time.sleep(0.2)
        say(f"it answers after {time.monotonic() - begin:.1f} s")
        self.nodes[index] = node
        self._answers_the_same(node)

    def bill(self):
        say(f"key {self.key_id}: {bill.check(self.environment, self.key_id, self.expected)}")
        say(f"ledger: {bill.verify(self.environment)}")

    def clean_up(self):
        """Deletes the secrets, so that a cluster that stays is not filled; failures are told."""
        if self.race is not None:
            self.race.stop()
        for secret_id in self.made:
            for node in self.nodes:
                try:
                    ask(node.secrets.Delete, DeleteSecretRequest(secret_id=secret_id))
                    break
                except grpc.RpcError as error:
                    last = error
            else:
                print(f"   secret {secret_id} is left behind: {told(last)}", file=sys.stderr)

    def _create_secret(self, node, name, entries, kms_key_id=""):
        request = CreateSecretRequest(
            folder_id=self.folder,
            name=f"demo-{self.run}-{name}",
            kms_key_id=kms_key_id,
            version_payload_entries=[_change(key, value) for key, value in entries.items()],
        )
        operation = ask(node.secrets.Create, request)
        made, secret = self._finished(node, operation, CreateSecretMetadata, Secret)
        self.made.append(made.secret_id)
        if secret.id != made.secret_id or secret.current_version.id != made.version_id:
            raise Wrong(f"secret {secret.id} does not have the version that it was made with")
        if secret.kms_key_id != kms_key_id:
            raise Wrong(f"the new secret {secret.id} is under the key {secret.kms_key_id!r}")
        say(f"secret {secret.id} under {'the own key' if kms_key_id else 'the common key'}")
        return secret.id

    def _add_version(self, node, secret_id, changes, base_version_id="", metadata=None):
        request = AddVersionRequest(
            secret_id=secret_id, payload_entries=changes, base_version_id=base_version_id
        )
        operation = ask(node.secrets.AddVersion, request, metadata=metadata)
        made, version = self._finished(node, operation, AddVersionMetadata, Version)
        if version.id != made.version_id or version.secret_id != secret_id:
            raise Wrong("AddVersion answers with another version than it made")
        return version.id

    def _move_back(self, node, secret_id, version_id):
        request = SetCurrentVersionRequest(secret_id=secret_id, version_id=version_id)
        operation = ask(node.secrets.SetCurrentVersion, request)
        self._finished(node, operation, SetCurrentVersionMetadata, Version)

    def _finished(self, node, operation, metadata, response):
        """The operation's metadata and response, waited for as the SDK does it."""
        result = node.sdk.wait_operation_and_get_result(
            operation, response_type=response, meta_type=metadata
        )
        return result.meta, result.response

    def _read(self, node, secret_id, current, entries, version_id=""):
        request = GetPayloadRequest(secret_id=secret_id, version_id=version_id)
        payload = ask(node.payloads.Get, request)
        if current is not None and payload.version_id != current:
            raise Wrong(f"{node.endpoint} reads version {payload.version_id}, not {current}")
        found = {entry.key: getattr(entry, entry.WhichOneof("value")) for entry in payload.entries}
        if found != entries:
            raise Wrong(f"{node.endpoint} reads other entries of {secret_id} than were written")

    def _read_own(self, node, current, entries, version_id=""):
        self._read(node, self.own, current, entries, version_id)
        self.expected.read_payload()

    def _versions(self, node, secret_id):
        """Every version's id, newest first."""
        ids, token = [], ""
        while True:
            request = ListVersionsRequest(secret_id=secret_id, page_size=1000, page_token=token)
            page = ask(node.secrets.ListVersions, request)
            ids.extend(version.id for version in page.versions)
            token = page.next_page_token
            if not token:
                return ids

    def _answers_the_same(self, node):
        """The last acknowledged version is current there, and all that were are still there."""
        acknowledged = self.race.history.acknowledged()
        last = acknowledged[-1]
        secret = ask(node.secrets.Get, GetSecretRequest(secret_id=self.common))
        if secret.current_version.id != last:
            raise Wrong(f"{node.endpoint}: {secret.current_version.id} is current, not {last}")
        payload = ask(node.payloads.Get, GetPayloadRequest(secret_id=self.common))
        number = check_payload(payload, self.carried)
        if (payload.version_id, number) != (last, len(acknowledged)):
            raise Wrong(f"{node.endpoint}: version {payload.version_id} is read, not {last}")
        written = self._versions(node, self.common)[: len(acknowledged)]
        if written != acknowledged[::-1]:
            raise Wrong(f"{node.endpoint} does not list the acknowledged versions in their order")
        self._read_own(node, *self.own_current)
        say(f"{node.endpoint}: version {number} ({last}) is current; none of {number} is lost")

    def _leader_by(self, node):
        request = GetSecretRequest(secret_id=self.common)
        _, headers = ask_with_headers(node.secrets.Get, request)
        return headers.get("lockbox-leader")

    def _leader(self):
        """Which node leads, as all of them say."""
        named = {self._leader_by(node) for node in self.nodes}
        endpoints = [node.endpoint for node in self.nodes]
        if len(named) != 1 or not named <= set(endpoints):
            raise Wrong(f"the nodes do not name one leader: {sorted(map(str, named))}")
        return endpoints.index(named.pop())


def _change(key, value):
    if isinstance(value, bytes):
        return PayloadEntryChange(key=key, binary_value=value)
    return PayloadEntryChange(key=key, text_value=value)


def say(text):
    """One fact under the step's title."""
    print(f"   {text}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", required=True, help="the env file of a running cluster")
    title = "find the cluster"
    demo = None
    try:
        demo = Demo(Environment.read(parser.parse_args().env))
        for number, (title, step) in enumerate(demo.steps(), start=1):
            print(f"{number}. {title}", flush=True)
            step()
    except (Wrong, Unusable, OperationError) as error:
        return fail(title, error)
    except grpc.RpcError as error:
        return fail(title, told(error))
    except KeyboardInterrupt:
        return fail(title, "interrupted")
    finally:
        if demo is not None:
            demo.clean_up()
    print("demo: all of it held")
    return 0


def fail(title, reason):
    print(f"demo: '{title}' failed: {reason}", file=sys.stderr, flush=True)
    return 1


if __name__ == "__main__":
    sys.exit(main())
