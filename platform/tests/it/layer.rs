//! The layer around gRPC services: ids on every answer, one count for every call.

use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::Frame;
use http_body_util::BodyExt;
use lockbox_platform::body_budget::BodyBudget;
use lockbox_platform::grpc_services::GrpcServices;
use lockbox_platform::http_service::HttpService;
use lockbox_platform::listener::ConnectionInfo;
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::request_layer::RequestLayer;
use lockbox_platform::system::SystemRandom;
use lockbox_proto::google::rpc;
use lockbox_proto::yandex::cloud::endpoint::api_endpoint_service_server::ApiEndpointServiceServer;
use prost::Message;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::fixtures::{Echo, router};

const UUID: &str = "0b0c1f9e-6a4f-4a57-8a3c-9d8e7f6a5b4c";

fn grpc(path: &str, message: &'static [u8]) -> Request<Body> {
    Request::post(path)
        .header("content-type", "application/grpc")
        .header("x-request-id", UUID)
        .body(Body::from(message))
        .expect("a request")
}

/// Headers and trailers of a call, and what was counted.
async fn call(metrics: &Metrics, request: Request<Body>) -> (HeaderMap, HeaderMap) {
    let response = router(metrics).await.answer(request).await;
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.expect("a body");
    (parts.headers, collected.trailers().cloned().unwrap_or_default())
}

#[tokio::test]
async fn success_and_failure_carry_the_ids_and_are_counted() {
    let metrics = Metrics::new(Prefix::Lockbox).expect("distinct names");
    let list = "/yandex.cloud.endpoint.ApiEndpointService/List";
    let (headers, trailers) = call(&metrics, grpc(list, &[0, 0, 0, 0, 0])).await;
    assert_eq!(headers["x-request-id"], UUID);
    assert!(headers.contains_key("x-server-trace-id"));
    assert_eq!(trailers["grpc-status"], "0");

    let get = "/yandex.cloud.endpoint.ApiEndpointService/Get";
    let (failed, _) = call(&metrics, grpc(get, &[0, 0, 0, 0, 0])).await;
    assert_eq!(failed["grpc-status"], "5");
    assert_eq!(failed["x-request-id"], UUID);
    assert_eq!(failed.get_all("x-request-id").iter().count(), 1);
    assert!(failed.contains_key("grpc-status-details-bin"));

    let (unknown, _) = call(&metrics, grpc("/canary.Service/Canary", &[])).await;
    assert_eq!(unknown["grpc-status"], "12");

    let text = metrics.text();
    for line in [
        format!("lockbox_rpc_requests_total{{code=\"OK\",method=\"{list}\"}} 1"),
        format!("lockbox_rpc_requests_total{{code=\"NOT_FOUND\",method=\"{get}\"}} 1"),
        "lockbox_rpc_requests_total{code=\"UNIMPLEMENTED\",method=\"unknown\"} 1".to_owned(),
        "lockbox_rpc_in_flight 0".to_owned(),
    ] {
        assert!(text.contains(&line), "{line} in {text}");
    }
    assert!(!text.contains("canary"));
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_cancelled() {
    let metrics = Metrics::new(Prefix::Lockbox).expect("distinct names");
    let list = "/yandex.cloud.endpoint.ApiEndpointService/List";
    let request = grpc(list, &[0, 0, 0, 0, 0]);
    drop(router(&metrics).await.answer(request).await);
    let line = format!("lockbox_rpc_requests_total{{code=\"CANCELLED\",method=\"{list}\"}} 1");
    assert!(metrics.text().contains(&line), "{}", metrics.text());
}

/// The body of a client that pings and never finishes: a byte each `pause`, or only the first.
pub(crate) struct Unfinished {
    next: Pin<Box<tokio::time::Sleep>>,
    pause: Duration,
    _held: Arc<()>,
}

impl Unfinished {
    pub(crate) fn new(pause: Duration) -> (Self, Weak<()>) {
        let held = Arc::new(());
        let weak = Arc::downgrade(&held);
        (Self { next: Box::pin(tokio::time::sleep(Duration::ZERO)), pause, _held: held }, weak)
    }
}

impl http_body::Body for Unfinished {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        std::task::ready!(self.next.as_mut().poll(cx));
        let next = Instant::now() + self.pause;
        self.next.as_mut().reset(next);
        // The head of a message of 4 MiB, and as its begin the same again.
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0, 0, 0x40, 0, 0])))))
    }
}

