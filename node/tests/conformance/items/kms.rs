//! Item 15: the KMS, and what its keys mean for secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lockbox_platform::certificates::leaf_files;
use lockbox_platform::tls::{ClientTlsFiles, client_tls, endpoint};
use lockbox_proto::lockbox::kms::v1::UndeleteKeyRequest;
use lockbox_proto::lockbox::kms::v1::key_admin_service_client::KeyAdminServiceClient;
use serde_json::{Value, json};

use crate::api::{Api, account, code, pairs, text, texts};

const KEYS: &str = "kms.v1.SymmetricKeyService";
const CRYPTO: &str = "kms.v1.SymmetricCryptoService";
const PAYLOAD: &str = "lockbox.v1.PayloadService/Get";

/// Rotation, re-encryption, bounds, and what an inactive key does to secrets.
pub(super) async fn keys(api: Api) {
    let key = api.kms_key().await;
    let on_key = |mut fields: Value| {
        fields["keyId"] = json!(key);
        fields
    };
    let of_keys = async |method: &str, fields: Value| {
        api.must(&format!("{KEYS}/{method}"), on_key(fields)).await
    };
    let crypto = async |method: &str, fields: Value| {
        api.must(&format!("{CRYPTO}/{method}"), on_key(fields)).await
    };
    let (plain, context) = (STANDARD.encode("plain"), STANDARD.encode("context"));
    let encrypt = json!({ "plaintext": plain, "aadContext": context });
    let before = crypto("Encrypt", encrypt.clone()).await;
    let first = text(&before["versionId"]);
    let rotated = of_keys("Rotate", json!({})).await;
    let second = text(&rotated["metadata"]["newPrimaryVersionId"]);
    let after = crypto("Encrypt", encrypt).await;
    assert_eq!(text(&after["versionId"]), second);
    for (sealed, version) in [(&before, &first), (&after, &second)] {
        let open = json!({ "ciphertext": sealed["ciphertext"], "aadContext": context });
        let opened = crypto("Decrypt", open).await;
        assert_eq!(
            (text(&opened["plaintext"]), &text(&opened["versionId"])),
            (plain.clone(), version)
        );
        let wrong = on_key(json!({ "ciphertext": sealed["ciphertext"], "aadContext": plain }));
        let decrypt = format!("{CRYPTO}/Decrypt");
        api.refused(code::INVALID_ARGUMENT, &decrypt, wrong).await;
    }
    let moved = json!({
        "sourceKeyId": key,
        "sourceAadContext": context,
        "ciphertext": before["ciphertext"],
        "aadContext": context,
    });
    let moved = crypto("ReEncrypt", moved).await;
    assert_eq!((text(&moved["sourceVersionId"]), text(&moved["versionId"])), (first, second));
    let largest = json!({ "plaintext": STANDARD.encode(vec![7; 32_768]) });
    crypto("Encrypt", largest).await;
    for size in [0, 32_769] {
        let wrong = on_key(json!({ "plaintext": STANDARD.encode(vec![7; size]) }));
        api.refused(code::INVALID_ARGUMENT, &format!("{CRYPTO}/Encrypt"), wrong).await;
    }

    let fields = json!({ "kmsKeyId": key, "versionPayloadEntries": texts(&[("k", "v")]) });
    let id = text(&api.create(fields).await["response"]["id"]);
    assert_eq!(api.entries(&id, "").await, pairs(&[("k", "v")]));
    let on = json!({ "secretId": id });
    of_keys("Update", json!({ "updateMask": "status", "status": "INACTIVE" })).await;
    api.refused(code::FAILED_PRECONDITION, PAYLOAD, on.clone()).await;
    of_keys("Update", json!({ "updateMask": "status", "status": "ACTIVE" })).await;
    api.entries(&id, "").await;
    of_keys("Update", json!({ "updateMask": "status", "status": "INACTIVE" })).await;
    api.get(&id).await;
    let add = "lockbox.v1.SecretService/AddVersion";
    api.refused(code::FAILED_PRECONDITION, add, on).await;
    let unknown = json!({ "keyId": "abjnowhere" });
    api.refused(code::NOT_FOUND, &format!("{KEYS}/Get"), unknown).await;

    versions_end(&api).await;
    a_key_ends_and_comes_back(&api).await;
    bound_on_the_key_alone(&api).await;
}

