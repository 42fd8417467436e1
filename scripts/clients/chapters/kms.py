"""Keys of the KMS, what they encrypt, and secrets under a key of their own."""

import hashlib

from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from yandex.cloud.kms.v1 import symmetric_crypto_service_pb2 as crypto
from yandex.cloud.kms.v1 import symmetric_key_service_pb2 as wire
from yandex.cloud.kms.v1.symmetric_key_pb2 import (
    SymmetricAlgorithm,
    SymmetricKey,
    SymmetricKeyVersion,
)
from yandex.cloud.lockbox.v1.payload_service_pb2 import GetPayloadRequest
from yandex.cloud.operation.operation_service_pb2 import CancelOperationRequest, GetOperationRequest

from chapters import secrets, versions
from world import binding, bindings_of, equal, must, set_bindings, update_bindings

AAD = b"what the ciphertext is about"
DAY_SECONDS = 24 * 3600


def run(world):
    key = make_keys(world)
    rotate(world, key)
    use(world, key)
    own_key_secret(world, key)
    operations(world)
    version_lifecycle(world)
    access(world)
    delete(world)


def create(world, name, algorithm):
    request = wire.CreateSymmetricKeyRequest(
        folder_id=world.folder_id, name=world.name(name), default_algorithm=algorithm
    )
    meta = wire.CreateSymmetricKeyMetadata
    done = world.services.kms_keys.change("Create", request, meta, SymmetricKey, "key_id")
    key = done.response
    equal((key.id, key.primary_version.id), (done.meta.key_id, done.meta.primary_version_id), "key")
    must(key.primary_version.primary, "the first version of a key is not primary")
    return done


def make_keys(world):
    keys = world.services.kms_keys
    algorithms = (
        SymmetricAlgorithm.AES_128,
        SymmetricAlgorithm.AES_192,
        SymmetricAlgorithm.AES_256,
    )
    made = [create(world, f"key-{number}", each) for number, each in enumerate(algorithms)]
    ids = [done.response.id for done in made]
    request = wire.ListSymmetricKeysRequest(folder_id=world.folder_id)
    update = wire.UpdateSymmetricKeyRequest(
        key_id=ids[0],
        update_mask=FieldMask(paths=["description", "default_algorithm", "rotation_period"]),
        name="not-listed-in-the-mask",
        description="of a test",
        default_algorithm=SymmetricAlgorithm.AES_256,
        rotation_period=Duration(seconds=DAY_SECONDS),
    )
    meta = wire.UpdateSymmetricKeyMetadata
    changed = keys.change("Update", update, meta, SymmetricKey, "key_id").response
    equal((changed.name, changed.description), (world.name("key-0"), "of a test"), "the key")
    equal(changed.rotation_period.seconds, DAY_SECONDS, "the rotation period")
    equal(changed.primary_version, made[0].response.primary_version, "the version of the key")

    def stays(services):
        listed = services.kms_keys.list("List", request, "keys", size=1)
        equal([key.id for key in listed if key.id in ids], ids, "the list of keys")

    world.fact("keys are listed, each once", stays)
    return made[0].response


def rotate(world, key):
    """New versions are primary and of the algorithm that the key has now; the old ones stay."""
    keys = world.services.kms_keys
    wanted = [key.primary_version.id]
    for _ in range(3):
        request = wire.RotateSymmetricKeyRequest(key_id=key.id)
        meta = wire.RotateSymmetricKeyMetadata
        done = keys.change("Rotate", request, meta, SymmetricKey, "key_id")
        equal(done.response.primary_version.id, done.meta.new_primary_version_id, "the primary")
        wanted.insert(0, done.meta.new_primary_version_id)
    request = wire.ListSymmetricKeyVersionsRequest(key_id=key.id)

    def stays(services):
        listed = services.kms_keys.list("ListVersions", request, "key_versions", size=1)
        equal([version.id for version in listed], wanted, "the versions of the key")
        equal([version.primary for version in listed], [True, False, False, False], "primaries")
        algorithms = {version.algorithm for version in listed[:-1]}
        equal(algorithms, {SymmetricAlgorithm.AES_256}, "the algorithms of new versions")
        found = services.kms_keys.read("Get", wire.GetSymmetricKeyRequest(key_id=key.id))
        equal(found.primary_version.id, wanted[0], "the primary version")

    world.fact("a key has the versions that it was rotated to", stays)


