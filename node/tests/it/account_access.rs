//! Who may speak for one service account, and what was done to it and its keys
//! (`contract §1.11`, `§2.12`).

use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::iam::v1 as iam;
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::client::response;
use crate::fixture::{Node, bearing};
use crate::messages::{binding, metadata};

const TOKEN_CREATOR: &str = "iam.serviceAccounts.tokenCreator";

async fn impersonate(node: &Node, by: &str, account: &str) -> Result<String, Status> {
    let service_account_id = account.to_owned();
    let request = iam::CreateIamTokenForServiceAccountRequest { service_account_id };
    let answer = node.tokens().create_for_service_account(bearing(by, request)).await?;
    Ok(answer.into_inner().iam_token)
}

fn set(account: &str, bindings: Vec<access::AccessBinding>) -> access::SetAccessBindingsRequest {
    access::SetAccessBindingsRequest { resource_id: account.into(), access_bindings: bindings }
}

fn list(account: &str) -> access::ListAccessBindingsRequest {
    access::ListAccessBindingsRequest { resource_id: account.into(), ..Default::default() }
}

fn remove(account: &str, binding: access::AccessBinding) -> access::UpdateAccessBindingsRequest {
    let action = access::AccessBindingAction::Remove.into();
    let delta = access::AccessBindingDelta { action, access_binding: Some(binding) };
    access::UpdateAccessBindingsRequest {
        resource_id: account.into(),
        access_binding_deltas: vec![delta],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_bound_on_an_account_speaks_for_that_one_until_the_binding_ends() {
    let node = Node::start().await;
    let mut accounts = node.accounts();
    let robot = node.create_account("robot").await;
    let other = node.create_account("other").await;
    let maker = node.create_account("maker").await;
    let key = node.create_key(&maker.id).await;
    let token = node.token_of(&maker.id, &key).await;

    let role = binding(TOKEN_CREATOR, "serviceAccount", &maker.id);
    let grant = node.request(set(&robot.id, vec![role.clone(), role.clone()]));
    let operation = accounts.set_access_bindings(grant).await.unwrap().into_inner();
    let about: access::SetAccessBindingsMetadata = metadata(&operation);
    assert_eq!(about.resource_id, robot.id);
    // Here the operation answers with what it changed (`contract §1.14` no. 12).
    let changed: access::AccessBindingsOperationResult = response(&operation);
    assert_eq!(changed.effective_deltas.len(), 1, "twice the same is one");
    assert_eq!(changed.effective_deltas[0].access_binding, Some(role.clone()));

    let as_robot = impersonate(&node, &token, &robot.id).await.unwrap();
    // A key would outlive the binding.
    let key = iam::CreateKeyRequest { service_account_id: robot.id.clone(), ..Default::default() };
    let key = node.keys().create(bearing(&token, key)).await.unwrap_err();
    assert_eq!(key.code(), Code::PermissionDenied);
    let denied = impersonate(&node, &token, &other.id).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let listed = accounts.list_access_bindings(bearing(&token, list(&robot.id))).await.unwrap();
    assert_eq!(listed.into_inner().access_bindings, std::slice::from_ref(&role));

    let gone = node.request(remove(&robot.id, role));
    let operation = accounts.update_access_bindings(gone).await.unwrap().into_inner();
    metadata::<access::UpdateAccessBindingsMetadata>(&operation);
    let denied = impersonate(&node, &token, &robot.id).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "at once, in the same commit");
    // A token that was made before lives on, and grants nothing, whatever the account may.
    node.bind(binding("admin", "serviceAccount", &robot.id)).await;
    let refused = accounts.set_access_bindings(bearing(&as_robot, set(&other.id, vec![]))).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let folder = set(node.made.folder_id.as_str(), vec![]);
    let refused = node.folders().set_access_bindings(bearing(&as_robot, folder)).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied, "a way in that outlives it");

    let audit = node.audit();
    for event in ["SetServiceAccountAccessBindings", "UpdateServiceAccountAccessBindings"] {
        let record = audit.lines().find(|line| line.contains(event)).unwrap();
        assert!(record.contains(&maker.id), "{record}");
        let record: serde_json::Value = serde_json::from_str(record).unwrap();
        assert_eq!(record["details"]["resource_id"], robot.id.as_str());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_administrators_say_who_speaks_for_an_account() {
    let node = Node::start().await;
    let mut accounts = node.accounts();
    let robot = node.create_account("robot").await;
    let caller = node.create_account("caller").await;
    let key = node.create_key(&caller.id).await;
    let token = node.token_of(&caller.id, &key).await;
    let oneself = binding(TOKEN_CREATOR, "serviceAccount", &caller.id);
    let hidden = accounts.list_access_bindings(bearing(&token, list(&robot.id))).await;
    assert_eq!(hidden.unwrap_err().code(), Code::PermissionDenied);
    for role in ["editor", TOKEN_CREATOR] {
        node.bind(binding(role, "serviceAccount", &caller.id)).await;
        let grant = bearing(&token, set(&robot.id, vec![oneself.clone()]));
        let refused = accounts.set_access_bindings(grant).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{role}");
    }
    let listed = accounts.list_access_bindings(bearing(&token, list(&robot.id))).await.unwrap();
    assert!(listed.into_inner().access_bindings.is_empty(), "a refusal has changed something");
    let missing = accounts.set_access_bindings(node.request(set("ajenobody", vec![]))).await;
    assert_eq!(missing.unwrap_err().code(), Code::NotFound);
    // The bindings of an account go with it.
    let grant = node.request(set(&robot.id, vec![oneself]));
    accounts.set_access_bindings(grant).await.unwrap();
    let delete = iam::DeleteServiceAccountRequest { service_account_id: robot.id.clone() };
    accounts.delete(node.request(delete)).await.unwrap();
    let gone = accounts.list_access_bindings(node.request(list(&robot.id))).await;
    assert_eq!(gone.unwrap_err().code(), Code::NotFound);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_on_an_account_and_on_a_key_are_listed_newest_first() {
    let node = Node::start().await;
    let (mut accounts, mut keys) = (node.accounts(), node.keys());
    let robot = node.create_account("robot").await;
    let [kept, deleted] = [node.create_key(&robot.id).await, node.create_key(&robot.id).await]
        .map(|made| made.key.unwrap().id);
    let rename = |description: &str| iam::UpdateKeyRequest {
        key_id: kept.clone(),
        update_mask: Some(FieldMask { paths: vec!["description".into()] }),
        description: description.into(),
    };
    let first = keys.update(node.request(rename("one"))).await.unwrap().into_inner();
    let delete = iam::DeleteKeyRequest { key_id: deleted.clone() };
    let delete = keys.delete(node.request(delete)).await.unwrap().into_inner();
    let suspend = iam::SuspendServiceAccountRequest {
        service_account_id: robot.id.clone(),
        ..Default::default()
    };
    let suspend = accounts.suspend(node.request(suspend)).await.unwrap().into_inner();
    let second = keys.update(node.request(rename("two"))).await.unwrap().into_inner();

    let page = |page_size: i64, page_token: &str| iam::ListServiceAccountOperationsRequest {
        service_account_id: robot.id.clone(),
        page_size,
        page_token: page_token.into(),
    };
    let all = accounts.list_operations(node.request(page(0, ""))).await.unwrap().into_inner();
    assert_eq!(all.operations.len(), 5, "its creation too, and no creation of a key");
    assert_eq!(all.operations[..4], [second.clone(), suspend, delete, first.clone()]);
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let answer = accounts.list_operations(node.request(page(1, &token))).await.unwrap();
        let answer = answer.into_inner();
        found.extend(answer.operations);
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
        assert!(token.len() <= 100);
    }
    assert_eq!(found, all.operations);

    let of_key = |id: &str| iam::ListKeyOperationsRequest {
        key_id: id.into(),
        page_size: 1,
        ..Default::default()
    };
    let answer = keys.list_operations(node.request(of_key(&kept))).await.unwrap().into_inner();
    assert_eq!(answer.operations, [second]);
    let next = iam::ListKeyOperationsRequest {
        page_token: answer.next_page_token.clone(),
        ..of_key(&kept)
    };
    let answer = keys.list_operations(node.request(next.clone())).await.unwrap().into_inner();
    assert_eq!(answer.operations, [first]);
    let foreign =
        iam::ListServiceAccountOperationsRequest { page_token: next.page_token, ..page(0, "") };
    let refused = accounts.list_operations(node.request(foreign)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "a token of another list");
    let gone = keys.list_operations(node.request(of_key(&deleted))).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);

    let stranger = node.create_account("stranger").await;
    let key = node.create_key(&stranger.id).await;
    let token = node.token_of(&stranger.id, &key).await;
    let denied = keys.list_operations(bearing(&token, of_key(&kept))).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let denied = accounts.list_operations(bearing(&token, page(0, ""))).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_key_only_the_description_changes() {
    let node = Node::start().await;
    let mut keys = node.keys();
    let robot = node.create_account("robot").await;
    let made = node.create_key(&robot.id).await;
    let before = made.key.clone().unwrap();
    let update = |fields: &[&str], description: &str| iam::UpdateKeyRequest {
        key_id: before.id.clone(),
        update_mask: Some(FieldMask { paths: fields.iter().map(|f| (*f).to_owned()).collect() }),
        description: description.into(),
    };
    let longest = "x".repeat(256);
    let request = node.keyed("rename", update(&["description"], &longest));
    let operation = keys.update(request).await.unwrap().into_inner();
    let about: iam::UpdateKeyMetadata = metadata(&operation);
    assert_eq!(about.key_id, before.id);
    let changed: iam::Key = response(&operation);
    assert_eq!(changed, iam::Key { description: longest.clone(), ..before.clone() });
    let repeat = node.keyed("rename", update(&["description"], &longest));
    assert_eq!(keys.update(repeat).await.unwrap().into_inner(), operation);
    let get = iam::GetKeyRequest { key_id: before.id.clone(), format: 0 };
    assert_eq!(keys.get(node.request(get)).await.unwrap().into_inner(), changed);
    // It still opens the door.
    node.token_of(&robot.id, &made).await;
    for (fields, description) in [
        (&[][..], "x"),
        (&["public_key"], "x"),
        (&["description", "id"], "x"),
        (&["description"], "x".repeat(257).as_str()),
    ] {
        let refused = keys.update(node.request(update(fields, description))).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{fields:?}");
    }
    let unlisted = iam::UpdateKeyRequest { update_mask: None, ..update(&[], "x") };
    let refused = keys.update(node.request(unlisted)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let missing =
        iam::UpdateKeyRequest { key_id: "ajenothing".into(), ..update(&["description"], "x") };
    assert_eq!(keys.update(node.request(missing)).await.unwrap_err().code(), Code::NotFound);
    let editor = node.create_account("editor").await;
    let key = node.create_key(&editor.id).await;
    let token = node.token_of(&editor.id, &key).await;
    let denied = keys.update(bearing(&token, update(&["description"], "x"))).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    node.bind(binding("editor", "serviceAccount", &editor.id)).await;
    keys.update(bearing(&token, update(&["description"], ""))).await.unwrap();
    node.stop().await;
}
