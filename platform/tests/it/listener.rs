//! The listener on real sockets: TLS, both HTTP versions, limits and shutdown.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use lockbox_platform::certificates::leaf_files;
use lockbox_platform::exit::{ExitCode, FatalExit};
use lockbox_platform::listener::{ListenError, ListenerLimits, Security, Serving, bind};
use lockbox_platform::metrics::{Metrics, Prefix};
use lockbox_platform::tasks::Tasks;
use lockbox_platform::tls::{
    ClientCertificates, ClientTlsFiles, IdentityFiles, ServerTls, TlsFiles, client_tls, endpoint,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, NamedGroup, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::Service;

use crate::fixtures::{Server, any_port, issue, router};

pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) async fn connect(
    server: &Server,
    ca: &std::path::Path,
    identity: Option<IdentityFiles>,
) -> Result<Channel, tonic::transport::Error> {
    let files = ClientTlsFiles { ca: ca.to_owned(), identity };
    let tls = client_tls(&files, "localhost").expect("files that fit");
    let address = format!("127.0.0.1:{}", server.port());
    endpoint(&address, Some(tls)).expect("an address").connect().await
}

pub(crate) async fn check(channel: Channel) -> Result<i32, tonic::Status> {
    let request = HealthCheckRequest { service: String::new() };
    Ok(HealthClient::new(channel).check(request).await?.into_inner().status)
}

/// A raw TLS connection that offers one application protocol.
async fn raw(server: &Server, alpn: &[u8]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&server.ca).expect("the authority") {
        roots.add(certificate.expect("a certificate")).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    if !alpn.is_empty() {
        config.alpn_protocols = vec![alpn.to_vec()];
    }
    let stream = TcpStream::connect(server.serving.local_addr()).await?;
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

#[tokio::test]
async fn one_port_speaks_grpc_over_h2_and_rest_over_http1() {
    let server = Server::start(|_| ClientCertificates::None).await;
    let channel = connect(&server, &server.ca, None).await.expect("a connection");
    let serving = check(channel.clone()).await.expect("an answer");
    assert_eq!(serving, i32::from(ServingStatus::Serving));

    for alpn in [&b"http/1.1"[..], b""] {
        let mut stream = raw(&server, alpn).await.expect("a connection");
        let group = stream.get_ref().1.negotiated_key_exchange_group().map(|group| group.name());
        assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
        let request = "GET /endpoints HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("a sent request");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        tokio::time::timeout(DEADLINE, read).await.expect("in time").expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains(r#"{"id":"iam","address":"localhost:8443"}"#), "{answer}");
    }
    drop(channel);
    let text = server.metrics.text();
    let handshakes = "lockbox_tls_handshakes_total{listener=\"api\",result=\"ok\"} 3";
    assert!(text.contains(handshakes), "{text}");
    server.stop().await;
}

/// A process that hangs still gets connections from its system; a client must not wait for it.
#[tokio::test]
async fn a_server_that_says_nothing_ends_the_handshake() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let files = ClientTlsFiles { ca: issue(directory.path()), identity: None };
    let tls = client_tls(&files, "localhost").expect("files that fit");
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address").to_string();
    let peer = endpoint(&address, Some(tls)).expect("an address");
    let connecting = peer.connect();
    let connected = tokio::time::timeout(DEADLINE, connecting).await.expect("in time");
    assert!(connected.is_err());
}

