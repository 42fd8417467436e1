"""The services as a client of the SDK uses them: on whichever node answers.

A call that a node does not answer goes to the next one. Changes carry an idempotency key, the same
on every try, so that a try that took effect and was not answered does not count twice; they are
waited for by the SDK and end in the ledger. Knows no service in particular.
"""

import copy
import itertools
import time
import uuid
from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2, status_pb2
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest
from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceStub
from yandexcloud import RetryInterceptor, backoff_linear_with_jitter

from connection import CALL_SECONDS, GONE, Wrong, ask, told
from coverage import KMS
from ledger import Change
from paging import same, walk

# Longest time that a call may be without an answer from any node, an election on a busy machine
# included.
SILENCE_SECONDS = 120.0
# How long a caller waits before it turns to the next node.
TURN_SECONDS = 0.05
# How often the SDK's own retry layer may try.
RETRIES = 8
ALL = 1000


class Fleet:
    """The nodes, as one caller sees them."""

    def __init__(self, environment, coverage, nodes=None, **credentials):
        self.coverage = coverage
        self.turned = 0
        self._credentials = credentials
        self._turn = itertools.count()
        self._environment = environment
        endpoints = environment.endpoints()
        # For the KMS's own OperationService: discovery leads to the node's, which knows all of them.
        self._of_kms = {"operation": environment["KMS_ENDPOINT"]}
        self.nodes = nodes or [self._connect(endpoint) for endpoint in endpoints]

    def acting(self, **credentials):
        """The same nodes for another caller."""
        return Fleet(self._environment, self.coverage, **credentials)

    def only(self, index):
        """One node alone: it must answer by itself."""
        return Fleet(self._environment, self.coverage, [self.nodes[index]], **self._credentials)

    def renew(self, environment, index):
        """A node has come back: what the SDK remembers of its dead process is forgotten."""
        self._environment = environment
        self.nodes[index] = self._connect(environment.endpoints()[index])

    def _connect(self, endpoint):
        connect = self._environment.connect
        node = connect(endpoint, **self._credentials)
        return node, connect(endpoint, endpoints=self._of_kms, **self._credentials)

    def on_some_node(self, call, program):
        """The answer of the first node that has one, and the SDK of that node."""
        deadline = time.monotonic() + SILENCE_SECONDS
        turn = next(self._turn)
        while True:
            of_node, of_kms = self.nodes[turn % len(self.nodes)]
            sdk = of_kms.sdk if program == KMS else of_node.sdk
            try:
                return call(sdk), of_node.sdk
            except grpc.RpcError as error:
                # A wrong answer is wrong whatever happens around it; only silence is excused.
                if error.code() not in GONE:
                    raise
                if time.monotonic() > deadline:
                    raise Wrong(f"no node answers any more: {told(error)}") from error
                self.turned += 1
                turn += 1
                time.sleep(TURN_SECONDS)

    def where_known(self, operation):
        """The SDK of a node that is there and knows an operation.

        A change of the KMS is answered by the KMS, so the node that led there may be gone unnoticed;
        and the SDK's own waiting asks a node that is gone for minutes.
        """
        request = GetOperationRequest(operation_id=operation.id)

        def get(sdk):
            return ask(sdk.client(OperationServiceStub).Get, request)

        return self.on_some_node(get, None)[1]


@dataclass(frozen=True)
class Done:
    """A change that took effect."""

    meta: object
    response: object
    operation: object
    key: str


class Service:
    """One service of a fleet, by the SDK's stub."""

    def __init__(self, fleet, ledger, program, stub):
        self._fleet, self._ledger = fleet, ledger
        self._program, self._stub = program, stub

    def read(self, method, request, *metadata):
        """The answer to a call that may be made twice."""
        return self._call(method, request, metadata)[0]

    def refuse(self, method, request, code, key=None):
        """Makes a call that must be refused with this code."""
        try:
            self._call(method, request, _under(key))
        except grpc.RpcError as error:
            if error.code() != code:
                raise Wrong(f"{method} is refused with {told(error)}, not {code.name}") from error
            # What is in no definition is answered by no service, and bare.
            if code != grpc.StatusCode.UNIMPLEMENTED:
                _names_its_request(method, error)
            return
        raise Wrong(f"{method} was answered, not refused with {code.name}")

    def change(self, method, request, meta, response, *ids, wait=True):
        """Makes a change, waits for it as the SDK does, and notes it for these resources.

        An id is one that is known before, or the name of a field of the metadata.
        """
        key = str(uuid.uuid4())
        # The caller may go on to write in its own.
        request = copy.deepcopy(request)
        operation, sdk = self._call(method, request, _under(key))
        if not operation.metadata.Is(meta.DESCRIPTOR):
            raise Wrong(f"{method} has metadata of {operation.metadata.TypeName()}")
        if wait:
            if self._program == KMS:
                sdk = self._fleet.where_known(operation)
            result = sdk.wait_operation_and_get_result(
                operation, response_type=response, meta_type=meta, timeout=SILENCE_SECONDS
            )
            done = Done(result.meta, result.response, operation, key)
        else:
            done = Done(meta(), response(), operation, key)
            operation.metadata.Unpack(done.meta)
            operation.response.Unpack(done.response)
        # The SDK itself lets another type pass, as an empty message.
        if operation.done and not operation.response.Is(response.DESCRIPTOR):
            raise Wrong(f"{method} has a response of {operation.response.TypeName()}")
        known = [getattr(done.meta, name, name) for name in ids]
        change = Change(self, method, request, key, operation.id)
        self._ledger.acknowledged(change, known)
        return done

    def repeat(self, method, request, key):
        """The same change under the same key, through the SDK's own retry layer."""
        retry = RetryInterceptor(
            max_retry_count=RETRIES,
            back_off_func=backoff_linear_with_jitter(0.2, 0.5),
            per_call_timeout=CALL_SECONDS,
            add_retry_count_to_header=True,
        )
        return self._call(method, request, _under(key), retry)[0]

    def list(self, method, request, rows, size=2, between=None):
        """A list by small pages and, when nothing is done in between, at once: they must agree."""

        def fetch(page_size, token):
            page = type(request)()
            page.CopyFrom(request)
            page.page_size, page.page_token = page_size, token
            answer = self.read(method, page)
            return list(getattr(answer, rows)), answer.next_page_token

        by_pages = walk(fetch, size, between)
        if between is None:
            same(by_pages, walk(fetch, ALL), f"{self._stub.__name__.removesuffix('Stub')}/{method}")
        return by_pages

    def _call(self, method, request, metadata=(), interceptor=None):
        watch = interceptor or self._fleet.coverage.watch(self._program)

        def call(sdk):
            client = sdk.client(self._stub, interceptor=watch)
            return getattr(client, method)(request, timeout=CALL_SECONDS, metadata=metadata)

        return self._fleet.on_some_node(call, self._program)


def _under(key):
    """The header of an idempotency key."""
    return () if key is None else (("idempotency-key", key),)


def _names_its_request(method, error):
    """Every refusal says which request it was (contract §5.1)."""
    trailers = {key: value for key, value in error.trailing_metadata() or ()}
    status = status_pb2.Status.FromString(trailers.get("grpc-status-details-bin", b""))
    about = error_details_pb2.RequestInfo()
    if not any(detail.Unpack(about) and about.request_id for detail in status.details):
        raise Wrong(f"{method} is refused with {error.code().name} that names no request")