def use(world, key):
    service = world.services.kms_crypto
    plaintext = hashlib.sha256(world.run.encode()).digest()
    first = key.primary_version.id
    sealed = service.read(
        "Encrypt",
        crypto.SymmetricEncryptRequest(
            key_id=key.id, version_id=first, plaintext=plaintext, aad_context=AAD
        ),
    )
    equal((sealed.key_id, sealed.version_id), (key.id, first), "what it was encrypted with")

    def opens(services, ciphertext, version_id=None, aad=AAD, wanted=plaintext):
        request = crypto.SymmetricDecryptRequest(
            key_id=key.id, ciphertext=ciphertext, aad_context=aad
        )
        opened = services.kms_crypto.read("Decrypt", request)
        must(opened.plaintext == wanted, "decrypted is something else than was encrypted")
        if version_id is not None:
            equal(opened.version_id, version_id, "the version that decrypts")

    world.fact("what an old version encrypted opens", lambda s: opens(s, sealed.ciphertext, first))
    wrong = crypto.SymmetricDecryptRequest(
        key_id=key.id, ciphertext=sealed.ciphertext, aad_context=b"something else"
    )
    service.refuse("Decrypt", wrong, StatusCode.INVALID_ARGUMENT)

    # To the primary version of the same key: how data is moved off an old one.
    moved = service.read(
        "ReEncrypt",
        crypto.SymmetricReEncryptRequest(
            key_id=key.id,
            source_key_id=key.id,
            source_aad_context=AAD,
            aad_context=AAD * 2,
            ciphertext=sealed.ciphertext,
        ),
    )
    equal(moved.source_version_id, first, "the version that it was moved from")
    must(moved.version_id != first, "data was moved to the version that it was under")
    world.fact(
        "what was moved to another version opens",
        lambda s: opens(s, moved.ciphertext, moved.version_id, AAD * 2),
    )

    request = crypto.GenerateDataKeyRequest(
        key_id=key.id, data_key_spec=SymmetricAlgorithm.AES_256, aad_context=AAD
    )
    made = service.read("GenerateDataKey", request)
    must(len(made.data_key_plaintext) == 32, "a data key of another length")
    opens(world.services, made.data_key_ciphertext, wanted=made.data_key_plaintext)
    request.skip_plaintext = True
    hidden = service.read("GenerateDataKey", request)
    must(not hidden.data_key_plaintext and hidden.data_key_ciphertext, "a data key was shown")


def own_key_secret(world, key):
    entries = [("login", "user"), ("file", versions.BINARY)]
    secret = secrets.create(world, "own-key", entries, kms_key_id=key.id)
    equal(secret.kms_key_id, key.id, "the key of the secret")
    title = "a secret under its own key reads"
    versions.reads(world, title, secret.id, secret.current_version.id, entries)
    added = versions.add(world, secret.id, [("login", "another")]).response
    entries = [("login", "another"), ("file", versions.BINARY)]
    versions.reads(world, title, secret.id, added.id, entries)
    # Who may read the payload and not use the key is let into neither.
    robot = world.acting(iam_token=world.token_of_account().iam_token)
    read = GetPayloadRequest(secret_id=secret.id)
    role = binding("lockbox.payloadViewer", world.account_id)
    update_bindings(world.services.secrets, secret.id, Empty, add=[role])
    robot.payloads.refuse("Get", read, StatusCode.PERMISSION_DENIED)


def operations(world):
    """The KMS has its own; the node, which discovery leads to, finds them there."""
    done = create(world, "of-an-operation", SymmetricAlgorithm.AES_256)

    def stays(services):
        get = GetOperationRequest(operation_id=done.operation.id)
        equal(services.kms_operations.read("Get", get), done.operation, "the operation of a key")
        cancel = CancelOperationRequest(operation_id=done.operation.id)
        equal(services.kms_operations.read("Cancel", cancel), done.operation, "the operation")
        equal(services.operations.read("Get", get), done.operation, "the same, asked of a node")

    world.fact("an operation of a key stays as it was answered", stays)


