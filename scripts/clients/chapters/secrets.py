"""Secrets: made, listed, changed, switched off and on, bound, deleted."""

import string

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from yandex.cloud.lockbox.v1 import secret_service_pb2 as wire
from yandex.cloud.lockbox.v1.payload_service_pb2 import GetPayloadRequest
from yandex.cloud.lockbox.v1.secret_pb2 import PasswordPayloadSpecification, Secret

from world import binding, bindings_of, equal, must, set_bindings, update_bindings

PASSWORD_CHARS = 40


def run(world):
    list_while_one_is_made(world)
    update(world)
    switch(world)
    bind(world)
    generate(world)
    delete(world)


def create(world, name, entries=(), wait=True, **options):
    """A new secret, followed by the ledger; entries are pairs of a key and a text or bytes."""
    request = wire.CreateSecretRequest(
        folder_id=world.folder_id,
        name=world.name(name),
        version_payload_entries=[change(key, value) for key, value in entries],
        **options,
    )
    meta = wire.CreateSecretMetadata
    done = world.services.secrets.change("Create", request, meta, Secret, "secret_id", wait=wait)
    secret = done.response
    equal((secret.id, secret.name), (done.meta.secret_id, request.name), "the new secret")
    equal(secret.current_version.id, done.meta.version_id, "the version of the new secret")
    listed = wire.ListSecretOperationsRequest(secret_id=secret.id)
    world.ledger.follow(
        secret.id, lambda s, size: s.secrets.list("ListOperations", listed, "operations", size)
    )
    return secret


def change(key, value):
    """An entry to be set, or, without a value, to be taken away."""
    if isinstance(value, bytes):
        return wire.PayloadEntryChange(key=key, binary_value=value)
    return wire.PayloadEntryChange(key=key, text_value=value)


def list_while_one_is_made(world):
    """Pages are of places, not of numbers: who comes in between shifts nobody."""
    made = [create(world, f"listed-{number}").id for number in range(5)]
    later = []

    def another():
        later.append(create(world, "listed-later").id)

    request = wire.ListSecretsRequest(folder_id=world.folder_id)
    secrets = world.services.secrets
    listed = [secret.id for secret in secrets.list("List", request, "secrets", 2, another)]
    equal([one for one in listed if one in made], made, "the list while a secret is made")
    equal(sorted(set(listed) - set(later)), sorted(made), "the list while a secret is made")
    secrets.list("List", request, "secrets", 2)
    wrong = wire.ListSecretsRequest(folder_id=world.folder_id, page_token="no-token-of-ours")
    secrets.refuse("List", wrong, StatusCode.INVALID_ARGUMENT)

    def stays(services):
        listed = services.secrets.list("List", request, "secrets", 3)
        must(set(made + later) <= {secret.id for secret in listed}, "a secret is not listed")

    world.fact("secrets are listed, each once", stays)


def update(world):
    secret = create(world, "updated", labels={"team": "a"}, description="before")
    request = wire.UpdateSecretRequest(
        secret_id=secret.id,
        update_mask=FieldMask(paths=["description", "labels"]),
        name="not-listed-in-the-mask",
        description="after",
        labels={"team": "b"},
    )
    meta = wire.UpdateSecretMetadata
    service = world.services.secrets
    done = service.change("Update", request, meta, Secret, "secret_id")
    changed = done.response
    equal((changed.name, changed.description), (secret.name, "after"), "the changed secret")
    equal(dict(changed.labels), {"team": "b"}, "the labels of the changed secret")
    # Its idempotency key is for this request alone.
    request.description = "something else"
    service.refuse("Update", request, StatusCode.INVALID_ARGUMENT, key=done.key)
    request.update_mask.Clear()
    service.refuse("Update", request, StatusCode.INVALID_ARGUMENT)

    def stays(services):
        found = services.secrets.read("Get", wire.GetSecretRequest(secret_id=secret.id))
        equal(found, changed, "the changed secret")

    world.fact("a secret is as it was changed", stays)


