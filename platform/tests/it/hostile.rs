//! Clients that send too much, too slowly or nothing, and those that do not read: each gets a clear
//! answer or is let go, and the others are served.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use http_body_util::BodyExt;
use lockbox_platform::listener::ListenerLimits;
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::tls::endpoint;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;
use tower::Service;

use crate::fixtures::router;
use crate::layer::Unfinished;
use crate::listener::{DEADLINE, check, plaintext};

const PING: u8 = 6;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
/// The first bytes of a client of HTTP/2, with settings that change nothing.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Sends bytes over HTTP/1.1 and reads what is answered until the server closes.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut reader, mut writer) = stream.into_split();
    let mut answer = Vec::new();
    // The server may answer before it has read all of it.
    let write = async { writer.write_all(request).await.is_ok() };
    let read = async { reader.read_to_end(&mut answer).await };
    let both = async { tokio::join!(write, read) };
    let (_all_sent, read) = timeout(DEADLINE, both).await.expect("an answer in time");
    read.expect("an answer");
    String::from_utf8(answer).expect("text")
}

fn chunked(bytes: usize) -> Vec<u8> {
    const CHUNK: usize = 64 << 10;
    let mut body = Vec::new();
    for _ in 0..bytes / CHUNK {
        body.extend(format!("{CHUNK:x}\r\n").into_bytes());
        body.extend(vec![b' '; CHUNK]);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    body
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_however_it_is_sent() {
    let (serving, tasks) = plaintext(ListenerLimits::default()).await;
    let address = serving.local_addr();
    let head = |more: &str| {
        format!("POST /iam/v1/tokens HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}\r\n\r\n")
    };
    let length = 2 << 20;
    let counted =
        [head(&format!("content-length: {length}")).into_bytes(), vec![b' '; length]].concat();
    let in_chunks = [head("transfer-encoding: chunked").into_bytes(), chunked(length)].concat();
    // Of this one nothing is ever sent: it is not waited for.
    let announced = head("content-length: 99999999999").into_bytes();
    let begun = Instant::now();
    for request in [counted, in_chunks, announced] {
        let answer = exchange(address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("body: is longer than 1048576 bytes"), "{answer}");
        assert!(answer.contains(r#""field":"body""#), "{answer}");
    }
    assert!(begun.elapsed() < DEADLINE);
    serving.stop(DEADLINE).await;
    assert_eq!(tasks.shutdown(DEADLINE).await, Ok(()));
}

#[tokio::test]
async fn a_flood_of_headers_is_refused_over_both_versions() {
    let (serving, tasks) = plaintext(ListenerLimits::default()).await;
    let address = serving.local_addr();
    // Many small ones; a long one is in the tests of the listener.
    let many: String = (0..1_000).map(|n| format!("x-{n}: {n}\r\n")).collect();
    let request = format!("GET /endpoints HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    let answer = exchange(address, request.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");

    let mut channel = connect(address, None).await;
    for (length, status) in [(20_000, 200), (60_000, 431)] {
        let request = http::Request::get("/endpoints").header("x", "a".repeat(length));
        let request = request.body(tonic::body::Body::empty()).expect("a request");
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("a connection");
        let answer = channel.call(request).await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{length}");
    }
    // The connection is still good for others.
    assert!(check(channel).await.is_ok());
    serving.stop(DEADLINE).await;
    assert_eq!(tasks.shutdown(DEADLINE).await, Ok(()));
}

/// A byte now and then, or none at all: over REST as over gRPC.
#[tokio::test(start_paused = true)]
async fn a_rest_body_that_does_not_arrive_in_time_is_let_go() {
    for pause in [Duration::from_secs(1), Duration::from_secs(86_400)] {
        let metrics = Metrics::new(Prefix::Lockbox).expect("distinct names");
        let (body, held) = Unfinished::new(pause);
        let request = http::Request::post("/iam/v1/tokens").body(Body::new(body));
        let begun = Instant::now();
        let response = router(&metrics).await.answer(request.expect("a request")).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(30));
        assert_eq!(response.status().as_u16(), 504);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(json["message"], "the body did not arrive in time");
        assert!(held.upgrade().is_none(), "the body is still held");
    }
}

async fn connect(address: SocketAddr, window: Option<u32>) -> Channel {
    let endpoint = endpoint(&address.to_string(), None).expect("an address");
    endpoint.initial_stream_window_size(window).connect().await.expect("a connection")
}

/// Answers pings until the server ends the connection; the types of the frames that came.
async fn frames_until_the_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut types = Vec::new();
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("a small frame")];
        stream.read_exact(&mut payload).await.expect("a whole frame");
        types.push(head[3]);
        if head[3] == PING && head[4] & ACK == 0 {
            let pong = [[0, 0, 8, PING, ACK, 0, 0, 0, 0].as_slice(), &payload].concat();
            stream.write_all(&pong).await.expect("sent");
        }
    }
    types
}

