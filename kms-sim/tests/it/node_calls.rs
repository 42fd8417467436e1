//! What only nodes ask, and calls whose callers do not wait.

use std::time::Duration;

use lockbox_kms_sim::ledger::listing;
use lockbox_kms_sim::store::Db;
use lockbox_kms_sim::{SYSTEM_KEY_ID, engine};
use lockbox_proto::lockbox::kms::v1::CheckAttachRequest;
use lockbox_proto::yandex::cloud::kms::v1::{
    CreateSymmetricKeyRequest, SymmetricAlgorithm, SymmetricEncryptRequest, SymmetricKey,
    UpdateSymmetricKeyRequest, symmetric_key,
};
use lockbox_proto::yandex::cloud::operation::operation;
use tonic::{Code, Request};

use crate::server_support::{Asserted, ServerFixture, TOKEN, from_node, with_token};

async fn key_of(server: &ServerFixture) -> String {
    let request = CreateSymmetricKeyRequest {
        folder_id: "folder".to_owned(),
        default_algorithm: SymmetricAlgorithm::Aes256.into(),
        ..CreateSymmetricKeyRequest::default()
    };
    let created = server.keys(None).await.create(with_token(request, TOKEN)).await.unwrap();
    let Some(operation::Result::Response(any)) = created.into_inner().result else { panic!() };
    any.to_msg::<SymmetricKey>().unwrap().id
}

fn ledger_records(data_dir: &std::path::Path) -> u64 {
    let db = Db::open_read_only(&engine::db_directory(&data_dir.join("data"))).unwrap();
    db.view().head().unwrap().ledger_records
}

/// `contract §13` no. 19, without an operation on the bill.
#[tokio::test(flavor = "multi_thread")]
async fn whether_a_key_may_be_attached_is_told_to_nodes_and_not_billed() {
    let server = ServerFixture::start(|_| {}).await;
    let key_id = key_of(&server).await;
    let mut node = server.access(Some("node-1")).await;
    let check = |key_id: &str| CheckAttachRequest { key_id: key_id.to_owned() };
    for role in ["kms.keys.user", "kms.keys.encrypter", "kms.keys.decrypter", "kms.editor"] {
        // No id of a crypto call: there is none.
        let asserted = Asserted { request: Vec::new(), ..Asserted::new("maker", role) };
        let answer = node.check_attach(from_node(check(&key_id), &asserted)).await.unwrap();
        assert!(answer.metadata().get("kms-index").is_some(), "{role}");
    }
    let maker = Asserted::new("maker", "kms.keys.user");
    for role in ["kms.viewer", "lockbox.admin"] {
        let stranger = from_node(check(&key_id), &Asserted::new("stranger", role));
        let denied = node.check_attach(stranger).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied, "{role}");
        assert!(denied.metadata().get("kms-index").is_some());
    }
    let missing = node.check_attach(from_node(check("abjnowhere"), &maker)).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
    let system = node.check_attach(from_node(check(SYSTEM_KEY_ID), &maker)).await.unwrap_err();
    assert_eq!(system.code(), Code::PermissionDenied);
    // A node in its own name and a user have other ways.
    let own = node.check_attach(Request::new(check(&key_id))).await.unwrap_err();
    assert_eq!(own.code(), Code::PermissionDenied);
    let mut user = server.access(None).await;
    let user = user.check_attach(with_token(check(&key_id), TOKEN)).await.unwrap_err();
    assert_eq!(user.code(), Code::PermissionDenied);

    let off = UpdateSymmetricKeyRequest {
        key_id: key_id.clone(),
        update_mask: Some(prost_types::FieldMask { paths: vec!["status".to_owned()] }),
        status: symmetric_key::Status::Inactive.into(),
        ..UpdateSymmetricKeyRequest::default()
    };
    server.keys(None).await.update(with_token(off, TOKEN)).await.unwrap();
    let inactive = node.check_attach(from_node(check(&key_id), &maker)).await.unwrap_err();
    assert_eq!(inactive.code(), Code::FailedPrecondition);
    let audit = std::fs::read_to_string(server.data_dir().join("audit.jsonl")).unwrap();
    assert_eq!(audit.lines().filter(|l| l.contains("CheckSymmetricKeyAttach")).count(), 11);
    let directory = server.stop().await;
    assert_eq!(ledger_records(directory.path()), 0);
}

