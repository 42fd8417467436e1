//! Item 14: roles, where they are inherited from, and both sides of an own key.

use serde_json::json;

use crate::api::{Api, account, code, pairs, text, texts};

const PAYLOAD: &str = "lockbox.v1.PayloadService/Get";
const FOLDER: &str = "resourcemanager.v1.FolderService/UpdateAccessBindings";

/// The whole table of roles and methods is `node/tests/it/roles.rs`; here is what that cannot see.
pub(super) async fn roles(api: Api) {
    let id = api.secret(&[("k", "v")]).await;
    let on = json!({ "secretId": id });
    // Who reads payloads reads nothing else.
    let reader = api.log_in(&api.robot(&["lockbox.payloadViewer"]).await).await;
    assert_eq!(reader.entries(&id, "").await, pairs(&[("k", "v")]));
    for method in ["lockbox.v1.SecretService/Get", "lockbox.v1.SecretService/ListVersions"] {
        reader.refused(code::PERMISSION_DENIED, method, on.clone()).await;
    }
    let list = json!({ "folderId": api.target.folder });
    let secrets = "lockbox.v1.SecretService/List";
    reader.refused(code::PERMISSION_DENIED, secrets, list.clone()).await;
    // Who changes secrets reads no payload and grants nothing.
    let editor = api.log_in(&api.robot(&["lockbox.editor"]).await).await;
    editor.must(secrets, list).await;
    editor.add(&id, json!({ "payloadEntries": texts(&[("l", "w")]) })).await;
    editor.refused(code::PERMISSION_DENIED, PAYLOAD, on.clone()).await;
    let set = json!({ "resourceId": id, "accessBindings": [] });
    let set_bindings = "lockbox.v1.SecretService/SetAccessBindings";
    editor.refused(code::PERMISSION_DENIED, set_bindings, set).await;
    // From the cloud down, and on one secret alone.
    let above = api.robot(&[]).await;
    let cloud = "resourcemanager.v1.CloudService/UpdateAccessBindings";
    api.grant(cloud, &api.target.cloud, "lockbox.payloadViewer", &account(&above.id)).await;
    api.log_in(&above).await.entries(&id, "").await;
    let alone = api.robot(&[]).await;
    let secret = "lockbox.v1.SecretService/UpdateAccessBindings";
    api.grant(secret, &id, "lockbox.payloadViewer", &account(&alone.id)).await;
    let alone = api.log_in(&alone).await;
    alone.entries(&id, "").await;
    let other = api.secret(&[("k", "v")]).await;
    let other = json!({ "secretId": other });
    alone.refused(code::PERMISSION_DENIED, PAYLOAD, other).await;
    // Everybody is everybody who has logged in.
    let open = api.secret(&[("k", "v")]).await;
    let everybody = json!({ "id": "allUsers", "type": "system" });
    api.grant(secret, &open, "lockbox.payloadViewer", &everybody).await;
    alone.entries(&open, "").await;
    let open = json!({ "secretId": open });
    api.nameless().refused(code::UNAUTHENTICATED, PAYLOAD, open.clone()).await;
    api.bearing("nonsense").refused(code::UNAUTHENTICATED, PAYLOAD, open).await;
    let unknown = json!({ "secretId": "e6qnowhere" });
    alone.refused(code::NOT_FOUND, PAYLOAD, unknown).await;

    both_sides(api).await;
}

/// `contract §4.5`: the right on the secret and the right on its key.
async fn both_sides(api: Api) {
    let key = api.kms_key().await;
    let fields = json!({ "kmsKeyId": key, "versionPayloadEntries": texts(&[("k", "v")]) });
    let id = text(&api.create(fields).await["response"]["id"]);
    let on = json!({ "secretId": id });
    let only_secret = api.log_in(&api.robot(&["lockbox.payloadViewer"]).await).await;
    only_secret.refused(code::PERMISSION_DENIED, PAYLOAD, on.clone()).await;
    let only_key = api.log_in(&api.robot(&["kms.keys.encrypterDecrypter"]).await).await;
    only_key.refused(code::PERMISSION_DENIED, PAYLOAD, on).await;
    let robot = api.robot(&["lockbox.payloadViewer", "kms.keys.decrypter"]).await;
    let both = api.log_in(&robot).await;
    assert_eq!(both.entries(&id, "").await, pairs(&[("k", "v")]));
    // Metadata asks nothing of the key; and a right ends with its binding.
    let binding = json!({ "roleId": "kms.keys.decrypter", "subject": account(&robot.id) });
    let deltas = json!([{ "action": "REMOVE", "accessBinding": binding }]);
    let folder = &api.target.folder;
    let taken = json!({ "resourceId": folder, "accessBindingDeltas": deltas });
    api.must(FOLDER, taken).await;
    both.refused(code::PERMISSION_DENIED, PAYLOAD, json!({ "secretId": id })).await;
}
