//! Clouds and folders: made, changed, listed, and what they pass on to what is in them
//! (`contract §4.1`).

use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::resourcemanager::v1 as containers;
use lockbox_proto::yandex::cloud::resourcemanager::v1::cloud_service_client::CloudServiceClient;
use prost_types::FieldMask;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::client::response;
use crate::fixture::{LIMITED_CLOUD, Node, bearing};
use crate::messages::{binding, metadata};

impl Node {
    pub(crate) fn clouds(&self) -> CloudServiceClient<Channel> {
        CloudServiceClient::new(self.channel.clone())
    }

    async fn organization(&self) -> String {
        let get = containers::GetCloudRequest { cloud_id: self.made.cloud_id.to_string() };
        let cloud = self.clouds().get(self.request(get)).await.unwrap().into_inner();
        cloud.organization_id
    }

    async fn create_cloud(&self, name: &str) -> Result<containers::Cloud, Status> {
        let request = containers::CreateCloudRequest {
            organization_id: self.organization().await,
            name: name.into(),
            description: "made by a test".into(),
            labels: [("team".to_owned(), "a".to_owned())].into(),
        };
        let operation = self.clouds().create(self.request(request)).await?.into_inner();
        let about: containers::CreateCloudMetadata = metadata(&operation);
        let cloud: containers::Cloud = response(&operation);
        assert_eq!(about.cloud_id, cloud.id);
        Ok(cloud)
    }

    async fn create_folder(&self, cloud: &str, name: &str) -> Result<containers::Folder, Status> {
        let request = containers::CreateFolderRequest {
            cloud_id: cloud.into(),
            name: name.into(),
            description: "made by a test".into(),
            labels: [("team".to_owned(), "a".to_owned())].into(),
        };
        let operation = self.folders().create(self.request(request)).await?.into_inner();
        let about: containers::CreateFolderMetadata = metadata(&operation);
        let folder: containers::Folder = response(&operation);
        assert_eq!(about.folder_id, folder.id);
        Ok(folder)
    }

    async fn create_secret_in(&self, by: &str, folder: &str) -> Result<wire::Secret, Status> {
        let request = wire::CreateSecretRequest {
            folder_id: folder.into(),
            name: "s".into(),
            ..Default::default()
        };
        let operation = self.secrets().create(bearing(by, request)).await?.into_inner();
        Ok(response(&operation))
    }
}

