//! Every role against every method: who is let through, and who is told that it may not
//! (`contract §4.3`, `§14` no. 14).

use std::collections::{BTreeMap, BTreeSet};

use lockbox_core::Role;
use lockbox_proto::lockbox::iam::v1 as own;
use lockbox_proto::lockbox::iam::v1::access_service_client::AccessServiceClient;
use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::iam::v1 as iam;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::GetOperationRequest;
use lockbox_proto::yandex::cloud::operation::operation_service_client::OperationServiceClient;
use lockbox_proto::yandex::cloud::resourcemanager::v1 as containers;
use prost_types::{Duration, FieldMask};
use tonic::{Code, Response, Status};

use crate::client::{response, text};
use crate::fixture::{Node, bearing};
use crate::messages::binding;

/// Which roles give which permission, by the contract and not by the role table.
const GIVES: &str = include_str!("../../../platform/core/tests/shared/roles.txt");

fn gives() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let rows = GIVES.lines().filter(|line| !line.starts_with('#'));
    rows.map(|row| row.split_once(": ").unwrap())
        .map(|(permission, roles)| (permission, roles.split(' ').collect()))
        .collect()
}

fn code<T>(result: Result<Response<T>, Status>) -> Code {
    result.map_or_else(|status| status.code(), |_| Code::Ok)
}

/// What the methods are tried on; made anew for each role, for some of them destroy it.
struct Targets {
    cloud: String,
    folder: String,
    secret: String,
    version: String,
    account: String,
    key: String,
    operation: String,
}

impl Targets {
    async fn make(node: &Node, name: &str) -> Self {
        let create = wire::CreateSecretRequest {
            folder_id: node.made.folder_id.to_string(),
            version_payload_entries: vec![text("k", "v")],
            deletion_protection: true,
            ..Default::default()
        };
        let operation = node.secrets().create(node.request(create)).await.unwrap().into_inner();
        let secret: wire::Secret = response(&operation);
        let account = node.create_account(name).await;
        let key = node.create_key(&account.id).await;
        Self {
            cloud: node.made.cloud_id.to_string(),
            folder: node.made.folder_id.to_string(),
            secret: secret.id,
            version: secret.current_version.unwrap().id,
            account: account.id,
            key: key.key.unwrap().id,
            operation: operation.id,
        }
    }
}

/// Deletes all secrets: the node of these tests has room for few.
async fn clear(node: &Node) {
    let folder_id = node.made.folder_id.to_string();
    let list = wire::ListSecretsRequest { folder_id, ..Default::default() };
    let listed = node.secrets().list(node.request(list)).await.unwrap().into_inner();
    for wire::Secret { id, .. } in listed.secrets {
        let open = wire::UpdateSecretRequest {
            secret_id: id.clone(),
            update_mask: mask("deletion_protection"),
            ..Default::default()
        };
        node.secrets().update(node.request(open)).await.unwrap();
        let delete = wire::DeleteSecretRequest { secret_id: id };
        node.secrets().delete(node.request(delete)).await.unwrap();
    }
}

fn mask(field: &str) -> Option<FieldMask> {
    Some(FieldMask { paths: vec![field.to_owned()] })
}

fn set(id: &str) -> access::SetAccessBindingsRequest {
    let access_bindings = vec![binding("viewer", "userAccount", "nobody")];
    access::SetAccessBindingsRequest { resource_id: id.into(), access_bindings }
}

fn update(id: &str) -> access::UpdateAccessBindingsRequest {
    let action = access::AccessBindingAction::Remove.into();
    let access_binding = Some(binding("viewer", "userAccount", "nobody"));
    access::UpdateAccessBindingsRequest {
        resource_id: id.into(),
        access_binding_deltas: vec![access::AccessBindingDelta { action, access_binding }],
    }
}

fn bindings_of(id: &str) -> access::ListAccessBindingsRequest {
    access::ListAccessBindingsRequest { resource_id: id.into(), ..Default::default() }
}

/// Calls the methods one by one; each with the permissions that it needs on the folder's path, and
/// what it said.
macro_rules! tried {
    ($client:expr, $token:expr; $( $permission:literal $method:ident $message:expr; )*) => {{
        let mut client = $client;
        vec![$( (
            concat!(stringify!($method), " of ", stringify!($client)),
            $permission,
            code(client.$method(bearing($token, $message)).await),
        ), )*]
    }};
}

type Tried = Vec<(&'static str, &'static str, Code)>;