def version_lifecycle(world):
    """Which version is primary, and the end of one that is taken back."""
    keys = world.services.kms_keys
    key = create(world, "versions", SymmetricAlgorithm.AES_256).response
    first = key.primary_version.id
    rotate_request = wire.RotateSymmetricKeyRequest(key_id=key.id)
    meta = wire.RotateSymmetricKeyMetadata
    second = keys.change("Rotate", rotate_request, meta, SymmetricKey, "key_id")
    second = second.meta.new_primary_version_id
    of_first = {"key_id": key.id, "version_id": first}

    request = wire.SetPrimarySymmetricKeyVersionRequest(**of_first)
    meta = wire.SetPrimarySymmetricKeyVersionMetadata
    done = keys.change("SetPrimaryVersion", request, meta, SymmetricKey, "key_id")
    equal((done.meta.version_id, done.response.primary_version.id), (first, first), "the primary")
    request = wire.ScheduleSymmetricKeyVersionDestructionRequest(**of_first)
    keys.refuse("ScheduleVersionDestruction", request, StatusCode.FAILED_PRECONDITION)

    of_second = {"key_id": key.id, "version_id": second}
    request = wire.ScheduleSymmetricKeyVersionDestructionRequest(
        pending_period=Duration(seconds=DAY_SECONDS), **of_second
    )
    meta = wire.ScheduleSymmetricKeyVersionDestructionMetadata
    response = SymmetricKeyVersion
    done = keys.change("ScheduleVersionDestruction", request, meta, response, "key_id")
    equal(done.response.status, SymmetricKeyVersion.SCHEDULED_FOR_DESTRUCTION, "the status")
    equal(done.meta.destroy_at, done.response.destroy_at, "the end of the version")
    closed = crypto.SymmetricEncryptRequest(plaintext=b"text", **of_second)
    world.services.kms_crypto.refuse("Encrypt", closed, StatusCode.FAILED_PRECONDITION)

    request = wire.CancelSymmetricKeyVersionDestructionRequest(**of_second)
    meta = wire.CancelSymmetricKeyVersionDestructionMetadata
    done = keys.change("CancelVersionDestruction", request, meta, response, "key_id")
    equal(done.response.status, SymmetricKeyVersion.ACTIVE, "the status")
    keys.refuse("CancelVersionDestruction", request, StatusCode.FAILED_PRECONDITION)
    listed = wire.ListSymmetricKeyOperationsRequest(key_id=key.id)
    world.ledger.follow(
        key.id, lambda s, size: s.kms_keys.list("ListOperations", listed, "operations", size)
    )


def access(world):
    """Roles on one key, which let in to that key alone."""
    keys = world.services.kms_keys
    key = create(world, "bound", SymmetricAlgorithm.AES_256).response
    robot = world.acting(iam_token=world.token_of_account().iam_token)
    request = crypto.SymmetricEncryptRequest(key_id=key.id, plaintext=b"text")
    robot.kms_crypto.refuse("Encrypt", request, StatusCode.PERMISSION_DENIED)
    role = binding("kms.keys.encrypter", world.account_id)
    update_bindings(keys, key.id, Empty, add=[role])
    robot.kms_crypto.read("Encrypt", request)
    viewers = [binding("kms.viewer", f"nobody-{number}") for number in range(5)]
    set_bindings(keys, key.id, viewers, Empty)
    robot.kms_crypto.refuse("Encrypt", request, StatusCode.PERMISSION_DENIED)
    wanted = sorted(("kms.viewer", each.subject.id) for each in viewers)
    world.fact(
        "a key has the bindings that it was given",
        lambda s: equal(bindings_of(s.kms_keys, key.id), wanted, "the bindings of the key"),
    )


def delete(world):
    """A key that is gone, and what that means for a secret under it."""
    keys = world.services.kms_keys
    key = create(world, "deleted", SymmetricAlgorithm.AES_256).response
    secret = secrets.create(world, "of-a-deleted-key", [("login", "user")], kms_key_id=key.id)
    request = wire.DeleteSymmetricKeyRequest(key_id=key.id)
    protect = wire.UpdateSymmetricKeyRequest(
        key_id=key.id,
        update_mask=FieldMask(paths=["deletion_protection"]),
        deletion_protection=True,
    )
    meta = wire.UpdateSymmetricKeyMetadata
    keys.change("Update", protect, meta, SymmetricKey, "key_id")
    keys.refuse("Delete", request, StatusCode.FAILED_PRECONDITION)
    protect.deletion_protection = False
    keys.change("Update", protect, meta, SymmetricKey, "key_id")
    done = keys.change("Delete", request, wire.DeleteSymmetricKeyMetadata, SymmetricKey, "key_id")
    equal(done.response.id, key.id, "the deleted key")

    def stays(services):
        get = wire.GetSymmetricKeyRequest(key_id=key.id)
        services.kms_keys.refuse("Get", get, StatusCode.NOT_FOUND)
        read = GetPayloadRequest(secret_id=secret.id)
        services.payloads.refuse("Get", read, StatusCode.FAILED_PRECONDITION)
        services.operations.read("Get", GetOperationRequest(operation_id=done.operation.id))

    world.fact("a deleted key is gone, and the secret under it is there", stays)
