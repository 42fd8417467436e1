//! Service accounts, their keys and their roles, as an administrator and the account see them.

use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::iam::v1 as iam;
use lockbox_proto::yandex::cloud::iam::v1::key_service_client::KeyServiceClient;
use lockbox_proto::yandex::cloud::iam::v1::service_account_service_client::ServiceAccountServiceClient;
use lockbox_proto::yandex::cloud::lockbox::v1 as lockbox;
use lockbox_proto::yandex::cloud::operation::operation_service_client::OperationServiceClient;
use lockbox_proto::yandex::cloud::operation::{GetOperationRequest, Operation};
use lockbox_proto::yandex::cloud::resourcemanager::v1 as folders;
use lockbox_proto::yandex::cloud::resourcemanager::v1::folder_service_client::FolderServiceClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::client::{response, text};
use crate::fixture::{Node, bearing};
use crate::messages::{binding, metadata};

impl Node {
    pub(crate) fn keys(&self) -> KeyServiceClient<Channel> {
        KeyServiceClient::new(self.channel.clone())
    }

    pub(crate) fn accounts(&self) -> ServiceAccountServiceClient<Channel> {
        ServiceAccountServiceClient::new(self.channel.clone())
    }

    pub(crate) fn folders(&self) -> FolderServiceClient<Channel> {
        FolderServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn create_account(&self, name: &str) -> iam::ServiceAccount {
        let request = iam::CreateServiceAccountRequest {
            folder_id: self.made.folder_id.to_string(),
            name: name.into(),
            ..Default::default()
        };
        let operation = self.accounts().create(self.request(request)).await.unwrap().into_inner();
        let made: iam::CreateServiceAccountMetadata = metadata(&operation);
        let account: iam::ServiceAccount = response(&operation);
        assert_eq!(made.service_account_id, account.id);
        account
    }

    pub(crate) async fn create_key(&self, account: &str) -> iam::CreateKeyResponse {
        let request =
            iam::CreateKeyRequest { service_account_id: account.into(), ..Default::default() };
        self.keys().create(self.request(request)).await.unwrap().into_inner()
    }

    /// A token of an account by a key that the service made.
    pub(crate) async fn token_of(&self, account: &str, key: &iam::CreateKeyResponse) -> String {
        let id = key.key.clone().unwrap().id;
        self.log_in(account, &id, key.private_key.clone().into()).await.unwrap()
    }

    pub(crate) async fn delete_key(&self, key: &iam::CreateKeyResponse) -> Operation {
        let request = iam::DeleteKeyRequest { key_id: key.key.clone().unwrap().id };
        self.keys().delete(self.request(request)).await.unwrap().into_inner()
    }

    pub(crate) async fn bind(&self, binding: access::AccessBinding) -> Operation {
        self.bind_on(self.made.folder_id.as_str(), binding).await
    }

    /// Binds on the folder, or on the cloud.
    pub(crate) async fn bind_on(&self, id: &str, binding: access::AccessBinding) -> Operation {
        let delta = access::AccessBindingDelta {
            action: access::AccessBindingAction::Add.into(),
            access_binding: Some(binding),
        };
        let request = self.request(access::UpdateAccessBindingsRequest {
            resource_id: id.to_owned(),
            access_binding_deltas: vec![delta],
        });
        let answer = if id == self.made.cloud_id.as_str() {
            self.clouds().update_access_bindings(request).await
        } else {
            self.folders().update_access_bindings(request).await
        };
        answer.unwrap().into_inner()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_on_the_folder_is_what_a_key_gives_and_its_deletion_takes() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let account = node.create_account("robot").await;
    let key = node.create_key(&account.id).await;
    assert!(key.private_key.starts_with("-----BEGIN PRIVATE KEY-----"));
    let token = node.token_of(&account.id, &key).await;
    let get = || lockbox::GetPayloadRequest { secret_id: secret.id.clone(), ..Default::default() };
    let read = async || node.payloads().get(bearing(&token, get())).await;

    assert_eq!(read().await.unwrap_err().code(), Code::PermissionDenied);
    let role = binding("lockbox.payloadViewer", "serviceAccount", &account.id);
    let bound = node.bind(role.clone()).await;
    let about: access::UpdateAccessBindingsMetadata = metadata(&bound);
    assert_eq!(about.resource_id, node.made.folder_id.as_str());
    let result: access::AccessBindingsOperationResult = response(&bound);
    assert_eq!(result.effective_deltas[0].access_binding, Some(role.clone()));
    assert_eq!(read().await.unwrap().into_inner().entries.len(), 1);
    // Again is no error and changes nothing.
    let again: access::AccessBindingsOperationResult = response(&node.bind(role).await);
    assert!(again.effective_deltas.is_empty());

    let deleted = node.delete_key(&key).await;
    let about: iam::DeleteKeyMetadata = metadata(&deleted);
    assert_eq!(about.key_id, key.key.clone().unwrap().id);
    response::<()>(&deleted);
    assert_eq!(read().await.unwrap_err().code(), Code::Unauthenticated);
    let private = key.private_key.clone().into();
    let login = node.log_in(&account.id, &about.key_id, private).await.unwrap_err();
    assert_eq!(login.code(), Code::Unauthenticated);
    let again = node.request(iam::DeleteKeyRequest { key_id: about.key_id });
    assert_eq!(node.keys().delete(again).await.unwrap_err().code(), Code::NotFound);
    let audit = node.audit();
    for event in ["CreateServiceAccount", "CreateKey", "UpdateFolderAccessBindings", "DeleteKey"] {
        assert!(audit.contains(event), "{event}");
    }
    assert!(!audit.contains("PRIVATE KEY"));
    node.stop().await;
}

/// `contract §1.11`, `§10`: empty means the caller, and no secret is kept for a repeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_manages_its_own_keys_and_nobody_elses() {
    let node = Node::start().await;
    let account = node.create_account("robot").await;
    let first = node.create_key(&account.id).await;
    let token = node.token_of(&account.id, &first).await;
    let mut keys = node.keys();
    let mut made = Vec::new();
    for _ in 0..2 {
        let mut request = bearing(&token, iam::CreateKeyRequest::default());
        request.metadata_mut().insert("idempotency-key", "same".parse().unwrap());
        made.push(keys.create(request).await.unwrap().into_inner());
    }
    assert_ne!(made[0].private_key, made[1].private_key);
    let page = |page_token: String| iam::ListKeysRequest {
        page_size: 2,
        page_token,
        ..Default::default()
    };
    let one = keys.list(bearing(&token, page(String::new()))).await.unwrap().into_inner();
    let two = keys.list(bearing(&token, page(one.next_page_token.clone()))).await.unwrap();
    let two = two.into_inner();
    assert_eq!((one.keys.len(), two.keys.len(), two.next_page_token.as_str()), (2, 1, ""));
    assert_eq!(one.keys[0], first.key.clone().unwrap());

    let admin_key = node.made.admin_key_id.to_string();
    let get = iam::GetKeyRequest { key_id: admin_key.clone(), ..Default::default() };
    assert!(keys.get(node.request(get.clone())).await.is_ok());
    let refused = keys.get(bearing(&token, get)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let delete = iam::DeleteKeyRequest { key_id: admin_key };
    let refused = keys.delete(bearing(&token, delete)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let for_admin = iam::CreateKeyRequest {
        service_account_id: node.made.admin_id.to_string(),
        ..Default::default()
    };
    let refused = keys.create(bearing(&token, for_admin)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    // Its own it may give up, down to the one that it logged in with.
    for key in [&made[0], &first] {
        let delete = iam::DeleteKeyRequest { key_id: key.key.clone().unwrap().id };
        keys.delete(bearing(&token, delete)).await.unwrap();
    }
    let dead = keys.list(bearing(&token, page(String::new()))).await.unwrap_err();
    assert_eq!(dead.code(), Code::Unauthenticated);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_have_names_that_are_found_and_not_taken_twice() {
    let node = Node::start().await;
    let mut client = node.accounts();
    let create = |name: &str| iam::CreateServiceAccountRequest {
        folder_id: node.made.folder_id.to_string(),
        name: name.into(),
        description: "d".into(),
        labels: [("team".to_owned(), "a".to_owned())].into(),
        ..Default::default()
    };
    let first = client.create(node.keyed("one", create("robot"))).await.unwrap().into_inner();
    let repeat = client.create(node.keyed("one", create("robot"))).await.unwrap().into_inner();
    assert_eq!(first, repeat);
    let taken = client.create(node.request(create("robot"))).await.unwrap_err();
    assert_eq!(taken.code(), Code::AlreadyExists);
    let wrong = client.create(node.request(create("Robot!"))).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    let account: iam::ServiceAccount = response(&first);
    assert_eq!(account.labels["team"], "a");
    let get = iam::GetServiceAccountRequest { service_account_id: account.id.clone() };
    assert_eq!(client.get(node.request(get)).await.unwrap().into_inner(), account);
    let missing = iam::GetServiceAccountRequest { service_account_id: "ajenobody".into() };
    assert_eq!(client.get(node.request(missing)).await.unwrap_err().code(), Code::NotFound);

    let list = |filter: &str| iam::ListServiceAccountsRequest {
        folder_id: node.made.folder_id.to_string(),
        filter: filter.into(),
        ..Default::default()
    };
    let all = client.list(node.request(list(""))).await.unwrap().into_inner();
    let names: Vec<_> = all.service_accounts.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["admin", "robot"]);
    let named = client.list(node.request(list("name=\"robot\""))).await.unwrap().into_inner();
    assert_eq!(named.service_accounts, [account]);
    let none = client.list(node.request(list("name=\"nobody\""))).await.unwrap().into_inner();
    assert!(none.service_accounts.is_empty());
    let wrong = client.list(node.request(list("id=\"robot\""))).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_show_their_bindings_and_only_administrators_change_them() {
    let node = Node::start().await;
    let mut client = node.folders();
    let folder_id = node.made.folder_id.to_string();
    let get = || folders::GetFolderRequest { folder_id: folder_id.clone() };
    let folder = client.get(node.request(get())).await.unwrap().into_inner();
    assert_eq!(folder.cloud_id, node.made.cloud_id.as_str());
    assert_eq!(folder.status(), folders::folder::Status::Active);
    let list = folders::ListFoldersRequest {
        cloud_id: folder.cloud_id.clone(),
        filter: "name=\"default\"".into(),
        ..Default::default()
    };
    let listed = client.list(node.request(list)).await.unwrap().into_inner();
    assert_eq!((listed.folders, listed.next_page_token.as_str()), (vec![folder], ""));

    let roles = ["lockbox.viewer", "kms.viewer", "editor"];
    let account = node.create_account("robot").await;
    let wanted: Vec<_> = roles.map(|r| binding(r, "serviceAccount", &account.id)).into();
    let set = |bindings: &[access::AccessBinding]| access::SetAccessBindingsRequest {
        resource_id: folder_id.clone(),
        access_bindings: bindings.to_vec(),
    };
    let operation = client.set_access_bindings(node.request(set(&wanted))).await.unwrap();
    let operation = operation.into_inner();
    metadata::<access::SetAccessBindingsMetadata>(&operation);
    let result: access::AccessBindingsOperationResult = response(&operation);
    assert_eq!(result.effective_deltas.len(), 3);

    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = access::ListAccessBindingsRequest {
            resource_id: folder_id.clone(),
            page_size: 1,
            page_token,
        };
        let page = client.list_access_bindings(node.request(request)).await.unwrap().into_inner();
        found.extend(page.access_bindings.into_iter().map(|b| b.role_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    found.sort();
    assert_eq!(found, ["editor", "kms.viewer", "lockbox.viewer"]);

    // An editor reads the folder and its operations, and grants nothing.
    let key = node.create_key(&account.id).await;
    let token = node.token_of(&account.id, &key).await;
    let admin_key = iam::DeleteKeyRequest { key_id: node.made.admin_key_id.to_string() };
    let refused = node.keys().delete(bearing(&token, admin_key)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "an editor locks the administrator out");
    assert!(client.get(bearing(&token, get())).await.is_ok());
    let refused = client.set_access_bindings(bearing(&token, set(&[]))).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let look = GetOperationRequest { operation_id: operation.id.clone() };
    let mut operations = OperationServiceClient::new(node.channel.clone());
    let read = operations.get(bearing(&token, look.clone())).await.unwrap().into_inner();
    assert_eq!(read, operation);
    client.set_access_bindings(node.request(set(&[]))).await.unwrap();
    let refused = operations.get(bearing(&token, look)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);

    for wrong in [
        binding("lockbox.god", "serviceAccount", "a"),
        binding("lockbox.viewer", "robot", "a"),
        binding("lockbox.viewer", "system", "everybody"),
        binding("", "serviceAccount", "a"),
    ] {
        let refused = client.set_access_bindings(node.request(set(&[wrong]))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let missing = folders::GetFolderRequest { folder_id: "b1gnowhere".into() };
    assert_eq!(client.get(node.request(missing)).await.unwrap_err().code(), Code::NotFound);
    node.stop().await;
}
