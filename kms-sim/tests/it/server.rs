//! The server as its callers see it: over TLS, with certificates, assertions and tokens.

use std::net::SocketAddr;

use lockbox_core::Randomness;
use lockbox_kms_sim::config::{ClusterConfig, ClusterNodeConfig, PolicyConfig};
use lockbox_kms_sim::ledger::verify::verify;
use lockbox_kms_sim::store::Db;
use lockbox_kms_sim::{SYSTEM_KEY_ID, engine};
use lockbox_platform::exit::ExitCode;
use lockbox_platform::system::SystemRandom;
use lockbox_proto::yandex::cloud::kms::v1::{
    CreateSymmetricKeyMetadata, CreateSymmetricKeyRequest, GenerateDataKeyRequest,
    ListSymmetricKeysRequest, RotateSymmetricKeyRequest, SymmetricAlgorithm,
    SymmetricDecryptRequest, SymmetricEncryptRequest, SymmetricEncryptResponse, SymmetricKey,
    UpdateSymmetricKeyRequest, symmetric_key,
};
use lockbox_proto::yandex::cloud::operation::{GetOperationRequest, Operation, operation};
use tonic::{Code, Request, Response, Status};

use crate::canary::search;
use crate::server_support::{
    Asserted, CLUSTER_DOWN, ServerFixture, TOKEN, TOKEN_REVOKED, client_tls, fake_cluster,
    from_node, with_token,
};

const FOLDER: &str = "folder";

fn new_key(name: &str) -> CreateSymmetricKeyRequest {
    CreateSymmetricKeyRequest {
        folder_id: FOLDER.to_owned(),
        name: name.to_owned(),
        default_algorithm: SymmetricAlgorithm::Aes256.into(),
        ..CreateSymmetricKeyRequest::default()
    }
}

fn encrypt(key_id: &str, plaintext: &[u8]) -> SymmetricEncryptRequest {
    SymmetricEncryptRequest {
        key_id: key_id.to_owned(),
        plaintext: plaintext.to_vec(),
        ..SymmetricEncryptRequest::default()
    }
}

fn decrypt(key_id: &str, ciphertext: &[u8]) -> SymmetricDecryptRequest {
    SymmetricDecryptRequest {
        key_id: key_id.to_owned(),
        ciphertext: ciphertext.to_vec(),
        ..SymmetricDecryptRequest::default()
    }
}

fn code<T>(result: &Result<Response<T>, Status>) -> Code {
    result.as_ref().map_or_else(Status::code, |_| Code::Ok)
}

fn response_of(operation: &Operation) -> SymmetricKey {
    assert!(operation.done);
    match &operation.result {
        Some(operation::Result::Response(any)) => any.to_msg().unwrap(),
        other => panic!("no response: {other:?}"),
    }
}