def switch(world):
    """Off, its contents are closed and its metadata open; on, it is as before."""
    secrets, payloads = world.services.secrets, world.services.payloads
    secret = create(world, "switched", [("login", "user")])
    read = GetPayloadRequest(secret_id=secret.id)
    before = payloads.read("Get", read)
    off = wire.DeactivateSecretRequest(secret_id=secret.id)
    meta = wire.DeactivateSecretMetadata
    done = secrets.change("Deactivate", off, meta, Secret, "secret_id")
    equal(done.response.status, Secret.Status.INACTIVE, "the status of what was switched off")
    payloads.refuse("Get", read, StatusCode.FAILED_PRECONDITION)
    found = secrets.read("Get", wire.GetSecretRequest(secret_id=secret.id))
    equal(found.current_version, secret.current_version, "the version of what was switched off")
    on = wire.ActivateSecretRequest(secret_id=secret.id)
    meta = wire.ActivateSecretMetadata
    done = secrets.change("Activate", on, meta, Secret, "secret_id")
    equal(done.response, secret, "what was switched off and on")

    def stays(services):
        must(services.payloads.read("Get", read) == before, "what was switched on reads otherwise")

    world.fact("what was switched off and on is as before", stays)


def bind(world):
    """A role on one secret opens that one, and only as long as it is bound."""
    secrets = world.services.secrets
    secret = create(world, "bound", [("login", "user")])
    viewer = binding("lockbox.viewer", world.account_id)
    several = [binding(role, "nobody") for role in ("viewer", "auditor", "lockbox.editor")]
    set_bindings(secrets, secret.id, [viewer, *several], Empty)
    added = binding("lockbox.payloadViewer", world.account_id)
    update_bindings(secrets, secret.id, Empty, add=[added], remove=several[:1])
    wanted = sorted((b.role_id, b.subject.id) for b in (viewer, added, *several[1:]))

    def stays(services):
        equal(bindings_of(services.secrets, secret.id), wanted, "the bindings of the secret")

    world.fact("the secret's bindings are as they were set", stays)


def generate(world):
    """A password of the asked length and classes; nobody sent it and nobody is shown it."""
    spec = PasswordPayloadSpecification(password_key="password", length=PASSWORD_CHARS)
    spec.include_punctuation.value = False
    secret = create(world, "generated", password_payload_specification=spec)
    equal(secret.password_payload_specification, spec, "the specification of the password")
    payload = world.services.payloads.read("Get", GetPayloadRequest(secret_id=secret.id))
    (entry,) = payload.entries
    password = entry.text_value
    must(
        entry.key == "password" and len(password) == PASSWORD_CHARS, "a password of another length"
    )
    must(set(password) <= set(string.ascii_letters + string.digits), "a password of other signs")
    for name in ("ascii_lowercase", "ascii_uppercase", "digits"):
        must(set(password) & set(getattr(string, name)), f"a password without {name}")


def delete(world):
    secrets = world.services.secrets
    secret = create(world, "deleted", [("login", "user")], deletion_protection=True)
    request = wire.DeleteSecretRequest(secret_id=secret.id)
    secrets.refuse("Delete", request, StatusCode.FAILED_PRECONDITION)
    unprotect = wire.UpdateSecretRequest(
        secret_id=secret.id, update_mask=FieldMask(paths=["deletion_protection"])
    )
    meta = wire.UpdateSecretMetadata
    last = secrets.change("Update", unprotect, meta, Secret, "secret_id").response
    world.ledger.gone(secret.id)
    meta = wire.DeleteSecretMetadata
    done = secrets.change("Delete", request, meta, Secret, "secret_id")
    equal(done.response, last, "the deleted secret, as it was,")

    def stays(services):
        get = wire.GetSecretRequest(secret_id=secret.id)
        services.secrets.refuse("Get", get, StatusCode.NOT_FOUND)
        read = GetPayloadRequest(secret_id=secret.id)
        services.payloads.refuse("Get", read, StatusCode.NOT_FOUND)

    world.fact("a deleted secret is gone", stays)
