"""Calls every RPC that the servers serve, through the unmodified SDK, and judges what comes back.

In a cluster the leader is killed half-way, under writers, and started again before the end. At the
end each node must have every acknowledged change once, every change must be answered with its own
operation when it is repeated under its idempotency key, and no RPC may be left that nobody has
called. Works in a cloud and a folder of its own, and deletes what can be deleted. Prints each step;
exits 1 with one sentence when something is not so.
"""

import argparse
import signal
import sys

import grpc
from yandex.cloud.iam.v1.service_account_service_pb2 import (
    DeleteServiceAccountRequest,
    ListServiceAccountsRequest,
)
from yandex.cloud.lockbox.v1.secret_service_pb2 import DeleteSecretRequest, ListSecretsRequest
from yandexcloud.operations import OperationError

from chapters import containers, discovery, identity, kms, secrets, versions
from connection import Environment, Unusable, Wrong, told
from coverage import KMS, NODE, NOT_SERVED, Coverage, named_by_reflection, not_served, served_by
from failover import Failover
from ledger import Ledger
from world import Services, World, rpcs_of_sdk


class Run:
    """The steps, in order."""

    def __init__(self, environment):
        self.world = World(environment, Coverage(), Ledger())
        self.failover = Failover(self.world)
        self.is_cluster = len(environment.endpoints()) > 1

    def steps(self):
        """Titles and what to do; what a step gives is what there is to say of it."""
        first = [
            ("discovery", discovery.run),
            ("clouds and folders", containers.run),
            ("service accounts, keys and tokens", identity.run),
            ("secrets", secrets.run),
        ]
        second = [
            ("versions and payloads", versions.run),
            ("keys of the KMS and what they encrypt", kms.run),
        ]
        end = [
            ("every acknowledged change is there once, on each node", self.verify),
            ("every change again, under its idempotency key", self.repeat),
            ("every RPC was called", self.cover),
        ]
        kill = ("the leader is killed under writers", lambda _: self.failover.kill())
        back = ("the killed node comes back", lambda _: self.failover.bring_back())
        if self.is_cluster:
            return [*first, kill, *second, back, *end]
        return [*first, *second, *end]

    def verify(self, world):
        """Asks every node by itself."""
        compared = 0
        for index, endpoint in enumerate(world.environment.endpoints()):
            services = Services(world.fleet.only(index), world.ledger)
            compared += world.ledger.check(services, endpoint)
            for title, check in world.facts:
                try:
                    check(services)
                except Wrong as error:
                    raise Wrong(f"{endpoint}: not so that {title}: {error}") from error
        nodes = len(world.environment.endpoints())
        return (
            f"compared {compared} operations and {nodes * len(world.facts)} facts on {nodes} nodes"
        )

    def repeat(self, world):
        """Sends all changes again; nothing may come of it."""
        repeated = world.ledger.repeat()
        self.verify(world)
        return f"repeated {repeated} changes, each answered with its operation, none applied twice"

    def cover(self, world):
        """Compares what was called with what the servers and the SDK have."""
        served, named = set(), set()
        authority = world.environment.authority()
        programs = [(NODE, endpoint) for endpoint in world.environment.endpoints()]
        for program, endpoint in [*programs, (KMS, world.environment["KMS_ENDPOINT"])]:
            served |= served_by(program, endpoint, authority)
            named |= named_by_reflection(endpoint, authority)
        complaints = world.coverage.complaints(served, rpcs_of_sdk(), not_served())
        without_rest = sorted(named - {rpc.service for rpc in served})
        complaints += [f"{name} is in reflection and in no /openapi.json" for name in without_rest]
        if complaints:
            raise Wrong("; ".join(complaints))
        called, refused = len(world.coverage.answered()), len(not_served())
        lines = [f"called {called} RPCs with success, and {refused} that answer UNIMPLEMENTED:"]
        for reason, rpcs in NOT_SERVED.items():
            names = {rpc.service.rpartition(".")[2] for rpc in rpcs}
            methods = sorted({rpc.method for rpc in rpcs})
            lines.append(f"- {' and '.join(sorted(names))} {', '.join(methods)}: {reason}")
        return lines

    def clean_up(self):
        """Leaves the servers as they were, but for what cannot be deleted; failures are told."""
        world = self.world
        try:
            self.failover.restore()
        except Wrong as error:
            print(f"   a node is left dead: {error}", file=sys.stderr)
        if not world.folder_id:
            return
        try:
            request = ListSecretsRequest(folder_id=world.folder_id)
            for secret in world.services.secrets.list("List", request, "secrets", 100):
                world.services.secrets.read("Delete", DeleteSecretRequest(secret_id=secret.id))
            request = ListServiceAccountsRequest(folder_id=world.folder_id)
            for account in world.services.accounts.list("List", request, "service_accounts", 100):
                delete = DeleteServiceAccountRequest(service_account_id=account.id)
                world.services.accounts.read("Delete", delete)
        except (grpc.RpcError, Wrong) as error:
            text = told(error) if isinstance(error, grpc.RpcError) else error
            print(f"   something of folder {world.folder_id} is left: {text}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", required=True, help="the env file of what is running")
    # Whoever ends it early: what was killed is started again.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended early"))
    title, run = "find the servers", None
    try:
        run = Run(Environment.read(parser.parse_args().env))
        for title, step in run.steps():
            print(title, flush=True)
            said = step(run.world) or []
            for line in [said] if isinstance(said, str) else said:
                print(f"   {line}", flush=True)
    except grpc.RpcError as error:
        sys.exit(f"'{title}' failed: {told(error)}")
    except (Wrong, Unusable, OperationError) as error:
        sys.exit(f"'{title}' failed: {error}")
    finally:
        if run is not None:
            run.clean_up()
    if not run.is_cluster:
        print("   skipped the killed leader: this is one process")


if __name__ == "__main__":
    main()
