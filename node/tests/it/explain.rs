//! `lockbox.iam.v1.AccessService`: the answer is what the service does, and says why.

use lockbox_proto::lockbox::iam::v1::access_service_client::AccessServiceClient;
use lockbox_proto::lockbox::iam::v1::{ExplainRequest, ExplainResponse};
use lockbox_proto::yandex::cloud::access::{AccessBindingAction, AccessBindingDelta};
use lockbox_proto::yandex::cloud::access::{Subject, UpdateAccessBindingsRequest};
use lockbox_proto::yandex::cloud::iam::v1::{
    CreateIamTokenForServiceAccountRequest, SuspendServiceAccountRequest,
};
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::{Code, Status};

use crate::client::text;
use crate::fixture::{Node, bearing};
use crate::messages::binding;

async fn explain(
    node: &Node,
    by: &str,
    account: Option<&str>,
    permission: &str,
    resource_id: &str,
) -> Result<ExplainResponse, Status> {
    let subject = account.map(|id| Subject { id: id.into(), r#type: "serviceAccount".into() });
    let permission = permission.to_owned();
    let request = ExplainRequest { subject, permission, resource_id: resource_id.into() };
    let mut client = AccessServiceClient::new(node.channel.clone());
    Ok(client.explain(bearing(by, request)).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_explanation_is_what_the_service_does() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let robot = node.create_account("robot").await;
    let key = node.create_key(&robot.id).await;
    let token = node.token_of(&robot.id, &key).await;
    let of = async |permission: &str| {
        explain(&node, node.token(), Some(&robot.id), permission, &secret.id).await.unwrap()
    };
    let reads = async || {
        let get = wire::GetPayloadRequest { secret_id: secret.id.clone(), ..Default::default() };
        node.payloads().get(bearing(&token, get)).await.is_ok()
    };
    let denied = of("payload.get").await;
    assert!(!denied.allowed && denied.held.is_empty());
    let kinds: Vec<_> = denied.path.iter().map(|on| on.r#type.as_str()).collect();
    assert_eq!(kinds.len(), 4, "{kinds:?}");
    assert_eq!(denied.path[3].id, secret.id);
    assert!(!reads().await);

    node.bind(binding("lockbox.viewer", "serviceAccount", &robot.id)).await;
    let grant = UpdateAccessBindingsRequest {
        resource_id: secret.id.clone(),
        access_binding_deltas: vec![AccessBindingDelta {
            action: AccessBindingAction::Add.into(),
            access_binding: Some(binding("lockbox.payloadViewer", "system", "allUsers")),
        }],
    };
    node.secrets().update_access_bindings(node.request(grant)).await.unwrap();
    let allowed = of("payload.get").await;
    assert!(allowed.allowed && allowed.index > denied.index);
    let held: Vec<_> = allowed
        .held
        .iter()
        .map(|held| (held.access_binding.clone().unwrap().role_id, held.grants))
        .collect();
    let expected = [("lockbox.viewer".to_owned(), false), ("lockbox.payloadViewer".into(), true)];
    assert_eq!(held, expected, "outermost first, and all of it");
    assert!(reads().await);
    assert!(of("secrets.get").await.allowed);
    assert!(!of("secrets.update").await.allowed);

    // It holds all the same, and may nothing.
    let suspend =
        SuspendServiceAccountRequest { service_account_id: robot.id.clone(), ..Default::default() };
    node.accounts().suspend(node.request(suspend)).await.unwrap();
    let suspended = of("payload.get").await;
    assert_eq!((suspended.allowed, suspended.subject_problem.as_str()), (false, "is suspended"));
    assert_eq!(suspended.held.len(), 2);
    assert!(!reads().await);
    let nobody = explain(&node, node.token(), Some("ajenobody"), "payload.get", &secret.id).await;
    assert_eq!(nobody.unwrap().subject_problem, "does not exist");
    node.stop().await;
}

/// On accounts more than roles decides, and the explanation knows it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_counts_what_counts_beside_roles() {
    let node = Node::start().await;
    let deputy = node.create_account("deputy").await;
    let key = node.create_key(&deputy.id).await;
    let token = node.token_of(&deputy.id, &key).await;
    let robot = node.create_account("robot").await;
    node.bind(binding("admin", "serviceAccount", &deputy.id)).await;
    let powers =
        ["serviceAccounts.createToken", "serviceAccounts.administer", "resourceManager.administer"];
    let admin = node.made.admin_id.as_str();
    let make_token = async |of: &str| {
        let service_account_id = of.to_owned();
        let request = CreateIamTokenForServiceAccountRequest { service_account_id };
        let made = node.tokens().create_for_service_account(bearing(&token, request)).await;
        made.map(|made| made.into_inner().iam_token)
    };
    for permission in powers {
        let over = explain(&node, &token, None, permission, &robot.id).await.unwrap();
        assert!(over.allowed && over.remarks.is_empty(), "{over:?}");
        // It administers the folder, and not the cloud's owner who lives in it.
        let over = explain(&node, &token, None, permission, admin).await.unwrap();
        assert!(!over.allowed && over.held.iter().any(|held| held.grants), "{over:?}");
        assert!(over.remarks[0].contains("may do more"), "{over:?}");
    }
    let borrowed = make_token(&robot.id).await.unwrap();
    assert_eq!(make_token(admin).await.unwrap_err().code(), Code::PermissionDenied);
    // An account needs no role for its own tokens and keys.
    let own = async |permission: &str| explain(&node, &borrowed, None, permission, &robot.id).await;
    let itself = own("serviceAccounts.createToken").await.unwrap();
    assert!(itself.allowed && itself.held.is_empty(), "{itself:?}");
    assert_eq!(itself.remarks.len(), 2, "and this token was made by another: {itself:?}");
    for permission in ["serviceAccounts.get", "serviceAccounts.administer"] {
        let itself = own(permission).await.unwrap();
        assert!(!itself.allowed && itself.remarks[0].contains("its own keys"), "{itself:?}");
    }
    // An administrator of the cloud makes no owners.
    let grant = UpdateAccessBindingsRequest {
        resource_id: node.made.cloud_id.to_string(),
        access_binding_deltas: vec![AccessBindingDelta {
            action: AccessBindingAction::Add.into(),
            access_binding: Some(binding("admin", "serviceAccount", &deputy.id)),
        }],
    };
    node.clouds().update_access_bindings(node.request(grant)).await.unwrap();
    let cloud = node.made.cloud_id.as_str();
    let of_deputy = explain(&node, &token, None, powers[2], cloud).await.unwrap();
    assert!(of_deputy.allowed && of_deputy.remarks[0].contains("owners alone"), "{of_deputy:?}");
    let of_owner = explain(&node, node.token(), None, powers[2], cloud).await.unwrap();
    assert!(of_owner.allowed && of_owner.remarks.is_empty(), "{of_owner:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_may_ask_about_itself_and_viewers_of_the_cloud_about_all() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let robot = node.create_account("robot").await;
    let key = node.create_key(&robot.id).await;
    let token = node.token_of(&robot.id, &key).await;
    let itself = explain(&node, &token, None, "payload.get", &secret.id).await.unwrap();
    assert!(!itself.allowed);
    assert_eq!(itself.subject.unwrap().id, robot.id);
    assert!(itself.path.is_empty(), "where a secret is, to who may not see it");
    // Who sees the cloud through another service's role sees no bindings of secrets.
    let auditor = node.create_account("auditor").await;
    let key = node.create_key(&auditor.id).await;
    let auditor_token = node.token_of(&auditor.id, &key).await;
    node.bind(binding("kms.auditor", "serviceAccount", &auditor.id)).await;
    let about = Some(robot.id.as_str());
    let denied = explain(&node, &auditor_token, about, "payload.get", &secret.id).await;
    assert_eq!(denied.unwrap_err().code(), Code::PermissionDenied);
    // Who sees a secret sees who holds what on it and above, as far as it sees that.
    node.bind(binding("lockbox.viewer", "serviceAccount", &auditor.id)).await;
    let admin = Some(node.made.admin_id.as_str());
    let seen = explain(&node, &auditor_token, admin, "payload.get", &secret.id).await.unwrap();
    assert!(seen.allowed && seen.some_hidden && seen.held.is_empty(), "{seen:?}");
    assert_eq!(seen.path.len(), 4);
    let admin = node.made.admin_id.as_str();
    let other = explain(&node, &token, Some(admin), "payload.get", &secret.id).await.unwrap_err();
    assert_eq!(other.code(), Code::PermissionDenied);
    for resource in [node.made.folder_id.as_str(), node.made.cloud_id.as_str(), robot.id.as_str()] {
        let admin_may =
            explain(&node, node.token(), None, "resourceManager.administer", resource).await;
        assert!(admin_may.unwrap().allowed, "{resource}");
    }
    for (permission, resource, code) in [
        ("payload.steal", secret.id.as_str(), Code::InvalidArgument),
        ("", secret.id.as_str(), Code::InvalidArgument),
        ("payload.get", "e6qnowhere", Code::NotFound),
    ] {
        let refused = explain(&node, node.token(), None, permission, resource).await.unwrap_err();
        assert_eq!(refused.code(), code);
    }
    let nameless = explain(&node, "nothing", None, "payload.get", &secret.id).await.unwrap_err();
    assert_eq!(nameless.code(), Code::Unauthenticated);
    let audit = node.audit();
    let record = audit.lines().find(|line| line.contains("ExplainAccess")).unwrap();
    assert!(record.contains(&secret.id), "{record}");
    node.stop().await;
}

/// Bindings of keys are with the KMS: who asks about a key is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_about_a_key_says_who_knows_its_bindings() {
    let node = Node::start().await;
    let own = "lockbox kms symmetric-key list-access-bindings";
    let (key, folder) = ("abj0123456789abcdefg", node.made.folder_id.as_str());
    let ask = async |permission: &str, resource: &str| {
        explain(&node, node.token(), None, permission, resource).await
    };
    let unknown = ask("kms.keys.decrypt", key).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(unknown.message().contains(own), "{unknown:?}");
    assert!(unknown.metadata().get("lockbox-index").is_some(), "{unknown:?}");
    let of_folder = ask("kms.keys.decrypt", folder).await.unwrap();
    assert!(of_folder.remarks.iter().any(|remark| remark.contains(own)), "{of_folder:?}");
    // What has nothing to do with keys is answered as ever.
    assert!(!ask("payload.get", key).await.unwrap_err().message().contains(own));
    assert!(ask("payload.get", folder).await.unwrap().remarks.is_empty());
    node.stop().await;
}
