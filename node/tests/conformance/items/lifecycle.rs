//! Items 8, 9 and 12: switched off, protected, changed.

use serde_json::{Value, json};

use crate::api::{Api, code, pairs, text, texts};

const UPDATE: &str = "lockbox.v1.SecretService/Update";

/// Metadata stays, payloads do not, versions keep their status, and it can be undone.
pub(super) async fn deactivation(api: Api) {
    let name = api.unique("switched");
    let fields = json!({ "name": name, "versionPayloadEntries": texts(&[("k", "v")]) });
    let operation = api.create(fields).await;
    let id = text(&operation["response"]["id"]);
    let on = json!({ "secretId": id });
    let off = api.must("lockbox.v1.SecretService/Deactivate", on.clone()).await;
    assert_eq!(off["response"]["status"], "INACTIVE");
    assert_eq!(off["response"]["currentVersion"]["status"], "ACTIVE");
    let shown = api.get(&id).await;
    assert_eq!(shown["name"], json!(name));
    assert_eq!(shown["currentVersion"], off["response"]["currentVersion"]);
    api.must("lockbox.v1.SecretService/ListVersions", on.clone()).await;
    let by_name = json!({ "folderAndName": { "folderId": api.target.folder, "secretName": name } });
    for (method, request) in [
        ("lockbox.v1.PayloadService/Get", on.clone()),
        ("lockbox.v1.PayloadService/GetEx", on.clone()),
        ("lockbox.v1.PayloadService/GetEx", by_name.clone()),
        ("lockbox.v1.SecretService/AddVersion", on.clone()),
    ] {
        api.refused(code::FAILED_PRECONDITION, method, request).await;
    }
    for _ in 0..2 {
        // The second time there is nothing to change, and that is no mistake.
        let active = api.must("lockbox.v1.SecretService/Activate", on.clone()).await;
        assert_eq!(active["response"]["status"], "ACTIVE");
    }
    assert_eq!(api.entries(&id, "").await, pairs(&[("k", "v")]));
    let found = api.must("lockbox.v1.PayloadService/GetEx", by_name).await;
    assert_eq!(found["secretId"], json!(id));
    assert_eq!(found["entries"], json!({ "k": "dg==" }), "values as bytes");
}

/// Protection keeps the secret and not its contents.
pub(super) async fn deletion_protection(api: Api) {
    let fields =
        json!({ "deletionProtection": true, "versionPayloadEntries": texts(&[("k", "1")]) });
    let operation = api.create(fields).await;
    let id = text(&operation["response"]["id"]);
    let on = json!({ "secretId": id });
    let delete = "lockbox.v1.SecretService/Delete";
    api.refused(code::FAILED_PRECONDITION, delete, on.clone()).await;
    api.add(&id, json!({ "payloadEntries": texts(&[("k", "2")]) })).await;
    let open = json!({ "secretId": id, "updateMask": "deletionProtection" });
    api.must(UPDATE, open).await;
    api.must(delete, on.clone()).await;
    for method in [
        "lockbox.v1.SecretService/Get",
        "lockbox.v1.PayloadService/Get",
        "lockbox.v1.SecretService/Delete",
        "lockbox.v1.SecretService/ListVersions",
    ] {
        api.refused(code::NOT_FOUND, method, on.clone()).await;
    }
}

/// Only what the mask lists changes, to whatever the request says, the default included.
pub(super) async fn update(api: Api) {
    let name = api.unique("named");
    let fields = json!({ "name": name, "labels": { "a": "1", "b": "2" }, "description": "d" });
    let id = text(&api.create(fields).await["response"]["id"]);
    let with = |mut fields: Value| {
        fields["secretId"] = json!(id);
        fields
    };
    let refused = [
        json!({ "name": "x" }),
        json!({ "updateMask": "kmsKeyId" }),
        json!({ "updateMask": "status" }),
        json!({ "updateMask": "folderId" }),
    ];
    for fields in refused {
        api.refused(code::INVALID_ARGUMENT, UPDATE, with(fields)).await;
    }
    let relabelled = with(json!({ "updateMask": "labels", "labels": { "c": "3" }, "name": "no" }));
    let secret = api.must(UPDATE, relabelled).await["response"].clone();
    assert_eq!(secret["labels"], json!({ "c": "3" }), "replaced, not merged");
    assert_eq!(secret["name"], json!(name), "not listed");
    let cleared = api.must(UPDATE, with(json!({ "updateMask": "name,description" }))).await;
    assert_eq!(text(&cleared["response"]["name"]), "");
    assert_eq!(text(&cleared["response"]["description"]), "");
    assert_eq!(cleared["response"]["labels"], json!({ "c": "3" }));
}