async fn secret_methods(node: &Node, on: &Targets, token: &str) -> Tried {
    let (secret_id, version_id) = (on.secret.clone(), on.version.clone());
    let folder_id = on.folder.clone();
    let pending_period = Some(Duration { seconds: 60, nanos: 0 });
    tried!(node.secrets(), token;
        "secrets.get" get wire::GetSecretRequest { secret_id: secret_id.clone() };
        "secrets.list" list
            wire::ListSecretsRequest { folder_id: folder_id.clone(), ..Default::default() };
        "secrets.get" list_versions
            wire::ListVersionsRequest { secret_id: secret_id.clone(), ..Default::default() };
        "secrets.get" list_operations
            wire::ListSecretOperationsRequest { secret_id: secret_id.clone(), ..Default::default() };
        "secrets.listAccessBindings" list_access_bindings bindings_of(&secret_id);
        "secrets.create" create wire::CreateSecretRequest { folder_id, ..Default::default() };
        "secrets.update" update wire::UpdateSecretRequest {
            secret_id: secret_id.clone(),
            update_mask: mask("description"),
            ..Default::default()
        };
        "secrets.update" activate wire::ActivateSecretRequest { secret_id: secret_id.clone() };
        "versions.add" add_version wire::AddVersionRequest {
            secret_id: secret_id.clone(),
            payload_entries: vec![text("k", "w")],
            ..Default::default()
        };
        "versions.setCurrent" set_current_version wire::SetCurrentVersionRequest {
            secret_id: secret_id.clone(),
            version_id: version_id.clone(),
        };
        "versions.destroy" schedule_version_destruction wire::ScheduleVersionDestructionRequest {
            secret_id: secret_id.clone(),
            version_id: version_id.clone(),
            pending_period,
        };
        "versions.destroy" cancel_version_destruction wire::CancelVersionDestructionRequest {
            secret_id: secret_id.clone(),
            version_id,
        };
        "secrets.setAccessBindings" set_access_bindings set(&secret_id);
        "secrets.setAccessBindings" update_access_bindings update(&secret_id);
        "secrets.update" deactivate wire::DeactivateSecretRequest { secret_id: secret_id.clone() };
        // Protected: who may is told that, and the secret stays.
        "secrets.delete" delete wire::DeleteSecretRequest { secret_id };
    )
}

async fn payload_methods(node: &Node, on: &Targets, token: &str) -> Tried {
    use wire::get_ex_request::Identifier;
    tried!(node.payloads(), token;
        "payload.get" get
            wire::GetPayloadRequest { secret_id: on.secret.clone(), ..Default::default() };
        "payload.get" get_ex wire::GetExRequest {
            identifier: Some(Identifier::SecretId(on.secret.clone())),
            ..Default::default()
        };
    )
}

async fn identity_methods(node: &Node, on: &Targets, token: &str) -> Tried {
    let (service_account_id, key_id) = (on.account.clone(), on.key.clone());
    let mut tried = tried!(node.accounts(), token;
        "serviceAccounts.get" get
            iam::GetServiceAccountRequest { service_account_id: service_account_id.clone() };
        "serviceAccounts.get" list
            iam::ListServiceAccountsRequest { folder_id: on.folder.clone(), ..Default::default() };
        "serviceAccounts.get" list_operations iam::ListServiceAccountOperationsRequest {
            service_account_id: service_account_id.clone(),
            ..Default::default()
        };
        "serviceAccounts.get" list_access_bindings bindings_of(&service_account_id);
        "serviceAccounts.administer" create iam::CreateServiceAccountRequest {
            folder_id: on.folder.clone(),
            name: format!("{}-made", on.account),
            ..Default::default()
        };
        "serviceAccounts.administer" update iam::UpdateServiceAccountRequest {
            service_account_id: service_account_id.clone(),
            update_mask: mask("description"),
            ..Default::default()
        };
        "resourceManager.administer" set_access_bindings set(&service_account_id);
        "resourceManager.administer" update_access_bindings update(&service_account_id);
        "serviceAccounts.administer" suspend iam::SuspendServiceAccountRequest {
            service_account_id: service_account_id.clone(),
            ..Default::default()
        };
        "serviceAccounts.administer" reactivate
            iam::ReactivateServiceAccountRequest { service_account_id: service_account_id.clone() };
    );
    tried.extend(tried!(node.keys(), token;
        "serviceAccounts.get" get iam::GetKeyRequest { key_id: key_id.clone(), format: 0 };
        "serviceAccounts.get" list iam::ListKeysRequest {
            service_account_id: service_account_id.clone(),
            ..Default::default()
        };
        "serviceAccounts.get" list_operations
            iam::ListKeyOperationsRequest { key_id: key_id.clone(), ..Default::default() };
        "serviceAccounts.administer" update iam::UpdateKeyRequest {
            key_id: key_id.clone(),
            update_mask: mask("description"),
            ..Default::default()
        };
        "serviceAccounts.administer+serviceAccounts.createToken" create iam::CreateKeyRequest {
            service_account_id: service_account_id.clone(),
            ..Default::default()
        };
        "serviceAccounts.administer" delete iam::DeleteKeyRequest { key_id };
    ));
    tried.extend(tried!(node.tokens(), token;
        "serviceAccounts.createToken" create_for_service_account
            iam::CreateIamTokenForServiceAccountRequest {
                service_account_id: service_account_id.clone(),
            };
    ));
    tried.extend(tried!(node.accounts(), token;
        "serviceAccounts.administer" delete iam::DeleteServiceAccountRequest { service_account_id };
    ));
    tried
}

