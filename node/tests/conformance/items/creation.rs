//! Items 3 and 4: what a creation makes, and what operations carry.

use serde_json::{Value, json};

use crate::api::{Api, account, code, text, texts};

/// The nine rows of `contract §2.5`.
pub(super) async fn matrix(api: Api) {
    let spec = || json!({ "passwordKey": "generated" });
    let entries = || texts(&[("k", "v")]);
    let made: [(Option<bool>, bool, bool, bool); 7] = [
        // create_version, entries, specification, whether a version is made
        (None, false, false, false),
        (None, true, false, true),
        (None, false, true, true),
        (Some(true), true, false, true),
        (Some(true), false, true, true),
        (Some(false), true, false, false),
        (Some(false), false, true, false),
    ];
    let fields = |create: Option<bool>, with_entries: bool, with_spec: bool| {
        let mut fields = json!({});
        if let Some(create) = create {
            fields["createVersion"] = json!(create);
        }
        if with_entries {
            fields["versionPayloadEntries"] = entries();
        }
        if with_spec {
            fields["passwordPayloadSpecification"] = spec();
        }
        fields
    };
    for (create, with_entries, with_spec, has_version) in made {
        let row = format!("{create:?} {with_entries} {with_spec}");
        let operation = api.create(fields(create, with_entries, with_spec)).await;
        let secret = &operation["response"];
        let id = text(&operation["metadata"]["secretId"]);
        assert_eq!(text(&secret["id"]), id, "{row}");
        let version = text(&operation["metadata"]["versionId"]);
        assert_eq!(!version.is_empty(), has_version, "{row}: {operation}");
        assert_eq!(secret["currentVersion"].is_object(), has_version, "{row}: {operation}");
        assert_eq!(text(&secret["currentVersion"]["id"]), version, "{row}");
        let stored = &secret["passwordPayloadSpecification"]["passwordKey"];
        assert_eq!(*stored == "generated", with_spec, "{row}: {secret}");
        if has_version {
            let read = api.entries(&id, "").await;
            let key = if with_spec { "generated" } else { "k" };
            assert_eq!(read[0].0, key, "{row}");
            assert_eq!(read.len(), 1, "{row}");
            assert!(with_spec || read[0].1 == "v", "{row}");
        } else {
            let request = json!({ "secretId": id });
            let read = "lockbox.v1.PayloadService/Get";
            api.refused(code::FAILED_PRECONDITION, read, request).await;
        }
    }
    // The other two rows, the second of them for every value of create_version.
    let folder = &api.target.folder;
    let refused = [
        fields(Some(true), false, false),
        fields(None, true, true),
        fields(Some(true), true, true),
        fields(Some(false), true, true),
    ];
    for mut fields in refused {
        fields["folderId"] = json!(folder);
        api.refused(code::INVALID_ARGUMENT, "lockbox.v1.SecretService/Create", fields).await;
    }
}

/// One call of every method that answers with an operation; [`Api::call`] compares its types.
pub(super) async fn operation_types(api: Api) {
    let service = "lockbox.v1.SecretService";
    let id = api.secret(&[("k", "v")]).await;
    let first = text(&api.get(&id).await["currentVersion"]["id"]);
    let on = |mut fields: Value| {
        fields["secretId"] = json!(id);
        fields
    };
    let on_version = || on(json!({ "versionId": first }));
    let viewer = json!({ "roleId": "viewer", "subject": account("ajenobody") });
    let delta = json!({ "action": "ADD", "accessBinding": viewer });
    let mut called = 0;
    let of_secret: [(&str, Value); 10] = [
        ("AddVersion", on(json!({ "payloadEntries": texts(&[("k", "w")]) }))),
        ("SetCurrentVersion", on_version()),
        ("AddVersion", on(json!({}))),
        ("ScheduleVersionDestruction", on_version()),
        ("CancelVersionDestruction", on_version()),
        ("Update", on(json!({ "updateMask": "name", "name": api.unique("renamed") }))),
        ("Deactivate", on(json!({}))),
        ("Activate", on(json!({}))),
        ("SetAccessBindings", json!({ "resourceId": id, "accessBindings": [viewer] })),
        ("UpdateAccessBindings", json!({ "resourceId": id, "accessBindingDeltas": [delta] })),
    ];
    for (method, fields) in of_secret {
        api.must(&format!("{service}/{method}"), fields).await;
        called += 1;
    }
    let deleted = api.must("lockbox.v1.SecretService/Delete", on(json!({}))).await;
    assert_eq!(text(&deleted["response"]["id"]), id, "the secret as it was");

    let robot = api.robot(&[]).await;
    let of_account = |fields: Value| {
        let mut fields = fields;
        fields["serviceAccountId"] = json!(robot.id);
        fields
    };
    let accounts = "iam.v1.ServiceAccountService";
    let changed: [(&str, Value); 5] = [
        ("Update", of_account(json!({ "updateMask": "description", "description": "d" }))),
        ("Suspend", of_account(json!({}))),
        ("Reactivate", of_account(json!({}))),
        ("SetAccessBindings", json!({ "resourceId": robot.id, "accessBindings": [] })),
        ("UpdateAccessBindings", json!({ "resourceId": robot.id, "accessBindingDeltas": [delta] })),
    ];
    for (method, fields) in changed {
        api.must(&format!("{accounts}/{method}"), fields).await;
        called += 1;
    }
    let key = json!({ "keyId": robot.key.id, "updateMask": "description", "description": "d" });
    api.must("iam.v1.KeyService/Update", key).await;
    api.must("iam.v1.KeyService/Delete", json!({ "keyId": robot.key.id })).await;
    api.must("iam.v1.ServiceAccountService/Delete", of_account(json!({}))).await;

    let folders = "resourcemanager.v1.FolderService";
    let name = api.unique("folder");
    let request = json!({ "cloudId": api.target.cloud, "name": name });
    let folder = api.must("resourcemanager.v1.FolderService/Create", request).await;
    let folder = text(&folder["metadata"]["folderId"]);
    let changed: [(&str, Value); 3] = [
        ("Update", json!({ "folderId": folder, "updateMask": "description", "description": "d" })),
        ("SetAccessBindings", json!({ "resourceId": folder, "accessBindings": [viewer] })),
        ("UpdateAccessBindings", json!({ "resourceId": folder, "accessBindingDeltas": [delta] })),
    ];
    for (method, fields) in changed {
        api.must(&format!("{folders}/{method}"), fields).await;
        called += 1;
    }

    // What was done is found under its id.
    let operation = api.create(json!({})).await;
    let found = json!({ "operationId": operation["id"] });
    assert_eq!(api.must("operation.OperationService/Get", found.clone()).await, operation);
    assert_eq!(api.must("operation.OperationService/Cancel", found).await, operation);
    let unknown = json!({ "operationId": "ajenothing" });
    api.refused(code::NOT_FOUND, "operation.OperationService/Get", unknown).await;
    assert_eq!(called, 18);
}
