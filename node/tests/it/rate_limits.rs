//! The limit on one subject's requests: with a code and a time to wait, and for nobody else.

use lockbox_proto::google::rpc;
use lockbox_proto::yandex::cloud::iam::v1::RevokeIamTokenRequest;
use lockbox_proto::yandex::cloud::lockbox::v1::ListSecretsRequest;
use prost::Message;
use tonic::{Code, Status};

use crate::fixture::{Node, bearing};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let node = Node::limited("requests_per_second = 1\nrequests_burst = 20\n").await;
    let robot = node.create_account("robot").await;
    let key = node.create_key(&robot.id).await;
    let token = node.token_of(&robot.id, &key).await;
    let list = || ListSecretsRequest {
        folder_id: node.made.folder_id.to_string(),
        ..ListSecretsRequest::default()
    };
    // However slow the machine, some of a hundred come within a second.
    let mut refused = None;
    for _ in 0..100 {
        if let Err(status) = node.secrets().list(node.request(list())).await {
            refused = Some(status);
            break;
        }
    }
    let refused = refused.expect("a limit");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    let details = rpc::Status::decode(refused.details()).unwrap().details;
    let retry = details.iter().find_map(|any| any.to_msg::<rpc::RetryInfo>().ok()).unwrap();
    let delay = retry.retry_delay.unwrap();
    assert!(delay.seconds <= 1 && delay.seconds + i64::from(delay.nanos) > 0, "{delay:?}");
    // Another one has its own.
    let other = node.secrets().list(bearing(&token, list())).await.unwrap_err();
    assert_eq!(other.code(), Code::PermissionDenied);
    assert!(node.audit().lines().last().unwrap().contains("ListSecrets"));
    node.stop().await;
}

fn list(node: &Node) -> ListSecretsRequest {
    ListSecretsRequest { folder_id: node.made.folder_id.to_string(), ..Default::default() }
}

/// Repeats until the limit is reached: however slow the machine, some of a hundred come in time.
async fn exhaust<R>(ask: impl AsyncFn() -> Result<R, Status>) {
    for _ in 0..100 {
        if let Err(status) = ask().await
            && status.code() == Code::ResourceExhausted
        {
            return;
        }
    }
    panic!("no limit");
}

/// Whoever holds a stolen token that was revoked has only the limit of that token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_uses_up_nothing_of_its_owners() {
    let node = Node::limited("requests_per_second = 1\nrequests_burst = 5\n").await;
    let robot = node.create_account("robot").await;
    let key = node.create_key(&robot.id).await;
    let stolen = node.token_of(&robot.id, &key).await;
    let own = node.token_of(&robot.id, &key).await;
    let other = node.token_of(&robot.id, &key).await;
    let revoke = async |by: &str, token: &str| {
        let request = RevokeIamTokenRequest { iam_token: token.to_owned() };
        node.tokens().revoke(bearing(by, request)).await
    };
    let ask = async |token: &str| node.secrets().list(bearing(token, list(&node))).await;
    revoke(&own, &stolen).await.unwrap();
    for _ in 0..20 {
        let code = ask(&stolen).await.unwrap_err().code();
        assert!(matches!(code, Code::Unauthenticated | Code::ResourceExhausted), "{code:?}");
    }
    // It has no role; but it is asked for none before the limit.
    assert_eq!(ask(&own).await.unwrap_err().code(), Code::PermissionDenied);
    // And whoever has used up the limit with a token that counts keeps nobody from revoking it.
    exhaust(async || ask(&other).await).await;
    exhaust(async || ask(&own).await).await;
    revoke(&own, &other).await.unwrap();
    assert_eq!(ask(&other).await.unwrap_err().code(), Code::Unauthenticated);
    node.stop().await;
}

/// Only who has the key uses up the logins of its account.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_of_an_account_have_a_limit_once_they_are_verified() {
    let node = Node::limited("requests_per_second = 1\nrequests_burst = 5\n").await;
    let robot = node.create_account("robot").await;
    let key = node.create_key(&robot.id).await;
    let id = key.key.clone().unwrap().id;
    for _ in 0..20 {
        let forged = node.log_in(&robot.id, &id, node.pair.private_key_pem.clone()).await;
        assert_eq!(forged.unwrap_err().code(), Code::Unauthenticated);
    }
    let token = node.token_of(&robot.id, &key).await;
    exhaust(async || node.log_in(&robot.id, &id, key.private_key.clone().into()).await).await;
    // The token that it has goes on, and so do others' logins.
    let asked = node.secrets().list(bearing(&token, list(&node))).await;
    assert_eq!(asked.unwrap_err().code(), Code::PermissionDenied);
    let admin = (node.made.admin_id.to_string(), node.made.admin_key_id.to_string());
    node.log_in(&admin.0, &admin.1, node.pair.private_key_pem.clone()).await.unwrap();
    node.stop().await;
}
