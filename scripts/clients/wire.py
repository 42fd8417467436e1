"""Compares what the server says its definitions are with those inside the `yandexcloud` package.

The server's come by gRPC reflection, so what is compared is what it was built from. Every message,
enum and method that the server knows below `yandex.cloud` is looked up in the package, field by
field: number, name, type, label, oneof, name in JSON, and the rules that its options set; for
methods the types, the REST route and the types of the operation. Prints how many were compared, and
every difference. Exits 1 when there is one that is not in OURS.
"""

import argparse
import importlib
import sys

import grpc
from google.api import annotations_pb2
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from yandex.cloud import validation_pb2
from yandex.cloud.api import operation_pb2

from connection import Environment, Unusable

# Files that everything served here comes from; what they import is compared too.
ROOTS = (
    "yandex/cloud/endpoint/api_endpoint_service.proto",
    "yandex/cloud/iam/v1/iam_token_service.proto",
    "yandex/cloud/iam/v1/key_service.proto",
    "yandex/cloud/iam/v1/service_account_service.proto",
    "yandex/cloud/kms/v1/symmetric_crypto_service.proto",
    "yandex/cloud/kms/v1/symmetric_key_service.proto",
    "yandex/cloud/lockbox/v1/payload_service.proto",
    "yandex/cloud/lockbox/v1/secret_service.proto",
    "yandex/cloud/operation/operation_service.proto",
    "yandex/cloud/resourcemanager/v1/cloud_service.proto",
    "yandex/cloud/resourcemanager/v1/folder_service.proto",
)
# What is meant to differ, by its reason. Each must be there, or it is no difference any more.
MEANT = {
    "a negative page size is refused, as contract §14 no. 13 has it": [
        "yandex.cloud.kms.v1.ListSymmetricKeyOperationsRequest 2",
        "yandex.cloud.kms.v1.ListSymmetricKeyVersionsRequest 2",
        "yandex.cloud.kms.v1.ListSymmetricKeysRequest 2",
        "yandex.cloud.lockbox.v1.ListSecretOperationsRequest 2",
        "yandex.cloud.lockbox.v1.ListSecretsRequest 2",
        "yandex.cloud.lockbox.v1.ListVersionsRequest 2",
    ],
    "a negative length is refused": ["yandex.cloud.lockbox.v1.PasswordPayloadSpecification 2"],
    "our tokens are never longer than 100 bytes": [
        "yandex.cloud.access.ListAccessBindingsRequest 3",
    ],
    "the documentation of the API says POST (contract §13 no. 30)": [
        "yandex.cloud.operation.OperationService/Cancel",
    ],
    "types of access policies are there, nothing takes them (contract §1.14 no. 13)": [
        "yandex.cloud.access.AccessPolicyBinding 1",
        "yandex.cloud.access.AccessPolicyBinding 2",
        "yandex.cloud.access.BindAccessPolicyRequest 1",
        "yandex.cloud.access.BindAccessPolicyRequest 2",
        "yandex.cloud.access.ListAccessPolicyBindingsRequest 1",
        "yandex.cloud.access.ListAccessPolicyBindingsRequest 2",
        "yandex.cloud.access.ListAccessPolicyBindingsRequest 3",
        "yandex.cloud.access.UnbindAccessPolicyRequest 1",
        "yandex.cloud.access.UnbindAccessPolicyRequest 2",
        "yandex.cloud.access.UpdateAccessPolicyBindingParametersRequest 1",
        "yandex.cloud.access.UpdateAccessPolicyBindingParametersRequest 2",
    ],
    "access policies are not part of this service": [
        f"yandex.cloud.resourcemanager.v1.{service}/{method}"
        for service in ("CloudService", "FolderService")
        for method in (
            "BindAccessPolicy",
            "ListAccessPolicyBindings",
            "UnbindAccessPolicy",
            "UpdateAccessPolicyBindingParameters",
        )
    ],
}
OURS = {name: reason for reason, names in MEANT.items() for name in names}
RULES = ("required", "pattern", "value", "size", "length", "unique", "map_key", "bytes")


class Tally:
    """How much was compared, and what differs."""

    def __init__(self):
        self.counts = {"files": 0, "messages": 0, "fields": 0, "enums": 0, "methods": 0}
        self.differences = {}

    def count(self, what):
        self.counts[what] += 1

    def same(self, name, ours, theirs):
        if ours == theirs:
            return
        if isinstance(ours, dict) and isinstance(theirs, dict):
            unequal = [key for key in ours if ours[key] != theirs[key]]
            ours, theirs = ({key: side[key] for key in unequal} for side in (ours, theirs))
        self.differences[name] = f"here {ours}, there {theirs}"


def rules_of(options):
    """The validation rules of a field, as a dictionary."""
    found = {}
    for name in RULES:
        extension = getattr(validation_pb2, name)
        value = options.Extensions[extension]
        if value and (name != "map_key" or options.HasExtension(extension)):
            found[name] = str(value)
    return found


def lower_camel(name):
    """A field's name in JSON where the descriptor leaves it out."""
    first, *others = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in others)


