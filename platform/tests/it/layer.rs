//! The layer around gRPC services: ids on every answer, one count for every call.

use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use lockbox_platform::metrics::{Metrics, Prefix};
use tower::ServiceExt;

use crate::fixtures::router;

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
    let response = router(metrics).await.oneshot(request).await.expect("infallible");
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
    drop(router(&metrics).await.oneshot(request).await.expect("infallible"));
    let line = format!("lockbox_rpc_requests_total{{code=\"CANCELLED\",method=\"{list}\"}} 1");
    assert!(metrics.text().contains(&line), "{}", metrics.text());
}
