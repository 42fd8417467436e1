//! IAM tokens: revoked in one commit, and made for another account (`contract §0.2`, `§1.11`).

use lockbox_proto::yandex::cloud::iam::v1 as iam;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::{Code, Status};

use crate::client::text;
use crate::fixture::{Node, bearing};
use crate::messages::binding;

async fn revoke(node: &Node, by: &str, token: &str) -> Result<String, Status> {
    let request = iam::RevokeIamTokenRequest { iam_token: token.into() };
    let answer = node.tokens().revoke(bearing(by, request)).await?;
    Ok(answer.into_inner().subject_id)
}

async fn impersonate(node: &Node, by: &str, account: &str) -> Result<String, Status> {
    let service_account_id = account.to_owned();
    let request = iam::CreateIamTokenForServiceAccountRequest { service_account_id };
    let answer = node.tokens().create_for_service_account(bearing(by, request)).await?;
    Ok(answer.into_inner().iam_token)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_is_worth_nothing_at_once_and_others_of_the_account_go_on() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let account = node.create_account("robot").await;
    let key = node.create_key(&account.id).await;
    node.bind(binding("lockbox.payloadViewer", "serviceAccount", &account.id)).await;
    let leaked = node.token_of(&account.id, &key).await;
    let own = node.token_of(&account.id, &key).await;
    let kept = node.token_of(&account.id, &key).await;
    let read = async |token: &str| {
        let request =
            wire::GetPayloadRequest { secret_id: secret.id.clone(), ..Default::default() };
        let read = node.payloads().get(bearing(token, request)).await;
        read.map(drop).map_err(|status| status.code())
    };
    read(&leaked).await.unwrap();
    // Whoever found it may revoke it.
    assert_eq!(revoke(&node, node.token(), &leaked).await.unwrap(), account.id);
    assert_eq!(read(&leaked).await, Err(Code::Unauthenticated));
    assert_eq!(revoke(&node, node.token(), &leaked).await.unwrap(), account.id, "again");
    assert_eq!(revoke(&node, &own, &own).await.unwrap(), account.id);
    assert_eq!(read(&own).await, Err(Code::Unauthenticated));
    assert_eq!(revoke(&node, &own, &kept).await.unwrap_err().code(), Code::Unauthenticated);
    read(&kept).await.unwrap();

    for wrong in ["t1.nonsense", "", &"x".repeat(4097)] {
        let refused = revoke(&node, node.token(), wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(!refused.message().contains("nonsense"));
    }
    let audit = node.audit();
    assert_eq!(audit.lines().filter(|line| line.contains("RevokeIamToken")).count(), 7);
    for token in [&leaked, &own, &kept] {
        assert!(!audit.contains(token.as_str()), "a token is in the audit");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_account_is_for_who_may_make_its_keys() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let robot = node.create_account("robot").await;
    let maker = node.create_account("maker").await;
    let key = node.create_key(&maker.id).await;
    let token = node.token_of(&maker.id, &key).await;
    node.bind(binding("lockbox.payloadViewer", "serviceAccount", &robot.id)).await;
    let denied = impersonate(&node, &token, &robot.id).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    // Not with the right to make tokens alone: the account may more than its maker.
    node.bind(binding("iam.serviceAccounts.tokenCreator", "serviceAccount", &maker.id)).await;
    let denied = impersonate(&node, &token, &robot.id).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    node.bind(binding("lockbox.payloadViewer", "serviceAccount", &maker.id)).await;
    let as_robot = impersonate(&node, &token, &robot.id).await.unwrap();
    let request = wire::GetPayloadRequest { secret_id: secret.id.clone(), ..Default::default() };
    node.payloads().get(bearing(&as_robot, request)).await.unwrap();
    let further = impersonate(&node, &as_robot, &robot.id).await.unwrap_err();
    assert_eq!(further.code(), Code::PermissionDenied, "it makes no further ones");
    let key = iam::CreateKeyRequest { service_account_id: robot.id.clone(), ..Default::default() };
    let key = node.keys().create(bearing(&as_robot, key)).await.unwrap_err();
    assert_eq!(key.code(), Code::PermissionDenied, "nor a key, which would outlive it");
    let audit = node.audit();
    let read = audit.lines().find(|line| line.contains("GetPayload")).unwrap();
    let read: serde_json::Value = serde_json::from_str(read).unwrap();
    let info = &read["authentication"]["token_info"];
    assert_eq!(info["impersonator_id"], maker.id.as_str(), "{read}");
    assert_eq!(info["impersonator_type"], "SERVICE_ACCOUNT", "{read}");
    let missing = impersonate(&node, &token, "ajenobody").await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    assert_eq!(revoke(&node, &as_robot, &as_robot).await.unwrap(), robot.id);
    let dead = impersonate(&node, &as_robot, &robot.id).await.unwrap_err();
    assert_eq!(dead.code(), Code::Unauthenticated);
    node.stop().await;
}

/// Whoever holds a stolen token must not keep a way in by what it makes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_made_for_another_account_dies_with_all_that_made_it() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let account = node.create_account("robot").await;
    node.bind(binding("lockbox.payloadViewer", "serviceAccount", &account.id)).await;
    let read = async |token: &str| {
        let request =
            wire::GetPayloadRequest { secret_id: secret.id.clone(), ..Default::default() };
        let read = node.payloads().get(bearing(token, request)).await;
        read.map(drop).map_err(|status| status.code())
    };

    // Also when it was made for the same account.
    let key = node.create_key(&account.id).await;
    let own = node.token_of(&account.id, &key).await;
    let by_revoked = impersonate(&node, &own, &account.id).await.unwrap();
    read(&by_revoked).await.unwrap();
    revoke(&node, node.token(), &own).await.unwrap();
    assert_eq!(read(&by_revoked).await, Err(Code::Unauthenticated), "its maker's token");

    let again = node.token_of(&account.id, &key).await;
    let by_key = impersonate(&node, &again, &account.id).await.unwrap();
    read(&by_key).await.unwrap();
    node.delete_key(&key).await;
    assert_eq!(read(&by_key).await, Err(Code::Unauthenticated), "its maker's key");

    let maker = node.create_account("maker").await;
    for role in ["lockbox.payloadViewer", "iam.serviceAccounts.tokenCreator"] {
        node.bind(binding(role, "serviceAccount", &maker.id)).await;
    }
    let key = node.create_key(&maker.id).await;
    let token = node.token_of(&maker.id, &key).await;
    let by_maker = impersonate(&node, &token, &account.id).await.unwrap();
    read(&by_maker).await.unwrap();
    let suspend = iam::SuspendServiceAccountRequest {
        service_account_id: maker.id.clone(),
        ..Default::default()
    };
    node.accounts().suspend(node.request(suspend)).await.unwrap();
    assert_eq!(read(&by_maker).await, Err(Code::Unauthenticated), "its maker");
    node.stop().await;
}