fn mask(fields: &[&str]) -> Option<FieldMask> {
    Some(FieldMask { paths: fields.iter().map(|field| (*field).to_owned()).collect() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_bound_on_a_cloud_holds_in_its_folders_and_in_no_other_cloud() {
    let node = Node::start().await;
    let cloud = node.create_cloud("second").await.unwrap();
    assert_eq!((cloud.description.as_str(), cloud.labels.len()), ("made by a test", 1));
    let folder = node.create_folder(&cloud.id, "team-a").await.unwrap();
    let robot = node.create_account("robot").await;
    let key = node.create_key(&robot.id).await;
    let token = node.token_of(&robot.id, &key).await;
    let first = node.made.folder_id.to_string();
    for folder in [folder.id.as_str(), first.as_str()] {
        let denied = node.create_secret_in(&token, folder).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied);
    }
    let list = containers::ListCloudsRequest::default();
    let seen = node.clouds().list(bearing(&token, list.clone())).await.unwrap().into_inner();
    assert!(seen.clouds.is_empty(), "a cloud that the caller has nothing in");

    let role = binding("lockbox.editor", "serviceAccount", &robot.id);
    let action = access::AccessBindingAction::Add.into();
    let grant = access::UpdateAccessBindingsRequest {
        resource_id: cloud.id.clone(),
        access_binding_deltas: vec![access::AccessBindingDelta {
            action,
            access_binding: Some(role.clone()),
        }],
    };
    let operation = node.clouds().update_access_bindings(node.request(grant)).await.unwrap();
    let changed: access::AccessBindingsOperationResult = response(operation.get_ref());
    assert_eq!(changed.effective_deltas.len(), 1);
    node.create_secret_in(&token, &folder.id).await.unwrap();
    let denied = node.create_secret_in(&token, &first).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let seen = node.clouds().list(bearing(&token, list)).await.unwrap().into_inner();
    assert_eq!(seen.clouds, std::slice::from_ref(&cloud));
    // Who made the cloud owns it, so there is somebody who can make owners.
    let bound =
        access::ListAccessBindingsRequest { resource_id: cloud.id.clone(), ..Default::default() };
    let bound = node.clouds().list_access_bindings(node.request(bound)).await.unwrap();
    let owner =
        binding("resource-manager.clouds.owner", "serviceAccount", node.made.admin_id.as_str());
    assert_eq!(bound.into_inner().access_bindings.len(), 2);
    let again = access::SetAccessBindingsRequest {
        resource_id: cloud.id.clone(),
        access_bindings: vec![role, owner],
    };
    node.clouds().set_access_bindings(node.request(again)).await.unwrap();
    let audit = node.audit();
    for event in ["CreateCloud", "CreateFolder", "UpdateCloudAccessBindings"] {
        let record = audit.lines().find(|line| line.contains(event)).unwrap();
        assert!(record.contains(&cloud.id), "{record}");
    }
    node.stop().await;
}

/// `contract §9`: the quota is a cloud's, and that of one cloud may differ from that of the rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_with_a_quota_of_its_own_is_held_to_that_and_no_other_is() {
    let limits = format!("[limits.secrets_of_clouds]\n{LIMITED_CLOUD} = 2\n");
    let node = Node::limited(&limits).await;
    let other = node.create_cloud("other").await.unwrap();
    let other = node.create_folder(&other.id, "team-a").await.unwrap();
    let create = async |folder_id: &str| {
        let folder_id = folder_id.to_owned();
        let request =
            wire::CreateSecretRequest { folder_id, name: "s".into(), ..Default::default() };
        let answer = node.secrets().create(node.request(request)).await;
        answer.map(drop).map_err(|status| status.code())
    };
    let limited = node.made.folder_id.to_string();
    for _ in 0..2 {
        assert_eq!(create(&limited).await, Ok(()));
    }
    assert_eq!(create(&limited).await, Err(Code::ResourceExhausted));
    // That of all others, as the fixture has it.
    for _ in 0..9 {
        assert_eq!(create(&other.id).await, Ok(()));
    }
    assert_eq!(create(&other.id).await, Err(Code::ResourceExhausted));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clouds_and_folders_are_made_by_administrators_under_names_of_their_own() {
    let node = Node::start().await;
    let first_cloud = node.made.cloud_id.to_string();
    let made = node.create_folder(&first_cloud, "team-a").await.unwrap();
    let taken = node.create_folder(&first_cloud, "team-a").await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists);
    let taken = node.create_folder(&first_cloud, "default").await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists, "the first folder has its name too");
    let second = node.create_cloud("second").await.unwrap();
    assert_eq!(node.create_cloud("second").await.unwrap_err().code(), Code::AlreadyExists);
    node.create_folder(&second.id, "team-a").await.unwrap();
    for name in ["", "A", "-a", "a-", &"a".repeat(64)] {
        let refused = node.create_folder(&first_cloud, name).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{name}");
        let refused = node.create_cloud(name).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{name}");
    }
    node.create_folder(&first_cloud, &"a".repeat(63)).await.unwrap();
    let nowhere = node.create_folder("b1gnowhere", "x").await.unwrap_err();
    assert_eq!(nowhere.code(), Code::NotFound);
    let elsewhere = containers::CreateCloudRequest {
        organization_id: "bpfnowhere".into(),
        name: "x".into(),
        ..Default::default()
    };
    let nowhere = node.clouds().create(node.request(elsewhere)).await.unwrap_err();
    assert_eq!(nowhere.code(), Code::NotFound);

    let editor = node.create_account("editor").await;
    let key = node.create_key(&editor.id).await;
    let token = node.token_of(&editor.id, &key).await;
    node.bind(binding("editor", "serviceAccount", &editor.id)).await;
    let create = containers::CreateFolderRequest {
        cloud_id: first_cloud.clone(),
        name: "mine".into(),
        ..Default::default()
    };
    let denied = node.folders().create(bearing(&token, create)).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let update = containers::UpdateFolderRequest {
        folder_id: made.id.clone(),
        update_mask: mask(&["name"]),
        name: "mine".into(),
        ..Default::default()
    };
    let denied = node.folders().update(bearing(&token, update)).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let delete = containers::DeleteFolderRequest { folder_id: made.id, ..Default::default() };
    let refused = node.folders().delete(node.request(delete)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "nothing is deleted with all that is in it");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_clouds_and_folders_the_listed_fields_change_and_the_operations_are_kept() {
    let node = Node::start().await;
    let cloud = node.create_cloud("second").await.unwrap();
    let folder = node.create_folder(&cloud.id, "team-a").await.unwrap();
    node.create_folder(&cloud.id, "team-b").await.unwrap();
    let update = |fields: &[&str], name: &str| containers::UpdateFolderRequest {
        folder_id: folder.id.clone(),
        update_mask: mask(fields),
        name: name.into(),
        ..Default::default()
    };
    let mut folders = node.folders();
    let request = node.keyed("rename", update(&["name", "labels"], "renamed"));
    let renamed = folders.update(request).await.unwrap().into_inner();
    metadata::<containers::UpdateFolderMetadata>(&renamed);
    let changed: containers::Folder = response(&renamed);
    let expected =
        containers::Folder { name: "renamed".into(), labels: Default::default(), ..folder.clone() };
    assert_eq!(changed, expected);
    let request = node.keyed("rename", update(&["name", "labels"], "renamed"));
    assert_eq!(folders.update(request).await.unwrap().into_inner(), renamed);
    // The old name is free, the new one is not, and what the mask leaves out is not looked at.
    node.create_folder(&cloud.id, "team-a").await.unwrap();
    let taken = folders.update(node.request(update(&["name"], "team-b"))).await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists);
    folders.update(node.request(update(&["description"], "Not A Name"))).await.unwrap();
    for (fields, name) in [(&[][..], "x"), (&["id"], "x"), (&["name"], ""), (&["name"], "X")] {
        let refused = folders.update(node.request(update(fields, name))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{fields:?} {name}");
    }
    let list = containers::ListFolderOperationsRequest {
        folder_id: folder.id.clone(),
        ..Default::default()
    };
    let kept = folders.list_operations(node.request(list)).await.unwrap().into_inner();
    assert_eq!(kept.operations.len(), 3);
    assert_eq!(kept.operations[1], renamed);

    let request = containers::UpdateCloudRequest {
        cloud_id: cloud.id.clone(),
        update_mask: mask(&["name", "description"]),
        name: "renamed".into(),
        ..Default::default()
    };
    let operation = node.clouds().update(node.request(request)).await.unwrap().into_inner();
    metadata::<containers::UpdateCloudMetadata>(&operation);
    let changed: containers::Cloud = response(&operation);
    assert_eq!((changed.name.as_str(), changed.description.as_str()), ("renamed", ""));
    assert_eq!(changed.labels, cloud.labels);
    let list = containers::ListCloudOperationsRequest {
        cloud_id: cloud.id.clone(),
        page_size: 1,
        ..Default::default()
    };
    let kept = node.clouds().list_operations(node.request(list)).await.unwrap().into_inner();
    assert_eq!(kept.operations, [operation]);
    assert!(!kept.next_page_token.is_empty());

    let named =
        containers::ListCloudsRequest { filter: "name=\"renamed\"".into(), ..Default::default() };
    let found = node.clouds().list(node.request(named)).await.unwrap().into_inner();
    assert_eq!(found.clouds, [changed]);
    let page = |page_token: String| containers::ListCloudsRequest {
        page_size: 1,
        page_token,
        ..Default::default()
    };
    let one = node.clouds().list(node.request(page(String::new()))).await.unwrap().into_inner();
    let next = page(one.next_page_token.clone());
    let two = node.clouds().list(node.request(next)).await.unwrap().into_inner();
    assert_eq!((one.clouds.len(), two.clouds.len()), (1, 1));
    assert_ne!(one.clouds, two.clouds);
    assert_eq!(two.next_page_token, "");
    let filtered = containers::ListCloudsRequest {
        filter: "name=\"renamed\"".into(),
        ..page(one.next_page_token)
    };
    let refused = node.clouds().list(node.request(filtered)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "a token of another filter");
    node.stop().await;
}

/// Only owners make owners and end it; an administrator may send whole sets all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_administrator_neither_makes_nor_ends_an_owner() {
    let node = Node::start().await;
    let cloud = node.create_cloud("second").await.unwrap();
    let admin = node.create_account("deputy").await;
    let key = node.create_key(&admin.id).await;
    let token = node.token_of(&admin.id, &key).await;
    let role = "resource-manager.clouds.owner";
    let owner = binding(role, "serviceAccount", node.made.admin_id.as_str());
    let set = |access_bindings: Vec<access::AccessBinding>| access::SetAccessBindingsRequest {
        resource_id: cloud.id.clone(),
        access_bindings,
    };
    let administrator = binding("admin", "serviceAccount", &admin.id);
    let both = || vec![owner.clone(), administrator.clone()];
    node.clouds().set_access_bindings(node.request(set(both()))).await.unwrap();
    let viewer = binding("lockbox.viewer", "serviceAccount", &admin.id);
    let more = [both(), vec![viewer]].concat();
    node.clouds().set_access_bindings(bearing(&token, set(more))).await.unwrap();
    let itself = binding(role, "serviceAccount", &admin.id);
    for wrong in [vec![administrator.clone()], vec![], [both(), vec![itself]].concat()] {
        let denied = node.clouds().set_access_bindings(bearing(&token, set(wrong))).await;
        assert_eq!(denied.unwrap_err().code(), Code::PermissionDenied);
    }
    let everybody = [both(), vec![binding(role, "system", "allUsers")]].concat();
    let refused = node.clouds().set_access_bindings(node.request(set(everybody))).await;
    assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument);
    node.stop().await;
}
