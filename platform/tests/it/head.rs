//! HEAD over both versions of HTTP: an answer without a body, which over HTTP/2 would be a broken
//! stream to its client.

use std::net::SocketAddr;

use http_body_util::BodyExt;
use lockbox_platform::exit::FatalExit;
use lockbox_platform::health::{self, Readiness};
use lockbox_platform::listener::{ListenerLimits, Security, bind};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::tasks::Tasks;
use lockbox_platform::tls::endpoint;
use tower::Service;

use crate::fixtures::any_port;
use crate::hostile::exchange;
use crate::listener::{DEADLINE, plaintext};

/// Status, and the length that is told, of an answer without a body.
type Head = (u16, Option<String>);

async fn over_http2(address: SocketAddr, path: &str) -> Head {
    let channel = endpoint(&address.to_string(), None).expect("an address").connect().await;
    let mut channel = channel.expect("a connection");
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("a connection");
    let request = http::Request::head(path).body(tonic::body::Body::empty()).expect("a request");
    let (parts, body) = channel.call(request).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("a whole stream").to_bytes();
    assert!(body.is_empty(), "{path}: {body:?}");
    let length = parts.headers.get("content-length");
    (parts.status.as_u16(), length.map(|value| value.to_str().expect("text").to_owned()))
}

async fn over_http1(address: SocketAddr, path: &str) -> Head {
    let request = format!("HEAD {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = exchange(address, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert_eq!(body, "", "{path}");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    (status, length.map(str::to_owned))
}

#[tokio::test]
async fn head_is_answered_with_a_head_alone() {
    let (api, api_tasks) = plaintext(ListenerLimits::default()).await;
    let metrics = Metrics::new(Prefix::Lockbox).expect("distinct names");
    let tasks = Tasks::new(FatalExit::new());
    let bound = bind("metrics", any_port(), Security::PlaintextHealth).await.expect("a port");
    let routes = health::router(metrics.clone(), Readiness::new(), FatalExit::new());
    let health = bound.start(routes, &tasks, ListenerLimits::default(), metrics.tls.clone());
    for (address, path, status) in [
        (api.local_addr(), "/openapi.json", 200),
        // What is read is billed and audited: nobody reads by HEAD.
        (api.local_addr(), "/endpoints", 404),
        (api.local_addr(), "/nothing", 404),
        (health.local_addr(), "/metrics", 200),
        (health.local_addr(), "/livez", 200),
        (health.local_addr(), "/readyz", 200),
        (health.local_addr(), "/nothing", 404),
    ] {
        for (answered, length) in [over_http1(address, path).await, over_http2(address, path).await]
        {
            assert_eq!(answered, status, "{path}");
            // An answer of `/nothing` of the health port has no body to begin with.
            let told = length.is_some_and(|length| length.parse::<u64>().is_ok_and(|n| n > 0));
            assert_eq!(told, (address, path) != (health.local_addr(), "/nothing"), "{path}");
        }
    }
    for (serving, tasks) in [(api, api_tasks), (health, tasks)] {
        serving.stop(DEADLINE).await;
        assert_eq!(tasks.shutdown(DEADLINE).await, Ok(()));
    }
}