#[tokio::test]
async fn an_idle_connection_is_told_to_end_and_a_slow_request_is_not_idle() {
    let idle_timeout = Duration::from_millis(300);
    let limits = ListenerLimits { idle_timeout, ..ListenerLimits::default() };
    let (serving, tasks) = plaintext(limits).await;
    let address = serving.local_addr();

    // One that has asked something, one that has not said anything, one of HTTP/2.
    let mut asked = TcpStream::connect(address).await.expect("a connection");
    asked.write_all(b"GET /endpoints HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let mut silent = TcpStream::connect(address).await.expect("a connection");
    let mut second = TcpStream::connect(address).await.expect("a connection");
    second.write_all(PREFACE).await.expect("sent");
    let (mut answer, mut nothing) = (String::new(), String::new());
    let ends = async {
        let asked = asked.read_to_string(&mut answer);
        let silent = silent.read_to_string(&mut nothing);
        tokio::join!(asked, silent, frames_until_the_end(&mut second))
    };
    let (asked, silent, types) = timeout(DEADLINE, ends).await.expect("ends in time");
    assert!(asked.is_ok() && silent.is_ok());
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(nothing, "");
    assert!(types.contains(&GOAWAY), "{types:?}");

    let mut slow = TcpStream::connect(address).await.expect("a connection");
    let body = r#"{"jwt":"a.b.c"}"#;
    let head = format!(
        "POST /iam/v1/tokens HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    slow.write_all(head.as_bytes()).await.expect("sent");
    tokio::time::sleep(3 * idle_timeout).await;
    slow.write_all(body.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    timeout(DEADLINE, slow.read_to_string(&mut answer)).await.expect("in time").expect("read");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    serving.stop(DEADLINE).await;
    assert_eq!(tasks.shutdown(DEADLINE).await, Ok(()));
}

#[tokio::test]
async fn an_answer_that_is_not_read_is_broken_off_and_other_calls_go_on() {
    let unread_timeout = Duration::from_millis(500);
    let limits = ListenerLimits { unread_timeout, ..ListenerLimits::default() };
    let (serving, tasks) = plaintext(limits).await;
    let ask = |mut channel: Channel| async move {
        // What is sent comes back.
        let body = format!(r#"{{"jwt":"{}"}}"#, "a".repeat(900_000));
        let request = http::Request::post("/iam/v1/tokens");
        let request = request.body(tonic::body::Body::new(Body::from(body))).expect("a request");
        std::future::poll_fn(|cx| channel.poll_ready(cx)).await.expect("a connection");
        channel.call(request).await.expect("an answer")
    };
    // A stream's window is small, the connection's is not.
    let channel = connect(serving.local_addr(), Some(16 << 10)).await;
    let unread = ask(channel.clone()).await;
    assert_eq!(unread.status().as_u16(), 200);
    let read = ask(channel.clone()).await.into_body().collect().await.expect("the whole answer");
    assert!(read.to_bytes().len() > 900_000);
    tokio::time::sleep(3 * unread_timeout).await;
    assert!(check(channel).await.is_ok());
    let late = timeout(DEADLINE, unread.into_body().collect()).await.expect("in time");
    assert!(late.is_err(), "the answer was kept");
    serving.stop(DEADLINE).await;
    assert_eq!(tasks.shutdown(DEADLINE).await, Ok(()));
}
