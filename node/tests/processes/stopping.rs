//! A node that is told to stop: while calls are under way, while it leads, and before it has begun.

use std::process::Command;

use crate::caller::records;
use crate::cluster::{Cluster, NODES, Part};
use crate::load::Load;
use crate::messages::{pairs, text};
use crate::waiting::until;

const READERS: usize = 20;

/// Calls that the server answers at this moment, by its own metrics.
async fn in_flight(cluster: &Cluster, part: Part) -> Option<usize> {
    let metrics = cluster.health(part, "/metrics").await?.text();
    let line = metrics.lines().find(|line| line.starts_with("lockbox_rpc_in_flight"))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_for_the_kms_at_a_stop_are_in_the_audit() {
    let mut cluster = Cluster::start(Vec::new()).await;
    let own_key = cluster.admin(Part::Kms).create_kms_key().await;
    let node = Part::Node(cluster.leader().await);
    let client = cluster.admin(node);
    let secret = client.create(&own_key, vec![text("k", "own")]).await;
    let event = "GetPayload";
    let before = records(&cluster, node, event).len();

    let kms = cluster.pid(Part::Kms).to_string();
    assert!(Command::new("kill").args(["-STOP", &kms]).status().unwrap().success());
    let reads = (0..READERS).map(|_| client.read(&secret));
    let stop = async {
        until("calls under way", async || {
            in_flight(&cluster, node).await.filter(|calls| *calls >= READERS)
        })
        .await;
        cluster.stop_part(node).await;
    };
    let (answers, ()) = tokio::join!(futures::future::join_all(reads), stop);
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(records(&cluster, node, event).len() - before, READERS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_told_to_stop_hands_over_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start(Vec::new()).await;
    let old = cluster.leader().await;
    let others: Vec<u16> = NODES.into_iter().filter(|node| *node != old).collect();
    let load = Load::start([0, 1, 0, 1].map(|n| cluster.admin(Part::Node(others[n]))).into());
    load.goes_on(20).await;
    cluster.stop_part(Part::Node(old)).await;
    let said = cluster.log(Part::Node(old));
    assert!(said.contains("handing leadership over"), "{said}");
    load.goes_on(20).await;
    let written = load.end().await;

    cluster.launch(Part::Node(old));
    cluster.wait_ready(Part::Node(old)).await;
    let client = cluster.admin(Part::Node(old));
    for (secret, value) in &written {
        assert_eq!(client.read(secret).await.unwrap(), pairs(&[("value", value.as_bytes())]));
    }
}

/// A node that waits for its cluster or for the KMS ends as soon as it is told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_still_waits_for_others_stops() {
    let mut cluster = Cluster::prepared(Vec::new(), NODES.len());
    for part in [Part::Node(1), Part::Kms] {
        cluster.launch(part);
        cluster.wait_ok(part, "/livez").await;
        cluster.stop_part(part).await;
    }
}
