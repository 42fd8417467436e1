//! What protects connections: who is let in, by which version of TLS, and with which key exchange
//! (`peers.md` S1, S2).

use std::path::Path;
use std::sync::Arc;

use lockbox_core::Clock;
use lockbox_platform::certificates::{LeafSpec, issue_all, leaf_files};
use lockbox_platform::system::SystemClock;
use lockbox_platform::tls::{
    ClientCertificates, ClientTlsFiles, client_tls, endpoint, lasting_channel,
};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, NamedGroup, ProtocolVersion, RootCertStore, ServerConfig,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::fixtures::{Server, issue};
use crate::listener::{DEADLINE, check, connect};

/// How far the clock is behind that issues a certificate which has expired by now, in milliseconds.
const LONG_AGO_MS: u64 = 400 * 86_400_000;
/// The first byte of a record that tells the other side what is wrong (RFC 8446 §6).
const ALERT: u8 = 21;
const FATAL: u8 = 2;

/// The clock of an authority that issued something long ago.
struct LongAgo;

impl Clock for LongAgo {
    fn wall_ms(&self) -> u64 {
        SystemClock::new().wall_ms() - LONG_AGO_MS
    }

    fn monotonic(&self) -> std::time::Duration {
        SystemClock::new().monotonic()
    }
}

