//! Ten thousand connections that do nothing, and clients that ask and do not read: a server stays
//! small, and serves whoever comes then.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use futures::{StreamExt, stream};
use lockbox_platform::file_limit::raise_file_limit;
use lockbox_platform::tls::{ClientTlsFiles, client_tls, endpoint};
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use prost::Message;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;
use tower::Service;

use crate::client::Client;
use crate::cluster::{Cluster, Part};
use crate::http1;
use crate::messages::text;
use crate::waiting::{WAIT, until};

/// As many as the issue asks for; fewer where the system gives a process fewer files.
const CONNECTIONS: usize = 10_000;
/// Files of the test beside its connections.
const FILES_KEPT: usize = 500;
/// The fewest that show anything.
const CONNECTIONS_MIN: usize = 1_000;
/// Handshakes under way at a time.
const AT_ONCE: usize = 32;
/// What one may cost the server, in bytes.
const BYTES_EACH_MAX: usize = 64 << 10;

const PING: u8 = 6;
const ACK: u8 = 1;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Secrets with long descriptions: together a long answer.
const SECRETS: usize = 100;
/// Answers that nobody reads.
const UNREAD: usize = 500;
/// What the server may grow by meanwhile, in bytes.
const UNREAD_BYTES_MAX: usize = 256 << 20;

/// Memory of a process that is in use, in bytes.
fn resident(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() << 10
}

/// Files that this process may open, raised as far as it goes.
fn files() -> usize {
    raise_file_limit().unwrap();
    let limits = fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX)
}

/// A number of the server's metrics.
async fn metric(cluster: &Cluster, part: Part, series: &str) -> Option<usize> {
    let metrics = cluster.health(part, "/metrics").await?.text();
    let line = metrics.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// A connection of HTTP/2 on which nothing is asked.
async fn connect(tls: &TlsConnector, port: u16) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = tls.connect(name, stream).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream
}

/// Answers the server's pings, as every client does, until the server ends the connection.
async fn sit(mut stream: TlsStream<TcpStream>) {
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        if stream.read_exact(&mut payload).await.is_err() {
            return;
        }
        if head[3] == PING && head[4] & ACK == 0 {
            let pong = [[0, 0, 8, PING, ACK, 0, 0, 0, 0].as_slice(), &payload].concat();
            if stream.write_all(&pong).await.is_err() {
                return;
            }
        }
    }
}

fn connector(ca: &Path) -> TlsConnector {
    TlsConnector::from(Arc::new(http1::tls(ca, b"h2")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_idle_connections_are_small_and_in_nobodys_way() {
    let count = CONNECTIONS.min(files().saturating_sub(FILES_KEPT));
    assert!(count >= CONNECTIONS_MIN, "only {count} connections: raise the limit on open files");
    let cluster = Cluster::start(Vec::new()).await;
    let node = Part::Node(1);
    let (tls, port) = (connector(&cluster.ca()), cluster.ports().api(1));
    let client = cluster.admin(node);
    client.create("", vec![text("k", "before")]).await;
    let before = resident(cluster.pid(node));

    let mut crowd = JoinSet::new();
    let mut opened = stream::iter(0..count).map(|_| connect(&tls, port)).buffer_unordered(AT_ONCE);
    while let Some(stream) = opened.next().await {
        crowd.spawn(sit(stream));
    }
    until("all of them open", async || {
        let series = "lockbox_connections_open{listener=\"API\"}";
        metric(&cluster, node, series).await.filter(|open| *open >= count)
    })
    .await;
    let each = resident(cluster.pid(node)).saturating_sub(before) / count;
    println!("{count} idle connections take {each} bytes each");
    assert!(each < BYTES_EACH_MAX, "{each} bytes each");

    // Who comes now is served, and by a connection of its own.
    let begun = Instant::now();
    let fresh = cluster.admin(node);
    let secret = fresh.create("", vec![text("k", "meanwhile")]).await;
    assert_eq!(fresh.read(&secret).await.unwrap(), [("k".to_owned(), b"meanwhile".to_vec())]);
    println!("a new client connects, writes and reads in {:?}", begun.elapsed());
    assert!(crowd.try_join_next().is_none(), "a connection was ended for no reason");
}

/// Asks for all secrets and leaves the answer unread.
async fn list_unread(client: &Client, channel: &Channel) -> http::Response<tonic::body::Body> {
    let message = wire::ListSecretsRequest {
        folder_id: client.folder.clone(),
        page_size: 1_000,
        ..Default::default()
    }
    .encode_to_vec();
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let frame = [[0].as_slice(), &length, &message].concat();
    let authorized = client.request(());
    let token = authorized.metadata().get("authorization").unwrap().to_str().unwrap();
    let request = http::Request::post("/yandex.cloud.lockbox.v1.SecretService/List")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", token)
        .body(tonic::body::Body::new(Body::from(frame)))
        .unwrap();
    let mut channel = channel.clone();
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await.unwrap();
    channel.call(request).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_read_is_let_go_and_who_is_idle_too() {
    let environment = vec![
        ("LOCKBOX_CONFIG_CONNECTIONS__UNREAD_TIMEOUT_SECONDS", "3".to_owned()),
        ("LOCKBOX_CONFIG_CONNECTIONS__IDLE_TIMEOUT_SECONDS", "5".to_owned()),
    ];
    let cluster = Cluster::start(environment).await;
    let node = Part::Node(1);
    let client = cluster.admin(node);
    for _ in 0..SECRETS {
        let mut request = client.new_secret("", Vec::new());
        request.description = "d".repeat(1_024);
        client.secrets().create(client.request(request)).await.unwrap();
    }
    let before = resident(cluster.pid(node));
    let files = ClientTlsFiles { ca: cluster.ca(), identity: None };
    let tls = client_tls(&files, "localhost").unwrap();
    let address = format!("localhost:{}", cluster.ports().api(1));
    let narrow = endpoint(&address, Some(tls)).unwrap().initial_stream_window_size(1_024);
    let narrow = narrow.connect().await.unwrap();
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        unread.push(list_unread(&client, &narrow).await);
    }
    let grown = resident(cluster.pid(node)).saturating_sub(before);
    println!("{UNREAD} unread answers take {grown} bytes");
    assert!(grown < UNREAD_BYTES_MAX, "{grown} bytes");
    let secret = client.create("", vec![text("k", "meanwhile")]).await;
    assert_eq!(client.read(&secret).await.unwrap().len(), 1);
    until("end of the answers that nobody reads", async || {
        metric(&cluster, node, "lockbox_rpc_in_flight").await.filter(|calls| *calls == 0)
    })
    .await;
    drop(unread);

    let idle = connect(&connector(&cluster.ca()), cluster.ports().api(1)).await;
    timeout(WAIT, sit(idle)).await.expect("an idle connection is told to end");
}