/// The primary version stays; another one is closed at once, and what it encrypted with it.
async fn versions_end(api: &Api) {
    let key = api.kms_key().await;
    let of_version = |version: &str| json!({ "keyId": key, "versionId": version });
    let found = api.must(&format!("{KEYS}/Get"), json!({ "keyId": key })).await;
    let first = text(&found["primaryVersion"]["id"]);
    let fields = json!({ "kmsKeyId": key, "versionPayloadEntries": texts(&[("k", "v")]) });
    let id = text(&api.create(fields).await["response"]["id"]);
    let on = json!({ "secretId": id });
    let schedule = format!("{KEYS}/ScheduleVersionDestruction");
    let cancel = format!("{KEYS}/CancelVersionDestruction");
    let set_primary = format!("{KEYS}/SetPrimaryVersion");
    api.refused(code::FAILED_PRECONDITION, &schedule, of_version(&first)).await;
    let rotated = api.must(&format!("{KEYS}/Rotate"), json!({ "keyId": key })).await;
    let second = text(&rotated["metadata"]["newPrimaryVersionId"]);
    api.refused(code::FAILED_PRECONDITION, &schedule, of_version(&second)).await;
    let mut short = of_version(&first);
    short["pendingPeriod"] = json!("86399s");
    api.refused(code::INVALID_ARGUMENT, &schedule, short).await;

    let scheduled = api.must(&schedule, of_version(&first)).await;
    assert_eq!(scheduled["response"]["status"], "SCHEDULED_FOR_DESTRUCTION");
    assert_eq!(scheduled["response"]["destroyAt"], scheduled["metadata"]["destroyAt"]);
    api.refused(code::FAILED_PRECONDITION, PAYLOAD, on.clone()).await;
    api.refused(code::FAILED_PRECONDITION, &set_primary, of_version(&first)).await;
    api.get(&id).await;
    let kept = api.must(&cancel, of_version(&first)).await;
    assert_eq!(kept["response"]["status"], "ACTIVE");
    assert!(kept["response"].get("destroyAt").is_none());
    api.refused(code::FAILED_PRECONDITION, &cancel, of_version(&first)).await;
    assert_eq!(api.entries(&id, "").await, pairs(&[("k", "v")]));
    let primary = api.must(&set_primary, of_version(&first)).await;
    assert_eq!(text(&primary["response"]["primaryVersion"]["id"]), first);
    let unknown = json!({ "keyId": key, "versionId": "abjnowhere" });
    api.refused(code::NOT_FOUND, &set_primary, unknown).await;

    let listed = api.must(&format!("{KEYS}/ListOperations"), json!({ "keyId": key })).await;
    let described: Vec<_> =
        listed["operations"].as_array().unwrap().iter().map(|o| text(&o["id"])).collect();
    let done = [&primary, &kept, &scheduled, &rotated].map(|operation| text(&operation["id"]));
    assert_eq!(described[..4], done, "newest first");
    assert_eq!(described.len(), 5);
    // The node, which discovery leads to, finds them too.
    let operation = json!({ "operationId": done[1] });
    let read = api.must("operation.OperationService/Get", operation.clone()).await;
    assert_eq!(read, kept);
    assert_eq!(api.must("operation.OperationService/Cancel", operation).await, kept);
}

