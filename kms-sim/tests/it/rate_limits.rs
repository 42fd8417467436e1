//! The limit on one subject's requests: with a code and a time to wait, and for nobody else.

use lockbox_kms_sim::SYSTEM_KEY_ID;
use lockbox_proto::google::rpc;
use lockbox_proto::yandex::cloud::kms::v1::{ListSymmetricKeysRequest, SymmetricEncryptRequest};
use prost::Message;
use tonic::{Code, Request, Status};

use crate::requests::by;
use crate::server_support::{Asserted, ServerFixture, from_node};

fn list() -> ListSymmetricKeysRequest {
    ListSymmetricKeysRequest { folder_id: "folder".to_owned(), ..Default::default() }
}

/// Repeats until the limit is reached: however slow the machine, some of a hundred come within a
/// second.
async fn exhausted<R>(ask: impl AsyncFn() -> Result<R, Status>) -> Status {
    for _ in 0..100 {
        if let Err(status) = ask().await {
            assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
            return status;
        }
    }
    panic!("no limit");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let server = ServerFixture::start(|config| {
        config.limits.requests_per_second = 1;
        config.limits.requests_burst = 20;
    })
    .await;
    let (keys, of_node) = (server.keys(None).await, server.keys(Some("node-1")).await);
    let refused = exhausted(async || keys.clone().list(by(list())).await).await;
    assert_eq!(refused.message(), "too many requests of this subject");
    let details = rpc::Status::decode(refused.details()).unwrap().details;
    let retry = details.iter().find_map(|any| any.to_msg::<rpc::RetryInfo>().ok()).unwrap();
    let delay = retry.retry_delay.unwrap();
    assert!(delay.seconds <= 1 && delay.seconds + i64::from(delay.nanos) > 0, "{delay:?}");
    let audit = std::fs::read_to_string(server.data_dir().join("audit.jsonl")).unwrap();
    assert!(audit.lines().last().unwrap().contains("too many requests"), "no record of it");

    // Another one has its own limit, the same one when a node asks for it.
    let other = Asserted::new("other", "kms.admin");
    of_node.clone().list(from_node(list(), &other)).await.unwrap();
    exhausted(async || of_node.clone().list(from_node(list(), &other)).await).await;
    // Nodes in their own name have none.
    let crypto = server.crypto(Some("node-1")).await;
    for _ in 0..50 {
        let wrap = SymmetricEncryptRequest {
            key_id: SYSTEM_KEY_ID.to_owned(),
            plaintext: b"keyring".to_vec(),
            ..SymmetricEncryptRequest::default()
        };
        crypto.clone().encrypt(Request::new(wrap)).await.unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_limit_nothing_is_refused() {
    let server = ServerFixture::start(|_| {}).await;
    let mut keys = server.keys(None).await;
    for _ in 0..200 {
        keys.list(by(list())).await.unwrap();
    }
    server.stop().await;
}
