//! A node that comes up without a KMS: it replicates, serves nobody, and opens by itself.

use lockbox_proto::lockbox::cluster::v1::StatusResponse;
use lockbox_proto::yandex::cloud::lockbox::v1 as wire;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::client::Client;
use crate::cluster::{Cluster, NODES, Part};
use crate::messages::{pairs, text};
use crate::waiting::until;

/// What a sealed node says to calls of every kind (`design §6`).
async fn refusals(client: &Client, secret: &str) -> Vec<Status> {
    let get = wire::GetSecretRequest { secret_id: secret.to_owned() };
    let mut stale = client.request(get.clone());
    stale.metadata_mut().insert("x-consistency", "stale".parse().unwrap());
    let create = client.request(client.new_secret("", vec![text("k", "v")]));
    vec![
        client.read(secret).await.unwrap_err(),
        client.add(secret, vec![text("k", "v")]).await.unwrap_err(),
        client.secrets().create(create).await.unwrap_err(),
        client.secrets().get(client.request(get)).await.unwrap_err(),
        client.secrets().get(stale).await.unwrap_err(),
    ]
}

async fn serving(client: &Client) -> ServingStatus {
    let request = HealthCheckRequest { service: String::new() };
    HealthClient::new(client.channel.clone()).check(request).await.unwrap().into_inner().status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn security_s15_a_node_restarted_without_a_kms_replicates_sealed_and_opens_by_itself() {
    let mut cluster = Cluster::start(Vec::new()).await;
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    let leader = cluster.leader().await;
    let writer = cluster.admin(Part::Node(leader));
    let common = writer.create("", vec![text("k", "0")]).await;
    let own = writer.create(&own_key, vec![text("k", "own")]).await;
    let away = NODES.into_iter().find(|node| *node != leader).unwrap();
    let others: Vec<u16> = NODES.into_iter().filter(|node| *node != away).collect();

    cluster.kill(Part::Node(away));
    cluster.kill(Part::Kms);
    // Who has the keyring goes on writing and reading under the common key.
    for n in 1..=20 {
        writer.add(&common, vec![text("k", &n.to_string())]).await.unwrap();
    }
    let written = cluster.status(leader).await.unwrap().applied_index;
    cluster.launch(Part::Node(away));
    let pid = cluster.pid(Part::Node(away));
    let caught_up = async |index| {
        until("caught up node", async || {
            let settled = |status: &StatusResponse| {
                status.applied_index >= index && !status.sealed_reason.contains("starting")
            };
            cluster.status(away).await.filter(settled)
        })
        .await
    };
    let status = caught_up(written).await;
    assert!(status.sealed && status.sealed_reason.starts_with("sealed: the KMS"), "{status:?}");
    assert_eq!(status.role, "follower");
    // It keeps up with what is written from now on, too.
    writer.add(&common, vec![text("k", "last")]).await.unwrap();
    let written = cluster.status(leader).await.unwrap().applied_index;
    assert!(caught_up(written).await.sealed);

    let refused = until("sealed node that is ready but for its keys", async || {
        let answer = cluster.health(Part::Node(away), "/readyz").await?;
        let waits = ["replica", "starting"].iter().any(|w| answer.text().contains(w));
        (!waits).then_some(answer)
    });
    let refused = refused.await;
    assert_eq!(refused.status, 503);
    assert!(refused.text().starts_with("keyring: sealed: the KMS"), "{}", refused.text());
    let sealed = cluster.admin(Part::Node(away));
    for (call, status) in refusals(&sealed, &common).await.into_iter().enumerate() {
        assert_eq!(status.code(), Code::Unavailable, "call {call}: {status:?}");
    }
    assert_eq!(serving(&sealed).await, ServingStatus::NotServing);
    for node in &others {
        let open = cluster.admin(Part::Node(*node));
        assert_eq!(serving(&open).await, ServingStatus::Serving);
        assert_eq!(open.read(&common).await.unwrap(), pairs(&[("k", b"last")]));
        assert_eq!(open.read(&own).await.unwrap_err().code(), Code::Unavailable);
        let refused = open.add(&own, vec![text("k", "lost")]).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable);
    }

    cluster.launch(Part::Kms);
    cluster.wait_all_ready().await;
    assert_eq!(cluster.pid(Part::Node(away)), pid);
    for node in NODES {
        let client = cluster.admin(Part::Node(node));
        assert_eq!(serving(&client).await, ServingStatus::Serving);
        assert_eq!(client.read(&common).await.unwrap(), pairs(&[("k", b"last")]));
        // A node whose KMS client has just lost its connection may need a moment.
        let own = until("answer under the own key", async || client.read(&own).await.ok());
        assert_eq!(own.await, pairs(&[("k", b"own")]));
    }
    assert!(!cluster.status(away).await.unwrap().sealed);
}
