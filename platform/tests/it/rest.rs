//! The gateway: paths, queries, bodies, answers and errors (`contract §0.4`, `§5.1`).

use std::sync::Arc;

use axum::body::Body;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use lockbox_platform::body_budget::BodyBudget;
use lockbox_platform::http_service::HttpService;
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::request::RequestContext;
use lockbox_platform::rest::RestGateway;
use lockbox_platform::system::SystemRandom;
use serde_json::{Value, json};

use crate::fixtures::{MOUNTED, router};

const UUID: &str = "0b0c1f9e-6a4f-4a57-8a3c-9d8e7f6a5b4c";

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    json: Value,
}

async fn ask(method: Method, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let metrics = Metrics::new(Prefix::Lockbox).expect("distinct names");
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).expect("a request");
    let response = router(&metrics).await.answer(request).await;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    let json = serde_json::from_slice(&bytes).expect("JSON");
    Answer { status: parts.status, headers: parts.headers, json }
}

async fn get(target: &str) -> Answer {
    ask(Method::GET, target, &[], "").await
}

#[tokio::test]
async fn a_list_is_json_with_ids_and_index() {
    let answer = get("/endpoints").await;
    assert_eq!(answer.status, StatusCode::OK);
    let expected = json!({ "endpoints": [{ "id": "iam", "address": "localhost:8443" }] });
    assert_eq!(answer.json, expected);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["lockbox-index"], "9");
    assert!(answer.headers.contains_key("x-request-id"));
    assert!(answer.headers.contains_key("x-server-trace-id"));
    assert!(!answer.headers.contains_key("grpc-status"));
}

