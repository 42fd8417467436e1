//! A node that is told to stop while calls are under way.

use std::process::Command;

use crate::caller::records;
use crate::cluster::{Cluster, Part};
use crate::messages::text;
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