/// Memory is not held for a message that does not come, whoever does not send it.
#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_arrive_in_time_is_let_go() {
    let list = "/yandex.cloud.endpoint.ApiEndpointService/List";
    let day = Duration::from_secs(86_400);
    let second = Duration::from_secs(1);
    for (pause, timeout, expected_ms) in [
        (day, None, 30_000),
        (second, None, 30_000),
        (day, Some("5S"), 4_900),
        (day, Some("5M"), 30_000),
    ] {
        let metrics = Metrics::new(Prefix::Lockbox).expect("distinct names");
        let router = router(&metrics).await;
        let (body, held) = Unfinished::new(pause);
        let mut request = grpc(list, &[]).map(|_| Body::new(body));
        if let Some(timeout) = timeout {
            request.headers_mut().insert("grpc-timeout", timeout.parse().expect("a header"));
        }
        let begun = Instant::now();
        let response = router.answer(request).await;
        assert_eq!(begun.elapsed().as_millis(), expected_ms, "{timeout:?}");
        assert_eq!(response.headers()["grpc-status"], "4");
        assert_eq!(response.headers()["lockbox-outcome"], "not-proposed");
        assert!(response.headers().contains_key("grpc-status-details-bin"));
        assert!(held.upgrade().is_none(), "the body is still held");
    }
}

/// A body that has begun and does not go on.
struct Begun(Option<Bytes>);

impl http_body::Body for Begun {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.take().map_or(Poll::Pending, |first| Poll::Ready(Some(Ok(Frame::data(first)))))
    }
}

/// What nobody finishes fills its part and no more, and keeps nobody out who has shown who it is.
#[tokio::test]
async fn unfinished_requests_are_within_a_budget() {
    let list = "/yandex.cloud.endpoint.ApiEndpointService/List";
    let metrics = Metrics::new(Prefix::Lockbox).expect("distinct names");
    let budget = BodyBudget::new(80, |context| context.bearer().is_ok());
    let services = GrpcServices::new().with(ApiEndpointServiceServer::new(Echo)).into_service();
    let layer = RequestLayer::new(Arc::new(SystemRandom), metrics.rpc.clone());
    let services = layer.within(budget).around(services);
    let whole = || grpc(list, &[0, 0, 0, 0, 0]);
    let known = || {
        let mut request = whole();
        request.headers_mut().insert("authorization", "Bearer t1.a.b".parse().expect("a header"));
        request
    };
    let code = async |request| {
        let (parts, body) = services.answer(request).await.into_parts();
        let trailers = body.collect().await.expect("a body").trailers().cloned();
        let in_trailers = || Status::from_header_map(&trailers?);
        Status::from_header_map(&parts.headers).or_else(in_trailers)
    };
    // A quarter of it in four pieces.
    let first = || Begun(Some(Bytes::from_static(&[0, 0, 0x40, 0, 0])));
    let mut unfinished: Vec<_> =
        (0..4).map(|_| services.answer(grpc(list, &[]).map(|_| Body::new(first())))).collect();
    for one in &mut unfinished {
        assert!(futures::poll!(one).is_pending());
    }
    let refused = code(whole()).await.expect("a status");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let details = rpc::Status::decode(refused.details()).expect("details").details;
    for kind in ["RetryInfo", "RequestInfo"] {
        assert!(details.iter().any(|any| any.type_url.ends_with(kind)), "{kind}");
    }
    for _ in 0..20 {
        assert_eq!(code(known()).await.expect("a status").code(), Code::Ok);
    }
    unfinished.pop();
    assert_eq!(code(whole()).await.expect("a status").code(), Code::Ok);
}

