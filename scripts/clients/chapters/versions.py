"""Versions and what is in them: added, merged, moved back, destroyed; payloads by id and by name."""

import time

from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode
from yandex.cloud.lockbox.v1 import secret_service_pb2 as wire
from yandex.cloud.lockbox.v1.payload_service_pb2 import (
    FolderAndName,
    GetExRequest,
    GetPayloadRequest,
)
from yandex.cloud.lockbox.v1.secret_pb2 import Version
from yandex.cloud.operation.operation_service_pb2 import CancelOperationRequest, GetOperationRequest

from chapters import secrets as chapter
from world import equal, must

WEEK_SECONDS = 7 * 24 * 3600
# Every byte there is, so that nobody can have taken it for a text on its way.
BINARY = bytes(range(256))
# A version is destroyed when its second has come; how long that takes to be seen, at most.
DESTROYED_SECONDS = 120


def run(world):
    secret = chapter.create(world, "versions", [("login", "user"), ("file", BINARY)])
    merge(world, secret)
    move_back(world, secret)
    destroy(world)
    operations(world)


def add(world, secret_id, changes, **options):
    """A new version and the operation; changes are pairs, without a value to take a key away."""
    request = wire.AddVersionRequest(
        secret_id=secret_id,
        payload_entries=[chapter.change(key, value) for key, value in changes],
        **options,
    )
    meta = wire.AddVersionMetadata
    done = world.services.secrets.change("AddVersion", request, meta, Version, "secret_id")
    equal(done.response.id, done.meta.version_id, "the version that was added")
    return done


def entries(payload):
    """What a payload holds, in its order."""
    return [(entry.key, getattr(entry, entry.WhichOneof("value"))) for entry in payload.entries]


def reads(world, title, secret_id, version_id, wanted):
    """From now on this version has exactly these entries, by every way to read it."""

    def check(services):
        request = GetPayloadRequest(secret_id=secret_id, version_id=version_id)
        payload = services.payloads.read("Get", request)
        equal(payload.version_id, version_id, "the version that is read")
        must(
            entries(payload) == wanted, f"version {version_id} has other entries than were written"
        )
        request = GetExRequest(secret_id=secret_id, version_id=version_id)
        answer = services.payloads.read("GetEx", request)
        equal((answer.secret_id, answer.version_id), (secret_id, version_id), "GetEx reads what")
        as_bytes = {k: v if isinstance(v, bytes) else v.encode() for k, v in wanted}
        must(dict(answer.entries) == as_bytes, f"GetEx of {version_id} answers otherwise than Get")

    world.fact(title, check)


def merge(world, secret):
    """A new version is the one before with what was changed; the order of entries stays."""
    first = secret.current_version.id
    reads(world, "the first version reads", secret.id, first, [("login", "user"), ("file", BINARY)])
    one = add(world, secret.id, [("password", "one"), ("login", "another")]).response
    wanted = [("login", "another"), ("file", BINARY), ("password", "one")]
    equal(list(one.payload_entry_keys), [key for key, _ in wanted], "the keys of the version")
    reads(world, "a merged version reads", secret.id, one.id, wanted)
    two = add(world, secret.id, [("login", ""), ("file", "text")]).response
    wanted = [("file", "text"), ("password", "one")]
    reads(world, "a version without a key reads", secret.id, two.id, wanted)
    old = add(world, secret.id, [], base_version_id=first, description="as at first").response
    equal(old.description, "as at first", "the description of the version")
    wanted = [("login", "user"), ("file", BINARY)]
    reads(world, "a copy of the first version reads", secret.id, old.id, wanted)
    request = wire.ListVersionsRequest(secret_id=secret.id)
    ids = [old.id, two.id, one.id, first]

    def stays(services):
        listed = services.secrets.list("ListVersions", request, "versions", size=1)
        equal([version.id for version in listed], ids, "the versions of the secret")

    world.fact("versions are listed, newest first, each once", stays)


