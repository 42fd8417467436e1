//! Item 16: a request and its repeat.

use serde_json::json;

use crate::api::{Api, code, text, texts};

/// The same key gives the same operation and one effect, another body is refused, reads do not
/// care, and another subject has keys of its own.
pub(super) async fn idempotency(api: Api) {
    let id = api.secret(&[("k", "1")]).await;
    let once = api.with_header("idempotency-key", &api.unique("once"));
    let add = "lockbox.v1.SecretService/AddVersion";
    let request = json!({ "secretId": id, "payloadEntries": texts(&[("k", "2")]) });
    let first = once.must(add, request.clone()).await;
    assert_eq!(once.must(add, request.clone()).await, first);
    let versions = json!({ "secretId": id });
    let versions = api.must("lockbox.v1.SecretService/ListVersions", versions).await;
    assert_eq!(versions["versions"].as_array().map(Vec::len), Some(2), "one effect");
    let other = json!({ "secretId": id, "payloadEntries": texts(&[("k", "3")]) });
    once.refused(code::INVALID_ARGUMENT, add, other).await;
    // The method is part of the key's scope.
    let named = json!({ "secretId": id, "updateMask": "description", "description": "d" });
    once.must("lockbox.v1.SecretService/Update", named).await;
    for _ in 0..2 {
        let read = json!({ "secretId": id });
        once.must("lockbox.v1.PayloadService/Get", read).await;
    }
    let editor = api.log_in(&api.robot(&["lockbox.editor"]).await).await;
    let key = api.unique("shared");
    let mine = api.with_header("idempotency-key", &key).must(add, request.clone()).await;
    let theirs = editor.with_header("idempotency-key", &key).must(add, request).await;
    assert_ne!(mine["id"], theirs["id"]);
    // A deletion is answered again, although nothing is there any more.
    let delete = "lockbox.v1.SecretService/Delete";
    let once = api.with_header("idempotency-key", &api.unique("once"));
    let gone = once.must(delete, json!({ "secretId": id })).await;
    assert_eq!(text(&gone["response"]["id"]), id);
    assert_eq!(once.must(delete, json!({ "secretId": id })).await, gone);
    api.refused(code::NOT_FOUND, delete, json!({ "secretId": id })).await;
}