/// However many connections an address has, others have room.
#[tokio::test]
async fn what_one_address_does_not_finish_keeps_no_other_out() {
    let list = "/yandex.cloud.endpoint.ApiEndpointService/List";
    let metrics = Metrics::new(Prefix::Lockbox).expect("distinct names");
    // The largest message with its head: less is no bound for an address.
    let largest = (4 << 20) + 5;
    let budget = BodyBudget::new(8 * largest, |_context| false);
    let services = GrpcServices::new().with(ApiEndpointServiceServer::new(Echo)).into_service();
    let layer = RequestLayer::new(Arc::new(SystemRandom), metrics.rpc.clone());
    let services = layer.within(budget).around(services);
    let from = |last: u8, mut request: Request<Body>| {
        let remote_addr = ([192, 0, 2, last], 4711).into();
        let connection = ConnectionInfo { remote_addr, peer_identity: None, tls: true };
        request.extensions_mut().insert(connection);
        request
    };
    let mut almost = vec![0; largest - 1];
    almost[2] = 0x40;
    let begun = Begun(Some(Bytes::from(almost)));
    let mut unfinished = services.answer(from(1, grpc(list, &[]).map(|_| Body::new(begun))));
    assert!(futures::poll!(&mut unfinished).is_pending());
    for (last, refused) in [(1, true), (2, false)] {
        let answer = services.answer(from(last, grpc(list, &[0, 0, 0, 0, 0]))).await;
        let head = Status::from_header_map(answer.headers());
        let is_refused = head.is_some_and(|status| status.code() == Code::ResourceExhausted);
        assert_eq!(is_refused, refused, "192.0.2.{last}");
    }
}

/// A message that waits in its call takes up as much as one that has not arrived.
#[tokio::test]
async fn what_is_under_way_counts_until_it_has_ended() {
    let metrics = Metrics::new(Prefix::Lockbox).expect("distinct names");
    let budget = BodyBudget::new(32, |_context| false);
    let waiting = HttpService::new(|request: Request<Body>| {
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let read = body.collect().await;
            if read.is_ok() && parts.uri.path() == "/a.B/Wait" {
                std::future::pending::<()>().await;
            }
            let ended = if read.is_ok() { Status::ok("") } else { Status::aborted("") };
            ended.into_http()
        })
    });
    let layer = RequestLayer::new(Arc::new(SystemRandom), metrics.rpc.clone());
    let services = layer.within(budget).around(waiting);
    let ask = async |path: &str| {
        let answer = services.answer(grpc(path, b"12345678")).await;
        Status::from_header_map(answer.headers()).expect("a status").code()
    };
    assert_eq!(ask("/a.B/End").await, Code::Ok);
    let mut waiting = services.answer(grpc("/a.B/Wait", b"1"));
    assert!(futures::poll!(&mut waiting).is_pending());
    assert_eq!(ask("/a.B/End").await, Code::Aborted, "its message is no longer counted");
    drop(waiting);
    assert_eq!(ask("/a.B/End").await, Code::Ok);
}

#[tokio::test]
async fn calls_of_no_service_are_unimplemented_and_the_others_get_the_rest() {
    let other = HttpService::new(|_request| Box::pin(ready(Status::aborted("other").into_http())));
    let bare = GrpcServices::new().with(ApiEndpointServiceServer::new(Echo));
    let services = bare.into_service();
    let bare = GrpcServices::new().with(ApiEndpointServiceServer::new(Echo));
    let with_others = bare.with_others(other).into_service();
    let own = "/yandex.cloud.endpoint.ApiEndpointService/NoMethod";
    for (path, code, code_with_others) in [
        (own, Code::Unimplemented, Code::Unimplemented),
        ("/yandex.cloud.endpoint.ApiEndpoint/List", Code::Unimplemented, Code::Aborted),
        ("/yandex.cloud.endpoint.ApiEndpointService", Code::Unimplemented, Code::Aborted),
        ("/", Code::Unimplemented, Code::Aborted),
        ("*", Code::Unimplemented, Code::Aborted),
    ] {
        for (services, code) in [(&services, code), (&with_others, code_with_others)] {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            let response = services.answer(request).await;
            let status = Status::from_header_map(response.headers()).unwrap();
            assert_eq!(status.code(), code, "{path}");
        }
    }
}
