"""What the chapters share: the services for one caller, where they work, and what must stay true."""

import uuid
from dataclasses import dataclass, field

from yandex.cloud.access.access_pb2 import (
    AccessBinding,
    AccessBindingAction,
    AccessBindingDelta,
    ListAccessBindingsRequest,
    SetAccessBindingsMetadata,
    SetAccessBindingsRequest,
    Subject,
    UpdateAccessBindingsMetadata,
    UpdateAccessBindingsRequest,
)
from yandex.cloud.endpoint import api_endpoint_service_pb2
from yandex.cloud.endpoint.api_endpoint_service_pb2_grpc import ApiEndpointServiceStub
from yandex.cloud.iam.v1 import iam_token_service_pb2, key_service_pb2, service_account_service_pb2
from yandex.cloud.iam.v1.iam_token_service_pb2 import (
    CreateIamTokenForServiceAccountRequest,
    CreateIamTokenRequest,
)
from yandex.cloud.iam.v1.iam_token_service_pb2_grpc import IamTokenServiceStub
from yandex.cloud.iam.v1.key_service_pb2_grpc import KeyServiceStub
from yandex.cloud.iam.v1.service_account_service_pb2_grpc import ServiceAccountServiceStub
from yandex.cloud.kms.v1 import symmetric_crypto_service_pb2, symmetric_key_service_pb2
from yandex.cloud.kms.v1.symmetric_crypto_service_pb2_grpc import SymmetricCryptoServiceStub
from yandex.cloud.kms.v1.symmetric_key_service_pb2_grpc import SymmetricKeyServiceStub
from yandex.cloud.lockbox.v1 import payload_service_pb2, secret_service_pb2
from yandex.cloud.lockbox.v1.payload_service_pb2_grpc import PayloadServiceStub
from yandex.cloud.lockbox.v1.secret_service_pb2_grpc import SecretServiceStub
from yandex.cloud.operation import operation_service_pb2
from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceStub
from yandex.cloud.resourcemanager.v1 import cloud_service_pb2, folder_service_pb2
from yandex.cloud.resourcemanager.v1.cloud_service_pb2_grpc import CloudServiceStub
from yandex.cloud.resourcemanager.v1.folder_service_pb2_grpc import FolderServiceStub

from connection import Wrong
from coverage import KMS, NODE, known_to_sdk
from fleet import Fleet, Service
from jwt_login import sign

# Every service here: the name that chapters know it by, who serves it, its stub, its definitions.
SERVICES = (
    ("endpoints", NODE, ApiEndpointServiceStub, api_endpoint_service_pb2),
    ("tokens", NODE, IamTokenServiceStub, iam_token_service_pb2),
    ("keys", NODE, KeyServiceStub, key_service_pb2),
    ("accounts", NODE, ServiceAccountServiceStub, service_account_service_pb2),
    ("clouds", NODE, CloudServiceStub, cloud_service_pb2),
    ("folders", NODE, FolderServiceStub, folder_service_pb2),
    ("secrets", NODE, SecretServiceStub, secret_service_pb2),
    ("payloads", NODE, PayloadServiceStub, payload_service_pb2),
    ("operations", NODE, OperationServiceStub, operation_service_pb2),
    ("kms_keys", KMS, SymmetricKeyServiceStub, symmetric_key_service_pb2),
    ("kms_crypto", KMS, SymmetricCryptoServiceStub, symmetric_crypto_service_pb2),
    ("kms_operations", KMS, OperationServiceStub, operation_service_pb2),
)


def rpcs_of_sdk():
    """Every RPC that the SDK has of these services."""
    pairs = []
    for _, program, stub, module in SERVICES:
        name = stub.__name__.removesuffix("Stub")
        pairs.append((program, module.DESCRIPTOR.services_by_name[name]))
    return known_to_sdk(pairs)


class Services:
    """Every service, for one caller; each is an attribute, named as in SERVICES."""

    def __init__(self, fleet, ledger):
        for name, program, stub, _ in SERVICES:
            setattr(self, name, Service(fleet, ledger, program, stub))


@dataclass
class World:
    """Where the chapters work: a cloud and a folder of this run, and who runs it."""

    environment: object
    coverage: object
    ledger: object
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    # Made by the chapters, for those that come later.
    cloud_id: str = ""
    folder_id: str = ""
    account_id: str = ""
    # What must be so at the end, on every node: (title, function of its services).
    facts: list = field(default_factory=list)

    def __post_init__(self):
        self.fleet = Fleet(self.environment, self.coverage)
        self.services = Services(self.fleet, self.ledger)
        self.admin_id = self.environment.service_account()

    def acting(self, **credentials):
        """The services for another caller."""
        return Services(self.fleet.acting(**credentials), self.ledger)

    def as_administrator(self):
        """The header that this SDK leaves out of calls of the token service."""
        request = CreateIamTokenRequest(jwt=sign(self.environment.authorized_key()))
        token = self.services.tokens.read("Create", request).iam_token
        return ("authorization", f"Bearer {token}")

    def token_of_account(self):
        """A token of the run's own account, made by the administrator."""
        request = CreateIamTokenForServiceAccountRequest(service_account_id=self.account_id)
        tokens = self.services.tokens
        return tokens.read("CreateForServiceAccount", request, self.as_administrator())

    def name(self, what):
        """A name of this run alone."""
        return f"test-{self.run}-{what}"

    def fact(self, title, check):
        """Something that must be so from now on; `check(services)` raises when it is not."""
        check(self.services)
        self.facts.append((title, check))


def must(so, sentence):
    """Raises the sentence unless it is so."""
    if not so:
        raise Wrong(sentence)


def equal(found, wanted, what):
    """Raises unless both are the same. For what may be printed only: never for values."""
    if found != wanted:
        raise Wrong(f"{what} is {found!r}, not {wanted!r}")


def binding(role, subject_id, subject_type="serviceAccount"):
    """A role of somebody."""
    return AccessBinding(role_id=role, subject=Subject(id=subject_id, type=subject_type))


def set_bindings(service, resource, bindings, response):
    """Replaces the bindings of a resource."""
    request = SetAccessBindingsRequest(resource_id=resource, access_bindings=bindings)
    meta = SetAccessBindingsMetadata
    return service.change("SetAccessBindings", request, meta, response, "resource_id")


def update_bindings(service, resource, response, add=(), remove=(), wait=True):
    """Adds and removes bindings of a resource in one change."""
    deltas = [
        AccessBindingDelta(action=action, access_binding=changed)
        for action, several in (
            (AccessBindingAction.ADD, add),
            (AccessBindingAction.REMOVE, remove),
        )
        for changed in several
    ]
    request = UpdateAccessBindingsRequest(resource_id=resource, access_binding_deltas=deltas)
    meta = UpdateAccessBindingsMetadata
    return service.change("UpdateAccessBindings", request, meta, response, "resource_id", wait=wait)


def bindings_of(service, resource):
    """All bindings of a resource, as sorted pairs of role and subject."""
    request = ListAccessBindingsRequest(resource_id=resource)
    listed = service.list("ListAccessBindings", request, "access_bindings")
    return sorted((found.role_id, found.subject.id) for found in listed)