/// A protected key stays; a deleted one is gone from everything, and an operator brings it back.
async fn a_key_ends_and_comes_back(api: &Api) {
    let key = api.kms_key().await;
    let of_key = json!({ "keyId": key });
    let fields = json!({ "kmsKeyId": key, "versionPayloadEntries": texts(&[("k", "v")]) });
    let id = text(&api.create(fields).await["response"]["id"]);
    let on = json!({ "secretId": id });
    let update = format!("{KEYS}/Update");
    let protect = |protection: bool| {
        let mut fields = of_key.clone();
        fields["updateMask"] = json!("deletionProtection");
        fields["deletionProtection"] = json!(protection);
        fields
    };
    let delete = format!("{KEYS}/Delete");
    api.must(&update, protect(true)).await;
    api.refused(code::FAILED_PRECONDITION, &delete, of_key.clone()).await;
    assert_eq!(api.entries(&id, "").await, pairs(&[("k", "v")]));
    api.must(&update, protect(false)).await;

    let deleted = api.must(&delete, of_key.clone()).await;
    assert_eq!(text(&deleted["response"]["id"]), key);
    for method in ["Get", "ListVersions", "ListOperations", "Rotate", "Delete"] {
        let method = format!("{KEYS}/{method}");
        api.refused(code::NOT_FOUND, &method, of_key.clone()).await;
    }
    let plaintext = json!({ "keyId": key, "plaintext": STANDARD.encode("x") });
    api.refused(code::NOT_FOUND, &format!("{CRYPTO}/Encrypt"), plaintext).await;
    assert!(!listed(api).await.contains(&key));
    // To a client of secrets this is a state, never NOT_FOUND (`contract §5.2`).
    let entries = texts(&[("k", "w")]);
    let add = json!({ "secretId": id, "payloadEntries": entries });
    api.refused(code::FAILED_PRECONDITION, PAYLOAD, on.clone()).await;
    api.refused(code::FAILED_PRECONDITION, "lockbox.v1.SecretService/AddVersion", add).await;
    let another = json!({
        "folderId": api.target.folder, "kmsKeyId": key, "versionPayloadEntries": entries,
    });
    api.refused(code::FAILED_PRECONDITION, "lockbox.v1.SecretService/Create", another).await;
    api.get(&id).await;

    undelete(api, &key).await;
    assert_eq!(api.entries(&id, "").await, pairs(&[("k", "v")]));
    assert!(listed(api).await.contains(&key));
    api.must(&format!("{KEYS}/Get"), of_key).await;
}

/// The ids of the folder's keys.
async fn listed(api: &Api) -> Vec<String> {
    let request = json!({ "folderId": api.target.folder, "pageSize": "1000" });
    let answer = api.must(&format!("{KEYS}/List"), request).await;
    answer["keys"].as_array().unwrap().iter().map(|key| text(&key["id"])).collect()
}

/// What an operator does, whose certificate is beside the others.
async fn undelete(api: &Api, key: &str) {
    let certificates = api.target.ca.parent().unwrap();
    let identity = Some(leaf_files(certificates, "operator"));
    let files = ClientTlsFiles { ca: api.target.ca.clone(), identity };
    let tls = client_tls(&files, "localhost").unwrap();
    let address = format!("localhost:{}", api.target.kms.port);
    let channel = endpoint(&address, Some(tls)).unwrap().connect().await.unwrap();
    let request = UndeleteKeyRequest { key_id: key.to_owned() };
    KeyAdminServiceClient::new(channel).undelete_key(request).await.unwrap();
}

/// `contract §4.1`: a role on one key counts for that key, until the binding ends.
async fn bound_on_the_key_alone(api: &Api) {
    let (key, other) = (api.kms_key().await, api.kms_key().await);
    let secret_under = async |key: &str| {
        let fields = json!({ "kmsKeyId": key, "versionPayloadEntries": texts(&[("k", "v")]) });
        text(&api.create(fields).await["response"]["id"])
    };
    let (id, elsewhere) = (secret_under(&key).await, secret_under(&other).await);
    let robot = api.robot(&["lockbox.payloadViewer"]).await;
    let reader = api.log_in(&robot).await;
    let on = json!({ "secretId": id });
    reader.refused(code::PERMISSION_DENIED, PAYLOAD, on.clone()).await;
    let update = format!("{KEYS}/UpdateAccessBindings");
    api.grant(&update, &key, "kms.keys.decrypter", &account(&robot.id)).await;
    assert_eq!(reader.entries(&id, "").await, pairs(&[("k", "v")]));
    let denied = json!({ "secretId": elsewhere });
    reader.refused(code::PERMISSION_DENIED, PAYLOAD, denied).await;
    let listed =
        api.must(&format!("{KEYS}/ListAccessBindings"), json!({ "resourceId": key })).await;
    assert_eq!(listed["accessBindings"][0]["roleId"], "kms.keys.decrypter");
    let refused = json!({ "resourceId": key, "accessBindings": [] });
    let set = format!("{KEYS}/SetAccessBindings");
    reader.refused(code::PERMISSION_DENIED, &set, refused.clone()).await;
    api.must(&set, refused).await;
    reader.refused(code::PERMISSION_DENIED, PAYLOAD, on).await;
    let wrong = json!({ "roleId": "lockbox.admin", "subject": account(&robot.id) });
    let wrong = json!({ "resourceId": key, "accessBindings": [wrong] });
    api.refused(code::INVALID_ARGUMENT, &set, wrong).await;
}
