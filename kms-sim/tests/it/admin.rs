//! What operators do: who is one, and `kms-sim admin` as a program.

use std::process::Command;

use lockbox_platform::certificates;
use lockbox_proto::lockbox::kms::v1::UndeleteKeyRequest;
use lockbox_proto::yandex::cloud::kms::v1::{
    CreateSymmetricKeyRequest, DeleteSymmetricKeyRequest, GetSymmetricKeyRequest,
    SymmetricAlgorithm, SymmetricKey,
};
use lockbox_proto::yandex::cloud::operation::operation;
use tonic::{Code, Request};

use crate::server_support::{Asserted, ServerFixture, TOKEN, from_node, with_token};

async fn deleted(server: &ServerFixture) -> SymmetricKey {
    let mut keys = server.keys(None).await;
    let create = CreateSymmetricKeyRequest {
        folder_id: "folder".to_owned(),
        name: "lost".to_owned(),
        default_algorithm: SymmetricAlgorithm::Aes256.into(),
        ..CreateSymmetricKeyRequest::default()
    };
    let created = keys.create(with_token(create, TOKEN)).await.unwrap().into_inner();
    let Some(operation::Result::Response(any)) = created.result else { panic!() };
    let key: SymmetricKey = any.to_msg().unwrap();
    let delete = DeleteSymmetricKeyRequest { key_id: key.id.clone() };
    keys.delete(with_token(delete, TOKEN)).await.unwrap();
    key
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_operators_certificate_takes_a_deletion_back() {
    let server = ServerFixture::start(|_| {}).await;
    let key = deleted(&server).await;
    let undelete = || UndeleteKeyRequest { key_id: key.id.clone() };
    for (identity, expected) in
        [(None, Code::Unauthenticated), (Some("node-1"), Code::PermissionDenied)]
    {
        let mut admin = server.admin(identity).await;
        let asserted = Asserted::new("admin", "kms.admin");
        for request in [
            Request::new(undelete()),
            with_token(undelete(), TOKEN),
            from_node(undelete(), &asserted),
        ] {
            let refused = admin.undelete_key(request).await.unwrap_err();
            assert_eq!(refused.code(), expected, "{identity:?}");
        }
    }
    let mut operator = server.admin(Some("operator")).await;
    let wrong = UndeleteKeyRequest { key_id: String::new() };
    let refused = operator.undelete_key(Request::new(wrong)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let restored = operator.undelete_key(Request::new(undelete())).await.unwrap().into_inner();
    assert_eq!(restored.key, Some(key.clone()));
    let refused = operator.undelete_key(Request::new(undelete())).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let get = GetSymmetricKeyRequest { key_id: key.id.clone() };
    let mut keys = server.keys(None).await;
    assert_eq!(keys.get(with_token(get.clone(), TOKEN)).await.unwrap().into_inner(), key);
    // An operator is one for this alone.
    let refused = server.keys(Some("operator")).await.get(Request::new(get)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);

    let audit = std::fs::read_to_string(server.data_dir().join("audit.jsonl")).unwrap();
    let events: Vec<serde_json::Value> = audit
        .lines()
        .filter(|line| line.contains("kms.CancelDeleteSymmetricKey\""))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 9);
    let done: Vec<_> = events.iter().filter(|event| event["event_status"] == "DONE").collect();
    assert_eq!(done.len(), 1);
    assert_eq!(done[0]["authentication"]["subject_id"], "operator.lockbox.internal");
    assert_eq!(done[0]["details"]["key_name"], "lost");
    // A certificate of another name is on record by that name.
    let denied: Vec<_> = events.iter().filter(|event| event["error"]["code"] == 7).collect();
    assert_eq!(denied.len(), 3);
    for event in denied {
        assert_eq!(event["authentication"]["subject_id"], "node-1.lockbox.internal", "{event}");
        assert_eq!(event["authorization"]["authorized"], false, "{event}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_restores_a_key() {
    let server = ServerFixture::start(|_| {}).await;
    let key = deleted(&server).await;
    let directory = server.certificates();
    let endpoint = server.addr().to_string();
    // Flags of the connection stand before the subcommand or behind it.
    let run = |stem: &str, endpoint: &str, flags_first: bool| {
        let files = certificates::leaf_files(directory, stem);
        let ca = directory.join("ca.pem");
        let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let flags = [
            ["--endpoint".to_owned(), endpoint.to_owned()],
            ["--ca".to_owned(), path(&ca)],
            ["--certificate".to_owned(), path(&files.certificate)],
            ["--key".to_owned(), path(&files.key)],
        ];
        let (flags, command) = (flags.concat(), ["undelete-key".to_owned(), key.id.clone()]);
        let line = if flags_first {
            [&flags[..], &command[..]].concat()
        } else {
            [&command[..], &flags[..]].concat()
        };
        let mut program = Command::new(env!("CARGO_BIN_EXE_kms-sim"));
        let output = program.arg("admin").args(line).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    for flags_first in [true, false] {
        let (code, _, error) = run("node-1", &endpoint, flags_first);
        assert_eq!(code, 1, "{error}");
        assert!(error.starts_with("kms-sim: PERMISSION_DENIED: "), "{error}");
    }
    let (code, output, error) = run("operator", &endpoint, false);
    assert_eq!(code, 0, "{error}");
    assert_eq!(output, format!("restored symmetric key {} (lost)\n", key.id));
    let (code, _, error) = run("operator", &endpoint, true);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains("is not deleted"), "{error}");
    let (code, _, error) = run("operator", "localhost:1", true);
    assert_eq!(code, 3, "{error}");
    assert!(error.starts_with("kms-sim: cannot reach localhost:1: "), "{error}");
    let mut program = Command::new(env!("CARGO_BIN_EXE_kms-sim"));
    let output = program.args(["admin", "undelete-key", &key.id]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("--certificate is needed"), "{error}");
    server.stop().await;
}
