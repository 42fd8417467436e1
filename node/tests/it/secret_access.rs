//! The bindings of one secret, and the operations on it.

use lockbox_proto::yandex::cloud::access;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use lockbox_proto::yandex::cloud::operation::Operation;
use tonic::{Code, Request};

use crate::client::text;
use crate::fixture::{Node, bearing};
use crate::messages::{binding, metadata};

fn set(secret: &str, bindings: Vec<access::AccessBinding>) -> access::SetAccessBindingsRequest {
    access::SetAccessBindingsRequest { resource_id: secret.into(), access_bindings: bindings }
}

fn list(secret: &str) -> access::ListAccessBindingsRequest {
    access::ListAccessBindingsRequest { resource_id: secret.into(), ..Default::default() }
}

fn delta(
    action: access::AccessBindingAction,
    binding: access::AccessBinding,
) -> access::AccessBindingDelta {
    access::AccessBindingDelta { action: action.into(), access_binding: Some(binding) }
}

/// The whole response of these operations is `Empty` (`contract §1.14` no. 12).
fn is_empty(operation: &Operation) -> bool {
    use lockbox_proto::yandex::cloud::operation::operation::Result;
    let Some(Result::Response(any)) = &operation.result else { return false };
    any.type_url.ends_with("/google.protobuf.Empty") && any.value.is_empty()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_on_one_secret_opens_that_one_and_ends_with_its_binding() {
    let node = Node::start().await;
    let mut secrets = node.secrets();
    let opened = node.create(vec![text("k", "v")], "").await;
    let closed = node.create(vec![text("k", "v")], "").await;
    let account = node.create_account("robot").await;
    let key = node.create_key(&account.id).await;
    let token = node.token_of(&account.id, &key).await;
    let get = |id: &str| wire::GetPayloadRequest { secret_id: id.into(), ..Default::default() };
    let read = async |id: &str| node.payloads().get(bearing(&token, get(id))).await;
    assert_eq!(read(&opened.id).await.unwrap_err().code(), Code::PermissionDenied);

    let role = binding("lockbox.payloadViewer", "serviceAccount", &account.id);
    let request = set(&opened.id, vec![role.clone(), role.clone()]);
    let operation = secrets.set_access_bindings(node.request(request)).await.unwrap().into_inner();
    let about: access::SetAccessBindingsMetadata = metadata(&operation);
    assert_eq!(about.resource_id, opened.id);
    assert!(operation.done && is_empty(&operation), "{operation:?}");
    read(&opened.id).await.unwrap();
    assert_eq!(read(&closed.id).await.unwrap_err().code(), Code::PermissionDenied);

    let listed = secrets.list_access_bindings(node.request(list(&opened.id))).await.unwrap();
    let listed = listed.into_inner().access_bindings;
    assert_eq!(listed, std::slice::from_ref(&role), "twice the same is one");
    // Who reads payloads sees neither the bindings nor the metadata (`contract §4.3`).
    let hidden = secrets.list_access_bindings(bearing(&token, list(&opened.id))).await;
    assert_eq!(hidden.unwrap_err().code(), Code::PermissionDenied);

    let viewer = binding("lockbox.viewer", "serviceAccount", &account.id);
    let deltas = vec![
        delta(access::AccessBindingAction::Add, viewer.clone()),
        delta(access::AccessBindingAction::Add, viewer.clone()),
        delta(access::AccessBindingAction::Remove, role),
        delta(access::AccessBindingAction::Remove, binding("editor", "serviceAccount", "nobody")),
    ];
    let request = access::UpdateAccessBindingsRequest {
        resource_id: opened.id.clone(),
        access_binding_deltas: deltas,
    };
    let operation = secrets.update_access_bindings(node.request(request)).await.unwrap();
    let operation = operation.into_inner();
    metadata::<access::UpdateAccessBindingsMetadata>(&operation);
    assert!(is_empty(&operation), "{operation:?}");
    // At once, in the same commit.
    assert_eq!(read(&opened.id).await.unwrap_err().code(), Code::PermissionDenied);
    let listed = secrets.list_access_bindings(bearing(&token, list(&opened.id))).await.unwrap();
    assert_eq!(listed.into_inner().access_bindings, [viewer]);

    let audit = node.audit();
    for event in ["SetSecretAccessBindings", "UpdateSecretAccessBindings"] {
        let record = audit.lines().find(|line| line.contains(event)).unwrap();
        assert!(record.contains(&account.id), "{record}");
        let record: serde_json::Value = serde_json::from_str(record).unwrap();
        let details = &record["details"];
        assert_eq!(details["secret_id"], opened.id.as_str());
        // With the names that the contract has for both (`contract §6.3`).
        assert_eq!(details["secret_name"], "s");
        let changed = &details["access_binding_deltas"][0]["access_binding"];
        let bound = details["access_bindings"].get(0).unwrap_or(changed);
        assert_eq!(bound["subject_name"], "robot", "{details}");
        assert_eq!(bound["subject_type"], "SERVICE_ACCOUNT", "{details}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_of_a_secret_are_refused_as_those_of_a_folder_are() {
    let node = Node::start().await;
    let mut secrets = node.secrets();
    let secret = node.create(vec![text("k", "v")], "").await;
    let account = node.create_account("robot").await;
    let key = node.create_key(&account.id).await;
    let token = node.token_of(&account.id, &key).await;
    node.bind(binding("lockbox.editor", "serviceAccount", &account.id)).await;
    // An editor changes secrets and grants nothing (`contract §4.2`).
    let refused = secrets.set_access_bindings(bearing(&token, set(&secret.id, vec![]))).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    // What one who may not grant has written into the call is not written down.
    let many: Vec<_> =
        (0..1000).map(|n| binding("planted-canary", "serviceAccount", &format!("a{n}"))).collect();
    let refused = secrets.set_access_bindings(bearing(&token, set(&secret.id, many))).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    assert!(!node.audit().contains("planted-canary"));
    let unknown = secrets.set_access_bindings(Request::new(set(&secret.id, vec![]))).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unauthenticated);
    let missing = secrets.list_access_bindings(node.request(list("e6qnowhere"))).await;
    assert_eq!(missing.unwrap_err().code(), Code::NotFound);
    let kept = set(&secret.id, vec![binding("lockbox.viewer", "serviceAccount", "someone")]);
    let kept = node.request(kept);
    secrets.set_access_bindings(kept).await.unwrap();
    let listed = secrets.list_access_bindings(node.request(list(&secret.id))).await.unwrap();
    let before = listed.into_inner();
    assert_eq!(before.access_bindings.len(), 1);
    for wrong in [
        binding("lockbox.god", "serviceAccount", "a"),
        binding("lockbox.viewer", "robot", "a"),
        binding("", "serviceAccount", "a"),
    ] {
        let request = set(&secret.id, vec![wrong]);
        let refused = secrets.set_access_bindings(node.request(request)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let listed = secrets.list_access_bindings(node.request(list(&secret.id))).await.unwrap();
    assert_eq!(listed.into_inner(), before, "a refused request has changed something");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operations_on_a_secret_are_listed_newest_first_and_go_with_it() {
    let node = Node::start().await;
    let mut secrets = node.secrets();
    let secret = node.create(vec![text("k", "v")], "").await;
    node.create(vec![text("k", "another")], "").await;
    node.add(&secret.id, vec![text("k", "w")]).await;
    let off = wire::DeactivateSecretRequest { secret_id: secret.id.clone() };
    let off = secrets.deactivate(node.request(off)).await.unwrap().into_inner();
    let grant = set(&secret.id, vec![binding("lockbox.viewer", "serviceAccount", "someone")]);
    let grant = secrets.set_access_bindings(node.request(grant)).await.unwrap().into_inner();

    let page = |page_size: i64, page_token: &str| wire::ListSecretOperationsRequest {
        secret_id: secret.id.clone(),
        page_size,
        page_token: page_token.into(),
    };
    let all = secrets.list_operations(node.request(page(0, ""))).await.unwrap().into_inner();
    assert_eq!(all.next_page_token, "");
    assert_eq!(all.operations.len(), 4);
    assert_eq!(all.operations[..2], [grant, off]);
    let (mut found, mut token) = (Vec::new(), String::new());
    loop {
        let answer = secrets.list_operations(node.request(page(3, &token))).await.unwrap();
        let answer = answer.into_inner();
        assert!(!answer.operations.is_empty(), "a page without anything");
        found.extend(answer.operations);
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
        assert!(token.len() <= 100);
    }
    assert_eq!(found, all.operations);
    let versions = wire::ListVersionsRequest {
        secret_id: secret.id.clone(),
        page_token: "none-of-ours".into(),
        ..Default::default()
    };
    let refused = secrets.list_versions(node.request(versions)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    let delete = wire::DeleteSecretRequest { secret_id: secret.id.clone() };
    secrets.delete(node.request(delete)).await.unwrap();
    let gone = secrets.list_operations(node.request(page(0, ""))).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    node.stop().await;
}
