"""Discovery: one address leads to all services (contract §0.1)."""

from grpc import StatusCode
from yandex.cloud.endpoint.api_endpoint_service_pb2 import (
    GetApiEndpointRequest,
    ListApiEndpointsRequest,
)

from world import equal, must

# What the SDKs look for; the Go SDK has no route to what is missing.
WANTED = {
    "endpoint",
    "iam",
    "operation",
    "lockbox",
    "lockbox-payload",
    "kms",
    "kms-crypto",
    "resource-manager",
    "resourcemanager",
}


def run(world):
    endpoints = world.services.endpoints
    listed = endpoints.read("List", ListApiEndpointsRequest()).endpoints
    ids = [endpoint.id for endpoint in listed]
    equal(sorted(ids), sorted(set(ids)), "the list of endpoints, each once,")
    must(WANTED <= set(ids), f"no endpoint for {', '.join(sorted(WANTED - set(ids)))}")
    for endpoint in listed:
        found = endpoints.read("Get", GetApiEndpointRequest(api_endpoint_id=endpoint.id))
        if endpoint.id.startswith("kms"):
            equal(found.address, world.environment["KMS_ENDPOINT"], f"endpoint {endpoint.id}")
        else:
            known = world.environment.endpoints()
            must(found.address in known, f"endpoint {endpoint.id} leads to {found.address}")
    unknown = GetApiEndpointRequest(api_endpoint_id="nowhere")
    endpoints.refuse("Get", unknown, StatusCode.NOT_FOUND)
