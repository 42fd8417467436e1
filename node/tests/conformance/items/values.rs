//! Items 10 and 11: how large values may be, and how values are generated.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::api::{Api, code, text, texts};

const CREATE: &str = "lockbox.v1.SecretService/Create";

/// The last size that is taken and the first that is not, and the alphabet of keys.
pub(super) async fn sizes(api: Api) {
    let largest = "x".repeat(65_536);
    let id = api.secret(&[("k", &largest)]).await;
    assert_eq!(api.entries(&id, "").await[0].1.len(), 65_536);
    let folder = &api.target.folder;
    let refused = async |entries: Value| {
        let request = json!({ "folderId": folder, "versionPayloadEntries": entries });
        api.refused(code::INVALID_ARGUMENT, CREATE, request).await;
    };
    refused(texts(&[("k", &"x".repeat(65_537))])).await;
    refused(texts(&[("k", &"x".repeat(32_768)), ("l", &"x".repeat(32_769))])).await;
    // Bytes count, not characters.
    refused(texts(&[("k", &"ж".repeat(32_769))])).await;
    let whole = vec![0xff_u8; 65_536];
    let entries = json!([{ "key": "b", "binaryValue": STANDARD.encode(&whole) }]);
    let operation = api.create(json!({ "versionPayloadEntries": entries })).await;
    let id = text(&operation["response"]["id"]);
    let payload = api.must("lockbox.v1.PayloadService/Get", json!({ "secretId": id })).await;
    assert_eq!(text(&payload["entries"][0]["binaryValue"]), STANDARD.encode(&whole));

    let many: Vec<(String, String)> =
        (0..40).map(|n| (format!("key-{n}"), format!("value {n}"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let id = api.secret(&many).await;
    assert_eq!(api.entries(&id, "").await.len(), 40);
    let strange = r"a-b_c.d/e\f@G9";
    let id = api.secret(&[(strange, "v")]).await;
    assert_eq!(api.entries(&id, "").await[0].0, strange);
    for key in ["with space", "", "ключ", &"k".repeat(257), "a:b"] {
        refused(texts(&[(key, "v")])).await;
    }
    // A creation has nothing to remove.
    refused(json!([{ "key": "k" }])).await;
    refused(json!([{ "key": "k", "textValue": "" }])).await;
    refused(texts(&[("k", "1"), ("k", "2")])).await;
}

/// Every class is in every password, the rules of punctuation hold, and a specification goes by
/// the mask.
pub(super) async fn passwords(api: Api) {
    let spec = json!({ "passwordKey": "p", "length": "8" });
    let operation = api.create(json!({ "passwordPayloadSpecification": spec })).await;
    let id = text(&operation["response"]["id"]);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let password = api.entries(&id, "").await[0].1.clone();
        assert_eq!(password.len(), 8);
        let has = |class: fn(&char) -> bool| password.chars().any(|c| class(&c));
        let all = has(char::is_ascii_uppercase)
            && has(char::is_ascii_lowercase)
            && has(char::is_ascii_digit)
            && has(char::is_ascii_punctuation);
        assert!(all, "a class is missing");
        assert!(seen.insert(password), "the same password twice");
        api.add(&id, json!({})).await;
    }
    let generated = async |spec: Value| {
        let operation = api.create(json!({ "passwordPayloadSpecification": spec })).await;
        let id = text(&operation["response"]["id"]);
        api.entries(&id, "").await[0].1.clone()
    };
    assert_eq!(generated(json!({ "passwordKey": "p" })).await.len(), 36);
    assert_eq!(generated(json!({ "passwordKey": "p", "length": "256" })).await.len(), 256);
    let digits = json!({
        "passwordKey": "p",
        "includeUppercase": false,
        "includeLowercase": false,
        "includePunctuation": false,
    });
    assert!(generated(digits).await.chars().all(|c| c.is_ascii_digit()));
    let few = json!({ "passwordKey": "p", "length": "200", "includedPunctuation": "-_" });
    let few = generated(few).await;
    assert!(few.chars().filter(char::is_ascii_punctuation).all(|c| "-_".contains(c)));
    let none = json!({ "passwordKey": "p", "length": "200", "excludedPunctuation": "'\"\\" });
    assert!(!generated(none).await.contains(['\'', '"', '\\']));
    let folder = &api.target.folder;
    let off = json!(false);
    for wrong in [
        json!({ "passwordKey": "p", "length": "257" }),
        json!({ "passwordKey": "p", "length": "-1" }),
        json!({ "passwordKey": "p", "length": "3" }),
        json!({ "length": "8" }),
        json!({ "passwordKey": "p", "includedPunctuation": "-", "excludedPunctuation": "_" }),
        json!({ "passwordKey": "p", "includePunctuation": off, "includedPunctuation": "-" }),
        json!({
            "passwordKey": "p",
            "includeUppercase": off,
            "includeLowercase": off,
            "includeDigits": off,
            "includePunctuation": off,
        }),
    ] {
        let request = json!({ "folderId": folder, "passwordPayloadSpecification": wrong });
        api.refused(code::INVALID_ARGUMENT, CREATE, request).await;
    }
    // Entries are for secrets that people write.
    let entries = json!({ "secretId": id, "payloadEntries": texts(&[("k", "v")]) });
    let add = "lockbox.v1.SecretService/AddVersion";
    api.refused(code::INVALID_ARGUMENT, add, entries.clone()).await;
    let gone = json!({ "secretId": id, "updateMask": "passwordPayloadSpecification" });
    let gone = api.must("lockbox.v1.SecretService/Update", gone).await;
    assert!(gone["response"].get("passwordPayloadSpecification").is_none(), "{gone}");
    api.must(add, entries).await;
}