/// What the ledger holds, the audit has as done, whether or not the caller waited for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_billed_call_is_audited_as_done_when_its_caller_has_gone() {
    let server = ServerFixture::start(|_| {}).await;
    let key_id = key_of(&server).await;
    let admin = Asserted::new("admin", "kms.admin");
    let mut waited = 0;
    for step in 0..60_u64 {
        let asserted = Asserted { request: step.to_be_bytes().repeat(4), ..admin.clone() };
        let message = SymmetricEncryptRequest {
            key_id: key_id.clone(),
            plaintext: vec![1; 32],
            ..SymmetricEncryptRequest::default()
        };
        let mut client = server.crypto(Some("node-1")).await;
        let mut request = from_node(message, &asserted);
        let patience = Duration::from_micros(50 * step);
        if step % 2 == 0 {
            request.set_timeout(patience);
        }
        let answered = tokio::time::timeout(patience, client.encrypt(request)).await;
        waited += u64::from(matches!(answered, Ok(Ok(_))));
    }
    let directory = server.stop().await;
    let audit = std::fs::read_to_string(directory.path().join("data/audit.jsonl")).unwrap();
    let done = |line: &&str| line.contains("kms.Encrypt\"") && line.contains("\"DONE\"");
    let done = audit.lines().filter(done).count() as u64;
    let billed = ledger_records(directory.path());
    assert_eq!(done, billed);
    assert!(billed >= waited);
}

/// The record of a crypto call for a node names it as the ledger does, whatever became of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_crypto_call_is_audited_under_the_id_that_the_ledger_has() {
    let server = ServerFixture::start(|_| {}).await;
    let key_id = key_of(&server).await;
    let encrypt = || SymmetricEncryptRequest {
        key_id: key_id.clone(),
        plaintext: vec![1; 32],
        ..SymmetricEncryptRequest::default()
    };
    let mut node = server.crypto(Some("node-1")).await;
    let asserted = Asserted { request: vec![0xab; 16], ..Asserted::new("admin", "kms.admin") };
    node.encrypt(from_node(encrypt(), &asserted)).await.unwrap();
    let refused = Asserted { request: vec![0xcd; 16], ..Asserted::new("viewer", "kms.viewer") };
    node.encrypt(from_node(encrypt(), &refused)).await.unwrap_err();
    server.crypto(None).await.encrypt(with_token(encrypt(), TOKEN)).await.unwrap();
    let directory = server.stop().await;

    let audit = std::fs::read_to_string(directory.path().join("data/audit.jsonl")).unwrap();
    let records = audit.lines().filter(|line| line.contains("kms.Encrypt\""));
    let told: Vec<_> = records
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["kms_requests"].take())
        .collect();
    let request = |id: &str, answered: bool| {
        serde_json::json!([{
            "kms_request_id": id.repeat(16), "key_id": key_id, "operation": "Encrypt",
            "answered": answered,
        }])
    };
    // A user's own call is nobody's request.
    assert_eq!(told, [request("ab", true), request("cd", false), serde_json::Value::Null]);

    let db = Db::open_read_only(&engine::db_directory(&directory.path().join("data"))).unwrap();
    let mut lines = Vec::new();
    listing::list(&db.view(), &mut lines).unwrap();
    let lines: Vec<serde_json::Value> = String::from_utf8(lines)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let ids: Vec<_> = lines.iter().map(|line| line["kms_request_id"].as_str()).collect();
    assert_eq!(ids, [Some("ab".repeat(16).as_str()), None]);
    assert_eq!(lines[0]["request_id"], "client-request");
    assert_eq!(lines[0]["node"], "node-1.lockbox.internal");
    assert!(lines.iter().all(|line| line["billable"] == true && line["key_id"] == *key_id));
}
