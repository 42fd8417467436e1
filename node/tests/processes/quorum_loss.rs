//! Two of three nodes are lost for good: the third goes on with what it has, by one command.

use serde_json::Value;

use crate::cluster::{Cluster, Part, success};
use crate::membership::json;
use crate::messages::text;

/// Runs the command on the directory of node 1.
fn recover(cluster: &Cluster, more: &[&str]) -> std::process::Output {
    let config = cluster.directory().join("node-1.toml");
    let command = ["cluster", "recover-quorum", "--format", "json", "--config"];
    cluster.lockbox(&[&command[..], &[config.to_str().unwrap()], more].concat(), b"")
}

fn refused(output: &std::process::Output, exit: i32) -> String {
    let sentence = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(exit), "{sentence}");
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    sentence
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_survivor_serves_again_what_it_had() {
    let mut cluster = Cluster::start_with_room().await;
    let client = cluster.admin(Part::Node(1));
    let kept = client.create("", vec![text("k", "kept")]).await;
    let busy = refused(&recover(&cluster, &[]), 13);
    assert!(busy.contains("in use by another process; stop it first"), "{busy}");

    // A majority is there: nothing is lost.
    cluster.kill(Part::Node(1));
    let needless = refused(&recover(&cluster, &[]), 1);
    assert!(needless.contains("the quorum is not lost"), "{needless}");
    cluster.kill(Part::Node(2));
    let needless = refused(&recover(&cluster, &[]), 1);
    assert!(needless.contains("start it, and there is nothing to recover"), "{needless}");

    cluster.kill(Part::Node(3));
    let told = json(&recover(&cluster, &[]));
    let last = told["last_entry"].as_u64().unwrap().to_string();
    assert!(told["next"].as_str().unwrap().contains(&format!("--accept-loss-after {last}")));
    let other = refused(&recover(&cluster, &["--accept-loss-after", "1"]), 1);
    assert!(other.contains("look again"), "{other}");
    let done: Value = json(&recover(&cluster, &["--accept-loss-after", &last]));
    assert_eq!(done["new_epoch"], 1, "{done}");
    let again = refused(&recover(&cluster, &["--accept-loss-after", &last]), 1);
    assert!(again.contains("start it"), "{again}");

    cluster.launch(Part::Node(1));
    cluster.wait_ready(Part::Node(1)).await;
    let client = cluster.admin(Part::Node(1));
    assert_eq!(client.read(&kept).await.unwrap(), [("k".to_owned(), b"kept".to_vec())]);
    client.create("", vec![text("k", "after")]).await;
    assert_eq!(cluster.status(1).await.unwrap().cluster_epoch, 1);

    // One of those that were given up comes back, and ends by itself.
    cluster.launch(Part::Node(2));
    assert_eq!(cluster.ended(Part::Node(2)).await, Some(16));
    assert!(cluster.log(Part::Node(2)).contains("gone on in epoch 1 without this node"));
    let back = cluster.operator(1, &["cluster", "add", &cluster.member(2)]);
    assert!(refused(&back, 1).contains("never used again"));
    success(&cluster.operator(1, &["cluster", "status"]));
}