#[tokio::test]
async fn headers_have_the_same_bound_over_http1_as_over_h2() {
    let server = Server::start(|_| ClientCertificates::None).await;
    for (length, expected) in [(20_000, "HTTP/1.1 200 "), (60_000, "HTTP/1.1 431 ")] {
        let mut stream = raw(&server, b"http/1.1").await.expect("a connection");
        let header = "a".repeat(length);
        let request = format!(
            "GET /endpoints HTTP/1.1\r\nhost: localhost\r\nx: {header}\r\nconnection: close\r\n\r\n"
        );
        // The server may answer, and close, before it has read all of it.
        let _all_sent = stream.write_all(request.as_bytes()).await.is_ok();
        let mut answer = vec![0; expected.len()];
        let read = stream.read_exact(&mut answer);
        tokio::time::timeout(DEADLINE, read).await.expect("in time").expect("an answer");
        assert_eq!(String::from_utf8_lossy(&answer), expected, "{length}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_peer_listener_wants_a_certificate_of_its_authority() {
    let server = Server::start(ClientCertificates::Required).await;
    let files =
        |dir: &std::path::Path| Some(lockbox_platform::certificates::leaf_files(dir, "client"));
    let known = connect(&server, &server.ca, files(server.dir.path())).await;
    assert!(check(known.expect("a connection")).await.is_ok());

    let stranger = tempfile::tempdir().expect("a temporary directory");
    let other_ca = issue(stranger.path());
    for (ca, identity) in [
        (&server.ca, None),
        (&server.ca, files(stranger.path())),
        (&other_ca, files(server.dir.path())),
    ] {
        let refused = match connect(&server, ca, identity).await {
            Ok(channel) => check(channel).await.is_err(),
            Err(_) => true,
        };
        assert!(refused);
    }
    server.stop().await;
}

#[tokio::test]
async fn security_s01_plaintext_is_for_loopback_and_a_taken_port_has_its_code() {
    let everywhere = "0.0.0.0:0".parse().expect("an address");
    let refused = bind("api", everywhere, Security::PlaintextLoopback).await;
    let text = refused.map(|_| ()).map_err(|error| error.to_string());
    let expected = "the api listener has no TLS and 0.0.0.0:0 is not a loopback address";
    assert_eq!(text, Err(expected.to_owned()));

    // Metrics tell no secrets, but how much of what there is.
    let directory = tempfile::tempdir().expect("a temporary directory");
    issue(directory.path());
    let files = leaf_files(directory.path(), "server");
    let clients = ClientCertificates::None;
    let tls = TlsFiles { certificate: files.certificate, key: files.key, clients };
    let tls = ServerTls::load(&tls).expect("files that fit");
    for (address, plaintext, in_clear) in [
        (any_port(), false, true),
        ("[::1]:0".parse().expect("an address"), false, true),
        (everywhere, false, false),
        ("10.1.2.3:9464".parse().expect("an address"), false, false),
        (everywhere, true, true),
    ] {
        let security = Security::of_metrics(address, plaintext, &tls);
        let is_in_clear = matches!(security, Security::PlaintextHealth);
        assert_eq!(is_in_clear, in_clear, "{address}, {plaintext}");
    }

    let first = bind("metrics", any_port(), Security::PlaintextHealth).await.expect("a port");
    let again = bind("metrics", first.local_addr(), Security::PlaintextHealth).await;
    assert!(again.is_err_and(|error| {
        matches!(error, ListenError::InUse { .. }) && error.exit_code() == ExitCode::PortInUse
    }));
}

/// The fixture's services in plaintext, on a free port of loopback.
pub(crate) async fn plaintext(limits: ListenerLimits) -> (Serving, Tasks) {
    let metrics = Metrics::new(Prefix::Lockbox).expect("distinct names");
    let tasks = Tasks::new(FatalExit::new());
    let bound = bind("api", any_port(), Security::PlaintextLoopback).await.expect("a port");
    let serving = bound.start(router(&metrics).await, &tasks, limits, metrics.tls.clone());
    (serving, tasks)
}

#[tokio::test]
async fn plaintext_on_loopback_speaks_both_versions_and_stops_cleanly() {
    let (serving, tasks) = plaintext(ListenerLimits::default()).await;
    let address = serving.local_addr();

    let channel = endpoint(&address.to_string(), None).expect("an address").connect().await;
    let channel = channel.expect("a connection");
    assert!(check(channel.clone()).await.is_ok());
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(b"GET /endpoints HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    let mut head = [0_u8; 15];
    stream.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 200 OK");

    // Open and idle connections of both kinds do not hold it up.
    let stopped = tokio::time::timeout(DEADLINE, serving.stop(DEADLINE));
    assert!(stopped.await.is_ok());
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(tasks.shutdown(DEADLINE).await, Ok(()));
    drop((channel, stream));
}

/// An answer that comes before the request is over reaches clients of HTTP/2 as a broken stream.
#[tokio::test]
async fn a_refusal_of_a_long_body_arrives_over_h2() {
    let (serving, tasks) = plaintext(ListenerLimits::default()).await;
    let address = serving.local_addr();
    let channel = endpoint(&address.to_string(), None).expect("an address").connect().await;
    let mut channel = channel.expect("a connection");
    for (path, code) in [("/nothing", 404), ("/iam/v1/tokens", 400)] {
        for _ in 0..10 {
            // More than the stream's window, and than the largest body.
            let body = axum::body::Body::from(vec![b' '; 3 << 20]);
            let request = http::Request::post(path).body(tonic::body::Body::new(body));
            let ready = std::future::poll_fn(|cx| channel.poll_ready(cx)).await;
            assert!(ready.is_ok());
            let response = channel.call(request.expect("a request")).await.expect("an answer");
            assert_eq!(response.status().as_u16(), code, "{path}");
            let whole = response.into_body().collect().await.expect("the whole answer");
            assert!(whole.to_bytes().starts_with(b"{"), "{path}");
        }
    }
    drop(channel);
    serving.stop(DEADLINE).await;
    assert_eq!(tasks.shutdown(DEADLINE).await, Ok(()));
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_slot() {
    let limits = ListenerLimits { connections_max: 1, streams_max: 1, ..ListenerLimits::default() };
    let (serving, tasks) = plaintext(limits).await;
    let address = serving.local_addr();

    let request = b"GET /endpoints HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut head = [0_u8; 15];
    let mut first = TcpStream::connect(address).await.expect("a connection");
    first.write_all(request).await.expect("sent");
    first.read_exact(&mut head).await.expect("an answer");

    let mut second = TcpStream::connect(address).await.expect("a connection in the queue");
    second.write_all(request).await.expect("sent");
    let early = tokio::time::timeout(Duration::from_millis(200), second.read_exact(&mut head));
    assert!(early.await.is_err());
    drop(first);
    let late = tokio::time::timeout(DEADLINE, second.read_exact(&mut head)).await;
    assert!(late.is_ok_and(|read| read.is_ok()));
    serving.stop(DEADLINE).await;
    assert_eq!(tasks.shutdown(DEADLINE).await, Ok(()));
}
