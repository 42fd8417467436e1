"""Service accounts, their keys and tokens: who is let in, and when that ends."""

import uuid

from google.protobuf.empty_pb2 import Empty
from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from yandex.cloud.access.access_pb2 import AccessBindingsOperationResult
from yandex.cloud.iam.v1 import iam_token_service_pb2 as of_tokens
from yandex.cloud.iam.v1 import key_service_pb2 as of_keys
from yandex.cloud.iam.v1 import service_account_service_pb2 as of_accounts
from yandex.cloud.iam.v1.key_pb2 import Key
from yandex.cloud.iam.v1.service_account_pb2 import ServiceAccount
from yandex.cloud.lockbox.v1.secret_service_pb2 import ListSecretsRequest

from jwt_login import AUDIENCE, sign
from world import binding, bindings_of, equal, must, set_bindings, update_bindings

TOKEN_CREATOR = "iam.serviceAccounts.tokenCreator"


def run(world):
    make_accounts(world)
    make_keys(world)
    bind_account(world)
    log_in(world)
    suspend(world)


def make_accounts(world):
    accounts = world.services.accounts
    made = [create_account(world, name) for name in ("robot", "second", "third")]
    world.account_id = made[0].id
    taken = of_accounts.CreateServiceAccountRequest(folder_id=world.folder_id, name=made[0].name)
    accounts.refuse("Create", taken, StatusCode.ALREADY_EXISTS)
    request = of_accounts.ListServiceAccountsRequest(folder_id=world.folder_id)
    equal(accounts.list("List", request, "service_accounts"), made, "the list of accounts")
    request.filter = f'name="{made[1].name}"'
    found = list(accounts.read("List", request).service_accounts)
    equal(found, made[1:2], "the account, found by its name,")

    update = of_accounts.UpdateServiceAccountRequest(
        service_account_id=world.account_id,
        update_mask=FieldMask(paths=["description"]),
        name="not-listed-in-the-mask",
        description="of a test",
    )
    meta = of_accounts.UpdateServiceAccountMetadata
    changed = accounts.change("Update", update, meta, ServiceAccount, "service_account_id")
    equal(changed.response.name, made[0].name, "a name that the mask leaves out")

    delete = of_accounts.DeleteServiceAccountRequest(service_account_id=made[2].id)
    meta = of_accounts.DeleteServiceAccountMetadata
    world.ledger.gone(made[2].id)
    accounts.change("Delete", delete, meta, Empty, "service_account_id")

    def stays(services):
        get = of_accounts.GetServiceAccountRequest(service_account_id=world.account_id)
        found = services.accounts.read("Get", get)
        # It may have logged in since.
        equal(found.description, "of a test", "the description of the account")
        get = of_accounts.GetServiceAccountRequest(service_account_id=made[2].id)
        services.accounts.refuse("Get", get, StatusCode.NOT_FOUND)

    world.fact("a changed account is changed and a deleted one gone", stays)


def create_account(world, name):
    request = of_accounts.CreateServiceAccountRequest(
        folder_id=world.folder_id, name=world.name(name), labels={"team": "a"}
    )
    meta = of_accounts.CreateServiceAccountMetadata
    accounts = world.services.accounts
    account = accounts.change("Create", request, meta, ServiceAccount, "service_account_id")
    listed = of_accounts.ListServiceAccountOperationsRequest(service_account_id=account.response.id)
    world.ledger.follow(
        account.response.id,
        lambda s, size: s.accounts.list("ListOperations", listed, "operations", size),
    )
    return account.response


def create_key(world, account_id):
    """A new key as the SDK takes it, and the `Key`.

    A key's creation cannot be repeated, for its private part is kept nowhere: those of tries that
    were not answered are deleted, as anybody would.
    """
    description = uuid.uuid4().hex
    request = of_keys.CreateKeyRequest(service_account_id=account_id, description=description)
    made = world.services.keys.read("Create", request)
    listed = of_keys.ListKeysRequest(service_account_id=account_id)
    for key in world.services.keys.list("List", listed, "keys"):
        if key.description == description and key.id != made.key.id:
            delete_key(world, account_id, key.id)
    authorized = {
        "id": made.key.id,
        "service_account_id": account_id,
        "private_key": made.private_key,
    }
    return authorized, made.key


def delete_key(world, account_id, key_id):
    request = of_keys.DeleteKeyRequest(key_id=key_id)
    meta = of_keys.DeleteKeyMetadata
    world.services.keys.change("Delete", request, meta, Empty, account_id)