fn index<T>(response: &Response<T>) -> u64 {
    response.metadata().get("kms-index").unwrap().to_str().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_act_for_whom_they_assert_and_users_by_their_tokens() {
    let server = ServerFixture::start(|_| {}).await;
    let mut node_keys = server.keys(Some("node-1")).await;
    let mut node = server.crypto(Some("node-1")).await;
    let mut user = server.crypto(None).await;
    let admin = Asserted::new("admin", "kms.admin");

    let created = node_keys.create(from_node(new_key("one"), &admin)).await.unwrap();
    let key_id = response_of(created.get_ref()).id;
    let made = node.encrypt(from_node(encrypt(&key_id, b"value"), &admin)).await.unwrap();
    assert!(index(&made) > index(&created));
    assert!(made.metadata().get("x-request-id").is_some());
    let ciphertext = made.into_inner().ciphertext;
    let opened = user.decrypt(with_token(decrypt(&key_id, &ciphertext), TOKEN)).await.unwrap();
    assert_eq!(opened.into_inner().plaintext, b"value");

    // An assertion is nothing without a node's certificate, whatever else is there.
    for identity in [None, Some("kms")] {
        let mut client = server.crypto(identity).await;
        let refused = client.encrypt(from_node(encrypt(&key_id, b"x"), &admin)).await;
        assert_eq!(code(&refused), Code::Unauthenticated, "{identity:?}");
        let refused = client.encrypt(Request::new(encrypt(&key_id, b"x"))).await;
        assert_eq!(code(&refused), Code::Unauthenticated, "{identity:?}");
    }
    // A node in its own name has the system key and nothing else.
    let own = node.encrypt(Request::new(encrypt(SYSTEM_KEY_ID, b"keyring"))).await;
    assert_eq!(code(&own), Code::Ok);
    let refused = node.encrypt(Request::new(encrypt(&key_id, b"x"))).await;
    assert_eq!(code(&refused), Code::PermissionDenied);
    for request in [
        from_node(encrypt(SYSTEM_KEY_ID, b"x"), &admin),
        with_token(encrypt(SYSTEM_KEY_ID, b"x"), TOKEN),
    ] {
        assert_eq!(code(&node.encrypt(request).await), Code::PermissionDenied);
    }
    // Out of time, and without the id that retries are recognised by.
    let old = Asserted { issued_before_ms: 8_000, ..admin.clone() };
    let refused = node.encrypt(from_node(encrypt(&key_id, b"x"), &old)).await;
    assert_eq!(code(&refused), Code::Unauthenticated);
    let nameless = Asserted { request: Vec::new(), ..admin.clone() };
    let refused = node.encrypt(from_node(encrypt(&key_id, b"x"), &nameless)).await;
    assert_eq!(code(&refused), Code::InvalidArgument);
    // Without a role, a refusal that says at which commit it was decided.
    let stranger = Asserted::new("stranger", "lockbox.admin");
    let refused = node.encrypt(from_node(encrypt(&key_id, b"x"), &stranger)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.metadata().get("kms-index").is_some());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_judged_by_the_cluster_at_each_call() {
    let server = ServerFixture::start(|_| {}).await;
    let mut keys = server.keys(None).await;
    let created = keys.create(with_token(new_key("one"), TOKEN)).await;
    assert_eq!(code(&created), Code::Ok);
    let refused = keys.create(with_token(new_key("two"), TOKEN_REVOKED)).await;
    assert_eq!(code(&refused), Code::Unauthenticated);
    let unavailable = keys.create(with_token(new_key("two"), CLUSTER_DOWN)).await;
    assert_eq!(code(&unavailable), Code::Unavailable);
    let mut basic = Request::new(new_key("two"));
    basic.metadata_mut().insert("authorization", "Basic abc".parse().unwrap());
    assert_eq!(code(&keys.create(basic).await), Code::Unauthenticated);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_the_policy_file_decides() {
    let server = ServerFixture::start(|config| {
        config.cluster = None;
        let file = config.data_dir.with_file_name("policy.toml");
        std::fs::write(&file, crate::server_support::policy("static-token")).unwrap();
        config.policy = Some(PolicyConfig { file });
    })
    .await;
    let mut keys = server.keys(None).await;
    assert_eq!(code(&keys.create(with_token(new_key("one"), "static-token")).await), Code::Ok);
    let refused = keys.create(with_token(new_key("one"), TOKEN)).await;
    assert_eq!(code(&refused), Code::Unauthenticated);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_those_of_the_contract() {
    let server = ServerFixture::start(|_| {}).await;
    let mut keys = server.keys(None).await;
    let mut crypto = server.crypto(None).await;
    let created = keys.create(with_token(new_key("one"), TOKEN)).await.unwrap();
    let key_id = response_of(created.get_ref()).id;
    let mut send = async |plaintext: Vec<u8>, context: usize| {
        let request = SymmetricEncryptRequest {
            aad_context: vec![1; context],
            ..encrypt(&key_id, &plaintext)
        };
        crypto.encrypt(with_token(request, TOKEN)).await
    };
    assert_eq!(code(&send(vec![7; 32_768], 8_192).await), Code::Ok);
    assert_eq!(code(&send(vec![7; 32_769], 0).await), Code::InvalidArgument);
    assert_eq!(code(&send(vec![7; 1], 8_193).await), Code::InvalidArgument);
    assert_eq!(code(&send(Vec::new(), 0).await), Code::InvalidArgument);
    let large = decrypt(&key_id, &vec![0; 64 * 1024 + 1]);
    let refused = crypto.decrypt(with_token(large, TOKEN)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("65536"), "{}", refused.message());
    let wrong = crypto.decrypt(with_token(decrypt(&key_id, &[0; 100]), TOKEN)).await.unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert_eq!(wrong.message(), "the ciphertext cannot be decrypted with this key and context");

    let create = |change: fn(&mut CreateSymmetricKeyRequest)| {
        let mut request = new_key("x");
        change(&mut request);
        with_token(request, TOKEN)
    };
    for (request, expected) in [
        (create(|r| r.default_algorithm = 0), Code::InvalidArgument),
        (create(|r| r.default_algorithm = 4), Code::Unimplemented),
        (create(|r| r.default_algorithm = 5), Code::Unimplemented),
        (create(|r| r.name = "n".repeat(101)), Code::InvalidArgument),
        (
            create(|r| drop(r.labels.insert("Upper".to_owned(), String::new()))),
            Code::InvalidArgument,
        ),
        (create(|r| r.folder_id = "nowhere".to_owned()), Code::NotFound),
        (
            create(|r| r.rotation_period = Some(prost_types::Duration { seconds: 60, nanos: 0 })),
            Code::InvalidArgument,
        ),
    ] {
        assert_eq!(code(&keys.create(request).await), expected);
    }
    let spec = GenerateDataKeyRequest { key_id, data_key_spec: 4, ..Default::default() };
    let refused = crypto.generate_data_key(with_token(spec, TOKEN)).await;
    assert_eq!(code(&refused), Code::InvalidArgument);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutations_answer_with_the_declared_types_and_repeat_by_key() {
    let server = ServerFixture::start(|_| {}).await;
    let mut keys = server.keys(None).await;
    let mut operations = server.operations().await;
    let keyed = |name: &str| {
        let mut request = with_token(new_key(name), TOKEN);
        let key = "0b0c1f9e-6a4f-4a57-8a3c-9d8e7f6a5b4c";
        request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
        request
    };
    let created = keys.create(keyed("one")).await.unwrap().into_inner();
    let key = response_of(&created);
    let metadata: CreateSymmetricKeyMetadata = created.metadata.clone().unwrap().to_msg().unwrap();
    assert_eq!(metadata.key_id, key.id);
    assert_eq!(metadata.primary_version_id, key.primary_version.clone().unwrap().id);
    assert_eq!(keys.create(keyed("one")).await.unwrap().into_inner(), created);
    assert_eq!(code(&keys.create(keyed("two")).await), Code::InvalidArgument);
    let get = GetOperationRequest { operation_id: created.id.clone() };
    let read = operations.get(with_token(get, TOKEN)).await.unwrap().into_inner();
    assert_eq!(read, created);

    let rotate = RotateSymmetricKeyRequest { key_id: key.id.clone() };
    let rotated = keys.rotate(with_token(rotate, TOKEN)).await.unwrap().into_inner();
    let update = |paths: &[&str], status: symmetric_key::Status| {
        let paths = paths.iter().map(|path| (*path).to_owned()).collect();
        let request = UpdateSymmetricKeyRequest {
            key_id: key.id.clone(),
            update_mask: Some(prost_types::FieldMask { paths }),
            status: status.into(),
            ..UpdateSymmetricKeyRequest::default()
        };
        with_token(request, TOKEN)
    };
    let inactive = update(&["status"], symmetric_key::Status::Inactive);
    let updated = keys.update(inactive).await.unwrap().into_inner();
    assert_eq!(response_of(&updated).status(), symmetric_key::Status::Inactive);
    for wrong in [
        update(&[], symmetric_key::Status::Active),
        update(&["folder_id"], symmetric_key::Status::Active),
        update(&["status"], symmetric_key::Status::Creating),
    ] {
        assert_eq!(code(&keys.update(wrong).await), Code::InvalidArgument);
    }
    for (operation, method) in [(created, "Create"), (rotated, "Rotate"), (updated, "Update")] {
        let path = format!("/yandex.cloud.kms.v1.SymmetricKeyService/{method}");
        let declared = lockbox_proto::operations::OPERATION_TYPES;
        let declared = declared.iter().find(|types| types.grpc_path == path).unwrap();
        let url = |name: &str| format!("type.googleapis.com/{name}");
        assert_eq!(operation.metadata.unwrap().type_url, url(declared.metadata));
        let Some(operation::Result::Response(response)) = operation.result else { panic!() };
        assert_eq!(response.type_url, url(declared.response));
    }
    let list = ListSymmetricKeysRequest { folder_id: FOLDER.to_owned(), ..Default::default() };
    let listed = keys.list(with_token(list, TOKEN)).await.unwrap().into_inner();
    assert_eq!(listed.keys.len(), 1);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_is_audited_counted_and_leaves_no_secret_behind() {
    let server = ServerFixture::start(|_| {}).await;
    let mut keys = server.keys(Some("node-1")).await;
    let mut crypto = server.crypto(Some("node-1")).await;
    let admin = Asserted::new("admin", "kms.admin");
    let created = keys.create(from_node(new_key("audited"), &admin)).await.unwrap();
    let key_id = response_of(created.get_ref()).id;
    let mut canary = [0; 32];
    SystemRandom.fill(&mut canary);
    let request = from_node(encrypt(&key_id, &canary), &admin);
    let made: SymmetricEncryptResponse = crypto.encrypt(request).await.unwrap().into_inner();
    let opening = Asserted { request: vec![2; 32], ..admin.clone() };
    let open = decrypt(&key_id, &made.ciphertext);
    let opened = crypto.decrypt(from_node(open, &opening)).await.unwrap().into_inner();
    assert_eq!(opened.plaintext, canary);
    let stranger = Asserted::new("stranger", "lockbox.admin");
    let refused = crypto.encrypt(from_node(encrypt(&key_id, &canary), &stranger)).await;
    assert_eq!(code(&refused), Code::PermissionDenied);
    let refused = crypto.encrypt(with_token(encrypt(&key_id, &canary), TOKEN_REVOKED)).await;
    assert_eq!(code(&refused), Code::Unauthenticated);

    let metrics = server.metrics_text();
    for line in [
        "kms_crypto_operations_total{code=\"OK\",operation=\"Encrypt\"} 1",
        "kms_crypto_operations_total{code=\"PERMISSION_DENIED\",operation=\"Encrypt\"} 1",
        "kms_billed_operations_total{operation=\"Decrypt\"} 1",
        "kms_ledger_sync_duration_seconds_count 4",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    let audit = std::fs::read_to_string(server.data_dir().join("audit.jsonl")).unwrap();
    let records: Vec<serde_json::Value> =
        audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| -> Vec<&serde_json::Value> {
        let event = format!("yandex.cloud.audit.kms.{event}");
        records.iter().filter(|record| record["event_type"] == event.as_str()).collect()
    };
    assert_eq!(of("CreateSymmetricKey")[0]["details"]["key_name"], "audited");
    assert_eq!(of("Decrypt")[0]["details"]["key_id"], key_id.as_str());
    assert_eq!(of("Decrypt")[0]["request_metadata"]["remote_address"], "203.0.113.7");
    assert_eq!(of("Decrypt")[0]["request_metadata"]["remote_port"], "4711");
    let encrypts = of("Encrypt");
    assert_eq!(encrypts.len(), 3);
    assert_eq!(encrypts[0]["authentication"]["subject_id"], "admin");
    assert_eq!(encrypts[1]["authorization"]["authorized"], false);
    assert_eq!(encrypts[1]["details"]["key_name"], "audited");
    assert_eq!(encrypts[2]["authentication"]["authenticated"], false);
    assert_eq!(encrypts[2]["error"]["code"], 16);

    let data_dir = server.stop().await;
    for secret in [canary.as_slice(), TOKEN_REVOKED.as_bytes()] {
        assert_eq!(search(data_dir.path(), secret), None);
    }
    let db = Db::open_read_only(&engine::db_directory(&data_dir.path().join("data"))).unwrap();
    assert_eq!(verify(&db.view()).unwrap().problems, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_node_that_does_not_answer_is_passed_over() {
    let answering = fake_cluster().await;
    let nobody: SocketAddr = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let node = |address: SocketAddr| ClusterNodeConfig {
        address: address.to_string(),
        server_name: "node-1.lockbox.internal".to_owned(),
    };
    let nodes = vec![node(nobody), node(answering.addr())];
    let certificates = answering.certificates();
    let server = ServerFixture::start_with(certificates, |config| {
        config.cluster = Some(ClusterConfig { nodes, ca: None });
    })
    .await;
    let mut keys = server.keys(None).await;
    assert_eq!(code(&keys.create(with_token(new_key("one"), TOKEN)).await), Code::Ok);
    server.stop().await;
    answering.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prevents_a_start_is_one_sentence_with_its_own_code() {
    let server = ServerFixture::start(|_| {}).await;
    let taken = server.addr();
    let failed = ServerFixture::try_start(client_tls(), |config| config.api.listen = taken).await;
    let error = failed.err().unwrap();
    assert_eq!(error.exit_code(), ExitCode::PortInUse);
    assert!(error.to_string().contains(&taken.to_string()), "{error}");
    let failed = ServerFixture::try_start(client_tls(), |config| {
        config.api.client_ca = "/nowhere/ca.pem".into();
    })
    .await;
    let error = failed.err().unwrap();
    assert_eq!(error.exit_code(), ExitCode::Usage);
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
    server.stop().await;
}
