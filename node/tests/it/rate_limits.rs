//! The limit on one subject's requests: with a code and a time to wait, and for nobody else.

use lockbox_proto::google::rpc;
use lockbox_proto::yandex::cloud::lockbox::v1::ListSecretsRequest;
use prost::Message;
use tonic::Code;

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
