//! The administrator's key is lost: `lockbox cluster recover-admin`, asked of a follower.

use lockbox_platform::authorized_key::AuthorizedKeyFile;
use tonic::Code;

use crate::cluster::{Cluster, NODES, Part, success};
use crate::messages::text;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_key_is_replaced_on_every_node_at_once() {
    let cluster = Cluster::start(Vec::new()).await;
    let leader = cluster.leader().await;
    let follower = NODES.into_iter().find(|node| *node != leader).unwrap();
    let secret = cluster.admin(Part::Node(follower)).create("", vec![text("k", "kept")]).await;

    let file = cluster.directory().join("recovered.json");
    let path = file.to_str().unwrap();
    let command = ["cluster", "recover-admin", "--admin-key", path, "--format", "json"];
    let refused = cluster.at_peer("operator", follower, &command);
    assert_eq!(refused.status.code(), Some(1));
    let complaint = String::from_utf8(refused.stderr).unwrap();
    assert!(complaint.contains("PERMISSION_DENIED"), "{complaint}");
    assert!(!file.exists(), "a key that nobody knows");

    let answer = cluster.at_peer("admin", follower, &command);
    let answer: serde_json::Value = serde_json::from_slice(success(&answer)).unwrap();
    assert_eq!(answer["deleted_key_ids"].as_array().unwrap().len(), 1);
    let key = AuthorizedKeyFile::read(&file).unwrap();
    assert_eq!(answer["admin_key_id"], key.id.as_str());
    let (_, token) = cluster.admin(Part::Node(follower)).log_in(&key).await;
    for node in NODES {
        let lost = cluster.admin(Part::Node(node));
        let refused = lost.read(&secret).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "node {node}");
        let found = lost.with_token(&token).read(&secret).await.unwrap();
        assert_eq!(found, [("k".to_owned(), b"kept".to_vec())]);
    }
    // Whoever starts the cluster again is told where the new key belongs, in one sentence.
    let own = cluster.directory().join("admin-key.json");
    let told = |output: &std::process::Output| {
        assert_eq!(output.status.code(), Some(1));
        let sentence = String::from_utf8(output.stderr.clone()).unwrap();
        assert_eq!(sentence.lines().count(), 1, "{sentence}");
        sentence
    };
    let with_old = told(&cluster.write_env());
    let expected = format!("the key in {} is no longer the administrator's: put", own.display());
    assert!(with_old.contains(&expected), "{with_old}");
    std::fs::remove_file(&own).unwrap();
    let without = told(&cluster.initialise());
    let expected = format!("put its administrator's key at {}, or", own.display());
    assert!(without.contains(&expected), "{without}");
    std::fs::copy(&file, &own).unwrap();
    success(&cluster.write_env());
    // The file is there: a second key needs another one.
    assert_eq!(cluster.at_peer("admin", follower, &command).status.code(), Some(2));
}