def move_back(world, secret):
    secrets, payloads = world.services.secrets, world.services.payloads
    versions = secrets.read("ListVersions", wire.ListVersionsRequest(secret_id=secret.id)).versions
    first = versions[-1]
    request = wire.SetCurrentVersionRequest(secret_id=secret.id, version_id=first.id)
    meta = wire.SetCurrentVersionMetadata
    done = secrets.change("SetCurrentVersion", request, meta, Version, "secret_id")
    equal(done.response.id, first.id, "the version that is current again")
    foreign = wire.SetCurrentVersionRequest(secret_id=secret.id, version_id="e6qnowhere")
    secrets.refuse("SetCurrentVersion", foreign, StatusCode.NOT_FOUND)

    def stays(services):
        found = services.secrets.read("Get", wire.GetSecretRequest(secret_id=secret.id))
        equal(found.current_version.id, first.id, "the current version")
        named = FolderAndName(folder_id=world.folder_id, secret_name=secret.name)
        answer = services.payloads.read("GetEx", GetExRequest(folder_and_name=named))
        equal((answer.secret_id, answer.version_id), (secret.id, first.id), "what has the name")

    world.fact("an old version is current again, and found by the secret's name", stays)
    unknown = FolderAndName(folder_id=world.folder_id, secret_name="nobody's")
    payloads.refuse("GetEx", GetExRequest(folder_and_name=unknown), StatusCode.NOT_FOUND)


def destroy(world):
    secrets, payloads = world.services.secrets, world.services.payloads
    secret = chapter.create(world, "destroyed", [("login", "user")])
    old = secret.current_version.id
    add(world, secret.id, [("login", "another")])
    read = GetPayloadRequest(secret_id=secret.id, version_id=old)
    scheduled = schedule(world, secret.id, old)
    later = scheduled.response.destroy_at.seconds - scheduled.operation.created_at.seconds
    equal(later, WEEK_SECONDS, "the time until the destruction, unless it is told,")
    payloads.refuse("Get", read, StatusCode.FAILED_PRECONDITION)
    cancel = wire.CancelVersionDestructionRequest(secret_id=secret.id, version_id=old)
    meta = wire.CancelVersionDestructionMetadata
    done = secrets.change("CancelVersionDestruction", cancel, meta, Version, "secret_id")
    equal(done.response.status, Version.Status.ACTIVE, "the status of what was called off")
    must(not done.response.HasField("destroy_at"), "what was called off has a time still")
    payloads.read("Get", read)

    schedule(world, secret.id, old, Duration(seconds=1))
    request = wire.ListVersionsRequest(secret_id=secret.id)
    deadline = time.monotonic() + DESTROYED_SECONDS
    while secrets.read("ListVersions", request).versions[1].status != Version.Status.DESTROYED:
        must(time.monotonic() < deadline, "a version is not destroyed although its time has come")
        time.sleep(0.2)
    secrets.refuse("CancelVersionDestruction", cancel, StatusCode.FAILED_PRECONDITION)

    def stays(services):
        found = services.secrets.list("ListVersions", request, "versions", size=1)[1]
        equal((found.id, found.status), (old, Version.Status.DESTROYED), "the destroyed version")
        services.payloads.refuse("Get", read, StatusCode.FAILED_PRECONDITION)

    world.fact("what was destroyed is destroyed", stays)


def schedule(world, secret_id, version_id, pending=None):
    request = wire.ScheduleVersionDestructionRequest(
        secret_id=secret_id, version_id=version_id, pending_period=pending
    )
    meta = wire.ScheduleVersionDestructionMetadata
    secrets = world.services.secrets
    done = secrets.change("ScheduleVersionDestruction", request, meta, Version, "secret_id")
    scheduled = Version.Status.SCHEDULED_FOR_DESTRUCTION
    equal(done.response.status, scheduled, "the status of what is to be destroyed")
    equal(done.response.destroy_at, done.meta.destroy_at, "the time of the destruction")
    return done


def operations(world):
    """An operation is read by who made it; there is never one to be cancelled."""
    secret = chapter.create(world, "operations")
    done = add(world, secret.id, [("login", "user")])

    def stays(services):
        get = GetOperationRequest(operation_id=done.operation.id)
        equal(services.operations.read("Get", get), done.operation, "the operation")
        cancel = CancelOperationRequest(operation_id=done.operation.id)
        equal(services.operations.read("Cancel", cancel), done.operation, "the cancelled operation")

    world.fact("an operation stays as it was answered", stays)
    unknown = GetOperationRequest(operation_id="e6qnowhere")
    world.services.operations.refuse("Get", unknown, StatusCode.NOT_FOUND)
