//! While the audit takes no records nothing is done and nothing is billed.

use std::time::Duration;

use lockbox_platform::audit::AuditFiles;
use lockbox_platform::audit::verify::verify;
use lockbox_proto::lockbox::kms::v1::UndeleteKeyRequest;
use lockbox_proto::yandex::cloud::kms::v1::{
    CreateSymmetricKeyRequest, DeleteSymmetricKeyRequest, GetSymmetricKeyRequest,
    SymmetricAlgorithm, SymmetricEncryptRequest, SymmetricKey,
};
use lockbox_proto::yandex::cloud::operation::operation;
use tokio::time::Instant;
use tonic::{Code, Request, Status};

use crate::server_support::{Asserted, ServerFixture, TOKEN, from_node, with_token};

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(30);

async fn new_key(server: &ServerFixture, name: &str) -> String {
    let request = CreateSymmetricKeyRequest {
        folder_id: "folder".to_owned(),
        name: name.to_owned(),
        default_algorithm: SymmetricAlgorithm::Aes256.into(),
        ..CreateSymmetricKeyRequest::default()
    };
    let created = server.keys(None).await.create(with_token(request, TOKEN)).await.unwrap();
    match created.into_inner().result {
        Some(operation::Result::Response(any)) => any.to_msg::<SymmetricKey>().unwrap().id,
        other => panic!("no key: {other:?}"),
    }
}

async fn get(server: &ServerFixture, key_id: &str) -> Result<(), Status> {
    let request = GetSymmetricKeyRequest { key_id: key_id.to_owned() };
    server.keys(None).await.get(with_token(request, TOKEN)).await.map(drop)
}

fn encrypt(key_id: &str) -> SymmetricEncryptRequest {
    SymmetricEncryptRequest {
        key_id: key_id.to_owned(),
        plaintext: b"p".to_vec(),
        ..SymmetricEncryptRequest::default()
    }
}

/// Crypto calls that were charged so far.
fn billed(server: &ServerFixture) -> Vec<String> {
    let metrics = server.metrics_text();
    let lines = metrics.lines().filter(|line| line.starts_with("kms_billed_operations_total"));
    lines.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_recorded_is_neither_done_nor_billed() {
    let server = ServerFixture::start(|_| {}).await;
    let (kept, deleted) = (new_key(&server, "kept").await, new_key(&server, "deleted").await);
    let delete = |key_id: &str| DeleteSymmetricKeyRequest { key_id: key_id.to_owned() };
    let mut keys = server.keys(None).await;
    keys.delete(with_token(delete(&deleted), TOKEN)).await.unwrap();
    let mut crypto = server.crypto(None).await;
    crypto.encrypt(with_token(encrypt(&kept), TOKEN)).await.unwrap();

    // As a program does that rotates files of others.
    let path = server.data_dir().join("audit.jsonl");
    let moved = server.data_dir().join("audit.moved");
    std::fs::rename(&path, &moved).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while get(&server, &kept).await.is_ok() {
        assert!(Instant::now() < deadline, "nobody notices");
    }
    let before = billed(&server);
    assert!(!before.is_empty());
    let mut node = server.crypto(Some("node-1")).await;
    let asserted = Asserted::new("admin", "kms.admin");
    let mut operator = server.admin(Some("operator")).await;
    let undelete = UndeleteKeyRequest { key_id: deleted.clone() };
    for refused in [
        keys.delete(with_token(delete(&kept), TOKEN)).await.map(drop),
        crypto.encrypt(with_token(encrypt(&kept), TOKEN)).await.map(drop),
        node.encrypt(from_node(encrypt(&kept), &asserted)).await.map(drop),
        operator.undelete_key(Request::new(undelete)).await.map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
        let outcome = refused.metadata().get("lockbox-outcome");
        assert_eq!(outcome.unwrap(), "not-proposed", "{refused:?}");
    }
    assert_eq!(billed(&server), before);
    assert!(server.metrics_text().contains("kms_audit_healthy 0"));

    std::fs::rename(&moved, &path).unwrap();
    while get(&server, &kept).await.is_err() {
        assert!(Instant::now() < deadline + PATIENCE, "it does not go on");
    }
    assert_eq!(get(&server, &deleted).await.unwrap_err().code(), Code::NotFound);
    crypto.encrypt(with_token(encrypt(&kept), TOKEN)).await.unwrap();
    let findings = verify(&AuditFiles::of(&path), &[]).unwrap();
    assert_eq!(findings.problems_total, 0, "{:#?}", findings.problems);
    server.stop().await;
}
