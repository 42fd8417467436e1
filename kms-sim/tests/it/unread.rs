//! Requests that are no message of their method: refused to nobody but who may call, and on record.

use axum::body::{Body, to_bytes};
use axum::http;
use lockbox_proto::google::rpc;
use prost::Message;
use tonic::client::GrpcService;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::server_support::{Asserted, ServerFixture, TOKEN, from_node, with_token};

pub(crate) fn records(server: &ServerFixture) -> Vec<serde_json::Value> {
    let audit = std::fs::read_to_string(server.data_dir().join("audit.jsonl")).unwrap();
    audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

type HttpRequest = http::Request<tonic::body::Body>;
type HttpResponse = http::Response<tonic::body::Body>;

async fn send(mut channel: Channel, request: HttpRequest) -> HttpResponse {
    type Body = tonic::body::Body;
    let ready = std::future::poll_fn(|cx| GrpcService::<Body>::poll_ready(&mut channel, cx));
    ready.await.unwrap();
    GrpcService::<Body>::call(&mut channel, request).await.unwrap()
}

fn body(bytes: impl Into<Body>) -> tonic::body::Body {
    tonic::body::Body::new(bytes.into())
}

/// By gRPC, with these metadata and a message whose first field is a number where the method has a
/// text.
async fn grpc(channel: Channel, path: &str, request: Request<()>) -> Status {
    grpc_message(channel, path, request, &[0x08, 0x01]).await
}

/// By gRPC, with these metadata and a message of these bytes; what it is refused with.
pub(crate) async fn grpc_message(
    channel: Channel,
    path: &str,
    request: Request<()>,
    message: &[u8],
) -> Status {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let message = body([&[0_u8][..], &length[..], message].concat());
    let mut sent = http::Request::post(path).body(message).unwrap();
    *sent.headers_mut() = request.into_parts().0.into_headers();
    let headers = sent.headers_mut();
    headers.insert("content-type", http::HeaderValue::from_static("application/grpc"));
    headers.insert("te", http::HeaderValue::from_static("trailers"));
    Status::from_header_map(send(channel, sent).await.headers()).unwrap()
}

/// As JSON over HTTP; status and answer.
async fn rest(
    channel: Channel,
    (method, path): (&str, &str),
    token: Option<&str>,
    json: &'static str,
) -> (u16, serde_json::Value) {
    let mut request = http::Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.header("content-type", "application/json").body(body(json)).unwrap();
    let response = send(channel, request).await;
    let status = response.status().as_u16();
    let bytes = to_bytes(Body::new(response.into_body()), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

/// `contract §5.2`: authentication first; `§14` no. 18: one record, over gRPC as over REST.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_message_is_refused_after_authentication_and_on_record() {
    let server = ServerFixture::start(|_| {}).await;
    let admin = Asserted::new("admin", "kms.admin");
    let cases = [
        (None, Request::new(()), Code::Unauthenticated, ""),
        (None, with_token((), TOKEN), Code::InvalidArgument, "admin"),
        (Some("node-1"), from_node((), &admin), Code::InvalidArgument, "admin"),
        (None, from_node((), &admin), Code::Unauthenticated, ""),
    ];
    for (number, (identity, request, expected, subject)) in cases.into_iter().enumerate() {
        let path = "/yandex.cloud.kms.v1.SymmetricCryptoService/Encrypt";
        let status = grpc(server.channel(identity).await, path, request).await;
        assert_eq!(status.code(), expected, "case {number}: {status:?}");
        let details = rpc::Status::decode(status.details()).unwrap().details;
        assert!(details[0].type_url.ends_with("google.rpc.RequestInfo"), "case {number}");
        let records = records(&server);
        assert_eq!(records.len(), number + 1, "case {number}");
        let record = &records[number];
        assert_eq!(record["event_type"], "yandex.cloud.audit.kms.Encrypt", "case {number}");
        assert_eq!(record["event_status"], "ERROR", "case {number}");
        let named = record["authentication"]["subject_id"].as_str().unwrap_or_default();
        assert_eq!(named, subject, "case {number}: {record}");
    }

    let before = records(&server).len();
    let create = ("POST", "/kms/v1/keys");
    let get = ("GET", "/kms/v1/keys/abj1?canary=value");
    for (number, (call, token, body, expected)) in [
        (create, None, r#"{"canary":"value"}"#, 401),
        (create, Some(TOKEN), r#"{"canary":"value"}"#, 400),
        (create, Some(TOKEN), "{", 400),
        (get, None, "", 401),
        (get, Some(TOKEN), "", 400),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, answer) = rest(server.channel(None).await, call, token, body).await;
        assert_eq!(status, expected, "case {number}: {answer}");
        assert!(!answer.to_string().contains("value"), "case {number}: {answer}");
        assert_eq!(records(&server).len(), before + number + 1, "case {number}");
    }
    let metrics = server.metrics_text();
    let created = "kms_rpc_requests_total{code=\"INVALID_ARGUMENT\",\
                   method=\"/yandex.cloud.kms.v1.SymmetricKeyService/Create\"} 2";
    assert!(metrics.contains(created), "{metrics}");
    server.stop().await;
}

/// Whoever calls a method that is not there sees which one that was; nothing is recorded of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_not_there_is_named() {
    let server = ServerFixture::start(|_| {}).await;
    for path in ["/yandex.cloud.kms.v1.SymmetricCryptoService/Steal", "/no.such.Service/Get"] {
        let status = grpc(server.channel(None).await, path, with_token((), TOKEN)).await;
        assert_eq!(status.code(), Code::Unimplemented, "{path}: {status:?}");
        assert_eq!(status.message(), format!("this server has no method {path}"));
        let details = rpc::Status::decode(status.details()).unwrap().details;
        assert!(details[0].type_url.ends_with("google.rpc.RequestInfo"), "{path}");
    }
    assert_eq!(records(&server).len(), 0);
    server.stop().await;
}