def field_facts(field, message):
    oneof = None
    if field.HasField("oneof_index"):
        oneof = message.oneof_decl[field.oneof_index].name
    kinds = descriptor_pb2.FieldDescriptorProto
    return {
        "name": field.name,
        "type": kinds.Type.Name(field.type),
        "label": kinds.Label.Name(field.label),
        "of": field.type_name,
        "oneof": oneof,
        "json": field.json_name or lower_camel(field.name),
        "deprecated": field.options.deprecated,
        "rules": rules_of(field.options),
    }


def oneof_facts(message):
    needed = validation_pb2.exactly_one
    return {one.name: one.options.Extensions[needed] for one in message.oneof_decl}


def compare_messages(tally, scope, ours, theirs):
    there = {message.name: message for message in theirs}
    tally.same(f"{scope} (messages)", sorted(m.name for m in ours), sorted(there))
    for message in ours:
        if message.name not in there:
            continue
        other, name = there[message.name], f"{scope}.{message.name}"
        tally.count("messages")
        here = {field.number: field_facts(field, message) for field in message.field}
        found = {field.number: field_facts(field, other) for field in other.field}
        for number in sorted(here.keys() | found.keys()):
            tally.count("fields")
            tally.same(f"{name} {number}", here.get(number), found.get(number))
        reserved = [
            sorted((r.start, r.end) for r in one.reserved_range) for one in (message, other)
        ]
        tally.same(f"{name} (reserved)", *reserved)
        tally.same(f"{name} (oneofs)", oneof_facts(message), oneof_facts(other))
        compare_messages(tally, name, message.nested_type, other.nested_type)
        compare_enums(tally, name, message.enum_type, other.enum_type)


def compare_enums(tally, scope, ours, theirs):
    there = {enum.name: enum for enum in theirs}
    tally.same(f"{scope} (enums)", sorted(e.name for e in ours), sorted(there))
    for enum in ours:
        if enum.name in there:
            tally.count("enums")
            values = [
                sorted((value.number, value.name) for value in one.value)
                for one in (enum, there[enum.name])
            ]
            tally.same(f"{scope}.{enum.name}", *values)


def method_facts(method, package):
    operation = None
    if method.options.HasExtension(operation_pb2.operation):
        types = method.options.Extensions[operation_pb2.operation]
        operation = [full_name(name, package) for name in (types.metadata, types.response)]
    http = method.options.Extensions[annotations_pb2.http]
    return {
        "takes": method.input_type,
        "gives": method.output_type,
        "route": str(http).strip(),
        "operation": operation,
    }


def full_name(name, package):
    """A type's whole name: options name it from the method's package or from an outer one."""
    if name.startswith(("yandex.", "google.")):
        return name
    if "." in name:
        return f"yandex.cloud.{name}"
    return f"{package}.{name}"


def compare_services(tally, package, ours, theirs):
    there = {service.name: service for service in theirs}
    for service in ours:
        name = f"{package}.{service.name}"
        if service.name not in there:
            tally.same(name, "a service", None)
            continue
        here = {method.name: method for method in service.method}
        found = {method.name: method for method in there[service.name].method}
        for method in sorted(here.keys() | found.keys()):
            tally.count("methods")
            facts = [
                method_facts(side[method], package) if method in side else None
                for side in (here, found)
            ]
            tally.same(f"{name}/{method}", *facts)


def compare_file(tally, ours):
    """One file of the server with the package's file of that name."""
    module = ours.name.removesuffix(".proto").replace("/", ".") + "_pb2"
    theirs = descriptor_pb2.FileDescriptorProto()
    importlib.import_module(module).DESCRIPTOR.CopyToProto(theirs)
    tally.count("files")
    tally.same(f"{ours.name} (package)", ours.package, theirs.package)
    compare_messages(tally, ours.package, ours.message_type, theirs.message_type)
    compare_enums(tally, ours.package, ours.enum_type, theirs.enum_type)
    compare_services(tally, ours.package, ours.service, theirs.service)


def files_of(database):
    """The server's files below the roots, each once."""
    found, waiting = {}, list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name in found or not name.startswith("yandex/cloud/"):
            continue
        found[name] = database.FindFileByName(name)
        waiting.extend(found[name].dependency)
    return [found[name] for name in sorted(found)]


def judge(files):
    """Compares them all, prints what there is to say, and tells whether nothing unmeant differs."""
    tally = Tally()
    for file in files:
        compare_file(tally, file)
    print("compared " + ", ".join(f"{n} {what}" for what, n in tally.counts.items()))
    for name, difference in sorted(tally.differences.items()):
        print(f"{'meant ' if name in OURS else 'DIFFERS'} {name}: {OURS.get(name, difference)}")
    gone = OURS.keys() - tally.differences.keys()
    for name in sorted(gone):
        print(f"NO DIFFERENCE {name}: {OURS[name]}")
    return not gone and tally.differences.keys() <= OURS.keys()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--env", required=True, help="the env file of what is running")
    arguments = parser.parse_args()
    try:
        environment = Environment.read(arguments.env)
        with open(environment["LOCKBOX_CA"], "rb") as file:
            credentials = grpc.ssl_channel_credentials(file.read())
    except (Unusable, OSError) as error:
        sys.exit(str(error))
    with grpc.secure_channel(environment["LOCKBOX_ENDPOINT"], credentials) as channel:
        if not judge(files_of(ProtoReflectionDescriptorDatabase(channel))):
            sys.exit(1)


if __name__ == "__main__":
    main()
