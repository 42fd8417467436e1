//! What the public listener serves as a whole: what is no call of ours, health, reflection, REST.

use std::collections::BTreeSet;

use axum::body::{Body, to_bytes};
use lockbox::router::{self, OWN_SERVICES, PUBLIC_SERVICES};
use lockbox_platform::detach::CALLS_MAX;
use lockbox_proto::yandex::cloud::endpoint::GetApiEndpointRequest;
use lockbox_proto::yandex::cloud::endpoint::api_endpoint_service_client::ApiEndpointServiceClient;
use lockbox_proto::yandex::cloud::lockbox::v1::GetSecretRequest;
use prost::Message;
use serde_json::json;
use tokio_stream::StreamExt;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::client::text;
use crate::fixture::Node;
use crate::raw::Raw;

/// Discovery needs no token, and its one error says as much as every other (`contract §5.1`).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_endpoint_is_named_with_its_request() {
    let node = Node::start().await;
    let mut client = ApiEndpointServiceClient::new(node.channel.clone());
    let get = |id: &str| GetApiEndpointRequest { api_endpoint_id: id.into() };
    assert!(client.get(get("lockbox-payload")).await.is_ok());
    let status = client.get(get("nowhere")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let details = lockbox_proto::google::rpc::Status::decode(status.details()).unwrap().details;
    for kind in ["RequestInfo", "ResourceInfo"] {
        assert!(details.iter().any(|any| any.type_url.ends_with(kind)), "{kind}");
    }
    node.stop().await;
}

/// As a client of another language may send: bytes that are no message, text that is no UTF-8, more
/// than the server reads. `contract §5.2`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_does_not_decode_is_an_invalid_argument_on_record() {
    let node = Node::start().await;
    let canary = b"\x0a\x08canary\xff\xfe".to_vec();
    let secret = "/yandex.cloud.lockbox.v1.SecretService/Create";
    let login = "/yandex.cloud.iam.v1.IamTokenService/Create";
    let discovery = "/yandex.cloud.endpoint.ApiEndpointService/Get";
    let with = |message: Vec<u8>| node.request(message);
    let without = Request::new;
    let cases: [(&'static str, Request<Vec<u8>>, Code); 6] = [
        (secret, with(vec![0x0a, 0x7f]), Code::InvalidArgument),
        (secret, with(canary.clone()), Code::InvalidArgument),
        (secret, with(vec![0; (4 << 20) + 1]), Code::InvalidArgument),
        (secret, without(canary.clone()), Code::Unauthenticated),
        (login, without(canary.clone()), Code::InvalidArgument),
        (discovery, without(canary), Code::InvalidArgument),
    ];
    for (path, request, expected) in cases {
        let before = node.audit().lines().count();
        let mut client = tonic::client::Grpc::new(node.channel.clone());
        client.ready().await.unwrap();
        let at = PathAndQuery::from_static(path);
        let answer: Result<tonic::Response<Vec<u8>>, _> = client.unary(request, at, Raw).await;
        let status = answer.unwrap_err();
        assert_eq!(status.code(), expected, "{path}: {status:?}");
        assert!(!format!("{status:?}").contains("canary"), "{status:?}");
        let details = lockbox_proto::google::rpc::Status::decode(status.details()).unwrap();
        assert!(details.details[0].type_url.ends_with("google.rpc.RequestInfo"), "{path}");
        let written = node.audit().lines().count() - before;
        assert_eq!(written, usize::from(path != discovery), "{path}");
    }
    assert!(!node.audit().contains("canary"));
    node.stop().await;
}

