"""Clouds and folders: made, changed, listed, bound. The rest of the run works in those made here."""

from google.protobuf.field_mask_pb2 import FieldMask
from grpc import StatusCode
from yandex.cloud.access.access_pb2 import (
    AccessBindingsOperationResult,
    AccessPolicyBinding,
    BindAccessPolicyRequest,
    ListAccessPolicyBindingsRequest,
    UnbindAccessPolicyRequest,
    UpdateAccessPolicyBindingParametersRequest,
)
from yandex.cloud.resourcemanager.v1 import cloud_service_pb2 as of_clouds
from yandex.cloud.resourcemanager.v1 import folder_service_pb2 as of_folders
from yandex.cloud.resourcemanager.v1.cloud_pb2 import Cloud
from yandex.cloud.resourcemanager.v1.folder_pb2 import Folder

from world import binding, bindings_of, equal, must, set_bindings, update_bindings

OWNER = "resource-manager.clouds.owner"
CHANGED = ["description", "labels"]


def run(world):
    make_cloud(world)
    spare = make_folders(world)
    bind(world, world.services.clouds, world.cloud_id, [binding(OWNER, world.admin_id)])
    bind(world, world.services.folders, spare, [])
    unserved(world.services.clouds, world.cloud_id, of_clouds.DeleteCloudRequest)
    unserved(world.services.folders, world.folder_id, of_folders.DeleteFolderRequest)


def make_cloud(world):
    clouds = world.services.clouds
    first = world.environment["LOCKBOX_CLOUD_ID"]
    organization = clouds.read("Get", of_clouds.GetCloudRequest(cloud_id=first)).organization_id
    request = of_clouds.CreateCloudRequest(
        organization_id=organization, name=world.name("cloud"), labels={"team": "a"}
    )
    meta = of_clouds.CreateCloudMetadata
    made = clouds.change("Create", request, meta, Cloud, "cloud_id")
    world.cloud_id = made.meta.cloud_id
    world.ledger.follow(world.cloud_id, operations_of_cloud(world.cloud_id))
    equal(dict(made.response.labels), {"team": "a"}, "the labels of the new cloud")
    clouds.refuse("Create", request, StatusCode.ALREADY_EXISTS)

    update = of_clouds.UpdateCloudRequest(
        cloud_id=world.cloud_id,
        update_mask=FieldMask(paths=CHANGED),
        name="not-listed-in-the-mask",
        description="of a test",
    )
    meta = of_clouds.UpdateCloudMetadata
    changed = clouds.change("Update", update, meta, Cloud, "cloud_id").response
    equal(changed.name, world.name("cloud"), "a name that the mask leaves out")
    equal((changed.description, len(changed.labels)), ("of a test", 0), "what the mask lists")

    named = of_clouds.ListCloudsRequest(filter=f'name="{changed.name}"')
    equal(list(clouds.read("List", named).clouds), [changed], "the cloud, found by its name,")
    listed = clouds.list("List", of_clouds.ListCloudsRequest(), "clouds", size=1)
    must({first, changed.id} <= {cloud.id for cloud in listed}, "a cloud is not listed")

    def stays(services):
        found = services.clouds.read("Get", of_clouds.GetCloudRequest(cloud_id=changed.id))
        equal(found, changed, "the changed cloud")

    world.fact("the cloud is as it was changed", stays)


def make_folders(world):
    """Makes the folder of the run, and gives the id of one that nobody needs."""
    folders = world.services.folders
    made = [create_folder(world, name) for name in ("folder", "second", "third")]
    world.folder_id = made[0].id
    update = of_folders.UpdateFolderRequest(
        folder_id=world.folder_id,
        update_mask=FieldMask(paths=CHANGED),
        name="not-listed-in-the-mask",
        description="of a test",
        labels={"team": "b"},
    )
    meta = of_folders.UpdateFolderMetadata
    changed = folders.change("Update", update, meta, Folder, "folder_id").response
    equal(changed.cloud_id, world.cloud_id, "the cloud of the folder")
    equal((changed.name, changed.description), (made[0].name, "of a test"), "the folder")
    equal(dict(changed.labels), {"team": "b"}, "the labels of the folder")
    request = of_folders.ListFoldersRequest(cloud_id=world.cloud_id)
    listed = folders.list("List", request, "folders", size=1)
    equal(sorted(f.id for f in listed), sorted(f.id for f in made), "the list of folders")

    def stays(services):
        request = of_folders.GetFolderRequest(folder_id=changed.id)
        equal(services.folders.read("Get", request), changed, "the changed folder")

    world.fact("the folder is as it was changed", stays)
    return made[1].id


def create_folder(world, name):
    request = of_folders.CreateFolderRequest(cloud_id=world.cloud_id, name=world.name(name))
    meta = of_folders.CreateFolderMetadata
    folder = world.services.folders.change("Create", request, meta, Folder, "folder_id").response
    world.ledger.follow(folder.id, operations_of_folder(folder.id))
    return folder


def bind(world, service, resource, owners):
    """Bindings replaced, changed and listed; the owners stay, for only owners may end them."""
    several = [
        binding(role, "everybody-of-a-test", "userAccount")
        for role in ("lockbox.viewer", "kms.viewer", "viewer")
    ]
    # Twice the same is one.
    result = AccessBindingsOperationResult
    done = set_bindings(service, resource, owners + several + several[:1], result)
    equal(len(done.response.effective_deltas), len(several), "the number of changed bindings")
    auditor = binding("auditor", "everybody-of-a-test", "userAccount")
    done = update_bindings(service, resource, result, add=[auditor], remove=several[:2])
    equal(len(done.response.effective_deltas), 3, "the number of changed bindings")
    wanted = sorted((b.role_id, b.subject.id) for b in [*owners, several[2], auditor])

    def stays(services):
        of_kind = services.clouds if service is world.services.clouds else services.folders
        equal(bindings_of(of_kind, resource), wanted, f"the bindings of {resource}")

    world.fact("bindings are as they were set", stays)


def unserved(service, resource, delete):
    """What must be refused as not there, whatever it is about."""
    field = "cloud_id" if delete is of_clouds.DeleteCloudRequest else "folder_id"
    policy = AccessPolicyBinding(access_policy_template_id="any")
    requests = {
        "Delete": delete(**{field: resource}),
        "BindAccessPolicy": BindAccessPolicyRequest(
            resource_id=resource, access_policy_binding=policy
        ),
        "UnbindAccessPolicy": UnbindAccessPolicyRequest(
            resource_id=resource, access_policy_template_id="any"
        ),
        "ListAccessPolicyBindings": ListAccessPolicyBindingsRequest(resource_id=resource),
        "UpdateAccessPolicyBindingParameters": UpdateAccessPolicyBindingParametersRequest(
            resource_id=resource, access_policy_binding=policy
        ),
    }
    for method, request in requests.items():
        service.refuse(method, request, StatusCode.UNIMPLEMENTED)


def operations_of_cloud(cloud_id):
    request = of_clouds.ListCloudOperationsRequest(cloud_id=cloud_id)
    return lambda s, size: s.clouds.list("ListOperations", request, "operations", size)


def operations_of_folder(folder_id):
    request = of_folders.ListFolderOperationsRequest(folder_id=folder_id)
    return lambda s, size: s.folders.list("ListOperations", request, "operations", size)
