"""Which RPCs there are, which of them were called, and whether that is all of them.

An RPC counts as called when it has answered; one that is listed as not served, when it has answered
UNIMPLEMENTED. What there is comes from two sides: the servers say it in `/openapi.json`, and the SDK
has it in the descriptors of its stubs. An RPC of either side that nobody calls is a complaint.
"""

import json
import ssl
import urllib.request
from dataclasses import dataclass, field

import grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from connection import CALL_SECONDS, Wrong

NODE, KMS = "node", "kms"
POLICIES = "not part of this service (contract §1.14 no. 13)"
WITH_ALL_IN_IT = "everything would go with it (docs/compatibility.md)"
POLICY_METHODS = (
    "BindAccessPolicy",
    "ListAccessPolicyBindings",
    "UnbindAccessPolicy",
    "UpdateAccessPolicyBindingParameters",
)


@dataclass(frozen=True, order=True)
class Rpc:
    """A method of one of the programs; both serve operations of their own."""

    program: str
    service: str
    method: str

    def __str__(self):
        return f"{self.program}: {self.service}/{self.method}"

    @classmethod
    def of_path(cls, program, path):
        """By the path that gRPC has it under."""
        service, _, method = path.strip("/").partition("/")
        return cls(program, service, method)


def _rpcs(program, service, methods):
    return [Rpc(program, f"yandex.cloud.{service}", method) for method in methods]


# What must answer UNIMPLEMENTED, by its reason.
NOT_SERVED = {
    WITH_ALL_IN_IT: _rpcs(NODE, "resourcemanager.v1.CloudService", ("Delete",))
    + _rpcs(NODE, "resourcemanager.v1.FolderService", ("Delete",)),
    POLICIES: _rpcs(NODE, "resourcemanager.v1.CloudService", POLICY_METHODS)
    + _rpcs(NODE, "resourcemanager.v1.FolderService", POLICY_METHODS),
}


@dataclass
class Coverage:
    """What was called so far, and how each call ended."""

    codes: dict = field(default_factory=dict)

    def watch(self, program):
        """What the SDK is given, so that every call of that program is noted."""
        return _Watch(self, program)

    def saw(self, rpc, code):
        """Notes how a call ended."""
        self.codes.setdefault(rpc, set()).add(code)

    def answered(self):
        """The RPCs that have answered."""
        return {rpc for rpc, codes in self.codes.items() if "OK" in codes}

    def complaints(self, served, known, not_served):
        """What is missing or superfluous; nothing when every RPC was called as it must be.

        `served` is what the servers say, `known` what the SDK has, `not_served` what must answer
        UNIMPLEMENTED.
        """
        found = [f"{rpc} is served, and the SDK does not know it" for rpc in served - known]
        for rpc in served | known:
            codes = self.codes.get(rpc, set())
            told = ", ".join(sorted(codes)) or "nothing"
            if rpc not in not_served:
                if "OK" not in codes:
                    found.append(f"{rpc} was never called with success (it answered: {told})")
            elif "OK" in codes:
                found.append(f"{rpc} is listed as not served, and answers")
            elif "UNIMPLEMENTED" not in codes:
                found.append(f"{rpc} is listed as not served, and was not tried ({told})")
        found += [
            f"{rpc} is listed, and there is no such RPC" for rpc in not_served - served - known
        ]
        found += [f"{rpc} was called, and nobody serves it" for rpc in self.answered() - served]
        return sorted(found)


class _Watch(grpc.UnaryUnaryClientInterceptor):
    """Notes each call's end; changes nothing."""

    def __init__(self, coverage, program):
        self._coverage = coverage
        self._program = program

    def intercept_unary_unary(self, continuation, client_call_details, request):
        call = continuation(client_call_details, request)
        path = client_call_details.method
        path = path.decode() if isinstance(path, bytes) else path
        self._coverage.saw(Rpc.of_path(self._program, path), call.code().name)
        return call


def not_served():
    """All that must answer UNIMPLEMENTED."""
    return {rpc for rpcs in NOT_SERVED.values() for rpc in rpcs}


def known_to_sdk(services):
    """The RPCs of the SDK's own descriptors, of pairs of program and service descriptor."""
    return {
        Rpc(program, service.full_name, method.name)
        for program, service in services
        for method in service.methods
    }


def served_by(program, endpoint, authority):
    """The RPCs that a server says it serves."""
    context = ssl.create_default_context(cadata=authority.decode("ascii"))
    url = f"https://{endpoint}/openapi.json"
    try:
        with urllib.request.urlopen(url, context=context, timeout=CALL_SECONDS) as answer:
            description = json.load(answer)
    except (OSError, ValueError) as error:
        raise Wrong(f"{url} cannot be read: {error}") from error
    return in_description(program, description)


def named_by_reflection(endpoint, authority):
    """The services of the API that a server names by reflection, with a REST route or without."""
    credentials = grpc.ssl_channel_credentials(authority)
    with grpc.secure_channel(endpoint, credentials) as channel:
        names = ProtoReflectionDescriptorDatabase(channel).get_services()
    return {name for name in names if name.startswith("yandex.cloud.")}


def in_description(program, description):
    """The RPCs of an OpenAPI document: the service is an operation's tag, and its id names both.

    Without our own services, which no SDK has.
    """
    found = set()
    for path in description["paths"].values():
        for operation in path.values():
            (service,) = operation["tags"]
            if service.startswith("lockbox."):
                continue
            name, method, _ = operation["operationId"].split("_")
            if not service.endswith(f".{name}"):
                raise Wrong(f"the operation {operation['operationId']} is under {service}")
            found.add(Rpc(program, service, method))
    return found