/// The same over REST: neither a field that is none, nor a query, nor a body that is no JSON, is
/// judged for who may not call, and each is a call on record and in the metrics.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rest_request_that_is_no_message_is_a_call_like_any_other() {
    let node = Node::start().await;
    let router = router::public(&node.app, node.metrics.rpc.clone()).unwrap();
    let secrets = ("POST", "/lockbox/v1/secrets");
    let operation = ("GET", "/operations/canary?y=canary");
    let login = ("POST", "/iam/v1/tokens");
    let endpoints = ("GET", "/endpoints?y=canary");
    let long = format!(r#"{{"name":"{}"}}"#, "x".repeat(1 << 20));
    let long = long.as_str();
    let wrong = r#"{"x":"canary"}"#;
    let cases = [
        (secrets, false, wrong, 401, "CreateSecret"),
        (secrets, true, wrong, 400, "CreateSecret"),
        (secrets, true, "{", 400, "CreateSecret"),
        (secrets, false, long, 401, "CreateSecret"),
        (secrets, true, long, 400, "CreateSecret"),
        (operation, false, "", 401, "GetOperation"),
        (operation, true, "", 400, "GetOperation"),
        // Who has no token yet is told what is wrong; discovery is not recorded.
        (login, false, wrong, 400, "CreateIamToken"),
        (endpoints, false, "", 400, ""),
    ];
    for (number, ((method, uri), known, body, expected, event)) in cases.into_iter().enumerate() {
        let before = node.audit().lines().count();
        let mut request = http::Request::builder().method(method).uri(uri);
        if known {
            request = request.header("authorization", format!("Bearer {}", node.token()));
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = router.answer(request).await;
        let status = response.status().as_u16();
        let named = response.headers().contains_key("x-request-id");
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(status, expected, "case {number}: {answer}");
        assert!(named, "case {number}");
        let details = answer["details"].as_array().unwrap();
        let has =
            |kind: &str| details.iter().any(|any| any["@type"].as_str().unwrap().ends_with(kind));
        assert!(has("google.rpc.RequestInfo"), "case {number}: {answer}");
        // What is wrong is said to who may call, and nobody is told what was sent.
        assert_eq!(has("google.rpc.BadRequest"), expected == 400, "case {number}: {answer}");
        assert!(!answer.to_string().contains("canary"), "case {number}: {answer}");
        let audit = node.audit();
        let written: Vec<_> = audit.lines().skip(before).collect();
        assert_eq!(written.len(), usize::from(!event.is_empty()), "case {number}");
        for line in written {
            let record: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(record["event_type"].as_str().unwrap().ends_with(event), "{record}");
            assert_eq!(record["event_status"], "ERROR");
            let subject = record["authentication"]["subject_id"].as_str().unwrap_or_default();
            assert_eq!(subject, if known { node.made.admin_id.as_str() } else { "" }, "{record}");
        }
    }
    assert!(!node.audit().contains("canary"));
    let create = "/yandex.cloud.lockbox.v1.SecretService/Create";
    let metrics = node.metrics.text();
    for (code, calls) in [("INVALID_ARGUMENT", 3), ("UNAUTHENTICATED", 2)] {
        let counted =
            format!("lockbox_rpc_requests_total{{code=\"{code}\",method=\"{create}\"}} {calls}");
        assert!(metrics.contains(&counted), "{metrics}");
    }
    node.stop().await;
}

/// Calls outlive their callers, so there is a bound on them: the answer beyond it says what it is,
/// and when to come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beyond_so_many_calls_the_next_ones_are_told_to_come_back() {
    let node = Node::start().await;
    let secret = node.create(vec![text("k", "v")], "").await;
    let get = || node.request(GetSecretRequest { secret_id: secret.id.clone() });
    let under_way: Vec<_> = (0..CALLS_MAX).map(|_| node.app.calls.token()).collect();
    let before = node.audit().lines().count();
    let refused = node.secrets().get(get()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert_eq!(refused.metadata().get("lockbox-outcome").unwrap(), "not-proposed");
    let details = lockbox_proto::google::rpc::Status::decode(refused.details()).unwrap().details;
    for kind in ["RequestInfo", "RetryInfo"] {
        assert!(details.iter().any(|any| any.type_url.ends_with(kind)), "{kind}");
    }
    // Nor is there room for recording what did not decode.
    let mut client = tonic::client::Grpc::new(node.channel.clone());
    client.ready().await.unwrap();
    let at = PathAndQuery::from_static("/yandex.cloud.lockbox.v1.SecretService/Create");
    let answer: Result<tonic::Response<Vec<u8>>, _> =
        client.unary(node.request(vec![0x0a, 0x7f]), at, Raw).await;
    assert_eq!(answer.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(node.audit().lines().count(), before);
    drop(under_way);
    node.secrets().get(get()).await.unwrap();
    node.stop().await;
}

/// What is in no definition is no call: a scanner must not fill the audit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_methods_are_refused_and_not_recorded() {
    let node = Node::start().await;
    let before = node.audit().lines().count();
    for path in ["/yandex.cloud.lockbox.v1.SecretService/Steal", "/no.such.Service/Get"] {
        let mut client = tonic::client::Grpc::new(node.channel.clone());
        client.ready().await.unwrap();
        let request: Request<()> = node.request(());
        let at = PathAndQuery::from_static(path);
        let answer = client.unary(request, at, ProstCodec::<(), ()>::default()).await;
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
        assert_eq!(status.message(), format!("this server has no method {path}"));
        let details = lockbox_proto::google::rpc::Status::decode(status.details()).unwrap();
        assert!(details.details[0].type_url.ends_with("google.rpc.RequestInfo"), "{path}");
    }
    assert_eq!(node.audit().lines().count(), before);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_answers_without_a_token_and_follows_readiness() {
    let node = Node::start().await;
    let mut client = HealthClient::new(node.channel.clone());
    let asked = |service: &str| HealthCheckRequest { service: service.into() };
    for service in std::iter::once("").chain(PUBLIC_SERVICES) {
        let status = client.check(asked(service)).await.unwrap().into_inner().status();
        assert_eq!(status, ServingStatus::Serving, "{service}");
    }
    let unknown = client.check(asked("no.such.Service")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let mut watched = client.watch(asked("")).await.unwrap().into_inner();
    let mut next = async || watched.next().await.unwrap().unwrap().status();
    assert_eq!(next().await, ServingStatus::Serving);
    let part = node.app.readiness.component("part");
    assert_eq!(next().await, ServingStatus::NotServing);
    part.ready();
    assert_eq!(next().await, ServingStatus::Serving);
    drop(watched);
    node.stop().await;
}

/// The services of identity and folders by REST (`contract §0.4`), through the same handlers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_keys_and_folders_answer_to_rest() {
    let node = Node::start().await;
    let router = router::public(&node.app, node.metrics.rpc.clone()).unwrap();
    let call = async |method: &str, uri: String, body: serde_json::Value| {
        let request = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("authorization", format!("Bearer {}", node.token()))
            .body(Body::from(if body.is_null() { String::new() } else { body.to_string() }));
        let response = router.answer(request.unwrap()).await;
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, serde_json::from_slice::<serde_json::Value>(&bytes).unwrap())
    };
    let folder = node.made.folder_id.as_str();
    let body = json!({"folderId": folder, "name": "robot"});
    let (status, made) = call("POST", "/iam/v1/serviceAccounts".into(), body).await;
    assert_eq!(status, 200, "{made}");
    let type_of = |any: &serde_json::Value| any["@type"].as_str().unwrap().to_owned();
    let prefix = "type.googleapis.com/yandex.cloud.";
    let expected = format!("{prefix}iam.v1.CreateServiceAccountMetadata");
    assert_eq!(type_of(&made["metadata"]), expected);
    let account = made["response"]["id"].as_str().unwrap().to_owned();

    let body = json!({"serviceAccountId": account, "keyAlgorithm": "RSA_2048"});
    let (status, key) = call("POST", "/iam/v1/keys".into(), body).await;
    assert_eq!(status, 200);
    assert!(key["privateKey"].as_str().unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    let uri = format!("/iam/v1/keys?serviceAccountId={account}");
    let (_, listed) = call("GET", uri, serde_json::Value::Null).await;
    assert_eq!(listed["keys"][0], key["key"]);

    let subject = json!({"id": account, "type": "serviceAccount"});
    let body = json!({"accessBindings": [{"roleId": "lockbox.viewer", "subject": subject}]});
    let uri = format!("/resource-manager/v1/folders/{folder}:setAccessBindings");
    let (status, bound) = call("POST", uri, body.clone()).await;
    assert_eq!(status, 200, "{bound}");
    let expected = format!("{prefix}access.AccessBindingsOperationResult");
    assert_eq!(type_of(&bound["response"]), expected);
    let uri = format!("/resource-manager/v1/folders/{folder}:listAccessBindings");
    let (_, listed) = call("GET", uri, serde_json::Value::Null).await;
    assert_eq!(listed, body);

    let uri = format!("/iam/v1/keys/{}", key["key"]["id"].as_str().unwrap());
    let (status, deleted) = call("DELETE", uri, serde_json::Value::Null).await;
    assert_eq!((status, deleted["done"].as_bool()), (200, Some(true)));
    let uri = format!("/iam/v1/serviceAccounts/{account}:suspend");
    let (status, suspended) = call("POST", uri, json!({})).await;
    assert_eq!(status, 200, "{suspended}");
    let expected = format!("{prefix}iam.v1.SuspendServiceAccountResponse");
    assert_eq!(type_of(&suspended["response"]), expected);
    let uri = format!("/iam/v1/serviceAccounts/{account}/operations");
    let (status, done) = call("GET", uri, serde_json::Value::Null).await;
    assert_eq!((status, &done["operations"][0]), (200, &suspended));
    let uri = format!("/resource-manager/v1/folders/{folder}");
    let (status, refused) = call("DELETE", uri, serde_json::Value::Null).await;
    assert_eq!((status, refused["code"].as_i64()), (501, Some(12)));
    assert!(refused["details"][0]["requestId"].is_string(), "{refused}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_lists_the_services() {
    let node = Node::start().await;
    let mut client = ServerReflectionClient::new(node.channel.clone());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap();
    let answer = answers.into_inner().next().await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list");
    };
    let names: BTreeSet<_> = list.service.into_iter().map(|service| service.name).collect();
    let expected = PUBLIC_SERVICES
        .into_iter()
        .chain(OWN_SERVICES)
        .chain(["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]);
    // What is not served here is not listed: neither the peers' services nor the KMS's.
    assert_eq!(names, expected.map(str::to_owned).collect());
    node.stop().await;
}

/// Nothing is compressed here: an answer's length would tell of what is in it. Who tries is told
/// why, and not that there is no such method.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_request_is_refused_for_what_it_is() {
    let node = Node::start().await;
    let secret = "/yandex.cloud.lockbox.v1.SecretService/Get";
    let discovery = "/yandex.cloud.endpoint.ApiEndpointService/List";
    for (path, records) in [(secret, 1), (discovery, 0)] {
        let before = node.audit().lines().count();
        let mut client = tonic::client::Grpc::new(node.channel.clone());
        client.ready().await.unwrap();
        let mut request = node.request(vec![0x1f, 0x8b]);
        request.metadata_mut().insert("grpc-encoding", "gzip".parse().unwrap());
        let at = PathAndQuery::from_static(path);
        let answer: Result<tonic::Response<Vec<u8>>, _> = client.unary(request, at, Raw).await;
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
        assert!(status.message().starts_with("the request is compressed"), "{path}: {status:?}");
        assert_eq!(status.metadata().get("grpc-accept-encoding").unwrap(), "identity", "{path}");
        let details = lockbox_proto::google::rpc::Status::decode(status.details()).unwrap();
        assert!(details.details[0].type_url.ends_with("google.rpc.RequestInfo"), "{path}");
        assert_eq!(node.audit().lines().count() - before, records, "{path}");
    }
    node.stop().await;
}