async fn container_methods(node: &Node, on: &Targets, token: &str) -> Tried {
    let (folder_id, cloud_id) = (on.folder.clone(), on.cloud.clone());
    tried!(node.folders(), token;
        "resourceManager.get" get containers::GetFolderRequest { folder_id: folder_id.clone() };
        "resourceManager.get" list_operations containers::ListFolderOperationsRequest {
            folder_id: folder_id.clone(),
            ..Default::default()
        };
        "resourceManager.get" list_access_bindings bindings_of(&folder_id);
        "resourceManager.administer" update containers::UpdateFolderRequest {
            folder_id: folder_id.clone(),
            update_mask: mask("description"),
            ..Default::default()
        };
        "resourceManager.administer" update_access_bindings update(&folder_id);
        // What is bound on a folder holds in it, and not above.
        "nothing" list containers::ListFoldersRequest { cloud_id: cloud_id.clone(), ..Default::default() };
        "nothing" create containers::CreateFolderRequest {
            cloud_id,
            name: "made".into(),
            ..Default::default()
        };
    )
}

/// Our own methods, which are for the bindings of whatever has some.
async fn access_methods(node: &Node, on: &Targets, token: &str) -> Tried {
    let list = |id: &str| own::ListBindingsRequest { resource_id: id.into(), ..Default::default() };
    let update = |id: &str| own::UpdateBindingsRequest {
        resource_id: id.into(),
        deltas: vec![own::BindingDelta {
            action: access::AccessBindingAction::Remove.into(),
            binding: Some(own::Binding {
                role_id: "viewer".into(),
                subject: binding("viewer", "userAccount", "nobody").subject,
                conditions: None,
            }),
        }],
    };
    let bindings = || AccessServiceClient::new(node.channel.clone());
    tried!(bindings(), token;
        "secrets.listAccessBindings" list_bindings list(&on.secret);
        "secrets.listAccessBindings" list_bindings list(&on.version);
        "serviceAccounts.get" list_bindings list(&on.account);
        "resourceManager.get" list_bindings list(&on.folder);
        "secrets.setAccessBindings" update_bindings update(&on.secret);
        "secrets.setAccessBindings" update_bindings update(&on.version);
        "resourceManager.administer" update_bindings update(&on.account);
        "resourceManager.administer" update_bindings update(&on.folder);
        // What is bound on a folder holds in it, and not above.
        "nothing" list_bindings list(&on.cloud);
        "nothing" update_bindings update(&on.cloud);
    )
}

async fn operation_methods(node: &Node, on: &Targets, token: &str) -> Tried {
    let operations = || OperationServiceClient::new(node.channel.clone());
    tried!(operations(), token;
        "secrets.get" get GetOperationRequest { operation_id: on.operation.clone() };
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s05_every_role_is_let_through_where_the_contract_says_and_nowhere_else() {
    let node = Node::start().await;
    let gives = gives();
    let mut tried_at_all = 0;
    for (number, role) in Role::ALL.iter().map(|role| role.as_str()).enumerate() {
        let on = Targets::make(&node, &format!("target-{number}")).await;
        let caller = node.create_account(&format!("caller-{number}")).await;
        let key = node.create_key(&caller.id).await;
        let token = node.token_of(&caller.id, &key).await;
        // Ownership is of clouds, and so holds above the folder, too.
        let owner = role == Role::CloudsOwner.as_str();
        let bound_on =
            if owner { node.made.cloud_id.as_str() } else { node.made.folder_id.as_str() };
        node.bind_on(bound_on, binding(role, "serviceAccount", &caller.id)).await;
        // Payloads first: in the end the secret is switched off.
        let mut tried = payload_methods(&node, &on, &token).await;
        tried.extend(operation_methods(&node, &on, &token).await);
        tried.extend(access_methods(&node, &on, &token).await);
        tried.extend(secret_methods(&node, &on, &token).await);
        tried.extend(identity_methods(&node, &on, &token).await);
        tried.extend(container_methods(&node, &on, &token).await);
        for (method, permission, code) in tried {
            let given = |one: &str| gives.get(one).is_some_and(|roles| roles.contains(role));
            let may = owner || permission.split('+').all(given);
            assert_eq!(code != Code::PermissionDenied, may, "{role}: {method} said {code:?}");
            if may {
                let fine = code == Code::Ok || code == Code::FailedPrecondition;
                assert!(fine, "{role}: {method} said {code:?}");
            }
            tried_at_all += 1;
        }
        clear(&node).await;
    }
    assert_eq!(tried_at_all, Role::ALL.len() * 54);
    node.stop().await;
}