def make_keys(world):
    keys = world.services.keys
    made = [create_key(world, world.account_id)[1] for _ in range(3)]
    request = of_keys.ListKeysRequest(service_account_id=world.account_id)
    equal(keys.list("List", request, "keys", size=1), made, "the list of keys")
    update = of_keys.UpdateKeyRequest(
        key_id=made[0].id, update_mask=FieldMask(paths=["description"]), description="of a test"
    )
    meta = of_keys.UpdateKeyMetadata
    changed = keys.change("Update", update, meta, Key, "key_id", world.account_id).response
    equal(changed.public_key, made[0].public_key, "the public key of a renamed key")
    listed = of_keys.ListKeyOperationsRequest(key_id=changed.id)
    world.ledger.follow(
        changed.id, lambda s, size: s.keys.list("ListOperations", listed, "operations", size)
    )
    delete_key(world, world.account_id, made[1].id)

    def stays(services):
        found = services.keys.read("Get", of_keys.GetKeyRequest(key_id=changed.id))
        equal(found, changed, "the changed key")
        gone = of_keys.GetKeyRequest(key_id=made[1].id)
        services.keys.refuse("Get", gone, StatusCode.NOT_FOUND)

    world.fact("a changed key is changed and a deleted one gone", stays)


def bind_account(world):
    accounts, account = world.services.accounts, world.account_id
    result = AccessBindingsOperationResult
    wanted = [
        binding(TOKEN_CREATOR, world.admin_id),
        binding("viewer", "everybody-of-a-test", "userAccount"),
        binding("auditor", "everybody-of-a-test", "userAccount"),
    ]
    set_bindings(accounts, account, wanted[:2], result)
    update_bindings(accounts, account, result, add=wanted[2:], remove=wanted[1:2])
    kept = sorted((b.role_id, b.subject.id) for b in (wanted[0], wanted[2]))

    def stays(services):
        equal(bindings_of(services.accounts, account), kept, "the bindings of the account")

    world.fact("the account's bindings are as they were set", stays)


def log_in(world):
    """By every way there is; and nothing is allowed before a role is bound."""
    authorized, key = create_key(world, world.account_id)
    robot = world.acting(service_account_key=authorized)
    look = ListSecretsRequest(folder_id=world.folder_id)
    robot.secrets.refuse("List", look, StatusCode.PERMISSION_DENIED)
    role = binding("lockbox.viewer", world.account_id)
    result = AccessBindingsOperationResult
    update_bindings(world.services.folders, world.folder_id, result, add=[role])
    robot.secrets.read("List", look)

    tokens = world.services.tokens
    # As the documentation has it and as the Go SDK sends it; this SDK names the node itself.
    made = []
    for audience in (AUDIENCE, [AUDIENCE]):
        request = of_tokens.CreateIamTokenRequest(jwt=sign(authorized, audience))
        made.append(tokens.read("Create", request))
        must(made[-1].expires_at.seconds > 0, "a token does not say when it ends")
    forged = dict(authorized, service_account_id=world.admin_id)
    request = of_tokens.CreateIamTokenRequest(jwt=sign(forged))
    tokens.refuse("Create", request, StatusCode.UNAUTHENTICATED)

    made.append(world.token_of_account())
    for token in made:
        bearer = world.acting(iam_token=token.iam_token)
        bearer.secrets.read("List", look)
        revoke = of_tokens.RevokeIamTokenRequest(iam_token=token.iam_token)
        revoked = tokens.read("Revoke", revoke, world.as_administrator())
        equal(revoked.subject_id, world.account_id, "whose token was revoked")
        bearer.secrets.refuse("List", look, StatusCode.UNAUTHENTICATED)
    # By a token: the SDK would log in again in the middle, and call a refusal unavailable.
    login = of_tokens.CreateIamTokenRequest(jwt=sign(authorized))
    bearer = world.acting(iam_token=tokens.read("Create", login).iam_token)
    bearer.secrets.read("List", look)
    delete_key(world, world.account_id, key.id)
    bearer.secrets.refuse("List", look, StatusCode.UNAUTHENTICATED)
    tokens.refuse("Create", login, StatusCode.UNAUTHENTICATED)


def suspend(world):
    accounts = world.services.accounts
    authorized, _ = create_key(world, world.account_id)
    token = world.services.tokens.read(
        "Create", of_tokens.CreateIamTokenRequest(jwt=sign(authorized))
    )
    robot = world.acting(iam_token=token.iam_token)
    look = ListSecretsRequest(folder_id=world.folder_id)
    robot.secrets.read("List", look)
    request = of_accounts.SuspendServiceAccountRequest(service_account_id=world.account_id)
    accounts.change(
        "Suspend",
        request,
        of_accounts.SuspendServiceAccountMetadata,
        of_accounts.SuspendServiceAccountResponse,
        "service_account_id",
    )
    robot.secrets.refuse("List", look, StatusCode.UNAUTHENTICATED)
    request = of_accounts.ReactivateServiceAccountRequest(service_account_id=world.account_id)
    accounts.change(
        "Reactivate",
        request,
        of_accounts.ReactivateServiceAccountMetadata,
        of_accounts.ReactivateServiceAccountResponse,
        "service_account_id",
    )
    robot.secrets.read("List", look)
