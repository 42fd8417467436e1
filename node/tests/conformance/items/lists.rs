//! Item 13: lists, a page at a time.

use serde_json::{Value, json};

use crate::api::{Api, code, text, texts};

/// The bounds of the size, tokens that are short and belong to their list, and every item once.
pub(super) async fn paging(api: Api) {
    let request = json!({ "cloudId": api.target.cloud, "name": api.unique("listed") });
    let made = api.must("resourcemanager.v1.FolderService/Create", request).await;
    let folder = text(&made["response"]["id"]);
    let mut made = Vec::new();
    for _ in 0..7 {
        let operation = api.create(json!({ "folderId": folder })).await;
        made.push(text(&operation["response"]["id"]));
    }
    let secrets = "lockbox.v1.SecretService/List";
    for size in ["-1", "1001"] {
        let request = json!({ "folderId": folder, "pageSize": size });
        api.refused(code::INVALID_ARGUMENT, secrets, request).await;
    }
    for (size, pages) in [("0", 1), ("1", 7), ("3", 3), ("1000", 1)] {
        let found = all(&api, secrets, "secrets", json!({ "folderId": folder, "pageSize": size }));
        let (found, turned) = found.await;
        assert_eq!(found, made, "in the order of creation, each once");
        assert_eq!(turned, pages, "pages of {size}");
    }
    let first = json!({ "folderId": folder, "pageSize": "1" });
    let token = text(&api.must(secrets, first).await["nextPageToken"]);
    let foreign = json!({ "folderId": api.target.folder, "pageToken": token });
    api.refused(code::INVALID_ARGUMENT, secrets, foreign).await;
    let nonsense = json!({ "folderId": folder, "pageToken": "none-of-ours" });
    api.refused(code::INVALID_ARGUMENT, secrets, nonsense).await;

    // Versions come newest first, and those that were added meanwhile do not move the rest.
    let id = made[0].clone();
    let mut added = Vec::new();
    for n in 0..5 {
        let entries = texts(&[("k", &n.to_string())]);
        added.push(text(&api.add(&id, json!({ "payloadEntries": entries })).await["id"]));
    }
    added.reverse();
    let versions = "lockbox.v1.SecretService/ListVersions";
    let request = json!({ "secretId": id, "pageSize": "2" });
    let page = api.must(versions, request.clone()).await;
    api.add(&id, json!({})).await;
    let mut found = ids(&page["versions"]);
    let mut next = request.clone();
    next["pageToken"] = page["nextPageToken"].clone();
    let (rest, _) = all(&api, versions, "versions", next).await;
    found.extend(rest);
    assert_eq!(found, added);
    let operations = "lockbox.v1.SecretService/ListOperations";
    let (operations, _) = all(&api, operations, "operations", request).await;
    assert_eq!(operations.len(), 7, "its creation and six versions");
    let gone = json!({ "folderId": "b1gnowhere" });
    api.refused(code::NOT_FOUND, secrets, gone).await;
}

fn ids(items: &Value) -> Vec<String> {
    items.as_array().cloned().unwrap_or_default().iter().map(|item| text(&item["id"])).collect()
}

/// The ids of all pages from this request on, and how many pages that were.
async fn all(api: &Api, method: &str, field: &str, mut request: Value) -> (Vec<String>, usize) {
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let page = api.must(method, request.clone()).await;
        found.extend(ids(&page[field]));
        pages += 1;
        let token = text(&page["nextPageToken"]);
        if token.is_empty() {
            return (found, pages);
        }
        assert!(token.len() <= 100, "{token}");
        assert!(!ids(&page[field]).is_empty(), "an empty page with a token");
        request["pageToken"] = json!(token);
    }
}
