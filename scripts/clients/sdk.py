"""Creates a secret and reads it with the unmodified Python SDK; leaves it for the other clients.

Prints the new secret's id. Exits 1 with one sentence when something is not so. With `--delete ID`
it deletes that secret instead.
"""

import argparse
import sys
import uuid

import grpc
from yandex.cloud.lockbox.v1.payload_service_pb2 import GetPayloadRequest
from yandex.cloud.lockbox.v1.secret_pb2 import Secret
from yandex.cloud.lockbox.v1.secret_service_pb2 import (
    CreateSecretMetadata,
    CreateSecretRequest,
    DeleteSecretRequest,
    PayloadEntryChange,
)
from yandexcloud.operations import OperationError

from connection import Environment, Unusable, ask, told

# The same values as scripts/test-clients.sh looks for.
ENTRIES = [
    PayloadEntryChange(key="login", text_value="user"),
    PayloadEntryChange(key="certificate", binary_value=b"\x00\xff\xfe"),
]


def create_and_read(node, folder_id):
    request = CreateSecretRequest(
        folder_id=folder_id,
        name=f"test-clients-{uuid.uuid4().hex[:8]}",
        version_payload_entries=ENTRIES,
    )
    made = node.sdk.wait_operation_and_get_result(
        ask(node.secrets.Create, request), response_type=Secret, meta_type=CreateSecretMetadata
    )
    payload = ask(node.payloads.Get, GetPayloadRequest(secret_id=made.meta.secret_id))
    read = [(entry.key, entry.text_value, entry.binary_value) for entry in payload.entries]
    written = [(entry.key, entry.text_value, entry.binary_value) for entry in ENTRIES]
    if read != written or payload.version_id != made.response.current_version.id:
        sys.exit("the payload that was read is not the one that was written")
    return made.meta.secret_id


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", required=True, help="the env file of what is running")
    parser.add_argument("--delete", metavar="ID", help="delete this secret")
    arguments = parser.parse_args()
    try:
        environment = Environment.read(arguments.env)
        node = environment.connect(environment["LOCKBOX_ENDPOINT"])
        if arguments.delete:
            ask(node.secrets.Delete, DeleteSecretRequest(secret_id=arguments.delete))
        else:
            print(create_and_read(node, environment["LOCKBOX_FOLDER_ID"]))
    except grpc.RpcError as error:
        sys.exit(told(error))
    except (OperationError, Unusable) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
