//! A node that was down for longer than a token lives: what was issued before is dead, and what
//! is issued after lives, from the first call on.

use std::time::Duration;

use lockbox::unseal;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::Code;

use crate::client::text;
use crate::fixture::{Node, WAIT};

/// Tokens live for twelve hours.
const DOWNTIME: Duration = Duration::from_secs(13 * 3600);
const SHORT: Duration = Duration::from_secs(11 * 3600);
/// How long the node waits for the KMS before it asks again.
const ONE_ATTEMPT: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_token_does_not_outlive_a_downtime_and_a_new_one_outlives_the_first_write() {
    let node = Node::start().await;
    let secret = node.create(vec![text("a", "1")], "").await;
    let mut node = node.restart_after(DOWNTIME).await;
    assert_eq!(node.read(&secret.id, "").await.unwrap_err().code(), Code::Unauthenticated);
    node.renew_token().await;
    assert_eq!(node.read(&secret.id, "").await.unwrap().len(), 1);
    node.add(&secret.id, vec![text("b", "2")]).await;
    assert_eq!(node.read(&secret.id, "").await.unwrap().len(), 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_call_after_a_downtime_may_be_a_mutation_by_a_dead_token() {
    let node = Node::start().await;
    let secret = node.create(vec![text("a", "1")], "abjownkey").await;
    let node = node.restart_after(DOWNTIME).await;
    let used = node.kms.used();
    let request = wire::AddVersionRequest {
        secret_id: secret.id,
        payload_entries: vec![text("b", "2")],
        ..Default::default()
    };
    let refused = node.secrets().add_version(node.request(request)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(node.kms.used(), used, "a dead token was billed for");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_outlives_a_downtime_that_is_shorter_than_its_life() {
    let node = Node::start().await;
    let secret = node.create(vec![text("a", "1")], "").await;
    let node = node.restart_after(SHORT).await;
    node.add(&secret.id, vec![text("b", "2")]).await;
    assert_eq!(node.read(&secret.id, "").await.unwrap().len(), 2);
    node.stop().await;
}

/// A KMS that hangs leaves a restarted node sealed; the node says so, and can still be stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_waits_for_the_kms_says_so_and_ends_at_once() {
    let node = Node::start().await;
    node.kms.hang();
    let node = node.restart().await;
    let says_so = async {
        let sealed = |(component, reason): &(&str, String)| {
            *component == unseal::COMPONENT && reason.starts_with("sealed: the KMS")
        };
        while !node.app.readiness.reasons().iter().any(sealed) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(WAIT, says_so).await.unwrap();
    node.app.replica.shutdown().await;
    node.tasks.shutdown(ONE_ATTEMPT / 2).await.unwrap();
}
