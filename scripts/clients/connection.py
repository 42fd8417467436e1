"""How a program reaches Lockbox through the unmodified `yandexcloud` SDK.

Owns the reading of the `env` file that `lockbox dev` and `make cluster` write, and one set of SDK
clients for each node. Knows nothing about what is done with them.
"""

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import grpc
import yandexcloud
from yandex.cloud.kms.v1.symmetric_key_service_pb2_grpc import SymmetricKeyServiceStub
from yandex.cloud.lockbox.v1.payload_service_pb2_grpc import PayloadServiceStub
from yandex.cloud.lockbox.v1.secret_service_pb2_grpc import SecretServiceStub

# What one call may take, an election included.
CALL_SECONDS = 15.0
# What an answer may say when its node is gone or has no leader yet; everything else is a mistake.
GONE = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class Unusable(Exception):
    """The environment does not say how to connect; one sentence."""


class Wrong(Exception):
    """Something is not as it must be; one sentence."""


@dataclass(frozen=True)
class Environment:
    """What the `env` file says."""

    path: Path
    values: dict

    @classmethod
    def read(cls, path):
        """Reads the file as a shell would, without running it."""
        try:
            words = shlex.split(Path(path).read_text(encoding="utf-8"), comments=True)
        except OSError as error:
            raise Unusable(
                f"{path} cannot be read ({error.strerror}): is it started? (make dev, make cluster)"
            ) from error
        pairs = (word.partition("=") for word in words if "=" in word)
        return cls(Path(path), {name: value for name, _, value in pairs})

    def __getitem__(self, name):
        try:
            return self.values[name]
        except KeyError:
            raise Unusable(f"{self.path} does not say {name}") from None

    def words(self, name):
        """A list: its words are separated by spaces."""
        return self[name].split()

    def endpoints(self):
        """Every node's `host:port`, in node order."""
        if "LOCKBOX_ENDPOINTS" in self.values:
            return self.words("LOCKBOX_ENDPOINTS")
        return [self["LOCKBOX_ENDPOINT"]]

    def service_account(self):
        """The id of the service account that the authorized key belongs to."""
        return self.authorized_key()["service_account_id"]

    def connect(self, endpoint, **options):
        """The SDK's clients of the node there; nothing is sent yet.

        `options` are the SDK's own, as `iam_token`; without credentials among them it logs in with
        the administrator's authorized key.
        """
        if not {"iam_token", "service_account_key"} & options.keys():
            options["service_account_key"] = self.authorized_key()
        sdk = yandexcloud.SDK(endpoint=endpoint, root_certificates=self.authority(), **options)
        return Node(endpoint, sdk)

    def authority(self):
        """The certificate, in PEM, that the servers' own ones come from."""
        path = Path(self["LOCKBOX_CA"])
        try:
            return path.read_bytes()
        except OSError as error:
            raise Unusable(f"the certificate {path} cannot be read: {error.strerror}") from error

    def authorized_key(self):
        """The administrator's key, as the SDK takes it."""
        path = Path(self["LOCKBOX_SA_KEY"])
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            message = f"the authorized key {path} cannot be read: {error.strerror}"
            raise Unusable(message) from error


class Node:
    """One node, as the SDK sees it.

    Clients are made on first use: making one asks the node for its endpoints, and that fails
    while the node is away.
    """

    def __init__(self, endpoint, sdk):
        self.endpoint = endpoint
        self.sdk = sdk

    @property
    def secrets(self):
        return self.sdk.client(SecretServiceStub)

    @property
    def payloads(self):
        return self.sdk.client(PayloadServiceStub)

    @property
    def keys(self):
        return self.sdk.client(SymmetricKeyServiceStub)


def ask(method, request, **options):
    """One call with a deadline, by the SDK's stub."""
    return method(request, timeout=CALL_SECONDS, **options)


def ask_with_headers(method, request, **options):
    """As `ask`; also what the answer says about itself."""
    answer, call = method.with_call(request, timeout=CALL_SECONDS, **options)
    headers = list(call.initial_metadata()) + list(call.trailing_metadata())
    return answer, {key: value for key, value in headers if isinstance(value, str)}


def told(error):
    """A failed call as part of a sentence."""
    detail = (error.details() or "no reason given").replace("\n", " ")
    return f"{error.code().name}: {detail}"
