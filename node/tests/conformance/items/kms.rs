//! Item 15: the KMS, and what its keys mean for secrets.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::api::{Api, code, pairs, text, texts};

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
    assert_eq!(
        (text(&moved["sourceVersionId"]), text(&moved["versionId"])),
        (first, second.clone())
    );
    // The end of keys and of their versions is not served yet. When it is, this fails, and here
    // belongs: the primary version is not destroyed; a deleted key is not found, its secrets answer
    // FAILED_PRECONDITION, and undeleting it brings them back.
    for (method, fields) in
        [("ScheduleVersionDestruction", json!({ "versionId": second })), ("Delete", json!({}))]
    {
        let method = format!("{KEYS}/{method}");
        api.refused(code::UNIMPLEMENTED, &method, on_key(fields)).await;
    }
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
}
