//! A node that an operator seals, and lets be unsealed again.

use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use http::Request;
use lockbox::router;
use lockbox_proto::lockbox::cluster::v1 as admin;
use lockbox_proto::lockbox::watch::v1::WatchRequest;
use lockbox_proto::lockbox::watch::v1::watch_service_client::WatchServiceClient;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use prost::Message;
use tokio::time::Instant;
use tonic::Code;

use crate::client::{pairs, text};
use crate::fixture::{Node, WAIT};
use crate::peers::Peers;

/// Many times what a seal takes that waits for nothing.
const MOMENT: Duration = Duration::from_millis(300);

async fn seal(peers: &Peers) -> admin::SealResponse {
    peers.admin("operator").seal(admin::SealRequest {}).await.unwrap().into_inner()
}

async fn unseal(peers: &Peers) -> admin::SealResponse {
    peers.admin("operator").unseal(admin::UnsealRequest {}).await.unwrap().into_inner()
}

async fn open_and_stop(node: Node, peers: &Peers) {
    assert!(!unseal(peers).await.sealed);
    tokio::time::timeout(WAIT, node.app.readiness.wait_for(true)).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sealed_node_serves_nobody_until_it_is_unsealed_restarts_included() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let secret = node.create(vec![text("k", "v")], "").await.id;
    let under_way = node.app.keyring.ring().unwrap();

    for stem in ["node", "kms", "stranger"] {
        let refused = peers.admin(stem).seal(admin::SealRequest {}).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{stem}");
    }
    assert!(!node.app.keyring.is_sealed());
    // Sealed at once, and answered when nothing is under way that could still answer with the keys.
    let mut sealing = pin!(seal(&peers));
    let others = async {
        node.app.keyring.sealed().await;
        assert!(peers.status().await.sealed);
        assert!(!node.app.keyring.is_forgotten());
    };
    tokio::select! {
        biased;
        answer = &mut sealing => panic!("a call is under way: {answer:?}"),
        () = others => {}
    }
    assert!(node.app.keyring.ring().is_err());
    drop(under_way);
    let sealed = sealing.await;
    assert!(sealed.sealed && sealed.node_id == 1 && !sealed.reason.contains("under way"));
    assert!(node.app.keyring.is_forgotten());
    let refused = node.read(&secret, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    let get = wire::GetSecretRequest { secret_id: secret.clone() };
    let refused = node.secrets().get(node.request(get)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    tokio::time::timeout(WAIT, node.app.readiness.wait_for(false)).await.unwrap();
    let status = peers.status().await;
    assert_eq!(status.sealed_reason, "sealed: an operator has sealed the node");

    // Without the KMS it stays sealed, and says why; then it opens by itself.
    let deadline = Instant::now() + WAIT;
    node.kms.set_down(true);
    let waiting = unseal(&peers);
    let back = async {
        while peers.status().await.sealed_reason != "sealed: the KMS does not answer" {
            assert!(Instant::now() < deadline && node.app.keyring.is_sealed());
            tokio::task::yield_now().await;
        }
        node.kms.recover();
        tokio::time::timeout(WAIT, node.app.readiness.wait_for(true)).await.unwrap();
    };
    let (unsealed, ()) = tokio::join!(waiting, back);
    assert!(!unsealed.sealed && unsealed.reason.is_empty(), "{unsealed:?}");
    assert_eq!(node.read(&secret, "").await.unwrap(), pairs(&[("k", b"v")]));
    assert!(!unseal(&peers).await.sealed, "a repeat finds it done");

    // Whoever sealed it did not mean "until the next start".
    assert!(seal(&peers).await.sealed);
    let (made, pair, token) = (node.made.clone(), node.pair.clone(), node.token().to_owned());
    let fresh = node.restart().await;
    let peers = Peers::start(&fresh.app, &fresh.tasks, &fresh.metrics).await;
    assert!(fresh.app.keyring.is_held() && fresh.app.keyring.is_sealed());
    assert!(!unseal(&peers).await.sealed);
    let node = fresh.serve(made, pair, token).await;
    assert_eq!(node.read(&secret, "").await.unwrap(), pairs(&[("k", b"v")]));
    let audit = node.audit();
    assert_eq!(audit.lines().filter(|line| line.contains("UnsealNode")).count(), 3);
    node.stop().await;
}

/// An answer that is made and not with its connection yet is waited for, by gRPC and by REST; the
/// keys do not stay for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_its_connection_has_not_taken_is_waited_for() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let secret = node.create(vec![text("k", "v")], "").await.id;
    let service = router::public(&node.app, node.metrics.rpc.clone()).unwrap();
    let request = || Request::builder().header("authorization", format!("Bearer {}", node.token()));
    let get = wire::GetPayloadRequest { secret_id: secret.clone(), ..Default::default() };
    let get = get.encode_to_vec();
    let length = u32::try_from(get.len()).unwrap().to_be_bytes();
    let by_grpc = request()
        .method("POST")
        .uri("/yandex.cloud.lockbox.v1.PayloadService/Get")
        .header("content-type", "application/grpc")
        .body(Body::from([&[0][..], &length, &get].concat()));
    let by_rest =
        request().uri(format!("/lockbox/v1/secrets/{secret}/payload")).body(Body::empty());
    for request in [by_grpc.unwrap(), by_rest.unwrap()] {
        let answer = service.answer(request).await;
        assert_eq!(answer.status(), 200);
        let mut sealing = pin!(seal(&peers));
        let waits = tokio::time::timeout(MOMENT, &mut sealing).await;
        assert!(waits.is_err(), "an answer is on its way: {waits:?}");
        assert!(node.app.keyring.is_forgotten(), "and keeps no key");
        drop(answer);
        let sealed = sealing.await;
        assert!(sealed.sealed && !sealed.reason.contains("answers"), "{sealed:?}");
        assert!(!unseal(&peers).await.sealed);
        tokio::time::timeout(WAIT, node.app.readiness.wait_for(true)).await.unwrap();
    }
    // Answers that their connections have taken are not waited for.
    node.read(&secret, "").await.unwrap();
    let sealed = seal(&peers).await;
    assert!(sealed.sealed && !sealed.reason.contains("answers"), "{sealed:?}");
    open_and_stop(node, &peers).await;
}

/// A payload that is on its way from the KMS when the node is sealed is not given out after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_the_kms_gets_nothing_from_a_node_that_is_sealed_meanwhile() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let own = node.create(vec![text("k", "own")], "abjownkey").await.id;
    node.kms.hang();
    let sealing = async {
        let deadline = Instant::now() + WAIT;
        while node.kms.unanswered() == 0 {
            assert!(Instant::now() < deadline, "the KMS was not asked");
            tokio::task::yield_now().await;
        }
        seal(&peers).await
    };
    let (refused, sealed) = tokio::join!(node.read(&own, ""), sealing);
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().contains("sealed"), "{refused:?}");
    assert!(sealed.sealed && !sealed.reason.contains("under way"), "{sealed:?}");
    assert!(node.app.keyring.is_forgotten());
    node.kms.recover();
    open_and_stop(node, &peers).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_a_folder_learns_that_the_node_was_sealed() {
    let node = Node::start().await;
    let peers = Peers::start(&node.app, &node.tasks, &node.metrics).await;
    let folder_id = node.made.folder_id.to_string();
    let mut client = WatchServiceClient::new(node.channel.clone());
    let request = node.request(WatchRequest { folder_id, begin: None });
    let mut stream = client.watch(request).await.unwrap().into_inner();
    assert!(seal(&peers).await.sealed);
    let ended = async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("streams end with a status"),
                Err(status) => return status,
            }
        }
    };
    let status = tokio::time::timeout(WAIT, ended).await.expect("an end in time");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    open_and_stop(node, &peers).await;
}