/// What a client that offers this gets: the version and the group that were agreed on.
async fn negotiated(
    server: &Server,
    provider: CryptoProvider,
    versions: &[&'static SupportedProtocolVersion],
) -> (Option<ProtocolVersion>, Option<NamedGroup>) {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(&server.ca).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(server.serving.local_addr()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let connection = stream.get_ref().1;
    let group = connection.negotiated_key_exchange_group().map(|group| group.name());
    (connection.protocol_version(), group)
}

/// What the server says to bytes, until it closes the connection.
async fn answer(server: &Server, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.serving.local_addr()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    // A server that has not read everything may reset the connection; what it said counts.
    let _whole = tokio::time::timeout(DEADLINE, read).await.expect("an end of the connection");
    answer
}

/// The first message of a client that knows nothing newer than `version`.
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    // TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, no compression, no extensions.
    let body = [&version[..], &[7; 32], &[0], &[0, 2, 0xc0, 0x13], &[1, 0]].concat();
    let length = u8::try_from(body.len()).unwrap();
    let message = [&[1, 0, 0, length], &body[..]].concat();
    let length = u8::try_from(message.len()).unwrap();
    [&[22, 3, 1, 0, length], &message[..]].concat()
}

#[tokio::test]
async fn security_s01_nothing_older_than_tls_1_2_and_nothing_in_clear_is_served() {
    let server = Server::start(|_| ClientCertificates::None).await;
    let default = aws_lc_rs::default_provider;
    let cases: [(&[&'static SupportedProtocolVersion], _); 3] = [
        (&[&TLS13, &TLS12], ProtocolVersion::TLSv1_3),
        (&[&TLS13], ProtocolVersion::TLSv1_3),
        (&[&TLS12], ProtocolVersion::TLSv1_2),
    ];
    for (versions, expected) in cases {
        assert_eq!(negotiated(&server, default(), versions).await.0, Some(expected));
    }
    // SSL 3.0, TLS 1.0 and 1.1.
    for version in [[3, 0], [3, 1], [3, 2]] {
        let answer = answer(&server, &old_hello(version)).await;
        assert_eq!(answer.first(), Some(&ALERT), "{version:?}: {answer:?}");
        assert_eq!(answer.get(5), Some(&FATAL), "{version:?}: {answer:?}");
    }
    let plain = answer(&server, b"GET /endpoints HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(!plain.starts_with(b"HTTP"), "{}", String::from_utf8_lossy(&plain));
    let prior_knowledge = answer(&server, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert_ne!(prior_knowledge.first(), Some(&0), "a frame of settings");
    server.stop().await;
}

#[tokio::test]
async fn security_s01_peers_are_known_by_name_by_authority_and_by_date() {
    let server = Server::start(ClientCertificates::Required).await;
    let dir = server.dir.path();
    let expired = LeafSpec {
        file_stem: "expired".to_owned(),
        dns_names: vec!["node-1".to_owned()],
        ips: Vec::new(),
    };
    issue_all(dir, &[expired], &LongAgo).unwrap();
    let stranger = tempfile::tempdir().unwrap();
    let other_ca = issue(stranger.path());
    let known = |stem: &str| Some(leaf_files(dir, stem));
    let own_ca: &Path = &server.ca;
    let cases = [
        ("its own", own_ca, known("client"), true),
        ("none", own_ca, None, false),
        ("an expired one", own_ca, known("expired"), false),
        ("one of another authority", own_ca, Some(leaf_files(stranger.path(), "client")), false),
        ("a server of another authority", other_ca.as_path(), known("client"), false),
    ];
    for (what, ca, identity, expected) in cases {
        let served = match connect(&server, ca, identity).await {
            Ok(channel) => check(channel).await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(served, expected, "{what}");
    }
    // The server's certificate is good, and of somebody else.
    let files = ClientTlsFiles { ca: server.ca.clone(), identity: known("client") };
    for (name, expected) in [("localhost", true), ("node-2.lockbox.internal", false)] {
        let tls = client_tls(&files, name).unwrap();
        let address = format!("127.0.0.1:{}", server.port());
        let connected = endpoint(&address, Some(tls)).unwrap().connect().await;
        assert_eq!(connected.is_ok(), expected, "{name}");
        let lasting = lasting_channel(&address, name, &files, std::convert::identity).unwrap();
        assert_eq!(check(lasting).await.is_ok(), expected, "{name}, for long");
    }
    server.stop().await;
}

#[tokio::test]
async fn security_s02_the_hybrid_key_exchange_is_taken_whenever_it_is_offered() {
    let server = Server::start(|_| ClientCertificates::None).await;
    let offering = |groups| CryptoProvider { kx_groups: groups, ..aws_lc_rs::default_provider() };
    let hybrid = kx_group::X25519MLKEM768;
    let cases = [
        (vec![hybrid, kx_group::X25519], NamedGroup::X25519MLKEM768),
        // Also when the client would rather have another one.
        (vec![kx_group::X25519, hybrid, kx_group::SECP256R1], NamedGroup::X25519MLKEM768),
        (vec![hybrid], NamedGroup::X25519MLKEM768),
        (vec![kx_group::X25519], NamedGroup::X25519),
        (vec![kx_group::SECP256R1], NamedGroup::secp256r1),
    ];
    for (offered, expected) in cases {
        let (_, group) = negotiated(&server, offering(offered), &[&TLS13]).await;
        assert_eq!(group, Some(expected));
    }
    server.stop().await;
}

/// What our own clients offer: nodes to each other and to the KMS, and the command line.
#[tokio::test]
async fn security_s02_our_own_clients_offer_the_hybrid_key_exchange_first() {
    let directory = tempfile::tempdir().unwrap();
    let ca = issue(directory.path());
    let files = leaf_files(directory.path(), "server");
    let chain = CertificateDer::pem_file_iter(&files.certificate).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let files = ClientTlsFiles { ca, identity: None };
    let tls = client_tls(&files, "localhost").unwrap();
    let passing = endpoint(&address, Some(tls)).unwrap().connect_lazy();
    let lasting = lasting_channel(&address, "localhost", &files, std::convert::identity).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    for client in [passing, lasting] {
        let accepted = async {
            let (stream, _) = listener.accept().await.unwrap();
            acceptor.accept(stream).await.unwrap()
        };
        // It waits for a server that speaks, which this one does not.
        let connecting = async {
            let _answer = check(client).await;
            std::future::pending::<()>().await;
        };
        let handshake = async {
            tokio::select! {
                stream = accepted => stream,
                () = connecting => unreachable!("it waits for ever"),
            }
        };
        let stream = tokio::time::timeout(DEADLINE, handshake).await.expect("a handshake in time");
        let group = stream.get_ref().1.negotiated_key_exchange_group().map(|group| group.name());
        assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
    }
}
