//! Item 17: every path and verb, spellings, and the body of an error.

use lockbox_proto::REST_ROUTES;
use serde_json::{Value, json};

use crate::api::{Api, text, texts};
use crate::http1;

/// What is REST about REST; over gRPC there is nothing to ask, so both transports ask the same.
pub(super) async fn every_route(api: Api) {
    let target = &api.target;
    let authorization = format!("Bearer {}", target.token);
    let ask = async |port: u16, head: &str, body: &str| {
        let headers =
            [("authorization", authorization.as_str()), ("content-type", "application/json")];
        http1::rest(port, &target.ca, head, &headers, body.as_bytes()).await
    };
    let mut asked = 0;
    for route in REST_ROUTES {
        let is_kms = route.grpc_path.starts_with("/yandex.cloud.kms.");
        let port = if is_kms { target.kms.port } else { target.lockbox.port };
        // Ids of nothing: the path is known, whatever the method thinks of them.
        let path = route.template.split('{').map(|part| match part.split_once('}') {
            Some((_, behind)) => format!("nothing{behind}"),
            None => part.to_owned(),
        });
        let head = format!("{} {}", route.verb, path.collect::<String>());
        let answer = ask(port, &head, "").await;
        let said: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_ne!(text(&said["message"]), "there is no such path", "{head}");
        if answer.status != 200 {
            assert!(said["code"].is_i64(), "{head}: {said}");
            let details = said["details"].as_array().cloned().unwrap();
            let request_info = "type.googleapis.com/google.rpc.RequestInfo";
            assert!(details.iter().any(|detail| detail["@type"] == request_info), "{head}: {said}");
        }
        asked += 1;
    }
    assert!(asked > 70, "only {asked} routes");
    let port = target.lockbox.port;
    let nowhere = ask(port, "GET /lockbox/v1/nothing", "").await;
    assert_eq!(nowhere.status, 404);

    let name = api.unique("by/name and space");
    let fields = json!({ "name": name, "versionPayloadEntries": texts(&[("k", "v")]) });
    let id = text(&api.create(fields).await["response"]["id"]);
    let encoded = name.replace('/', "%2F").replace(' ', "+");
    for (folder, secret) in [("folderId", "secretName"), ("folder_id", "secret_name")] {
        let message = if folder == "folderId" { "folderAndName" } else { "folder_and_name" };
        let query = format!("{message}.{folder}={}&{message}.{secret}={encoded}", target.folder);
        let found = ask(port, &format!("GET /lockbox/v1/secrets:getEx?{query}"), "").await;
        let found: Value = serde_json::from_slice(&found.body).unwrap();
        assert_eq!(found["secretId"], json!(id), "{found}");
        assert_eq!(found["entries"]["k"], "dg==");
    }
    // Both spellings are read, numbers of 64 bits as either, an empty body where none is needed.
    let create = format!(
        r#"{{"folder_id":"{}","password_payload_specification":{{"password_key":"p","length":9}}}}"#,
        target.folder
    );
    let made = ask(port, "POST /lockbox/v1/secrets", &create).await;
    assert_eq!(made.status, 200, "{}", made.text());
    let off = ask(port, &format!("POST /lockbox/v1/secrets/{id}:deactivate"), "").await;
    assert_eq!(off.status, 200, "{}", off.text());
    let unknown = ask(port, "POST /lockbox/v1/secrets", r#"{"canary":"value-canary"}"#).await;
    assert_eq!(unknown.status, 400);
    assert!(!unknown.text().contains("value-canary"), "an error repeats a value");
    let document = ask(port, "GET /openapi.json", "").await;
    let document: Value = serde_json::from_slice(&document.body).unwrap();
    for route in REST_ROUTES.iter().filter(|r| !r.grpc_path.starts_with("/yandex.cloud.kms.")) {
        let verb = route.verb.to_ascii_lowercase();
        assert!(document["paths"][route.template][&verb].is_object(), "{}", route.template);
    }
    // What the path says no body has to, and what a query must have is said to be needed.
    let body = "yandex.cloud.lockbox.v1.AddVersionRequest";
    assert!(document["components"]["schemas"][body].get("required").is_none());
    let listed = document["paths"]["/lockbox/v1/secrets"]["get"]["parameters"].as_array();
    let folder = listed.unwrap().iter().find(|parameter| parameter["name"] == "folderId");
    assert_eq!(folder.unwrap()["required"], true);
}