#[tokio::test]
async fn an_error_has_code_message_details_and_http_status() {
    let headers = [("x-request-id", UUID)];
    let answer = ask(Method::GET, "/endpoints/none", &headers, "").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let expected = json!({
        "code": 5,
        "message": "there is no such endpoint",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                "resourceType": "endpoint",
                "resourceName": "none",
            },
            { "@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": UUID },
        ],
    });
    assert_eq!(answer.json, expected);
    assert_eq!(answer.headers["x-request-id"], UUID);
    assert_eq!(answer.headers["lockbox-index"], "7");
    assert_eq!(answer.headers["lockbox-term"], "2");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_json_too() {
    let unmounted = (Method::GET, "/lockbox/v1/secrets/e6q1");
    for (method, path) in [(Method::GET, "/nothing"), (Method::PUT, "/endpoints"), unmounted] {
        let answer = ask(method, path, &[], "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.json["code"], 5, "{path}");
        assert!(answer.headers.contains_key("x-request-id"), "{path}");
    }
}

#[tokio::test]
async fn a_query_with_dots_reaches_the_oneof() {
    for query in [
        "folderAndName.folderId=b1g1&folderAndName.secretName=airflow%2Fdb&versionId=e6q2",
        "folder_and_name.folder_id=b1g1&folder_and_name.secret_name=airflow/db&version_id=e6q2",
    ] {
        let answer = get(&format!("/lockbox/v1/secrets:getEx?{query}")).await;
        let expected = json!({
            "secretId": "b1g1/airflow/db", "versionId": "e6q2", "entries": { "key": "+/8=" },
        });
        assert_eq!((answer.status, answer.json), (StatusCode::OK, expected), "{query}");
    }
}

#[tokio::test]
async fn an_operation_prints_its_any_fields() {
    let answer = get("/operations/e6o1").await;
    let expected = json!({
        "id": "e6o1",
        "createdAt": "1970-01-01T00:00:01.005Z",
        "done": true,
        "metadata": {
            "@type": "type.googleapis.com/yandex.cloud.lockbox.v1.DeleteSecretMetadata",
            "secretId": "e6q1",
        },
        "response": {
            "@type": "type.googleapis.com/yandex.cloud.lockbox.v1.Secret", "id": "e6q1",
        },
    });
    assert_eq!(answer.json, expected);
    for method in [Method::GET, Method::POST] {
        let cancelled = ask(method, "/operations/e6o1:cancel", &[], "").await;
        assert_eq!(cancelled.json, json!({ "id": "e6o1" }));
    }
}

#[tokio::test]
async fn a_body_is_read_in_either_spelling_and_the_token_arrives() {
    let created = ask(Method::POST, "/iam/v1/tokens", &[], r#"{"jwt":"a.b.c"}"#).await;
    let expected = json!({ "iamToken": "a.b.c", "expiresAt": "2027-01-15T08:00:00Z" });
    assert_eq!((created.status, created.json), (StatusCode::OK, expected));

    let path = "/iam/v1/tokens:createForServiceAccount";
    for body in [r#"{"serviceAccountId":"aje1"}"#, r#"{"service_account_id":"aje1"}"#] {
        let with_token = ask(Method::POST, path, &[("authorization", "bearer t1.a.b")], body).await;
        assert_eq!(with_token.json, json!({ "iamToken": "t1.a.b" }));
        let without = ask(Method::POST, path, &[], body).await;
        assert_eq!(without.status, StatusCode::UNAUTHORIZED);
        assert_eq!(without.headers["lockbox-outcome"], "not-proposed");
    }
}

#[tokio::test]
async fn a_wrong_body_names_the_field_and_repeats_no_value() {
    let cases = [
        (r#"{"canary":"x"}"#, "canary: is not a field of the request"),
        (r#"{"jwt":["canary"]}"#, "jwt: is not of its type"),
        (r#"{"jwt":"canary","#, "body: is not JSON at line 1 column 16"),
        (r#"["canary"]"#, "body: is not a JSON object"),
        (r#"{"jwt":"canary","yandexPassportOauthToken":"canary"}"#, "body: names a field twice"),
    ];
    for (body, message) in cases {
        let answer = ask(Method::POST, "/iam/v1/tokens", &[], body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(answer.json["code"], 3, "{body}");
        let text = answer.json["message"].as_str().expect("a message");
        assert!(text.starts_with(message), "{body}: {text}");
        let details = &answer.json["details"][0];
        assert_eq!(details["@type"], "type.googleapis.com/google.rpc.BadRequest", "{body}");
    }
    let query = get("/operations/e6o1?canary=secret").await;
    assert_eq!(query.json["message"], "canary: is not a field of the request");
    assert!(!query.json.to_string().contains("secret"));
}

#[tokio::test]
async fn a_long_body_is_refused() {
    let body = format!(r#"{{"jwt":"{}"}}"#, "a".repeat(1 << 20));
    let answer = ask(Method::POST, "/iam/v1/tokens", &[], &body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.json["message"], "body: is longer than 1048576 bytes");
}

/// Bodies of REST are within the budget as well, and who is refused is told when to come back.
#[tokio::test]
async fn a_body_that_does_not_fit_into_the_budget_is_refused() {
    let grpc = HttpService::new(|_request| {
        Box::pin(std::future::ready(tonic::Status::internal("").into_http()))
    });
    let gateway = RestGateway::new(&MOUNTED, grpc, Arc::new(SystemRandom)).expect("routes");
    let known = |context: &RequestContext| context.bearer().is_ok();
    let gateway = gateway.within(BodyBudget::new(64, known)).into_service();
    let ask = async |token: Option<&str>, body: &str| {
        let mut request = Request::post("/iam/v1/tokens");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(Body::from(body.to_owned())).expect("a request");
        let response = gateway.answer(request).await;
        let status = response.status();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (status, serde_json::from_slice::<Value>(&bytes).expect("JSON"))
    };
    let body = r#"{"x":"1234567890"}"#;
    let (status, answer) = ask(None, body).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{answer}");
    let kinds: Vec<_> = answer["details"].as_array().expect("details").iter().collect();
    assert!(kinds.iter().any(|any| any["@type"] == "type.googleapis.com/google.rpc.RetryInfo"));
    // It goes on to its message, which it is not.
    assert_eq!(ask(Some("t1.a.b"), body).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(ask(None, "{}").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    // All of what was refused was given back.
    assert_eq!(ask(None, r#"{"x":"123456"}"#).await.0, StatusCode::BAD_REQUEST);
}

/// Who generates a client from it must get what the gateway does.
#[tokio::test]
async fn the_openapi_document_is_made_of_the_served_definitions() {
    let answer = get("/openapi.json").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers["content-type"], "application/json");
    let document = answer.json;
    assert_eq!(document["openapi"], "3.1.0");
    // Every reference leads somewhere.
    let mut references = Vec::new();
    collect_references(&document, &mut references);
    assert!(!references.is_empty());
    for reference in references {
        let pointer = reference.strip_prefix('#').expect("a reference within the document");
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    let endpoint = &document["paths"]["/endpoints/{api_endpoint_id}"]["get"];
    assert_eq!(endpoint["parameters"][0]["name"], "api_endpoint_id");
    assert_eq!(endpoint["parameters"][0]["required"], true);
    let list = &document["paths"]["/endpoints"]["get"]["parameters"];
    let names: Vec<_> = list.as_array().expect("a list").iter().map(|p| &p["name"]).collect();
    assert_eq!(names, ["pageSize", "pageToken"]);
    // Methods of services that are not mounted are not promised.
    assert!(document["paths"].get("/iam/v1/keys").is_none(), "a service that is not served");
    let post = ask(Method::POST, "/openapi.json", &[], "").await;
    assert_eq!(post.status, StatusCode::NOT_FOUND);
}

fn collect_references<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            into.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| collect_references(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| collect_references(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
